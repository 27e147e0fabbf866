"""A thread for all that blocks, so that a slow disk or database never stops the event loop."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Stopped", "Worker"]

P = ParamSpec("P")
T = TypeVar("T")


class Stopped(BaseException):
    """The export was cancelled: raised in the thread, where nothing else can end what it does.

    Like a cancellation it is no Exception, so that nobody takes it for a failure of theirs.
    """


class Worker:
    """Does one thing after the other in a thread, each to its end.

    Who is cancelled while something is being done is cancelled when that has ended: nothing is
    still being written behind their back.
    """

    def __init__(self) -> None:
        # Of one thread, so that what a cancelled task began ends before another thing begins.
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cekat-export")
        self._stop = threading.Event()

    def check(self) -> None:
        """Raise in the thread, if who waits for it has been cancelled."""
        if self._stop.is_set():
            raise Stopped

    async def do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``work`` returns, or raise what it raises."""
        doing = asyncio.get_running_loop().run_in_executor(
            self._pool, lambda: work(*args, **kwargs)
        )
        cancelled: asyncio.CancelledError | None = None
        while not doing.done():
            try:
                await asyncio.wait([doing])
            except asyncio.CancelledError as error:
                cancelled = error
                self._stop.set()
        self._stop.clear()
        if cancelled is not None:
            doing.exception()  # which is nobody's business any more
            raise cancelled
        return doing.result()

    def end(self) -> None:
        """Let the thread end."""
        self._pool.shutdown(wait=False)
