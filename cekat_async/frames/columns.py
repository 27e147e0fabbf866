"""The columns that every table has, whatever holds it, and the row that a record makes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from cekat_async import DecodeError, decode_conversation, record_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from cekat_async import Conversation, MessagePreview

__all__ = ["COLUMNS", "Column", "Kind", "Row", "row_of"]

Kind: TypeAlias = Literal["text", "time", "json", "raw", "bytes"]
Row: TypeAlias = "tuple[str | datetime | None, ...]"


@dataclass(frozen=True)
class Column:
    """A column: its name, and what is in it.

    ``text`` is a string, ``time`` an aware datetime in UTC, ``json`` the text of a JSON value, and
    ``raw`` the whole record exactly as the API sent it, as text. ``bytes`` are bytes, which only
    some databases have a column for. Any but ``id`` and ``raw`` may be ``None``.
    """

    name: str
    kind: Kind
    value: Callable[[Conversation], Any]


def _json(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _utc(moment: datetime | None) -> datetime | None:
    try:
        return None if moment is None else moment.astimezone(UTC)
    except OverflowError:  # the first and the last day of all time, in some zones
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
    # The last one, and not taken from the conversation: see `row_of`.
    Column("raw", "raw", lambda _: None),
)
"""What a table of conversations has, in this order: what the API documents, what else live accounts
are known to send, all fields that this version does not know (``extra``), and the record itself."""

_FIELDS = tuple(column.value for column in COLUMNS[:-1])
_NOTHING = (None,) * (len(COLUMNS) - 2)


def row_of(raw: bytes) -> Row:
    """Return the row that a record makes, in the order of :data:`COLUMNS`.

    A malformed record has only its id and ``raw``. Without a readable id it gets ``odd:`` and a
    hash of its bytes as its id, so that it is kept as well, once.
    """
    text = raw.decode(errors="replace")
    try:
        conversation = decode_conversation(raw)
    except DecodeError:
        return (_id_of_odd(raw), *_NOTHING, text)
    return (*[value(conversation) for value in _FIELDS], text)


def _id_of_odd(raw: bytes) -> str:
    id_ = record_id(raw)
    return f"odd:{blake2b(raw, digest_size=16).hexdigest()}" if id_ is None else id_
