"""Converts values that do not have the documented type to the type of their field.

A number or a boolean in a text field becomes text. Anything else becomes ``None``, or empty.
"""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, datetime
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import msgspec

from cekat_async.models.fields import OpenEnum, Timestamp
from cekat_async.models.json_scanner import UNDECODABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from cekat_async.models.raw_json import JsonValue

__all__ = [
    "ANY_VALUE",
    "Convert",
    "Converted",
    "decode_any",
    "decode_leniently",
    "get_converter",
    "parse_timestamp",
    "without_null",
]

Converted: TypeAlias = "tuple[Any, bool]"
"""The value of a field, and whether the original value had a different type than documented."""
Raw: TypeAlias = "bytes | msgspec.Raw"
Convert: TypeAlias = "Callable[[Any], Converted]"


def _number(text: str) -> float | str:
    """Return a number, or its text if it is too large for a float."""
    number = float(text)
    return number if math.isfinite(number) else text


def _whole_number(text: str) -> int | str:
    """Return a whole number, or its text if it has too many digits for Python."""
    try:
        return int(text)
    except ValueError:
        return text


ANY_VALUE = msgspec.json.Decoder(float_hook=_number)
"""Decodes a value of any type."""


def decode_any(raw: Raw) -> Any:
    """Return the value of any JSON. Numbers that are too large for Python become text.

    If the value is nested too deeply for Python, the result is its text.
    """
    try:
        return ANY_VALUE.decode(raw)
    except UNDECODABLE:
        text = bytes(raw).decode()
    try:
        return decode_leniently(text)
    except RecursionError:
        return text


def decode_leniently(text: str) -> Any:
    """Return a value of any type. Numbers that are too large for Python become text.

    ``NaN`` and infinity, which are not valid JSON, become floats.

    Raises:
        json.JSONDecodeError: ``text`` is not JSON.
        RecursionError: ``text`` is nested too deeply for Python.
    """
    from json import JSONDecoder  # noqa: PLC0415 - numbers with thousands of digits are rare

    return JSONDecoder(parse_float=_number, parse_int=_whole_number).decode(text)


_EXACT = 2.0**53  # up to this number, a float can represent every whole number exactly


def _to_text(value: Any) -> Converted:
    match value:
        case str():
            return value, False
        case float() if value.is_integer() and abs(value) < _EXACT:
            return str(int(value)), True  # 6281234567890.0 is a phone number too
        case bool() | int() | float():
            # Write the number as msgspec does, so that a record that is written and read again has
            # the same text.
            return msgspec.json.encode(value).decode(), True
        case _:
            return None, True


def _to_open_enum(kind: type[OpenEnum]) -> Convert:
    def convert(value: Any) -> Converted:
        text, is_mistyped = _to_text(value)
        return text and kind(text), is_mistyped

    return convert


def _to_timestamp(value: Any) -> Converted:
    moment = parse_timestamp(value) if isinstance(value, str) else None
    return moment, moment is None


def parse_timestamp(text: str) -> datetime | None:
    """Return the time of a timestamp, or ``None``. A timestamp without a zone is read as UTC."""
    # Try msgspec first, because it rounds nanoseconds. Python truncates them.
    for read in (_parse_rfc3339, datetime.fromisoformat):
        with suppress(msgspec.ValidationError, ValueError):
            moment = read(text)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None


def _parse_rfc3339(text: str) -> datetime:
    return msgspec.convert(text, datetime)


def _to_object(value: JsonValue) -> Converted:
    return (value, False) if isinstance(value, dict) else ({}, True)


def _to_any(value: Any) -> Converted:
    return value, False


def _to_none(_: Any) -> Converted:
    return None, True


_CONVERTERS: dict[Any, Convert] = {
    str: _to_text,
    Timestamp: _to_timestamp,
    dict[str, Any]: _to_object,
    Any: _to_any,
}


def get_converter(type_: Any) -> Convert:
    """Return the function that converts a value to the type of a field."""
    type_ = without_null(type_)
    if isinstance(type_, type) and issubclass(type_, OpenEnum):
        return _to_open_enum(type_)
    return _CONVERTERS.get(type_, _to_none)


def without_null(type_: Any) -> Any:
    """Return the type of a field's values other than null."""
    if NoneType not in get_args(type_):
        return type_
    (found,) = (one for one in get_args(type_) if one is not NoneType)
    return found
