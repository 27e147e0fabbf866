"""One segment of a listing. One walker reads it."""

from __future__ import annotations

from itertools import islice
from math import inf, isfinite, isinf
from typing import TYPE_CHECKING, NamedTuple

from cekat_async._paging.cursor_walk import CursorWalk
from cekat_async.positions import Edge, Part, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cekat_async.errors import PaginationError
    from cekat_async.positions import Cursor

__all__ = ["PageSummary", "Segment"]

# A position stores this many ids of a segment's first records. One of these ids is enough to
# recognize the start of the segment. If all of these records have moved away, the walk continues
# sequentially.
_STORED_FIRST_IDS = 16


class PageSummary(NamedTuple):
    """The part of a page that a walk needs.

    Attributes:
        names: The ids of the page's records, in order. A record without an id is named by its
            bytes.
        next_cursor: The cursor on the page.
        depth: The depth of ``next_cursor``; infinite on the last page, NaN for an unreadable
            timestamp.
    """

    names: Sequence[str | bytes]
    next_cursor: Cursor | None
    depth: float

    @property
    def edge(self) -> Edge:
        """The place where the page ends."""
        return Edge(self.next_cursor, self.depth if isfinite(self.depth) else None)

    def is_deeper_than(self, edge: Edge) -> bool:
        """Whether the page ends deeper in the listing than an edge."""
        return edge.depth is not None and self.depth > edge.depth

    def reaches(self, edge: Edge) -> bool:
        """Whether the page ends at an edge, or deeper in the listing.

        An equal timestamp is not enough, because several records may have this timestamp.
        """
        return self.is_deeper_than(edge) or self.next_cursor == edge.cursor


class Segment:
    """The state of one walker in its part of a listing. ``CursorTimes`` defines depths.

    Args:
        start: The cursor at which the segment begins; ``None`` for the front of the listing.
        begin: The depth of ``start``; 0 for the front. Every constructed cursor is deeper.
        until: The edge at which the segment may end.
        stage: The purpose of the segment. A segment for a probe or a look has a single page.

    Attributes:
        at: The depth to which the segment has been read.
        first_ids: The names of the records on the segment's first page with records. When the
            previous segment reaches one of these records, the two segments are contiguous.
        first_ids_end: The depth at which the page of ``first_ids`` ends.
        error: The error that ended the segment, to be raised after its last page.
        is_dropped: True if further pages of the segment are discarded.
    """

    def __init__(
        self,
        start: Cursor | None = None,
        *,
        begin: int = 0,
        until: Edge | None = None,
        stage: Stage = Stage.PASS,
    ) -> None:
        self.walk = CursorWalk(start)
        self.begin = begin
        self.until = until
        self.stage = stage
        self.at = begin
        self.first_ids = frozenset[str | bytes]()
        self.first_ids_end = inf
        self._stored_first_ids: tuple[str, ...] = ()
        self.error: PaginationError | None = None
        self.is_dropped = False

    @property
    def is_over(self) -> bool:
        """Whether no more pages are needed for the segment."""
        return self.walk.done or self.is_dropped

    @property
    def has_records(self) -> bool:
        """Whether the first records of the segment are known."""
        return bool(self.first_ids)

    @property
    def is_unconfirmed(self) -> bool:
        """Whether the segment began with a constructed cursor and has no records yet."""
        return self.begin > 0 and not self.has_records and not self.is_dropped

    def joins(self, page: PageSummary) -> bool:
        """Whether a page of the previous segment contains one of this segment's first records.

        A page that ends before this segment begins does not count, because the record has moved
        there.
        """
        return page.depth >= self.begin and not self.first_ids.isdisjoint(page.names)

    def is_overrun_by(self, page: PageSummary) -> bool:
        """Whether a page ends after all first ids, and so should have contained one of them."""
        return self.has_records and (page.depth > self.first_ids_end or page.depth == inf)

    def advance(self, page: PageSummary) -> None:
        """Update the state after a page, like :meth:`CursorWalk.advance`."""
        self.walk.advance(page.next_cursor, page.names)
        if page.depth < inf:  # the depth is finite and readable
            self.at = int(page.depth)
        if not self.has_records:
            self.first_ids, self.first_ids_end = frozenset(page.names), page.depth
            # The ids are selected once, because a position is built after each page of any segment.
            ids = (name for name in self.first_ids if isinstance(name, str))
            self._stored_first_ids = tuple(islice(ids, _STORED_FIRST_IDS))
        is_single = self.stage in {Stage.PROBE, Stage.LOOK}
        if is_single or (self.until is not None and page.reaches(self.until)):
            self.walk.done = True

    def to_part(self) -> Part:
        """Return the state of the segment in the form that a position stores."""
        return Part(
            cursor=self.walk.cursor,
            begin=self.begin,
            at=self.at,
            first_ids=self._stored_first_ids,
            first_ids_end=None if isinf(self.first_ids_end) else self.first_ids_end,
            until=self.until,
            is_over=self.walk.done,
        )

    @classmethod
    def from_part(cls, part: Part) -> Segment:
        """Return a segment from its stored state."""
        segment = cls(part.cursor, begin=part.begin, until=part.until)
        segment.at = part.at
        segment.first_ids = frozenset(part.first_ids)
        segment._stored_first_ids = part.first_ids
        segment.first_ids_end = inf if part.first_ids_end is None else part.first_ids_end
        segment.walk.done = part.is_over
        return segment
