"""How conversations are distributed over time: evenly, in bursts, or mostly recent."""

from __future__ import annotations

from itertools import accumulate
from math import isqrt
from typing import TYPE_CHECKING, Final, NamedTuple

from cekat_async.sandbox.seeded_hash import hash_number

if TYPE_CHECKING:
    from cekat_async.sandbox.options import Density

# One group every 100 seconds: a week for 5,000 groups, three years for a million. The other
# densities take about the same time in total.
STEP: Final = 100_003
_GAP: Final = 50
_SIZES: Final = 16
_BURST_STEP: Final = STEP // (1 + _GAP)
_RECENT_STEP: Final = STEP // 100
_EARLIER_STEP: Final = STEP * 10


class Period(NamedTuple):
    """Consecutive groups of conversations at one pace, newest first.

    Group ``first + n`` is somewhere in the ``step`` milliseconds from ``start + n * step`` on.

    Attributes:
        first: Number of its first group.
        start: Its distance from the newest conversation, in milliseconds.
        step: Milliseconds for each group.
    """

    first: int
    start: int
    step: int


def build_periods(density: Density, groups: int, key: int) -> list[Period]:
    """Return the periods that contain the groups, newest first; the last one has no end.

    Args:
        density: How the groups are distributed.
        groups: How many groups there are.
        key: Decides the sizes of bursts.
    """
    match density:
        case "even":
            return [Period(0, 0, STEP)]
        case "bursty":
            pace = _BURST_STEP * (1 + _GAP)
            return [Period(first, first * pace, _BURST_STEP) for first in _find_bursts(groups, key)]
        case "recent":
            recent = max(1, groups * 9 // 10)
            earlier = Period(recent, recent * _RECENT_STEP, _EARLIER_STEP)
            return [Period(0, 0, _RECENT_STEP), earlier]


def _find_bursts(groups: int, key: int) -> list[int]:
    """Return the first group of each burst; sizes differ by a factor of up to 16."""
    # 6 bursts in 500 groups, 20 in 40,000, 44 in a million.
    count = max(1, isqrt(2 * isqrt(groups)))
    weights = [1 + hash_number(key, number) % _SIZES for number in range(count)]
    before = [0, *accumulate(weights)]
    # Each burst gets one group, so that none is empty, and the rest by weight.
    spare = max(0, groups - count)
    return [number + spare * before[number] // before[-1] for number in range(count)]
