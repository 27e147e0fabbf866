"""One Cekat client for each process of a program that is not asynchronous.

The client runs in an event loop in its own thread, and every other thread can use the client.
"""

import asyncio
import atexit
import os
import tempfile
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from cekat_async import CekatClient, Limiter, Timeout
from cekat_async.budgets import FileBudget

T = TypeVar("T")


@asynccontextmanager
async def open_client() -> AsyncGenerator[CekatClient]:
    """Open a client. All processes with the same budget file share one quota."""
    path = os.environ.get("CEKAT_BUDGET_FILE") or Path(tempfile.gettempdir(), "cekat.sqlite")
    async with FileBudget(path) as budget:
        # If the file cannot be used, each of four processes uses a quarter of the quota.
        limiter = Limiter(budget=budget, share=0.25)
        async with CekatClient(rate_limit=limiter, timeout=Timeout(deadline=120)) as cekat:
            yield cekat


class CekatLoop:
    """Runs async functions with the client of this process.

    The loop starts nothing before its first use, so a server may create it and then fork.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._client: Future[tuple[asyncio.AbstractEventLoop, CekatClient]] | None = None
        self._process = 0

    def run(self, function: Callable[[CekatClient], Coroutine[Any, Any, T]]) -> T:
        """Call ``function(client)`` in the event loop, and wait for its result."""
        loop, cekat = self._get_client().result()
        running = asyncio.run_coroutine_threadsafe(function(cekat), loop)
        try:
            return running.result()
        except BaseException:
            running.cancel()  # for example, Celery's soft time limit interrupted the wait
            raise

    def _get_client(self) -> Future[tuple[asyncio.AbstractEventLoop, CekatClient]]:
        with self._lock:
            if self._client is None or self._process != os.getpid():
                self._client, self._process = Future(), os.getpid()
                arguments = (self._keep_open(self._client),)
                threading.Thread(target=asyncio.run, args=arguments, daemon=True).start()
            return self._client

    async def _keep_open(
        self, client: Future[tuple[asyncio.AbstractEventLoop, CekatClient]]
    ) -> None:
        loop, is_over, is_closed = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

        def close() -> None:
            loop.call_soon_threadsafe(is_over.set)
            is_closed.wait(timeout=5)

        try:
            async with open_client() as cekat:
                client.set_result((loop, cekat))
                atexit.register(close)
                await is_over.wait()
        except Exception as error:  # noqa: BLE001 - it is raised by run()
            client.set_exception(error)
        finally:
            is_closed.set()
