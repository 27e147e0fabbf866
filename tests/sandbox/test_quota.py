"""Quotas: counters on a simulated clock, their headers, and a quota over sockets."""

from __future__ import annotations

import asyncio
import email.utils

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import skip

from cekat_async.sandbox import Quota, Sandbox
from cekat_async.sandbox.behaviour.quota import (
    QuotaState,
    build_counter,
    build_quota_headers,
    build_retry_after,
)

WINDOWS = ("fixed", "first_hit", "sliding", "bucket")
quotas = st.builds(
    Quota,
    requests=st.integers(1, 8),
    per=st.sampled_from([0.5, 1.0, 7.0, 60.0]),
    window=st.sampled_from(WINDOWS),
)
gaps = st.lists(st.floats(0.0, 20.0), max_size=60)


def find_granted(quota, times):
    """Return those of the given times at which a new counter grants a request."""
    counting = build_counter(quota)
    return [now for now in times if counting.take(now).granted]


def count_most(times, seconds):
    """Return how many times are in the fullest half-open window that starts with one of them."""
    return max((sum(a <= b < a + seconds for b in times) for a in times), default=0)


def test_a_fixed_window_is_aligned_to_the_clock():
    """Windows start at the phase and then every ``per`` seconds, independently of requests."""
    quota = Quota(2, per=10.0, phase=3.0)
    times = [11.0, 12.0, 12.9, 13.0, 22.9, 22.95, 23.0]
    assert find_granted(quota, times) == [11.0, 12.0, 13.0, 22.9, 23.0]


def test_a_fixed_window_lets_double_through_across_its_edge():
    """Around the edge of two windows, twice the quota is granted.

    A sliding window prevents that.
    """
    times = [9.0, 9.0, 9.0, 10.0, 10.0, 10.0]
    assert find_granted(Quota(2, per=10.0), times) == [9.0, 9.0, 10.0, 10.0]
    assert find_granted(Quota(2, per=10.0, window="sliding"), times) == [9.0, 9.0]


def test_a_first_hit_window_starts_with_the_first_request():
    """A window starts with the first request after the end of the previous window."""
    quota = Quota(2, per=10.0, window="first_hit")
    times = [4.0, 5.0, 13.9, 14.0, 20.0, 23.9, 24.0]
    assert find_granted(quota, times) == [4.0, 5.0, 14.0, 20.0, 24.0]


def test_a_sliding_window_frees_each_request_after_its_own_time():
    """Each request stops counting ``per`` seconds after it was granted."""
    quota = Quota(2, per=10.0, window="sliding")
    times = [0.0, 4.0, 9.9, 10.0, 13.9, 14.0]
    assert find_granted(quota, times) == [0.0, 4.0, 10.0, 14.0]


def test_a_bucket_starts_full_and_refills_evenly():
    """A burst is granted first, and then one request per ``per / requests`` seconds."""
    quota = Quota(60, per=60.0, window="bucket", burst=3)
    times = [0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 100.0, 100.0, 100.0, 100.0]
    assert find_granted(quota, times) == [0.0, 0.0, 0.0, 1.0, 2.0, 100.0, 100.0, 100.0]


def test_a_daily_limit_applies_in_addition_to_the_window():
    """A used-up daily quota refuses requests, and reports the time until the end of the day."""
    counting = build_counter(Quota(10, per=1.0, per_day=3))
    states = [counting.take(100.0 + 2 * step) for step in range(4)]
    assert [state.granted for state in states] == [1, 1, 1, 0]
    assert [state.remaining for state in states] == [2, 1, 0, 0]
    assert [state.daily for state in states] == [False, False, False, True]
    assert states[-1].wait == 86_400.0 - 6.0
    assert counting.take(100.0 + 86_400.0).granted == 1


def test_requests_that_the_window_refuses_do_not_count_for_the_day():
    """Requests over the short limit do not count against the daily limit."""
    counting = build_counter(Quota(1, per=10.0, per_day=2, phase=0.0))
    assert [counting.take(now).granted for now in (0.0, 1.0, 2.0, 10.0, 20.0)] == [1, 0, 0, 1, 0]


@settings(deadline=None)
@given(quotas, gaps)
def test_a_counter_never_grants_more_than_its_window_allows(quota, gaps):
    """A sliding window grants N requests in any window. The other kinds grant at most 2 N."""
    times = [sum(gaps[:end]) for end in range(1, len(gaps) + 1)]
    most = count_most(find_granted(quota, times), quota.per)
    assert most <= quota.requests * (1 if quota.window == "sliding" else 2)


@settings(deadline=None)
@given(quotas, gaps)
def test_a_request_after_the_stated_wait_is_granted(quota, gaps):
    """A refused request is granted after ``wait`` seconds, and not before."""
    counting, now = build_counter(quota), 0.0
    for gap in gaps:
        now += gap / 10
        state = counting.take(now)
        if not state.granted and state.wait > 1e-3:
            assert counting.take(now + state.wait * 0.9).granted == 0
            now += state.wait + 1e-6
            assert counting.take(now).granted == 1


@settings(deadline=None)
@given(quotas, st.lists(st.integers(0, 12), max_size=10))
def test_remaining_is_exact(quota, takes):
    """``remaining`` is the number of requests that would be granted at the same moment."""
    counting = build_counter(quota)
    for count in takes:
        before = counting.take(5.0, 0).remaining
        assert counting.take(5.0, count).granted == min(before, count)


STATE = QuotaState(granted=0, limit=300, remaining=7, reset=12.3, wait=0.2501)


def make_headers(family, reset):
    return {f"{family}-Limit": "300", f"{family}-Remaining": "7", f"{family}-Reset": reset}


@pytest.mark.parametrize(
    "quota, expected",
    [
        (Quota(headers=None), {}),
        (Quota(), make_headers("X-RateLimit", "1013")),
        (Quota(reset_as="epoch_ms"), make_headers("X-RateLimit", "1012300")),
        (Quota(reset_as="delta"), make_headers("X-RateLimit", "13")),
        (Quota(headers="ratelimit"), make_headers("RateLimit", "13")),
        (
            Quota(headers="ratelimit-combined"),
            {"RateLimit": "limit=300, remaining=7, reset=13", "RateLimit-Policy": "300;w=60"},
        ),
    ],
)
def test_each_family_of_headers_has_its_own_form(quota, expected):
    """Each family of headers has its own names and its own form of the reset."""
    assert build_quota_headers(quota, STATE, 1000.0) == expected


@pytest.mark.parametrize(
    "form, expected",
    [(None, None), ("seconds", "1"), ("fraction", "0.251"), ("http-date", 1001.0)],
)
def test_retry_after_has_the_format_of_the_option_and_is_never_too_short(form, expected):
    """Seconds and dates are rounded up."""
    said = build_retry_after(Quota(retry_after=form), STATE, 1000.0).get("Retry-After")
    if form == "http-date":
        assert said.endswith(" GMT")
        said = email.utils.parsedate_to_datetime(said).timestamp()
    assert said == expected


async def test_over_sockets_a_quota_refuses_and_grants_again(calling):
    """The third request in a window of two gets the documented 429, and a later one a 200."""
    quota = Quota(2, per=300.0, window="first_hit", retry_after="fraction")
    async with Sandbox(20, quota=quota) as sandbox, calling(sandbox) as caller:
        first, second, third = [await caller.get() for _ in range(3)]
        assert [first[0], second[0], third[0]] == [200, 200, 429]
        left = [headers["X-RateLimit-Remaining"] for _, headers, _ in (first, second, third)]
        assert left == ["1", "0", "0"]
        assert third[2] == (
            b'{"success":false,"error":'
            b'{"code":"RATE_LIMIT_EXCEEDED","message":"Too many requests"}}'
        )
        assert "Retry-After" not in second[1]
        wait = float(third[1]["Retry-After"])
        assert 0 < wait <= 300.0
        skip(wait)
        assert (await caller.get())[0] == 200
        assert (sandbox.log.served, sandbox.log.refused) == (3, 1)


async def test_strangers_use_up_the_quota(calling):
    """``take`` uses up quota, returns how much it got, and is not in the log."""
    async with (
        Sandbox(20, quota=Quota(5, window="first_hit")) as sandbox,
        calling(sandbox) as caller,
    ):
        assert sandbox.take(3) == 3
        assert (await caller.get())[1]["X-RateLimit-Remaining"] == "1"
        assert sandbox.take(3) == 1
        assert (await caller.get())[0] == 429
        assert len(sandbox.log.requests) == 2


async def test_requests_without_a_key_count_too(calling):
    """The quota counts before authentication."""
    async with Sandbox(5, quota=Quota(2, window="first_hit")) as sandbox:
        async with calling(sandbox, key="wrong") as stranger:
            assert [(await stranger.get())[0] for _ in range(3)] == [401, 401, 429]
        async with calling(sandbox) as caller:
            assert (await caller.get())[0] == 429


async def test_without_a_quota_nothing_is_refused_or_reported(calling):
    """``quota=None`` grants everything and sends no headers about a quota."""
    async with Sandbox(5, quota=None) as sandbox, calling(sandbox) as caller:
        replies = await asyncio.gather(*(caller.get() for _ in range(400)))
        assert {(status, body) for status, _, body in replies} == {(200, replies[0][2])}
        assert not [name for name in replies[0][1] if "ratelimit" in name.lower()]
        assert sandbox.take(1000) == 1000


async def test_the_daily_limit_has_its_own_code(calling):
    """The daily limit has its own error code."""
    quota = Quota(per_day=1)
    async with Sandbox(5, quota=quota) as sandbox, calling(sandbox) as caller:
        assert (await caller.get())[0] == 200
        status, headers, body = await caller.get()
        assert (status, b"DAILY_LIMIT_EXCEEDED" in body) == (429, True)
        assert int(headers["Retry-After"]) > 86_000
