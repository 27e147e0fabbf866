"""Sends requests at even intervals. This is the only file that imports aiolimiter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from aiolimiter import AsyncLimiter

from cekat_async._ratelimit.clock import time_now

if TYPE_CHECKING:
    from cekat_async._ratelimit.server.limit_estimate import Terms

__all__ = ["LeakyBucket"]

# ``_CATCH_UP``: the bucket catches up at this multiple of the even pace. A higher multiple could
# exceed an undocumented limit per second. ``_PATIENCE``: after a refusal, the bucket does not catch
# up for this many windows.
_CATCH_UP, _PATIENCE = 2, 10


class LeakyBucket:
    """A leaky bucket for one waiter at a time. Its rate may change while a task waits.

    aiolimiter lets a later caller overtake a waiter that is waking up. The limiter therefore keeps
    its own queue, and only the first in that queue waits here.

    Args:
        burst: The fraction of the limit that requests may catch up after a time without requests,
            for example because the event loop was blocked.
    """

    def __init__(self, burst: float) -> None:
        self._burst = burst
        self._terms: Terms | None = None
        self._even_until = -math.inf
        self._is_even = False
        self._size, self._interval = 1, 0.0
        self._pace = self._peak = AsyncLimiter(1)
        self._is_new = True
        self._last_at = -math.inf

    def set_rate(self, terms: Terms) -> None:
        """Use the rate of ``terms`` from now on."""
        is_even = time_now() < self._even_until
        if terms is self._terms and is_even == self._is_even:
            return
        # The rate of an aiolimiter bucket is fixed, so a new bucket replaces the old one.
        self._terms, self._is_even, self._is_new = terms, is_even, True
        self._size = 1 if is_even else max(1, int(terms.limit * self._burst))
        self._interval = 1 / terms.rate
        self._pace = AsyncLimiter(self._size, self._size * self._interval)
        self._peak = AsyncLimiter(1, self._interval / _CATCH_UP)

    def stop_catching_up(self) -> None:
        """Stop catching up for some windows, because the server may allow less after a refusal."""
        if self._terms is not None:
            self._even_until = time_now() + _PATIENCE * self._terms.per

    def has_token(self) -> bool:
        """Whether :meth:`take_token` would return without waiting."""
        return self._pace.has_capacity(self._get_debt() + 1) and self._peak.has_capacity()

    async def take_token(self) -> None:
        """Wait for the next token, and take it."""
        debt, self._is_new = self._get_debt(), False
        if debt:
            await self._pace.acquire(debt)
        await self._peak.acquire()
        await self._pace.acquire()
        self._last_at = time_now()

    def _get_debt(self) -> float:
        """Return the number of tokens that a new bucket must leak before its first token is free.

        A new bucket starts full, because otherwise every change of the rate would allow a burst.
        Its first token is available one interval after the last token of the old bucket.
        """
        if not self._is_new:
            return 0.0
        return self._size - min(1.0, (time_now() - self._last_at) / self._interval)
