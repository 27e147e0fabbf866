"""Prefetch: tasks fetch ahead into a bounded queue, and a generator yields from it.

A generator must not keep a task group open over a ``yield``: a failure in the group would cancel
whatever the caller is doing. So all the work is in one task, which may have a group, and which
ends before the generator does.
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
    """A bounded queue between the tasks that fetch and the one consumer.

    Args:
        ahead: How many items may be put before the consumer wants them. With 0, each producer
            puts one item and continues when the consumer asks for another.
    """

    def __init__(self, ahead: int) -> None:
        self._items = deque[T]()
        self._places = asyncio.Semaphore(ahead)
        self._news = asyncio.Event()
        self._ended = False
        self._error: BaseException | None = None

    async def put(self, item: T) -> None:
        """Add an item, and return when the next one may be fetched."""
        self._items.append(item)
        self._news.set()
        await self._places.acquire()

    def end(self, error: BaseException | None = None) -> None:
        """End the queue. ``error`` is raised after the last item."""
        self._ended, self._error = True, error
        self._news.set()

    def make_room(self) -> None:
        """Let one producer continue, because the consumer asks for another item."""
        # Not when the consumer takes the item: a producer that it waits for continues at once.
        self._places.release()

    def __aiter__(self) -> BoundedQueue[T]:
        return self

    async def __anext__(self) -> T:
        if self._items:
            # A caller that never awaits anything would keep the next request from going out.
            await asyncio.sleep(0)
            return self._items.popleft()
        while not self._items and not self._ended:
            self._news.clear()
            await self._news.wait()
        if self._items:
            return self._items.popleft()
        if (error := self._error) is None:
            raise StopAsyncIteration
        self._error = None  # its traceback leads here: they would keep each other
        raise error


async def prefetched(
    work: Callable[[BoundedQueue[T]], Awaitable[None]], ahead: int
) -> AsyncGenerator[T, None]:
    """Yield what ``work`` puts into a queue while the caller works on earlier items.

    However the generator is left (at its end, early, by an error or a cancellation), the work has
    ended by then. An error of the work is raised after all items before it.

    Args:
        work: Fetches and puts. It is cancelled when the generator is left.
        ahead: How many items may be put before they are wanted.
    """
    queue = BoundedQueue[T](ahead)
    task = asyncio.ensure_future(work(queue))
    # A callback also notices that the work was cancelled before its first step.
    task.add_done_callback(partial(_end_queue, queue))
    try:
        async for item in queue:
            yield item
            queue.make_room()
    finally:
        await _cancel_and_wait(task)


def _end_queue(queue: BoundedQueue[T], task: asyncio.Future[None]) -> None:
    """End a queue in the way that its work has ended."""
    if task.cancelled():
        # Not by the generator. It must not look like the end of the listing.
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
