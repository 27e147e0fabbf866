"""Computes the timestamps of conversations, and counts the conversations before a timestamp."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from math import isqrt
from typing import TYPE_CHECKING, Final, NamedTuple

from cekat_async.sandbox.seeded_hash import derive_key, hash_number

if TYPE_CHECKING:
    from collections.abc import Callable

    from cekat_async.sandbox.data.ids import Ids
    from cekat_async.sandbox.options import Density, Dialect, Timestamps

_UNIX: Final = datetime(1970, 1, 1, tzinfo=UTC)
# 2026-04-10T09:51:19.885, the time of the cursor in the API's own example.
NEWEST: Final = 1_775_814_679_885

# One group every 100 seconds: 5,000 groups cover about a week, and a million groups cover about
# three years. The other densities cover about the same time in total.
_STEP: Final = 100_003
_GAP: Final = 50
_SIZES: Final = 16
_BURST_STEP: Final = _STEP // (1 + _GAP)
_RECENT_STEP: Final = _STEP // 100
_EARLIER_STEP: Final = _STEP * 10


class _Period(NamedTuple):
    """Consecutive groups of conversations with the same density, newest first.

    Group ``first + n`` is between ``start + n * step`` and ``start + (n + 1) * step`` milliseconds
    before the newest conversation.
    """

    first: int
    start: int
    step: int


class Timeline:
    """The timestamps of the listing, in milliseconds since 1970 (UTC).

    Groups of ``tie`` consecutive conversations share a timestamp. Each group has a lower timestamp
    than the group before it. Within a group, the ids determine the order.
    """

    def __init__(self, seed: int, ids: Ids, dialect: Dialect, conversations: int) -> None:
        self._key = derive_key(seed, "time")
        self._ids = ids
        self._tie = dialect.tie
        groups = -(-conversations // dialect.tie)
        self._periods = _build_periods(dialect.density, groups, derive_key(seed, "density"))
        self._firsts = [period.first for period in self._periods]
        self._starts = [period.start for period in self._periods]

    def get_time(self, number: int) -> int:
        """Return the timestamp of conversation ``number`` at the start."""
        return self._get_group_time(number // self._tie)

    def count_newer(self, ts: int, id_: str) -> int:
        """Return how many conversations are before ``(ts, id_)`` in the listing."""
        return self._rank(ts, id_, bisect_right)

    def count_not_older(self, ts: int, id_: str) -> int:
        """Return how many conversations are before ``(ts, id_)`` in the listing, or equal to it."""
        return self._rank(ts, id_, bisect_left)

    def _rank(self, ts: int, id_: str, bisect: Callable[..., int]) -> int:
        group = self._find_group_not_after(ts)
        first = group * self._tie
        if self._get_group_time(group) < ts:
            return first
        last = first + self._tie - 1

        def id_at(back: int) -> str:
            return self._ids.encode(last - back)

        below = bisect(range(self._tie), id_, key=id_at)
        return first + self._tie - below

    def _find_group_not_after(self, ts: int) -> int:
        back = max(0, NEWEST - ts)
        following = bisect_right(self._starts, back)
        first, start, step = self._periods[following - 1]
        group = first + (back - start) // step
        # There is a gap between the last group of a period and the next period.
        if following < len(self._firsts):
            group = min(group, self._firsts[following])
        return group if self._get_group_time(group) <= ts else group + 1

    def _get_group_time(self, group: int) -> int:
        first, start, step = self._periods[bisect_right(self._firsts, group) - 1]
        back = start + (group - first) * step
        return NEWEST - back - (hash_number(self._key, group) % step if group else 0)


def _build_periods(density: Density, groups: int, key: int) -> list[_Period]:
    """Return the periods that contain the groups, newest first. The last period has no end."""
    match density:
        case "even":
            return [_Period(0, 0, _STEP)]
        case "bursty":
            pace = _BURST_STEP * (1 + _GAP)
            bursts = _find_bursts(groups, key)
            return [_Period(first, first * pace, _BURST_STEP) for first in bursts]
        case "recent":
            recent = max(1, groups * 9 // 10)
            earlier = _Period(recent, recent * _RECENT_STEP, _EARLIER_STEP)
            return [_Period(0, 0, _RECENT_STEP), earlier]


def _find_bursts(groups: int, key: int) -> list[int]:
    """Return the first group of each burst. The sizes of bursts differ by a factor of up to 16."""
    # This gives 6 bursts in 500 groups, 20 in 40,000, and 44 in a million.
    count = max(1, isqrt(2 * isqrt(groups)))
    weights = [1 + hash_number(key, number) % _SIZES for number in range(count)]
    before = [0, *accumulate(weights)]
    # Each burst gets one group, so that no burst is empty. The other groups are distributed by
    # weight.
    spare = max(0, groups - count)
    return [number + spare * before[number] // before[-1] for number in range(count)]


def format_cursor_time(ts: int) -> str:
    """Format milliseconds since 1970 for a cursor: with three decimals and without a time zone."""
    moment = (_UNIX + timedelta(milliseconds=ts)).replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds")


def parse_cursor_time(text: str) -> int | None:
    """Return a timestamp as microseconds since 1970, or ``None`` if ``text`` is not a timestamp.

    A timestamp without a time zone is in UTC.
    """
    try:
        read = datetime.fromisoformat(text)
        aware = read if read.tzinfo else read.replace(tzinfo=UTC)
        return (aware - _UNIX) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        return None


def _format_micro(ts: int) -> str:
    # Times are whole milliseconds. Three more digits are computed, so that the times look real.
    return f"{format_cursor_time(ts)}{ts * 7919 % 1000:03d}"


FORMATTERS: Final[dict[Timestamps, Callable[[int], str]]] = {
    "offset": lambda ts: f"{format_cursor_time(ts)}+00:00",
    "z": lambda ts: f"{format_cursor_time(ts)}Z",
    "micro": lambda ts: f"{_format_micro(ts)}+00:00",
    "naive": _format_micro,
    "space": lambda ts: format_cursor_time(ts)[:19].replace("T", " "),
}
