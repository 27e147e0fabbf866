"""One request after another, at even distances. The one file that knows aiolimiter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiolimiter import AsyncLimiter

if TYPE_CHECKING:
    from cekat_async._ratelimit.turn import Terms

__all__ = ["LeakyBucket"]

# One per cent of the limit may go at once, which makes up for waking late.
_BURSTS = 100


class LeakyBucket:
    """A leaky bucket whose rate may change while it is in use, for one waiter at a time.

    aiolimiter lets whoever comes while the first in line wakes go before it, so that the line is
    kept elsewhere, and only the first in it waits here.
    """

    def __init__(self) -> None:
        self._terms: Terms | None = None
        self._bucket = AsyncLimiter(1)
        self._debt = 0.0

    def keep_to(self, terms: Terms) -> None:
        """From now on let out as many requests as the terms say."""
        if terms is self._terms:
            return
        size = max(1, terms.limit // _BURSTS)
        # Its rate is fixed when it is made, so that another takes its place. That one begins with
        # nothing to give away: a rate that changes all the time must not allow a burst each time.
        self._debt = size if self._terms else 0.0
        self._bucket = AsyncLimiter(size, size * terms.per / terms.limit)
        self._terms = terms

    def has_token(self) -> bool:
        """Whether :meth:`token` would return at once."""
        return not self._debt and self._bucket.has_capacity()

    async def token(self) -> None:
        """Wait for the next place in the pace, and take it."""
        debt, self._debt = self._debt, 0.0
        if debt:
            await self._bucket.acquire(debt)
        await self._bucket.acquire()
