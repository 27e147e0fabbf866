"""The client works on uvloop, which an app may choose."""

import asyncio
from contextlib import aclosing

import pytest
from support.clock import let_tasks_end
from support.parts import collect

from cekat_async import CekatClient, RateLimit
from cekat_async.sandbox import Quota, Sandbox

uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed")


def run(main) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def make_client(sandbox: Sandbox, **options) -> CekatClient:
    return CekatClient(sandbox.api_key, base_url=sandbox.base_url, **options)


@pytest.mark.parametrize("segments", [1, 4])
def test_a_walk_is_complete(segments):
    """Every conversation arrives once, and no task is left."""

    async def main() -> None:
        async with Sandbox(conversations=500, quota=None) as sandbox:
            async with make_client(sandbox, rate_limit=None) as client:
                found = await collect(client.conversations.list(page_size=10, segments=segments))
            assert sorted(item.id for item in found) == sorted(i for i, _ in sandbox.records())
            await let_tasks_end(but="aiohttp")

    run(main())


def test_it_can_be_left_at_any_item():
    """A walk that is left early ends its requests, and the client can still be used."""

    async def main() -> None:
        async with (
            Sandbox(conversations=100, quota=None) as sandbox,
            make_client(sandbox) as client,
        ):
            for wanted in range(1, 30, 7):
                async with aclosing(aiter(client.conversations.list(page_size=10))) as walk:
                    for _ in range(wanted):
                        await anext(walk)
            assert len(await client.conversations.page(limit=7)) == 7

    run(main())


@pytest.mark.once
def test_the_quota_is_kept():
    """No request is refused, although the loop's own clock changes per turn and in milliseconds."""

    async def main() -> None:
        quota = Quota(20, per=0.4, window="sliding")
        async with Sandbox(conversations=120, quota=quota) as sandbox:
            limit = RateLimit(20, per=0.4)
            async with make_client(sandbox, rate_limit=limit) as client:
                assert len(await collect(client.conversations.list(page_size=1))) == 120
            assert [seen.status for seen in sandbox.log.requests].count(429) == 0

    run(main())
