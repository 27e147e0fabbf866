"""Functions that check options, and raise ``ValueError`` for an invalid value."""

from __future__ import annotations

from math import inf, isfinite


def require_number(name: str, value: object, *, minimum: float = 0.0, maximum: float = inf) -> None:
    """Raise unless a value is a finite number in ``[minimum, maximum]``."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"{name} must be a finite number, not {value!r}")
    _require_range(name, value, minimum, maximum)


def require_positive(name: str, value: object) -> None:
    """Raise unless a value is a finite number greater than zero."""
    require_number(name, value)
    if not value:
        raise ValueError(f"{name} must be greater than zero")


def require_integer(name: str, value: object, *, minimum: int = 0, maximum: float = inf) -> None:
    """Raise unless a value is an integer in ``[minimum, maximum]``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} must be an integer, not {value!r}")  # noqa: TRY004 - one error for every bad option
    _require_range(name, value, minimum, maximum)


def require_choice(name: str, value: object, options: tuple[object, ...]) -> None:
    """Raise unless a value is one of ``options``."""
    if value not in options:
        raise ValueError(f"{name} must be one of {options!r}, not {value!r}")


def _require_range(name: str, value: float, minimum: float, maximum: float) -> None:
    if not minimum <= value <= maximum:
        span = f"at least {minimum}" if maximum == inf else f"between {minimum} and {maximum}"
        raise ValueError(f"{name} must be {span}, not {value!r}")
