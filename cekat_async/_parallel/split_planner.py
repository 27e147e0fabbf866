"""Where the next segment of a walk should begin: an estimate, whose errors cost requests."""

from __future__ import annotations

from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cekat_async._parallel.segment import Segment

__all__ = ["Split", "SplitPlanner"]

# A gap with fewer pages is not split: each segment costs about one request more, half a page where
# two of them join, and one if it begins where nothing is.
_LEAST_PAGES = 3
# If the length of the listing is unknown, it is explored: first this many pages for each walker
# from the front, and then each time this many times as deep. With 8 walkers, a million pages take
# ten explorations.
_FIRST_EXPLORATION = 2
_DEEPER = 4
# Explorations at the same time. All but one of those beyond the end find nothing.
_EXPLORATIONS = 4
# One request without a result is accepted per this many pages.
_PAGES_PER_WASTE = 20


class Split(NamedTuple):
    """A place for another segment: after which one, how deep, and how many pages are left there.

    The number of pages is infinite if it is unknown.
    """

    previous: Segment
    depth: int
    pages: float


class SplitPlanner:
    """Knows how dense the pages are on average, and where the listing ends at the latest.

    Args:
        most: The number of segments at the same time.

    Attributes:
        end: The depth at which there is nothing any more; ``None`` until one is known.
    """

    def __init__(self, most: int) -> None:
        self.end: int | None = None
        self._most = most
        self._wasted = 0
        self._pages = 0
        self._span = 0

    def end_at(self, depth: int) -> None:
        """Note that nothing is wanted from this depth on."""
        self.end = depth if self.end is None else min(self.end, depth)

    def note_page(self, span: int) -> None:
        """Note how many microseconds a page covered."""
        self._pages += 1
        self._span += span

    def note_waste(self) -> None:
        """Note a request without a result."""
        self._wasted += 1

    def best(self, segments: Sequence[Segment]) -> Split | None:
        """Return the place with most pages left, if another segment is worth it."""
        if not self._span or self._is_budget_used_up(segments):
            return None
        splits = (*self._between(segments), *self._after(segments))
        best = max(splits, key=lambda split: split.pages, default=None)
        return best if best and best.pages >= _LEAST_PAGES else None

    def _is_budget_used_up(self, segments: Sequence[Segment]) -> bool:
        """Whether too many requests had no result; of those in flight, half are counted."""
        in_flight = sum(not segment.has_records for segment in segments)
        return self._wasted + in_flight / 2 > self._most / 2 + self._pages / _PAGES_PER_WASTE

    def _between(self, segments: Sequence[Segment]) -> Iterator[Split]:
        """Split gaps that certainly have records after them in half."""
        last = _last_with_records(segments)
        for segment, following in pairwise(segments[: last + 1]):
            half = (following.begin - segment.at) // 2
            if not segment.is_over and half:
                yield Split(segment, segment.at + half, self._estimate(following.begin, segment))

    def _after(self, segments: Sequence[Segment]) -> Iterator[Split]:
        """Split what is after the last segment."""
        last = segments[-1]
        explorations = len(segments) - 1 - _last_with_records(segments)
        if last.is_over:
            return
        if self.end is None and explorations < _EXPLORATIONS:
            step = _FIRST_EXPLORATION * self._most * (self._span // self._pages)
            yield Split(last, max(_DEEPER * last.begin, last.at + step), inf)
        elif self.end is not None and not explorations and self.end - last.at > 1:
            # Nearer than the middle, since there may be nothing at all.
            depth = last.at + max((self.end - last.at) // 3, 1)
            yield Split(last, depth, self._estimate(self.end, last))

    def _estimate(self, depth: int, segment: Segment) -> float:
        """Return how many pages there are between a segment and a depth, if all are as dense."""
        return (depth - segment.at) * self._pages / self._span


def _last_with_records(segments: Sequence[Segment]) -> int:
    return max((index for index, one in enumerate(segments) if one.has_records), default=0)
