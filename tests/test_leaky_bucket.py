"""The leaky bucket, with the real aiolimiter on a virtual clock."""

import asyncio
import itertools

import pytest
from support.clock import most_in_any, now, virtual

from cekat_async._ratelimit.leaky_bucket import LeakyBucket
from cekat_async._ratelimit.server.limit_estimate import Terms

PER = 60.0


def make_terms(limit, per=PER):
    return Terms(limit, per, "configured")


def make_bucket(limit, burst=0.25):
    """Return a bucket with this limit per minute."""
    bucket = LeakyBucket(burst)
    bucket.set_rate(make_terms(limit))
    return bucket


async def tokens(bucket, until):
    """Take one token after another until a time, and return the times of all tokens."""
    times = []
    while now() < until:
        await bucket.take_token()
        times.append(now())
    return [time for time in times if time < until]


@pytest.mark.parametrize("burst", [0.001, 0.25, 1.0])
@pytest.mark.parametrize("limit", [1, 7, 60, 1000])
@virtual
async def test_it_is_even_from_the_start(limit, burst):
    """Tokens arrive at equal intervals. A new bucket has no saved tokens."""
    times = await tokens(make_bucket(limit, burst), 3 * PER)

    gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert times[0] == 0
    assert gaps == pytest.approx([PER / limit] * (3 * limit - 1), rel=1e-3)


@pytest.mark.parametrize("burst", [0.1, 0.25, 0.5])
@virtual
async def test_a_stall_is_caught_up_at_twice_the_pace(burst):
    """After a long stall, up to ``burst`` of the limit is caught up, at twice the pace."""
    bucket = make_bucket(600, burst)
    await tokens(bucket, 10.0)
    await asyncio.sleep(PER)
    begin = now()
    times = [time - begin for time in await tokens(bucket, begin + PER)]

    gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
    fast = [gap for gap in gaps if gap < 0.075]
    # While missed tokens are caught up, the same number of regular tokens arrives.
    assert len(fast) == pytest.approx(2 * burst * 600, abs=3)
    assert max(fast) == pytest.approx(0.05, rel=0.01)
    assert len(times) == pytest.approx((1 + burst) * 600, abs=3)
    assert gaps[len(fast) + 1 :] == pytest.approx([0.1] * (len(gaps) - len(fast) - 1), rel=0.01)


@virtual
async def test_a_short_stall_is_caught_up_completely():
    """A late caller loses no tokens if it missed no more tokens than ``burst`` of the limit."""
    bucket = make_bucket(600)
    begin = await tokens(bucket, 10.0)
    await asyncio.sleep(8.0)
    times = begin + await tokens(bucket, 30.0)

    assert len(times) == pytest.approx(300, abs=2)
    assert most_in_any(times, 1.0) <= 21


@pytest.mark.parametrize("limit", [1, 3])
@virtual
async def test_a_small_limit_catches_up_at_least_one(limit):
    """At least one missed token can be taken late, even if ``burst`` of the limit is below one."""
    bucket = make_bucket(limit)
    await bucket.take_token()
    await asyncio.sleep(10 * PER)
    begin = now()
    waits = []
    for _ in range(3):
        await bucket.take_token()
        waits.append(now() - begin)

    assert waits == pytest.approx([0, PER / limit, 2 * PER / limit], rel=0.01)


@pytest.mark.parametrize("limits", [(600, 601), (600, 300), (10, 1000)])
@virtual
async def test_a_change_of_the_rate_gives_no_burst(limits):
    """Even if the rate changes often, there are no more tokens than the faster rate allows.

    Otherwise all tokens of each new bucket could be taken immediately.
    """
    bucket = LeakyBucket(0.25)
    times = []
    for limit in itertools.islice(itertools.cycle(limits), 300):
        bucket.set_rate(make_terms(limit))
        times += await tokens(bucket, now() + 0.1)

    fastest = max(limits)
    assert len(times) <= now() * fastest / PER + 1
    assert most_in_any(times, 1.0) <= fastest / PER + 1


@virtual
async def test_the_same_terms_change_nothing():
    """Setting the same rate again, any number of times, does not remove a token."""
    bucket, terms = LeakyBucket(0.25), make_terms(60)
    times = []
    while now() < PER:
        bucket.set_rate(terms)
        await bucket.take_token()
        times.append(now())

    assert len(times) in (60, 61)


@virtual
async def test_a_change_counts_at_once():
    """After a change of the rate, the next token arrives at the new rate."""
    bucket = make_bucket(60)
    await tokens(bucket, 5.0)
    bucket.set_rate(make_terms(6))
    begin = now()
    waits = [time - begin for time in await tokens(bucket, begin + 35)]

    assert waits == pytest.approx([10, 20, 30], abs=0.01)


@pytest.mark.parametrize("limit", [1, 60, 1000])
@virtual
async def test_has_token_says_whether_a_token_takes_no_time(limit):
    """``has_token()`` says whether a token is available now, even while catching up."""
    bucket = LeakyBucket(0.25)
    said = []
    for number in range(60):
        if number % 20 == 0:  # set the first rate, and later other rates
            bucket.set_rate(make_terms(limit + number))
        if number % 20 == 10:
            await asyncio.sleep(2 * PER)
        said.append(bucket.has_token())
        begin = now()
        await bucket.take_token()
        assert said[-1] == (now() == begin)

    assert [said[0], said[10], said[20], said[30], said[40]] == [True, True, False, True, False]


@virtual
async def test_after_a_refusal_nothing_is_caught_up_for_ten_windows():
    """After a refusal, stalls are not caught up for ten windows, because the limit may be lower."""
    bucket, terms = make_bucket(60), make_terms(60)
    await bucket.take_token()
    bucket.stop_catching_up()
    for until, gap in ((1.0, 1.0), (10 * PER, 0.5)):
        await asyncio.sleep(until - now())
        bucket.set_rate(terms)
        await bucket.take_token()
        await asyncio.sleep(20.0)
        await bucket.take_token()
        stalled_until = now()
        await bucket.take_token()
        assert now() - stalled_until == pytest.approx(gap)


@virtual
async def test_before_the_first_rate_nothing_can_be_stopped():
    """A refusal before the first rate is set does not prevent later tokens."""
    bucket = LeakyBucket(0.25)
    bucket.stop_catching_up()
    bucket.set_rate(make_terms(60))

    assert await tokens(bucket, 3.5) == pytest.approx([0, 1, 2, 3])
