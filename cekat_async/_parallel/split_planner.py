"""Where the next segment of a walk should begin: an estimate, that costs requests if it is bad."""

from __future__ import annotations

from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cekat_async._parallel.segment import Segment

__all__ = ["Split", "SplitPlanner"]

# Pages that must be left of a gap to make two of it. Each further segment costs about one request
# more: half a page where it is met, and some are found in a void.
_LEAST_PAGES = 3
# Where nobody knows how long the listing is, it is sounded: first so many pages for each walker
# from its front, and then each time so many times as deep. So for 8 of them a million pages take
# ten soundings.
_FIRST_SOUNDING = 2
_DEEPER = 4
# Of so many pages one may have been asked for in vain.
_PAGES_PER_WASTE = 20
# Soundings that may be under way at once. Those behind the end bring nothing but where it is.
_SOUNDINGS = 4


class Split(NamedTuple):
    """A place for another segment: behind which one, how deep, and how many pages are left there.

    Of an unknown number of pages it is infinite.
    """

    behind: Segment
    depth: int
    pages: float


class SplitPlanner:
    """Knows how close the pages lie, and how deep the listing is at the most.

    Args:
        most: How many segments there may be.

    Attributes:
        end: The depth at which there is nothing any more, once that is known.
    """

    def __init__(self, most: int) -> None:
        self.end: int | None = None
        self._most = most
        self._wasted = 0
        self._pages = 0
        self._span = 0
        self._bursts = 0
        self._in_bursts = 0

    def note(self, span: int, ended_run: int) -> None:
        """Take note of how much time a page has covered, and of the burst that ended in it."""
        self._pages += 1
        self._span += span
        self._bursts += ended_run > 0
        self._in_bursts += ended_run

    def note_waste(self) -> None:
        """Take note of a segment that brought nothing."""
        self._wasted += 1

    def best(self, segments: Sequence[Segment]) -> Split | None:
        """Return where most is left, if it is worth a segment."""
        if not self._span or self._is_spent(segments):
            return None
        splits = (*self._between(segments), *self._behind(segments))
        best = max(splits, key=lambda split: split.pages, default=None)
        return best if best and best.pages >= _LEAST_PAGES else None

    def _is_spent(self, segments: Sequence[Segment]) -> bool:
        """Whether too many requests were in vain; of those under way, one in two may be."""
        unanswered = sum(not segment.is_answered for segment in segments)
        return self._wasted + unanswered / 2 > self._most / 2 + self._pages / _PAGES_PER_WASTE

    def _between(self, segments: Sequence[Segment]) -> Iterator[Split]:
        """Look at the gaps that have something behind them for certain."""
        last = _last_answered(segments)
        for segment, following in pairwise(segments[: last + 1]):
            half = (following.begin - segment.at) // 2
            if segment.is_over or half < 1:
                continue
            if following.misses:
                # The middle was in a void: the burst that the segment is in ends before.
                half = min(half, int(segment.width * self._rest(segment)) // 2)
            pages = self._pages_to(following.begin, segment, following.misses)
            yield Split(segment, segment.at + max(half, 1), pages)

    def _behind(self, segments: Sequence[Segment]) -> Iterator[Split]:
        """Look at what lies behind the last segment."""
        last, front = segments[-1], segments[0]
        soundings = len(segments) - 1 - _last_answered(segments)
        if last.is_over:
            return
        if self.end is None and soundings < _SOUNDINGS:
            step = _FIRST_SOUNDING * self._most * (front.width or self._span // self._pages)
            yield Split(last, max(_DEEPER * last.begin, last.at + step), inf)
        elif self.end is not None and not soundings and self.end - last.at > 1:
            # Nearer than the middle: perhaps there is nothing at all.
            depth = last.at + max((self.end - last.at) // 3, 1)
            yield Split(last, depth, self._pages_to(self.end, last, 0))

    def _pages_to(self, depth: int, segment: Segment, misses: int) -> float:
        """Return how many pages there may be between a segment's position and a depth.

        In the long run the density of the whole listing is right; nearby it is the segment's own,
        if the burst that it is in goes on. That is the less likely the more cursors behind it have
        led into the void.
        """
        gap = depth - segment.at
        average = gap * self._pages / self._span
        if not segment.width:
            return average
        return min(gap / segment.width, average + 2 * self._rest(segment) * 0.5**misses)

    def _rest(self, segment: Segment) -> float:
        """Return how many pages more the burst may have that a segment is in.

        As many as others had, and if it has lasted longer, as many again.
        """
        usual = self._in_bursts / self._bursts if self._bursts > 1 else 0
        return max(segment.run, usual - segment.run)


def _last_answered(segments: Sequence[Segment]) -> int:
    return max((index for index, one in enumerate(segments) if one.is_answered), default=0)
