"""A small part of the matrix of ``benchmarks/bench_quota.py``.

It uses model servers on a virtual clock with the real pipeline, and the sandbox over sockets.
"""

import asyncio
from contextlib import aclosing

import pytest
from support.effort import EFFORT
from support.quota_model import Cell, run

from cekat_async import CekatClient, RateLimit, Timeout
from cekat_async.sandbox import Quota, Sandbox

pytestmark = pytest.mark.once

# The length of the run. In the first period, the quota of the previous period may be used as well.
PERIODS = 10 if EFFORT > 1 else 4
WINDOWS = ["fixed", "phase", "first hit", "sliding", "large bucket"]
HONEST = ["X-RateLimit", "RateLimit"]


@pytest.mark.parametrize("window", [*WINDOWS, "small bucket"])
@pytest.mark.parametrize("trip", [0.02, 1.0, "jittered"])
def test_alone_without_headers(window, trip):
    """Without headers, 98 % of the quota is used in any window and no request is refused."""
    outcome = run(Cell(window, "none", 60, trip, 8, "alone"), "cekat_async", PERIODS)

    assert outcome.used >= 0.98
    # a bucket of two may refuse once, if requests take half a second on the way
    assert outcome.refused <= (window == "small bucket")


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("headers", HONEST)
@pytest.mark.parametrize("limit", [60, 300] if EFFORT > 1 else [60])
def test_alone_with_honest_headers(window, headers, limit):
    """With headers and no settings, 98 % of the quota is used and no request is refused."""
    outcome = run(Cell(window, headers, limit, 0.15, 8, "alone"), "cekat_async", PERIODS)

    assert outcome.used >= 0.98
    assert outcome.refused == 0


@pytest.mark.parametrize("headers", [*HONEST, "too much"])
@pytest.mark.parametrize("workers", [8, 32])
def test_a_small_bucket_refuses_one_burst_at_most(headers, workers):
    """If a bucket is smaller than it seems, the server may refuse the requests in flight, once."""
    outcome = run(
        Cell("small bucket", headers, 300, 0.15, workers, "alone"), "cekat_async", PERIODS
    )

    assert outcome.used >= 0.97
    assert outcome.refused <= workers


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("headers", ["too much", "nothing left"])
def test_wrong_headers_cost_nothing(window, headers):
    """If headers report too much, or always 0, the client neither stops nor is refused."""
    outcome = run(Cell(window, headers, 60, 0.15, 8, "alone"), "cekat_async", PERIODS)

    assert outcome.used >= 0.98
    assert outcome.refused == 0


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("strangers", ["30 %", "70 %"])
def test_next_to_strangers(window, strangers):
    """Strangers get what they want, and the client gets the rest.

    Together they use 97 %, with one 429 per period.
    """
    outcome = run(Cell(window, "X-RateLimit", 300, 0.15, 8, strangers), "cekat_async", PERIODS)

    assert outcome.used >= 0.97
    assert outcome.refused <= PERIODS


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("limit", [60, 300, 1000] if EFFORT > 1 else [60, 1000])
def test_fifty_pages_on_an_idle_key(window, limit):
    """An idle quota is used as fast as without a limiter, except for the first round trip."""
    cell = Cell(window, "X-RateLimit", limit, 0.15, 8, "alone")

    ours = run(cell, "cekat_async", 1).at_50
    bare = run(cell, "backoff only", 1).at_50

    assert ours <= 1.05 * bare + cell.mean_trip


@pytest.mark.parametrize("headers", ["x-ratelimit", "ratelimit-combined", None])
async def test_over_sockets(headers):
    """With real servers and shorter periods, no window is too full, and nothing is refused."""
    windows = ["fixed", "first_hit", "sliding", "bucket"]
    # run concurrently, because most of the time is waiting
    walks = await asyncio.gather(*(over_sockets(window, headers) for window in windows))

    assert dict(zip(windows, walks, strict=True)) == dict.fromkeys(windows, (70, 0, 0))


async def over_sockets(window, headers):
    """Return the result of a walk.

    Also return how many requests its server and its client counted as refused.
    """
    quota = Quota(30, per=0.75, window=window, headers=headers)
    async with (
        Sandbox(conversations=70, quota=quota) as sandbox,
        CekatClient(
            sandbox.api_key, base_url=sandbox.base_url, rate_limit=RateLimit(30, per=0.75)
        ) as client,
    ):
        found = [item.id async for item in client.conversations.list(page_size=1)]
        return len(found), sandbox.log.refused, client.limiter.snapshot().refused


async def test_over_sockets_next_to_a_stranger():
    """A stranger uses the same quota. Both make progress, and the walk is complete."""
    quota = Quota(40, per=1.0, window="sliding", retry_after="fraction", reset_as="epoch_ms")
    async with (
        Sandbox(conversations=80, quota=quota) as sandbox,
        CekatClient(
            sandbox.api_key,
            base_url=sandbox.base_url,
            rate_limit=RateLimit(40, per=1.0),
            timeout=Timeout(deadline=60),
        ) as client,
    ):
        found: list[str] = []
        async with aclosing(client.conversations.list(page_size=1)) as listing:
            async for item in listing:
                found.append(item.id)
                if len(found) % 4 == 0:
                    sandbox.take(1)

    assert len(set(found)) == 80


async def test_several_clients_share_one_limiter():
    """Two clients with one limiter keep to one rate together, and have the same snapshot."""
    async with Sandbox(conversations=50, quota=None) as sandbox:
        first = CekatClient(
            sandbox.api_key, base_url=sandbox.base_url, rate_limit=RateLimit(20, per=0.5)
        )
        second = CekatClient(sandbox.api_key, base_url=sandbox.base_url, rate_limit=first.limiter)
        async with first, second:
            pages = (client.conversations.page(limit=1) for client in [first, second] * 25)
            await asyncio.gather(*pages)
            assert second.limiter.snapshot().sent == 50

    assert sandbox.log.most_in_any(0.45) <= 20
