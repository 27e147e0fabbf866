"""The pace of a client: how soon the next request may go out, and the holds the server asks for.

The one file that knows aiolimiter. The rest of the package sees :class:`Limiter`.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from aiolimiter import AsyncLimiter

from cekat_async._wire import retry_after
from cekat_async.errors import RateLimitError

if TYPE_CHECKING:
    from cekat_async._wire import Reply
    from cekat_async.config import RateLimit

__all__ = ["Limiter", "PacedLimiter", "UnpacedLimiter", "limiter_for"]

_log = logging.getLogger("cekat_async")

# Replies whose Retry-After speaks to everyone and not only to the request that met them.
_HOLDING = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


class Limiter(Protocol):
    """What stands directly before the wire: asked before each request, told of each reply."""

    async def acquire(self, deadline: float) -> None:
        """Return when a request may go out.

        Raises:
            RateLimitError: A hold outlasts ``deadline`` (a time of the event loop's clock).
        """

    def observe(self, reply: Reply) -> None:
        """Learn from a reply, whose status is what the verdict made of it."""


class UnpacedLimiter:
    """No pace of its own; only the holds that the server asks for."""

    def __init__(self, default_hold: float = 0.0) -> None:
        """Make one that holds for ``default_hold`` seconds after a 429 that does not say."""
        self._default_hold = default_hold
        self._held_until = 0.0
        self._queue: dict[asyncio.Timeout, float] = {}

    async def acquire(self, deadline: float) -> None:
        """Wait for a turn; fail as soon as a hold that outlasts ``deadline`` is on."""
        if not self._outlasts(deadline):
            # With no time set: a hold that comes on meanwhile sets one, and so ends the wait.
            wait = asyncio.timeout(None)
            try:
                async with wait:
                    self._queue[wait] = deadline
                    return await self._turn()
            except TimeoutError:
                pass
            finally:
                self._queue.pop(wait, None)
        raise self._refusal()

    def observe(self, reply: Reply) -> None:
        """Hold everyone when the reply asks for it."""
        if reply.status not in _HOLDING:
            return
        said = retry_after(reply.headers)
        fallback = self._default_hold if reply.status == HTTPStatus.TOO_MANY_REQUESTS else 0.0
        self._hold(fallback if said is None else said)

    async def _turn(self) -> None:
        """Wait until no hold is on. A hold may be prolonged while one waits for its end."""
        while (seconds := self._held_for()) > 0:  # noqa: ASYNC110 - sleeps to its end, polls not
            await asyncio.sleep(seconds)

    def _held_for(self) -> float:
        return self._held_until - asyncio.get_running_loop().time()

    def _outlasts(self, deadline: float) -> bool:
        return self._held_for() > 0 and self._held_until > deadline

    def _hold(self, seconds: float) -> None:
        # All that was in flight may be refused too: that is one hold, and one warning.
        if seconds > 0 >= self._held_for():
            _log.warning("the server asks for a pause: holding all requests for %.3g s", seconds)
        now = asyncio.get_running_loop().time()
        self._held_until = max(self._held_until, now + seconds)
        for wait in [wait for wait, deadline in self._queue.items() if self._outlasts(deadline)]:
            del self._queue[wait]
            wait.reschedule(now)

    def _refusal(self) -> RateLimitError:
        error = RateLimitError(
            "the server asked for a pause that outlasts the deadline: "
            f"{self._held_for():.0f} s are left of it",
            status=HTTPStatus.TOO_MANY_REQUESTS,
        )
        error.retry_after = self._held_for()
        return error


class PacedLimiter(UnpacedLimiter):
    """At most ``rate.requests`` in any window of ``rate.per`` seconds, and holds."""

    def __init__(self, rate: RateLimit) -> None:
        super().__init__(default_hold=rate.per)
        self._bucket = AsyncLimiter(*bucket(rate))

    async def _turn(self) -> None:
        """Wait until the pace allows one more request and no hold is on."""
        await super()._turn()
        await self._bucket.acquire()
        # The hold is looked at after the token is taken: it may have begun while one queued. The
        # token is then stale, as are those of everyone who queued; spent after the hold, together,
        # they would be a burst.
        while self._held_for() > 0:
            await super()._turn()
            await self._bucket.acquire()


def bucket(rate: RateLimit) -> tuple[float, float]:
    """Return the size of a leaky bucket and the seconds in which it drains, for ``rate``.

    A bucket of ``b`` that drains at ``r`` a second lets at most ``b + r * w`` requests into any
    window ``w``, so b + r * (per + jitter) must not exceed the limit. A small ``b`` keeps nearly
    all of the quota for the steady pace; 1 % of the limit makes up for late wake-ups.
    """
    size = max(1, rate.requests // 100)
    # How much closer together requests may arrive than they left: a quarter of a second, and for
    # scaled-down periods the same share of them.
    jitter = min(0.25, rate.per / 240)
    return size, size * (rate.per + jitter) / max(1, rate.requests - size)


def limiter_for(rate: RateLimit | None) -> Limiter:
    """Return the limiter for a rate; ``None`` switches pacing off, but not the server's holds."""
    return UnpacedLimiter() if rate is None else PacedLimiter(rate)
