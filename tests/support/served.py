"""Sandboxes as tests use them: in a thread, or without waiting for requests that hang."""

import asyncio
import itertools
import threading
from contextlib import asynccontextmanager, contextmanager

from support.clock import skip, until


@contextmanager
def served(sandbox):
    """Run a sandbox for as long as this is entered."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve():
        async with sandbox:
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(300)
    try:
        yield sandbox
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


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
