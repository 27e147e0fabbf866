"""What limiters of several processes promise together: real stores, a real server that counts."""

import asyncio
import itertools
import json
import sys
from contextlib import asynccontextmanager
from pathlib import Path

from support.clock import most_in_any, until

import cekat_async
from cekat_async.sandbox import Quota, Sandbox

from .conftest import RedisStore

WALKER = Path(__file__).parent / "walker.py"
WALKERS = 3
REQUESTS, PER = 60, 1.2


def sandbox_of(conversations):
    """Return a server that says nothing of its quota: only the budget keeps to it."""
    quota = Quota(REQUESTS, PER, "sliding", headers=None, retry_after="fraction")
    return Sandbox(conversations, inboxes=1, quota=quota)


@asynccontextmanager
async def walkers(store, sandbox):
    """Run processes that each walk all conversations, with a client and a limiter of its own."""
    place = [store.kind, store.place, sandbox.base_url, sandbox.api_key]
    processes = [
        await asyncio.create_subprocess_exec(
            *map(str, [sys.executable, WALKER, *place, REQUESTS, PER, 1 / WALKERS]),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PYTHONPATH": str(Path(cekat_async.__file__).parent.parent)},
        )
        for _ in range(WALKERS)
    ]
    try:
        for process in processes:
            assert await process.stdout.readline() == b"ready\n"
        for process in processes:
            process.stdin.write(b"go\n")
        yield processes
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def results(processes):
    """Return the ids that each process found, and what each had to say."""
    outputs = await asyncio.gather(*(process.communicate() for process in processes))
    return [json.loads(out) for out, _ in outputs], [err.decode() for _, err in outputs]


async def test_processes_share_a_quota(store):
    """Processes with one budget use 90 % of a quota at least, and none is ever refused."""
    async with sandbox_of(48) as sandbox, walkers(store, sandbox) as processes:
        found, said = await results(processes)

        times = [seen.time for seen in sandbox.log.requests]
        assert sandbox.log.refused == 0
        assert all(len(set(ids)) == len(ids) == 48 for ids in found)
        used = (len(times) - 1) / (times[-1] - times[0])
        assert used >= 0.9 * REQUESTS / PER
        assert said == [""] * WALKERS


async def test_processes_go_on_when_the_store_is_killed(server):
    """When Redis is killed, the walks pause, go on at their shares to the end, and none is refused.

    The pause is as long as what was sent before it stands in a window.
    """
    server.start()
    async with sandbox_of(36) as sandbox, walkers(RedisStore(server), sandbox) as processes:
        await until(lambda: len(sandbox.log.requests) >= REQUESTS)
        server.kill()
        found, said = await results(processes)

        times = [seen.time for seen in sandbox.log.requests]
        assert sandbox.log.refused == 0
        assert all(len(set(ids)) == len(ids) == 36 for ids in found)
        pause, resumed = max((b - a, b) for a, b in itertools.pairwise(times))
        assert PER < pause < 2 * PER
        alone = [time for time in times if time >= resumed]
        assert most_in_any(alone, PER) <= WALKERS * (REQUESTS // WALKERS)
        assert (len(alone) - 1) / (alone[-1] - alone[0]) > 0.8 * REQUESTS / PER
        for text in said:
            assert text.count("the shared budget is away (redis://") == 1
            assert "going on with 33% of the limit" in text
