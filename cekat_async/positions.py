"""Positions: a cursor of the server, or all data that another process needs to resume a walk."""

# Annotations are not postponed, because msgspec reads them when it creates a struct.

from dataclasses import dataclass
from enum import StrEnum

import msgspec
from msgspec import UNSET, UnsetType

from cekat_async.config import require_seconds
from cekat_async.errors import DecodeError

__all__ = ["Cursor", "Edge", "Part", "Position", "Stage", "WalkState"]

# Seconds. A message may appear in the listing this much later than its timestamp.
_OVERLAP = 900.0
_MICROSECONDS = 1_000_000


# This is a dataclass, because every web framework can read and write dataclasses.
@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in a listing. It consists of two opaque strings from the server, kept unchanged.

    The timestamp is not parsed, because parsing and formatting could change it.

    Attributes:
        cursor_id: The first string.
        cursor_ts: The second string, which looks like a timestamp.

    Examples:
        >>> page = await cekat.conversations.page()
        >>> rest = cekat.conversations.list(cursor=page.next_cursor)
    """

    cursor_id: str
    cursor_ts: str


class Stage(StrEnum):
    """The purpose of the latest request of a walk."""

    NEW = "new"  # no page yet, or only the first page, was requested
    PROBE = "probe"  # find the place of the newest records
    PASS = "pass"  # noqa: S105 - read the whole listing, or its front
    LOOK = "look"  # read the front, to find records that moved during a pass
    SETTLED = "settled"  # like LOOK, and nothing is missing
    BEHIND = "behind"  # like LOOK, and more records have moved than the page shows
    TAIL = "tail"  # read the last page again, because records move to the end


class Edge(msgspec.Struct, frozen=True):
    """The end of a page.

    Attributes:
        cursor: The cursor on the page. ``None`` if only the depth counts.
        depth: The depth of the cursor. ``None`` at the end of the listing, or if the depth is
            unknown.
    """

    cursor: Cursor | None = None
    depth: float | None = None


class Part(msgspec.Struct, frozen=True):
    """The state of one segment. Depths count microseconds from the walk's origin.

    Attributes:
        cursor: The cursor of the next request. ``None`` for the front of the listing.
        begin: The depth at which the segment begins.
        at: The depth up to which the segment has been read.
        first_ids: The ids of some of the segment's first records.
        first_ids_end: The depth at which the page with these ids ends. ``None`` for the last page.
        until: The place at which the segment may end, although the listing continues.
        is_over: True if the segment has been read to its end, and waits for the segment before it.
    """

    cursor: Cursor | None = None
    begin: int = 0
    at: int = 0
    first_ids: tuple[str, ...] = msgspec.field(default=(), name="landmarks")
    first_ids_end: float | None = msgspec.field(default=None, name="landmarks_end")
    until: Edge | None = None
    is_over: bool = False


class WalkState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a walk between two requests. Its JSON is part of our on-disk format.

    Attributes:
        parts: The segments that are being read, in order. The list is empty between passes.
        down_to: The place at which the first pass may end, which is the start of an earlier walk.
            ``None`` for a walk of the whole listing.
        overlap: How many microseconds beyond ``down_to`` the pass reads.
        origin: The cursor from which depths are counted.
        order: -1 if the listing is in descending order of time, 1 in ascending order, 0 if unknown.
        by_creation: The number of pages whose cursor is the creation time of their last record. In
            a listing sorted by creation, records do not move when they change.
        by_activity: The number of pages whose cursor is another time.
        is_unordered: True if the listing turned out not to be in time order.
        start: The cursor at which the walk began. Not set for the front. The cursor is later than
            the range of the walk, so records that move in front of it have left the range.
        reads_all: True if the listing turned out not to be in order of activity. A walk of a time
            range then reads the whole listing.
        is_honoured: True if the server is known to honour constructed cursors.
        is_serial: True if the walk begins no more segments.
        watermark: The place of the newest records when the walk began (the end of its first probe).
        stage: The purpose of the latest request.
        top: The place of the newest records when the pass before the latest pass began.
        newest: The place of the newest records when the latest pass began.
        tail: The cursor that led to the last page.
        requests: The number of requests of the latest pass.
        passes: The number of passes after the first pass.
    """

    parts: tuple[Part, ...] = ()
    down_to: Cursor | None = None
    overlap: float = 0
    origin: Cursor | None = None
    order: int = 0
    by_creation: int = 0
    by_activity: int = 0
    is_unordered: bool = False
    # An unset field is omitted from the JSON, so that the JSON has the same form as in version 0.1.
    start: Cursor | UnsetType = UNSET
    reads_all: bool | UnsetType = UNSET
    is_honoured: bool = False
    is_serial: bool = False
    watermark: Cursor | None = None
    stage: Stage = Stage.NEW
    top: Edge | None = None
    newest: Edge | None = msgspec.field(default=None, name="coming")
    tail: Cursor | None = None
    requests: int = 0
    passes: int = 0


class Position:
    """The place at which a tracked walk of one listing can be resumed, even by another process.

    ``Position()`` is the start of a listing. Each page of a tracked walk has the position after
    that page. A position is valid only for the listing that it came from (account, inbox, status),
    with the same datetimes for ``since`` and ``until``. It is opaque, immutable and hashable. Use
    :meth:`to_bytes` and :meth:`from_bytes` to store it.

    Examples:
        >>> positions = {None: Position()}
        >>> async for page in cekat.conversations.list().tracked_pages(positions):
        ...     positions[page.inbox_id] = page.position
        >>> changed = cekat.conversations.list().tracked_pages({None: positions[None].since()})
    """

    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state = WalkState()

    @classmethod
    def from_bytes(cls, data: bytes | str) -> "Position":
        """Return the position from the result of :meth:`to_bytes`, even of an earlier version.

        Args:
            data: The result of :meth:`to_bytes`.

        Raises:
            DecodeError: ``data`` is something else.

        Examples:
            >>> Position.from_bytes(Position().to_bytes()) == Position()
            True
        """
        try:
            return cls.from_state(msgspec.json.decode(data, type=WalkState))
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise DecodeError(
                f"not a position ({error}): pass what to_bytes() returned, or start with Position()"
            ) from None

    def to_bytes(self) -> bytes:
        """Return the position as a JSON object of at most a few kilobytes.

        Examples:
            >>> data = Position().to_bytes()
        """
        return msgspec.json.encode(self._state)

    @classmethod
    def from_state(cls, state: WalkState) -> "Position":
        """Return the position of a walk. Only the package itself calls this method.

        Args:
            state: The state of the walk.
        """
        position = cls()
        position._state = state
        return position

    @property
    def state(self) -> WalkState:
        """The state of the walk, which is not public."""
        return self._state

    @property
    def passes(self) -> int:
        """The number of catch-up passes so far. These passes re-read records that moved."""
        return self._state.passes

    def again(self) -> "Position":
        """Return a position for reading the changes since this walk *ended*.

        If the walk has not ended, the position resumes the walk where it stopped.

        Examples:
            >>> positions = {}
            >>> async for page in cekat.conversations.list().tracked_pages(positions):
            ...     positions[page.inbox_id] = page.position
            >>> changed = cekat.conversations.list().tracked_pages({None: positions[None].again()})
        """
        state = self._state
        if state.parts or state.stage is Stage.NEW or state.start is not UNSET:
            return self
        if not state.order and not state.is_unordered:
            return Position()  # new records may appear at either end of the listing
        top = state.newest if state.stage is Stage.PASS else state.top or state.newest
        return self.from_state(
            msgspec.structs.replace(
                state, stage=Stage.NEW, top=top, newest=top, requests=0, passes=0
            )
        )

    def since(self, overlap: float = _OVERLAP) -> "Position":
        """Return a position for reading the changes since this walk *began*.

        The next walk reads the whole listing if changes cannot be recognized. Changes cannot be
        recognized if the listing is not in time order, does not seem to be sorted by activity, or
        had a single page.

        Args:
            overlap: How many seconds before the start of this walk to read again, because some
                messages appear in the listing late. Default 900.

        Raises:
            ConfigurationError: ``overlap`` is negative, not finite, or not a number.

        Examples:
            >>> positions = {}
            >>> async for page in cekat.conversations.list().tracked_pages(positions):
            ...     positions[page.inbox_id] = page.position
            >>> changed = cekat.conversations.list().tracked_pages({None: positions[None].since()})
        """
        require_seconds("overlap", overlap, zero=True)
        state = self._state
        if state.is_unordered or state.by_creation >= state.by_activity or not state.order:
            return Position()
        known = WalkState(
            order=state.order,
            is_serial=True,
            by_creation=state.by_creation,
            by_activity=state.by_activity,
            reads_all=state.reads_all,
        )
        if state.order > 0 and state.tail is not None:
            # Changed records move to the end of the listing, after the start of the last page.
            return self.from_state(msgspec.structs.replace(known, tail=state.tail))
        if state.order < 0 and state.watermark is not None:
            return self.from_state(
                msgspec.structs.replace(
                    known, down_to=state.watermark, overlap=overlap * _MICROSECONDS
                )
            )
        return Position()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Position) and self._state == other.state

    def __hash__(self) -> int:
        return hash(self._state)

    def __repr__(self) -> str:
        return f"<Position at {self._state.stage}>"
