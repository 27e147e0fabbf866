"""A record as the bytes that the API sent: its id, and how it stands on one line."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from cekat_async import DecodeError, decode_conversation

__all__ = ["id_of", "one_line"]


class _OnlyId(msgspec.Struct):
    id: str


_ONLY_ID = msgspec.json.Decoder(_OnlyId)


def id_of(record: bytes) -> str | None:
    """Return a record's id, if it has one that can be read."""
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _ONLY_ID.decode(record).id
    with suppress(DecodeError):  # which reads what has half an emoji in it
        return decode_conversation(record).id
    return None


def one_line(raw: msgspec.Raw) -> bytes:
    """Return a record without line breaks: as sent, but for those between its tokens."""
    record = bytes(raw)
    # Inside of a string JSON has no raw line breaks, so that what is left away is between tokens.
    if b"\n" in record or b"\r" in record:
        record = record.replace(b"\n", b"").replace(b"\r", b"")
    return record
