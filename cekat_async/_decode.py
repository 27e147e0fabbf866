"""Bytes of an answer to pages and records: fast when all is as documented, tolerant when not.

The fast path is one typed decode of the whole page. Whatever it objects to (an unknown field, a
timestamp without a zone, one odd record) sends the page down the tolerant path, record by record:
the healthy ones are kept, those that can be healed are healed, and the odd ones are named.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar

import msgspec

from cekat_async._wire import OK, Reply, refusal
from cekat_async.errors import DecodeError, MalformedBodyError, PaginationError
from cekat_async.models import (
    Conversation,
    ConversationPage,
    Cursor,
    Extra,
    Inbox,
    InboxPage,
    Label,
    MessagePreview,
    OddRecord,
    RawPage,
    Record,
    cut_records,
    empty_for_null,
    mend_surrogates,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "cursor_on_sight",
    "decode_conversation",
    "decode_conversation_page",
    "decode_inbox_page",
    "decode_raw_page",
]

D = TypeVar("D")
M = TypeVar("M")
R = TypeVar("R", bound=Record)
Raw: TypeAlias = bytes | msgspec.Raw


class _Answer(msgspec.Struct, Generic[D, M]):
    data: D
    metadata: M | None = None
    success: bool | None = None


class _CursorPair(msgspec.Struct):
    cursor_id: str | None = None
    cursor_ts: str | None = None


class _CursorMetadata(msgspec.Struct):
    next_cursor: _CursorPair | None = None


class _Pagination(msgspec.Struct):
    total_page: int | None = None
    total_items: int | None = None


class _PageMetadata(msgspec.Struct):
    pagination: _Pagination | None = None


class _Shape(Generic[R, M]):
    """The decoders of one resource's pages, made once: making one costs more than a page."""

    def __init__(
        self,
        record: type[R],
        page: type[_Answer[tuple[R, ...], M]],
        raw_page: type[_Answer[list[msgspec.Raw], M]],
        finish: Callable[[Iterable[R]], None],
    ) -> None:
        self.record = record
        self.finish = finish
        self.one = msgspec.json.Decoder(record)
        self.page = msgspec.json.Decoder(page)
        self.raw_page = msgspec.json.Decoder(raw_page)


_CONVERSATIONS = _Shape(
    Conversation,
    _Answer[tuple[Conversation, ...], _CursorMetadata],
    _Answer[list[msgspec.Raw], _CursorMetadata],
    empty_for_null,
)
_INBOXES = _Shape(
    Inbox,
    _Answer[tuple[Inbox, ...], _PageMetadata],
    _Answer[list[msgspec.Raw], _PageMetadata],
    lambda _: None,
)

# Neither bad UTF-8 inside a string nor brackets in thousands raise msgspec's own error.
_UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def decode_conversation_page(reply: Reply) -> ConversationPage:
    """Return the page that a reply to the listing of conversations holds.

    Raises:
        MalformedBodyError: The body is not JSON, or is cut short.
        DecodeError: It is JSON of another shape.
        APIStatusError: It says ``"success": false``.
        PaginationError: Its cursor is half a pair.
    """
    parts = _decode(_CONVERSATIONS, reply)
    pair = parts.metadata.next_cursor if parts.metadata else None
    return ConversationPage(
        items=parts.items,
        odd_records=parts.odd_records,
        body=reply.body,
        next_cursor=_cursor(pair) if pair else None,
    )


class _Tail(msgspec.Struct):
    metadata: _CursorMetadata
    success: bool | None = None


_TAIL = msgspec.json.Decoder(_Tail)
_SUCCESS = re.compile(rb'\s*\{\s*"success"\s*:\s*true\s*,')


def cursor_on_sight(reply: Reply) -> Cursor | None:
    """Return where a page leads before it is decoded, or ``None`` where one has to decode to know.

    From the end of the body, in 2 µs. What it returns is what the whole page would say: the last
    ``"metadata"`` is the envelope's own if what follows, in a bracket of its own, is whole JSON.
    Were it a record's, a bracket would be closed that was not opened.
    """
    if reply.status != OK:
        return None
    begin = max(reply.body.rfind(b'"metadata"'), 0)
    try:
        tail = _TAIL.decode(b"{" + reply.body[begin:])
    except _UNDECODABLE:
        return None
    # Where it is not said that all is well, it may be said in between that it is not.
    says_yes = _SUCCESS.match(reply.body) if tail.success is None else tail.success
    pair = tail.metadata.next_cursor
    if not says_yes or pair is None or not pair.cursor_id or not pair.cursor_ts:
        return None
    return Cursor(pair.cursor_id, pair.cursor_ts)


def decode_raw_page(reply: Reply) -> RawPage:
    """Return the page of a reply to the listing of conversations, with its records as bytes.

    Raises:
        CekatError: As :func:`decode_conversation_page`.
    """
    answer, is_mended = _raw_answer(_CONVERSATIONS, reply)
    if answer.success is False:
        raise refusal(reply)
    pair = answer.metadata.next_cursor if answer.metadata else None
    return RawPage(
        raw=cut_records(reply.body) if is_mended else answer.data,
        body=reply.body,
        next_cursor=_cursor(pair) if pair else None,
    )


def decode_inbox_page(reply: Reply, number: int) -> InboxPage:
    """Return the page that a reply to the listing of inboxes holds.

    Raises:
        MalformedBodyError: The body is not JSON, or is cut short.
        DecodeError: It is JSON of another shape.
        APIStatusError: It says ``"success": false``.
    """
    parts = _decode(_INBOXES, reply)
    totals = (parts.metadata.pagination if parts.metadata else None) or _Pagination()
    return InboxPage(
        items=parts.items,
        odd_records=parts.odd_records,
        body=reply.body,
        page=number,
        total_pages=totals.total_page,
        total_items=totals.total_items,
    )


def decode_conversation(raw: bytes | str | msgspec.Raw) -> Conversation:
    """Return one conversation from its JSON, as a line of an export or ``page.raw`` holds it.

    Unknown fields, zone-less timestamps and the like are taken as in a page.

    Raises:
        DecodeError: It is not JSON, or not a conversation; ``field`` says where.
    """
    data = raw.encode(errors="surrogatepass") if isinstance(raw, str) else raw
    record = _decode_record(_CONVERSATIONS, 0, data)
    if isinstance(record, OddRecord):
        message = f"not a conversation: {record.reason} at {record.field}"
        raise DecodeError(message, field=record.field, raw=record.raw)
    return record


def _cursor(pair: _CursorPair) -> Cursor | None:
    # An empty text leads nowhere either; sent back, it would start the walk anew.
    if not pair.cursor_id and not pair.cursor_ts:
        return None
    if not pair.cursor_id or not pair.cursor_ts:
        missing = "cursor_ts" if pair.cursor_id else "cursor_id"
        raise PaginationError(f"the server sent half a cursor, without {missing}: cannot go on")
    return Cursor(pair.cursor_id, pair.cursor_ts)


class _Parts(NamedTuple, Generic[R, M]):
    """What a page is made of."""

    items: tuple[R, ...]
    odd_records: tuple[OddRecord, ...]
    metadata: M | None


def _decode(shape: _Shape[R, M], reply: Reply) -> _Parts[R, M]:
    try:
        answer = shape.page.decode(reply.body)
    except _UNDECODABLE:
        return _decode_tolerantly(shape, reply)
    if answer.success is False:
        raise refusal(reply)
    shape.finish(answer.data)
    return _Parts(answer.data, (), answer.metadata)


def _decode_tolerantly(shape: _Shape[R, M], reply: Reply) -> _Parts[R, M]:
    answer, is_mended = _raw_answer(shape, reply)
    if answer.success is False:
        raise refusal(reply)
    records = [_decode_record(shape, index, raw) for index, raw in enumerate(answer.data)]
    odd = [record for record in records if isinstance(record, OddRecord)]
    if odd and is_mended:
        originals = cut_records(reply.body)
        odd = [msgspec.structs.replace(o, raw=bytes(originals[o.index])) for o in odd]
    items = (record for record in records if not isinstance(record, OddRecord))
    return _Parts(tuple(items), tuple(odd), answer.metadata)


def _raw_answer(shape: _Shape[R, M], reply: Reply) -> tuple[_Answer[list[msgspec.Raw], M], bool]:
    """Return the answer with its records as bytes, and whether its text had to be mended."""
    with suppress(*_UNDECODABLE):
        return shape.raw_page.decode(reply.body), False
    body = mend_surrogates(reply.body)
    try:
        return shape.raw_page.decode(body), True
    except _UNDECODABLE as error:
        failure = refusal(reply) if _says_no(body) else _body_error(body, error)
    raise failure


class _OnlySuccess(msgspec.Struct):
    success: bool | None = None


_ONLY_SUCCESS = msgspec.json.Decoder(_OnlySuccess)


def _says_no(body: bytes) -> bool:
    """Whether the answer says ``"success": false``, which needs no ``data`` beside it."""
    try:
        return _ONLY_SUCCESS.decode(body).success is False
    except _UNDECODABLE:
        return False


def _body_error(body: bytes, error: Exception) -> DecodeError:
    """Tell a body that is no JSON, which asking again may heal, from one of another shape."""
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except msgspec.DecodeError as malformed:
        return MalformedBodyError(
            f"the answer is not whole JSON ({malformed}; {len(body):,} bytes)", raw=body
        )
    except RecursionError as too_deep:
        error = too_deep
    reason, field = _reason(error)
    return DecodeError(f"the answer has another shape: {reason} at {field}", field=field, raw=body)


def _decode_record(shape: _Shape[R, M], index: int, raw: Raw) -> R | OddRecord:
    try:
        record = _one(shape, raw)
    except _UNDECODABLE as error:
        reason, field = _reason(error)
        return OddRecord(index=index, id=_id(raw), field=field, reason=reason, raw=bytes(raw))
    shape.finish((record,))
    return record


def _one(shape: _Shape[R, M], raw: Raw) -> R:
    try:
        return shape.one.decode(raw)
    except _UNDECODABLE:
        return _healed(shape.record, raw)


def _healed(kind: type[R], raw: Raw) -> R:
    """Return the record with its unknown fields kept, its zones set and its text mended."""
    value = _json(raw)
    # Unknown fields of the record itself are the usual reason to be here, and quick to set aside.
    with suppress(msgspec.ValidationError):
        return msgspec.convert(_with_extra(kind, value), kind)
    return msgspec.convert(_sorted_out(kind, value), kind)


def _json(raw: Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.json.decode(mend_surrogates(bytes(raw)).decode(errors="replace"))


_KNOWN: Mapping[type[Record], frozenset[str]] = {
    kind: frozenset(kind.__struct_fields__) - {"extra"}
    for kind in (Conversation, Inbox, Label, MessagePreview)
}


def _with_extra(kind: type[Record], value: Any) -> Any:
    """Return a record's fields with the unknown ones moved under ``extra``.

    What is not a record at all passes as it is: the conversion says best what is wrong with it.
    """
    known = _KNOWN[kind]
    if not isinstance(value, dict) or value.keys() <= known:
        return value
    fields = {name: part for name, part in value.items() if name in known}
    fields["extra"] = Extra({name: part for name, part in value.items() if name not in known})
    return fields


_PREVIEWS = frozenset({"first_message", "last_message"})
_TIMESTAMPS = frozenset({"created_at", "resolved_at"})


def _sorted_out(kind: type[Record], value: Any) -> Any:
    """Do the same for the records inside of a record, and read timestamps of all spellings."""
    fields = _with_extra(kind, value)
    if not isinstance(fields, dict):
        return fields
    return {name: _field(name, part) for name, part in fields.items()}


def _field(name: str, value: Any) -> Any:
    if name == "labels" and isinstance(value, list):
        return [_sorted_out(Label, part) for part in value]
    if name in _PREVIEWS:
        return _sorted_out(MessagePreview, value)
    if name in _TIMESTAMPS and isinstance(value, str):
        return _timestamp(value)
    return value


def _timestamp(text: str) -> datetime | str | None:
    """Return the moment; a text that is none stays one, and the conversion names it."""
    if not text.strip():
        return None  # nothing in it: no moment, as with null
    # First as the fast path reads it, which rounds nanoseconds where Python cuts them off.
    for read in (_read_rfc3339, datetime.fromisoformat):
        with suppress(msgspec.ValidationError, ValueError):
            moment = read(text)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return text


def _read_rfc3339(text: str) -> datetime:
    return msgspec.convert(text, datetime)


class _OnlyId(msgspec.Struct):
    id: str | None = None


_ONLY_ID = msgspec.json.Decoder(_OnlyId)


def _id(raw: Raw) -> str | None:
    try:
        return _ONLY_ID.decode(raw).id
    except _UNDECODABLE:
        return None


_PATH = re.compile(r"^(?P<reason>.*) - at `(?P<path>[^`]*)`$", re.DOTALL)


def _reason(error: Exception) -> tuple[str, str]:
    """Split msgspec's message into what is wrong and where; ``$`` stands for the whole."""
    found = _PATH.match(str(error))
    return (found["reason"], found["path"]) if found else (str(error), "$")
