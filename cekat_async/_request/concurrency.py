"""Limits how many requests of one client may be in flight at the same time."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

from cekat_async._request.adaptive_limit import AdaptiveLimit

if TYPE_CHECKING:
    from cekat_async._request.adaptive_limit import Flight

__all__ = ["ConcurrencyLimit"]

_log = logging.getLogger("cekat_async")


class ConcurrencyLimit:
    """The slots for concurrent requests. Callers wait in order for a free slot.

    There are fewer slots while the server refuses ``most`` concurrent requests.

    Args:
        most: The most concurrent requests.
    """

    def __init__(self, most: int) -> None:
        self._limit = AdaptiveLimit(most)
        self._taken = self._in_flight = 0
        self._waiters = deque[asyncio.Future[None]]()

    @property
    def most(self) -> int:
        """The largest number of slots."""
        return self._limit.most

    @property
    def now(self) -> int:
        """The present number of slots."""
        return self._limit.now

    def take(self) -> bool:
        """Take a slot if one is free. Return whether it was taken."""
        # A released slot goes directly to a waiting task. So no task waits while a slot is free.
        if self._taken >= self.now:
            return False
        self._taken += 1
        return True

    async def wait(self) -> None:
        """Wait for a slot and take it."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._grant()
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():
                self.release()  # the slot was granted in the same iteration of the loop
            raise

    def release(self) -> None:
        """Release a slot."""
        self._taken -= 1
        self._grant()

    def depart(self) -> Flight:
        """Record that a request is sent. :meth:`arrive` must follow."""
        self._in_flight += 1
        return self._limit.depart(self._in_flight)

    def arrive(self, flight: Flight) -> None:
        """Record that a request has received its reply or failed."""
        flight.in_flight = max(flight.in_flight, self._in_flight)
        self._in_flight -= 1

    def succeed(self, flight: Flight) -> None:
        """Record that a request succeeded."""
        before = self.now
        self._limit.succeed(flight)
        if self.now != before:
            self._log_change(before)
            self._grant()

    def refuse(self, flight: Flight) -> None:
        """Record that a request was refused because too many were in flight."""
        before = self.now
        self._limit.refuse(flight)
        if self.now != before:
            self._log_change(before)

    def _grant(self) -> None:
        while self._waiters and self._taken < self.now:
            waiter = self._waiters.popleft()
            if not waiter.cancelled():
                self._taken += 1
                waiter.set_result(None)

    def _log_change(self, before: int) -> None:
        _log.debug("the limit of concurrent requests is %d now, it was %d", self.now, before)
