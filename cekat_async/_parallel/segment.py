"""A part of a listing that one walker walks."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from cekat_async._paging.cursor_walk import CursorWalk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cekat_async.errors import PaginationError
    from cekat_async.positions import Cursor

__all__ = ["PageSummary", "Segment"]

# A page that takes so many times as long as the one before has a void in it.
_VOID = 4


class PageSummary(NamedTuple):
    """What of a page matters to a walk.

    Attributes:
        names: What its records are known by, in their order.
        next_cursor: Where it goes on.
        depth: How deep that is: infinitely, if the page is the listing's last.
    """

    names: Sequence[str | bytes]
    next_cursor: Cursor | None
    depth: float

    def reaches(self, other: PageSummary) -> bool:
        """Whether a page ends where another one did, or deeper.

        Behind a cursor with the same timestamp and another id may be what came in between.
        """
        return self.depth > other.depth or self.next_cursor == other.next_cursor


class Segment:
    """Where a walker stands in its part of a listing. Depths are those of the timeline.

    Args:
        start: Where it begins; None for the front of the listing.
        begin: How deep that is.
        until: What the page said behind which it need not go on.
        is_single: Whether one page is all that is wanted.
        is_probe: Whether a few conversations are.

    Attributes:
        at: How deep it is by now.
        width: How much time its last pages took each; 0 where that is not known.
        run: How many pages in a row took about that much: those of a burst, so far.
        ended_run: How many the burst had that ended in its last page; 0 if none did.
        landmarks: The names of the records it began with: of its first page that has any. Whoever
            meets one of them has closed the gap before this segment.
        landmarks_end: How deep the page of the landmarks ends.
        misses: How many segments were begun before this one and found the same landmarks.
        error: What ended it, to be raised behind its last page.
        is_dropped: Whether what it still fetches is to be forgotten.
    """

    def __init__(
        self,
        start: Cursor | None,
        begin: int,
        until: PageSummary | None = None,
        *,
        is_single: bool = False,
        is_probe: bool = False,
    ) -> None:
        self.walk = CursorWalk(start)
        self.begin = begin
        self.until = until
        self.is_single = is_single or is_probe
        self.is_probe = is_probe
        self.at = begin
        self.width = 0
        self.run = 0
        self.ended_run = 0
        self._last_width = 0
        self.landmarks = frozenset[str | bytes]()
        self.landmarks_end = inf
        self.misses = 0
        self.error: PaginationError | None = None
        self.is_dropped = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be fetched for it."""
        return self.walk.done or self.is_dropped

    @property
    def is_answered(self) -> bool:
        """Whether it is known what it begins with."""
        return bool(self.landmarks)

    def is_met(self, answer: PageSummary) -> bool:
        """Whether a page of the segment before this one leads into it.

        A landmark in a page that ends before this segment begins has moved there meanwhile.
        """
        return answer.depth >= self.begin and not self.landmarks.isdisjoint(answer.names)

    def is_passed(self, answer: PageSummary) -> bool:
        """Whether a page ends behind all landmarks: by then one should have been met."""
        return self.is_answered and (answer.depth > self.landmarks_end or answer.depth == inf)

    def move(self, answer: PageSummary) -> None:
        """Go on behind a page.

        Raises:
            PaginationError: The segment's walk would never end.
        """
        self.walk.advance(answer.next_cursor, answer.names)
        if answer.depth < inf:  # and can be told at all
            # A first page tells nothing: there may be a void before its first record.
            if self.is_answered:
                self._measure(int(answer.depth) - self.at)
            self.at = int(answer.depth)
        if not self.is_answered:
            self.landmarks, self.landmarks_end = frozenset(answer.names), answer.depth
        if self.is_single or (self.until and answer.reaches(self.until)):
            self.walk.done = True

    def _measure(self, width: int) -> None:
        is_void = self._last_width and width > _VOID * self._last_width
        self.ended_run = self.run if is_void else 0
        self.run = 1 if is_void else self.run + 1
        # The smaller one of two: a page with a void in it says nothing of those behind it.
        self.width = min(width, self._last_width or width)
        self._last_width = width
