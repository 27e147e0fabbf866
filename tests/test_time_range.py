"""Ranges of time: valid bounds, and their meaning."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.activity import ActivityServer
from support.parts import make_client

from cekat_async import ConfigurationError, Position
from cekat_async.resources.time_range import TimeRange, format_bound, parse_bound
from cekat_async.sandbox import Sandbox

NOW = datetime(2026, 4, 10, 12, tzinfo=UTC)
JAKARTA = timezone(timedelta(hours=7))


@pytest.mark.parametrize(
    "text, bound",
    [
        ("3d", timedelta(days=3)),
        ("12h", timedelta(hours=12)),
        ("90m", timedelta(minutes=90)),
        ("2w", timedelta(weeks=2)),
        ("45s", timedelta(seconds=45)),
        ("1.5d", timedelta(hours=36)),
        ("2026-11-01T08:00+07:00", datetime(2026, 11, 1, 8, tzinfo=JAKARTA)),
        ("2026-11-01T08:00Z", datetime(2026, 11, 1, 8, tzinfo=UTC)),
        ("2026-11-01", datetime(2026, 11, 1).astimezone()),
        ("2026-11-01 08:30", datetime(2026, 11, 1, 8, 30).astimezone()),
    ],
)
def test_texts_of_bounds(text, bound):
    """A bound is a duration before now, or a moment.

    Without a zone, a moment is in local time.
    """
    assert parse_bound(text) == bound


@pytest.mark.parametrize(
    "text", ["", "3", "3 d", "-3d", "d", "3y", "yesterday", "2026-13-01", "1e3d"]
)
def test_other_texts_are_refused(text):
    """The error says how to write a bound."""
    with pytest.raises(ConfigurationError, match="write it like 3d"):
        parse_bound(text)


def test_a_text_that_is_too_long_before_now_is_refused():
    """The duration is out of range."""
    with pytest.raises(ConfigurationError, match="not a time"):
        parse_bound("999999999999d")


@given(st.timedeltas(timedelta(0)) | st.datetimes(timezones=st.just(JAKARTA)))
def test_a_bound_is_written_as_text_that_means_the_same(bound):
    """Exports store bounds as text, and parse them when they begin."""
    assert parse_bound(format_bound(bound)) == bound


@pytest.mark.parametrize(
    "bound, text",
    [
        (timedelta(days=3), "3d"),
        (timedelta(hours=72), "3d"),
        (timedelta(hours=12), "12h"),
        (timedelta(minutes=90), "90m"),
        (timedelta(0), "0s"),
        (timedelta(milliseconds=1500), "1.500000s"),
        (datetime(2026, 11, 1, tzinfo=JAKARTA), "2026-11-01T00:00:00+07:00"),
    ],
)
def test_how_a_bound_is_written(bound, text):
    """A bound is written in the form in which a person would write it."""
    assert format_bound(bound) == text


@pytest.mark.parametrize(
    "bound, reason",
    [
        (NOW.replace(tzinfo=None), "must have a time zone"),
        (timedelta(days=-1), "must not be a negative timedelta"),
        ("3d", "must be a datetime with a time zone, or a timedelta"),
        (3, "must be a datetime with a time zone, or a timedelta"),
        (NOW.date(), "must be a datetime with a time zone, or a timedelta"),
        (timedelta.max, "is too far back"),
    ],
)
@pytest.mark.parametrize("name", ["since", "until"])
def test_wrong_bounds_are_refused_at_once(bound, reason, name):
    """A wrong bound raises an error before any request. The error says what to write."""
    conversations = ActivityServer([]).open()

    for method in (conversations.list, conversations.across):
        with pytest.raises(ConfigurationError, match=f"^{name} .*{reason}"):
            method(**{name: bound})


@pytest.mark.parametrize(
    "since, until",
    [
        (timedelta(days=1), timedelta(days=3)),
        (timedelta(days=1), timedelta(days=1)),
        (NOW, NOW - timedelta(microseconds=1)),
        (NOW, NOW.astimezone(JAKARTA)),
    ],
)
def test_since_must_be_before_until(since, until):
    """Durations count back from now, so ``since`` is the longer one."""
    with pytest.raises(ConfigurationError, match="since must be before until"):
        ActivityServer([]).open().list(since=since, until=until)


def test_durations_are_counted_back_from_now():
    """Moments are unchanged."""
    resolved = TimeRange(timedelta(days=3), NOW - timedelta(days=1)).resolve(NOW)

    assert resolved == (NOW - timedelta(days=3), NOW - timedelta(days=1))
    assert TimeRange().resolve(NOW) == (None, None)


def test_the_repr_of_a_listing_shows_the_range():
    """The repr shows the bounds as the caller gave them."""
    listing = ActivityServer([]).open().list(until=timedelta(days=3), since=NOW)

    assert repr(listing).endswith(" since 2026-04-10T12:00:00+00:00 until 3d>")


async def test_a_relative_bound_is_resolved_when_a_walk_begins(monkeypatch):
    """Each walk of a listing counts back from its own start."""
    moments = []
    resolve = TimeRange.resolve

    def note(self, now=None):
        moments.append(resolve(self, now))
        return moments[-1]

    async with (
        Sandbox(conversations=20, inboxes=3, quota=None) as sandbox,
        make_client(sandbox) as client,
    ):
        listing = client.conversations.across(since=timedelta(weeks=9999))
        monkeypatch.setattr(TimeRange, "resolve", note)
        await listing.collect()
        await listing.collect()
        [_ async for _ in listing.raw_pages()]
        [_ async for _ in listing.tracked_pages({sandbox.inbox_ids[0]: Position()})]

    assert len(moments) == 4  # all inboxes of a walk use the same time
    assert sorted(moments) == moments
