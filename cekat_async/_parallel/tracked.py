"""A walk in segments that tells behind each page where it stands, and goes on from there."""

from __future__ import annotations

from itertools import islice
from math import inf, isinf, isnan
from typing import TYPE_CHECKING

import msgspec

from cekat_async._parallel.catch_up import MOST_PASSES, CatchUp
from cekat_async._parallel.hash_set import HashSet
from cekat_async._parallel.segment import PageSummary, Segment
from cekat_async._parallel.walk import SegmentedWalk
from cekat_async.errors import PaginationError
from cekat_async.positions import Edge, Part, Position

if TYPE_CHECKING:
    from collections.abc import Callable

    from cekat_async.pages import ConversationPage
    from cekat_async.positions import Cursor

__all__ = ["TrackedWalk"]

# Any of them closes the gap before a part: that so many have all moved away is unlikely, and costs
# no more than that the walk goes on in order.
_LANDMARKS = 16
# In which a listing shows that it does not go by time. Names are remembered as long.
_PROBATION = 20
# Each costs as many requests as the listing has pages.
_MOST_WHOLE_PASSES = 5
# A page of less than a tenth of the largest one is a crumb; so many in a row are no chance.
_CRUMBS_PER_PAGE = 10
_MOST_CRUMBS = 1000


class TrackedWalk(SegmentedWalk):
    """A walk whose pages come whole, each with the position that it has led to.

    A conversation that has moved meanwhile comes again, as it is then: what came last is right.
    Whoever keeps each page before its position can go on in another process, and has in the end
    every conversation that was there throughout. A listing that does not go by time is walked from
    its begin to its end until that brings nothing new. One that changes faster than it is read ends
    in a PaginationError.

    Args:
        position: Where to go on.
        most: How many segments may be walked at once.
        warn: Called with a text when the walk is not what was asked for.
    """

    def __init__(self, position: Position, most: int, warn: Callable[[str], None]) -> None:
        super().__init__(None, most, warn)
        self._timeline.restore(position.origin, position.order)
        self._is_honoured = position.is_honoured
        self._is_serial = position.is_serial
        self._is_unordered = position.is_unordered
        self._down_to = position.down_to
        self._overlap = position.overlap
        self._watermark = position.watermark
        self._by_creation = position.by_creation
        self._by_activity = position.by_activity
        self._follow_up = self._catch_up = CatchUp()
        self._catch_up.stage = position.stage
        self._catch_up.top = _answer_of(position.top)
        self._catch_up.coming = _answer_of(position.coming)
        self._catch_up.tail = position.tail
        self._catch_up.requests = position.requests
        self._catch_up.passes = position.passes
        self._segments = [_segment_of(part) for part in position.parts]
        self._is_stopped = False
        # Those of the parts that nobody walks as yet.
        self._waiting = [segment for segment in self._segments if not segment.is_over]
        self._answers = 0
        self._largest = 0
        self._crumbs = 0
        # Who goes on without an order has forgotten what was new, and begins to look anew.
        self._fresh = int(position.is_unordered)
        if position.is_unordered:
            self._catch_up.passes = 0

    @property
    def position(self) -> Position:
        """Where the walk stands behind all pages that it has handed out."""
        catch_up = self._catch_up
        return Position(
            parts=tuple(_part_of(segment) for segment in self._segments),
            down_to=self._down_to,
            overlap=self._overlap,
            origin=self._timeline.origin,
            order=self._timeline.order,
            by_creation=self._by_creation,
            by_activity=self._by_activity,
            is_unordered=self._is_unordered,
            is_honoured=self._is_honoured,
            is_serial=self._is_serial,
            watermark=self._watermark,
            stage=catch_up.stage,
            top=_edge_of(catch_up.top),
            coming=_edge_of(catch_up.coming),
            tail=catch_up.tail,
            requests=catch_up.requests,
            passes=catch_up.passes,
        )

    def begin(self) -> Segment | None:
        """Return the first part that is not over; without any, what has to be read again."""
        return self.follow_up()

    def most_left(self) -> float:
        """Return how many pages another walker would have a part of."""
        return inf if self._waiting else super().most_left()

    def split(self) -> Segment | None:
        """Return a part that nobody walks as yet, or another one."""
        return self._waiting.pop(0) if self._waiting else super().split()

    def stop(self) -> None:
        """Forget all parts: nothing more is wanted, and the last position stays what it is."""
        super().stop()
        self._waiting.clear()
        self._is_stopped = True

    def follow_up(self) -> Segment | None:
        """Return what else there is to walk for one who has come to the end of a part."""
        if self._waiting:
            return self._waiting.pop(0)
        if self._segments or self._is_stopped:
            return None
        return self._whole_pass() if self._is_unordered else self._next_pass()

    def _next_pass(self) -> Segment | None:
        if self._catch_up.requests > 1:
            self._timeline.settle()
        segment = self._catch_up.next(is_rising=self._timeline.is_rising)
        if self._catch_up.is_endless:
            raise _unsettled()
        if segment is None:
            return None
        if self._catch_up.is_first_pass and self._down_to is not None:
            segment.until, self._down_to = self._end_of(self._down_to), None
        # Only what is read for the first time is worth several walkers.
        self._is_serial |= not (segment.is_probe or self._catch_up.is_first_pass)
        self._segments.append(segment)
        return segment

    def _whole_pass(self) -> Segment | None:
        """Return another pass over everything, if the one before has brought anything new."""
        if not self._fresh:
            return None
        self._fresh = 0
        self._catch_up.passes += 1
        if self._catch_up.passes > _MOST_WHOLE_PASSES:
            raise _unsettled(f"{_MOST_WHOLE_PASSES} passes over all of it")
        self._segments.append(Segment(None, 0))
        return self._segments[0]

    def advance(self, segment: Segment, page: ConversationPage) -> ConversationPage | None:
        """Move on behind a page, and return it with the position: but for a probe's."""
        handed = super().advance(segment, page)
        return None if segment.is_probe else handed

    def _read(self, segment: Segment, page: ConversationPage) -> PageSummary:
        answer = super()._read(segment, page)
        self._compare_with_creation(page)
        self._count_crumbs(answer)
        # Other parts may begin with a cursor that was made up, behind which anything may come.
        if (
            segment is self._segments[0]
            and not self._is_unordered
            and self._is_odd(answer, segment)
        ):
            self._give_up_order(segment)
        return answer

    def _is_odd(self, answer: PageSummary, segment: Segment) -> bool:
        """Whether a page does not lie behind its cursor in time."""
        cursor = segment.walk.cursor
        return isnan(answer.depth) or (
            cursor is not None and answer.depth < self._timeline.depth(cursor)
        )

    def _count_crumbs(self, answer: PageSummary) -> None:
        """Notice when a walk does nothing any more but run after what moves.

        Where things go to the end, and the end is known by an empty page alone, there may be
        another conversation whenever the last one has been read.
        """
        count = len(answer.names)
        self._largest = max(self._largest, count)
        is_crumb = answer.depth < inf and count * _CRUMBS_PER_PAGE <= self._largest
        self._crumbs = self._crumbs + 1 if is_crumb else 0
        if self._timeline.is_rising and self._crumbs > _MOST_CRUMBS:
            raise _unsettled(f"{_MOST_CRUMBS} pages of next to nothing")

    def _compare_with_creation(self, page: ConversationPage) -> None:
        """Count whether cursors tell when their conversations were created, or something else."""
        cursor, last = page.next_cursor, page.items[-1] if page.items else None
        if cursor is None or last is None or last.id != page.ids[-1] or last.created_at is None:
            return
        spoken = last.last_message and last.last_message.created_at
        if not self._timeline.is_at(cursor, last.created_at):
            self._by_activity += 1
        elif spoken != last.created_at:  # else it may be the one time or the other
            self._by_creation += 1

    def _give_up_order(self, segment: Segment) -> None:
        """Take the listing for one in which anything may lie anywhere."""
        self._go_serial("the listing does not go by time, and is walked until nothing new comes")
        self._is_unordered = True
        self._catch_up.passes = 0
        self._down_to = segment.until = None
        # What had come by then may have been forgotten, and so counts as new. A probe is no pass.
        self._fresh += self._answers > _PROBATION or segment.is_probe

    def _end_of(self, down_to: Cursor) -> PageSummary:
        return PageSummary((), None, self._timeline.depth(down_to) + self._overlap)

    def _to_hand_out(self, page: ConversationPage, answer: PageSummary) -> ConversationPage | None:
        self._remember(answer)
        if self._watermark is None and self._catch_up.coming is not None:
            self._watermark = self._catch_up.coming.next_cursor
        return msgspec.structs.replace(page, next_cursor=self.head_cursor, position=self.position)

    def _remember(self, answer: PageSummary) -> None:
        """Count what is new, where that may come to matter: it takes memory for each record."""
        self._answers += 1
        if self._is_unordered or self._answers <= _PROBATION:
            self._fresh += sum([self._seen.add(name) for name in answer.names])
        elif self._answers == _PROBATION + 1:
            self._seen = HashSet()

    def _is_known(self, segment: Segment, answer: PageSummary) -> bool:
        # Not all that came is remembered; what parts began with is.
        others = (other.landmarks for other in self._segments if other is not segment)
        return bool(answer.names) and any(names.issuperset(answer.names) for names in others)


def _unsettled(after: str = f"{MOST_PASSES} more passes") -> PaginationError:
    return PaginationError(
        f"the listing changes faster than it is read: after {after} there may still be "
        "conversations that none of them has met"
    )


def _part_of(segment: Segment) -> Part:
    landmarks = (name for name in segment.landmarks if isinstance(name, str))
    return Part(
        cursor=segment.walk.cursor,
        begin=segment.begin,
        at=segment.at,
        landmarks=tuple(islice(landmarks, _LANDMARKS)),
        landmarks_end=None if isinf(segment.landmarks_end) else segment.landmarks_end,
        until=_edge_of(segment.until),
        is_over=segment.is_over,
    )


def _segment_of(part: Part) -> Segment:
    segment = Segment(part.cursor, part.begin, _answer_of(part.until))
    segment.at = part.at
    segment.landmarks = frozenset(part.landmarks)
    segment.landmarks_end = inf if part.landmarks_end is None else part.landmarks_end
    segment.walk.done = part.is_over
    return segment


def _edge_of(answer: PageSummary | None) -> Edge | None:
    if answer is None:
        return None
    known = not (isinf(answer.depth) or isnan(answer.depth))
    return Edge(answer.next_cursor, answer.depth if known else None)


def _answer_of(edge: Edge | None) -> PageSummary | None:
    if edge is None:
        return None
    return PageSummary((), edge.cursor, inf if edge.depth is None else edge.depth)
