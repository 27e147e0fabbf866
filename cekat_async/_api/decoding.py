"""Decodes the bytes of a reply to a page.

The fast way decodes the whole page in one step, with types. It fails if a record has an unknown
field, has a field of an unexpected type, or is malformed. The decoder does not use the fast way for
a very large page. In all these cases, the decoder cuts the records from the body and decodes them
one by one. It then expects the newly found fields on later pages. Bad metadata does not affect the
records. Totals that cannot be read count as unknown. A cursor that cannot be read is an error,
raised after the page.

All functions work in steps, as :mod:`cekat_async.models.steps` explains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from cekat_async._api.envelope import build_cursor, cut_reply, read_cursor, read_totals
from cekat_async._api.status import error_from_reply
from cekat_async.models import Conversation, Inbox, MalformedRecord
from cekat_async.models.base import IdentifiedRecord
from cekat_async.models.decoding import build_malformed, pause_if_large
from cekat_async.models.json_scanner import UNDECODABLE
from cekat_async.models.raw_json import NULL, count_values, fits_at_once
from cekat_async.models.record_shape import RecordShape, get_shape
from cekat_async.pages import ConversationPage, InboxPage, RawPage

if TYPE_CHECKING:
    from cekat_async._api.replies import Reply
    from cekat_async.models.steps import Steps

__all__ = ["ConversationPageDecoder", "InboxPageDecoder", "decode_raw_page"]

R = TypeVar("R", bound=IdentifiedRecord)
M = TypeVar("M")

# Each record counts as at least this many bytes.
_RECORD = 2048
# The number of bytes to decode before the event loop runs.
_STEP = 128 * 1024
# If a page with more values than this were decoded in one step, Python's garbage collector would
# block the event loop. Real records have one value per 28 bytes on average, so a large page can
# exceed this number.
_MOST_VALUES = 400_000
_BYTES_PER_VALUE = 14


class _Page(msgspec.Struct, Generic[R, M]):
    """A page whose records have no unexpected fields."""

    data: tuple[R, ...]
    metadata: M | None = None
    success: bool | None = None


class _CursorPair(msgspec.Struct):
    cursor_id: str | None = None
    cursor_ts: str | None = None


class _CursorMetadata(msgspec.Struct):
    next_cursor: _CursorPair | None = None


class ConversationPageDecoder:
    """Decodes pages of conversations, and learns undocumented fields."""

    def __init__(self) -> None:
        self._records = _RecordsDecoder(get_shape(Conversation), _CursorMetadata)

    def decode(self, reply: Reply) -> Steps[ConversationPage]:
        """Return the page in a reply to a request for conversations.

        Raises:
            MalformedBodyError: The body is not JSON, or is cut short.
            DecodeError: The body is JSON, but has an unexpected structure.
            APIStatusError: The body says ``"success": false``.
        """
        malformed_records: tuple[MalformedRecord, ...] = ()
        kept = None
        if (page := (yield from self._records.decode_at_once(reply))) is not None:
            items = page.data
            pair = page.metadata.next_cursor if page.metadata else None
            cursor, problem = build_cursor(pair.cursor_id, pair.cursor_ts) if pair else (None, None)
        else:
            cut = yield from cut_reply(reply)
            items, malformed_records = yield from self._records.decode_each(cut.records, reply.body)
            cursor, problem = read_cursor(cut.metadata)
            kept = cut.kept
        return ConversationPage(
            items=items,
            malformed_records=malformed_records,
            body=reply.body,
            next_cursor=cursor,
            cursor_error=problem,
            kept_raw=kept,
        )


class InboxPageDecoder:
    """Decodes pages of inboxes, and learns undocumented fields."""

    def __init__(self) -> None:
        self._records = _RecordsDecoder(get_shape(Inbox), msgspec.Raw)

    def decode(self, reply: Reply, number: int) -> Steps[InboxPage]:
        """Return the page with this number from a reply to a request for inboxes.

        Raises:
            CekatError: The same errors as in :meth:`ConversationPageDecoder.decode`.
        """
        malformed_records: tuple[MalformedRecord, ...] = ()
        kept = None
        if (page := (yield from self._records.decode_at_once(reply))) is not None:
            items, metadata = page.data, page.metadata or NULL
        else:
            cut = yield from cut_reply(reply)
            items, malformed_records = yield from self._records.decode_each(cut.records, reply.body)
            metadata, kept = cut.metadata, cut.kept
        total_pages, total_items = read_totals(metadata)
        return InboxPage(
            items=items,
            malformed_records=malformed_records,
            body=reply.body,
            page=number,
            total_pages=total_pages,
            total_items=total_items,
            kept_raw=kept,
        )


def decode_raw_page(reply: Reply) -> Steps[RawPage]:
    """Return the page in a reply to a request for conversations. Its records are bytes.

    Raises:
        CekatError: The same errors as in :meth:`ConversationPageDecoder.decode`.
    """
    cut = yield from cut_reply(reply)
    cursor, problem = read_cursor(cut.metadata)
    return RawPage(raw=cut.records, body=reply.body, next_cursor=cursor, cursor_error=problem)


class _RecordsDecoder(Generic[R, M]):
    """Decodes the records of pages, and learns which fields the records have.

    Args:
        shape: The fields that the decoder expects at first.
        metadata: The type of a page's metadata.
    """

    def __init__(self, shape: RecordShape[R], metadata: type[M]) -> None:
        self._metadata = metadata
        self._expect(shape)

    def _expect(self, shape: RecordShape[R]) -> None:
        self._shape = shape
        page_type: Any = _Page[shape.struct, self._metadata]  # type: ignore[name-defined]
        self._pages = msgspec.json.Decoder(page_type)

    def decode_at_once(self, reply: Reply) -> Steps[_Page[R, M] | None]:
        """Return the page, or ``None`` if it cannot be decoded in one step."""
        if not fits_at_once(reply.body):
            return None
        shape = self._shape
        try:
            page: _Page[R, M] = self._pages.decode(reply.body)
        except UNDECODABLE:
            yield from pause_if_large(reply.body)
            return None
        if page.success is False:
            raise error_from_reply(reply)
        page.data = yield from shape.to_records(page.data)
        return page

    def decode_each(
        self, records: list[msgspec.Raw], body: bytes
    ) -> Steps[tuple[tuple[R, ...], tuple[MalformedRecord, ...]]]:
        """Return the records of a page, decoded one by one, and its malformed records."""
        shape, unexpected = self._shape, set[str]()
        items: list[R] = []
        malformed: list[MalformedRecord] = []
        has_few_values = fits_at_once(body)
        work, values_left = 0, max(_MOST_VALUES, len(body) // _BYTES_PER_VALUE)
        for index, raw in enumerate(records):
            values = 0 if has_few_values else count_values(raw)
            yield from pause_if_large(raw)
            record: R | MalformedRecord
            if values > values_left:
                reason = "the page has too many values"
                record = yield from build_malformed(index, raw, bytes(raw), "$", reason)
            else:
                record = yield from shape.decode(index, raw, unexpected)
            if isinstance(record, MalformedRecord):
                malformed.append(record)
            else:
                items.append(record)
                values_left -= values
            work += len(raw) + _RECORD
            if work > _STEP:
                work = 0
                yield
        self._learn(unexpected)
        return tuple(items), tuple(malformed)

    def _learn(self, unexpected: set[str]) -> None:
        shape = self._shape.extended(unexpected)
        if shape is not self._shape:
            self._expect(shape)
