"""A sandbox in a thread, for commands and processes that bring an event loop of their own."""

import asyncio
import threading
from contextlib import contextmanager


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
    assert ready.wait(20)
    try:
        yield sandbox
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
