"""The order of all conversations, where a cursor points in it, and what changes in it."""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from heapq import merge
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from .account import STATUSES, UNCHANGED, Account, Change
from .mixing import mix, subkey
from .timeline import NEWEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .options import Order

# A place in the listing: timestamp in milliseconds and id. A row adds its conversation's number.
Place: TypeAlias = tuple[int, str]
Row: TypeAlias = tuple[int, str, int]


class Listing:
    """Every conversation in the order of the dialect, and the changes made to them.

    What was there from the beginning is computed; only changes are held, so memory grows with the
    number of changes and not with the number of conversations. Each change moves the sandbox's
    own clock on by less than a second, so that all is the same in every run.

    Args:
        account: the data before changes.
        seed: seed of the sandbox.
        order: what the listing goes by.
    """

    def __init__(self, account: Account, seed: int, order: Order) -> None:
        self._account = account
        self._key = subkey(seed, "clock")
        self._rising = order == "ascending"
        self._moves = order != "created"
        self._clock = NEWEST
        self._events = 0
        self._born = 0
        self._changes: dict[int, Change] = {}
        # Base rows that are not at their first place any more, because they moved or are gone.
        self._displaced: set[int] = set()
        self._deleted: set[int] = set()
        # Rows that were placed by a change, oldest first: all of them (None) and by inbox.
        self._placed: defaultdict[int | None, list[Row]] = defaultdict(list)

    def rows(
        self, after: Place | None = None, *, inbox: int | None = None, status: str | None = None
    ) -> Iterator[Row]:
        """Yield the matching rows strictly after a place, in order.

        The listing must not change while this is consumed.
        """
        if status is not None and status not in STATUSES:
            return iter(())
        at, id_of = self._account.timeline.at, self._account.ids.of
        standing = self._standing(after, inbox)
        if self._displaced or status is not None:
            standing = (number for number in standing if self._wanted(number, status))
        computed = ((at(number), id_of(number), number) for number in standing)
        placed = [row for row in self._placed_after(after, inbox) if self._has(row[2], status)]
        return merge(computed, placed, reverse=not self._rising) if placed else computed

    def count(self, inbox: int | None = None, status: str | None = None) -> int:
        """Return how many conversations match now; counting by status looks at each."""
        placed = self._placed.get(inbox, [])
        if status is not None:
            standing = self._standing(None, inbox) if status in STATUSES else ()
            still = sum(self._wanted(number, status) for number in standing)
            return still + sum(self._has(number, status) for _, _, number in placed)
        spread = self._account.spread
        if inbox is None:
            return self._account.size - len(self._displaced) + len(placed)
        missing = sum(spread.inbox_of(number) == inbox for number in self._displaced)
        return spread.size(inbox) - missing + len(placed)

    def change(self, number: int) -> Change:
        """Return what has happened to a conversation."""
        return self._changes.get(number, UNCHANGED)

    def find(self, id_: str) -> int | None:
        """Return the number of the conversation with this id, if there is one now."""
        number = self._account.ids.number(id_)
        return number if number is not None and self._exists(number) else None

    def place(self, number: int) -> Place:
        """Return where an existing conversation stands now."""
        at = self._placed_at(number)
        if at is None:
            at = self._account.timeline.at(number)
        return at, self._account.ids.of(number)

    def nth(self, index: int) -> int | None:
        """Return some conversation for `index`, the same one for the same history, if it exists."""
        total = self._account.size + self._born
        number = index % total if total else -1
        return number if self._exists(number) else None

    @property
    def can_grow(self) -> bool:
        """Whether there is an inbox that a new conversation could appear in."""
        return bool(self._account.inbox_ids)

    def touch(self, number: int) -> None:
        """Give a conversation a message, which moves it to the newest place."""
        change, now = self.change(number), self._tick()
        changed = msgspec.structs.replace(change, active=now, messages=change.messages + 1)
        if self._moves:
            self._remove(number)
            self._place(number, now)
        self._changes[number] = changed

    def create(self) -> int:
        """Let a conversation appear at the newest place, and return its number.

        Raises:
            ValueError: there is no inbox it could appear in.
        """
        if not self.can_grow:
            raise ValueError("a conversation needs an inbox, and there is none")
        number = self._account.size + self._born
        self._born += 1
        now = self._tick()
        self._changes[number] = Change(created=now)
        self._place(number, now)
        return number

    def resolve(self, number: int) -> None:
        """Resolve a conversation where it stands."""
        change = self.change(number)
        self._changes[number] = msgspec.structs.replace(change, resolved=self._tick())

    def delete(self, number: int) -> None:
        """Remove a conversation for good."""
        self._remove(number)
        self._deleted.add(number)
        self._changes.pop(number, None)

    def _standing(self, after: Place | None, inbox: int | None) -> Iterator[int]:
        """Yield the numbers of rows after a place as if nothing had ever changed."""
        size, timeline, spread = self._account.size, self._account.timeline, self._account.spread
        if self._rising:
            stop = size if after is None else min(size, timeline.newer(*after))
            return iter(range(stop - 1, -1, -1)) if inbox is None else spread.downward(inbox, stop)
        start = 0 if after is None else min(size, timeline.not_older(*after))
        return iter(range(start, size)) if inbox is None else spread.upward(inbox, start)

    def _placed_after(self, after: Place | None, inbox: int | None) -> list[Row]:
        placed = self._placed.get(inbox, [])
        if self._rising:
            return placed[0 if after is None else bisect_right(placed, (*after, sys.maxsize)) :]
        return placed[: None if after is None else bisect_left(placed, (*after, -1))][::-1]

    def _wanted(self, number: int, status: str | None) -> bool:
        return number not in self._displaced and self._has(number, status)

    def _has(self, number: int, status: str | None) -> bool:
        if status is None:
            return True
        return self._account.status(number, self.change(number)) == status

    def _exists(self, number: int) -> bool:
        return 0 <= number < self._account.size + self._born and number not in self._deleted

    def _tick(self) -> int:
        self._events += 1
        self._clock += 1 + mix(self._key, self._events) % 900
        return self._clock

    def _place(self, number: int, at: int) -> None:
        row = (at, self._account.ids.of(number), number)
        for inbox in (None, self._account.spread.inbox_of(number)):
            insort(self._placed[inbox], row)

    def _remove(self, number: int) -> None:
        """Take a conversation from wherever it stands now."""
        at = self._placed_at(number)
        if at is None:
            self._displaced.add(number)
            return
        row = (at, self._account.ids.of(number), number)
        for inbox in (None, self._account.spread.inbox_of(number)):
            placed = self._placed[inbox]
            del placed[bisect_left(placed, row)]

    def _placed_at(self, number: int) -> int | None:
        change = self.change(number)
        return change.active or change.created if self._moves else change.created
