"""Following up: what is read again, until one pass sees all that can have moved at one moment."""

from math import inf

import pytest

from cekat_async._parallel.follow_up import FollowUp
from cekat_async._parallel.segment import PageSummary, Segment
from cekat_async.positions import Cursor


def cursor(name: object) -> Cursor:
    return Cursor(f"id-{name}", f"ts-{name}")


def front(depth: float) -> PageSummary:
    """Return the front page of a listing, down to some depth."""
    return PageSummary(["a"], cursor(depth), depth)


def note(follow_up: FollowUp, *, front_ends: float = 10, requests: int = 2) -> None:
    """Walk from the front to the end with so many requests; the cursors are 1, 2, 3..."""
    follow_up.note(None, front(front_ends) if requests > 1 else PageSummary(["a"], None, inf))
    for number in range(1, requests):
        depth = inf if number == requests - 1 else 100 * number
        follow_up.note(cursor(number), PageSummary(["b"], cursor(number + 1), depth))


def walked(start: Cursor | None = None, requests: int = 3) -> FollowUp:
    follow_up = FollowUp(start)
    note(follow_up, requests=requests)
    return follow_up


def ends_at(a_pass: Segment, depth: float) -> bool:
    """Return whether a pass goes from the front down to the end of the page that ended so deep."""
    assert (a_pass.walk.cursor, a_pass.begin, a_pass.is_over) == (None, 0, False)
    a_pass.move(PageSummary(["a"], cursor("before"), depth - 1))
    goes_on = not a_pass.is_over
    a_pass.move(front(depth))
    return goes_on and a_pass.is_over


@pytest.mark.parametrize("is_rising", [False, True])
@pytest.mark.parametrize("requests, is_followed", [(1, False), (2, True)])
def test_a_walk_of_one_request_saw_all_at_one_moment(requests, is_followed, is_rising):
    """Nothing can have moved while it read; with a second request something can."""
    a_pass = walked(requests=requests).next(is_rising=is_rising)

    assert (a_pass is not None) == is_followed


def test_passes_go_down_to_the_front_page_of_the_one_before_until_one_takes_one_request():
    """Each sees what has moved during the one before; the last saw all that at one moment."""
    follow_up = walked()
    assert ends_at(follow_up.next(is_rising=False), 10)

    note(follow_up, front_ends=8, requests=3)
    assert ends_at(follow_up.next(is_rising=False), 8)

    note(follow_up, front_ends=7, requests=2)
    assert ends_at(follow_up.next(is_rising=False), 7)

    follow_up.note(None, front(6))
    assert follow_up.next(is_rising=False) is None
    assert not follow_up.is_endless


def test_a_pass_that_is_not_walked_is_followed_by_none():
    """Only what was read since the last pass counts."""
    follow_up = walked()
    follow_up.next(is_rising=False)

    assert follow_up.next(is_rising=False) is None


@pytest.mark.parametrize("start", [None, cursor("start")])
def test_a_rising_listing_is_followed_up_once_from_its_tail(start):
    """With the cursor that its last page was asked for with, to its end, whatever it meets."""
    follow_up = walked(start, requests=4)
    follow_up.note(cursor("middle"), PageSummary(["c"], cursor("met"), 250))  # by another segment

    a_pass = follow_up.next(is_rising=True)
    assert (a_pass.walk.cursor, a_pass.begin) == (cursor(3), 0)
    a_pass.move(PageSummary(["b"], cursor("more"), 1e18))
    assert not a_pass.is_over

    note(follow_up, requests=4)
    assert follow_up.next(is_rising=True) is None
    assert not follow_up.is_endless


def test_what_is_before_a_start_cursor_is_not_followed_up_in_a_falling_listing():
    """Who began at a cursor did not want the front, where things move to; nor is it read by one."""
    assert walked(cursor("start")).next(is_rising=False) is None


def test_no_pass_leads_to_a_front_that_was_never_read():
    """A pass without a bound would read the whole listing again."""
    follow_up = FollowUp(None)
    for number in range(3):
        follow_up.note(cursor(number), front(number))

    assert follow_up.next(is_rising=False) is None


def test_a_listing_that_changes_faster_than_it_is_read_is_given_up_after_20_passes():
    """Each of them was needed, and the 21st would be; that is told, and not before."""
    follow_up = walked()
    for _ in range(20):
        assert follow_up.next(is_rising=False) is not None
        assert not follow_up.is_endless
        note(follow_up)

    assert follow_up.next(is_rising=False) is None
    assert follow_up.is_endless


@pytest.mark.parametrize("is_rising", [False, True])
def test_nothing_is_followed_up_once_that_is_given_up(is_rising):
    """However much has been read; and it is not for having no end."""
    follow_up = walked()
    follow_up.give_up()

    assert follow_up.next(is_rising=is_rising) is None
    assert not follow_up.is_endless
