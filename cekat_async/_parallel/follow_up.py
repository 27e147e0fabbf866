"""What has to be read again of a listing, because it has changed while it was being read."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from cekat_async._parallel.segment import Segment

if TYPE_CHECKING:
    from cekat_async._parallel.segment import PageSummary
    from cekat_async.positions import Cursor

__all__ = ["FollowUp"]

# Each pass takes less time than the one before, so that less can have moved meanwhile: unless the
# listing changes faster than it can be read.
_MOST_PASSES = 20


class FollowUp:
    """Passes over the end of a listing at which conversations arrive, until one missed nothing.

    A conversation that gets a message leaves its place for the newest end, where the walk perhaps
    was already. If that is the front, what has moved lies before the end of the walk's first page.
    While it is read, more can move, so that it is read again, each time down to the page that the
    pass before began with; a pass of one request sees all of that at one moment. In a rising
    listing a pass meets whatever moves before it.

    Args:
        start: Where the listing was to be walked from. Who does not want what is in front of that
            is not followed up there.
    """

    def __init__(self, start: Cursor | None) -> None:
        self._start = start
        self._is_wanted = True
        self._requests = 0
        self._passes = 0
        self._front: PageSummary | None = None
        self._tail: Cursor | None = None

    @property
    def is_endless(self) -> bool:
        """Whether more had moved after each of the most passes that are made."""
        return self._passes > _MOST_PASSES

    def note(self, cursor: Cursor | None, answer: PageSummary) -> None:
        """Take note of a page, and of the cursor it was asked for with."""
        self._requests += 1
        if cursor is None:
            self._front = answer
        if answer.depth == inf:
            self._tail = cursor

    def give_up(self) -> None:
        """Make no more passes."""
        self._is_wanted = False

    def next(self, *, is_rising: bool) -> Segment | None:
        """Return another pass, or None where nothing can have been missed."""
        requests, self._requests = self._requests, 0
        if requests <= 1 or not self._is_wanted:
            return None
        self._passes += 1
        if is_rising:
            return Segment(self._tail, 0) if self._passes == 1 else None
        if self._start is not None or self._front is None or self.is_endless:
            return None
        return Segment(None, 0, until=self._front)
