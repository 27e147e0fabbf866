"""Concurrency: how many requests of one client may be under way at once."""

from __future__ import annotations

import asyncio

__all__ = ["ConcurrencyLimit"]


class ConcurrencyLimit:
    """A request is sent inside of ``async with``, and waits there until another one has ended.

    Args:
        most: How many requests may be under way at once.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._slots = asyncio.Semaphore(most)

    async def __aenter__(self) -> None:
        await self._slots.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._slots.release()
