"""The outcome of a request: what it shows about the quota."""

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from cekat_async._api.replies import Reply
from cekat_async._ratelimit.server.headers import QuotaStatement
from cekat_async._ratelimit.server.outcome import Outcome, read_outcome
from cekat_async._ratelimit.server.refusals import RefusalKind

LEFT = {"X-RateLimit-Limit": "300", "X-RateLimit-Remaining": "200", "X-RateLimit-Reset": "20"}
USED_UP = LEFT | {"X-RateLimit-Remaining": "0"}
DAY = QuotaStatement(10_000, 9_000, per=86_400.0)


def read(status: int, headers: dict[str, str] | None = None, per: float = 60.0) -> Outcome:
    return read_outcome(Reply(status, CIMultiDictProxy(CIMultiDict(headers or {})), b""), per)


@pytest.mark.parametrize("status, granted", [(200, True), (404, False), (500, False), (503, False)])
def test_only_a_success_is_certainly_granted(status, granted):
    """A failed request may not have been counted.

    Its headers are read, but it does not count as a refusal.
    """
    reported = (QuotaStatement(300, 200, 20.0),)

    assert read(status, LEFT | {"Retry-After": "5"}) == Outcome(reported, granted=granted)


def test_a_reply_without_headers_reports_nothing():
    """A success without headers is still a success."""
    assert read(200) == Outcome()


@pytest.mark.parametrize(
    "headers, kind, asked",
    [
        ({}, RefusalKind.QUOTA, None),
        (USED_UP, RefusalKind.QUOTA, None),
        (USED_UP | {"Retry-After": "20"}, RefusalKind.QUOTA, 20.0),
        (LEFT | {"Retry-After": "20"}, RefusalKind.PAUSE, 20.0),
        ({"Retry-After": "0"}, RefusalKind.OVERLOAD, 0.0),
        ({"Retry-After": "7200"}, RefusalKind.BAN, 7200.0),
        ({"Retry-After": "soon"}, RefusalKind.QUOTA, None),
    ],
)
def test_a_429_is_a_refusal(headers, kind, asked):
    """The headers of a 429 have the reason and the length of the pause."""
    outcome = read(429, headers)

    assert (outcome.refusal, outcome.asked, outcome.granted) == (kind, asked, False)


def test_the_window_decides_what_a_refusal_is_about():
    """A wait of five minutes cannot belong to a window of one minute."""
    headers = USED_UP | {"Retry-After": "300"}

    assert read(429, headers, 60.0).refusal is RefusalKind.PAUSE
    assert read(429, headers, 300.0).refusal is RefusalKind.QUOTA


def test_quotas_of_a_day_do_not_concern_the_pace():
    """Daily quotas are reported separately from the short quotas."""
    minute = QuotaStatement(300, 200, 20.0)

    assert Outcome((DAY, minute)).short == [minute]
    assert Outcome((DAY,)).short == Outcome().short == []


@pytest.mark.parametrize(
    "reported, seconds",
    [
        ((), 60.0),
        ((QuotaStatement(300, 5, 20.0),), 60.0),
        ((QuotaStatement(300, 0),), 60.0),
        ((QuotaStatement(300, 0, 20.0),), 20.0),
        # Some servers send only a reset.
        ((QuotaStatement(300, None, 20.0),), 20.0),
        ((QuotaStatement(10, 0, 1.0), QuotaStatement(300, 0, 20.0), DAY), 20.0),
    ],
)
def test_the_latest_reset_of_used_up_quotas_counts(reported, seconds):
    """Without a reset, the default applies."""
    assert Outcome(reported).get_reset(default=60.0) == seconds
