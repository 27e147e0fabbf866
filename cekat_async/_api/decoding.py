"""Bytes of a reply to pages: fast when all is as documented, tolerant when not.

The fast path is one typed decode of the whole page. If that fails (an unknown field, a field of
another type, one malformed record), or the page is very large, the records are cut from the body
and decoded one by one. What surrounds the records never costs any of them: totals that cannot be
read are unknown, and a cursor that cannot be read is an error after the page.

All functions but :func:`decode_conversation` work in steps: see
:mod:`cekat_async.models.raw_json`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar

import msgspec

from cekat_async._api.messages import Reply, refusal
from cekat_async.errors import DecodeError, MalformedBodyError
from cekat_async.models import Conversation, Inbox, MalformedRecord
from cekat_async.models.base import Record
from cekat_async.models.decoding import CONVERSATION, INBOX, malformed, pause_if_large
from cekat_async.models.raw_json import (
    AT_ONCE,
    MOST_RECORDS,
    UNDECODABLE,
    BrokenJSONError,
    Envelope,
    Steps,
    TooManyRecordsError,
    completed,
    count_values,
    cut_envelope,
    fits_at_once,
)
from cekat_async.pages import ConversationPage, InboxPage, RawPage
from cekat_async.positions import Cursor

if TYPE_CHECKING:
    from cekat_async.models.decoding import RecordDecoder

__all__ = [
    "decode_conversation",
    "decode_conversation_page",
    "decode_inbox_page",
    "decode_raw_page",
]

R = TypeVar("R", bound=Record)
M = TypeVar("M")

_FoundCursor: TypeAlias = "tuple[Cursor | None, str | None]"

# Bytes that a record costs at least, towards the pauses between records.
_RECORD = 2048
# Bytes of records that are decoded between two pauses.
_STEP = 128 * 1024
# Of more values than this, Python's garbage collector would block the event loop. Real records have
# one in some 28 bytes, so that a large page may have more.
_MOST_VALUES = 400_000
_BYTES_PER_VALUE = 14


class _Page(msgspec.Struct, Generic[R, M]):
    """A page that is as documented."""

    data: tuple[R, ...]
    metadata: M | None = None
    success: bool | None = None


class _CursorPair(msgspec.Struct):
    cursor_id: str | None = None
    cursor_ts: str | None = None


class _CursorMetadata(msgspec.Struct):
    next_cursor: _CursorPair | None = None


_NULL = msgspec.Raw(b"null")


class _RawPage(msgspec.Struct):
    """A page whose records and metadata are not decoded."""

    data: list[msgspec.Raw]
    metadata: msgspec.Raw = _NULL
    success: msgspec.Raw = _NULL


_RAW_PAGE = msgspec.json.Decoder(_RawPage)
_CONVERSATIONS = msgspec.json.Decoder(_Page[Conversation, _CursorMetadata])
_INBOXES = msgspec.json.Decoder(_Page[Inbox, msgspec.Raw])


def decode_conversation_page(reply: Reply) -> Steps[ConversationPage]:
    """Return the page that a reply to the listing of conversations holds.

    Raises:
        MalformedBodyError: The body is not JSON, or is cut short.
        DecodeError: It is JSON of another shape.
        APIStatusError: It says ``"success": false``.
    """
    body = reply.body
    if (page := _as_documented(_CONVERSATIONS, reply)) is not None:
        CONVERSATION.finish(page.data)
        pair = page.metadata.next_cursor if page.metadata else None
        cursor, problem = _cursor_of(pair.cursor_id, pair.cursor_ts) if pair else (None, None)
        return ConversationPage(
            items=page.data, body=body, next_cursor=cursor, cursor_error=problem
        )
    yield from pause_if_large(body)
    cut = yield from _cut(reply)
    parts = yield from _records(CONVERSATION, cut.records, body)
    cursor, problem = _cursor_in(cut.metadata)
    return ConversationPage(
        items=parts.items,
        malformed_records=parts.malformed_records,
        body=body,
        next_cursor=cursor,
        cursor_error=problem,
        kept_raw=cut.kept,
    )


def decode_raw_page(reply: Reply) -> Steps[RawPage]:
    """Return the page of a reply to the listing of conversations, with its records as bytes.

    Raises:
        CekatError: As :func:`decode_conversation_page`.
    """
    cut = yield from _cut(reply)
    cursor, problem = _cursor_in(cut.metadata)
    return RawPage(raw=cut.records, body=reply.body, next_cursor=cursor, cursor_error=problem)


def decode_inbox_page(reply: Reply, number: int) -> Steps[InboxPage]:
    """Return the page that a reply to the listing of inboxes holds.

    Raises:
        MalformedBodyError: The body is not JSON, or is cut short.
        DecodeError: It is JSON of another shape.
        APIStatusError: It says ``"success": false``.
    """
    malformed_records: tuple[MalformedRecord, ...] = ()
    kept = None
    if (page := _as_documented(_INBOXES, reply)) is not None:
        items, metadata = page.data, page.metadata or _NULL
    else:
        yield from pause_if_large(reply.body)
        cut = yield from _cut(reply)
        items, malformed_records = yield from _records(INBOX, cut.records, reply.body)
        metadata, kept = cut.metadata, cut.kept
    pagination = _member(_any(metadata), "pagination")
    return InboxPage(
        items=items,
        malformed_records=malformed_records,
        body=reply.body,
        page=number,
        total_pages=_total(_member(pagination, "total_page")),
        total_items=_total(_member(pagination, "total_items")),
        kept_raw=kept,
    )


def decode_conversation(raw: bytes | str | msgspec.Raw) -> Conversation:
    """Return one conversation from its JSON, as a line of an export or ``page.raw`` holds it.

    Unknown fields, fields of another type and timestamps without a zone are read as in a page.

    Raises:
        DecodeError: It is malformed: not JSON, not an object, or without a readable id. ``field``
            says where.
    """
    data = raw.encode(errors="surrogatepass") if isinstance(raw, str) else raw
    record = completed(CONVERSATION.decode(0, data))
    if isinstance(record, MalformedRecord):
        message = f"not a conversation: {record.reason} at {record.field}"
        raise DecodeError(message, field=record.field, raw=record.raw)
    return record


def _as_documented(decoder: msgspec.json.Decoder[_Page[R, M]], reply: Reply) -> _Page[R, M] | None:
    """Return the page, if it can be decoded as a whole."""
    if not fits_at_once(reply.body):
        return None
    try:
        page = decoder.decode(reply.body)
    except UNDECODABLE:
        return None
    if page.success is False:
        raise refusal(reply)
    return page


class _Parts(NamedTuple, Generic[R]):
    """The records of a page."""

    items: tuple[R, ...]
    malformed_records: tuple[MalformedRecord, ...]


def _records(
    decoder: RecordDecoder[R], records: list[msgspec.Raw], body: bytes
) -> Steps[_Parts[R]]:
    """Return the records of a page, decoded one by one."""
    items: list[R] = []
    odd: list[MalformedRecord] = []
    has_few_values = fits_at_once(body)
    work, values_left = 0, max(_MOST_VALUES, len(body) // _BYTES_PER_VALUE)
    for index, raw in enumerate(records):
        values = 0 if has_few_values else count_values(raw)
        yield from pause_if_large(raw)
        record: R | MalformedRecord
        if values > values_left:
            record = yield from malformed(index, raw, bytes(raw), "$", _TOO_MANY_VALUES)
        else:
            record = yield from decoder.decode(index, raw)
        if isinstance(record, MalformedRecord):
            odd.append(record)
        else:
            items.append(record)
            values_left -= values
        work += len(raw) + _RECORD
        if work > _STEP:
            work = 0
            yield
    return _Parts(tuple(items), tuple(odd))


_TOO_MANY_VALUES = "the page has too many values"


class _Cut(NamedTuple):
    """A reply whose records are still bytes.

    Attributes:
        records: The records.
        metadata: What is said of the page.
        kept: The records again, if cutting them a second time would take long.
    """

    records: list[msgspec.Raw]
    metadata: msgspec.Raw
    kept: list[msgspec.Raw] | None


def _cut(reply: Reply) -> Steps[_Cut]:
    """Return the parts of a reply.

    Raises:
        CekatError: It is not whole JSON, is of another shape, or says that it is no success.
    """
    envelope = _cut_at_once(reply.body)
    is_slow = envelope is None
    records, metadata, success = envelope or (yield from _cut_slowly(reply.body))
    if bytes(success) == b"false":
        raise refusal(reply)
    if records is None:
        raise _of_another_shape(reply.body, "$.data", "it has no list of records")
    return _Cut(records, metadata, records if is_slow else None)


def _cut_at_once(body: bytes) -> Envelope | None:
    if not fits_at_once(body):
        return None
    try:
        page = _RAW_PAGE.decode(body)
    except UNDECODABLE:
        return None
    if len(page.data) > MOST_RECORDS:
        return None
    return Envelope(page.data, page.metadata, page.success)


def _cut_slowly(body: bytes) -> Steps[Envelope]:
    try:
        return (yield from cut_envelope(body))
    except BrokenJSONError as error:
        failure = _not_whole(body, error)
    except TooManyRecordsError as error:
        failure = _of_another_shape(body, "$.data", str(error))
    raise failure


def _not_whole(body: bytes, error: BrokenJSONError) -> DecodeError:
    """Tell a body that is not JSON, which a retry may heal, from one that is not an object."""
    if _is_json(body):
        return _of_another_shape(body, "$", "it is not an object")
    message = f"the reply is not whole JSON ({error}; {len(body):,} bytes)"
    return MalformedBodyError(message, raw=body)


def _is_json(body: bytes) -> bool:
    try:
        return len(body) <= AT_ONCE and msgspec.json.decode(body, type=msgspec.Raw) is not None
    except UNDECODABLE:
        return False


def _of_another_shape(body: bytes, field: str, reason: str) -> DecodeError:
    message = f"the reply has another shape than documented: {reason}"
    return DecodeError(message, field=field, raw=body)


def _any(raw: msgspec.Raw) -> Any:
    """Return a value of any kind; its bytes, which nobody expects, if it cannot be read."""
    try:
        return msgspec.json.decode(raw) if fits_at_once(raw) else raw
    except UNDECODABLE:
        return raw


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _cursor_in(raw: msgspec.Raw) -> _FoundCursor:
    """Return the cursor in a page's metadata."""
    metadata = _any(raw)
    if not isinstance(metadata, dict | None):
        return None, "metadata is not a readable object"
    pair = _member(metadata, "next_cursor")
    if not isinstance(pair, dict | None):
        return None, "next_cursor is not an object"
    return _cursor_of(_member(pair, "cursor_id"), _member(pair, "cursor_ts"))


def _cursor_of(cursor_id: object, cursor_ts: object) -> _FoundCursor:
    parts = {"cursor_id": cursor_id, "cursor_ts": cursor_ts}
    # An empty text leads nowhere: if it were sent back, the walk would begin again.
    missing = [name for name, value in parts.items() if value is None or value == ""]
    if len(missing) == len(parts):
        return None, None
    if missing:
        return None, f"next_cursor has no {missing[0]}"
    if not isinstance(cursor_id, str) or not isinstance(cursor_ts, str):
        return None, "a part of next_cursor is not a text"
    return Cursor(cursor_id, cursor_ts), None


_MOST_DIGITS = 18


def _total(value: object) -> int | None:
    """Return a total, which may be a number or the text of one."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value) if len(value) <= _MOST_DIGITS else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        return None
    return int(value) if value == int(value) else None
