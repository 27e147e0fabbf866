"""The parameters of a query, and the error for an invalid parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_DIGITS: Final = 18


class InvalidParameterError(Exception):
    """An invalid parameter. The reply is a validation error that names the ``field``."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def parse_query(query: str) -> dict[str, str]:
    """Return the parameters of a query. If a parameter is repeated, only its first value counts."""
    return dict(reversed(parse_qsl(query, keep_blank_values=True, errors="replace")))


def parse_positive(given: Mapping[str, str], name: str, default: int) -> int:
    """Return a parameter that must be a positive integer.

    Raises:
        InvalidParameterError: The parameter is not a positive integer.
    """
    text = given.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS and int(text)):
        raise InvalidParameterError(name, f"{name} must be a positive integer")
    return int(text)
