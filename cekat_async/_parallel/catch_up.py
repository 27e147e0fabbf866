"""Decides which parts of a listing a walk must read again because the listing changed.

A record that changes moves to the newest end of the listing. If the newest end is the front, a walk
that has passed the front misses the record. Two extra requests prevent this. Before each pass, a
*probe* requests a few records and notes the place of the newest records. After the pass, a *look*
reads one page from the front. If the look reaches the place that the probe noted, it shows all
records that moved during the pass, and nothing is missing. Otherwise, more records moved than fit
on one page. In that case, after another probe, another pass reads from the front to that place.
This pass is shorter than the previous one, so fewer records move during it.

In the first pass, the walk reads the first page before the probe, because a listing with a single
page needs no other request. The probe then shows whether a record moved between these two requests.

In a listing in ascending order, records move to the end. Reading the last page again finds them. If
the order is unknown (there are only two pages, or all cursors have the same timestamp), the walk
reads both ends again.
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
# A page is small if it has at most a tenth as many records as the largest page. This many small
# pages in a row are not a coincidence.
_SMALL = 10
_MOST_SMALL_PAGES = 1000
# The most passes over a listing that is not in time order. Each pass requests all pages of the
# listing.
_MOST_WHOLE_PASSES = 5
# The walk remembers all names on this many pages. These pages show whether the listing is in time
# order. If it is not, the names are needed.
_TRIAL_PAGES = 20


class CatchUp:
    """Decides what to read after a pass, a probe or a look.

    Args:
        state: The state in which the walk resumes.
        start: The cursor at which the walk begins. Records before this cursor are not wanted.

    Attributes:
        top: The place that the next look or pass has to reach. It is the place of the newest
            records when the previous pass began; ``None`` for the whole listing.
        start: The cursor at which the walk begins.

    The other attributes are those of ``WalkState``.
    """

    def __init__(self, state: WalkState, start: Cursor | None = None) -> None:
        self.stage = state.stage
        self.top = state.top
        self.newest = state.newest
        self.tail = state.tail
        self.requests = state.requests
        self.passes = state.passes
        self.start = start
        if state.down_to is not None:  # an earlier walk has read everything deeper
            self.stage, self.top = Stage.BEHIND, Edge(None, state.overlap)

    @property
    def needs_probe(self) -> bool:
        """Whether the walk needs a probe: the first page was read, and it is not the only one."""
        return self.stage is Stage.NEW and self.requests > 0

    @property
    def is_first_pass(self) -> bool:
        """Whether this is the first pass. Only the first pass is split among walkers."""
        return self.stage in {Stage.NEW, Stage.PROBE, Stage.PASS} and not self.passes

    def note_page(self, cursor: Cursor | None, page: PageSummary) -> None:
        """Record that a page was read. ``cursor`` led to the page."""
        self.requests += 1
        if page.depth == inf:
            self.tail = cursor
            if self.stage is Stage.NEW:
                self.stage = Stage.PASS
        if self.stage is Stage.LOOK and self.top is not None:
            # An equal depth is not enough, because the next page may have records with the same
            # timestamp.
            self.stage = Stage.SETTLED if page.is_deeper_than(self.top) else Stage.BEHIND

    def note_probe(self, page: PageSummary) -> None:
        """Record the place of the newest records. If this place has not changed, nothing moved."""
        if self.newest is not None and page.next_cursor == self.newest.cursor:
            self.stage = Stage.SETTLED
        self.newest = page.edge

    def begin_pass(self, requests: int = 0) -> None:
        """Begin a pass. Of its pages, ``requests`` have already been read."""
        self.stage, self.requests = Stage.PASS, requests

    def next(self, order: int) -> Segment | None:
        """Return what to read next, or ``None`` if nothing can be missing.

        ``order`` is the order of the listing, as in ``CursorTimes``.

        Raises:
            PaginationError: Records are still moving after the allowed number of passes.
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
    """Detects a walk that can never end, because records keep moving to the end of the listing.

    If the server marks the end with an empty page, another record may always arrive at the end
    before the walk requests the empty page.
    """

    def __init__(self) -> None:
        self._largest = 0
        self._in_a_row = 0

    def add(self, page: PageSummary) -> PaginationError | None:
        """Count a page, and return the error to raise after it, or ``None``."""
        count = len(page.names)
        self._largest = max(self._largest, count)
        is_small = page.depth < inf and count * _SMALL <= self._largest
        self._in_a_row = self._in_a_row + 1 if is_small else 0
        if self._in_a_row <= _MOST_SMALL_PAGES:
            return None
        return _changes_too_fast(f"{_MOST_SMALL_PAGES:,} almost empty pages")


class WholePasses:
    """Reads a listing again from its start to its end, until a pass finds nothing new.

    In a listing that is not in time order, records may arrive anywhere. Only another pass over the
    whole listing finds them.

    Args:
        start: The cursor at which each pass begins.
        is_active: True if it is known that the listing is not in time order.
    """

    def __init__(self, start: Cursor | None, *, is_active: bool) -> None:
        self.is_active = is_active
        self._start = start
        # The names that an earlier process saw are unknown, so the pass of that process counts as
        # one that found something new.
        self._found_new = is_active
        self._passes = 0
        self._pages = 0
        self._seen = HashSet()

    def activate(self) -> None:
        """Begin the passes. The pages noted so far count as the first pass."""
        self.is_active = self._found_new = True

    def note_page(self, page: PageSummary) -> None:
        """Count a page. Remember its names only if they may be needed, because they take memory."""
        self._pages += 1
        if self.is_active or self._pages <= _TRIAL_PAGES:
            is_new = [self._seen.add(hash_name(name)) for name in page.names]
            self._found_new |= any(is_new)
        elif self._pages == _TRIAL_PAGES + 1:
            self._seen = HashSet()

    def next(self) -> Segment | None:
        """Return another pass if the previous pass found new records, otherwise ``None``.

        Raises:
            PaginationError: Even the last allowed pass found new records.
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
        "conversations that were not read"
    )
