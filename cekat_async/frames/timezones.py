"""Time zones by their IANA names, which Arrow, polars and pandas all understand."""

from __future__ import annotations

from datetime import timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from cekat_async import ConfigurationError

__all__ = ["parse_timezone"]

_HOUR = timedelta(hours=1)
_ADVICE = "use an IANA name such as 'Asia/Jakarta'"


def parse_timezone(zone: str | tzinfo) -> str:
    """Return the IANA name of a time zone.

    Args:
        zone: The name of the zone, a ``ZoneInfo``, or a fixed offset of whole hours.

    Raises:
        ConfigurationError: There is no such time zone, or it has no name.
    """
    if isinstance(zone, timezone):
        return _name_offset(zone.utcoffset(None))
    # The attribute that contains the name is `key` in ZoneInfo, and `zone` in pytz.
    name = getattr(zone, "key", None) or getattr(zone, "zone", None) or zone
    if not isinstance(name, str):
        raise ConfigurationError(f"timezone must have a name, unlike {zone!r}: {_ADVICE}")
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError) as error:
        raise ConfigurationError(
            f"timezone {name!r} is unknown: {_ADVICE}. If this system has no time zones, "
            "pip install tzdata"
        ) from error
    return name


def _name_offset(offset: timedelta) -> str:
    hours, rest = divmod(offset, _HOUR)
    if rest or not -12 <= hours <= 14:  # noqa: PLR2004 - the zones that have a name
        raise ConfigurationError(
            f"timezone must be an offset of whole hours, from -12 to +14, or a name: {_ADVICE}"
        )
    # The sign in these names is reversed, as in POSIX: Etc/GMT-7 is UTC+07:00.
    return f"Etc/GMT{-hours:+d}" if hours else "UTC"
