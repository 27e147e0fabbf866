"""Decodes one record, field by field, no matter which types the fields have.

Only the id of a record is required. A field of the wrong type never makes a record malformed (see
:mod:`cekat_async.models`). A record is malformed only if it is not JSON, is not an object, or has
no readable id.

This is the slow path. ``record_shape.py`` is the fast path for records with the expected fields.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, get_args, get_origin

import msgspec

from cekat_async.models.conversion import decode_any, get_converter, without_null
from cekat_async.models.fields import Extra
from cekat_async.models.json_scanner import UNDECODABLE
from cekat_async.models.malformed import MalformedRecord
from cekat_async.models.raw_json import decode_id, find_id, replace_invalid_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from cekat_async.models.base import Record
    from cekat_async.models.conversion import Converted
    from cekat_async.models.steps import Steps


__all__ = ["RecordDecoder", "build_malformed", "get_decoder", "pause_if_large"]

R = TypeVar("R", bound="Record")
Raw: TypeAlias = "bytes | msgspec.Raw"

# The number of bytes to read before the event loop runs. A field costs as much as a few hundred
# bytes.
_STEP = 128 * 1024
_FIELD = 256
_ELEMENTS_PER_STEP = 500

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])


class RecordDecoder(Generic[R]):
    """Decodes records of one type, field by field.

    Attributes:
        kind: The record type.
        readers: The reader of each field, by the field's name.
    """

    def __init__(self, kind: type[R]) -> None:
        self.kind = kind
        fields = msgspec.structs.fields(kind)
        self.readers = {
            field.name: FieldReader(field.type) for field in fields if field.name != "extra"
        }
        self._needs_id = any(field.name == "id" and field.required for field in fields)

    def decode(self, index: int, raw: Raw, unexpected: set[str]) -> Steps[R | MalformedRecord]:
        """Return the record at position ``index`` of a page, or a malformed record.

        Args:
            index: The position of the record on its page, from 0.
            raw: The record as JSON.
            unexpected: A set that receives the names of the fields that are not as documented.
        """
        text = yield from replace_invalid_text(bytes(raw))
        yield from pause_if_large(raw)
        try:
            fields = _FIELDS.decode(text)
        except UNDECODABLE as error:
            return (yield from build_malformed(index, raw, text, "$", str(error)))
        if self._needs_id and ("id" not in fields or decode_id(fields["id"]) is None):
            return (yield from build_malformed(index, raw, text, "$.id", "it has no readable id"))
        return (yield from self.read_fields(fields, unexpected))

    def read_fields(self, fields: dict[str, msgspec.Raw], unexpected: set[str]) -> Steps[R]:
        """Return a record from its fields. Each field is decoded separately."""
        values: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        work = 0
        for name, raw in fields.items():
            if (reader := self.readers.get(name)) is None:
                extra[name] = decode_any(raw)
                unexpected.add(name)
            else:
                try:
                    values[name] = reader.decode(raw)
                except UNDECODABLE:
                    unexpected.add(name)
                    values[name] = yield from reader.convert(name, raw, extra)
            work += len(raw) + _FIELD
            if work > _STEP:
                work = 0
                yield
        if extra:
            values["extra"] = Extra(sorted(extra.items()))
        return self.kind(**values)


class FieldReader:
    """Reads one field of a record.

    Attributes:
        decode: Returns the value if it has the documented type. Raises an error for another type.
    """

    def __init__(self, type_: Any) -> None:
        self.decode: Callable[[Raw], Any] = msgspec.json.Decoder(type_).decode
        self._convert = get_converter(type_)
        self._convert_nested = _get_nested_converter(without_null(type_))

    def read(self, name: str, raw: msgspec.Raw, extra: dict[str, Any]) -> Steps[Any]:
        """Return the value of a field of any type, after replacing invalid text.

        The arguments are the same as for :meth:`convert`.
        """
        try:
            return self.decode(raw)
        except UNDECODABLE:
            text = yield from replace_invalid_text(bytes(raw))
        if text != bytes(raw):
            with suppress(*UNDECODABLE):
                return self.decode(text)
        return (yield from self.convert(name, text, extra))

    def convert(self, name: str, raw: Raw, extra: dict[str, Any]) -> Steps[Any]:
        """Return the value of a field that :attr:`decode` cannot read.

        Args:
            name: The name of the field.
            raw: The value as JSON, without invalid text.
            extra: A dict that receives the original value if it does not have the documented type.
        """
        original = decode_any(raw)
        if self._convert_nested is not None:
            value, is_mistyped = yield from self._convert_nested(raw)
        else:
            value, is_mistyped = self._convert(original)
        if is_mistyped:
            extra[name] = original
        return value


def pause_if_large(raw: Raw) -> Steps[None]:
    """Yield once if the record is large, so that the event loop can run."""
    if len(raw) > _STEP:
        yield


def build_malformed(
    index: int, raw: Raw, text: bytes, field: str, reason: str
) -> Steps[MalformedRecord]:
    """Return a malformed record with the received bytes."""
    id_ = yield from find_id(text)
    return MalformedRecord(index=index, id=id_, field=field, reason=reason, raw=bytes(raw))


def _get_nested_converter(type_: Any) -> Callable[[Raw], Steps[Converted]] | None:
    """Return the converter of a field that contains a record or a list of records, or ``None``."""
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return partial(_decode_object, get_decoder(type_))
    if get_origin(type_) is tuple:
        return partial(_decode_list, get_decoder(get_args(type_)[0]))
    return None


def _decode_object(decoder: RecordDecoder[Any], raw: Raw) -> Steps[Converted]:
    try:
        fields = _FIELDS.decode(raw)
    except UNDECODABLE:
        return None, True
    return (yield from decoder.read_fields(fields, set())), False


def _decode_list(decoder: RecordDecoder[Any], raw: Raw) -> Steps[Converted]:
    """Return the elements of the list that can be read."""
    try:
        elements = _ELEMENTS.decode(raw)
    except UNDECODABLE:
        return (), True
    found: list[Any] = []
    for number, element in enumerate(elements, 1):
        with suppress(*UNDECODABLE):
            found.append((yield from decoder.read_fields(_FIELDS.decode(element), set())))
        if not number % _ELEMENTS_PER_STEP:
            yield
    return tuple(found), len(found) < len(elements)


@cache
def get_decoder(kind: type[R]) -> RecordDecoder[R]:
    """Return the decoder of a type of records."""
    return RecordDecoder(kind)
