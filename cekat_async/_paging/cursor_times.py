"""Cursors as places in time, and back: a cursor into the middle of a listing, made up."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from math import nan

from cekat_async.positions import Cursor

__all__ = ["CursorTimes", "parse_cursor_ts", "to_microseconds"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = 1000
# Zones differ by whole quarters of an hour.
_ZONES = 15 * 60 * 1_000_000
_TIMESTAMP = re.compile(
    r"\d{4}-\d\d-\d\d(?P<gap>[T ])\d\d:\d\d:\d\d(?:\.(?P<digits>\d{1,9}))?"
    r"(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII,
)


class CursorTimes:
    """How deep in a listing a cursor points: microseconds behind the first cursor that came.

    Whether the listing goes back in time or forward shows when a cursor with another timestamp
    has come; until then its order is not known, and all depths are 0.
    """

    def __init__(self) -> None:
        self._origin: Cursor | None = None
        self._start = 0
        self._sign = 0

    @property
    def origin(self) -> Cursor | None:
        """The first cursor that came."""
        return self._origin

    @property
    def order(self) -> int:
        """Return -1 if the listing goes back in time, 1 if forward, 0 if it has not shown."""
        return self._sign

    def restore(self, origin: Cursor | None, order: int) -> None:
        """Take on what another timeline of the same listing has learned."""
        if origin is not None:
            self.learn(origin)
        self._sign = order

    @property
    def is_known(self) -> bool:
        """Whether the order of the listing has shown."""
        return self._sign != 0

    @property
    def is_rising(self) -> bool:
        """Whether the listing is known to go forward in time."""
        return self._sign > 0

    def learn(self, cursor: Cursor, behind: Cursor | None = None) -> None:
        """Take note of a cursor, and of the one that it came behind in the listing."""
        place = parse_cursor_ts(cursor.cursor_ts)
        if place is None:
            return
        if self._origin is None:
            self._origin, self._start = cursor, place
        # Between two requests for the front it may have changed: that tells nothing of the order.
        before = None if behind is None else parse_cursor_ts(behind.cursor_ts)
        if not self._sign and before is not None:
            self._sign = (place > before) - (place < before)

    def settle(self) -> None:
        """Take a listing whose order has not shown for one that goes back in time."""
        self._sign = self._sign or -1

    def depth(self, cursor: Cursor) -> float:
        """Return how deep a cursor points: NaN where its timestamp cannot be read."""
        place = parse_cursor_ts(cursor.cursor_ts)
        return nan if place is None else self._sign * (place - self._start)

    @staticmethod
    def is_at(cursor: Cursor, moment: datetime) -> bool:
        """Whether a cursor points at a moment, whatever zone it means where it names none."""
        place = parse_cursor_ts(cursor.cursor_ts)
        if place is None:
            return False
        return (place - to_microseconds(moment)) % _ZONES < _MILLISECOND

    def cursor_at(self, depth: int) -> Cursor | None:
        """Return a cursor that points so deep, in the spelling of the server's own.

        Its id is that of a cursor that the server has sent, so that it is a real one's. None where
        nothing has been learned, or nothing can be: before 1970, or behind the end of time.
        """
        place = self._start + self._sign * depth
        if self._origin is None or place < 0:
            return None
        try:
            return Cursor(self._origin.cursor_id, _spelled(place, self._origin.cursor_ts))
        except OverflowError:
            return None


def parse_cursor_ts(timestamp: str) -> int | None:
    """Return the microseconds from 1970 to a cursor's timestamp, or ``None`` if it is none.

    A timestamp without a zone is read as UTC. Whichever zone it means, that is good enough to tell
    earlier from later.
    """
    if not _TIMESTAMP.fullmatch(timestamp):
        return None
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return to_microseconds(moment)


def to_microseconds(moment: datetime) -> int:
    """Return the microseconds from 1970 to a moment; one without a zone is UTC."""
    return (_aware(moment) - _EPOCH) // timedelta(microseconds=1)


def _spelled(place: int, like: str) -> str:
    """Spell a moment with the zone, the digits and the gap of another timestamp."""
    parts = _TIMESTAMP.fullmatch(like)
    zone = _aware(datetime.fromisoformat(like)).tzinfo
    moment = (_EPOCH + timedelta(microseconds=place)).astimezone(zone)
    gap, digits, suffix = parts.group("gap", "digits", "zone") if parts else ("T", None, None)
    whole, _, fraction = (
        moment.replace(tzinfo=None).isoformat(gap, timespec="microseconds").partition(".")
    )
    shown = f".{fraction[: len(digits)].ljust(len(digits), '0')}" if digits else ""
    return f"{whole}{shown}{suffix or ''}"


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
