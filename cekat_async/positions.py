"""Where a walk stands: a cursor of the server's, or all that a walk in parts has to remember."""

# No postponed annotations: msgspec reads them when a struct is made.

from typing import Literal, TypeAlias

import msgspec

__all__ = ["Cursor", "Edge", "Part", "Position", "Stage"]

# What the latest request of a walk was for: nothing so far; to note where the newest are; a pass
# over the listing; a look at what has moved during it, which has shown that nothing more has, or
# that too much has; one more pass over the end of a listing that goes forward in time.
Stage: TypeAlias = Literal["new", "probe", "pass", "look", "settled", "behind", "tail"]

# More than a message may come late: seconds.
_OVERLAP = 900.0
_MICROSECONDS = 1_000_000


class Cursor(msgspec.Struct, frozen=True):
    """A position in the listing: two opaque strings of the server, kept byte for byte.

    To print a timestamp anew could change it.
    """

    cursor_id: str
    cursor_ts: str


class Edge(msgspec.Struct, frozen=True):
    """Where a page ended.

    Attributes:
        cursor: The cursor that it carried; ``None`` where only the depth counts.
        depth: How deep that is, in microseconds from the walk's origin; ``None`` if it is the end
            of the listing, or not known.
    """

    cursor: Cursor | None = None
    depth: float | None = None


class Part(msgspec.Struct, frozen=True):
    """Where a walk stands in one part of the listing.

    Attributes:
        cursor: What to ask with next; ``None`` for the front.
        begin: How deep the part begins.
        at: How deep it has been walked.
        landmarks: The ids of some of the records that it began with.
        landmarks_end: How deep the page of these ends; ``None`` where that page is the last.
        until: Behind which page it need not go on.
        is_over: Whether it has come to the next part, and only waits to be met itself.
    """

    cursor: Cursor | None = None
    begin: int = 0
    at: int = 0
    landmarks: tuple[str, ...] = ()
    landmarks_end: float | None = None
    until: Edge | None = None
    is_over: bool = False


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where a tracked walk of one listing stands, to go on from in another process.

    Keep it as JSON: ``msgspec.json.encode(position)``, and
    ``msgspec.json.decode(text, type=Position)``. Its parts are the walk's own business. It is good
    for the same listing (account, inbox, status) only.

    Attributes:
        parts: The parts that are being walked, in the order of the listing; none between passes.
        down_to: Behind which cursor the first pass need not go on; ``None`` once that is in
            ``parts``, and for a walk of everything.
        overlap: How much deeper than that it is to go all the same, in microseconds.
        origin: The first cursor that came: depths are counted from it.
        order: -1 if the listing goes back in time, 1 if it goes forward, 0 if it has not shown.
        by_creation: Pages whose cursor is the time at which their last conversation was created.
            In a listing that goes by that, what is changed does not move.
        by_activity: Pages whose cursor is another time.
        is_unordered: Whether the listing was found to go by something else than time.
        is_honoured: Whether the server is known to honour cursors that it did not send.
        is_serial: Whether no further parts are begun.
        watermark: Where the newest conversations were when the walk began, the last of the few that
            were asked for: what the next incremental walk goes down to.
        stage: What the latest request was for.
        top: Where the newest were when the pass before the latest began.
        coming: Where they were when the latest pass began.
        tail: The cursor that led to the last page.
        requests: Requests of the latest pass.
        passes: Passes that have followed the first.
    """

    parts: tuple[Part, ...] = ()
    down_to: Cursor | None = None
    overlap: float = 0
    origin: Cursor | None = None
    order: int = 0
    by_creation: int = 0
    by_activity: int = 0
    is_unordered: bool = False
    is_honoured: bool = False
    is_serial: bool = False
    watermark: Cursor | None = None
    stage: Stage = "new"
    top: Edge | None = None
    coming: Edge | None = None
    tail: Cursor | None = None
    requests: int = 0
    passes: int = 0

    def again(self) -> "Position":
        """Return where to go on to see what has moved since the walk came to its end.

        A walk that has not come to its end goes on where it stands.
        """
        if self.parts or self.stage == "new":
            return self
        # As if the pass had just ended, in which this was the newest.
        top = self.coming if self.stage == "pass" else self.top or self.coming
        return msgspec.structs.replace(self, stage="pass", coming=top, requests=2, passes=0)

    def since(self, overlap: float = _OVERLAP) -> "Position":
        """Return where to begin a walk that brings what has moved since this one *began*.

        What that one brought is not brought again, but for an overlap. Where that cannot be told
        apart, everything is: in a listing that does not go by time, or not by activity as far as
        has shown, or that had a single page.

        Args:
            overlap: How many seconds before the watermark are read once more, for messages that
                come to be listed later than others with a later timestamp.
        """
        if self.is_unordered or self.by_creation >= self.by_activity or not self.order:
            return Position()
        known = Position(
            order=self.order,
            is_serial=True,
            by_creation=self.by_creation,
            by_activity=self.by_activity,
        )
        if self.order > 0 and self.tail is not None:
            # What moves goes to the end: behind where the last page began.
            return msgspec.structs.replace(known, stage="pass", tail=self.tail, requests=2)
        if self.order < 0 and self.watermark is not None:
            return msgspec.structs.replace(
                known, down_to=self.watermark, overlap=overlap * _MICROSECONDS
            )
        return Position()
