"""Segments: what they begin with, how far they are, how close pages lie, when they end."""

from math import inf, nan

import pytest

from cekat_async._parallel.segment import PageSummary, Segment
from cekat_async.errors import PaginationError
from cekat_async.positions import Cursor


def answer(*names: str, depth: float = inf, to: object = None) -> PageSummary:
    """Return a page; where it does not end the listing, its cursor is named by its depth."""
    to = depth if to is None and depth < inf else to
    return PageSummary(names, None if to is None else Cursor(f"id-{to}", f"ts-{to}"), depth)


def make_segment(
    *answers: PageSummary, begin: int = 0, until: PageSummary | None = None
) -> Segment:
    """Return a segment that has come behind some pages."""
    segment = Segment(None, begin, until)
    for one in answers:
        segment.move(one)
    return segment


def measures(*depths: int) -> list[tuple[int, int, int]]:
    """Return width, run and ended run behind each page that ends at one of these depths."""
    segment, found = Segment(None, 0), []
    for depth in depths:
        segment.move(answer(f"name-{depth}", depth=depth, to=len(found)))
        found.append((segment.width, segment.run, segment.ended_run))
    return found


PAGE = answer("a", depth=50, to="there")


@pytest.mark.parametrize(
    "other, reaches",
    [
        (answer(depth=49), False),
        (answer(depth=50), False),
        (answer(depth=50, to="there"), True),
        (answer(depth=49, to="there"), True),
        (answer(depth=51), True),
        (answer(), True),
    ],
)
def test_a_page_reaches_another_that_it_ends_behind_or_with(other, reaches):
    """Deeper, or at the very same cursor; not at one with its timestamp alone."""
    assert other.reaches(PAGE) == reaches
    assert make_segment(other, until=PAGE).is_over == reaches


def test_a_new_segment_stands_where_it_begins():
    """It knows nothing yet, and goes on from its cursor."""
    start = Cursor("id", "ts")
    segment = Segment(start, 7)

    assert (segment.walk.cursor, segment.begin, segment.at) == (start, 7, 7)
    assert (segment.width, segment.run, segment.ended_run, segment.misses) == (0, 0, 0, 0)
    assert (segment.landmarks, segment.landmarks_end) == (frozenset(), inf)
    assert (segment.is_answered, segment.is_over, segment.error) == (False, False, None)


def test_landmarks_are_the_records_of_the_first_page_that_has_any():
    """Empty pages before it answer nothing, and no later page changes them."""
    segment = make_segment(answer(depth=10), answer(depth=20))
    assert not segment.is_answered

    segment.move(answer("a", "b", depth=30))
    segment.move(answer("c", depth=40))
    segment.move(answer(depth=50))

    assert segment.is_answered
    assert (segment.landmarks, segment.landmarks_end) == ({"a", "b"}, 30)
    assert (segment.at, segment.walk.cursor) == (50, Cursor("id-50", "ts-50"))


@pytest.mark.parametrize("names, is_named", [("xb", True), ("a", True), ("xy", False), ("", False)])
@pytest.mark.parametrize("depth, is_there", [(99, False), (100, True), (150, True), (inf, True)])
def test_a_page_meets_a_segment_that_begins_in_it_or_before_by_a_landmark(
    names, is_named, depth, is_there
):
    """One landmark will do; in a page that ends before the segment begins, it has moved."""
    segment = make_segment(answer("a", "b", depth=200), begin=100)

    assert segment.is_met(answer(*names, depth=depth)) == (is_named and is_there)


def test_a_segment_that_is_not_answered_is_neither_met_nor_passed():
    """Nobody knows what it begins with, however deep a page ends."""
    segment = make_segment(answer(depth=200), begin=100)

    assert not segment.is_met(answer("a"))
    assert not segment.is_passed(answer("a"))


@pytest.mark.parametrize(
    "end, depth, is_passed",
    [(200, 200, False), (200, 201, True), (200, inf, True), (inf, 201, False), (inf, inf, True)],
)
def test_a_segment_is_passed_behind_the_page_of_its_landmarks(end, depth, is_passed):
    """Not at its very end, but at the end of the listing always."""
    segment = make_segment(answer("a", depth=end), begin=100)

    assert segment.is_passed(answer("x", depth=depth)) == is_passed


@pytest.mark.parametrize(
    "depths, expected",
    [
        # The first page may have a void before it, and says nothing.
        ([1000, 1010], [(0, 0, 0), (10, 1, 0)]),
        # Of two pages in a row the shorter one counts; four times as long is no void yet.
        ([0, 10, 50, 90], [(0, 0, 0), (10, 1, 0), (10, 2, 0), (40, 3, 0)]),
        # A void ends the burst before it, and the page with it begins another.
        ([0, 10, 51, 92], [(0, 0, 0), (10, 1, 0), (10, 1, 1), (41, 2, 0)]),
        ([0, 10, 20, 30, 130], [(0, 0, 0), (10, 1, 0), (10, 2, 0), (10, 3, 0), (10, 1, 3)]),
        # Behind pages that took no time at all, nothing is a void.
        ([5, 5, 95, 96], [(0, 0, 0), (0, 1, 0), (90, 2, 0), (1, 3, 0)]),
    ],
)
def test_how_much_time_pages_take_and_how_many_alike_came_in_a_row(depths, expected):
    """Width, run and ended run, page by page."""
    assert measures(*depths) == expected


@pytest.mark.parametrize("depth", [inf, nan])
def test_a_page_of_no_depth_leaves_a_segment_where_it_was(depth):
    """The last page, or one whose timestamp cannot be read, neither moves it nor is measured."""
    segment = make_segment(answer("a", depth=10), answer("b", depth=15))

    segment.move(answer("c", depth=depth, to="nowhere"))

    assert (segment.at, segment.width, segment.run) == (15, 5, 1)
    assert segment.walk.cursor == Cursor("id-nowhere", "ts-nowhere")


@pytest.mark.parametrize(
    "last, is_over",
    [
        (answer("x"), True),
        (answer(), True),
        (answer(depth=5), True),
        (answer("x", depth=6), False),
        (answer(depth=6), False),
    ],
)
def test_a_segment_is_over_where_its_walk_is(last, is_over):
    """Without a cursor, or with an empty page that repeats it; or else where it is dropped."""
    segment = make_segment(answer("a", depth=5), last)
    assert segment.is_over == is_over

    segment.is_dropped = True
    assert segment.is_over


def test_a_cursor_that_comes_again_leaves_a_segment_as_it_was():
    """It is an error, and the page that brought it neither moves nor answers it."""
    segment = make_segment(answer(depth=5), answer(depth=7))

    with pytest.raises(PaginationError):
        segment.move(answer("a", depth=9, to=5))

    assert (segment.at, segment.is_answered, segment.is_over) == (7, False, False)
