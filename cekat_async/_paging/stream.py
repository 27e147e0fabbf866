"""Streams: what tasks fetch ahead, handed to the caller one by one, in a generator.

A generator must not hold a task group open over a ``yield``: a failure in it would cancel whatever
the caller is doing. So all the work of a stream is one task of its own, which may hold as many as
it likes in a group, and which the generator always outlives.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

__all__ = ["BoundedQueue", "ended", "streamed"]

T = TypeVar("T")


class BoundedQueue(Generic[T]):
    """What waits between those who fetch and the one who takes.

    Args:
        ahead: How many items there may be that nobody has taken, before who puts one has to wait.
    """

    def __init__(self, ahead: int) -> None:
        self._items = deque[T]()
        # Taking gives its place back when it begins and not when it ends: so who fetches for a
        # caller that is waiting already goes on at once, and does not wait until that one has run.
        self._places = asyncio.Semaphore(ahead - 1)
        self._news = asyncio.Event()
        self._ended = False
        self._error: BaseException | None = None

    async def put(self, item: T) -> None:
        """Add an item, and return when the next one may be fetched."""
        self._items.append(item)
        self._news.set()
        await self._places.acquire()

    def end(self, error: BaseException | None = None) -> None:
        """Say that nothing more comes, and which error is to be raised behind the last item."""
        self._ended, self._error = True, error
        self._news.set()

    def __aiter__(self) -> BoundedQueue[T]:
        return self

    async def __anext__(self) -> T:
        self._places.release()
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


async def streamed(
    work: Callable[[BoundedQueue[T]], Awaitable[None]], ahead: int
) -> AsyncGenerator[T, None]:
    """Yield what ``work`` puts into a line while the caller is busy with what came before.

    However it is left (to its end, early, by an error or a cancellation), the work has ended by
    then. What the work raises is raised behind all items that came before it.

    Args:
        work: Fetches and puts; cancelled when the generator is left.
        ahead: How many items may wait.
    """
    line = BoundedQueue[T](ahead)
    task = asyncio.ensure_future(work(line))
    # As a callback it also tells of work that was cancelled before its first step.
    task.add_done_callback(partial(_tell, line))
    try:
        async for item in line:
            yield item
    finally:
        await ended(task)


def _tell(line: BoundedQueue[T], task: asyncio.Future[None]) -> None:
    """Tell a line how its work has ended."""
    if task.cancelled():
        # By somebody else than the stream: that must not look like the end of the listing.
        line.end(asyncio.CancelledError())
    else:
        line.end(task.exception())


async def ended(task: asyncio.Future[Any]) -> None:
    """Cancel a task, and return when it has ended, even if one is cancelled meanwhile.

    What it raised is taken notice of, and is of no interest.
    """
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        task.cancel()
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if not task.cancelled():
        task.exception()
    if cancelled is not None:
        raise cancelled
