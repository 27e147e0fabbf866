"""Segments: their first records, their depth, their end, and their stored form."""

from math import inf, nan

import pytest

from cekat_async._parallel.segment import PageSummary, Segment
from cekat_async.errors import PaginationError
from cekat_async.positions import Cursor, Edge, Stage


def page(*names: str, depth: float = inf, to: object = None) -> PageSummary:
    """Return a page. Its cursor is named after its depth, unless the page ends the listing."""
    to = depth if to is None and depth < inf else to
    return PageSummary(names, None if to is None else Cursor(f"id-{to}", f"ts-{to}"), depth)


def make_segment(*pages: PageSummary, begin: int = 0, until: Edge | None = None) -> Segment:
    """Return a segment after some pages."""
    segment = Segment(begin=begin, until=until)
    for one in pages:
        segment.advance(one)
    return segment


PAGE = page("a", depth=50, to="there")


@pytest.mark.parametrize(
    "other, reaches",
    [
        (page(depth=49), False),
        (page(depth=50), False),
        (page(depth=50, to="there"), True),
        (page(depth=49, to="there"), True),
        (page(depth=51), True),
        (page(), True),
    ],
)
def test_a_page_reaches_another_that_it_ends_after_or_with(other, reaches):
    """A page reaches another one if it is deeper or ends at the same cursor.

    An equal timestamp is not enough.
    """
    assert other.reaches(PAGE.edge) == reaches
    assert make_segment(other, until=PAGE.edge).is_over == reaches


def test_first_ids_are_the_records_of_the_first_page_that_has_any():
    """Earlier empty pages and later pages do not change the first ids."""
    segment = make_segment(page(depth=10), page(depth=20))
    assert not segment.has_records

    segment.advance(page("a", "b", depth=30))
    segment.advance(page("c", depth=40))
    segment.advance(page(depth=50))

    assert segment.has_records
    assert (segment.first_ids, segment.first_ids_end) == ({"a", "b"}, 30)
    assert (segment.at, segment.walk.cursor) == (50, Cursor("id-50", "ts-50"))


@pytest.mark.parametrize("names, is_named", [("xb", True), ("a", True), ("xy", False), ("", False)])
@pytest.mark.parametrize("depth, is_there", [(99, False), (100, True), (150, True), (inf, True)])
def test_a_page_joins_a_segment_that_begins_in_it_or_before_by_a_first_id(
    names, is_named, depth, is_there
):
    """One shared record is enough.

    If the page ends before the segment begins, the record has moved, and they do not join.
    """
    segment = make_segment(page("a", "b", depth=200), begin=100)

    assert segment.joins(page(*names, depth=depth)) == (is_named and is_there)


def test_a_segment_without_records_is_neither_joined_nor_overrun():
    """The segment's first records are unknown, so it does not matter how deep a page ends."""
    segment = make_segment(page(depth=200), begin=100)

    assert not segment.joins(page("a"))
    assert not segment.is_overrun_by(page("a"))


@pytest.mark.parametrize(
    "end, depth, is_overrun",
    [(200, 200, False), (200, 201, True), (200, inf, True), (inf, 201, False), (inf, inf, True)],
)
def test_a_segment_is_overrun_after_the_page_of_its_first_ids(end, depth, is_overrun):
    """A page that ends exactly where the page of the first ids ended does not overrun the segment.

    A page that ends the listing always does.
    """
    segment = make_segment(page("a", depth=end), begin=100)

    assert segment.is_overrun_by(page("x", depth=depth)) == is_overrun


@pytest.mark.parametrize("depth", [inf, nan])
def test_a_page_of_no_depth_leaves_a_segment_where_it_was(depth):
    """The last page, or a page with an unreadable timestamp, does not change the depth."""
    segment = make_segment(page("a", depth=10), page("b", depth=15))

    segment.advance(page("c", depth=depth, to="nowhere"))

    assert segment.at == 15
    assert segment.walk.cursor == Cursor("id-nowhere", "ts-nowhere")


@pytest.mark.parametrize(
    "last, is_over",
    [
        (page("x"), True),
        (page(), True),
        (page(depth=5), True),
        (page("x", depth=6), False),
        (page(depth=6), False),
    ],
)
def test_a_segment_is_over_where_its_walk_is(last, is_over):
    """A segment ends without a cursor, or with an empty page that repeats its cursor.

    It also ends when the walk drops it.
    """
    segment = make_segment(page("a", depth=5), last)
    assert segment.is_over == is_over

    segment.is_dropped = True
    assert segment.is_over


def test_a_repeated_cursor_leaves_a_segment_unchanged():
    """The repeated cursor raises an error, and its page does not move the segment."""
    segment = make_segment(page(depth=5), page(depth=7))

    with pytest.raises(PaginationError):
        segment.advance(page("a", depth=9, to=5))

    assert (segment.at, segment.has_records, segment.is_over) == (7, False, False)


@pytest.mark.parametrize("stage, is_over", [("pass", False), ("probe", True), ("look", True)])
def test_a_probe_and_a_look_have_one_page(stage, is_over):
    """Only a pass goes on after its first page."""
    segment = Segment(stage=Stage(stage))
    segment.advance(page("a", depth=5))

    assert segment.is_over == is_over


@pytest.mark.parametrize("until", [None, PAGE.edge, page().edge])
@pytest.mark.parametrize("pages", [[], [page("a", b"no id", depth=120)], [page("a")]])
def test_a_stored_segment_is_as_it_was(pages, until):
    """The stored form has everything that the segment needs to resume."""
    segment = make_segment(*pages, begin=100, until=until)
    stored = Segment.from_part(segment.to_part())

    for name in ("begin", "at", "first_ids_end", "until", "is_over", "has_records"):
        assert getattr(stored, name) == getattr(segment, name)
    assert stored.walk.cursor == segment.walk.cursor
    assert stored.first_ids == segment.first_ids - {b"no id"}


def test_a_few_first_ids_are_stored():
    """One id is enough to join segments, so only a few are stored, and positions stay small."""
    segment = make_segment(page(*map(str, range(100)), depth=5))

    assert len(segment.to_part().first_ids) == 16
