"""Prefetches pages. Tasks fetch pages into a bounded queue, and a generator yields them.

A generator must not keep a task group open during a ``yield``, because a failure in the group would
cancel the caller. So one separate task does all the work. That task may open a task group, and it
ends before the generator ends.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

__all__ = ["BoundedQueue", "prefetched"]

T = TypeVar("T")


class BoundedQueue(Generic[T]):
    """A bounded queue between several producers and one consumer.

    Args:
        ahead: The number of items that the queue may contain before the consumer asks for them.
            With 0, a producer puts one item into the queue, and continues only when the consumer
            asks for another.
    """

    def __init__(self, ahead: int) -> None:
        self._items = deque[T]()
        self._places = asyncio.Semaphore(ahead)
        self._news = asyncio.Event()
        self._ended = False
        self._error: BaseException | None = None

    async def put(self, item: T) -> None:
        """Add an item, and return when the producer may fetch the next item."""
        self._items.append(item)
        self._news.set()
        await self._places.acquire()

    def end(self, error: BaseException | None = None) -> None:
        """End the queue. The consumer gets ``error`` after the last item."""
        self._ended, self._error = True, error
        self._news.set()

    def make_room(self) -> None:
        """Let one producer continue, because the consumer asks for another item."""
        # The queue calls this method when the consumer asks for an item, not when it takes one.
        # Otherwise the producer would fetch an item that the consumer has not asked for.
        self._places.release()

    def __aiter__(self) -> BoundedQueue[T]:
        return self

    async def __anext__(self) -> T:
        if self._items:
            # Let other tasks run, because a caller that never awaits would delay the next request.
            await asyncio.sleep(0)
            return self._items.popleft()
        while not self._items and not self._ended:
            self._news.clear()
            await self._news.wait()
        if self._items:
            return self._items.popleft()
        if (error := self._error) is None:
            raise StopAsyncIteration
        self._error = None  # break the cycle: the traceback references the queue
        raise error


async def prefetched(
    work: Callable[[BoundedQueue[T]], Awaitable[None]], ahead: int
) -> AsyncGenerator[T, None]:
    """Yield the items that ``work`` puts into a queue while the caller uses earlier items.

    When the generator ends, the work has ended too, even if the generator ends early, by an error
    or by a cancellation. If the work fails, the generator yields all earlier items and then raises
    the error.

    Args:
        work: Fetches items and puts them into the queue. It is cancelled when the generator ends.
        ahead: The same number as in :class:`BoundedQueue`.
    """
    queue = BoundedQueue[T](ahead)
    task = asyncio.ensure_future(work(queue))
    # This is a callback, because a callback runs even if the work is cancelled before its first
    # step.
    task.add_done_callback(partial(_end_queue, queue))
    try:
        async for item in queue:
            yield item
            queue.make_room()
    finally:
        await _cancel_and_wait(task)


def _end_queue(queue: BoundedQueue[T], task: asyncio.Future[None]) -> None:
    """End a queue, with the error of its work if there is one."""
    if task.cancelled():
        # Code other than the generator cancelled the work, so this must not look like the end of
        # the listing.
        queue.end(asyncio.CancelledError())
    else:
        queue.end(task.exception())


async def _cancel_and_wait(task: asyncio.Future[Any]) -> None:
    """Cancel a task and wait until it has ended, even if the caller is cancelled."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        task.cancel()
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if not task.cancelled():
        task.exception()  # so that asyncio does not report it
    if cancelled is not None:
        raise cancelled
