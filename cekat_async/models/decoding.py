"""Bytes of one record to a record: strict if it is as documented, tolerant if it is not.

Only the id of a record is required. A field of the wrong type never costs the record: see
:mod:`cekat_async.models`. A record is malformed only if it is not JSON, is not an object, or has no
readable id.
"""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, Optional, TypeAlias, TypeVar

import msgspec

from cekat_async.errors import DecodeError
from cekat_async.models import (
    Conversation,
    Inbox,
    Label,
    MalformedRecord,
    MessagePreview,
    PlatformType,
    StageStatus,
)
from cekat_async.models.base import Extra, Record, Timestamp
from cekat_async.models.json_scanner import UNDECODABLE
from cekat_async.models.raw_json import (
    AT_ONCE,
    count_values,
    decode_id,
    find_id,
    fits_at_once,
    replace_invalid_text,
)
from cekat_async.models.steps import run_steps

if TYPE_CHECKING:
    from collections.abc import Callable

    from cekat_async.models.steps import Steps


__all__ = [
    "CONVERSATION",
    "INBOX",
    "RecordDecoder",
    "build_malformed",
    "decode_conversation",
    "pause_if_large",
]

R = TypeVar("R", bound=Record)
Raw: TypeAlias = "bytes | msgspec.Raw"
# A field's value, and whether the original was of another type than documented.
_Value: TypeAlias = "tuple[Any, bool]"

# Decoding takes some 0.1 µs for each value, so this many would block the event loop. A record of
# the API has about fifty.
_MOST_VALUES = 200_000
# Bytes that are read between two pauses. A field costs as much as some hundred bytes.
_STEP = 128 * 1024
_FIELD = 256


_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])


class RecordDecoder(Generic[R]):
    """Decodes records of one type."""

    def __init__(self, kind: type[R]) -> None:
        self.kind = kind
        self._strict = msgspec.json.Decoder(kind)
        self._readers = {
            field.name: _FieldReader(field.type)
            for field in msgspec.structs.fields(kind)
            if field.name != "extra"
        }

    def decode(self, index: int, raw: Raw) -> Steps[R | MalformedRecord]:
        """Return the record at position ``index`` of a page, or what is wrong with it."""
        if len(raw) > AT_ONCE and count_values(raw) > _MOST_VALUES:
            reason = f"it has more than {_MOST_VALUES:,} values"
            return (yield from build_malformed(index, raw, bytes(raw), "$", reason))
        yield from pause_if_large(raw)
        with suppress(*UNDECODABLE):
            return (yield from self._decode_fast(raw))
        yield from pause_if_large(raw)
        text = yield from replace_invalid_text(bytes(raw))
        yield from pause_if_large(raw)
        try:
            fields = _FIELDS.decode(text)
        except UNDECODABLE as error:
            return (yield from build_malformed(index, raw, text, "$", str(error)))
        if "id" not in fields or decode_id(fields["id"]) is None:
            return (yield from build_malformed(index, raw, text, "$.id", "it has no readable id"))
        return (yield from self.read_fields(fields))

    def _decode_fast(self, raw: Raw) -> Steps[R]:
        """Return a record that is as documented, apart from unknown fields at its top level."""
        try:
            return self._strict.decode(raw)
        except msgspec.ValidationError:
            if not fits_at_once(raw):
                raise
            yield from pause_if_large(raw)
            return msgspec.convert(self._with_extra(msgspec.json.decode(raw)), self.kind)

    def _with_extra(self, value: Any) -> Any:
        if not isinstance(value, dict) or value.keys() <= self._readers.keys():
            return value
        known = self._readers
        fields = {name: part for name, part in value.items() if name in known}
        fields["extra"] = Extra({name: part for name, part in value.items() if name not in known})
        return fields

    def read_fields(self, fields: dict[str, msgspec.Raw]) -> Steps[R]:
        """Return a record from its fields, each decoded by itself."""
        values: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        work = 0
        for name, raw in fields.items():
            if (reader := self._readers.get(name)) is None:
                extra[name] = _decode_any(raw)
            else:
                values[name], is_mistyped = yield from reader.read(raw)
                if is_mistyped:
                    extra[name] = _decode_any(raw)
            work += len(raw) + _FIELD
            if work > _STEP:
                work = 0
                yield
        if extra:
            values["extra"] = Extra(extra)
        return self.kind(**values)


class _FieldReader:
    """Reads one field of a record: as its type says, or else by converting the value."""

    def __init__(self, type_: Any) -> None:
        self._strict = msgspec.json.Decoder(type_)
        self._convert = _CONVERTERS.get(type_, _to_none)
        self._nested = _NESTED.get(type_)

    def read(self, raw: msgspec.Raw) -> Steps[_Value]:
        with suppress(*UNDECODABLE):
            return self._strict.decode(raw), False
        if self._nested is not None:
            return (yield from self._nested(raw))
        return self._convert(bytes(raw))


def pause_if_large(raw: Raw) -> Steps[None]:
    """Pause after a call that read all of a large record."""
    if len(raw) > _STEP:
        yield


def build_malformed(
    index: int, raw: Raw, text: bytes, field: str, reason: str
) -> Steps[MalformedRecord]:
    """Return a malformed record, with its bytes as received."""
    id_ = yield from find_id(text)
    return MalformedRecord(index=index, id=id_, field=field, reason=reason, raw=bytes(raw))


def _number(text: str) -> float | str:
    """Return a number, or its text if it is too large for a float."""
    number = float(text)
    return number if math.isfinite(number) else text


_ANY_VALUE = msgspec.json.Decoder(float_hook=_number)


def _decode_any(raw: Raw) -> Any:
    """Return any value; its text, if it contains a whole number of thousands of digits."""
    try:
        return _ANY_VALUE.decode(raw)
    except UNDECODABLE:
        return bytes(raw).decode()


_NUMBER_OR_BOOLEAN = b"-0123456789tf"


_EXACT = 2.0**53  # up to here a float is exact for every whole number


def _to_text(raw: bytes) -> _Value:
    value = _decode_any(raw)
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return str(int(value)), True  # 6281234567890.0 is a phone number too
    return (raw.decode() if raw[:1] in _NUMBER_OR_BOOLEAN else None), True


def _to_open_enum(kind: type[str]) -> Callable[[bytes], _Value]:
    def read(raw: bytes) -> _Value:
        text, _ = _to_text(raw)
        return text and kind(text), True

    return read


def _to_timestamp(raw: bytes) -> _Value:
    value = _decode_any(raw)
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


def _to_object(raw: bytes) -> _Value:
    value = _decode_any(raw)
    return (value if isinstance(value, dict) else {}), True


def _to_any(raw: bytes) -> _Value:
    return _decode_any(raw), True


def _to_none(_: bytes) -> _Value:
    return None, True


def _decode_preview(raw: msgspec.Raw) -> Steps[_Value]:
    try:
        fields = _FIELDS.decode(raw)
    except UNDECODABLE:
        return None, True
    return (yield from _PREVIEW.read_fields(fields)), False


def _decode_labels(raw: msgspec.Raw) -> Steps[_Value]:
    """Return the labels that can be read; the list loses only the others."""
    try:
        elements = _ELEMENTS.decode(raw)
    except UNDECODABLE:
        return (), True
    labels: list[Label] = []
    for number, element in enumerate(elements, 1):
        with suppress(*UNDECODABLE):
            labels.append((yield from _LABEL.read_fields(_FIELDS.decode(element))))
        if not number % _LABELS_PER_STEP:
            yield
    return tuple(labels), len(labels) < len(elements)


_LABELS_PER_STEP = 500


_CONVERTERS: dict[Any, Callable[[bytes], _Value]] = {
    str | None: _to_text,
    StageStatus | None: _to_open_enum(StageStatus),
    PlatformType | None: _to_open_enum(PlatformType),
    Optional[Timestamp]: _to_timestamp,  # noqa: UP045 - pyright refuses `|` with Annotated
    dict[str, Any] | None: _to_object,
    Any: _to_any,
}
_NESTED: dict[Any, Callable[[msgspec.Raw], Steps[_Value]]] = {
    tuple[Label, ...] | None: _decode_labels,
    MessagePreview | None: _decode_preview,
}
_LABEL = RecordDecoder(Label)
_PREVIEW = RecordDecoder(MessagePreview)
CONVERSATION = RecordDecoder(Conversation)
INBOX = RecordDecoder(Inbox)


def decode_conversation(raw: bytes | str | msgspec.Raw) -> Conversation:
    """Return one conversation from its JSON, as a line of an export or ``page.raw`` holds it.

    Unknown fields, fields of another type and timestamps without a zone are read as in a page.

    Raises:
        DecodeError: It is malformed: not JSON, not an object, or without a readable id. ``field``
            says where.
    """
    data = raw.encode(errors="surrogatepass") if isinstance(raw, str) else raw
    record = run_steps(CONVERSATION.decode(0, data))
    if isinstance(record, MalformedRecord):
        message = f"not a conversation: {record.reason} at {record.field}"
        raise DecodeError(message, field=record.field, raw=record.raw)
    return record
