"""Bytes of one record to a record: strict where it is as documented, tolerant where it is not.

Only the id of a record is required. A field of the wrong type never costs the record: see
:mod:`cekat_async.models`. A record is malformed only if it is not JSON, is not an object, or has no
readable id.
"""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import msgspec

from cekat_async.models import (
    Conversation,
    Inbox,
    Label,
    MalformedRecord,
    MessagePreview,
    PlatformType,
    StageStatus,
)
from cekat_async.models.base import Extra, Record
from cekat_async.models.conversation import empty_for_null
from cekat_async.models.raw_json import (
    AT_ONCE,
    UNDECODABLE,
    Steps,
    count_values,
    fits_at_once,
    id_in,
    mended,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["CONVERSATION", "INBOX", "RecordDecoder", "malformed", "pause_if_large"]

R = TypeVar("R", bound=Record)
Raw: TypeAlias = "bytes | msgspec.Raw"
# A field's value, and whether the original was of another type than documented.
_Read: TypeAlias = "tuple[Any, bool]"

# Decoding takes some 0.1 µs for each value, so this many would block the event loop. A record of
# the API has about fifty.
_MOST_VALUES = 200_000
# Bytes that are read between two pauses. A field costs as much as some hundred bytes.
_STEP = 128 * 1024
_FIELD = 256


_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])


class RecordDecoder(Generic[R]):
    """Decodes records of one type.

    Args:
        kind: The type.
        finish: Called with records that were just decoded, to complete them.
    """

    def __init__(self, kind: type[R], finish: Callable[[Iterable[R]], None]) -> None:
        self.kind = kind
        self.finish = finish
        self._strict = msgspec.json.Decoder(kind)
        self._readers = {
            field.name: _FieldReader(field.type)
            for field in msgspec.structs.fields(kind)
            if field.name != "extra"
        }

    def decode(self, index: int, raw: Raw) -> Steps[R | MalformedRecord]:
        """Return a record, or what is wrong with it.

        Args:
            index: Its position in the page.
            raw: Its bytes.
        """
        if len(raw) > AT_ONCE and count_values(raw) > _MOST_VALUES:
            reason = f"it has more than {_MOST_VALUES:,} values"
            return (yield from malformed(index, raw, bytes(raw), "$", reason))
        yield from pause_if_large(raw)
        with suppress(*UNDECODABLE):
            return (yield from self._quick(raw))
        yield from pause_if_large(raw)
        text = yield from mended(bytes(raw))
        yield from pause_if_large(raw)
        try:
            fields = _FIELDS.decode(text)
        except UNDECODABLE as error:
            return (yield from malformed(index, raw, text, "$", str(error)))
        if not _has_id(fields):
            return (yield from malformed(index, raw, text, "$.id", "it has no readable id"))
        return (yield from self.read_fields(fields))

    def _quick(self, raw: Raw) -> Steps[R]:
        """Return a record as documented, or with unknown fields of its own and nothing else."""
        try:
            record = self._strict.decode(raw)
        except msgspec.ValidationError:
            if not fits_at_once(raw):
                raise
            yield from pause_if_large(raw)
            record = msgspec.convert(self._with_extra(msgspec.json.decode(raw)), self.kind)
        self.finish((record,))
        return record

    def _with_extra(self, value: Any) -> Any:
        if not isinstance(value, dict) or value.keys() <= self._readers.keys():
            return value
        known = self._readers
        fields = {name: part for name, part in value.items() if name in known}
        fields["extra"] = Extra({name: part for name, part in value.items() if name not in known})
        return fields

    def read_fields(self, fields: dict[str, msgspec.Raw]) -> Steps[R]:
        """Return the record that some fields make, each read by itself."""
        values: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        work = 0
        for name, raw in fields.items():
            if (reader := self._readers.get(name)) is None:
                extra[name] = _any_value(raw)
            else:
                values[name], is_mistyped = yield from reader.read(raw)
                if is_mistyped:
                    extra[name] = _any_value(raw)
            work += len(raw) + _FIELD
            if work > _STEP:
                work = 0
                yield
        if extra:
            values["extra"] = Extra(extra)
        record = self.kind(**values)
        self.finish((record,))
        return record


class _FieldReader:
    """Reads one field of a record: as its type says, or else what can be made of the value."""

    def __init__(self, type_: Any) -> None:
        self._strict = msgspec.json.Decoder(type_)
        self._heal = _HEALERS.get(type_, _nothing)
        self._nested = _NESTED.get(type_)

    def read(self, raw: msgspec.Raw) -> Steps[_Read]:
        with suppress(*UNDECODABLE):
            return self._strict.decode(raw), False
        if self._nested is not None:
            return (yield from self._nested(raw))
        return self._heal(bytes(raw))


def pause_if_large(raw: Raw) -> Steps[None]:
    """Pause after a call that has read all of a large record."""
    if len(raw) > _STEP:
        yield


def malformed(index: int, raw: Raw, text: bytes, field: str, reason: str) -> Steps[MalformedRecord]:
    """Return a record that cannot be read, with the bytes it was sent as."""
    id_ = yield from id_in(text)
    return MalformedRecord(index=index, id=id_, field=field, reason=reason, raw=bytes(raw))


def _has_id(fields: dict[str, msgspec.Raw]) -> bool:
    with suppress(*UNDECODABLE):
        return "id" in fields and bool(msgspec.json.decode(fields["id"], type=str))
    return False


def _number(text: str) -> float | str:
    """Return a number; as text, if it is too large for a float."""
    number = float(text)
    return number if math.isfinite(number) else text


_ANY_VALUE = msgspec.json.Decoder(float_hook=_number)


def _any_value(raw: Raw) -> Any:
    """Return any value; as text, if it holds a whole number of thousands of digits."""
    try:
        return _ANY_VALUE.decode(raw)
    except UNDECODABLE:
        return bytes(raw).decode()


_NUMBER_OR_BOOLEAN = b"-0123456789tf"


_EXACT = 2.0**53  # up to here a float is exact for every whole number


def _text(raw: bytes) -> _Read:
    value = _any_value(raw)
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return str(int(value)), True  # 6281234567890.0 is a phone number too
    return (raw.decode() if raw[:1] in _NUMBER_OR_BOOLEAN else None), True


def _text_of_kind(kind: type[str]) -> Callable[[bytes], _Read]:
    def read(raw: bytes) -> _Read:
        text, _ = _text(raw)
        return text and kind(text), True

    return read


def _timestamp(raw: bytes) -> _Read:
    value = _any_value(raw)
    moment = _moment(value) if isinstance(value, str) else None
    return moment, moment is None


def _moment(text: str) -> datetime | None:
    # First as msgspec reads it, which rounds nanoseconds where Python cuts them off.
    for read in (_read_rfc3339, datetime.fromisoformat):
        with suppress(msgspec.ValidationError, ValueError):
            moment = read(text)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None


def _read_rfc3339(text: str) -> datetime:
    return msgspec.convert(text, datetime)


def _object(raw: bytes) -> _Read:
    value = _any_value(raw)
    return (value if isinstance(value, dict) else {}), True


def _anything(raw: bytes) -> _Read:
    return _any_value(raw), True


def _nothing(_: bytes) -> _Read:
    return None, True


def _preview(raw: msgspec.Raw) -> Steps[_Read]:
    try:
        fields = _FIELDS.decode(raw)
    except UNDECODABLE:
        return None, True
    return (yield from _PREVIEW.read_fields(fields)), False


def _labels(raw: msgspec.Raw) -> Steps[_Read]:
    """Return the labels that can be read; the others are lost from the list alone."""
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


def _type_of(field: str) -> Any:
    return next(one.type for one in msgspec.structs.fields(Conversation) if one.name == field)


_HEALERS: dict[Any, Callable[[bytes], _Read]] = {
    str | None: _text,
    StageStatus | None: _text_of_kind(StageStatus),
    PlatformType | None: _text_of_kind(PlatformType),
    _type_of("created_at"): _timestamp,
    _type_of("additional_data"): _object,
    Any: _anything,
}
_NESTED: dict[Any, Callable[[msgspec.Raw], Steps[_Read]]] = {
    _type_of("labels"): _labels,
    MessagePreview | None: _preview,
}
_LABEL = RecordDecoder(Label, lambda _: None)
_PREVIEW = RecordDecoder(MessagePreview, lambda _: None)

CONVERSATION = RecordDecoder(Conversation, empty_for_null)
"""Decodes conversations."""
INBOX = RecordDecoder(Inbox, lambda _: None)
"""Decodes inboxes."""
