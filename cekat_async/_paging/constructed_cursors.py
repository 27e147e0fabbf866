"""Converts a server's cursors to times, and times to constructed cursors."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from math import isnan, nan

from cekat_async.positions import Cursor

__all__ = [
    "ZONE_STEP",
    "CursorTimes",
    "get_resolution",
    "has_zone",
    "parse_cursor_ts",
    "to_microseconds",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = 1000
ZONE_STEP = 15 * 60 * 1_000_000
"""The difference between two time zones is a multiple of this many microseconds (15 minutes)."""
_TIMESTAMP = re.compile(
    r"\d{4}-\d\d-\d\d(?P<gap>[T ])\d\d:\d\d:\d\d(?:\.(?P<digits>\d{1,9}))?"
    r"(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII,
)


class CursorTimes:
    """Converts cursors to depths and back.

    A depth is the number of microseconds from the origin, in the direction of the listing. All
    depths are 0 until the order of the listing is known or assumed.

    Args:
        origin: The cursor with depth 0. With ``None``, the first learned cursor is the origin.
        order: -1 if the listing is in descending order of time, 1 in ascending order, 0 if unknown.
    """

    def __init__(self, origin: Cursor | None = None, order: int = 0) -> None:
        self.origin: Cursor | None = None
        self.order = order
        self._direction = order
        self._origin_time = 0
        self.count_from(origin)

    def learn(self, cursor: Cursor, previous: Cursor | None = None) -> None:
        """Learn the origin from a cursor, and the order from the cursor before it."""
        time = parse_cursor_ts(cursor.cursor_ts)
        if time is None:
            return
        if self.origin is None:
            self.origin, self._origin_time = cursor, time
        # Two reads of the front do not show the order, because records may have moved in between.
        if self.order or previous is None:
            return
        if (before := parse_cursor_ts(previous.cursor_ts)) is not None:
            self.order = (time > before) - (time < before)
            self._direction = self.order or self._direction

    def count_from(self, origin: Cursor | None) -> None:
        """Make ``origin`` the new origin. With ``None``, the next learned cursor is the origin."""
        self.origin = None
        if origin is not None:
            self.learn(origin)

    def assume_descending(self) -> None:
        """If the order is unknown, assume descending order."""
        self._direction = self.order or -1

    def depth(self, cursor: Cursor) -> float:
        """Return the depth of a cursor, or NaN if its timestamp cannot be read."""
        time = parse_cursor_ts(cursor.cursor_ts)
        return nan if time is None else self.depth_of(time)

    def depth_of(self, time: float) -> float:
        """Return the depth of a time. The time is in microseconds since 1970."""
        return self._direction * (time - self._origin_time)

    def is_out_of_order(self, cursor: Cursor | None, depth: float) -> bool:
        """Whether a page that ends at ``depth`` cannot be the page after ``cursor``."""
        return isnan(depth) or (cursor is not None and depth < self.depth(cursor))

    @staticmethod
    def is_at(cursor: Cursor, moment: datetime) -> bool:
        """Whether a cursor's timestamp equals ``moment`` in some time zone."""
        time = parse_cursor_ts(cursor.cursor_ts)
        if time is None:
            return False
        return (time - to_microseconds(moment)) % ZONE_STEP < _MILLISECOND

    def cursor_at(self, depth: int) -> Cursor | None:
        """Construct a cursor with this depth, in the format of the server's cursors.

        The cursor has the origin's id, so that its id exists. Return ``None`` if there is no
        origin, or if the time is before 1970 or after the year 9999.
        """
        time = self._origin_time + self._direction * depth
        if self.origin is None or time < 0:
            return None
        try:
            return Cursor(self.origin.cursor_id, _format_like(self.origin.cursor_ts, time))
        except OverflowError:
            return None


def parse_cursor_ts(timestamp: str) -> int | None:
    """Return a cursor's timestamp as microseconds since 1970, or ``None`` if it cannot be read.

    A timestamp without a time zone is read as UTC. The timestamps of one server can still be
    compared, because all of them are in the same zone.
    """
    if not _TIMESTAMP.fullmatch(timestamp):
        return None
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return to_microseconds(moment)


def has_zone(timestamp: str) -> bool:
    """Whether a cursor's timestamp contains its time zone."""
    parts = _TIMESTAMP.fullmatch(timestamp)
    return bool(parts and parts["zone"])


def get_resolution(timestamp: str) -> int:
    """Return how many microseconds one unit of the last digit of a cursor's timestamp is."""
    parts = _TIMESTAMP.fullmatch(timestamp)
    digits = len(parts["digits"] or "") if parts else 0
    return int(10 ** max(6 - digits, 0))


def to_microseconds(moment: datetime) -> int:
    """Return a moment in microseconds since 1970. A moment without a time zone is read as UTC."""
    return (_with_zone(moment) - _EPOCH) // timedelta(microseconds=1)


def _format_like(timestamp: str, time: int) -> str:
    """Format a time like a given timestamp, with the same zone, precision and separator."""
    parts = _TIMESTAMP.fullmatch(timestamp)
    zone = _with_zone(datetime.fromisoformat(timestamp)).tzinfo
    moment = (_EPOCH + timedelta(microseconds=time)).astimezone(zone)
    gap, digits, suffix = parts.group("gap", "digits", "zone") if parts else ("T", None, None)
    whole, _, fraction = (
        moment.replace(tzinfo=None).isoformat(gap, timespec="microseconds").partition(".")
    )
    shown = f".{fraction[: len(digits)].ljust(len(digits), '0')}" if digits else ""
    return f"{whole}{shown}{suffix or ''}"


def _with_zone(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
