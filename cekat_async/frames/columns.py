"""The columns of a table of conversations, and the row that a record makes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from cekat_async import DecodeError, decode_conversation, record_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from cekat_async import Conversation, MessagePreview

__all__ = [
    "COLUMNS",
    "Column",
    "Kind",
    "Row",
    "build_row",
    "describe_differences",
    "describe_missing",
]

Kind: TypeAlias = Literal["text", "time", "json", "raw", "bytes"]
Row: TypeAlias = "tuple[str | datetime | None, ...]"


@dataclass(frozen=True)
class Column:
    """A column of a table.

    ``text`` is a string, ``time`` an aware datetime in UTC, ``json`` the text of a JSON value, and
    ``raw`` the whole record exactly as the API sent it, as text. ``bytes`` are bytes, for columns
    that only some databases have. Every value except ``id`` and ``raw`` can be ``None``.

    Attributes:
        name: Its name.
        kind: The kind of its values.
        value: Returns its value for a conversation.
    """

    name: str
    kind: Kind
    value: Callable[[Conversation], Any]


def _json(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _utc(moment: datetime | None) -> datetime | None:
    try:
        return None if moment is None else moment.astimezone(UTC)
    except OverflowError:  # on the first and the last day of the calendar, in some zones
        return None


def _message(preview: MessagePreview | None) -> str | None:
    return preview.message if preview else None


def _moment(preview: MessagePreview | None) -> datetime | None:
    return _utc(preview.created_at) if preview else None


COLUMNS: tuple[Column, ...] = (
    Column("id", "text", lambda c: c.id),
    Column("inbox_id", "text", lambda c: c.inbox_id),
    Column("inbox_name", "text", lambda c: c.inbox_name),
    Column("platform_type", "text", lambda c: c.platform_type and c.platform_type.value),
    Column("stage_status", "text", lambda c: c.stage_status and c.stage_status.value),
    Column("contact_id", "text", lambda c: c.contact_id),
    Column("contact_name", "text", lambda c: c.contact_name),
    Column("contact_phone", "text", lambda c: c.contact_phone),
    Column("handled_by_id", "text", lambda c: c.handled_by_id),
    Column("handled_by_name", "text", lambda c: c.handled_by_name),
    Column("notes", "text", lambda c: c.notes),
    Column("labels", "json", lambda c: _json([label.to_dict() for label in c.labels])),
    Column("first_message", "text", lambda c: _message(c.first_message)),
    Column("first_message_at", "time", lambda c: _moment(c.first_message)),
    Column("last_message", "text", lambda c: _message(c.last_message)),
    Column("last_message_at", "time", lambda c: _moment(c.last_message)),
    Column("additional_data", "json", lambda c: _json(c.additional_data)),
    Column("created_at", "time", lambda c: _utc(c.created_at)),
    Column("resolved_at", "time", lambda c: _utc(c.resolved_at)),
    Column("resolved_by_id", "text", lambda c: c.resolved_by_id),
    Column("resolved_by_name", "text", lambda c: c.resolved_by_name),
    Column("pipeline", "json", lambda c: _json(c.pipeline)),
    Column("collaborators", "json", lambda c: _json(c.collaborators)),
    Column("last_message_by_human", "json", lambda c: _json(c.last_message_by_human)),
    Column("extra", "json", lambda c: _json(c.extra or None)),
    # The last one. `build_row` takes it from the record, not from the conversation.
    Column("raw", "raw", lambda _: None),
)
"""The columns of a table of conversations, in this order: the fields that the API documents, others
that live accounts send, all fields that this version does not know (``extra``), and the record."""

_VALUES = tuple(column.value for column in COLUMNS[:-1])
_NO_VALUES = (None,) * (len(COLUMNS) - 2)
_SHOWN = 5


def build_row(raw: bytes) -> Row:
    """Return the row of a record, in the order of :data:`COLUMNS`.

    A malformed record has only an id and ``raw``. If it has no readable id, its id is ``odd:`` and
    a hash of its bytes, so that a table contains it once.
    """
    text = raw.decode(errors="replace")
    try:
        conversation = decode_conversation(raw)
    except DecodeError:
        return (_get_malformed_id(raw), *_NO_VALUES, text)
    return (*[value(conversation) for value in _VALUES], text)


def _get_malformed_id(raw: bytes) -> str:
    id_ = record_id(raw)
    return f"odd:{blake2b(raw, digest_size=16).hexdigest()}" if id_ is None else id_


def describe_differences(found: Mapping[str, object], expected: Mapping[str, object]) -> list[str]:
    """Return how columns, given by name and type, differ: a text for each kind of difference."""
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    changed = [
        f"{name} is {found[name]} and not {type_}"
        for name, type_ in expected.items()
        if name in found and found[name] != type_
    ]
    return [
        *([describe_missing(*missing)] if missing else []),
        *([f"it also has {_shorten(extra)}"] if extra else []),
        *([_shorten(changed)] if changed else []),
    ]


def describe_missing(*names: str) -> str:
    """Return the text for columns that a table lacks."""
    return f"it has no column {_shorten(names)}"


def _shorten(texts: Sequence[str]) -> str:
    rest = len(texts) - _SHOWN
    return ", ".join(texts[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
