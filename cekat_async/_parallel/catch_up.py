"""What of a listing has to be read again, because it has changed while it was being read, exactly.

A conversation that gets a message leaves its place for the newest end, where the walk perhaps was
already. If that is the front, it lies there before all that was the newest when the walk began. So
the place of the newest is noted before each pass (a *probe*: one request for a few of them), and
behind the pass one page is asked for from the front. If that goes down to the place that was noted,
it has all that has moved meanwhile, at one moment: nothing can have been missed. If it does not,
more has moved than it could hold, and there is another pass, down to that place, with a probe of
its own; it takes less time, so that less moves meanwhile.

In a listing that goes forward in time, what moves goes to the end. One pass over the last page
brings it, when all else has been read.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from cekat_async._parallel.segment import Segment

if TYPE_CHECKING:
    from cekat_async._parallel.segment import PageSummary
    from cekat_async.positions import Cursor, Stage

__all__ = ["MOST_PASSES", "CatchUp"]

MOST_PASSES = 20


class CatchUp:
    """Says which pass comes next, and whether there is one.

    Attributes:
        stage: What the latest request was for.
        top: How deep a pass has to go: where the newest were when the pass before it began. None
            for all of the listing.
        coming: Where they were when this pass began.
        tail: The cursor that led to the last page.
        requests: Requests of this pass.
        passes: Passes that have followed the first.
    """

    def __init__(self) -> None:
        self.stage: Stage = "new"
        self.top: PageSummary | None = None
        self.coming: PageSummary | None = None
        self.tail: Cursor | None = None
        self.requests = 0
        self.passes = 0

    @property
    def is_endless(self) -> bool:
        """Whether more had moved after each of the most passes that are made."""
        return self.passes > MOST_PASSES

    @property
    def is_first_pass(self) -> bool:
        """Whether the listing is being read for the first time."""
        return self.stage == "pass" and not self.passes

    def note(self, cursor: Cursor | None, answer: PageSummary) -> None:
        """Take note of a page, and of the cursor it was asked for with."""
        self.requests += 1
        if answer.depth == inf:
            self.tail = cursor
        if self.stage == "probe":
            self._note_newest(answer)
        elif self.stage == "look" and self.top is not None:
            # Not where it ends just there: another with the same timestamp may come behind.
            self.stage = "settled" if answer.depth > self.top.depth else "behind"

    def _note_newest(self, answer: PageSummary) -> None:
        has_moved = self.coming is None or answer.next_cursor != self.coming.next_cursor
        self.coming = answer
        if not has_moved:
            self.stage = "settled"

    def give_up(self) -> None:
        """Do nothing: what is to be read of a listing that does not go by time is not said here."""

    def next(self, *, is_rising: bool) -> Segment | None:
        """Return what is to be read when all before it has been, or None if that is all."""
        if self.stage in {"new", "behind"}:
            self.passes += self.stage == "behind"
            self.stage = "probe"
            return None if self.is_endless else Segment(None, 0, is_probe=True)
        if self.stage == "probe":
            self.stage, self.requests = "pass", 0
            return Segment(None, 0, self.top)
        if self.stage == "pass" and self.requests > 1:
            self.top = self.coming
            return self._after_pass(is_rising=is_rising)
        self.stage = "settled"
        return None

    def _after_pass(self, *, is_rising: bool) -> Segment:
        if is_rising:
            self.stage = "tail"
            return Segment(self.tail, 0)
        self.stage = "look"
        return Segment(None, 0, is_single=True)
