"""How the conversations of an account lie in time: evenly, in bursts, or most of them lately."""

from __future__ import annotations

from itertools import accumulate
from math import isqrt
from typing import TYPE_CHECKING, Final, NamedTuple

from .mixing import mix

if TYPE_CHECKING:
    from .options import Density

# One group of conversations every 100 seconds: a week for 5,000, three years for a million. The
# other densities spread as many groups over about the same time.
STEP: Final = 100_003
_VOID: Final = 50
_SIZES: Final = 16
_BURST_STEP: Final = STEP // (1 + _VOID)
_RECENT_STEP: Final = STEP // 100
_EARLIER_STEP: Final = STEP * 10


class Stretch(NamedTuple):
    """Groups of conversations that follow one another at one pace, newest first.

    Group `first + n` lies somewhere in the `step` milliseconds that begin at `start + n * step`.

    Attributes:
        first: number of its first group.
        start: how far back from the newest conversation it begins, in milliseconds.
        step: milliseconds for each group.
    """

    first: int
    start: int
    step: int


def stretches(density: Density, groups: int, key: int) -> list[Stretch]:
    """Return the stretches of so many groups, newest first; the last one has no end.

    Args:
        density: how they lie in time.
        groups: how many groups there are.
        key: what the sizes of bursts follow from.
    """
    match density:
        case "even":
            return [Stretch(0, 0, STEP)]
        case "bursty":
            pace = _BURST_STEP * (1 + _VOID)
            return [Stretch(first, first * pace, _BURST_STEP) for first in _bursts(groups, key)]
        case "recent":
            recent = max(1, groups * 9 // 10)
            earlier = Stretch(recent, recent * _RECENT_STEP, _EARLIER_STEP)
            return [Stretch(0, 0, _RECENT_STEP), earlier]


def _bursts(groups: int, key: int) -> list[int]:
    """Return the first group of each burst; the largest may have 16 times that of the smallest."""
    # The fourth root: 6 bursts in 500, 20 in 40,000, 44 in a million, 141 in a hundred million.
    count = max(1, isqrt(2 * isqrt(groups)))
    weights = [1 + mix(key, number) % _SIZES for number in range(count)]
    before = [0, *accumulate(weights)]
    # One for each burst, and the rest by weight, so that none is empty.
    spare = max(0, groups - count)
    return [number + spare * before[number] // before[-1] for number in range(count)]
