"""Cursor times: the depth of a cursor, and constructed cursors in the server's own format."""

import math
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cekat_async._paging.constructed_cursors import CursorTimes
from cekat_async.positions import Cursor

SECOND = 1_000_000
# 50 years: from 2026 back to 1976, or forward to 2076.
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
    # They match the pattern, and are no times.
    "2026-13-01T10:20:30Z",
    "2026-03-01T10:20:60Z",
    "0000-03-01T10:20:30Z",
    "2026-03-01T10:20:30+24:00",
]


def cursor(timestamp: str, name: str = "a") -> Cursor:
    return Cursor(name, timestamp)


def make_cursor_times(*timestamps: str) -> CursorTimes:
    """Return times that have seen cursors with these timestamps, in this order."""
    times, before = CursorTimes(), None
    for number, timestamp in enumerate(timestamps):
        times.learn(cursor(timestamp, f"id-{number}"), before)
        before = cursor(timestamp)
    return times


def get_shape(timestamp: str) -> str:
    """Return a timestamp with a # for each digit and its zone unchanged."""
    moment, zone = re.fullmatch(r"(.{19}(?:\.\d+)?)(.*)", timestamp).groups()
    return re.sub(r"\d", "#", moment) + zone


@pytest.mark.parametrize("like", SPELLINGS)
@given(depth=st.integers(0, FAR), is_rising=st.booleans())
def test_a_constructed_cursor_has_the_servers_format_and_the_given_depth(like, depth, is_rising):
    """It has the first cursor's separator, digits, zone and id, and is off by less than a digit."""
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
    """A cursor 1.5 seconds after the first one, by its clock. Missing digits are cut off."""
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
    """Depth counts back in time in a falling listing, and forward in a rising one."""
    falling = make_cursor_times("2026-03-01T10:20:30Z", "2026-01-01T00:00:00Z")
    rising = make_cursor_times("2026-03-01T10:20:30Z", "2027-01-01T00:00:00Z")

    assert falling.depth(cursor(timestamp)) == microseconds
    assert rising.depth(cursor(timestamp)) == -microseconds


def test_the_order_shows_with_the_first_other_timestamp_and_stays():
    """Until then all depths are 0 and no cursor can be built. Later cursors do not reverse it."""
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
    """An unknown order is then assumed to be descending. A known one stays."""
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
    """Its depth cannot be compared, and the next readable cursor counts as the first."""
    times = make_cursor_times(text, "2026-03-01T10:20:30Z", "2026-03-01T10:20:29Z", text)

    assert math.isnan(times.depth(cursor(text)))
    assert times.cursor_at(SECOND) == cursor("2026-03-01T10:20:29Z", "id-1")
    assert make_cursor_times(text, text).order == 0


@pytest.mark.parametrize("timestamps", [[], ["ts-1", "ts-2"]])
def test_no_cursor_is_constructed_without_an_example(timestamps):
    """Without a readable cursor none is constructed, even at the front or with a known order."""
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
    """The latest possible moment is the last one, by the cursor's own clock or by UTC."""
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
    """A cursor without a zone may be in any zone. An unreadable one has no moment."""
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
    """A page does not end before its request's cursor.

    Without two readable cursors it is unknown.
    """
    times = make_cursor_times("2026-03-01T10:20:30Z", "2026-01-01T00:00:00Z")

    found = times.is_out_of_order(None if requested is None else cursor(requested), depth)

    assert found is is_out_of_order


def test_depths_can_be_counted_from_another_cursor():
    """Constructed cursors then also have that cursor's id."""
    times = make_cursor_times("2026-03-01T10:20:30Z", "2026-01-01T00:00:00Z")
    times.count_from(cursor("2026-03-01T10:20:31Z", "other"))

    assert times.depth(cursor("2026-03-01T10:20:30Z")) == SECOND
    assert times.cursor_at(SECOND) == cursor("2026-03-01T10:20:30Z", "other")
