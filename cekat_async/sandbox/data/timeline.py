"""The timestamp of each conversation, and the conversations before and after a timestamp."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cekat_async.sandbox.data.density import build_periods
from cekat_async.sandbox.seeded_hash import derive_key, hash_number

if TYPE_CHECKING:
    from collections.abc import Callable

    from cekat_async.sandbox.data.ids import Ids
    from cekat_async.sandbox.options import Dialect, Timestamps

_UNIX: Final = datetime(1970, 1, 1, tzinfo=UTC)
# 2026-04-10T09:51:19.885, the cursor of the API's own example.
NEWEST: Final = 1_775_814_679_885
_HOUR: Final = 3_600_000
# A lookup is eight times as fast as ``datetime.isoformat``, and each record has several times.
_SECONDS: Final = tuple(f"{second // 60:02d}:{second % 60:02d}" for second in range(3600))


class Timeline:
    """The listing's timestamps in milliseconds since 1970 (UTC).

    Groups of ``tie`` neighbours share one; each group's is lower than that of the group before.

    Args:
        seed: Seed of the sandbox.
        ids: The conversations' ids; they order the rows of one timestamp.
        dialect: How many neighbours share one timestamp, and the density of the groups.
        conversations: How many conversations there are at the start.
    """

    def __init__(self, seed: int, ids: Ids, dialect: Dialect, conversations: int) -> None:
        self._key = derive_key(seed, "time")
        self._ids = ids
        self._tie = dialect.tie
        groups = -(-conversations // dialect.tie)
        self._periods = build_periods(dialect.density, groups, derive_key(seed, "density"))
        self._firsts = [period.first for period in self._periods]
        self._starts = [period.start for period in self._periods]

    def get_time(self, number: int) -> int:
        """Return the timestamp of conversation ``number`` at the start."""
        return self._get_group_time(number // self._tie)

    def count_newer(self, ts: int, id_: str) -> int:
        """Return how many conversations are before ``(ts, id_)`` in the listing."""
        return self._rank(ts, id_, bisect_right)

    def count_not_older(self, ts: int, id_: str) -> int:
        """Return how many conversations are before ``(ts, id_)`` or equal to it."""
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
        # After the last group of a period there is a gap before the next period.
        if following < len(self._firsts):
            group = min(group, self._firsts[following])
        return group if self._get_group_time(group) <= ts else group + 1

    def _get_group_time(self, group: int) -> int:
        first, start, step = self._periods[bisect_right(self._firsts, group) - 1]
        back = start + (group - first) * step
        return NEWEST - back - (hash_number(self._key, group) % step if group else 0)


def get_time_formatter(timestamps: Timestamps) -> Callable[[int], str]:
    """Return the function that formats milliseconds since 1970 as a dialect does."""
    return _FORMATTERS[timestamps]


def format_cursor_time(ts: int) -> str:
    """Format milliseconds since 1970 as a cursor does: with milliseconds, without a zone."""
    hour, rest = divmod(ts, _HOUR)
    return f"{_format_hour(hour)}:{_SECONDS[rest // 1000]}.{rest % 1000:03d}"


def parse_cursor_time(text: str) -> int | None:
    """Return the microseconds since 1970 that ``text`` means, or ``None`` if it is not a timestamp.

    A timestamp without a zone is in UTC.
    """
    try:
        read = datetime.fromisoformat(text)
        aware = read if read.tzinfo else read.replace(tzinfo=UTC)
        return (aware - _UNIX) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=4096)
def _format_hour(hour: int) -> str:
    return (_UNIX + timedelta(hours=hour)).isoformat(timespec="hours")[:13]


def _format_micro(ts: int) -> str:
    # Times are whole milliseconds; three more digits are derived to look real.
    return f"{format_cursor_time(ts)}{ts * 7919 % 1000:03d}"


_FORMATTERS: Final[dict[Timestamps, Callable[[int], str]]] = {
    "offset": lambda ts: f"{format_cursor_time(ts)}+00:00",
    "z": lambda ts: f"{format_cursor_time(ts)}Z",
    "micro": lambda ts: f"{_format_micro(ts)}+00:00",
    "naive": _format_micro,
    "space": lambda ts: format_cursor_time(ts)[:19].replace("T", " "),
}
