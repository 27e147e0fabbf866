"""Time ranges. ``since`` and ``until`` are times, or durations before now."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeAlias

from cekat_async.errors import ConfigurationError

__all__ = ["Bound", "ResolvedRange", "TimeRange", "format_bound", "parse_bound", "require_bound"]

Bound: TypeAlias = datetime | timedelta
"""One end of a time range: a datetime with a time zone, or a duration before now."""

_UNITS = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
}
_MICROSECOND = timedelta(microseconds=1)
_DURATION = re.compile(r"([0-9]+)(?:\.([0-9]{1,9}))?([wdhms])")


class ResolvedRange(NamedTuple):
    """A time range with fixed times. ``None`` means that an end is open."""

    since: datetime | None
    until: datetime | None


class TimeRange(NamedTuple):
    """A time range as the caller passed it. ``None`` means that an end is open.

    Attributes:
        since: The start of the range.
        until: The end of the range.
    """

    since: Bound | None = None
    until: Bound | None = None

    def resolve(self, now: datetime | None = None) -> ResolvedRange:
        """Return the range with fixed times. Durations count back from ``now`` (the present).

        Raises:
            ConfigurationError: An end is wrong, or ``since`` is not before ``until``.
        """
        moment = datetime.now(UTC) if now is None else now
        since = _resolve("since", self.since, moment)
        until = _resolve("until", self.until, moment)
        if since is not None and until is not None and since >= until:
            raise ConfigurationError(
                f"since must be before until, but it is {since.isoformat()}, and until is "
                f"{until.isoformat()}"
            )
        return ResolvedRange(since, until)

    def __str__(self) -> str:
        """Return the text that the repr of a listing shows for the range."""
        named = zip(("since", "until"), self, strict=True)
        return "".join(f" {name} {format_bound(one)}" for name, one in named if one is not None)


def require_bound(name: str, value: object) -> Bound:
    """Return ``value`` if it is a datetime with a time zone, or a timedelta of at least 0."""
    match value:
        case datetime() if value.utcoffset() is not None:
            return value
        case datetime():
            raise ConfigurationError(
                f"{name} must have a time zone, but {value!r} has none: use "
                f"{name}.astimezone() if it is local time, or datetime(…, tzinfo=UTC)"
            )
        case timedelta() if value >= timedelta(0):
            return value
        case timedelta():
            raise ConfigurationError(f"{name} must not be a negative timedelta, but is {value!r}")
        case _:
            raise ConfigurationError(
                f"{name} must be a datetime with a time zone, or a timedelta before now, not "
                f"{value!r}"
            )


def parse_bound(text: str) -> Bound:
    """Return the bound for a text such as ``3d``, ``2026-11-01`` or ``2026-11-01T08:00+07:00``.

    The units of a duration are ``w``, ``d``, ``h``, ``m`` (minutes) and ``s``. A date means the
    beginning of that day. A date, or a time without a time zone, is in the local time of this
    machine.

    Raises:
        ConfigurationError: ``text`` does not have one of these forms.
    """
    try:
        if duration := _DURATION.fullmatch(text):
            whole, fraction, unit = duration.groups(default="")
            number, length = int(whole + fraction), _UNITS[unit] // _MICROSECOND
            return timedelta(microseconds=number * length // 10 ** len(fraction))
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.astimezone()
    except (ValueError, OverflowError, OSError):
        raise ConfigurationError(
            f"{text!r} is not a time: write it like 3d, 12h, 2026-11-01, or 2026-11-01T08:00+07:00"
        ) from None


def format_bound(bound: Bound) -> str:
    """Return a bound as text that :func:`parse_bound` can read."""
    if isinstance(bound, datetime):
        return bound.isoformat()
    for unit, length in _UNITS.items():
        if unit != "w" and bound and bound % length == timedelta(0):
            return f"{bound // length}{unit}"
    seconds, rest = divmod(bound, _UNITS["s"])
    return f"{seconds}.{rest.microseconds:06}s" if rest else f"{seconds}s"


def _resolve(name: str, value: object, now: datetime) -> datetime | None:
    if value is None:
        return None
    bound = require_bound(name, value)
    if isinstance(bound, datetime):
        return bound
    try:
        return now - bound
    except OverflowError:
        raise ConfigurationError(
            f"{name} is too far back: use a shorter timedelta than {bound!r}"
        ) from None
