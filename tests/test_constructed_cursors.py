"""The depth of a cursor in a listing, and constructed cursors in the server's own format."""

import math
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cekat_async._paging.constructed_cursors import CursorTimes
from cekat_async.positions import Cursor

SECOND = 1_000_000
# 50 years, which lead from 2026 back to 1976 or forward to 2076.
FAR = 50 * 365 * 86400 * SECOND
SPELLINGS = [
    "2026-03-01T10:20:30.123Z",
    "2026-03-01T10:20:30.123456+07:00",
    "2026-03-01T10:20:30.123456789Z",
    "2026-03-01T10:20:30.1-03:30",
    "2026-03-01 10:20:30.123456-00:00",
    "2026-03-01T10:20:30Z",
    "2026-03-01T10:20:30",
    "2026-03-01 10:20:30+07:00",
]
UNREADABLE = [
    "",
    "ts-7",
    "2026-03-01",
    "20260301T102030Z",
    "2026-03-01x10:20:30Z",
    "2026-03-01T10:20:30+07:00:30",
    "2026-03-01T10:20:30.1234567890Z",
    # These texts match the pattern of a timestamp, but are not valid times.
    "2026-13-01T10:20:30Z",
    "2026-03-01T10:20:60Z",
    "0000-03-01T10:20:30Z",
    "2026-03-01T10:20:30+24:00",
]


def cursor(timestamp: str, name: str = "a") -> Cursor:
    return Cursor(name, timestamp)


def make_cursor_times(*timestamps: str) -> CursorTimes:
    """Return a ``CursorTimes`` that has learned from cursors with these timestamps, in order."""
    times, before = CursorTimes(), None
    for number, timestamp in enumerate(timestamps):
        times.learn(cursor(timestamp, f"id-{number}"), before)
        before = cursor(timestamp)
    return times


def get_shape(timestamp: str) -> str:
    """Replace each digit of a timestamp with ``#``, but keep its zone."""
    moment, zone = re.fullmatch(r"(.{19}(?:\.\d+)?)(.*)", timestamp).groups()
    return re.sub(r"\d", "#", moment) + zone


@pytest.mark.parametrize("like", SPELLINGS)
@given(depth=st.integers(0, FAR), is_rising=st.booleans())
def test_a_constructed_cursor_has_the_servers_format_and_the_given_depth(like, depth, is_rising):
    """A constructed cursor has the first cursor's format and id, and nearly the requested depth."""
    times = make_cursor_times(like, "2027-01-01T00:00:00Z" if is_rising else "2025-01-01T00:00:00Z")

    made = times.cursor_at(depth)

    assert (made.cursor_id, get_shape(made.cursor_ts)) == ("id-0", get_shape(like))
    digits = len(re.search(r"(?:\.(\d+))?(?:Z|[+-].{5})?$", like)[1] or "")
    assert abs(times.depth(made) - depth) < 10 ** max(6 - digits, 0)


@pytest.mark.parametrize(
    "like, made",
    [
        ("2026-03-01T10:20:30.123Z", "2026-03-01T10:20:31.623Z"),
        ("2026-03-01 10:20:30.5-03:30", "2026-03-01 10:20:32.0-03:30"),
        ("2026-03-01T10:20:30", "2026-03-01T10:20:31"),
        ("2026-03-01T23:59:59+07:00", "2026-03-02T00:00:00+07:00"),
        ("2026-03-01T10:20:30.123456789Z", "2026-03-01T10:20:31.623456000Z"),
    ],
)
def test_constructed_cursors(like, made):
    """A cursor that is constructed for 1.5 s later has the first cursor's number of digits."""
    assert make_cursor_times(like, "2027-01-01T00:00:00Z").cursor_at(1_500_000).cursor_ts == made


@pytest.mark.parametrize(
    "timestamp, microseconds",
    [
        ("2026-03-01T10:20:29Z", SECOND),
        ("2026-03-01 10:20:29.75", SECOND // 4),
        ("2026-03-01T10:20:29.999999999Z", 1),
        ("2026-03-01T10:20:30+07:00", 7 * 3600 * SECOND),
        ("2026-03-01T10:20:30-03:30", -3.5 * 3600 * SECOND),
        ("2026-02-28T10:20:30Z", 24 * 3600 * SECOND),
    ],
)
def test_depths_are_microseconds_after_the_first_cursor(timestamp, microseconds):
    """Depth counts back in time in a descending listing, and forward in an ascending one."""
    falling = make_cursor_times("2026-03-01T10:20:30Z", "2026-01-01T00:00:00Z")
    rising = make_cursor_times("2026-03-01T10:20:30Z", "2027-01-01T00:00:00Z")

    assert falling.depth(cursor(timestamp)) == microseconds
    assert rising.depth(cursor(timestamp)) == -microseconds


def test_the_order_shows_with_the_first_other_timestamp_and_stays():
    """The first different timestamp shows the order, and later cursors do not change it.

    Before that, all depths are 0, and the only constructed cursor is the first one.
    """
    times = make_cursor_times("2026-03-01T10:20:30Z", "2026-03-01T10:20:30.000Z")
    assert times.order == 0
    assert times.depth(cursor("2026-01-01T00:00:00Z")) == 0
    assert times.cursor_at(SECOND) == cursor("2026-03-01T10:20:30Z", "id-0")

    times.learn(cursor("2026-03-01T10:20:29Z"), cursor("2026-03-01T10:20:30Z"))
    times.learn(cursor("2026-03-01T10:20:31Z"), cursor("2026-03-01T10:20:30Z"))

    assert times.order == -1
    assert times.depth(cursor("2026-03-01T10:20:31Z")) == -SECOND


@pytest.mark.parametrize(
    "timestamps, order, deeper",
    [
        ([], 0, "2026-03-01T10:20:29Z"),
        (["2026-03-01T10:20:30Z"], 0, "2026-03-01T10:20:29Z"),
        (["2026-03-01T10:20:30Z", "2026-03-01T10:20:29Z"], -1, "2026-03-01T10:20:29Z"),
        (["2026-03-01T10:20:30Z", "2026-03-01T10:20:31Z"], 1, "2026-03-01T10:20:31Z"),
    ],
)
def test_depths_of_an_unknown_order_are_counted_as_descending_ones(timestamps, order, deeper):
    """An unknown order can be assumed to be descending, but a known order does not change."""
    times = make_cursor_times(*timestamps)

    times.assume_descending()
    times.learn(cursor("2026-03-01T10:20:30Z"))

    assert times.order == order
    assert times.depth(cursor(deeper)) == SECOND
    times.learn(cursor("2026-03-01T10:20:33Z"), cursor("2026-03-01T10:20:30Z"))
    assert times.order == (order or 1)
    assert times.depth(cursor("2026-03-01T10:20:31Z")) == (order or 1) * SECOND


@pytest.mark.parametrize("text", UNREADABLE)
def test_a_text_that_is_no_timestamp_has_no_depth(text):
    """An unreadable timestamp has no depth, and the first readable cursor counts as the first."""
    times = make_cursor_times(text, "2026-03-01T10:20:30Z", "2026-03-01T10:20:29Z", text)

    assert math.isnan(times.depth(cursor(text)))
    assert times.cursor_at(SECOND) == cursor("2026-03-01T10:20:29Z", "id-1")
    assert make_cursor_times(text, text).order == 0


@pytest.mark.parametrize("timestamps", [[], ["ts-1", "ts-2"]])
def test_no_cursor_is_constructed_without_an_example(timestamps):
    """No cursor is constructed before a readable one is seen, even for depth 0."""
    times = make_cursor_times(*timestamps)
    times.assume_descending()

    assert times.cursor_at(0) is None


@pytest.mark.parametrize(
    "first, second, last, deepest",
    [
        ("1970-01-01T00:00:02Z", "1970-01-01T00:00:01Z", "1970-01-01T00:00:00Z", 2 * SECOND),
        (
            "1970-01-01T07:00:02+07:00",
            "1970-01-01T00:00:01Z",
            "1970-01-01T07:00:00+07:00",
            2 * SECOND,
        ),
        ("9999-12-31T23:59:58Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z", 1_999_999),
        (
            "9999-12-31 23:59:58.0+07:00",
            "9999-12-31T23:59:59Z",
            "9999-12-31 23:59:59.9+07:00",
            1_999_999,
        ),
        (
            "9999-12-31T16:59:58-07:00",
            "9999-12-31T23:59:59Z",
            "9999-12-31T16:59:59-07:00",
            1_999_999,
        ),
    ],
)
def test_no_cursor_points_before_1970_or_after_the_year_9999(first, second, last, deepest):
    """No cursor is constructed for a time outside 1970 to 9999, in its own zone or in UTC."""
    times = make_cursor_times(first, second)

    assert times.cursor_at(deepest).cursor_ts == last
    assert times.cursor_at(deepest + 1) is None
    assert times.cursor_at(10**30) is None


@pytest.mark.parametrize(
    "timestamp, is_at",
    [
        ("2026-04-10T05:47:16.771", True),
        ("2026-04-10T12:47:16.771", True),  # in Jakarta
        ("2026-04-10T05:47:16.773", False),
        ("soon", False),
    ],
)
def test_a_cursor_points_at_a_moment_whatever_zone_it_means(timestamp, is_at):
    """A timestamp without a zone may be in any zone. An unreadable one matches no moment."""
    moment = datetime(2026, 4, 10, 5, 47, 16, 771_000, tzinfo=UTC)

    assert CursorTimes.is_at(cursor(timestamp), moment) is is_at


@pytest.mark.parametrize(
    "requested, depth, is_out_of_order",
    [
        (None, -SECOND, False),
        (None, math.nan, True),
        ("2026-03-01T10:20:29Z", SECOND - 1, True),
        ("2026-03-01T10:20:29Z", SECOND, False),
        ("2026-03-01T10:20:29Z", math.inf, False),
        ("2026-03-01T10:20:29Z", math.nan, True),
        ("soon", 0, False),
    ],
)
def test_a_page_is_after_the_cursor_of_its_request(requested, depth, is_out_of_order):
    """A page that ends before its request's cursor is out of order.

    So is a page with an unreadable cursor. The order is not checked if the request's cursor is
    unreadable.
    """
    times = make_cursor_times("2026-03-01T10:20:30Z", "2026-01-01T00:00:00Z")

    found = times.is_out_of_order(None if requested is None else cursor(requested), depth)

    assert found is is_out_of_order


def test_depths_can_be_counted_from_another_cursor():
    """Depths can be counted from another cursor. Constructed cursors then have that cursor's id."""
    times = make_cursor_times("2026-03-01T10:20:30Z", "2026-01-01T00:00:00Z")
    times.count_from(cursor("2026-03-01T10:20:31Z", "other"))

    assert times.depth(cursor("2026-03-01T10:20:30Z")) == SECOND
    assert times.cursor_at(SECOND) == cursor("2026-03-01T10:20:30Z", "other")
