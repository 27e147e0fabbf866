"""Positions: a cursor of the server's, or all that a walk in another process has to know."""

# No postponed annotations: msgspec reads them when a struct is made.

from dataclasses import dataclass
from enum import StrEnum

import msgspec
from msgspec import UNSET, UnsetType

from cekat_async.config import require_seconds
from cekat_async.errors import DecodeError

__all__ = ["Cursor", "Edge", "Part", "Position", "Stage", "WalkState"]

# Messages may be listed this late: seconds.
_OVERLAP = 900.0
_MICROSECONDS = 1_000_000


# A dataclass, because every web framework can read and write one.
@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in the listing: two opaque strings of the server, kept byte for byte.

    Formatting a timestamp again could change it.
    """

    cursor_id: str
    cursor_ts: str


class Stage(StrEnum):
    """What the latest request of a walk was for."""

    NEW = "new"  # nothing yet, or the first page alone
    PROBE = "probe"  # to note where the newest records are
    PASS = "pass"  # noqa: S105 - a pass over the listing, or over its front
    LOOK = "look"  # at the front, for what has moved during a pass
    SETTLED = "settled"  # the same, and nothing is missing
    BEHIND = "behind"  # the same, and more has moved than it shows
    TAIL = "tail"  # to read the last page again, where records move to the end


class Edge(msgspec.Struct, frozen=True):
    """Where a page ended.

    Attributes:
        cursor: The cursor on it; ``None`` if only the depth counts.
        depth: How deep that is; ``None`` if it is the end of the listing, or unknown.
    """

    cursor: Cursor | None = None
    depth: float | None = None


class Part(msgspec.Struct, frozen=True):
    """The state of one segment. Depths are microseconds from the walk's origin.

    Attributes:
        cursor: The cursor of the next request; ``None`` for the front.
        begin: How deep the segment begins.
        at: How deep it has been read.
        first_ids: The ids of some of the records that it began with.
        first_ids_end: How deep the page of these ends; ``None`` if it is the last page.
        until: Where it may end, although the listing goes on.
        is_over: Whether it has been read to its end, and only waits for the segment before it.
    """

    cursor: Cursor | None = None
    begin: int = 0
    at: int = 0
    first_ids: tuple[str, ...] = msgspec.field(default=(), name="landmarks")
    first_ids_end: float | None = msgspec.field(default=None, name="landmarks_end")
    until: Edge | None = None
    is_over: bool = False


class WalkState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a walk between two requests. Its JSON is part of the format of data on disk.

    Attributes:
        parts: The segments that are being read, in order; none between passes.
        down_to: Where the first pass may end, at a walk's start; ``None`` for a walk of everything.
        overlap: How much deeper than that it reads, in microseconds.
        origin: The cursor from which depths are counted.
        order: -1 if the listing is in descending order of time, 1 if ascending, 0 if unknown.
        by_creation: Pages whose cursor is the time at which their last record was created. In a
            listing sorted by that, records do not move when they change.
        by_activity: Pages whose cursor is another time.
        is_unordered: Whether the listing turned out not to be in time order.
        start: The cursor that the walk began with; not set for the front. It is later than all
            that the walk wants, and what moves away from behind it is not wanted any more.
        reads_all: Set if the listing turned out not to be in order of activity, so that a walk of
            a range of time reads all of it.
        is_honoured: Whether the server is known to honour constructed cursors.
        is_serial: Whether no more segments are begun.
        watermark: Where the newest records were when the walk began: the end of its first probe.
        stage: What the latest request was for.
        top: Where the newest records were when the pass before the latest began.
        newest: Where they were when the latest pass began.
        tail: The cursor that led to the last page.
        requests: The requests of the latest pass.
        passes: The passes after the first.
    """

    parts: tuple[Part, ...] = ()
    down_to: Cursor | None = None
    overlap: float = 0
    origin: Cursor | None = None
    order: int = 0
    by_creation: int = 0
    by_activity: int = 0
    is_unordered: bool = False
    # Not in the JSON of other walks, which keeps the form of version 0.1.
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
    """Where a tracked walk of one listing can be resumed, also by another process.

    ``Position()`` is the start of a listing. Every page of a tracked walk has the position after
    it. A position is only valid for the listing (account, inbox, status) that it came from, with
    the same moments for ``since`` and ``until``. It is opaque, immutable and hashable. Use
    :meth:`to_bytes` and :meth:`from_bytes` to store it.
    """

    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state = WalkState()

    @classmethod
    def from_bytes(cls, data: bytes | str) -> "Position":
        """Return the position that :meth:`to_bytes` converted, in this version or an earlier one.

        Raises:
            DecodeError: ``data`` is something else.
        """
        try:
            return cls.from_state(msgspec.json.decode(data, type=WalkState))
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise DecodeError(
                f"not a position ({error}): pass what to_bytes() returned, or begin with Position()"
            ) from None

    def to_bytes(self) -> bytes:
        """Return the position as a JSON object, of up to a few kilobytes."""
        return msgspec.json.encode(self._state)

    @classmethod
    def from_state(cls, state: WalkState) -> "Position":
        """Return the position of a walk, whose state is not public."""
        position = cls()
        position._state = state
        return position

    @property
    def state(self) -> WalkState:
        """The walk's state, which is not public."""
        return self._state

    @property
    def passes(self) -> int:
        """How many catch-up passes the walk has begun: passes over what moved during the first."""
        return self._state.passes

    def again(self) -> "Position":
        """Return where to look for what has changed since the walk ended.

        A walk that has not ended resumes where it stopped.
        """
        state = self._state
        if state.parts or state.stage is Stage.NEW or state.start is not UNSET:
            return self
        if not state.order and not state.is_unordered:
            return Position()  # nothing shows at which end records arrive
        top = state.newest if state.stage is Stage.PASS else state.top or state.newest
        return self.from_state(
            msgspec.structs.replace(
                state, stage=Stage.NEW, top=top, newest=top, requests=0, passes=0
            )
        )

    def since(self, overlap: float = _OVERLAP) -> "Position":
        """Return where to begin a walk that reads what has changed since this one *began*.

        It reads everything if the changes cannot be told apart: if the listing is not in time
        order, or not sorted by activity as far as the walk could see, or had a single page.

        Args:
            overlap: How many seconds before the start of this walk are read again, for messages
                that are listed later than others with a later timestamp. Default 900.

        Raises:
            ConfigurationError: ``overlap`` is negative, not finite, or not a number.
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
            # Records that change move to the end, behind the start of the last page.
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
