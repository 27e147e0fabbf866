"""Fields of another type than documented: their values as the type of the field.

A number or a boolean in a text field becomes text. Anything else becomes ``None``, or empty.
"""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Optional, TypeAlias

import msgspec

from cekat_async.models import PlatformType, StageStatus
from cekat_async.models.base import Timestamp
from cekat_async.models.json_scanner import UNDECODABLE

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ANY_VALUE", "Convert", "Converted", "decode_any", "get_converter", "read_float"]

Converted: TypeAlias = "tuple[Any, bool]"
"""A field's value, and whether the original was of another type than documented."""
Raw: TypeAlias = "bytes | msgspec.Raw"
Convert: TypeAlias = "Callable[[Any, Raw], Converted]"


def read_float(text: str) -> float | str:
    """Return a number, or its text if it is too large for a float."""
    number = float(text)
    return number if math.isfinite(number) else text


ANY_VALUE = msgspec.json.Decoder(float_hook=read_float)
"""Decodes a value of any type."""


def decode_any(raw: Raw) -> Any:
    """Return any value; its text, if it contains a whole number of thousands of digits."""
    try:
        return ANY_VALUE.decode(raw)
    except UNDECODABLE:
        return bytes(raw).decode()


_NUMBER_OR_BOOLEAN = b"-0123456789tf"


_EXACT = 2.0**53  # up to here a float is exact for every whole number


def _to_text(value: Any, raw: Raw) -> Converted:
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return str(int(value)), True  # 6281234567890.0 is a phone number too
    text = bytes(raw)
    return (text.decode() if text[:1] in _NUMBER_OR_BOOLEAN else None), True


def _to_open_enum(kind: type[str]) -> Convert:
    def convert(value: Any, raw: Raw) -> Converted:
        text, _ = _to_text(value, raw)
        return text and kind(text), True

    return convert


def _to_timestamp(value: Any, _: Raw) -> Converted:
    moment = _parse_timestamp(value) if isinstance(value, str) else None
    return moment, moment is None


def _parse_timestamp(text: str) -> datetime | None:
    # First as msgspec reads it, which rounds nanoseconds where Python cuts them off.
    for read in (_parse_rfc3339, datetime.fromisoformat):
        with suppress(msgspec.ValidationError, ValueError):
            moment = read(text)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None


def _parse_rfc3339(text: str) -> datetime:
    return msgspec.convert(text, datetime)


def _to_object(value: Any, _: Raw) -> Converted:
    return (value if isinstance(value, dict) else {}), True


def _to_any(value: Any, _: Raw) -> Converted:
    return value, True


def _to_none(_value: Any, _: Raw) -> Converted:
    return None, True


_CONVERTERS: dict[Any, Convert] = {
    str | None: _to_text,
    StageStatus | None: _to_open_enum(StageStatus),
    PlatformType | None: _to_open_enum(PlatformType),
    Optional[Timestamp]: _to_timestamp,  # noqa: UP045 - pyright refuses `|` with Annotated
    dict[str, Any] | None: _to_object,
    Any: _to_any,
}


def get_converter(type_: Any) -> Convert:
    """Return what converts a value to the type of a field. It takes the value, and its JSON."""
    return _CONVERTERS.get(type_, _to_none)
