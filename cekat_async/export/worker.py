"""A thread for everything that blocks, so that a slow disk never stops the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from cekat_async.export.sinks.base import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Worker", "report_until_done", "wait_until_done"]

_SECONDS_BETWEEN_INTERRUPTS = 0.1
_SECONDS_BETWEEN_REPORTS = 0.25

P = ParamSpec("P")
T = TypeVar("T")


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
        return await self._do(lambda: work(*args, **kwargs), self._stop.set)

    async def do_interruptibly(self, work: Callable[[], T], interrupt: Callable[[], object]) -> T:
        """Do the same, but interrupt the work after a cancellation.

        Args:
            work: The work, whose long steps ``interrupt`` can end.
            interrupt: Makes the current step raise, if it can. It is called in a thread of its
                own, several times a second until the work has ended, because the next step may be
                a long one, too.
        """
        ended = threading.Event()

        def run() -> T:
            try:
                return work()
            finally:
                ended.set()

        def stop() -> None:
            if not self._stop.is_set():  # one thread, however often the task is cancelled
                self._stop.set()
                interrupting = partial(_interrupt_until, ended, interrupt)
                threading.Thread(target=interrupting, daemon=True).start()

        return await self._do(run, stop)

    async def _do(self, work: Callable[[], T], on_cancel: Callable[[], object]) -> T:
        job = asyncio.get_running_loop().run_in_executor(self._pool, work)
        try:
            return await wait_until_done(job, on_cancel)
        finally:
            self._stop.clear()

    def end(self) -> None:
        """Let the thread end."""
        self._pool.shutdown(wait=False)


def _interrupt_until(ended: threading.Event, interrupt: Callable[[], object]) -> None:
    while not ended.is_set():
        interrupt()
        ended.wait(_SECONDS_BETWEEN_INTERRUPTS)


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


async def report_until_done(task: asyncio.Task[T], report: Callable[[], object]) -> T:
    """Return the result of a task, and call ``report`` several times a second until then.

    An error of ``report`` or a cancellation cancels the task, and is raised after that has ended.
    """
    try:
        while not task.done():
            await asyncio.wait([task], timeout=_SECONDS_BETWEEN_REPORTS)
            if not task.done():
                report()
    except BaseException:
        task.cancel()
        # How the cancelled task ends does not matter: the error that cancelled it is raised.
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await wait_until_done(task, task.cancel)
        raise
    return task.result()
