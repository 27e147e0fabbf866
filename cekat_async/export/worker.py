"""A thread for everything that blocks, so that a slow disk never stops the event loop."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Stopped", "Worker", "wait_until_done"]

P = ParamSpec("P")
T = TypeVar("T")


class Stopped(BaseException):
    """The export was cancelled: raised in the thread to end the running job.

    Like a cancellation it is no Exception, so that nobody handles it as a failure.
    """


class Worker:
    """Runs one job after the other in a thread, each to its end.

    Cancellation is delivered after the running job finishes, so no write outlives its caller.
    """

    def __init__(self) -> None:
        # Of one thread, so that a cancelled task's job ends before another one begins.
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cekat-export")
        self._stop = threading.Event()

    def check(self) -> None:
        """Raise :class:`Stopped`, in the thread, if the waiting task has been cancelled."""
        if self._stop.is_set():
            raise Stopped

    async def do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``work`` returns, or raise what it raises."""
        job = asyncio.get_running_loop().run_in_executor(self._pool, lambda: work(*args, **kwargs))
        try:
            return await wait_until_done(job, self._stop.set)
        finally:
            self._stop.clear()

    def end(self) -> None:
        """Let the thread end."""
        self._pool.shutdown(wait=False)


async def wait_until_done(
    task: asyncio.Future[T], on_cancel: Callable[[], object] = lambda: None
) -> T:
    """Return the result of a task. A cancellation is raised only after the task has ended.

    Args:
        task: The task. A cancellation does not reach it.
        on_cancel: Called at each cancellation.
    """
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
            on_cancel()
    if cancelled is not None:
        task.exception()  # Otherwise asyncio would log that nobody retrieved it.
        raise cancelled
    return task.result()
