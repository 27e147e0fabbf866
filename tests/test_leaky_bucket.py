"""The even bucket, on the virtual clock, with the real aiolimiter behind it."""

import asyncio
import itertools

import pytest
from support.clock import most_in_any, now, virtual

from cekat_async._ratelimit.leaky_bucket import LeakyBucket
from cekat_async._ratelimit.scheduler import Terms

PER = 60.0


def make_terms(limit, per=PER):
    return Terms(limit, per, "configured")


async def tokens(bucket, until):
    """Return when tokens came, to one who always waits for the next, until a time."""
    times = []
    while now() < until:
        await bucket.take_token()
        times.append(now())
    return [time for time in times if time < until]


@pytest.mark.parametrize("limit", [1, 7, 60, 199])
@virtual
async def test_it_is_even(limit):
    """Below 200 requests a period, one comes after the other, at equal distances."""
    bucket = LeakyBucket()
    bucket.set_rate(make_terms(limit))
    times = await tokens(bucket, 3 * PER)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert times[0] == 0
    assert gaps == pytest.approx([PER / limit] * (3 * limit - 1), rel=1e-3)


@pytest.mark.parametrize("limit,burst", [(99, 1), (200, 2), (299, 2), (1000, 10)])
@virtual
async def test_a_hundredth_may_go_at_once(limit, burst):
    """A hundredth of the limit goes at once, after which it is even; the rate is kept."""
    bucket = LeakyBucket()
    bucket.set_rate(make_terms(limit))
    times = await tokens(bucket, PER)
    assert times.count(0) == burst
    assert most_in_any(times[burst:], PER / limit) <= 2
    assert len(times) in range(limit, limit + burst + 1)


@virtual
async def test_who_wakes_late_makes_up_for_it():
    """Who comes late has lost nothing, up to a hundredth of the limit, and no more comes of it."""
    bucket = LeakyBucket()
    bucket.set_rate(make_terms(600))
    await tokens(bucket, 10.0)
    await asyncio.sleep(30.0 - now())
    assert len(await tokens(bucket, 30.05)) == 6


@pytest.mark.parametrize("limits", [(600, 601), (600, 300), (10, 1000)])
@virtual
async def test_a_change_gives_no_burst(limits):
    """However often the terms change, no more comes than at the faster of them, and the first 1 %.

    Each time all of a new bucket would else be there to be taken at once.
    """
    bucket = LeakyBucket()
    times = []
    for limit in itertools.islice(itertools.cycle(limits), 300):
        bucket.set_rate(make_terms(limit))
        times += await tokens(bucket, now() + 0.1)
    fastest = max(limits)
    assert len(times) <= fastest // 100 + now() * fastest / PER + 1
    assert most_in_any(times[fastest // 100 :], 1.0) <= fastest / PER + fastest // 100 + 1


@virtual
async def test_the_same_terms_change_nothing():
    """To be told the same again takes nothing away, however often."""
    bucket, terms = LeakyBucket(), make_terms(60)
    times = []
    while now() < PER:
        bucket.set_rate(terms)
        await bucket.take_token()
        times.append(now())
    assert len(times) in (60, 61)


@virtual
async def test_a_change_is_kept_at_once():
    """After a change the next token comes at the new rate."""
    bucket = LeakyBucket()
    bucket.set_rate(make_terms(60))
    await tokens(bucket, 5.0)
    bucket.set_rate(make_terms(6))
    begin = now()
    waits = [time - begin for time in await tokens(bucket, begin + 35)]
    assert waits == pytest.approx([10, 20, 30], abs=0.01)


@pytest.mark.parametrize("limit", [1, 60, 1000])
@virtual
async def test_has_token_tells_the_truth(limit):
    """It says that a token is there if, and only if, waiting for one takes no time."""
    bucket = LeakyBucket()
    said = []
    for number in range(60):
        if number % 20 == 0:  # the first terms, and others
            bucket.set_rate(make_terms(limit + number))
        said.append(bucket.has_token())
        begin = now()
        await bucket.take_token()
        assert said[-1] == (now() == begin)
    assert [said[0], said[20], said[40]] == [True, False, False]
