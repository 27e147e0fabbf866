"""The order of all conversations, the rows after a cursor, and the changes of conversations."""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from heapq import merge
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from cekat_async.sandbox.data.account import STATUSES, UNCHANGED, Account, Change
from cekat_async.sandbox.data.timeline import NEWEST
from cekat_async.sandbox.seeded_hash import derive_key, hash_number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cekat_async.sandbox.options import Order

# Timestamp in milliseconds and id. A row also has the conversation's number.
SortKey: TypeAlias = tuple[int, str]
Row: TypeAlias = tuple[int, str, int]


class Listing:
    """Every conversation in the order of the dialect, and the changes made to them.

    Initial rows are computed and only changes are stored, so memory grows with the number of
    changes and not with the number of conversations. Each change advances the sandbox's own clock
    by less than a second, so that every run gives the same data.
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
        # Initial rows that are no longer at their initial position: moved or deleted.
        self._displaced: set[int] = set()
        # Rows that a change inserted, in ascending order: all of them (None) and by inbox.
        self._inserted: defaultdict[int | None, list[Row]] = defaultdict(list)

    def rows(
        self, after: SortKey | None = None, *, inbox: int | None = None, status: str | None = None
    ) -> Iterator[Row]:
        """Yield the matching rows after a sort key, in order.

        The listing must not change while this is consumed.
        """
        if status is not None and status not in STATUSES:
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
        """Return how many conversations match now; counting by status looks at each."""
        if status is not None:
            return sum(1 for _ in self.rows(inbox=inbox, status=status))
        inserted = len(self._inserted.get(inbox, []))
        if inbox is None:
            return self._account.size - len(self._displaced) + inserted
        distribution = self._account.distribution
        displaced = sum(distribution.get_inbox(number) == inbox for number in self._displaced)
        return distribution.size(inbox) - displaced + inserted

    def change(self, number: int) -> Change:
        """Return all changes of a conversation."""
        return self._changes.get(number, UNCHANGED)

    def find(self, id_: str) -> int | None:
        """Return the number of the conversation with this id, if it exists."""
        number = self._account.ids.decode(id_)
        return number if number is not None and self._exists(number) else None

    def get_sort_key(self, number: int) -> SortKey:
        """Return the current sort key of an existing conversation."""
        at = self._get_inserted_time(number)
        if at is None:
            at = self._account.timeline.get_time(number)
        return at, self._account.ids.encode(number)

    def nth(self, index: int) -> int | None:
        """Return the conversation that an index selects, or ``None`` if it has been deleted."""
        total = self._account.size + self._created
        number = index % total if total else -1
        return number if self._exists(number) else None

    @property
    def can_grow(self) -> bool:
        """Whether there is an inbox for a new conversation."""
        return bool(self._account.inbox_ids)

    def touch(self, number: int) -> None:
        """Give a conversation a message, which makes it the most recently active one."""
        change, now = self.change(number), self._tick()
        changed = msgspec.structs.replace(change, active=now, messages=change.messages + 1)
        if self._moves_on_activity:
            self._remove(number)
            self._insert(number, now)
        self._changes[number] = changed

    def create(self) -> int:
        """Create the newest conversation, and return its number.

        Raises:
            ValueError: There is no inbox for it.
        """
        if not self.can_grow:
            raise ValueError("a conversation needs an inbox, and there is none")
        number = self._account.size + self._created
        self._created += 1
        now = self._tick()
        self._changes[number] = Change(created=now)
        self._insert(number, now)
        return number

    def resolve(self, number: int) -> None:
        """Resolve a conversation without moving it."""
        change = self.change(number)
        self._changes[number] = msgspec.structs.replace(change, resolved=self._tick())

    def delete(self, number: int) -> None:
        """Delete a conversation."""
        self._remove(number)
        self._deleted.add(number)
        self._changes.pop(number, None)

    def _initial_numbers(self, after: SortKey | None, inbox: int | None) -> Iterator[int]:
        """Yield the numbers of the initial rows after a sort key, as if nothing had changed."""
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

    def _tick(self) -> int:
        self._events += 1
        self._clock += 1 + hash_number(self._key, self._events) % 900
        return self._clock

    def _insert(self, number: int, at: int) -> None:
        row = (at, self._account.ids.encode(number), number)
        for inbox in (None, self._account.distribution.get_inbox(number)):
            insort(self._inserted[inbox], row)

    def _remove(self, number: int) -> None:
        """Remove a conversation from its current position."""
        at = self._get_inserted_time(number)
        if at is None:
            self._displaced.add(number)
            return
        row = (at, self._account.ids.encode(number), number)
        for inbox in (None, self._account.distribution.get_inbox(number)):
            rows = self._inserted[inbox]
            del rows[bisect_left(rows, row)]

    def _get_inserted_time(self, number: int) -> int | None:
        change = self.change(number)
        return change.active or change.created if self._moves_on_activity else change.created
