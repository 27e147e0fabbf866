"""Formats durations, rates, counts and malformed records as text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cekat_async import MalformedRecord

__all__ = ["describe_malformed", "format_duration", "format_option", "format_rate", "pluralize"]

_UNITS = {1.0: "s", 60.0: "min", 3600.0: "h", 86400.0: "d"}


def format_duration(seconds: float) -> str:
    """Return a duration like ``23 s`` or ``8 h 12 min``, rounded up."""
    # Two clocks are read one after the other, so a duration of whole seconds may be slightly too
    # long.
    whole = math.ceil(round(seconds, 1))
    if whole < 60:  # noqa: PLR2004 - a minute
        return f"{whole} s"
    minutes = math.ceil(whole / 60)
    hours, rest = divmod(minutes, 60)
    return " ".join([f"{hours:,} h"] * (hours > 0) + [f"{rest} min"] * (rest > 0))


def format_rate(limit: int, seconds: float) -> str:
    """Return a rate like ``300/min`` or ``300/3 s``."""
    return f"{limit:,}/{_UNITS.get(seconds, f'{seconds:g} s')}"


def pluralize(number: int, singular: str, plural: str | None = None) -> str:
    """Return a number of things, like ``1 retry``. By default, the plural just adds an ``s``."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def format_option(name: str) -> str:
    """Return the name of an option as a user types it."""
    return "--" + name.replace("_", "-")


def describe_malformed(record: MalformedRecord) -> str:
    """Describe a malformed record: its id, the field, and the reason."""
    which = "a record without an id" if record.id is None else f"record {record.id}"
    return f"{which} is malformed at {record.field}: {record.reason}"
