"""Cuts a reply into its parts: the records as bytes, the cursor and the totals."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec

from cekat_async._api.status import error_from_reply
from cekat_async.errors import DecodeError, MalformedBodyError
from cekat_async.models.json_scanner import (
    MOST_RECORDS,
    UNDECODABLE,
    BrokenJSONError,
    TooManyRecordsError,
)
from cekat_async.models.raw_json import AT_ONCE, ENVELOPE, Envelope, cut_envelope, fits_at_once
from cekat_async.positions import Cursor

if TYPE_CHECKING:
    from cekat_async._api.replies import Reply
    from cekat_async.models.raw_json import JsonValue
    from cekat_async.models.steps import Steps

__all__ = ["CutReply", "build_cursor", "cut_reply", "read_cursor", "read_totals"]

# A cursor, or the reason why the cursor of the page cannot be used.
CursorOrProblem: TypeAlias = "tuple[Cursor | None, str | None]"


class CutReply(NamedTuple):
    """A reply whose records are still bytes.

    ``kept`` contains the records if cutting the body again would be slow.
    """

    records: list[msgspec.Raw]
    metadata: msgspec.Raw
    kept: list[msgspec.Raw] | None


def cut_reply(reply: Reply) -> Steps[CutReply]:
    """Return the parts of a reply.

    Raises:
        CekatError: The body is not complete JSON, has another shape, or says ``"success": false``.
    """
    envelope = _cut_fast(reply.body)
    is_slow = envelope is None
    envelope = envelope or (yield from _cut_slowly(reply.body))
    if bytes(envelope.success) == b"false":
        raise error_from_reply(reply)
    records = envelope.records
    if records is None:
        raise _shape_error(reply.body, "$.data", "it has no list of records")
    return CutReply(records, envelope.metadata, records if is_slow else None)


def _cut_fast(body: bytes) -> Envelope | None:
    if not fits_at_once(body):
        return None
    try:
        envelope = ENVELOPE.decode(body)
    except UNDECODABLE:
        return None
    return envelope if len(envelope.records or ()) <= MOST_RECORDS else None


def _cut_slowly(body: bytes) -> Steps[Envelope]:
    try:
        return (yield from cut_envelope(body))
    except BrokenJSONError as error:
        failure = _error_from_broken_json(body, error)
    except TooManyRecordsError as error:
        failure = _shape_error(body, "$.data", str(error))
    raise failure


def _error_from_broken_json(body: bytes, error: BrokenJSONError) -> DecodeError:
    """Return the error for a body that is not a JSON object. A retry may fix invalid JSON."""
    if _is_json(body):
        return _shape_error(body, "$", "it is not an object")
    message = f"the reply is not complete JSON ({error}; {len(body):,} bytes)"
    return MalformedBodyError(message, raw=body)


def _is_json(body: bytes) -> bool:
    try:
        return len(body) <= AT_ONCE and msgspec.json.decode(body, type=msgspec.Raw) is not None
    except UNDECODABLE:
        return False


def _shape_error(body: bytes, field: str, reason: str) -> DecodeError:
    message = f"the reply has another shape than documented: {reason}"
    return DecodeError(message, field=field, raw=body)


def _decode_any(raw: msgspec.Raw) -> JsonValue | msgspec.Raw:
    """Return a value of any type, or its bytes if it cannot be decoded."""
    try:
        return msgspec.json.decode(raw) if fits_at_once(raw) else raw
    except UNDECODABLE:
        return raw


def _get_member(value: JsonValue | msgspec.Raw, name: str) -> JsonValue:
    return value.get(name) if isinstance(value, dict) else None


def read_cursor(raw: msgspec.Raw) -> CursorOrProblem:
    """Return the cursor in a page's metadata, or the problem with it."""
    metadata = _decode_any(raw)
    if not isinstance(metadata, dict | None):
        return None, "metadata is not a readable object"
    pair = _get_member(metadata, "next_cursor")
    if not isinstance(pair, dict | None):
        return None, "next_cursor is not an object"
    return build_cursor(_get_member(pair, "cursor_id"), _get_member(pair, "cursor_ts"))


def build_cursor(cursor_id: object, cursor_ts: object) -> CursorOrProblem:
    """Return the cursor with these parts, or the problem with them."""
    parts = {"cursor_id": cursor_id, "cursor_ts": cursor_ts}
    # An empty string is not a cursor. If the client sent it back, the walk would start again.
    missing = [name for name, value in parts.items() if value is None or value == ""]
    if len(missing) == len(parts):
        return None, None
    if missing:
        return None, f"next_cursor has no {missing[0]}"
    if not isinstance(cursor_id, str) or not isinstance(cursor_ts, str):
        return None, "a part of next_cursor is not a text"
    return Cursor(cursor_id, cursor_ts), None


def read_totals(raw: msgspec.Raw) -> tuple[int | None, int | None]:
    """Return the total number of pages, and of items, from a page's metadata."""
    pagination = _get_member(_decode_any(raw), "pagination")
    pages, items = (_get_member(pagination, name) for name in ("total_page", "total_items"))
    return _parse_total(pages), _parse_total(items)


_MOST_DIGITS = 18


def _parse_total(value: object) -> int | None:
    """Return a total that the server sent as a number or as a numeric string."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value) if len(value) <= _MOST_DIGITS else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        return None
    return int(value) if value == int(value) else None
