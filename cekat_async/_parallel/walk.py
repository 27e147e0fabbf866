"""A walk of one listing in several segments at once: where each stands, and whether to trust it.

A cursor that is made up points somewhere into the listing, if the server honours it at all. Nothing
rests on where: a segment is trusted only when the walk before it, page by page along the server's
own cursors, has come to one of the records that the segment began with. So the segments that have
met make up one serial walk from the front; at the first doubt the others are dropped, and that walk
goes on alone.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import msgspec

from cekat_async._paging.cursor_times import CursorTimes
from cekat_async._parallel.follow_up import FollowUp
from cekat_async._parallel.hash_set import HashSet
from cekat_async._parallel.segment import PageSummary, Segment
from cekat_async._parallel.split_planner import SplitPlanner
from cekat_async.errors import (
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    PaginationError,
    PermissionDeniedError,
    RateLimitError,
)
from cekat_async.pages import only, record_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cekat_async._parallel.catch_up import CatchUp
    from cekat_async._parallel.split_planner import Split
    from cekat_async.errors import CekatError
    from cekat_async.pages import ConversationPage
    from cekat_async.positions import Cursor

__all__ = ["SegmentedWalk"]

# What any request would have failed with, whatever its cursor.
_OF_ANY_REQUEST = (
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    PermissionDeniedError,
    RateLimitError,
)


class SegmentedWalk:
    """Says what to fetch next, and what of it to hand out.

    Ask :meth:`begin` and then, as often as there is somebody to walk, :meth:`split` for segments.
    Fetch page after page of each at ``segment.walk.cursor`` and give it to :meth:`advance`, until
    the segment ``is_over``; then ask :meth:`follow_up` for another.

    Args:
        start: Where the listing is to be walked from.
        most: How many segments may be walked at once.
        warn: Called with a text when the walk is not what was asked for.
    """

    def __init__(self, start: Cursor | None, most: int, warn: Callable[[str], None]) -> None:
        self._start = start
        self._most = most
        self._warn = warn
        # In the order of the listing. All before the first have met, and are forgotten.
        self._segments: list[Segment] = []
        self._seen = HashSet()
        self._splits = SplitPlanner(most)
        self._follow_up: FollowUp | CatchUp = FollowUp(start)
        self._timeline = CursorTimes()
        if start is not None:
            self._timeline.learn(start)
        self._is_honoured = False
        self._is_serial = False
        self._is_warned = False

    @property
    def head_cursor(self) -> Cursor | None:
        """Where a serial walk would find all that has not been handed out."""
        return self._segments[0].walk.cursor if self._segments else None

    def begin(self) -> Segment | None:
        """Return the first segment, if there is anything to walk."""
        segment = Segment(self._start, 0)
        self._segments.append(segment)
        return segment

    def most_left(self) -> float:
        """Return how many pages another segment would have a part of; 0 if it is not worth it."""
        split = self._best_split()
        return split.pages if split else 0

    def split(self) -> Segment | None:
        """Return another segment, if it is worth it."""
        while split := self._best_split():
            cursor = self._timeline.cursor_at(split.depth)
            if cursor is not None:
                return self._insert(cursor, split.behind)
            self._splits.end = split.depth
        return None

    def _insert(self, cursor: Cursor, behind: Segment) -> Segment | None:
        segment = Segment(cursor, int(self._timeline.depth(cursor)))
        # The server's timestamps are coarser than depths, so that there may be no room.
        if segment.begin <= behind.at:
            return None
        self._segments.insert(self._segments.index(behind) + 1, segment)
        return segment

    def advance(self, segment: Segment, page: ConversationPage) -> ConversationPage | None:
        """Move on behind a page, and return what of it is to be handed out."""
        if segment.is_dropped:
            self._splits.note_waste()
            return None
        answer = self._read(segment, page)
        if not self._accepts(segment, answer):
            return None
        return self._to_hand_out(page, answer)

    def _to_hand_out(self, page: ConversationPage, answer: PageSummary) -> ConversationPage | None:
        """Return what of a page was not handed out before; None if it is nothing."""
        fresh = [self._seen.add(name) for name in answer.names]
        if fresh and not any(fresh):
            return None
        return msgspec.structs.replace(only(page, fresh), next_cursor=self.head_cursor)

    def excuses(self, segment: Segment, error: CekatError) -> bool:
        """Return whether the walk goes on without what a segment failed to fetch.

        So it does when the server does not answer a cursor that it did not make: it may refuse it
        with any status, or search for too long. If it answers nothing at all, the first segment
        fails as well.
        """
        if self._is_new(segment) and not isinstance(error, _OF_ANY_REQUEST):
            self._go_serial(f"the server does not answer a cursor that it did not send: {error}")
        return segment.is_dropped

    def stop(self) -> None:
        """Forget all segments: nothing more is wanted."""
        self._drop(self._segments)
        self._follow_up.give_up()

    def follow_up(self) -> Segment | None:
        """Return a pass over what has changed meanwhile, if all segments are over and it has."""
        if self._segments:
            return None
        self._timeline.settle()
        if segment := self._follow_up.next(is_rising=self._timeline.is_rising):
            self._is_serial = True
            self._segments.append(segment)
        elif self._follow_up.is_endless:
            self._warn("the listing changes faster than it is read: conversations may be missing")
        return segment

    def _best_split(self) -> Split | None:
        under_way = sum(not segment.is_over for segment in self._segments)
        if self._is_serial or not 0 < under_way < self._most:
            return None
        if not self._is_honoured and under_way > 1:
            return None  # one segment finds out whether the server honours cursors that we make
        return self._splits.best(self._segments)

    def _read(self, segment: Segment, page: ConversationPage) -> PageSummary:
        cursor, names = page.next_cursor, record_names(page)
        if cursor is None or (not names and cursor == segment.walk.cursor):
            return PageSummary(names, cursor, inf)
        self._timeline.learn(cursor, segment.walk.cursor)
        return PageSummary(names, cursor, self._timeline.depth(cursor))

    def _accepts(self, segment: Segment, answer: PageSummary) -> bool:
        """Move a segment on, and return whether what has come is to be handed out."""
        if not self._is_serial and (why := self._doubt(segment, answer)):
            self._go_serial(why)
        if not segment.is_dropped:
            self._move(segment, answer)
        return not segment.is_dropped

    def _doubt(self, segment: Segment, answer: PageSummary) -> str | None:
        """Return why a page cannot be what the segments rest on; None if it can."""
        # A timestamp that cannot be read has no depth, which compares like this with everything.
        if not answer.depth >= segment.at:
            if not self._is_new(segment):
                self._follow_up.give_up()  # nobody knows at which end things arrive
            return "a page does not lie behind its cursor in time"
        self._drop_late(segment, answer)
        following = self._following(segment)
        if following and following.is_met(answer):
            return None
        if self._is_new(segment) and self._is_known(segment, answer):
            return "a page from the middle brings what was there before"
        if following and following.is_passed(answer):
            return "two segments do not meet"
        return None

    def _drop_late(self, segment: Segment, answer: PageSummary) -> None:
        """Drop the following segments that begin in a page, and have not been answered so far."""
        following = self._following(segment)
        while following and not following.is_answered and following.begin <= answer.depth:
            self._drop([following])
            following = self._following(segment)

    def _move(self, segment: Segment, answer: PageSummary) -> None:
        is_new, is_first, at = self._is_new(segment), not segment.is_answered, segment.at
        self._follow_up.note(segment.walk.cursor, answer)
        try:
            segment.move(answer)
        except PaginationError as error:
            self._fail(segment, error)
            return
        self._warn_once(segment.walk.take_warning())
        if is_new and not answer.names and answer.depth == inf:
            self._end_at(segment)
            return
        self._is_honoured |= is_new and bool(answer.names)
        if answer.depth < inf and (is_new or not is_first):  # the front's begin is not known
            self._splits.note(segment.at - at, segment.ended_run)
        following = self._following(segment)
        if following and following.is_met(answer):
            segment.walk.done = True
            if is_new and self._is_known(segment, answer):
                self._miss(segment, following)
        while self._segments and self._segments[0].is_over:
            self._segments.pop(0)

    def _end_at(self, segment: Segment) -> None:
        """Take note that there is nothing where a segment was to begin."""
        self._splits.end = segment.begin
        self._splits.note_waste()
        self._drop([segment])

    def _miss(self, segment: Segment, following: Segment) -> None:
        """Take note that a segment began in the void before the following one."""
        segment.misses = following.misses + 1
        self._splits.note_waste()

    def _fail(self, segment: Segment, error: PaginationError) -> None:
        """Keep the error of the walk from the front; what goes round elsewhere is a doubt."""
        if segment is self._segments[0]:
            segment.error = error
        else:
            # Without its text, which quotes the server: nobody has struck the key out of that.
            self._go_serial("one segment would never end")

    def _warn_once(self, warning: str | None) -> None:
        """Log the warning of the first segment that has one."""
        if warning and not self._is_warned:
            self._is_warned = True
            self._warn(warning)

    def _go_serial(self, why: str) -> None:
        self._is_serial = True
        self._drop(self._segments[1:])
        self._warn(f"the walk goes on without segments: {why}")

    def _drop(self, segments: Sequence[Segment]) -> None:
        for segment in list(segments):
            segment.is_dropped = True
            self._segments.remove(segment)

    def _following(self, segment: Segment) -> Segment | None:
        index = self._segments.index(segment) + 1
        return self._segments[index] if index < len(self._segments) else None

    def _is_known(self, segment: Segment, answer: PageSummary) -> bool:  # noqa: ARG002 - see TrackedWalk
        """Whether a page has records, and all of them came before, in other pages."""
        return bool(answer.names) and all(map(self._seen.has, answer.names))

    def _is_new(self, segment: Segment) -> bool:
        """Whether a segment begins with a cursor that was made up, and is not answered yet."""
        return segment.begin > 0 and not segment.is_answered and not segment.is_dropped
