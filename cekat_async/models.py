"""What the API speaks: conversations, inboxes, pages and cursors, as frozen structs.

The field names are the API's own. Only the ``id`` of a record is required. Every other field may be
missing or null, and is then ``None`` (or empty, if it is a collection).

``extra`` keeps what does not fit the other fields, under its own name and with its original value:

- fields that this version does not know,
- known fields whose value has another type than documented. Of these, a number or a boolean in a
  text field becomes text (``628123`` as a phone number is ``"628123"``), and a list loses only the
  elements that cannot be read. Anything else becomes ``None``, or empty.

A number that no float can hold (``1e999``) is kept as text.

Timestamps are aware :class:`~datetime.datetime` objects. **One without a zone is read as UTC.**
The API does not say what it means, but its own sample does (API.md): there the zone-less cursor
timestamp ``09:51:19`` belongs to a conversation created at ``05:47:16+00:00`` whose last message
is of ``09:24:23+00:00``; read in the zone of Jakarta it would lie before both.
"""

# No postponed annotations here: msgspec reads them when a struct is made, and so does a reader.

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Generic,
    NoReturn,
    Self,
    SupportsIndex,
    TypeAlias,
    TypeVar,
    overload,
)

import msgspec

from cekat_async._raw_json import cut_records, join_lines, lines, record_id
from cekat_async.positions import Cursor, Position

__all__ = [
    "Conversation",
    "ConversationPage",
    "Cursor",
    "Inbox",
    "InboxPage",
    "Label",
    "MessagePreview",
    "OddRecord",
    "PlatformType",
    "RawPage",
    "StageStatus",
]


class _OpenEnum(StrEnum):
    """A set of known strings that takes unknown ones too, and keeps them as they came."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        # Not added to the class: it equals, hashes and pickles as its string, and a million
        # different unknown values leave nothing behind.
        member = str.__new__(cls, value)
        member._name_ = value
        member._value_ = value
        return member

    @property
    def is_known(self) -> bool:
        """Whether this version of the package knows the value."""
        return self.value in type(self)._value2member_map_


class StageStatus(_OpenEnum):
    """Where a conversation stands. ``StageStatus.ASSIGNED == "assigned"``.

    An unknown status is no error and is kept as it came: ``StageStatus("snoozed") == "snoozed"``.
    """

    ASSIGNED = "assigned"
    RESOLVED = "resolved"
    PENDING = "pending"
    # Not on the API's page, but a live value (API.md).
    OPEN = "open"


class PlatformType(_OpenEnum):
    """The channel of a conversation or an inbox; unknown channels are kept as they came."""

    WHATSAPP = "whatsapp"
    LIVECHAT = "livechat"
    MESSENGER = "messenger"
    INSTAGRAM = "instagram"
    # From other pages of the API's documentation (API.md).
    TELEGRAM = "telegram"


class Extra(dict[str, Any]):
    """The fields of a record that are unknown or of another type, as plain JSON values.

    A class of its own, because no JSON decodes to it: should the API one day send a field named
    ``extra``, it is kept like any other unknown field, and does not end up as this one. It cannot
    be changed, so that the many records without unknown fields can share one that is empty.
    """

    __slots__ = ()

    def _refuse(self: Any, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("the extra fields of a record cannot be changed; copy them with dict()")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        # By its names alone: the values may be lists and objects. Equal ones have equal names.
        return hash(frozenset(self))

    def __reduce__(self) -> tuple[type[Self], tuple[dict[str, Any]]]:
        return type(self), (dict(self),)


_NO_EXTRA = Extra()


class Record(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    repr_omit_defaults=True,
    # A record cannot come to hold itself, so that the collector need not look at it: a list of
    # them is a third cheaper to build.
    gc=False,
):
    """What all records share. Two are equal when all their fields are.

    Unknown fields are refused by the plain decoder of :mod:`msgspec`, so that the fast path
    notices them; the package's own decoding keeps them in ``extra``. To read a record back from
    JSON use :func:`cekat_async.decode_conversation`, not ``msgspec.json.decode``.
    """

    extra: Extra = _NO_EXTRA

    # What few records have: where it is None, it was probably not sent.
    _rare: ClassVar[frozenset[str]] = frozenset()

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-ready values under the API's names, unknown fields included.

        Timestamps are ISO 8601 text with their zone, to the millisecond (to the microsecond
        where that is needed), as the API writes them.
        """
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name != "extra"}
        return {
            name: _plain(value)
            for name, value in fields.items()
            if value is not None or name not in self._rare
        } | self.extra


class Label(Record, frozen=True, kw_only=True):
    """A label on a conversation. ``color`` is not on the API's page, but sent by live accounts."""

    _rare = frozenset({"id", "name", "color"})

    id: str | None = None
    name: str | None = None
    color: str | None = None


_Id: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]
_Timestamp: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
"""One without a zone is refused here, and healed on the decoder's tolerant path: to look at each
timestamp of each record would cost every page for what few pages have."""


class MessagePreview(Record, frozen=True, kw_only=True):
    """The first or the last message of a conversation, as the listing shows it."""

    _rare = frozenset({"message", "created_at"})

    message: str | None = None
    created_at: _Timestamp | None = None


if TYPE_CHECKING:
    _Labels: TypeAlias = tuple[Label, ...]
    _FreeForm: TypeAlias = dict[str, Any]
else:
    # On the wire both may be null. In a record they are empty then, so that nobody has to ask
    # before looping over them: see empty_for_null().
    _Labels = tuple[Label, ...] | None
    _FreeForm = dict[str, Any] | None


class _Identified(Record, frozen=True, kw_only=True):
    """A record with an id of its own, by which it is hashed."""

    id: _Id

    def __hash__(self) -> int:
        return hash(self.id)


class Conversation(_Identified, frozen=True, kw_only=True):
    """One conversation of the inbox. Only ``id`` is always there (API.md).

    Hashed by its ``id``. A phone number is digits without a ``+``.

    ``pipeline``, ``collaborators`` and ``last_message_by_human`` are not on the API's page, but
    sent by live accounts (API.md). Nothing promises their shape, so that they may be anything.
    """

    _rare = frozenset({"pipeline", "collaborators", "last_message_by_human"})

    inbox_id: str | None = None
    contact_id: str | None = None
    contact_name: str | None = None
    contact_phone: str | None = None
    platform_type: PlatformType | None = None
    inbox_name: str | None = None
    stage_status: StageStatus | None = None
    handled_by_id: str | None = None
    handled_by_name: str | None = None
    notes: str | None = None
    labels: _Labels = ()
    last_message: MessagePreview | None = None
    first_message: MessagePreview | None = None
    additional_data: _FreeForm = msgspec.field(default_factory=dict)
    created_at: _Timestamp | None = None
    resolved_at: _Timestamp | None = None
    resolved_by_id: str | None = None
    resolved_by_name: str | None = None
    pipeline: Any = None
    collaborators: Any = None
    last_message_by_human: Any = None


def empty_for_null(conversations: Iterable[Conversation]) -> None:
    """Put an empty collection wherever the wire had null, in conversations that were just decoded.

    A ``__post_init__`` would do it by itself, and cost 7 % of decoding a page; this costs 1 %.
    """
    for conversation in conversations:
        # The types above keep it from type checkers that these may be None.
        if conversation.labels is None:
            msgspec.structs.force_setattr(conversation, "labels", ())  # type: ignore[unreachable]
        if conversation.additional_data is None:
            empty: dict[str, Any] = {}  # type: ignore[unreachable]
            msgspec.structs.force_setattr(conversation, "additional_data", empty)


class Inbox(_Identified, frozen=True, kw_only=True):
    """An inbox of the account: a channel that conversations arrive through.

    Only ``id`` is always there (API.md). Hashed by its ``id``.
    """

    name: str | None = None
    type: PlatformType | None = None
    status: str | None = None
    flow_id: str | None = None
    flow_mode: bool | None = None
    flow_name: str | None = None
    ai_agent_id: str | None = None
    ai_agent_name: str | None = None
    auto_reassign: bool | None = None
    phone_number: str | None = None
    business_id: str | None = None
    created_at: _Timestamp | None = None


class OddRecord(msgspec.Struct, frozen=True):
    """A malformed record: it is not JSON, is not an object, or has no readable id.

    Attributes:
        index: Its position in the page, counted from 0.
        id: Its id, if it has a readable one.
        field: Where it is malformed, as ``$.id``; ``$`` stands for the whole record.
        reason: What is wrong there.
        raw: The record's bytes as received.
    """

    index: int
    id: str | None
    field: str
    reason: str
    raw: bytes


_R = TypeVar("_R", bound=_Identified)


class Page(msgspec.Struct, Generic[_R], frozen=True, kw_only=True):
    """What both kinds of pages share: iterable, with a length, in the server's order.

    Attributes:
        items: The records.
        odd_records: The malformed records, which are not in ``items``.
        body: The whole reply as received.
        kept_raw: The records' bytes, if cutting them from the body again would take long; else
            ``None``. Use ``raw``, which is there in either case.
    """

    items: tuple[_R, ...] = ()
    odd_records: tuple[OddRecord, ...] = ()
    body: bytes = b'{"data":[]}'
    kept_raw: list[msgspec.Raw] | None = None

    @property
    def raw(self) -> list[msgspec.Raw]:
        """Each record's bytes exactly as received, malformed records included.

        They may be views that keep the whole body in memory; ``bytes(raw)`` makes a copy.
        """
        return cut_records(self.body) if self.kept_raw is None else self.kept_raw

    @property
    def ids(self) -> list[str | None]:
        """The id of each record of ``raw``, in the same order; ``None`` for one without an id."""
        odd_at = {odd.index: odd for odd in self.odd_records}
        items = iter(self.items)
        count = len(self.items) + len(self.odd_records)
        return [odd_at[place].id if place in odd_at else next(items).id for place in range(count)]

    @property
    def unknown_fields(self) -> dict[str, int]:
        """The names of fields that this version does not know, and how many records have each.

        Fields of labels and message previews are named as ``labels.icon``.
        """
        return _count_fields(self.items, known=False)

    @property
    def mistyped_fields(self) -> dict[str, int]:
        """The names of fields of another type than documented, and how many records have each.

        The original values are in the records' ``extra``. Fields of labels and message previews
        are named as ``last_message.created_at``.
        """
        return _count_fields(self.items, known=True)

    @property
    def is_empty(self) -> bool:
        """Whether it has no record, not even a malformed one."""
        return not (self.items or self.odd_records)

    @property
    def lines(self) -> list[bytes]:
        """Each record as a line of JSON, malformed ones included, without a line break at its end.

        As received, but for line breaks between its tokens.
        """
        return lines(self.raw, self.body)

    def json_lines(self) -> bytes:
        """Return all ``lines`` as one text, each with a line break at its end."""
        return join_lines(self.raw, self.body)

    @overload
    def __getitem__(self, index: SupportsIndex) -> _R: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[_R, ...]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> _R | tuple[_R, ...]:
        """Return one of the records, or a tuple of those in a slice.

        ``page[0]`` is ``page.items[0]``. ``page.raw`` also counts malformed records, so that
        ``page.raw[0]`` is another record if the first one of the page is malformed.
        """
        return self.items[index]

    def __iter__(self) -> Iterator[_R]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return _short_repr(self, len(self.items) + len(self.odd_records))


class ConversationPage(Page[Conversation], frozen=True, kw_only=True):
    """One page of the listing of conversations.

    Attributes:
        next_cursor: Leads to the next page; ``None`` on the last page. In a walk in segments it
            leads to all that has not been yielded yet.
        cursor_error: What is wrong with the cursor that the server sent; ``None`` if nothing is. A
            walk raises :class:`~cekat_async.PaginationError` after such a page.
        inbox_id: The inbox that was asked for; ``None`` for all inboxes.
        position: The resume position after this page in a tracked walk; ``None`` in other walks.
    """

    next_cursor: Cursor | None = None
    cursor_error: str | None = None
    inbox_id: str | None = None
    position: Position | None = None


class InboxPage(Page[Inbox], frozen=True, kw_only=True):
    """One page of the listing of inboxes, which counts its pages from 1.

    The totals are what the server says, and ``None`` if it does not say or they cannot be read.
    They are not always right: the API's own sample counts 8 pages for 15 inboxes at 10 a page.
    """

    page: int = 1
    total_pages: int | None = None
    total_items: int | None = None


class RawPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the listing of conversations whose records are only cut apart, and not decoded.

    Attributes:
        raw: Each record's bytes exactly as received; see :attr:`Page.raw`.
        body: The whole reply as received.
        next_cursor: Leads to the next page; ``None`` on the last page.
        cursor_error: As in :class:`ConversationPage`.
        inbox_id: The inbox that was asked for; ``None`` for all inboxes.
    """

    raw: list[msgspec.Raw] = []
    body: bytes = b'{"data":[]}'
    next_cursor: Cursor | None = None
    cursor_error: str | None = None
    inbox_id: str | None = None

    @property
    def ids(self) -> list[str | None]:
        """The id of each record of ``raw``, in the same order; ``None`` for one without an id."""
        return [record_id(raw) for raw in self.raw]

    @property
    def is_empty(self) -> bool:
        """Whether it has no record."""
        return not self.raw

    @property
    def lines(self) -> list[bytes]:
        """Each record as a line of JSON; see :attr:`Page.lines`."""
        return lines(self.raw, self.body)

    def json_lines(self) -> bytes:
        """Return all ``lines`` as one text, each with a line break at its end."""
        return join_lines(self.raw, self.body)

    @overload
    def __getitem__(self, index: SupportsIndex) -> msgspec.Raw: ...
    @overload
    def __getitem__(self, index: slice) -> list[msgspec.Raw]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> msgspec.Raw | list[msgspec.Raw]:
        """Return the bytes of one record, or a list of those in a slice; as ``raw`` does."""
        return self.raw[index]

    def __len__(self) -> int:
        return len(self.raw)

    def __repr__(self) -> str:
        return _short_repr(self, len(self.raw))


def _short_repr(page: object, records: int) -> str:
    # The body is customers' data, and may echo the key; a repr ends up in logs.
    return f"<{type(page).__name__} of {records} record{'s' * (records != 1)}>"


def _count_fields(records: Iterable[Record], *, known: bool) -> dict[str, int]:
    counts = Counter[str]()
    for record in records:
        counts.update(_extra_fields(record, known=known))
    return dict(counts)


def _extra_fields(record: Record, *, known: bool) -> set[str]:
    """Return which fields of a record and its parts are in ``extra``: known or unknown ones."""
    names = _own_extra_fields(record, known=known)
    if isinstance(record, Conversation):
        for place, part in _parts_of(record):
            names |= {f"{place}.{name}" for name in _own_extra_fields(part, known=known)}
    return names


def _own_extra_fields(record: Record, *, known: bool) -> set[str]:
    fields = set(record.__struct_fields__) - {"extra"}
    return {name for name in record.extra if known is (name in fields)}


def _parts_of(conversation: Conversation) -> Iterator[tuple[str, Record]]:
    for label in conversation.labels:
        yield "labels", label
    if conversation.first_message is not None:
        yield "first_message", conversation.first_message
    if conversation.last_message is not None:
        yield "last_message", conversation.last_message


def _plain(value: Any) -> Any:
    """Return a field's value as JSON-ready data."""
    match value:
        case Record():
            return value.to_dict()
        case datetime():
            return value.isoformat(timespec=_precision(value))
        case tuple():
            return [_plain(part) for part in value]
        case _OpenEnum():
            return value.value
        case _:
            return value


def _precision(moment: datetime) -> str:
    return "microseconds" if moment.microsecond % 1000 else "milliseconds"
