"""The parameters of a query: what they may be, and the error that names the one that may not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_NUMBER: Final = 18


class InvalidError(Exception):
    """A parameter that gets the validation error.

    Args:
        field: the parameter's name.
        message: what is wrong with it.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def positive(given: Mapping[str, str], name: str, default: int) -> int:
    """Return a parameter that must be a positive integer.

    Raises:
        InvalidError: it is none.
    """
    text = given.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER and int(text)):
        raise InvalidError(name, f"{name} must be a positive integer")
    return int(text)
