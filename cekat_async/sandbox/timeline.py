"""When each conversation was last active, and back: which conversations a moment lies between."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from .density import stretches
from .mixing import mix, subkey

if TYPE_CHECKING:
    from collections.abc import Callable

    from .ids import Ids
    from .options import Density, Timestamps

_UNIX: Final = datetime(1970, 1, 1, tzinfo=UTC)
# 2026-04-10T09:51:19.885, the cursor of the API's own example.
NEWEST: Final = 1_775_814_679_885
_HOUR: Final = 3_600_000
# The seconds of an hour and the milliseconds of a second: looking them up is faster than spelling.
_SECONDS: Final = tuple(f"{second // 60:02d}:{second % 60:02d}" for second in range(3600))
_MILLIS: Final = tuple(f"{milli:03d}" for milli in range(1000))


class Timeline:
    """The listing's timestamps in milliseconds since 1970 (UTC), strictly falling by group.

    Args:
        seed: seed of the sandbox.
        ids: the conversations' ids; they order the rows of one timestamp.
        tie: how many neighbouring conversations share one timestamp.
        density: how the groups lie in time.
        conversations: how many conversations there are before anything happens; only the density
            asks for it.
    """

    def __init__(
        self,
        seed: int,
        ids: Ids,
        *,
        tie: int = 1,
        density: Density = "even",
        conversations: int = 0,
    ) -> None:
        self._key = subkey(seed, "time")
        self._ids = ids
        self._tie = tie
        self._stretches = stretches(density, -(-conversations // tie), subkey(seed, "density"))
        self._firsts = [stretch.first for stretch in self._stretches]
        self._starts = [stretch.start for stretch in self._stretches]

    def at(self, number: int) -> int:
        """Return the timestamp of conversation `number` before anything happens to it."""
        return self._of_group(number // self._tie)

    def newer(self, ts: int, id_: str) -> int:
        """Return how many conversations stand strictly before the position `(ts, id_)`."""
        return self._rank(ts, id_, bisect_right)

    def not_older(self, ts: int, id_: str) -> int:
        """Return how many conversations stand before the position `(ts, id_)` or on it."""
        return self._rank(ts, id_, bisect_left)

    def _rank(self, ts: int, id_: str, bisect: Callable[..., int]) -> int:
        group = self._group_not_after(ts)
        first = group * self._tie
        if self._of_group(group) < ts:
            return first
        last = first + self._tie - 1

        def id_at(back: int) -> str:
            return self._ids.of(last - back)

        below = bisect(range(self._tie), id_, key=id_at)
        return first + self._tie - below

    def _group_not_after(self, ts: int) -> int:
        back = max(0, NEWEST - ts)
        following = bisect_right(self._starts, back)
        first, start, step = self._stretches[following - 1]
        group = first + (back - start) // step
        # Behind the last group of a stretch lies a void, and behind that the next stretch.
        if following < len(self._firsts):
            group = min(group, self._firsts[following])
        return group if self._of_group(group) <= ts else group + 1

    def _of_group(self, group: int) -> int:
        first, start, step = self._stretches[bisect_right(self._firsts, group) - 1]
        back = start + (group - first) * step
        return NEWEST - back - (mix(self._key, group) % step if group else 0)


def speller(timestamps: Timestamps) -> Callable[[int], str]:
    """Return what spells milliseconds since 1970 in a dialect's way."""
    return _SPELLINGS[timestamps]


def spell_cursor(ts: int) -> str:
    """Spell `ts` as a cursor does: milliseconds, no zone."""
    hour, rest = divmod(ts, _HOUR)
    return f"{_spell_hour(hour)}:{_SECONDS[rest // 1000]}.{_MILLIS[rest % 1000]}"


def read_cursor(text: str) -> int | None:
    """Return the microseconds since 1970 that `text` means, or `None` when it is no timestamp.

    A zone is honoured, and without one UTC is meant.
    """
    try:
        read = datetime.fromisoformat(text)
        aware = read if read.tzinfo else read.replace(tzinfo=UTC)
        return (aware - _UNIX) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=4096)
def _spell_hour(hour: int) -> str:
    return (_UNIX + timedelta(hours=hour)).isoformat(timespec="hours")[:13]


def _micro(ts: int) -> str:
    # The listing goes by milliseconds; the three digits below are for show and follow from them.
    return f"{spell_cursor(ts)}{ts * 7919 % 1000:03d}"


_SPELLINGS: Final[dict[Timestamps, Callable[[int], str]]] = {
    "offset": lambda ts: f"{spell_cursor(ts)}+00:00",
    "z": lambda ts: f"{spell_cursor(ts)}Z",
    "micro": lambda ts: f"{_micro(ts)}+00:00",
    "naive": _micro,
    "space": lambda ts: spell_cursor(ts)[:19].replace("T", " "),
}
