"""The pages of a listing, with decoded records or with records as bytes."""

# Annotations are not postponed, because msgspec reads them when it creates a struct.

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Generic, NamedTuple, SupportsIndex, TypeVar, overload

import msgspec

from cekat_async.models import Conversation, Inbox, MalformedRecord, MessagePreview
from cekat_async.models.base import IdentifiedRecord
from cekat_async.models.extra_fields import ExtraFields, count_extra_fields
from cekat_async.models.forms.html_table import build_table
from cekat_async.models.forms.page_form import JsonPage
from cekat_async.models.raw_json import cut_records, fits_at_once, join_lines, lines, record_id
from cekat_async.models.response_details import ResponseDetails
from cekat_async.positions import Cursor, Position

__all__ = [
    "ConversationPage",
    "ExtraFields",
    "InboxPage",
    "Page",
    "RawPage",
    "count_extra_fields",
    "count_records",
    "iter_records",
    "only",
    "record_names",
]


_R = TypeVar("_R", bound=IdentifiedRecord)


class Page(JsonPage[_R], Generic[_R], frozen=True, kw_only=True):
    """The base of all pages. You can iterate over a page, index it, and take its ``len()``.

    The records are in the server's order. The JSON form of a page is the form of the API's replies
    (see :meth:`to_dict`).

    Attributes:
        response: The details of how the page was received: status, headers, attempts and waits.
            ``None`` for a page that did not come from a request.
    """

    response: ResponseDetails | None = None

    # A notebook shows these fields of each record.
    _columns: ClassVar[tuple[str, ...]]

    @property
    def raw(self) -> list[msgspec.Raw]:
        """The bytes of each record exactly as received, including malformed records.

        The items may be views that keep the whole body in memory. ``bytes(raw)`` makes a copy.
        """
        return cut_records(self.body) if self.kept_raw is None else self.kept_raw

    @property
    def ids(self) -> list[str | None]:
        """The ids of the records in ``raw``, in order. ``None`` for a record without an id."""
        if not self.malformed_records:
            return [item.id for item in self.items]
        return [record.id for record in iter_records(self)]

    @property
    def unknown_fields(self) -> dict[str, int]:
        """The fields that this version does not know, with the number of records that have each.

        Fields of labels and message previews have names such as ``labels.icon``.
        """
        return count_extra_fields(self.items).unknown

    @property
    def mistyped_fields(self) -> dict[str, int]:
        """The fields that do not have the documented type, with the number of records for each.

        The ``extra`` of each record has the original values. Fields of labels and message previews
        have names such as ``last_message.created_at``.
        """
        return count_extra_fields(self.items).mistyped

    @property
    def is_empty(self) -> bool:
        """Whether the page has no records at all, not even malformed records."""
        return not (self.items or self.malformed_records)

    @property
    def lines(self) -> list[bytes]:
        """Each record as one line of JSON, without a line break at its end.

        Malformed records are included. The lines are as received, except that line breaks inside a
        record are removed.
        """
        return lines(self.raw)

    def json_lines(self) -> bytes:
        """Return all ``lines`` as JSON Lines. Each line ends with a line break.

        Examples:
            >>> page = await cekat.conversations.page()
            >>> len(page.json_lines().splitlines())
            100
        """
        return join_lines(self.raw)

    @overload
    def __getitem__(self, index: SupportsIndex) -> _R: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[_R, ...]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> _R | tuple[_R, ...]:
        """Return one record, or a tuple of the records in a slice.

        ``page[0]`` is ``page.items[0]``. ``page.raw`` includes malformed records. So if the first
        record is malformed, ``page.raw[0]`` is a different record.
        """
        return self.items[index]

    def __iter__(self) -> Iterator[_R]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return _short_repr(self, len(self.items) + len(self.malformed_records))

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("records", len(self.items) + len(self.malformed_records))]

    def _repr_html_(self) -> str:
        rows = ({name: _show(getattr(one, name)) for name in self._columns} for one in self.items)
        return build_table(f"{self!r}, {len(self.malformed_records)} malformed", rows, len(self))


class _ConversationMetadata(msgspec.Struct, kw_only=True):
    """The metadata of the JSON form of a page."""

    next_cursor: Cursor | None = None
    inbox_id: str | None = None
    cursor_error: str | None = None


class ConversationPage(Page[Conversation], frozen=True, kw_only=True):
    """One page of conversations.

    Attributes:
        next_cursor: The cursor of the next page. ``None`` on the last page. In a walk with
            segments, this cursor leads to all records that the walk has not yielded yet.
        cursor_error: The reason why the cursor that the server sent cannot be used. ``None`` for a
            usable cursor. After a page with an error here, a walk raises
            :class:`~cekat_async.PaginationError`.
        inbox_id: The id of the requested inbox. ``None`` for all inboxes.
        position: The resume position after this page in a tracked walk. ``None`` in other walks.
    """

    next_cursor: Cursor | None = None
    cursor_error: str | None = None
    inbox_id: str | None = None
    position: Position | None = None

    _record = Conversation
    _metadata = _ConversationMetadata
    _columns = (
        "id",
        "inbox_name",
        "contact_name",
        "stage_status",
        "handled_by_name",
        "last_message",
        "created_at",
    )


class _Pagination(msgspec.Struct, kw_only=True):
    page: int = msgspec.field(default=1, name="current_page")
    total_pages: int | None = msgspec.field(default=None, name="total_page")
    total_items: int | None = None


class _InboxMetadata(msgspec.Struct, kw_only=True):
    """The metadata of the JSON form of a page, under the API's names."""

    pagination: _Pagination = msgspec.field(default_factory=_Pagination)


class InboxPage(Page[Inbox], frozen=True, kw_only=True):
    """One page of inboxes.

    The totals are the server's numbers, or ``None`` if they are unreadable. They can be
    wrong: the API's own sample (docs/api.md#inboxes) reports 8 pages for 15 inboxes at 10 per page.

    Attributes:
        page: The number of the page, from 1.
        total_pages: The number of pages.
        total_items: The number of inboxes.
    """

    page: int = 1
    total_pages: int | None = None
    total_items: int | None = None

    _record = Inbox
    _metadata = _InboxMetadata
    _columns = ("id", "name", "type", "status", "ai_agent_name", "phone_number", "created_at")


class RawPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of conversations that are not decoded. Each record is kept as the received bytes.

    Attributes:
        raw: The bytes of each record exactly as received. The items may be views that keep the
            whole body in memory. ``bytes(raw)`` makes a copy.
        body: The whole reply as received.
        next_cursor: The cursor of the next page. ``None`` on the last page.
        cursor_error: The reason why the cursor that the server sent cannot be used. ``None`` for a
            usable cursor. After a page with an error here, a walk raises
            :class:`~cekat_async.PaginationError`.
        inbox_id: The id of the requested inbox. ``None`` for all inboxes.
        response: The details of how the page was received: status, headers, attempts and waits.
            ``None`` for a page that did not come from a request.
    """

    raw: list[msgspec.Raw] = []
    body: bytes = b'{"data":[]}'
    next_cursor: Cursor | None = None
    cursor_error: str | None = None
    inbox_id: str | None = None
    response: ResponseDetails | None = None

    @property
    def ids(self) -> list[str | None]:
        """The ids of the records in ``raw``, in order. ``None`` for a record without an id."""
        return [record_id(raw) for raw in self.raw]

    @property
    def is_empty(self) -> bool:
        """Whether the page has no records."""
        return not self.raw

    @property
    def lines(self) -> list[bytes]:
        """Each record as one line of JSON, without a line break at its end.

        The lines are as received, except that line breaks inside a record are removed.
        """
        return lines(self.raw)

    def json_lines(self) -> bytes:
        """Return all ``lines`` as JSON Lines. Each line ends with a line break.

        Examples:
            >>> with open("conversations.jsonl", "wb") as file:
            ...     async for page in cekat.conversations.list().raw_pages():
            ...         written = file.write(page.json_lines())
        """
        return join_lines(self.raw)

    @overload
    def __getitem__(self, index: SupportsIndex) -> msgspec.Raw: ...
    @overload
    def __getitem__(self, index: slice) -> list[msgspec.Raw]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> msgspec.Raw | list[msgspec.Raw]:
        """Return the bytes of one record, or a list of the records in a slice, from ``raw``."""
        return self.raw[index]

    def __len__(self) -> int:
        return len(self.raw)

    def __repr__(self) -> str:
        return _short_repr(self, len(self.raw))

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("records", len(self.raw))]

    def _repr_html_(self) -> str:
        rows = ({"id": record_id(raw), "bytes": len(raw)} for raw in self.raw)
        return build_table(repr(self), rows, len(self))


class RecordCounts(NamedTuple):
    """The number of records on a page, and how many of them are malformed."""

    records: int
    malformed: int


def count_records(page: object) -> RecordCounts:
    """Count the records of a page. Any other object has 0 records."""
    if isinstance(page, Page):
        malformed = len(page.malformed_records)
        return RecordCounts(len(page.items) + malformed, malformed)  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
    return RecordCounts(len(page) if isinstance(page, RawPage) else 0, 0)


def iter_records(page: Page[_R]) -> Iterator[_R | MalformedRecord]:
    """Yield all records of a page in order, including the malformed ones."""
    malformed_at = {one.index: one for one in page.malformed_records}
    items = iter(page.items)
    for index in range(len(page.items) + len(malformed_at)):
        yield malformed_at[index] if index in malformed_at else next(items)


def record_names(page: ConversationPage | RawPage) -> list[str | bytes]:
    """Return a name for each record of a page, in order: its id, or its bytes if it has no id."""
    if isinstance(page, RawPage):
        # Reading all ids of a larger page in one step could block the event loop, so use the bytes.
        reads_ids = fits_at_once(page.body)
        return [(reads_ids and record_id(raw)) or bytes(raw) for raw in page.raw]
    if not page.malformed_records:
        return [item.id for item in page.items]
    return [
        record.id or record.raw if isinstance(record, MalformedRecord) else record.id
        for record in iter_records(page)
    ]


_P = TypeVar("_P", ConversationPage, RawPage)


def only(page: _P, wanted: Sequence[bool]) -> _P:
    """Return a page with only the wanted records. ``raw`` and ``body`` also contain only these."""
    if all(wanted):
        return page
    kept = [raw for raw, is_wanted in zip(page.raw, wanted, strict=True) if is_wanted]
    body = b'{"data":[%s]}' % b",".join(map(bytes, kept))
    if isinstance(page, RawPage):
        return msgspec.structs.replace(page, raw=kept, body=body)
    records = [one for one, is_wanted in zip(iter_records(page), wanted, strict=True) if is_wanted]
    return msgspec.structs.replace(
        page,
        items=tuple(one for one in records if not isinstance(one, MalformedRecord)),
        malformed_records=tuple(
            msgspec.structs.replace(one, index=index)
            for index, one in enumerate(records)
            if isinstance(one, MalformedRecord)
        ),
        body=body,
        kept_raw=None if page.kept_raw is None else kept,
    )


def _show(value: Any) -> Any:
    return value.message if isinstance(value, MessagePreview) else value


def _short_repr(page: object, records: int) -> str:
    # Omit the body: it is customers' data and may contain the key, and a repr may be logged.
    return f"<{type(page).__name__} of {records} record{'s' * (records != 1)}>"
