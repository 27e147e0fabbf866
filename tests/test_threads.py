"""Clients in the event loops of several threads never mix their requests."""

import asyncio
import gc
import sys
import threading
import time
from contextlib import contextmanager

from cekat_async import CekatClient
from cekat_async.sandbox import Sandbox

THREADS = 3


@contextmanager
def threads_switch_while_headers_are_written():
    """Collect garbage at almost every allocation, and let other threads run in the meantime.

    A collection may run any code, such as callbacks of hypothesis, so another thread may run.
    """

    def let_others_run(phase, info):
        frame = sys._getframe(1)
        if frame.f_code.co_filename.endswith("http_writer.py"):
            time.sleep(0.000_5)

    before = gc.get_threshold()
    gc.callbacks.append(let_others_run)
    gc.set_threshold(1, 1000, 1000)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(let_others_run)


def test_requests_of_several_threads_do_not_mix():
    """Each request arrives at its own server, with its own cursor and key.

    aiohttp before 3.13 writes the headers of all threads into one buffer. If a walk sends the
    cursor of another thread's walk, it skips a page without an error.
    """
    found: dict[int, list[str]] = {}
    expected: dict[int, list[str]] = {}
    statuses: set[int | None] = set()

    async def walk(number):
        # The keys have the same length, so that a mixed request is still valid HTTP.
        key = f"the-key-of-thread-{number}"
        async with (
            Sandbox(200, seed=number, quota=None, api_key=key) as sandbox,
            CekatClient(key, base_url=sandbox.base_url, rate_limit=None) as client,
        ):
            expected[number] = [id_ for id_, _ in sandbox.records()]
            try:
                found[number] = [c.id async for c in client.conversations.list(page_size=5)]
            finally:
                statuses.update(seen.status for seen in sandbox.log.requests)

    threads = [
        threading.Thread(target=asyncio.run, args=(walk(number),)) for number in range(THREADS)
    ]
    with threads_switch_while_headers_are_written():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert found == expected
    assert statuses == {200}
