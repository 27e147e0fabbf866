"""Estimates where the next segment of a walk should begin. A wrong estimate only costs requests."""

from __future__ import annotations

from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cekat_async._parallel.segment import Segment

__all__ = ["Split", "SplitPlanner"]

# A gap with fewer pages is not split, because each segment costs about one extra request. Where two
# segments join, about half a page is read twice. A segment that begins after the end of the listing
# wastes a whole page.
_LEAST_PAGES = 3
# If the length of the listing is unknown, segments explore it. The first exploration begins this
# many pages per walker from the front, and each later exploration begins this many times as deep as
# the one before. With 8 walkers, ten explorations find the end of a million pages.
_FIRST_EXPLORATION = 2
_DEEPER = 4
# The most explorations at the same time. Beyond the end of the listing, only one of them is useful.
_EXPLORATIONS = 4
# One request without a result is acceptable for each group of this many pages.
_PAGES_PER_WASTE = 20


class Split(NamedTuple):
    """The place of another segment: the segment before it, its depth, and the remaining pages.

    If the number of remaining pages is unknown, it is infinite.
    """

    previous: Segment
    depth: int
    pages: float


class SplitPlanner:
    """Tracks the average density of pages, and an upper bound for the end of the listing.

    Args:
        most: The most segments that may be read at the same time.

    Attributes:
        end: A depth that is certainly at or after the end of the listing. ``None`` while no such
            depth is known.
    """

    def __init__(self, most: int) -> None:
        self.end: int | None = None
        self._most = most
        self._wasted = 0
        self._pages = 0
        self._span = 0

    def end_at(self, depth: int) -> None:
        """Record that no records from this depth on are wanted."""
        self.end = depth if self.end is None else min(self.end, depth)

    def note_page(self, span: int) -> None:
        """Record how many microseconds the records of a page span."""
        self._pages += 1
        self._span += span

    def note_waste(self) -> None:
        """Count a request without a result."""
        self._wasted += 1

    def best(self, segments: Sequence[Segment]) -> Split | None:
        """Return the place with the most remaining pages, or ``None`` if none would pay off."""
        if not self._span or self._is_budget_used_up(segments):
            return None
        splits = (*self._between(segments), *self._after(segments))
        best = max(splits, key=lambda split: split.pages, default=None)
        return best if best and best.pages >= _LEAST_PAGES else None

    def _is_budget_used_up(self, segments: Sequence[Segment]) -> bool:
        """Whether too many requests had no result. A request in flight counts half."""
        in_flight = sum(not segment.has_records for segment in segments)
        return self._wasted + in_flight / 2 > self._most / 2 + self._pages / _PAGES_PER_WASTE

    def _between(self, segments: Sequence[Segment]) -> Iterator[Split]:
        """Yield the middle of each gap that is certainly followed by records."""
        last = _last_with_records(segments)
        for segment, following in pairwise(segments[: last + 1]):
            half = (following.begin - segment.at) // 2
            if not segment.is_over and half:
                yield Split(segment, segment.at + half, self._estimate(following.begin, segment))

    def _after(self, segments: Sequence[Segment]) -> Iterator[Split]:
        """Yield a place after the last segment, if the listing may continue there."""
        last = segments[-1]
        explorations = len(segments) - 1 - _last_with_records(segments)
        if last.is_over:
            return
        if self.end is None and explorations < _EXPLORATIONS:
            step = _FIRST_EXPLORATION * self._most * (self._span // self._pages)
            yield Split(last, max(_DEEPER * last.begin, last.at + step), inf)
        elif self.end is not None and not explorations and self.end - last.at > 1:
            # The place is at a third of the gap, not in the middle, because the gap may have no
            # records.
            depth = last.at + max((self.end - last.at) // 3, 1)
            yield Split(last, depth, self._estimate(self.end, last))

    def _estimate(self, depth: int, segment: Segment) -> float:
        """Estimate how many pages there are between a segment and a depth."""
        return (depth - segment.at) * self._pages / self._span


def _last_with_records(segments: Sequence[Segment]) -> int:
    return max((index for index, one in enumerate(segments) if one.has_records), default=0)
