"""One request after another, at even distances. The one file that imports aiolimiter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiolimiter import AsyncLimiter

if TYPE_CHECKING:
    from cekat_async._ratelimit.scheduler import Terms

__all__ = ["LeakyBucket"]

# One per cent of the limit may be sent at once, which makes up for waking late.
_BURSTS = 100


class LeakyBucket:
    """A leaky bucket whose rate may change while it is in use, for one waiter at a time.

    aiolimiter lets a later caller overtake a waiter that is waking up, so the limiter keeps its own
    queue, and only the first in it waits here.
    """

    def __init__(self) -> None:
        self._terms: Terms | None = None
        self._bucket = AsyncLimiter(1)
        self._debt = 0.0

    def set_rate(self, terms: Terms) -> None:
        """Let requests pass at this rate from now on."""
        if terms is self._terms:
            return
        size = max(1, terms.limit // _BURSTS)
        # The rate of a bucket is fixed, so a new one replaces it. That one begins empty: a rate
        # that changes all the time must not allow a burst each time.
        self._debt = size if self._terms else 0.0
        self._bucket = AsyncLimiter(size, size * terms.per / terms.limit)
        self._terms = terms

    def has_token(self) -> bool:
        """Whether :meth:`take_token` would return at once."""
        return not self._debt and self._bucket.has_capacity()

    async def take_token(self) -> None:
        """Wait for the next token, and take it."""
        debt, self._debt = self._debt, 0.0
        if debt:
            await self._bucket.acquire(debt)
        await self._bucket.acquire()
