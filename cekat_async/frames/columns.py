"""The columns of a table of records, and the row of a conversation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from hashlib import blake2b
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec
from msgspec.structs import astuple

from cekat_async import Conversation, DecodeError, decode_conversation, record_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from cekat_async import Label

__all__ = [
    "COLUMNS",
    "Column",
    "Kind",
    "Row",
    "build_row",
    "describe_differences",
    "describe_missing",
    "encode_json",
    "get_columns",
    "read_fields",
]

Kind: TypeAlias = Literal["text", "time", "boolean", "json", "raw", "bytes"]
Row: TypeAlias = "tuple[str | datetime | None, ...]"


@dataclass(frozen=True)
class Column:
    """A column of a table.

    A value of kind ``text`` is a string, ``time`` is an aware datetime in UTC, ``json`` is the text
    of a JSON value, and ``raw`` is the text of the whole record, exactly as the API sent it. Only
    inboxes have columns of kind ``boolean``, and only some databases have columns of kind
    ``bytes``. Every value except ``id`` and ``raw`` can be ``None``.

    Attributes:
        name: The name of the column.
        kind: The kind of its values.
        field: The name of the record's field that contains the value. Empty for ``raw``.
        part: A function that converts a value of the field, other than ``None``, to a value of the
            column. If there is no function, the two values are the same.
    """

    name: str
    kind: Kind
    field: str
    part: Callable[[Any], Any] | None = None

    def get_parts(self, values: Sequence[Any]) -> Sequence[Any]:
        """Convert values of the field to values of the column."""
        part = self.part
        return (
            values
            if part is None
            else [value if value is None else part(value) for value in values]
        )

    def convert(self, value: Any) -> Any:
        """Convert a value of the field to the value in a table."""
        if value is not None and self.part is not None:
            value = self.part(value)
        convert = _CONVERT.get(self.kind)
        return value if convert is None else convert(value)


encode_json: Callable[[Any], bytes] = msgspec.json.Encoder().encode
"""Encodes the value of a ``json`` column as JSON."""


def _json(value: tuple[Label, ...] | dict[str, Any] | list[Any] | None) -> str | None:
    if isinstance(value, tuple):  # labels
        value = [label.to_dict() for label in value]
    return None if value is None else encode_json(value).decode()


def _utc(moment: datetime | None) -> datetime | None:
    try:
        return None if moment is None else moment.astimezone(UTC)
    except OverflowError:  # near the limits of datetime, in some time zones
        return None


def _get_extra(extra: dict[str, Any]) -> dict[str, Any] | None:
    return extra or None


_MESSAGE, _MOMENT = attrgetter("message"), attrgetter("created_at")
_EXTRA = Column("extra", "json", "extra", _get_extra)
# The last column, whose value is the bytes of the record.
_RAW = Column("raw", "raw", "")

COLUMNS: tuple[Column, ...] = (
    Column("id", "text", "id"),
    Column("inbox_id", "text", "inbox_id"),
    Column("inbox_name", "text", "inbox_name"),
    Column("platform_type", "text", "platform_type", str),
    Column("stage_status", "text", "stage_status", str),
    Column("contact_id", "text", "contact_id"),
    Column("contact_name", "text", "contact_name"),
    Column("contact_phone", "text", "contact_phone"),
    Column("handled_by_id", "text", "handled_by_id"),
    Column("handled_by_name", "text", "handled_by_name"),
    Column("notes", "text", "notes"),
    Column("labels", "json", "labels"),
    Column("first_message", "text", "first_message", _MESSAGE),
    Column("first_message_at", "time", "first_message", _MOMENT),
    Column("last_message", "text", "last_message", _MESSAGE),
    Column("last_message_at", "time", "last_message", _MOMENT),
    Column("additional_data", "json", "additional_data"),
    Column("created_at", "time", "created_at"),
    Column("resolved_at", "time", "resolved_at"),
    Column("resolved_by_id", "text", "resolved_by_id"),
    Column("resolved_by_name", "text", "resolved_by_name"),
    Column("pipeline", "json", "pipeline"),
    Column("collaborators", "json", "collaborators"),
    Column("last_message_by_human", "json", "last_message_by_human"),
    _EXTRA,
    _RAW,
)
"""The columns of a table of conversations, in order.

They are the documented fields, other fields that live accounts send, all unknown fields
(``extra``), and the whole record (``raw``).
"""

_SHOWN = 5


def get_columns(record_type: type[Any]) -> tuple[Column, ...]:
    """Return the columns of a table of records of one type, in order.

    The columns of conversations are :data:`COLUMNS`. Tables of other records have a column for each
    field, and then ``extra`` and ``raw``.
    """
    if record_type is Conversation:
        return COLUMNS
    fields = [field for field in msgspec.structs.fields(record_type) if field.name != "extra"]
    return (*[_build_column(field) for field in fields], _EXTRA, _RAW)


def _build_column(field: msgspec.structs.FieldInfo) -> Column:
    from msgspec import inspect  # noqa: PLC0415 - exports do not need it

    type_ = inspect.type_info(field.type)
    options = type_.types if isinstance(type_, inspect.UnionType) else (type_,)
    for option in options:
        if isinstance(option, inspect.StrType):
            return Column(field.name, "text", field.name)
        if isinstance(option, inspect.EnumType):
            return Column(field.name, "text", field.name, str)
        if isinstance(option, inspect.DateTimeType):
            return Column(field.name, "time", field.name)
        if isinstance(option, inspect.BoolType):
            return Column(field.name, "boolean", field.name)
    return Column(field.name, "json", field.name)


_FIELDS = Conversation.__struct_fields__
_CONVERT: dict[Kind, Callable[[Any], Any]] = {"time": _utc, "json": _json}


def _build_getter(column: Column) -> Callable[[tuple[Any, ...]], Any]:
    """Return a function that gets a column's value from the fields of a conversation."""
    index = _FIELDS.index(column.field)
    if column.part is None and column.kind not in _CONVERT:
        return itemgetter(index)
    return lambda fields: column.convert(fields[index])


_VALUES = tuple(_build_getter(column) for column in COLUMNS[:-1])


def build_row(raw: bytes) -> Row:
    """Return a record as a row, in the order of :data:`COLUMNS`.

    The row of a malformed record has only an id and ``raw``.
    """
    fields = read_fields(raw)
    return (*[value(fields) for value in _VALUES], raw.decode(errors="replace"))


def read_fields(raw: bytes) -> tuple[Any, ...]:
    """Return the values of a conversation's fields, in the order of its type.

    A malformed record has only an id. If its own id is not readable, the id is ``odd:`` and a hash
    of the record's bytes. So a table contains the record only once, even if it was fetched twice.
    """
    try:
        return astuple(decode_conversation(raw))
    except DecodeError:
        id_ = record_id(raw)
        if id_ is None:
            id_ = f"odd:{blake2b(raw, digest_size=16).hexdigest()}"
        return tuple([id_ if name == "id" else None for name in _FIELDS])


def describe_differences(found: Mapping[str, object], expected: Mapping[str, object]) -> list[str]:
    """Compare columns (types by name), and return a text for each kind of difference."""
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    changed = [
        f"{name} is {found[name]} instead of {type_}"
        for name, type_ in expected.items()
        if name in found and found[name] != type_
    ]
    return [
        *([describe_missing(*missing)] if missing else []),
        *([f"it also has {_shorten(extra)}"] if extra else []),
        *([_shorten(changed)] if changed else []),
    ]


def describe_missing(*names: str) -> str:
    """Return the text for columns that are missing from a table."""
    return f"it has no column {_shorten(names)}"


def _shorten(texts: Sequence[str]) -> str:
    rest = len(texts) - _SHOWN
    return ", ".join(texts[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
