"""The checks that segments together cover the listing, and what counts as a doubt."""

import pytest
from support.listing import make_page

from cekat_async._parallel.walk import ParallelWalk
from cekat_async.errors import (
    AuthenticationError,
    BadRequestError,
    ClientClosedError,
    DecodeError,
    PaginationError,
    PermissionDeniedError,
    RateLimitError,
    ResponseTimeoutError,
    ServerError,
)
from cekat_async.positions import Cursor, Position


def at(hour: int, id_: str = "x") -> Cursor:
    return Cursor(id_, f"2026-04-10T{hour:02d}:00:00.000")


def get_ids(page) -> list[str]:
    return [] if page is None else [item.id for item in page]


def begin(first: str = "a", cursor: Cursor = at(23)) -> tuple:  # noqa: B008 - frozen values
    """Return a walk after the first page and the probe, its first segment, and its warnings."""
    warnings: list[str] = []
    walk = ParallelWalk(Position(), 3, warnings.append)
    front = walk.next(None)
    walk.advance(front, make_page(first, cursor))
    probe = walk.next(front)
    walk.advance(probe, make_page(first, cursor))
    assert walk.next(probe) is front
    return walk, front, warnings


def two_segments() -> tuple:
    """Return a walk whose first segment has reached 22:00, and a segment that begins earlier."""
    walk, front, warnings = begin()
    walk.advance(front, make_page("b", at(22)))
    return walk, front, walk.split(), warnings


def test_pages_are_yielded_before_segments_join():
    """Both segments continue until the first one reaches a record at the start of the other one."""
    walk, front, middle, warnings = two_segments()

    assert get_ids(walk.advance(middle, make_page("mn", at(2)))) == ["m", "n"]
    assert get_ids(walk.advance(front, make_page("lm", at(3)))) == ["l", "m"]

    assert front.is_over
    assert walk.head_cursor == at(2)
    assert walk.next(front) is None
    assert walk.next(middle) is middle
    assert not warnings


def test_a_page_may_join_a_segment_and_end_after_all_that_it_began_with():
    """The page and the segment overlap, so there is no doubt."""
    walk, front, middle, warnings = two_segments()
    walk.advance(middle, make_page("m", at(2)))

    walk.advance(front, make_page("lmn", at(1)))

    assert front.is_over
    assert not warnings


def test_segments_that_are_joined_after_they_ended_are_removed_together():
    """The second segment has reached the end of the listing, so a look at the front follows."""
    walk, front, middle, warnings = two_segments()
    assert get_ids(walk.advance(middle, make_page("mn"))) == ["m", "n"]
    assert walk.next(middle) is None

    walk.advance(front, make_page("m", middle.walk.cursor))

    assert walk.head_cursor is None
    assert walk.next(front).stage == "look"
    assert not warnings


def test_a_segment_with_nothing_before_the_following_one_is_joined_at_once():
    """Such a segment costs one request and causes no doubt. There are at most three segments."""
    walk, front, middle, warnings = two_segments()
    walk.advance(middle, make_page("m", at(2)))
    gap = walk._chain._insert(at(20), front)
    assert walk.split() is None

    assert get_ids(walk.advance(gap, make_page("m", at(2)))) == ["m"]
    assert gap.is_over
    assert walk._chain.planner._wasted == 1
    assert not warnings

    walk.advance(front, make_page("lm", at(2)))
    assert walk.head_cursor == middle.walk.cursor


def test_an_empty_page_does_not_show_that_constructed_cursors_are_honoured():
    """Only records show that. Until some arrive, the walk uses only one constructed cursor."""
    walk, _, middle, _ = two_segments()
    assert walk.split() is None

    walk.advance(middle, make_page("", at(2)))
    assert walk.split() is None

    walk.advance(middle, make_page("m", at(1)))
    assert walk.split() is not None


def test_an_empty_probe_shows_nothing():
    """After an empty probe, the walk reads the first page again."""
    walk = ParallelWalk(Position(), 1, print)
    front = walk.next(None)
    walk.advance(front, make_page("a", at(23)))
    probe = walk.next(front)
    walk.advance(probe, make_page("", at(23)))

    assert walk.next(probe).walk.cursor is None


def test_a_first_id_in_a_page_that_ends_before_the_segment_begins_has_moved():
    """A record that has moved does not join the segments, and it causes no doubt."""
    walk, front, middle, warnings = two_segments()
    walk.advance(middle, make_page("m", at(2)))

    walk.advance(front, make_page("m", at(21)))

    assert not front.is_over
    assert not warnings


def test_a_page_up_to_the_end_of_the_first_ids_is_no_doubt():
    """A page may end at the time of the next segment's first records, and lack these records."""
    walk, front, middle, warnings = two_segments()
    walk.advance(middle, make_page("m", at(2)))

    walk.advance(front, make_page("c", at(2, "another")))
    assert not warnings

    walk.advance(front, make_page("d", at(1)))
    assert "two segments do not overlap" in warnings[0]


@pytest.mark.parametrize(
    "error",
    [
        BadRequestError("no such cursor", status=400),
        ServerError("it broke", status=500),
        DecodeError("not JSON", raw=b""),
        ResponseTimeoutError("too slow"),
        PaginationError("its cursor cannot be used"),
    ],
)
def test_a_refused_cursor_is_no_failure(error):
    """If the server rejects a constructed cursor, the listing is read sequentially."""
    walk, front, middle, warnings = two_segments()

    assert walk.excuses(middle, error)
    assert "a request with a constructed cursor failed" in warnings[0]
    assert walk.split() is None
    assert not walk.excuses(front, error)


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("who are you", status=401),
        PermissionDeniedError("not yours", status=403),
        RateLimitError("not today", status=429),
        ClientClosedError("closed"),
    ],
)
def test_other_errors_are_failures(error):
    """An error that any request could get is not blamed on the cursor. It ends the walk."""
    walk, _, middle, warnings = two_segments()

    assert not walk.excuses(middle, error)
    assert not warnings


def test_a_confirmed_segment_may_fail():
    """A segment with a confirmed cursor uses cursors of the server, whose errors count."""
    walk, _, middle, _ = two_segments()
    walk.advance(middle, make_page("m", at(2)))

    assert not walk.excuses(middle, BadRequestError("no", status=400))


@pytest.mark.parametrize("hours", [(20, 19, 21), (20, 19, 18, 22)])
def test_cursors_out_of_order_keep_the_walk_in_order(hours):
    """Cursors that go back and forth in time cause one warning, and one more pass at the end."""
    walk, front, warnings = begin(cursor=at(hours[0]))
    for hour in hours[1:]:
        walk.advance(front, make_page(f"{hour}", at(hour)))

    assert walk.split() is None
    (warning,) = warnings
    assert warning.startswith("falling back to a sequential walk: the listing is not in time order")
    walk.advance(front, make_page("z"))
    again = walk.next(front)
    assert (again.walk.cursor, again.stage) == (None, "pass")


def test_a_page_on_the_wrong_side_is_doubted():
    """A page that ends before the cursor of its request is not the requested page."""
    walk, front, middle, warnings = two_segments()

    assert walk.advance(middle, make_page("q", at(23, "q"))) is None
    assert "not after its cursor" in warnings[0]
    assert middle.is_over
    assert not front.is_over


def test_a_page_of_the_timestamp_that_was_requested_is_not_doubted():
    """Records may share a timestamp."""
    walk, _, middle, warnings = two_segments()

    assert walk.advance(middle, make_page("q", Cursor("q", middle.walk.cursor.cursor_ts)))
    assert not warnings


@pytest.mark.parametrize("ids, is_doubted", [("a", True), ("ab", False), ("b", False), ("", False)])
def test_a_constructed_cursor_that_leads_to_the_front_is_doubted(ids, is_doubted):
    """If a page has only records from the start of another segment, the cursor was ignored."""
    walk, _, middle, warnings = two_segments()

    page = walk.advance(middle, make_page(ids, at(1)))

    assert (page is None) == is_doubted
    assert ["led to the start of another segment" in text for text in warnings] == (
        [True] if is_doubted else []
    )


def test_a_later_page_may_repeat_another_segments_first_page():
    """Repeated records show an ignored cursor only if they are on a segment's first page."""
    walk, _, middle, warnings = two_segments()
    walk.advance(middle, make_page("m", at(2)))

    assert walk.advance(middle, make_page("a", at(1)))
    assert not warnings


@pytest.mark.parametrize("end", [at(1), None])
def test_segments_that_do_not_overlap_are_doubted(end):
    """The first segment ends or passes the start of the next one without finding its records."""
    walk, front, middle, warnings = two_segments()
    walk.advance(middle, make_page("m", at(2)))

    assert get_ids(walk.advance(front, make_page("c", end))) == ["c"]
    assert warnings == ["falling back to a sequential walk: two segments do not overlap"]
    assert middle.is_over
    assert front.is_over == (end is None)


def test_a_segment_that_the_front_reaches_before_it_is_confirmed_is_dropped():
    """The first segment reads these records, even if it ends exactly where the other begins."""
    for cursor in (at(0), None):
        walk, front, middle, warnings = two_segments()

        walk.advance(front, make_page("c", cursor or middle.walk.cursor))

        assert middle.is_dropped
        assert not warnings
        assert walk.advance(middle, make_page("m", at(2))) is None


def test_an_unconfirmed_segment_after_the_page_is_kept():
    """The first segment has not reached the unconfirmed one yet."""
    walk, front, middle, _ = two_segments()

    walk.advance(front, make_page("c", at(21)))

    assert not middle.is_dropped


def test_a_cursor_that_repeats_is_an_error_in_order():
    """In the first segment, the cursor raises after its page. In others, it counts as a doubt."""
    walk, front, middle, warnings = two_segments()
    walk.advance(middle, make_page("m", at(2)))
    walk.advance(middle, make_page("n", at(2)))

    assert middle.is_over
    assert "would never end" in warnings[0]
    # The content of a cursor, which may be the key, is in no log.
    assert at(2).cursor_ts not in warnings[0]

    assert get_ids(walk.advance(front, make_page("c", at(22)))) == ["c"]
    assert isinstance(front.error, PaginationError)


def test_a_stopped_walk_yields_nothing():
    """The walk discards the pages and errors of its segments."""
    walk, _, middle, warnings = two_segments()
    walk.stop()

    assert walk.advance(middle, make_page("m", at(2))) is None
    assert walk.excuses(middle, AuthenticationError("no", status=401))
    assert walk.excuses(middle, BadRequestError("no", status=400))
    assert not warnings
    assert walk.next(middle) is None
    assert walk.most_left() == 0


def test_a_gap_smaller_than_the_servers_timestamps_is_not_split():
    """A constructed cursor that is not after the earlier segment does not begin a segment."""
    walk, front, _, _ = two_segments()

    assert walk._chain._insert(at(22), front) is None
    assert walk._chain._insert(at(21), front) is not None


def test_no_cursor_points_before_1970():
    """The walk makes no cursor before 1970. It assumes an end there, and makes a nearer cursor."""
    walk, front, _ = begin(cursor=Cursor("x", "2026-01-01T00:00:00.000"))
    walk.advance(front, make_page("b", Cursor("x", "2010-01-01T00:00:00.000")))

    middle = walk.split()

    assert "1970" < middle.walk.cursor.cursor_ts < "2010"
