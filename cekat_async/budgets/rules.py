"""What the budgets have in common: how arguments are checked, and how time is counted. No I/O."""

from __future__ import annotations

import math

from cekat_async import ConfigurationError
from cekat_async.config import require_count, require_text

__all__ = ["KEPT", "missing", "parse_window", "require_name", "require_seconds", "seconds"]

KEPT = 60_000
"""Milliseconds for which a log keeps what was taken, at least: what the API counts in.

So that a ``per`` that grows from call to call, up to there, finds all that it has to count.
"""


def require_name(value: object) -> str:
    """Return ``value`` if it is text that can name a budget.

    Raises:
        ConfigurationError: It is not.
    """
    # Halves of characters, which have no bytes, are not printable either.
    if isinstance(value, str) and not value.isprintable():
        raise ConfigurationError(f"name must be printable text, not {value!r}")
    return require_text("name", value)


def require_seconds(name: str, value: object) -> float:
    """Return ``value`` if it is a finite number of seconds above 0.

    Raises:
        ConfigurationError: It is not.
    """
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not 0 < number < math.inf:
        raise ConfigurationError(
            f"{name} must be a finite number of seconds above 0, not {value!r}"
        )
    return number


def parse_window(requests: object, per: object) -> int:
    """Check the numbers of a take; return the window in milliseconds, rounded up.

    Raises:
        ConfigurationError: ``requests`` is not a whole number of at least 1, or ``per`` is not a
            finite number of seconds above 0.
    """
    require_count("requests", requests)
    return math.ceil(require_seconds("per", per) * 1000)


def seconds(milliseconds: int | None) -> float:
    """Return a wait in seconds; it is above 0, whatever a library says."""
    return max(milliseconds or 0, 1) / 1000


def missing(extra: str, error: ModuleNotFoundError) -> ConfigurationError:
    """Return what to raise where the libraries of an extra are not installed.

    Raises:
        ModuleNotFoundError: ``error`` itself, if it is about something else.
    """
    module = (error.name or "").partition(".")[0]
    if module not in {"pyrate_limiter", "redis"}:
        raise error
    return ConfigurationError(f"the budget needs {module}: pip install 'cekat-async[{extra}]'")
