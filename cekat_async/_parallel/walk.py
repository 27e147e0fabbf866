"""Walks one listing with several walkers, until no record can be missing."""

from __future__ import annotations

from math import inf, isfinite, isnan
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from cekat_async._api.log_text import describe_for_log
from cekat_async._paging.activity_order import get_page_times
from cekat_async._paging.constructed_cursors import CursorTimes
from cekat_async._paging.page_errors import may_be_about_cursor
from cekat_async._parallel.catch_up import CatchUp, SmallPages, WholePasses
from cekat_async._parallel.chain import SegmentChain
from cekat_async._parallel.segment import PageSummary, Segment
from cekat_async.errors import PaginationError
from cekat_async.pages import only, record_names
from cekat_async.positions import Position, Stage, WalkState

if TYPE_CHECKING:
    from collections.abc import Callable

    from cekat_async._paging.time_bounds import TimeBounds
    from cekat_async.errors import CekatError
    from cekat_async.pages import ConversationPage
    from cekat_async.positions import Cursor

__all__ = ["ParallelWalk"]


class ParallelWalk:
    """Decides what each walker fetches next, and which pages are yielded.

    Every walker repeats three steps until :meth:`next` returns ``None``: it calls :meth:`next`,
    fetches the page at ``segment.walk.cursor``, and passes the page to :meth:`advance`. Idle
    walkers call :meth:`split`. No method blocks or awaits.

    The walk yields whole pages, in no particular order. It yields a record again if the record
    moved during the walk, and the version yielded last is the latest. At its end, the walk has
    yielded every record that existed during the whole walk. If a listing is not in time order, the
    walk reads it from start to end until a pass finds nothing new. If a listing changes faster than
    it is read, the walk ends with a PaginationError.

    Args:
        position: The position at which the walk resumes.
        most: The most segments that may be read at the same time.
        warn: Logs a warning.
        start: The cursor at which a walk from ``Position()`` begins. Records before this cursor are
            not wanted, even if they move there during the walk.
        bounds: The time range of the walk; ``None`` for no bounds.
    """

    def __init__(
        self,
        position: Position,
        most: int,
        warn: Callable[[str], None],
        start: Cursor | None = None,
        bounds: TimeBounds | None = None,
    ) -> None:
        self._begin = position
        self._warn = warn
        state = position.state
        self._times = CursorTimes(start or state.down_to or state.origin, state.order)
        self._chain = SegmentChain(state, most, self._times, warn)
        self._start = start
        self._catch_up = CatchUp(state, start if state.start is UNSET else state.start)
        self._whole_passes = WholePasses(start, is_active=state.is_unordered)
        self._small_pages = SmallPages()
        self._by_creation = state.by_creation
        self._by_activity = state.by_activity
        self._bounds = bounds
        if bounds is not None:
            bounds.is_lifted = state.reads_all is True
            bounds.has_skipped = position != Position() and state.down_to is None
            if start is not None and (warning := bounds.begin_at(start)):
                warn(warning)
        self._watermark = state.watermark
        # The segments that have no walker yet.
        self._waiting = [segment for segment in self._chain.segments if not segment.is_over]
        # The first page is kept until the first probe arrives.
        self._first_page: ConversationPage | None = None
        self._is_stopped = False

    @property
    def head_cursor(self) -> Cursor | None:
        """The cursor from which a sequential walk finds every record that was not yet yielded."""
        return self._chain.head_cursor

    @property
    def position(self) -> Position:
        """The position after all pages yielded so far."""
        catch_up = self._catch_up
        if catch_up.stage is Stage.NEW:
            # Before the first probe, a resumed walk could not know which records have moved.
            return self._begin
        return Position.from_state(
            WalkState(
                parts=tuple(segment.to_part() for segment in self._chain.segments),
                origin=self._times.origin,
                order=self._times.order,
                by_creation=self._by_creation,
                by_activity=self._by_activity,
                is_unordered=self._whole_passes.is_active,
                start=catch_up.start or UNSET,
                reads_all=True if self._bounds and self._bounds.is_lifted else UNSET,
                is_honoured=self._chain.is_honoured,
                is_serial=self._chain.is_serial,
                watermark=self._watermark,
                stage=catch_up.stage,
                top=catch_up.top,
                newest=catch_up.newest,
                tail=catch_up.tail,
                requests=catch_up.requests,
                passes=catch_up.passes,
            )
        )

    @property
    def late_bounds(self) -> TimeBounds | None:
        """The bounds if the walk may begin near ``until``, or ``None`` if it begins elsewhere."""
        is_new = self._begin == Position() and self._start is None
        return self._bounds if is_new and self._bounds and self._bounds.until < inf else None

    def begin_at(self, start: Cursor) -> None:
        """Begin at a cursor that :func:`find_start` has found."""
        self._times.count_from(start)
        self._catch_up = CatchUp(WalkState(), start)

    def tracked(self, page: ConversationPage) -> ConversationPage:
        """Return the page, with the walk's position after it."""
        return msgspec.structs.replace(page, next_cursor=self.head_cursor, position=self.position)

    def most_left(self) -> float:
        """Return how many pages another walker could share; 0 if adding one would not pay off."""
        return inf if self._waiting else self._chain.most_left()

    def split(self) -> Segment | None:
        """Return a segment for another walker, or ``None`` if adding one would not pay off."""
        return self._waiting.pop(0) if self._waiting else self._chain.split()

    def stop(self) -> None:
        """Discard all pages in flight. The last position remains valid."""
        self._is_stopped = True
        self._waiting.clear()
        self._chain.drop(self._chain.segments)

    def next(self, segment: Segment | None) -> Segment | None:
        """Return the segment that a walker reads next, or ``None`` if nothing is left to read.

        ``segment`` is the segment that the walker has been reading, or ``None``.

        Raises:
            PaginationError: The listing changes faster than it is read.
        """
        needs_probe = self._catch_up.needs_probe
        if needs_probe and segment not in self._chain.segments:
            return None  # the walker that read the first page will send the probe
        if segment is not None and not segment.is_over and not needs_probe:
            return segment
        if self._waiting:
            return self._waiting.pop(0)
        if self._is_stopped or (self._chain.segments and not needs_probe):
            return None
        return self._read_next()

    def advance(self, segment: Segment, page: ConversationPage) -> ConversationPage | None:
        """Update a segment after a page, and return the page to yield, or ``None``.

        If ``segment.error`` is set now, the caller must raise it after the page.
        """
        if segment.is_dropped:
            self._chain.planner.note_waste()
            return None
        cursor, summary = segment.walk.cursor, self._summarize(segment, page)
        is_unconfirmed = segment.is_unconfirmed
        if segment.stage is Stage.PROBE:
            return self._note_probe(segment, page, summary)
        self._check_order(segment, summary)
        if not self._chain.accept(segment, summary):
            return None
        self._catch_up.note_page(cursor, summary)
        self._whole_passes.note_page(summary)
        self._compare_with_creation(page)
        if self._times.order > 0 and (error := self._small_pages.add(summary)):
            segment.error = error
        if self._catch_up.needs_probe:
            self._first_page = page
        # The server may have ignored the cursor of an unconfirmed segment.
        before = None if is_unconfirmed else cursor
        return page if self._bounds is None else self._bound(self._bounds, segment, page, before)

    def excuses(self, segment: Segment, error: CekatError) -> bool:
        """Return whether the walk continues even though a segment could not fetch its page.

        The walk continues if the server may have refused a constructed cursor. If the server
        answers no requests at all, the first segment fails too.
        """
        if segment.is_unconfirmed and may_be_about_cursor(error):
            why = describe_for_log(error)
            self._chain.fall_back(f"a request with a constructed cursor failed: {why}")
        return segment.is_dropped

    def _read_next(self) -> Segment | None:
        if self._whole_passes.is_active:
            segment = self._whole_passes.next()
        else:
            if self._catch_up.requests > 1:
                self._times.assume_descending()
            segment = self._catch_up.next(self._times.order)
            self._chain.is_serial |= not self._catch_up.is_first_pass
        if segment is not None:
            self._chain.segments.insert(0, segment)
        return segment

    def _summarize(self, segment: Segment, page: ConversationPage) -> PageSummary:
        cursor, names = page.next_cursor, record_names(page)
        if cursor is None or (not names and cursor == segment.walk.cursor):
            return PageSummary(names, cursor, inf)
        self._times.learn(cursor, segment.walk.cursor)
        return PageSummary(names, cursor, self._times.depth(cursor))

    def _note_probe(
        self, segment: Segment, page: ConversationPage, summary: PageSummary
    ) -> ConversationPage | None:
        """Record the place of the newest records. Return the page only if an error follows it."""
        try:
            segment.advance(summary)
        except PaginationError as error:
            segment.error = error
            return page
        self._chain.segments.remove(segment)
        if isnan(summary.depth):
            self._give_up_order()
        if self._first_page is not None:
            self._resume_first_pass(self._first_page, page)
            self._first_page = None
        self._catch_up.note_probe(summary)
        if self._watermark is None:
            self._watermark = summary.next_cursor
        return None

    def _resume_first_pass(self, first: ConversationPage, probe: ConversationPage) -> None:
        """Continue after the first page. If a record may have moved, read that page again."""
        self._times.count_from(probe.next_cursor)  # count as if the probe had been read first
        if first.next_cursor and _starts_with(first, probe):
            self._times.learn(first.next_cursor, probe.next_cursor)
            self._catch_up.begin_pass(requests=1)
        else:
            self._chain.segments = [Segment()]
            self._catch_up.begin_pass()
        self._waiting = [*self._chain.segments]

    def _check_order(self, segment: Segment, summary: PageSummary) -> None:
        """Give up the time order if the server's own cursors contradict it."""
        if (
            not self._whole_passes.is_active
            and segment is self._chain.segments[0]
            and self._times.is_out_of_order(segment.walk.cursor, summary.depth)
        ):
            self._give_up_order()

    def _give_up_order(self) -> None:
        self._chain.fall_back(
            "the listing is not in time order, and is read again until nothing new is found"
        )
        self._whole_passes.activate()
        if self._bounds is not None:
            self._bounds.lift("its cursors are not in order of time")
        if self._catch_up.stage is Stage.NEW:
            self._catch_up.begin_pass()

    def _compare_with_creation(self, page: ConversationPage) -> None:
        """Note whether the page's cursor is the time at which its last record was created."""
        cursor, last = page.next_cursor, page.items[-1] if page.items else None
        if cursor is None or last is None or last.id != page.ids[-1] or last.created_at is None:
            return
        last_message = last.last_message and last.last_message.created_at
        if not self._times.is_at(cursor, last.created_at):
            self._by_activity += 1
        elif last_message != last.created_at:  # if the times are equal, the cursor may be either
            self._by_creation += 1

    def _bound(
        self,
        bounds: TimeBounds,
        segment: Segment,
        page: ConversationPage,
        before: Cursor | None,
    ) -> ConversationPage:
        """Return the wanted part of a page. End the segment if the rest of it is not wanted."""
        times = get_page_times(page, before)
        if warning := bounds.note(times):
            self._lift_bounds(bounds, warning)
        elif bounds.ends_after(times) and not segment.is_over:
            self._chain.finish(segment)
            bounds.has_skipped = True
        elif self._times.order < 0 and isfinite(bounds.since) and not bounds.is_lifted:
            self._chain.planner.end_at(int(self._times.depth_of(bounds.since)))
        return only(page, bounds.select(times))

    def _lift_bounds(self, bounds: TimeBounds, warning: str) -> None:
        self._warn(warning)
        self._chain.planner.end = None
        if not bounds.has_skipped:
            return
        self._chain.restart()
        self._waiting.clear()
        self._begin = Position.from_state(WalkState(reads_all=True))
        self._catch_up, self._first_page = CatchUp(WalkState(), self._start), None
        self._times.count_from(self._start)


def _starts_with(page: ConversationPage, probe: ConversationPage) -> bool:
    """Whether no record of a probe has moved, because a page starts with exactly their bytes.

    If a record had moved in between, it would be the first record or would have other bytes.
    """
    newest = [bytes(raw) for raw in probe.raw]
    return bool(newest) and newest == [bytes(raw) for raw in page.raw[: len(newest)]]
