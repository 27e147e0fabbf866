"""The order of all conversations, the rows after a cursor, and the changes of conversations."""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from heapq import merge
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from cekat_async.sandbox.data.account import STATUSES, UNCHANGED, Account, Change
from cekat_async.sandbox.data.timeline import NEWEST
from cekat_async.sandbox.seeded_hash import derive_key, hash_number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cekat_async.sandbox.options import Order

# A timestamp in milliseconds, and an id. A row has these two, and also the conversation's number.
SortKey: TypeAlias = tuple[int, str]
Row: TypeAlias = tuple[int, str, int]


class Listing:
    """All conversations in the order of the dialect, with the changes made to them.

    Initial rows are computed, and only changes are stored. So memory use grows with the number of
    changes, not with the number of conversations. The sandbox has its own clock, which each change
    advances by less than a second, so that every run gives the same data.
    """

    def __init__(self, account: Account, seed: int, order: Order) -> None:
        self._account = account
        self._key = derive_key(seed, "clock")
        self._is_ascending = order == "ascending"
        self._moves_on_activity = order != "created"
        self._clock = NEWEST
        self._events = 0
        self._created = 0
        self._changes: dict[int, Change] = {}
        self._deleted: set[int] = set()
        # The numbers of initial rows that were moved or deleted, and left their initial position
        # empty.
        self._displaced: set[int] = set()
        # The ids that tests have given, by number, and the numbers by these ids. All other ids are
        # computed.
        self._given_ids: dict[int, str] = {}
        self._given_numbers: dict[str, int] = {}
        self._statuses = set[str](STATUSES)
        # The rows that changes inserted, by inbox, in ascending order. The key None has the rows of
        # all inboxes.
        self._inserted: defaultdict[int | None, list[Row]] = defaultdict(list)

    def rows(
        self, after: SortKey | None = None, *, inbox: int | None = None, status: str | None = None
    ) -> Iterator[Row]:
        """Yield the matching rows after a sort key, in order.

        The listing must not change while the caller iterates.
        """
        if status is not None and status not in self._statuses:
            return iter(())
        get_time, encode_id = self._account.timeline.get_time, self._account.ids.encode
        numbers = self._initial_numbers(after, inbox)
        if self._displaced or status is not None:
            numbers = (number for number in numbers if self._is_initial(number, status))
        initial = ((get_time(number), encode_id(number), number) for number in numbers)
        inserted = [
            row for row in self._inserted_after(after, inbox) if self._has_status(row[2], status)
        ]
        return merge(initial, inserted, reverse=not self._is_ascending) if inserted else initial

    def count(self, inbox: int | None = None, status: str | None = None) -> int:
        """Return how many conversations match now. Counting by status reads all conversations."""
        if status is not None:
            return sum(1 for _ in self.rows(inbox=inbox, status=status))
        inserted = len(self._inserted.get(inbox, []))
        if inbox is None:
            return self._account.size - len(self._displaced) + inserted
        distribution = self._account.distribution
        displaced = sum(distribution.get_inbox(number) == inbox for number in self._displaced)
        return distribution.size(inbox) - displaced + inserted

    def change(self, number: int) -> Change:
        """Return all changes to a conversation."""
        return self._changes.get(number, UNCHANGED)

    def find(self, id_: str) -> int | None:
        """Return the number of the conversation with this id, or ``None`` if there is none."""
        number = self._given_numbers.get(id_)
        if number is None:
            number = self._account.ids.decode(id_)
            # A test may have given the conversation with this number another id.
            number = None if number in self._given_ids else number
        return number if number is not None and self._exists(number) else None

    def get_sort_key(self, number: int) -> SortKey:
        """Return the current sort key of an existing conversation."""
        return self._get_time(number, self.change(number)), self._get_id(number)

    def nth(self, index: int) -> int | None:
        """Return the number of the conversation at an index, or ``None`` if it was deleted."""
        total = self._account.size + self._created
        number = index % total if total else -1
        return number if self._exists(number) else None

    @property
    def can_grow(self) -> bool:
        """Whether the account has an inbox for a new conversation."""
        return bool(self._account.inbox_ids)

    def touch(self, number: int) -> None:
        """Add a message to a conversation, so that it becomes the most recently active one."""
        change = self.change(number)
        self.update(number, active=self.tick(), messages=change.messages + 1)

    def create(self) -> int:
        """Create the newest conversation, and return its number.

        Raises:
            ValueError: There is no inbox for the conversation.
        """
        if not self.can_grow:
            raise ValueError("a conversation needs an inbox, and there is none")
        return self.add(Change(created=self.tick()))

    def add(self, change: Change, id_: str | None = None) -> int:
        """Add a conversation with the creation time ``change.created``, and return its number.

        If the id is ``None``, it is computed. It must not be the id of an existing conversation.
        """
        number = self._find_free_number(id_)
        if id_ is not None:
            self._given_ids[number], self._given_numbers[id_] = id_, number
        self._note(change)
        self._changes[number] = change
        self._insert(number)
        return number

    def update(self, number: int, **changes: Any) -> None:
        """Replace attributes of a conversation's ``Change``, and move it to its new position."""
        before = self.change(number)
        change = msgspec.structs.replace(before, **changes)
        self._note(change)
        if self._get_place(number, change) == self._get_place(number, before):
            self._changes[number] = change
            return
        self._remove(number)
        self._changes[number] = change
        self._insert(number)

    def tick(self) -> int:
        """Advance the sandbox's clock, and return its time in milliseconds since 1970."""
        self._events += 1
        self._clock += 1 + hash_number(self._key, self._events) % 900
        return self._clock

    def resolve(self, number: int) -> None:
        """Resolve a conversation without moving it."""
        self.update(number, resolved=self.tick(), status=None)

    def delete(self, number: int) -> None:
        """Delete a conversation."""
        self._remove(number)
        self._deleted.add(number)
        self._changes.pop(number, None)

    def _initial_numbers(self, after: SortKey | None, inbox: int | None) -> Iterator[int]:
        """Yield the numbers of all initial rows after a sort key, even of rows that were moved."""
        size, timeline = self._account.size, self._account.timeline
        distribution = self._account.distribution
        if self._is_ascending:
            stop = size if after is None else min(size, timeline.count_newer(*after))
            if inbox is None:
                return iter(range(stop - 1, -1, -1))
            return distribution.descending(inbox, stop)
        start = 0 if after is None else min(size, timeline.count_not_older(*after))
        return iter(range(start, size)) if inbox is None else distribution.ascending(inbox, start)

    def _inserted_after(self, after: SortKey | None, inbox: int | None) -> list[Row]:
        rows = self._inserted.get(inbox, [])
        if self._is_ascending:
            return rows[0 if after is None else bisect_right(rows, (*after, sys.maxsize)) :]
        return rows[: None if after is None else bisect_left(rows, (*after, -1))][::-1]

    def _is_initial(self, number: int, status: str | None) -> bool:
        return number not in self._displaced and self._has_status(number, status)

    def _has_status(self, number: int, status: str | None) -> bool:
        if status is None:
            return True
        return self._account.status(number, self.change(number)) == status

    def _exists(self, number: int) -> bool:
        return 0 <= number < self._account.size + self._created and number not in self._deleted

    def _find_free_number(self, id_: str | None) -> int:
        while True:
            number = self._account.size + self._created
            self._created += 1
            computed = self._account.ids.encode(number)
            if id_ is not None or computed not in self._given_numbers:
                return number
            # A test gave the computed id of this number to another conversation, so skip the
            # number.
            self._deleted.add(number)

    def _note(self, change: Change) -> None:
        """Remember a given status. If a given time is later than the clock, advance the clock."""
        if change.status:
            self._statuses.add(change.status)
        self._clock = max(self._clock, change.created or 0, change.active or 0)

    def _insert(self, number: int) -> None:
        row = (*self.get_sort_key(number), number)
        for inbox in (None, self._account.get_inbox(number, self.change(number))):
            insort(self._inserted[inbox], row)

    def _remove(self, number: int) -> None:
        """Remove a conversation from its current position."""
        if number < self._account.size and number not in self._displaced:
            self._displaced.add(number)
            return
        row = (*self.get_sort_key(number), number)
        for inbox in (None, self._account.get_inbox(number, self.change(number))):
            rows = self._inserted[inbox]
            del rows[bisect_left(rows, row)]

    def _get_place(self, number: int, change: Change) -> tuple[int, int]:
        """Return the time and the inbox of a conversation. They determine its position."""
        return self._get_time(number, change), self._account.get_inbox(number, change)

    def _get_time(self, number: int, change: Change) -> int:
        at = change.created
        if self._moves_on_activity and change.active is not None:
            at = change.active
        return self._account.timeline.get_time(number) if at is None else at

    def _get_id(self, number: int) -> str:
        return self._given_ids.get(number) or self._account.ids.encode(number)
