"""Spans of time in a person's words."""

from __future__ import annotations

import math

__all__ = ["per", "span"]

_UNITS = {1.0: "s", 60.0: "min", 3600.0: "h", 86400.0: "d"}


def span(seconds: float) -> str:
    """Return a span as one says it, ``23 s`` or ``8 h 12 min``: never too short."""
    # What is a hair above a whole second, because clocks are read one after the other, is that.
    whole = math.ceil(round(seconds, 1))
    if whole < 60:  # noqa: PLR2004 - a minute
        return f"{whole} s"
    minutes = math.ceil(whole / 60)
    hours, rest = divmod(minutes, 60)
    return " ".join([f"{hours:,} h"] * (hours > 0) + [f"{rest} min"] * (rest > 0))


def per(limit: int, seconds: float) -> str:
    """Return a rate in few letters, ``300/min`` or ``300/3 s``."""
    return f"{limit:,}/{_UNITS.get(seconds, f'{seconds:g} s')}"
