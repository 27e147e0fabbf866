"""Pages to the checkpoint while others are on their way: as many at once as have come meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Saver"]

T = TypeVar("T")


class Saver(Generic[T]):
    """Saves what it is given, in order. At a calm pace each by itself, and else in batches.

    Args:
        save: Makes a batch durable.
        most: How many may wait for it, before who gives more has to wait as well.
    """

    def __init__(self, save: Callable[[list[T]], Awaitable[None]], most: int) -> None:
        self._save = save
        self._most = most
        self._waiting: list[T] = []
        self._saving: asyncio.Task[None] | None = None

    async def put(self, item: T) -> None:
        """Give it something to save, and raise what saving has failed with."""
        self._waiting.append(item)
        if self._saving is None or self._saving.done():
            self._begin()
        if len(self._waiting) >= self._most and self._saving is not None:
            await asyncio.wait([self._saving])

    async def end(self) -> None:
        """Return when all is saved, although one is cancelled meanwhile.

        After a failure nothing more is saved, and the failure is raised.
        """
        cancelled: asyncio.CancelledError | None = None
        while self._saving is not None:
            try:
                await asyncio.wait([self._saving])
            except asyncio.CancelledError as error:
                cancelled = error
            else:
                self._begin()
        if cancelled is not None:
            raise cancelled

    def _begin(self) -> None:
        """Take the next batch, if there is one and the last one did not fail."""
        if self._saving is not None:
            # One that failed stays, so that nothing is ever saved behind the gap that it left.
            self._saving.result()
        self._saving = asyncio.create_task(self._save_all()) if self._waiting else None

    async def _save_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            await self._save(batch)
