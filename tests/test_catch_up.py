"""Catch-up re-reads a listing until a single request shows everything that moved in between."""

from itertools import pairwise
from math import inf

import pytest

from cekat_async._parallel.catch_up import MOST_PASSES, CatchUp
from cekat_async._parallel.segment import PageSummary, Segment
from cekat_async.errors import PaginationError
from cekat_async.positions import Cursor, Edge, Stage, WalkState


def page(depth: float) -> PageSummary:
    """Return a page whose cursor is at this depth. An infinite depth makes it the last page."""
    name = None if depth == inf else Cursor(f"id-{depth}", f"ts-{depth}")
    return PageSummary(["a"], name, depth)


class Walk:
    """Plays the other parts of a walk: takes requests from catch-up, and replies to them."""

    def __init__(self, state=WalkState(), start=None, order=-1):  # noqa: B008 - frozen
        self.catch_up = CatchUp(state, start)
        self._order = order

    def next(self) -> Segment | None:
        return self.catch_up.next(self._order)

    def probe(self, depth):
        """Reply to the next request, which must be a probe. The newest record is at ``depth``."""
        segment = self.next()
        assert (segment.stage, segment.walk.cursor) == (Stage.PROBE, None)
        self.catch_up.note_probe(page(depth))

    def read(self, *depths):
        """Take and return the next request, and reply with pages at these depths."""
        segment = self.next()
        assert segment.stage is not Stage.PROBE
        cursor = segment.walk.cursor
        for depth in depths:
            self.catch_up.note_page(cursor, page(depth))
            cursor = page(depth).next_cursor
        return segment

    def read_first(self, *depths, newest=0):
        """Play the first pass: the first page, the probe, and the other pages."""
        self.read(depths[0])
        if depths[0] < inf:
            assert self.catch_up.needs_probe
            self.probe(newest)
            self.catch_up.begin_pass(requests=1)
        for before, depth in pairwise(depths):
            self.catch_up.note_page(page(before).next_cursor, page(depth))


def ends_at(segment: Segment, depth: float) -> bool:
    """Return whether a pass ends with the first page that is deeper than ``depth``."""
    segment.advance(page(depth - 1))
    continues = not segment.is_over
    segment.advance(page(depth + 1))
    return continues and segment.is_over


def test_the_first_page_needs_no_probe():
    """A walk begins at the front. If the listing has a single page, no probe is needed."""
    walk = Walk()
    first = walk.read(inf)

    assert (first.walk.cursor, first.until, first.stage) == (None, None, Stage.PASS)
    assert not walk.catch_up.needs_probe
    assert walk.next() is None
    assert walk.next() is None


def test_one_look_from_the_front_has_all_that_moved_if_it_goes_deep_enough():
    """If a page goes from the front past the former newest record, it has all moved records."""
    walk = Walk()
    walk.read_first(100, inf)

    assert walk.read(40).stage is Stage.LOOK
    assert walk.next() is None


@pytest.mark.parametrize("depth", [-20, 0])
def test_a_look_that_ends_above_it_or_at_it_shows_that_more_has_moved(depth):
    """A page must end below the former newest record, which may share its timestamp with others."""
    walk = Walk()
    walk.read_first(100, inf)
    walk.read(depth)

    walk.probe(-50)
    assert ends_at(walk.read(-30, 20), 0)
    assert walk.next().stage is Stage.LOOK


def test_each_pass_ends_where_the_pass_before_the_last_began():
    """A pass ends where the one before the last began. Nothing below that point has moved since."""
    walk = Walk()
    walk.read_first(100, inf)
    walk.read(-500)
    walk.probe(-600)
    walk.read(-550, 20)
    walk.read(-700)
    walk.probe(-800)

    assert ends_at(walk.read(-750, -590), -600)


def test_a_pass_of_one_page_is_the_last():
    """A page that reaches the former newest record shows all moved records at one moment."""
    walk = Walk()
    walk.read_first(100, inf)
    walk.read(-5)
    walk.probe(-6)
    walk.read(20)

    assert walk.next() is None


def test_when_the_newest_is_still_the_same_nothing_has_moved():
    """The walk ends even if a page is full of records with one timestamp."""
    walk = Walk()
    walk.read_first(0, 0, 0, inf)
    walk.read(0)
    walk.probe(0)

    assert walk.next() is None


def test_after_twenty_passes_it_is_an_error():
    """A listing that changes faster than it is read raises an error."""
    walk = Walk()
    walk.read_first(100, inf)
    for number in range(1, MOST_PASSES + 1):
        walk.read(-1000 * number)
        walk.probe(-1000 * number)
        walk.read(-10 * number, inf)
    walk.read(-1000 * MOST_PASSES - 1000)

    with pytest.raises(PaginationError, match="changes faster than it is read: after 20 more"):
        walk.next()


@pytest.mark.parametrize("start", [None, Cursor("id-0", "ts-0")])
def test_in_an_ascending_listing_the_last_page_is_read_again(start):
    """In an ascending listing, records move to the end, so the last page is read again."""
    walk = Walk(start=start, order=1)
    if start:
        walk.read(100, 200, inf)
    else:
        walk.read_first(100, 200, inf)

    assert walk.read(inf).walk.cursor == Cursor("id-200", "ts-200")
    assert walk.next() is None


def test_if_the_order_is_unknown_both_ends_are_read_again():
    """If the order is unknown, records may have moved to either end."""
    walk = Walk(order=0)
    walk.read_first(100, inf)

    assert walk.read(inf).stage is Stage.TAIL
    assert walk.read(40).stage is Stage.LOOK
    assert walk.next() is None


def test_nothing_before_a_start_cursor_is_read():
    """A walk from a cursor does not read the front, to which records move."""
    start = Cursor("id-0", "ts-0")
    walk = Walk(start=start)

    assert walk.read(100, 200, inf).walk.cursor == start
    assert walk.next() is None


def test_another_walk_begins_with_a_look():
    """A walk with a saved state reads the front first, or the last page of an ascending listing."""
    again = WalkState(top=Edge(None, 5.0), newest=Edge(None, 5.0))
    walk = Walk(again)
    assert walk.read(6).stage is Stage.LOOK
    assert walk.next() is None

    tail = Cursor("id-200", "ts-200")
    assert Walk(WalkState(tail=tail), order=1).read(inf).walk.cursor == tail


def test_an_incremental_walk_probes_and_reads_down_to_the_watermark():
    """An incremental walk probes first, and then reads to the watermark and through the overlap."""
    walk = Walk(WalkState(down_to=Cursor("a", "b"), overlap=7))
    walk.probe(-100)

    assert ends_at(walk.read(-50, 8), 7)
    assert walk.next().stage is Stage.LOOK


@pytest.mark.parametrize(
    "stage, passes, is_first",
    [("new", 0, True), ("probe", 0, True), ("pass", 0, True), ("pass", 1, False)]
    + [(stage, 0, False) for stage in ("look", "settled", "behind", "tail")],
)
def test_only_the_first_pass_is_worth_several_walkers(stage, passes, is_first):
    """Only the first pass is long enough for several walkers."""
    catch_up = CatchUp(WalkState(stage=Stage(stage), passes=passes))

    assert catch_up.is_first_pass is is_first
