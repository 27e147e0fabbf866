"""Checks shared by the sandbox's options: each returns nothing and raises `ValueError`."""

from __future__ import annotations

from math import inf, isfinite


def number(name: str, value: object, *, least: float = 0.0, most: float = inf) -> None:
    """Refuse anything but a finite number in `[least, most]`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"{name} must be a finite number, not {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name} must be {_span(least, most)}, not {value!r}")


def above_zero(name: str, value: object) -> None:
    """Refuse anything but a finite number greater than zero."""
    number(name, value)
    if not value:
        raise ValueError(f"{name} must be greater than zero")


def whole(name: str, value: object, *, least: int = 0, most: float = inf) -> None:
    """Refuse anything but an integer in `[least, most]`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} must be an integer, not {value!r}")  # noqa: TRY004  # one error for every bad option
    if not least <= value <= most:
        raise ValueError(f"{name} must be {_span(least, most)}, not {value!r}")


def one_of(name: str, value: object, options: tuple[object, ...]) -> None:
    """Refuse anything but one of `options`."""
    if value not in options:
        raise ValueError(f"{name} must be one of {options!r}, not {value!r}")


def _span(least: float, most: float) -> str:
    return f"at least {least}" if most == inf else f"between {least} and {most}"
