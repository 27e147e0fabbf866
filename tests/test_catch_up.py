"""Catching up: what is read again, until one request sees at one moment all that has moved."""

from math import inf

import pytest

from cekat_async._parallel.catch_up import MOST_PASSES, CatchUp
from cekat_async._parallel.segment import PageSummary, Segment
from cekat_async.positions import Cursor


def page(depth: float) -> PageSummary:
    """Return a page that ends so deep; the listing's last one if that is infinite."""
    name = None if depth == inf else Cursor(f"id-{depth}", f"ts-{depth}")
    return PageSummary(["a"], name, depth)


class Walked:
    """A listing in which requests are answered as a test says."""

    def __init__(self, *, is_rising=False):
        self.catch_up = CatchUp()
        self._is_rising = is_rising

    def next(self) -> Segment | None:
        return self.catch_up.next(is_rising=self._is_rising)

    def probe(self, depth):
        """Ask for the next pass, which must be a probe, and let the newest be so deep."""
        segment = self.next()
        assert (segment.is_probe, segment.walk.cursor) == (True, None)
        self.catch_up.note(None, page(depth))

    def read(self, *depths):
        """Ask for the next pass, and let its pages end so deep; return it."""
        segment = self.next()
        assert not segment.is_probe
        cursor = segment.walk.cursor
        for depth in depths:
            self.catch_up.note(cursor, page(depth))
            cursor = page(depth).next_cursor
        return segment


def ends_at(segment: Segment, depth: float) -> bool:
    """Return whether a pass ends with the first page that goes deeper than that."""
    segment.move(page(depth - 1))
    goes_on = not segment.is_over
    segment.move(page(depth + 1))
    return goes_on and segment.is_over


def test_the_newest_is_noted_before_anything_is_read():
    """The first request is for one conversation, and then all of the listing is read."""
    walked = Walked()
    walked.probe(0)

    segment = walked.read(100, 200, inf)

    assert (segment.until, segment.is_single) == (None, False)


def test_a_listing_of_one_page_was_seen_at_one_moment():
    """Nothing can have moved while it was read."""
    walked = Walked()
    walked.probe(0)
    walked.read(inf)

    assert walked.next() is None
    assert walked.next() is None


def test_one_look_from_the_front_has_all_that_moved_if_it_goes_deep_enough():
    """A page that ends behind what was the newest has, at one moment, all that moved since."""
    walked = Walked()
    walked.probe(0)
    walked.read(100, inf)

    assert walked.read(40).is_single
    assert walked.next() is None


@pytest.mark.parametrize("depth", [-20, 0])
def test_a_look_that_ends_before_it_or_at_it_shows_that_more_has_moved(depth):
    """What has the timestamp of the newest may stand behind it: so just there is too soon."""
    walked = Walked()
    walked.probe(0)
    walked.read(100, inf)
    walked.read(depth)

    walked.probe(-50)
    assert ends_at(walked.read(-30, 20), 0)
    assert ends_at(walked.next(), -50) is False  # a look: one page, whatever it has


def test_each_pass_goes_down_to_where_the_newest_was_before_the_one_before_it():
    """What it does not reach has not moved since the pass before began."""
    walked = Walked()
    walked.probe(0)
    walked.read(100, inf)
    walked.read(-500)
    walked.probe(-600)
    walked.read(-550, 20)
    walked.read(-700)
    walked.probe(-800)

    assert ends_at(walked.read(-750, -590), -600)


def test_a_pass_of_one_page_settles_it():
    """One page that goes down to where the newest was saw all of that at one moment."""
    walked = Walked()
    walked.probe(0)
    walked.read(100, inf)
    walked.read(-5)
    walked.probe(-6)
    walked.read(20)

    assert walked.next() is None


def test_when_the_newest_is_still_the_same_nothing_has_moved():
    """More conversations of one moment than a page holds do not keep it from coming to an end."""
    walked = Walked()
    walked.probe(0)
    walked.read(0, 0, 0, inf)
    walked.read(0)
    walked.probe(0)

    assert walked.next() is None


def test_after_twenty_passes_it_is_endless():
    """A listing in which more moves than can be read is given up, and not read for ever."""
    walked = Walked()
    walked.probe(0)
    walked.read(100, inf)
    for number in range(1, MOST_PASSES + 1):
        walked.read(-1000 * number)
        walked.probe(-1000 * number)
        walked.read(-10 * number, inf)
        assert not walked.catch_up.is_endless
    walked.read(-1000 * MOST_PASSES - 1000)

    assert walked.next() is None
    assert walked.catch_up.is_endless


def test_in_a_listing_that_goes_forward_the_last_page_is_read_once_more():
    """What moves goes to the end, where one more pass meets it."""
    walked = Walked(is_rising=True)
    walked.probe(0)
    walked.read(100, 200, inf)

    assert walked.read(inf).walk.cursor == Cursor("id-200", "ts-200")
    assert walked.next() is None


def test_giving_up_changes_nothing():
    """What a walk without an order does instead is not said here."""
    walked = Walked()
    walked.catch_up.give_up()
    walked.probe(0)

    assert walked.read(100, inf) is not None
