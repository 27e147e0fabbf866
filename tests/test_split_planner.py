"""Splits: where another segment is worth its requests, and how many may be in vain."""

from itertools import pairwise
from math import inf

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cekat_async._parallel import split_planner
from cekat_async._parallel.segment import Segment
from cekat_async._parallel.split_planner import Split, SplitPlanner

# What may be tuned. It is so many pages for each of 8 segments.
FIRST_SOUNDING = 8 * split_planner._FIRST_SOUNDING
LEAST_PAGES = split_planner._LEAST_PAGES


def segment(
    begin: int = 0, at: int | None = None, *, width: int = 0, run: int = 0, misses: int = 0
) -> Segment:
    """Return a segment that has been answered, and has come so far."""
    one = Segment(None, begin)
    one.landmarks = frozenset("a")
    one.at = begin if at is None else at
    one.width, one.run, one.misses = width, run, misses
    return one


def sounding(begin: int) -> Segment:
    """Return a segment that has not been answered yet."""
    return Segment(None, begin)


def over(begin: int = 0, at: int | None = None) -> Segment:
    one = segment(begin, at)
    one.walk.done = True
    return one


def make_planner(
    *spans: int, most: int = 100, end: int | None = None, bursts: tuple = ()
) -> SplitPlanner:
    """Return what is known behind pages that took so much time, and bursts of so many pages."""
    splits = SplitPlanner(most)
    splits.end = end
    for number, span in enumerate(spans):
        splits.note(span, bursts[number] if number < len(bursts) else 0)
    return splits


def place(split: Split | None) -> tuple[int, float] | None:
    return split and (split.depth, split.pages)


# --- soundings


@pytest.mark.parametrize("spans", [[], [0, 0, 0]])
def test_nothing_is_split_before_a_page_has_taken_time(spans):
    """Nobody knows how close the pages lie."""
    assert make_planner(*spans).best([segment(width=1)]) is None


@pytest.mark.parametrize("width, usual", [(10, 10), (0, 7)])
def test_an_unknown_end_is_sounded_some_pages_from_the_front(width, usual):
    """Pages as the front's last ones, or the usual ones, if those are not known."""
    front = segment(at=100, width=width)

    split = make_planner(5, 10, most=8).best([front])

    assert split == Split(front, 100 + FIRST_SOUNDING * usual, inf)


@given(spans=st.lists(st.integers(1, 10**9), min_size=1, max_size=5), width=st.integers(0, 10**9))
def test_soundings_go_four_times_as_deep_each_and_four_are_under_way_at_most(spans, width):
    """Each behind the last one; when one is answered, one more may go."""
    splits, segments = make_planner(*spans), [segment(width=width)]
    while split := splits.best(segments):
        assert (split.behind, split.pages) == (segments[-1], inf)
        segments.append(sounding(split.depth))

    assert len(segments) == 1 + 4
    assert all(4 * one.begin == two.begin for one, two in pairwise(segments[1:]))
    segments[1].landmarks = frozenset("a")
    assert splits.best(segments).depth == 4 * segments[4].begin


def test_a_sounding_that_has_come_far_is_sounded_behind():
    """Not before where it is: some of the front's pages further on, if that is deeper."""
    segments = [segment(width=10), segment(1000, at=4000 - 10 * FIRST_SOUNDING, width=3)]
    assert place(make_planner(1, most=8).best(segments)) == (4000, inf)

    segments[1].at += 1
    assert place(make_planner(1, most=8).best(segments)) == (4001, inf)


def test_nothing_lies_behind_a_segment_that_is_over():
    """It has come to the end of the listing, or to nothing at all."""
    assert make_planner(1).best([over()]) is None
    assert make_planner(1, end=1000).best([over()]) is None


# --- a known end


def test_what_lies_before_a_known_end_is_split_in_its_first_third():
    """Nearer than the middle: nothing is known to be there, but for a burst that may go on."""
    splits = make_planner(10, end=401)

    assert place(splits.best([segment(at=100)])) == (200, 30.1)
    assert place(splits.best([segment(at=100, width=5, run=4)])) == (200, 30.1 + 2 * 4)
    assert place(splits.best([sounding(100)])) == (200, 30.1)  # and nothing else is under way
    assert splits.best([segment(at=401)]) is None


# --- gaps


def test_nothing_is_split_where_few_pages_are_left():
    """It would take as many requests as it saves, in a gap or before the end."""
    least = 10 * LEAST_PAGES

    for segments in ([segment()], [segment(), over(least)]):
        assert make_planner(10, end=least).best(segments) is not None
    for segments in ([segment()], [segment(), over(least - 1)]):
        assert make_planner(10, end=least - 1).best(segments) is None


@given(
    spans=st.lists(st.integers(0, 20), min_size=1, max_size=50),
    gap=st.integers(1, 1000),
    width=st.integers(0, 20),
    run=st.integers(0, 9),
    misses=st.integers(0, 9),
)
@example(spans=[0, 0, 0, 1], gap=1, width=0, run=1, misses=0)
def test_both_parts_of_what_is_split_have_something_to_do(spans, gap, width, run, misses):
    """It begins behind its segment, and before the following one, or a known end; not there."""
    first, following = segment(100, width=width, run=run), over(100 + gap)
    following.misses = misses

    for segments in ([first], [first, following]):
        split = make_planner(*spans, end=100 + gap).best(segments)
        assert split is None or 100 < split.depth < 100 + gap


@pytest.mark.parametrize("segments", [[segment()], [segment(), over(2)]])
def test_the_smallest_gap_is_split_in_its_only_place(segments):
    """If pages lie that close."""
    assert place(make_planner(*[0] * 9, 1, end=2).best(segments)) == (1, 20)


def test_only_gaps_with_something_behind_them_are_split():
    """What lies before a sounding is; what lies before the last that was answered is known."""
    segments = [segment(), sounding(1000), segment(3000), sounding(90_000)]
    splits = make_planner(10, end=100_000)

    assert splits.best(segments) == Split(segments[1], 2000, 200)
    assert splits.best(segments[:2]) is None


def test_a_gap_whose_segment_is_over_is_not_split():
    """Nobody walks it any more."""
    segments = [over(), segment(1000), over(1100)]

    assert make_planner(10).best(segments) == Split(segments[1], 1050, 10)


def test_the_gap_with_most_pages_is_split():
    """Not the one that takes most time: a burst may lie where time is short, and a void where not.

    And the unknown comes before all that is known.
    """
    slow, quick = segment(at=0, width=500), segment(2000, width=1, run=30)
    segments = [slow, quick, segment(2100), over(3000)]

    # 2000 / 500 pages, and 100 / 50 on the average and 2 * 30 more of the burst.
    assert make_planner(50).best(segments) == Split(quick, 2050, 62)
    assert make_planner(50).best([slow, segment(5000)]).pages == inf
    assert make_planner(50, end=9000).best([slow, segment(2000), segment(2100)]).pages == 6900 / 50


@pytest.mark.parametrize(
    "misses, depth, pages",
    [(0, 5000, 100 + 2 * 8), (1, 40, 100 + 8), (2, 40, 100 + 4), (4, 40, 100 + 1)],
)
def test_after_a_miss_the_next_split_lies_in_the_burst(misses, depth, pages):
    """The middle was in a void: half of what the burst may have is near; and less is hoped for."""
    segments = [segment(width=10, run=8), segment(10_000, misses=misses)]

    assert place(make_planner(100, end=0).best(segments)) == (depth, pages)


def test_after_a_miss_a_gap_that_the_burst_would_fill_is_split_in_the_middle():
    """However long the burst may be, the middle is never passed; nor is a place twice tried."""
    segments = [segment(width=10, run=101), segment(1000, misses=1)]
    assert place(make_planner(100, end=0).best(segments)) == (500, 100)

    segments[0].width = 0
    assert place(make_planner(100, end=0).best(segments)) == (1, 10)


@pytest.mark.parametrize(
    "run, bursts, rest",
    [(3, (), 3), (3, (20,), 3), (3, (29, 1), 12), (7, (20, 10), 8), (8, (20, 10), 8)],
)
def test_a_burst_is_as_long_as_others_were_or_twice_as_long_as_it_is(run, bursts, rest):
    """Whichever is more; one other burst says nothing yet."""
    segments = [segment(width=10, run=run), segment(10_000)]
    splits = make_planner(100, 100, end=0, bursts=bursts)

    assert splits.best(segments).pages == 100 + 2 * rest


# --- waste


@given(most=st.integers(1, 100), pages=st.integers(1, 1000))
def test_what_may_be_in_vain_is_bounded(most, pages):
    """Half a request for each segment there may be, and one for 20 pages; then no more splits."""
    splits, wasted = make_planner(*[10] * pages, most=most), 0
    while splits.best([segment()]):
        splits.note_waste()
        wasted += 1

    assert wasted == (10 * most + pages) // 20 + 1


@pytest.mark.parametrize("unanswered", [0, 1, 2, 3])
def test_of_what_is_under_way_one_in_two_may_be_in_vain(unanswered):
    """So of two that may be wasted, one is when two more are not answered."""
    segments = [segment(), *map(sounding, range(1000, 1000 + unanswered))]
    splits = make_planner(10, most=2)
    assert (splits.best(segments) is not None) == (unanswered <= 2)

    splits.note_waste()
    assert (splits.best(segments) is not None) == (unanswered == 0)
