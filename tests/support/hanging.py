"""Requests that hang, without waiting for them."""

import asyncio
import itertools
from contextlib import asynccontextmanager

from support.clock import skip, until


@asynccontextmanager
async def hangs_skipped(sandbox, seconds):
    """Move the clock ahead by ``seconds`` whenever a request to the sandbox hangs."""

    def hangs():
        return sum(seen.fault == "hang" for seen in sandbox.log.requests)

    async def watch():
        for skipped in itertools.count():
            await until(lambda: hangs() > skipped)  # noqa: B023 - awaited before the next one
            skip(seconds)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait([watching])
