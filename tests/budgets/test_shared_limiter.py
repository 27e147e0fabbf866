"""Limiters in several processes, with real stores and a server that enforces its quota."""

import asyncio
import itertools
import json
from contextlib import asynccontextmanager

import pytest
from support.clock import until

from cekat_async.sandbox import Quota, Sandbox

from .conftest import RedisStore, start

WALKERS = 3
# A grant that is late by more than a hundredth of the period counts as lost, and a request that is
# late by more than a sixtieth may be refused. The period is so long that a hundredth of it suffices
# even on a busy machine.
REQUESTS, PER = 60, 8.0


def make_sandbox(conversations, granted=REQUESTS, headers=None):
    """Return a sandbox that reports its quota only if ``headers`` is given."""
    quota = Quota(granted, PER, "sliding", headers=headers, retry_after="fraction")
    return Sandbox(conversations, inboxes=1, quota=quota)


@asynccontextmanager
async def walkers(store, sandbox, count=WALKERS, share=1 / WALKERS):
    """Run processes that each walk all conversations with their own client and limiter."""
    arguments = [store.kind, store.place, sandbox.base_url, sandbox.api_key]
    arguments += [REQUESTS, PER, share]
    processes = await start(count, "walker.py", *arguments, stderr=asyncio.subprocess.PIPE)
    try:
        yield processes
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def results(processes):
    """Return the ids that each process found, and the standard error of each process."""
    outputs = await asyncio.gather(*(process.communicate() for process in processes))
    return [json.loads(out) for out, _ in outputs], [err.decode() for _, err in outputs]


@pytest.mark.once
async def test_processes_share_a_quota(store):
    """Processes that share one budget read whole listings, and the server refuses no request."""
    async with make_sandbox(24) as sandbox, walkers(store, sandbox) as processes:
        found, _ = await results(processes)

        assert len(sandbox.log.requests) > REQUESTS  # so at least one window had to end
        assert sandbox.log.refused == 0
        assert all(len(set(ids)) == len(ids) == 24 for ids in found)


@pytest.mark.once
async def test_processes_continue_when_the_store_is_killed(server):
    """If Redis is killed, walks pause, then continue at their share. No request is refused.

    The pause lasts until the earlier requests have left the window.
    """
    server.start()
    async with make_sandbox(16) as sandbox, walkers(RedisStore(server), sandbox) as processes:
        # One process alone sends more than 12 requests, so each process still has requests to send.
        await until(lambda: len(sandbox.log.requests) >= 12)
        server.kill()
        found, said = await results(processes)

        times = [seen.time for seen in sandbox.log.requests]
        assert sandbox.log.refused == 0
        assert all(len(set(ids)) == len(ids) == 16 for ids in found)
        assert max(b - a for a, b in itertools.pairwise(times)) > PER
        for text in said:
            # On a very busy machine, grants may already have been late, and then the loss is not
            # reported.
            assert text.count("the shared budget is unavailable (redis://") <= 1
            assert "continuing with 33% of the limit" in text


@pytest.mark.once
async def test_a_process_uses_the_limit_that_another_has_learned(store):
    """Processes that are configured with twice the limit obey it once one of them learned it.

    The first process uses up the quota, and the server reports the limit. The others have
    received no reply yet when they send their first requests.
    """
    granted = REQUESTS // 2
    async with (
        make_sandbox(granted, granted, "x-ratelimit") as sandbox,
        walkers(store, sandbox, 1, share=1) as first,
    ):
        await results(first)
        assert len(sandbox.log.requests) == granted
        async with walkers(store, sandbox, 2, share=1):
            await until(lambda: len(sandbox.log.requests) >= granted + 6)

        assert sandbox.log.refused == 0
