"""Keeps the segments of one pass, and checks that together they cover the whole listing.

A constructed cursor points to some place in the listing, if the server honours the cursor at all.
The exact place does not matter. A segment is trusted only after the previous segment has reached
one of its first records, page by page along the server's own cursors. Segments that are joined in
this way are equivalent to one sequential walk from the front. If there is any doubt, all other
segments are dropped, and the front segment reads the rest of the listing alone.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from cekat_async._parallel.segment import Segment
from cekat_async._parallel.split_planner import SplitPlanner
from cekat_async.errors import PaginationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cekat_async._paging.constructed_cursors import CursorTimes
    from cekat_async._parallel.segment import PageSummary
    from cekat_async._parallel.split_planner import Split
    from cekat_async.positions import Cursor, WalkState

__all__ = ["SegmentChain"]


class SegmentChain:
    """Segments in the order of the listing. Segments that have been joined are removed.

    Args:
        state: The state in which the walk resumes.
        most: The most segments that may be read at the same time.
        times: Converts cursors to depths and back.
        warn: Logs a warning.

    Attributes:
        segments: The segments. A walk from the first segment would find every record that was not
            yet yielded.

    ``is_honoured`` and ``is_serial`` are those of ``WalkState``.
    """

    def __init__(
        self, state: WalkState, most: int, times: CursorTimes, warn: Callable[[str], None]
    ) -> None:
        self.segments = [Segment.from_part(part) for part in state.parts]
        self.is_honoured = state.is_honoured
        self.is_serial = state.is_serial
        self._most = most
        self._times = times
        self._warn = warn
        self.planner = SplitPlanner(most)
        self._is_warned = False

    @property
    def head_cursor(self) -> Cursor | None:
        """The cursor from which a sequential walk finds every record that was not yet yielded."""
        return self.segments[0].walk.cursor if self.segments else None

    def most_left(self) -> float:
        """Return how many pages :meth:`split` would share between two segments; 0 for none."""
        split = self._best_split()
        return split.pages if split else 0

    def split(self) -> Segment | None:
        """Add and return another segment, or return ``None`` if a segment would not pay off."""
        while split := self._best_split():
            cursor = self._times.cursor_at(split.depth)
            if cursor is not None:
                return self._insert(cursor, split.previous)
            self.planner.end = split.depth
        return None

    def accept(self, segment: Segment, page: PageSummary) -> bool:
        """Update a segment after a page, and return whether to yield the page."""
        if not self.is_serial and (doubt := self._find_doubt(segment, page)):
            self.fall_back(doubt)
        if not segment.is_dropped:
            self._advance(segment, page)
        return not segment.is_dropped

    def fall_back(self, why: str) -> None:
        """Drop all segments except the first one, which continues alone."""
        self.is_serial = True
        self.drop(self.segments[1:])
        self._warn(f"falling back to a sequential walk: {why}")

    def restart(self) -> None:
        """Drop all segments, and forget the measured distances between pages."""
        self.drop(self.segments)
        self.planner = SplitPlanner(self._most)

    def finish(self, segment: Segment) -> None:
        """End a segment and drop all later ones, because the rest of the listing is not wanted."""
        segment.walk.done = True
        self.drop(self.segments[self.segments.index(segment) + 1 :])
        self._remove_joined()

    def drop(self, segments: Sequence[Segment]) -> None:
        """Remove segments, and discard the pages of their requests in flight."""
        for segment in list(segments):
            segment.is_dropped = True
            self.segments.remove(segment)

    def _best_split(self) -> Split | None:
        in_progress = sum(not segment.is_over for segment in self.segments)
        if self.is_serial or not 0 < in_progress < self._most:
            return None
        if not self.is_honoured and in_progress > 1:
            return None  # the first split shows whether the server honours constructed cursors
        return self.planner.best(self.segments)

    def _insert(self, cursor: Cursor, previous: Segment) -> Segment | None:
        segment = Segment(cursor, begin=int(self._times.depth(cursor)))
        # The server's timestamps are coarser than depths, so rounding may move the start backward.
        if segment.begin <= previous.at:
            return None
        self.segments.insert(self.segments.index(previous) + 1, segment)
        return segment

    def _find_doubt(self, segment: Segment, page: PageSummary) -> str | None:
        """Return the reason why a page casts doubt on the segments, or ``None``."""
        if self._times.is_out_of_order(segment.walk.cursor, page.depth):
            return "a page is not after its cursor in time"
        self._drop_overtaken(segment, page)
        following = self._following(segment)
        if following and following.joins(page):
            return None
        if segment.is_unconfirmed and self._is_start_of_another(page):
            return "a constructed cursor led to the start of another segment"
        if following and following.is_overrun_by(page):
            return "two segments do not overlap"
        return None

    def _drop_overtaken(self, segment: Segment, page: PageSummary) -> None:
        """Drop the following segments that begin within a page and have no records yet."""
        following = self._following(segment)
        while following and not following.has_records and following.begin <= page.depth:
            self.drop([following])
            following = self._following(segment)

    def _advance(self, segment: Segment, page: PageSummary) -> None:
        was_unconfirmed, had_records, at = (segment.is_unconfirmed, segment.has_records, segment.at)
        try:
            segment.advance(page)
        except PaginationError as error:
            self._fail(segment, error)
            return
        self._warn_once(segment.walk.take_warning())
        if was_unconfirmed and not page.names and page.depth == inf:
            self._end_at(segment)
            return
        self.is_honoured |= was_unconfirmed and segment.has_records
        # The time span of the first page at the front is unknown.
        if page.depth < inf and (was_unconfirmed or had_records):
            self.planner.note_page(segment.at - at)
        self._join(segment, page, was_unconfirmed=was_unconfirmed)

    def _join(self, segment: Segment, page: PageSummary, *, was_unconfirmed: bool) -> None:
        """End a segment that has reached the next segment, and remove joined segments."""
        following = self._following(segment)
        if following and following.joins(page):
            segment.walk.done = True
            if was_unconfirmed and following.first_ids.issuperset(page.names):
                self.planner.note_waste()  # there were no records before the following segment
        self._remove_joined()

    def _remove_joined(self) -> None:
        while self.segments and self.segments[0].is_over:
            self.segments.pop(0)

    def _end_at(self, segment: Segment) -> None:
        """Drop a segment that begins after the end of the listing, and note where it begins."""
        self.planner.end = segment.begin
        self.planner.note_waste()
        self.drop([segment])

    def _fail(self, segment: Segment, error: PaginationError) -> None:
        """Keep the first segment's error. For any other segment, fall back to a sequential walk."""
        if segment is self.segments[0]:
            segment.error = error
        else:
            # The warning omits the error's text, because the text quotes the server and is not
            # redacted here.
            self.fall_back("one segment would never end")

    def _warn_once(self, warning: str | None) -> None:
        """Log a warning, unless this chain has already logged one."""
        if warning and not self._is_warned:
            self._is_warned = True
            self._warn(warning)

    def _following(self, segment: Segment) -> Segment | None:
        index = self.segments.index(segment) + 1
        return self.segments[index] if index < len(self.segments) else None

    def _is_start_of_another(self, page: PageSummary) -> bool:
        return bool(page.names) and any(
            segment.first_ids.issuperset(page.names) for segment in self.segments
        )
