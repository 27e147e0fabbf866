"""The meaning of a 429, and the effect of many."""

import math

import pytest

from cekat_async._ratelimit.server.headers import QuotaStatement
from cekat_async._ratelimit.server.refusals import RefusalHistory, RefusalKind, classify_refusal

PER = 60.0
QUOTA, PAUSE = RefusalKind.QUOTA, RefusalKind.PAUSE
OVERLOAD, BAN = RefusalKind.OVERLOAD, RefusalKind.BAN

USED_UP = QuotaStatement(300, 0, 20.0)
NEARLY = QuotaStatement(300, 6)
LEFT = QuotaStatement(300, 7, 20.0)
ONLY_LIMIT = QuotaStatement(300)
DAY = QuotaStatement(10_000, 0, per=86_400.0)
DAY_LEFT = QuotaStatement(10_000, 5_000, per=86_400.0)


@pytest.mark.parametrize(
    "reported, asked, kind",
    [
        # Nothing or almost nothing is left, so others may have taken the rest. Some of these
        # replies ask for an immediate retry.
        ([USED_UP], None, QUOTA),
        ([USED_UP], 20.0, QUOTA),
        ([USED_UP], 0.0, QUOTA),
        ([NEARLY], None, QUOTA),
        ([NEARLY], 20.0, QUOTA),
        ([QuotaStatement(remaining=0)], None, QUOTA),
        ([QuotaStatement(10, 0)], None, QUOTA),
        ([LEFT, USED_UP], 20.0, QUOTA),
        # A pause up to the end of two windows, rounded up, may be for the quota. A longer one is
        # not.
        ([USED_UP], 121.0, QUOTA),
        ([USED_UP], 121.1, PAUSE),
        ([USED_UP], 3600.0, PAUSE),
        # The server reports nothing.
        ([], None, QUOTA),
        ([], 1.0, QUOTA),
        ([], 3600.0, QUOTA),
        ([ONLY_LIMIT], None, QUOTA),
        ([ONLY_LIMIT], 30.0, QUOTA),
        # Some requests are left, and the server asks for a pause.
        ([LEFT], 1.0, PAUSE),
        ([LEFT], 3600.0, PAUSE),
        ([QuotaStatement(10, 1)], 5.0, PAUSE),
        ([QuotaStatement(remaining=1)], 5.0, PAUSE),
        ([DAY_LEFT], 5.0, PAUSE),
        # The server allows an immediate retry, whatever it reports.
        ([], 0.0, OVERLOAD),
        ([], 0.9, OVERLOAD),
        ([ONLY_LIMIT], 0.0, OVERLOAD),
        ([LEFT], 0.0, OVERLOAD),
        ([LEFT], None, OVERLOAD),
        # The pause is longer than an hour.
        ([], 3600.1, BAN),
        ([LEFT], 3601.0, BAN),
        ([USED_UP], 3601.0, BAN),
        ([DAY], None, BAN),
        ([DAY], 0.0, BAN),
        ([LEFT, DAY], 20.0, BAN),
        ([QuotaStatement(10_000, 0, reset=3601.0)], None, BAN),
    ],
)
def test_what_a_refusal_means(reported, asked, kind):
    """The meaning depends on the remaining requests and on the length of the pause."""
    assert classify_refusal(reported, asked, PER) is kind


def test_a_later_end_belongs_to_a_longer_window():
    """If windows last ten minutes, a pause of ten minutes is for the quota."""
    assert classify_refusal([USED_UP], 600.0, PER) is PAUSE
    assert classify_refusal([USED_UP], 600.0, 600.0) is QUOTA


# --- the history


def test_there_are_no_refusals_at_first():
    """At first all counts are 0, and no kind of refusal is frequent."""
    history = RefusalHistory()

    assert history.total == 0
    assert history.counts == dict.fromkeys(RefusalKind, 0)
    assert (history.latest, history.at, history.in_a_row) == (None, -math.inf, 0)
    assert not history.are_persistent
    assert not history.are_frequent


def test_refusals_are_counted_by_kind():
    """The latest refusal is remembered."""
    history = RefusalHistory()
    for kind in (QUOTA, PAUSE, QUOTA):
        history.add(kind)

    assert history.total == 3
    assert history.counts == {QUOTA: 2, PAUSE: 1, OVERLOAD: 0, BAN: 0}
    assert history.latest is QUOTA


def test_refusals_in_flight_together_count_once():
    """Ten requests in flight that are refused together count as one refusal."""
    history = RefusalHistory()

    assert history.is_news(sent=9.0, now=10.0)
    assert not history.is_news(sent=9.5, now=10.1)
    assert not history.is_news(sent=10.0, now=10.2)
    assert (history.at, history.in_a_row) == (10.0, 1)
    assert history.is_news(sent=10.1, now=10.3)
    assert (history.at, history.in_a_row) == (10.3, 2)


def test_three_in_a_row_are_persistent():
    """The refusals are not persistent if a request sent after the latest of them was granted."""
    history = RefusalHistory()
    for now in (10.0, 20.0, 30.0):
        assert not history.are_persistent
        history.is_news(now - 1, now)
    assert history.are_persistent

    history.note_grant(sent=30.0)
    assert history.are_persistent
    history.note_grant(sent=30.1)
    assert not history.are_persistent
    assert history.in_a_row == 0


def test_five_of_the_latest_fifty_are_frequent():
    """Older refusals are dropped."""
    history = RefusalHistory()
    for _ in range(5):
        assert not history.are_frequent
        history.add(OVERLOAD)
    for _ in range(45):
        history.note_grant(0.0)
    assert history.are_frequent

    history.note_grant(0.0)

    assert not history.are_frequent
    assert history.total == 5
