"""What the API speaks: conversations, inboxes, pages and cursors, as frozen structs.

The field names are the API's own. Of a record only ``id`` can be relied on; every other field
may be missing or null and is then ``None`` (or empty, where it is a collection). Fields that
this version does not know are kept in ``extra``, under the names and with the values they had.

Timestamps are aware :class:`~datetime.datetime` objects. **One without a zone is read as UTC.**
The API does not say what it means, but its own sample does (API.md): there the zone-less cursor
timestamp ``09:51:19`` belongs to a conversation created at ``05:47:16+00:00`` whose last message
is of ``09:24:23+00:00``; read in the zone of Jakarta it would lie before both.
"""

# No postponed annotations here: msgspec reads them when a struct is made, and so does a reader.

import re
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
    """The fields of a record that this version does not know, as plain JSON values.

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


class Conversation(Record, frozen=True, kw_only=True):
    """One conversation of the inbox. Only ``id`` is always there (API.md).

    Hashed by its ``id``. A phone number is digits without a ``+``.

    ``pipeline``, ``collaborators`` and ``last_message_by_human`` are not on the API's page, but
    sent by live accounts (API.md). Nothing promises their shape, so that they may be anything.
    """

    _rare = frozenset({"pipeline", "collaborators", "last_message_by_human"})

    id: str
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

    def __hash__(self) -> int:
        return hash(self.id)


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


class Inbox(Record, frozen=True, kw_only=True):
    """An inbox of the account: a channel that conversations arrive through.

    Only ``id`` is always there (API.md). Hashed by its ``id``.
    """

    id: str
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

    def __hash__(self) -> int:
        return hash(self.id)


class OddRecord(msgspec.Struct, frozen=True):
    """A record that does not have the documented shape.

    Attributes:
        index: Its position in the page, counted from 0.
        id: Its id, if it has a readable one.
        field: Where it is odd, as ``$.labels[0].id``.
        reason: What is odd there.
        raw: The record's bytes as received.
    """

    index: int
    id: str | None
    field: str
    reason: str
    raw: bytes


_R = TypeVar("_R", bound=Record)


class Page(msgspec.Struct, Generic[_R], frozen=True, kw_only=True):
    """What both kinds of pages share: iterable, with a length, in the server's order.

    Attributes:
        items: The records.
        odd_records: Those that do not have the documented shape (and so are not in ``items``).
        body: The whole answer as received.
    """

    items: tuple[_R, ...] = ()
    odd_records: tuple[OddRecord, ...] = ()
    body: bytes = b'{"data":[]}'

    @property
    def raw(self) -> list[msgspec.Raw]:
        """Each record's bytes exactly as received, odd ones included, cut anew at each access.

        They are views and keep the whole of it alive; ``bytes(raw)`` makes a copy.
        """
        return cut_records(self.body)

    @property
    def is_empty(self) -> bool:
        """Whether there is no record in it, not even an odd one."""
        return not (self.items or self.odd_records)

    @property
    def lines(self) -> list[bytes]:
        """Each record as a line of JSON, odd ones included, without a line break at its end.

        As received, but for line breaks between its tokens.
        """
        return _lines(self.raw, self.body)

    def json_lines(self) -> bytes:
        """Return all ``lines`` as one text, each with a line break at its end."""
        return _json_lines(self.raw, self.body)

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


class ConversationPage(Page[Conversation], frozen=True, kw_only=True):
    """One page of the listing of conversations.

    ``next_cursor`` leads to the next page; ``None`` says that this is the last. In a walk in
    segments it leads to all that has not come yet. ``inbox_id`` is the inbox that was asked for;
    ``None`` where all were. ``position`` is where a tracked walk stands behind this page; other
    walks have none.
    """

    next_cursor: Cursor | None = None
    inbox_id: str | None = None
    position: Position | None = None

    @property
    def ids(self) -> list[str | None]:
        """The id of each record of ``raw``, in the same order; ``None`` for one without an id."""
        ids: list[str | None] = [item.id for item in self.items]
        for odd in self.odd_records:  # their indices rise, so that each comes to stand in its place
            ids.insert(odd.index, odd.id)
        return ids


class InboxPage(Page[Inbox], frozen=True, kw_only=True):
    """One page of the listing of inboxes, which counts its pages from 1.

    The totals are the server's word and ``None`` where it gives none. They are not always right:
    the API's own sample counts 8 pages for 15 inboxes at 10 a page (API.md).
    """

    page: int = 1
    total_pages: int | None = None
    total_items: int | None = None


class RawPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the listing of conversations whose records are only cut apart, and not decoded.

    Attributes:
        raw: Each record's bytes exactly as received; see :attr:`Page.raw`.
        body: The whole answer as received.
        next_cursor: Leads to the next page; ``None`` says that this is the last.
        inbox_id: The inbox that was asked for; ``None`` where all were.
    """

    raw: list[msgspec.Raw] = []
    body: bytes = b'{"data":[]}'
    next_cursor: Cursor | None = None
    inbox_id: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is no record in it."""
        return not self.raw

    @property
    def lines(self) -> list[bytes]:
        """Each record as a line of JSON; see :attr:`Page.lines`."""
        return _lines(self.raw, self.body)

    def json_lines(self) -> bytes:
        """Return all ``lines`` as one text, each with a line break at its end."""
        return _json_lines(self.raw, self.body)

    @overload
    def __getitem__(self, index: SupportsIndex) -> msgspec.Raw: ...
    @overload
    def __getitem__(self, index: slice) -> list[msgspec.Raw]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> msgspec.Raw | list[msgspec.Raw]:
        """Return the bytes of one record, or a list of those in a slice; as ``raw`` does."""
        return self.raw[index]

    def __len__(self) -> int:
        return len(self.raw)


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


class _RawData(msgspec.Struct):
    data: list[msgspec.Raw]


_RAW_DATA = msgspec.json.Decoder(_RawData)

# Any escape, so that the backslash of an escaped backslash is never taken for the begin of one;
# a whole pair first, and then what is left over: half a pair.
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|\\u(?P<half>[dD][89a-fA-F][0-9a-fA-F]{2})"
    rb"|\\.",
    re.DOTALL,
)


def mend_surrogates(body: bytes) -> bytes:
    """Return JSON in which each escaped half of a surrogate pair is U+FFFD, at the same length.

    A server that cuts a message preview after so many UTF-16 units may cut an emoji in two. That
    is JSON, but not text, and :mod:`msgspec` refuses the whole body for it.
    """
    return _ESCAPE.sub(lambda escape: rb"\ufffd" if escape["half"] else escape[0], body)


def cut_records(body: bytes) -> list[msgspec.Raw]:
    """Return the bytes of each record under ``data``, as views of ``body``."""
    try:
        return _RAW_DATA.decode(body).data
    except msgspec.DecodeError:
        return _cut_mended(body)


def _cut_mended(body: bytes) -> list[msgspec.Raw]:
    # The views show what their buffer holds, and mending keeps every byte at its place: so they
    # are cut from the mended bytes, and then the original ones are put back under them.
    buffer = bytearray(mend_surrogates(body))
    records = _RAW_DATA.decode(buffer).data
    buffer[:] = body
    return records


def _lines(records: list[msgspec.Raw], body: bytes) -> list[bytes]:
    """Return each record on one line: as sent, but for line breaks between its tokens."""
    lines = [bytes(raw) for raw in records]
    if not _has_breaks(body):
        return lines
    # Inside of a string JSON has no raw line breaks, so that what is left away is between tokens.
    return [line.replace(b"\n", b"").replace(b"\r", b"") for line in lines]


def _json_lines(records: list[msgspec.Raw], body: bytes) -> bytes:
    """Return records as JSON Lines, straight from their bytes where there is no break in them."""
    return b"\n".join([*(_lines(records, body) if _has_breaks(body) else records), b""])


def _has_breaks(body: bytes) -> bool:
    return b"\n" in body or b"\r" in body
