"""A thread for all blocking work, so that a slow disk never blocks the event loop."""

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
    """Runs one job after another in a thread. Each job runs to its end.

    Cancellation is delivered after the running job finishes, so no write outlives its caller.
    """

    def __init__(self) -> None:
        # The pool has one thread, so that a cancelled task's job ends before another job begins.
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cekat-export")
        self._stop = threading.Event()

    def check(self) -> None:
        """Raise :class:`Stopped` if the task that waits for this thread has been cancelled."""
        if self._stop.is_set():
            raise Stopped

    async def do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` in the thread. Return its result, or raise its exception."""
        return await self._do(lambda: work(*args, **kwargs), self._stop.set)

    async def do_interruptibly(self, work: Callable[[], T], interrupt: Callable[[], object]) -> T:
        """Run ``work`` like :meth:`do`, but interrupt it after a cancellation.

        Args:
            work: The function to run. ``interrupt`` can end its long steps.
            interrupt: A function that makes the current step raise an exception, if possible. It is
                called in another thread, several times a second until ``work`` has ended, because
                the next step may be long, too.
        """
        ended = threading.Event()

        def run() -> T:
            try:
                return work()
            finally:
                ended.set()

        def stop() -> None:
            if not self._stop.is_set():  # start only one thread, even after several cancellations
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
        """Let the running job finish, and then end the thread."""
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
        task: The task. Cancelling the caller does not cancel it.
        on_cancel: A function that is called at each cancellation.
    """
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
            on_cancel()
    if cancelled is not None:
        task.exception()  # otherwise asyncio would log that the exception was never retrieved
        raise cancelled
    return task.result()


async def report_until_done(task: asyncio.Task[T], report: Callable[[], object]) -> T:
    """Await a task, call ``report`` several times a second until it ends, and return its result.

    If ``report`` fails or the caller is cancelled, the task is cancelled. The error or cancellation
    is raised when the task has ended.
    """
    try:
        while not task.done():
            await asyncio.wait([task], timeout=_SECONDS_BETWEEN_REPORTS)
            if not task.done():
                report()
    except BaseException:
        task.cancel()
        # Ignore how the cancelled task ended, because the original error is raised.
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await wait_until_done(task, task.cancel)
        raise
    return task.result()
