"""A record as the bytes that the API sent: its id."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from cekat_async import DecodeError, decode_conversation

__all__ = ["id_of", "inbox_of"]


class _OnlyId(msgspec.Struct):
    id: str


class _OnlyInbox(msgspec.Struct):
    inbox_id: str | None = None


_ONLY_ID = msgspec.json.Decoder(_OnlyId)
_ONLY_INBOX = msgspec.json.Decoder(_OnlyInbox)


def id_of(record: bytes) -> str | None:
    """Return a record's id, if it has one that can be read."""
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _ONLY_ID.decode(record).id
    with suppress(DecodeError):  # which reads what has half an emoji in it
        return decode_conversation(record).id
    return None


def inbox_of(record: bytes) -> str | None:
    """Return the inbox id of a record; ``None`` if it has none that can be read."""
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _ONLY_INBOX.decode(record).inbox_id
    with suppress(DecodeError):
        return decode_conversation(record).inbox_id
    return None
