"""Which parts of a listing have to be read again, because it changed while it was read.

A record that changes moves to the newest end. If that is the front, a walk that has passed it
misses the record. So the place of the newest records is noted before each pass (a *probe*: one
request for a few records), and after the pass one page is read from the front (a *look*). If the
look reaches down to that place, it shows everything that has moved in the meantime, as of one
moment, so that nothing is missing. Otherwise more has moved than fits on a page, and another pass
reads the front down to that place, after a probe of its own. It takes less time than the one
before, so that less moves during it.

The first page of the first pass is read before its probe: a listing of one page needs no other
request. The probe then shows whether anything moved between these two requests.

In a listing in ascending order, records move to the end. Reading the last page again at the end
finds them. If the order is unknown (in a listing of two pages, or of one moment), both are done.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from cekat_async._paging.hash_set import HashSet, hash_name
from cekat_async._parallel.segment import Segment
from cekat_async.errors import PaginationError
from cekat_async.positions import Edge, Stage

if TYPE_CHECKING:
    from cekat_async._parallel.segment import PageSummary
    from cekat_async.positions import Cursor, WalkState

__all__ = ["MOST_PASSES", "CatchUp", "SmallPages", "WholePasses"]

MOST_PASSES = 20
# A page with less than a tenth of the records of the largest one is small. This many in a row are
# not a coincidence.
_SMALL = 10
_MOST_SMALL_PAGES = 1000
# Passes over a listing that is not in time order. Each has as many requests as the listing pages.
_MOST_WHOLE_PASSES = 5
# A listing shows within this many pages that it is not in time order. Until then all names are
# remembered.
_TRIAL_PAGES = 20


class CatchUp:
    """Decides what is read next, when everything before it has been read.

    Args:
        state: Where the walk is resumed.
        start: The cursor to begin with. Records before it are not wanted.

    Attributes:
        top: How deep the next look or pass has to go: where the newest records were when the pass
            before it began; ``None`` for the whole listing.
        start: The cursor that the walk begins with.

    The others are those of ``WalkState``.
    """

    def __init__(self, state: WalkState, start: Cursor | None = None) -> None:
        self.stage = state.stage
        self.top = state.top
        self.newest = state.newest
        self.tail = state.tail
        self.requests = state.requests
        self.passes = state.passes
        self.start = start
        if state.down_to is not None:  # the walk before this one has read all that is deeper
            self.stage, self.top = Stage.BEHIND, Edge(None, state.overlap)

    @property
    def needs_probe(self) -> bool:
        """Whether the first page has been read, and there are more."""
        return self.stage is Stage.NEW and self.requests > 0

    @property
    def is_first_pass(self) -> bool:
        """Whether the listing is being read for the first time, which is worth several walkers."""
        return self.stage in {Stage.NEW, Stage.PROBE, Stage.PASS} and not self.passes

    def note_page(self, cursor: Cursor | None, page: PageSummary) -> None:
        """Note a page, and the cursor that led to it."""
        self.requests += 1
        if page.depth == inf:
            self.tail = cursor
            if self.stage is Stage.NEW:
                self.stage = Stage.PASS
        if self.stage is Stage.LOOK and self.top is not None:
            # The same depth is not enough: records with that timestamp may be on the next page.
            self.stage = Stage.SETTLED if page.is_deeper_than(self.top) else Stage.BEHIND

    def note_probe(self, page: PageSummary) -> None:
        """Note where the newest records are. If that is where they were, nothing has moved."""
        if self.newest is not None and page.next_cursor == self.newest.cursor:
            self.stage = Stage.SETTLED
        self.newest = page.edge

    def begin_pass(self, requests: int = 0) -> None:
        """Begin a pass, with some requests of it already made."""
        self.stage, self.requests = Stage.PASS, requests

    def next(self, order: int) -> Segment | None:
        """Return what to read next in a listing of this order; ``None`` if nothing can be missing.

        Raises:
            PaginationError: More had moved after each of the most passes that are made.
        """
        match self.stage:
            case Stage.NEW:
                return self._begin(order)
            case Stage.PROBE:
                self.begin_pass()
                return Segment(until=self.top)
            case Stage.PASS if self.requests > 1 and order >= 0:
                return self._read(Stage.TAIL)
            case Stage.PASS | Stage.TAIL if self.requests > 1 and order <= 0 and not self.start:
                self.top = self.newest
                return self._read(Stage.LOOK)
            case Stage.BEHIND:
                self.passes += 1
                if self.passes > MOST_PASSES:
                    raise _changes_too_fast(f"{MOST_PASSES} more passes")
                return self._read(Stage.PROBE)
            case _:
                self.stage = Stage.SETTLED
                return None

    def _begin(self, order: int) -> Segment:
        if self.requests:
            return self._read(Stage.PROBE)
        if order > 0 and self.tail is not None:
            return self._read(Stage.TAIL)
        if self.top is not None:
            return self._read(Stage.LOOK)
        if self.start is not None:
            self.begin_pass()
        return Segment(self.start)

    def _read(self, stage: Stage) -> Segment:
        self.stage = stage
        return Segment(self.tail if stage is Stage.TAIL else None, stage=stage)


class SmallPages:
    """Notices when a walk does nothing any more except follow what moves.

    If records move to the end of a listing, and only an empty page shows the end, another one may
    have arrived whenever the last one has been read.
    """

    def __init__(self) -> None:
        self._largest = 0
        self._in_a_row = 0

    def add(self, page: PageSummary) -> PaginationError | None:
        """Note a page, and return the error to raise after it."""
        count = len(page.names)
        self._largest = max(self._largest, count)
        is_small = page.depth < inf and count * _SMALL <= self._largest
        self._in_a_row = self._in_a_row + 1 if is_small else 0
        if self._in_a_row <= _MOST_SMALL_PAGES:
            return None
        return _changes_too_fast(f"{_MOST_SMALL_PAGES:,} pages with next to nothing")


class WholePasses:
    """Reads a listing again, from its start to its end, until that finds nothing new.

    Nobody knows where records arrive in a listing that is not in time order, so only another pass
    can find them.

    Args:
        start: Where each pass begins.
        is_active: Whether the listing is known not to be in time order.
    """

    def __init__(self, start: Cursor | None, *, is_active: bool) -> None:
        self.is_active = is_active
        self._start = start
        # What an earlier process has seen is not known: so the first pass counts as new.
        self._found_new = is_active
        self._passes = 0
        self._pages = 0
        self._seen = HashSet()

    def activate(self) -> None:
        """Begin, after the pages that have been noted."""
        self.is_active = self._found_new = True

    def note_page(self, page: PageSummary) -> None:
        """Note a page. Its names are remembered where that can matter, since it takes memory."""
        self._pages += 1
        if self.is_active or self._pages <= _TRIAL_PAGES:
            is_new = [self._seen.add(hash_name(name)) for name in page.names]
            self._found_new |= any(is_new)
        elif self._pages == _TRIAL_PAGES + 1:
            self._seen = HashSet()

    def next(self) -> Segment | None:
        """Return another pass, if the one before found something new.

        Raises:
            PaginationError: Each of the most passes that are made found something new.
        """
        if not self._found_new:
            return None
        self._found_new = False
        self._passes += 1
        if self._passes > _MOST_WHOLE_PASSES:
            raise _changes_too_fast(f"{_MOST_WHOLE_PASSES} passes over all of it")
        return Segment(self._start)


def _changes_too_fast(after: str) -> PaginationError:
    return PaginationError(
        f"the listing changes faster than it is read: after {after} there may still be "
        "conversations that none of them has met"
    )
