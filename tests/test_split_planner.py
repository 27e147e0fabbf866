"""Splits: the places where another segment saves requests, and how many requests may be wasted."""

from itertools import pairwise
from math import inf

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cekat_async._parallel import split_planner
from cekat_async._parallel.segment import Segment
from cekat_async._parallel.split_planner import Split, SplitPlanner

# A tuning parameter: this many pages for each of 8 segments.
FIRST_EXPLORATION = 8 * split_planner._FIRST_EXPLORATION
LEAST_PAGES = split_planner._LEAST_PAGES


def segment(begin: int = 0, at: int | None = None) -> Segment:
    """Return a segment that has records and was read to a depth."""
    one = Segment(begin=begin)
    one.first_ids = frozenset("a")
    one.at = begin if at is None else at
    return one


def exploration(begin: int) -> Segment:
    """Return a segment that has no record so far."""
    return Segment(begin=begin)


def over(begin: int = 0, at: int | None = None) -> Segment:
    one = segment(begin, at)
    one.walk.done = True
    return one


def make_planner(*spans: int, most: int = 100, end: int | None = None) -> SplitPlanner:
    """Return a planner that has seen pages, each of which covered this much time."""
    planner = SplitPlanner(most)
    planner.end = end
    for span in spans:
        planner.note_page(span)
    return planner


def place(split: Split | None) -> tuple[int, float] | None:
    return split and (split.depth, split.pages)


# --- explorations


@pytest.mark.parametrize("spans", [[], [0, 0, 0]])
def test_nothing_is_split_before_a_page_has_covered_time(spans):
    """Before that, the density of the pages is unknown."""
    assert make_planner(*spans).best([segment()]) is None


def test_an_unknown_end_is_explored_some_average_pages_from_the_front():
    """The number of pages up to an unknown end counts as infinite, so no split is more useful."""
    front = segment(at=100)

    assert make_planner(5, 10, most=8).best([front]) == Split(
        front, 100 + FIRST_EXPLORATION * 7, inf
    )


@given(spans=st.lists(st.integers(1, 10**9), min_size=1, max_size=5))
def test_explorations_go_four_times_as_deep_each_and_there_are_four_at_most(spans):
    """Each exploration follows the last one. When one of them has records, another may follow."""
    planner, segments = make_planner(*spans), [segment()]
    while split := planner.best(segments):
        assert (split.previous, split.pages) == (segments[-1], inf)
        segments.append(exploration(split.depth))

    assert len(segments) == 1 + 4
    assert all(4 * one.begin == two.begin for one, two in pairwise(segments[1:]))
    segments[1].first_ids = frozenset("a")
    assert planner.best(segments).depth == 4 * segments[4].begin


@pytest.mark.parametrize("further", [0, 1])
def test_an_exploration_that_is_deep_is_explored_after_its_place(further):
    """The next exploration is some pages after the current depth, if that is deeper."""
    segments = [segment(), segment(1000, at=4000 - 10 * FIRST_EXPLORATION + further)]

    assert place(make_planner(10, most=8).best(segments)) == (4000 + further, inf)


def test_nothing_is_after_a_segment_that_is_over():
    """The segment has reached the end of the listing."""
    assert make_planner(1).best([over()]) is None
    assert make_planner(1, end=1000).best([over()]) is None


# --- a known end


def test_what_is_before_a_known_end_is_split_in_its_first_third():
    """The content before the end is unknown.

    So the split is before the middle, and only one segment explores at a time.
    """
    planner = make_planner(10, end=401)

    assert place(planner.best([segment(at=100)])) == (200, 30.1)
    assert place(planner.best([exploration(100)])) == (200, 30.1)
    assert planner.best([segment(at=100), exploration(200)]) is None
    assert planner.best([segment(at=401)]) is None


# --- gaps


def test_nothing_is_split_where_few_pages_are_left():
    """A split would cost as many requests as it saves."""
    least = 10 * LEAST_PAGES

    for segments in ([segment()], [segment(), over(least)]):
        assert make_planner(10, end=least).best(segments) is not None
    for segments in ([segment()], [segment(), over(least - 1)]):
        assert make_planner(10, end=least - 1).best(segments) is None


@given(
    spans=st.lists(st.integers(0, 20), min_size=1, max_size=50),
    gap=st.integers(1, 1000),
)
@example(spans=[0, 0, 0, 1], gap=1)
def test_both_parts_of_a_split_have_pages(spans, gap):
    """A split is after its segment, and before the following segment or a known end."""
    for segments in ([segment(100)], [segment(100), over(100 + gap)]):
        split = make_planner(*spans, end=100 + gap).best(segments)
        assert split is None or 100 < split.depth < 100 + gap


@pytest.mark.parametrize("segments", [[segment()], [segment(), over(2)]])
def test_the_smallest_gap_is_split_in_its_only_place(segments):
    """Such a split is possible if pages are dense enough."""
    assert place(make_planner(*[0] * 9, 1, end=2).best(segments)) == (1, 20)


def test_only_gaps_with_something_after_them_are_split():
    """The gap before an exploration is not split, because the exploration may be beyond the end."""
    segments = [segment(), exploration(1000), segment(3000), exploration(90_000)]
    planner = make_planner(10, end=100_000)

    assert planner.best(segments) == Split(segments[1], 2000, 200)
    assert planner.best(segments[:2]) is None


def test_a_gap_whose_segment_is_over_is_not_split():
    """No walker reads the segment any more."""
    segments = [over(), segment(1000), over(1100)]

    assert make_planner(10).best(segments) == Split(segments[1], 1050, 10)


def test_the_largest_gap_is_split():
    """The gap before the unknown end counts as larger than all others."""
    segments = [segment(), segment(1000), segment(4000), over(5000)]

    assert make_planner(50).best(segments) == Split(segments[1], 2500, 60)
    assert make_planner(50).best(segments[:3]).pages == inf
    assert make_planner(50, end=9000).best(segments[:3]).pages == 5000 / 50


# --- waste


@given(most=st.integers(1, 100), pages=st.integers(1, 1000))
def test_requests_without_result_are_bounded(most, pages):
    """At most half a request per possible segment is wasted, plus one request for 20 pages."""
    planner, wasted = make_planner(*[10] * pages, most=most), 0
    while planner.best([segment()]):
        planner.note_waste()
        wasted += 1

    assert wasted == (10 * most + pages) // 20 + 1


@pytest.mark.parametrize("in_flight", [0, 1, 2, 3])
def test_one_of_two_requests_in_flight_may_have_no_result(in_flight):
    """If two requests may be wasted, two in flight use up one of them."""
    segments = [segment(), *map(exploration, range(1000, 1000 + in_flight))]
    planner = make_planner(10, most=2)
    assert (planner.best(segments) is not None) == (in_flight <= 2)

    planner.note_waste()
    assert (planner.best(segments) is not None) == (in_flight == 0)
