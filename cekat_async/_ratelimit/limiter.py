"""The limiter of a client: lets requests out one after another, as soon as their turn has come.

What decides is pure and stands in ``_pace``; here it is waited for.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING

import msgspec

from cekat_async._api.messages import (
    PAUSES_ALL,
    SERVICE_UNAVAILABLE,
    TOO_MANY_REQUESTS,
    retry_after,
)
from cekat_async._ratelimit.clock import time_now
from cekat_async._ratelimit.event_loop import EventLoopGuard
from cekat_async._ratelimit.headers import statements
from cekat_async._ratelimit.leaky_bucket import LeakyBucket
from cekat_async._ratelimit.pause import Pause, refusal, write_resumption
from cekat_async._ratelimit.scheduler import Scheduler, is_long
from cekat_async._ratelimit.shared_budget import Sharing
from cekat_async._ratelimit.turn import Slot
from cekat_async._ratelimit.unlimited import Unlimited
from cekat_async.config import RateLimit, require_share
from cekat_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from cekat_async._api.messages import Reply
    from cekat_async._ratelimit.headers import QuotaStatement
    from cekat_async._ratelimit.sent_log import Permit
    from cekat_async._ratelimit.shared_budget import SharedBudget
    from cekat_async.errors import APIStatusError

__all__ = ["Limiter", "LimiterSnapshot"]

_log = logging.getLogger("cekat_async")

# A pause of up to a minute is what a server with a quota per minute asks for.
_LONG_PAUSE = 60.0
_PAUSE = "the server asks for a pause"
_DAY_SPENT = "the quota of the day is spent"
_SPENT = "the quota is spent"


class LimiterSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """How a limiter stands at a moment.

    Attributes:
        limit: Requests in any ``per`` seconds that it believes to have; ``None`` without a pace.
        per: Those seconds.
        source: Why it believes so: ``"documented"`` (API.md), ``"configured"``, ``"stated"`` (the
            server's headers), ``"refusals"`` (it was refused, and probes), ``"unpaced"``.
        used: Requests of its own in the window that ends now.
        remaining: What the server last said is left, for all who share the quota; ``None`` if it
            did not say, or that holds no longer.
        under_way: Requests that have no reply yet.
        waiting: Requests that wait for their turn.
        next_in: Seconds until the next one may go, as far as is known; infinite if a reply has to
            come first.
        held_for: Seconds that are left of a hold; 0 without one.
        why_held: Why there is a hold; empty without one.
        sent: Requests so far.
        refused: How many of them were answered with a 429.
        earned: Requests that the limit would have let out since the first one.
    """

    limit: int | None
    per: float
    source: str
    used: int
    remaining: int | None
    under_way: int
    waiting: int
    next_in: float
    held_for: float
    why_held: str
    sent: int
    refused: int
    earned: float

    @property
    def share(self) -> float | None:
        """Which part of the limit is in use, from 0 to 1; ``None`` without a pace."""
        return None if self.limit is None else min(1.0, self.used / self.limit)


class Limiter:
    """The pace of one client, or of several clients that it is given to.

    A client makes its own from its ``rate_limit``. To let several clients of one event loop share
    a quota, make one and pass it to each, as ``CekatClient(rate_limit=limiter)``; to share it with
    other processes, give it a budget of :mod:`cekat_async.budgets`.

    Args:
        rate_limit: How many requests at most; ``None`` for no pace, but for the holds that the
            server asks for.
        budget: What counts the requests of all processes that share the quota.
        share: The part of the rate, above 0 and at most 1, that this process keeps to while the
            budget is away, for two periods in the beginning and after an outage, and after more
            than a period without requests; rounded down, but at least one request a period. The
            shares of all processes should not add up to more than 1. Default 0.5.

    Raises:
        ConfigurationError: An argument is wrong.
    """

    def __init__(
        self,
        rate_limit: RateLimit | None = RateLimit(),  # noqa: B008 - frozen values
        *,
        budget: SharedBudget | None = None,
        share: float = 0.5,
    ) -> None:
        self._pace = _pace(rate_limit)
        self._sharing = self._share(budget, require_share("share", share))
        self._hold = Pause((rate_limit or RateLimit()).longest_hold)
        self._event_loop = EventLoopGuard("limiter")
        # Who has it is the next to go, and does all the waiting; the others come after, in order.
        self._line = asyncio.Lock()
        self._even_pace = LeakyBucket()
        self._waits: dict[asyncio.Timeout, float] = {}
        # The turn that the first in line waits for, and what cuts that wait short.
        self._awaited = Slot(0.0)
        self._cut: asyncio.Timeout | None = None
        self._sent = 0

    def snapshot(self) -> LimiterSnapshot:
        """Return how it stands now."""
        now, pace = time_now(), self._pace
        held_for = self._hold.left(now)
        return LimiterSnapshot(
            limit=pace.terms.limit or None,
            per=pace.terms.per,
            source=pace.terms.source,
            used=pace.used(now),
            remaining=pace.remaining(now),
            under_way=pace.under_way,
            waiting=len(self._waits),
            next_in=max(held_for, pace.next(now).at - now, 0.0),
            held_for=held_for,
            why_held=self._hold.why if held_for else "",
            sent=self._sent,
            refused=pace.refused,
            earned=pace.earned(now),
        )

    async def acquire(self, deadline: float = math.inf) -> Permit:
        """Return when a request may go out: first come, first served.

        Whoever acquires must settle it, with :meth:`observe` or :meth:`lost`.

        Args:
            deadline: The time of the event loop's clock until which the caller can wait.

        Raises:
            RateLimitError: The quota is spent, or a hold is on, for longer than the caller can
                wait, or than ``RateLimit.longest_hold``.
            ConfigurationError: The limiter is at work in another event loop.
        """
        self._event_loop.check()
        if not self._waits and self._sharing is None:
            # Nobody is before us. What is due now needs none of the machinery of waiting.
            turn, now = self._next()
            if turn.at <= now and (not turn.paced or self._even_pace.has_token()):
                if turn.paced:
                    await self._even_pace.token()
                return self._let_out(turn, now)
        return await self._wait_in_line(deadline)

    def observe(self, permit: Permit, reply: Reply) -> None:
        """Settle a request that got a reply, whose status is what the verdict made of it."""
        said, before, now = statements(reply.headers), self._pace.terms, time_now()
        refused = reply.status == TOO_MANY_REQUESTS
        self._pace.answered(permit, said, now, refused=refused)
        if (terms := self._pace.terms) != before:
            _log.debug("the limit is %d in %g s now (%s), it was %d in %g s (%s)", *terms, *before)
        self._hold_as_asked(reply, said)
        self._settled(now)

    def lost(self, *, sent: bool) -> None:
        """Settle a request that got no reply; ``sent`` unless it certainly never went out."""
        now = time_now()
        self._pace.lost(now, sent=sent)
        self._settled(now)

    def explain(self, error: APIStatusError, deadline: float) -> None:
        """Set when to come back on a refusal whose pause is too long for the call.

        The pause is bounded by ``RateLimit.longest_hold`` whatever the status. After a 429 or a 503
        it holds for all requests; after any other status for the retry of this one.
        """
        now = time_now()
        is_for_all = error.status in PAUSES_ALL
        seconds = self._hold.left(now) if is_for_all else error.retry_after or 0.0
        if seconds and self._hold.is_too_late(now + seconds, deadline, now):
            write_resumption(error, seconds)

    async def _wait_in_line(self, deadline: float) -> Permit:
        """Wait for one's turn; fail as soon as a hold that outlasts ``deadline`` is on."""
        if not self._hold.outlasts(deadline, time_now()):
            # With no time set: a hold that comes on meanwhile sets one, and so ends the wait.
            wait = asyncio.timeout(None)
            try:
                async with wait:
                    self._waits[wait] = deadline
                    async with self._line:
                        return await self._wait_for_turn(deadline)
            except TimeoutError:
                pass  # told below, with the hold that ended it
            finally:
                self._waits.pop(wait, None)
                self._rest(time_now())
        raise refusal(self._hold.why, self._hold.left(time_now()))

    async def _wait_for_turn(self, deadline: float) -> Permit:
        """Wait, as the first in line, until a request may go, and let it out."""
        has_token = False
        while True:
            turn, now = self._next()
            if turn.at > now:
                if turn.spent and self._hold.is_too_late(turn.at, deadline, now):
                    raise refusal(_SPENT, turn.at - now)
                await self._wait_for(turn)
            elif turn.paced and not has_token:
                has_token = await self._unless_cut(turn, self._even_pace.token())
            elif self._sharing and (seconds := await self._sharing.take()):
                await asyncio.sleep(seconds)
            else:
                # While the budget was waited for, a hold may have begun.
                turn, now = self._next()
                if turn.at <= now:
                    return self._let_out(turn, now)

    async def _wait_for(self, turn: Slot) -> None:
        """Wait for a turn, or for the reply that brings it forward."""
        until = None if turn.at == math.inf else turn.at
        await self._unless_cut(turn, asyncio.get_running_loop().create_future(), until)

    async def _unless_cut(
        self, turn: Slot, wait: Awaitable[object], until: float | None = None
    ) -> bool:
        """Wait for something until a time, or until there is news; tell whether it came."""
        self._awaited, self._cut = turn, asyncio.timeout_at(until)
        try:
            async with self._cut:
                await wait
        except TimeoutError:
            return False
        finally:
            self._cut = None
        return True

    def _next(self) -> tuple[Slot, float]:
        now = time_now()
        if self._hold.until > now:
            return Slot(self._hold.until), now
        turn = self._pace.next(now)
        if turn.paced:
            self._even_pace.keep_to(self._pace.terms)
        return turn, now

    def _let_out(self, turn: Slot, now: float) -> Permit:
        self._sent += 1
        return self._pace.take(turn, now)

    def _settled(self, now: float) -> None:
        # Waking the first in line is dear, next to asking whether there is a reason.
        if self._cut is not None and not self._cut.expired():
            turn, now = self._next()
            # Who waits for a token had its turn; it is news to need none.
            is_early = turn.at < self._awaited.at
            if is_early if self._awaited.at > now else turn.at <= now and not turn.paced:
                self._cut.reschedule(now)
        self._rest(now)

    def _rest(self, now: float) -> None:
        if not self._waits and not self._pace.under_way:
            self._pace.rest(now)

    def _hold_as_asked(self, reply: Reply, said: Sequence[QuotaStatement]) -> None:
        """Hold everyone, if the reply asks for it or leaves nothing of the day."""
        for part in said:
            if part.remaining == 0 and part.reset and is_long(part):
                self._hold_all(part.reset, _DAY_SPENT)
        if reply.status == TOO_MANY_REQUESTS:
            asked = retry_after(reply.headers)
            self._hold_all(_reset(said, self._pace.terms.per) if asked is None else asked, _PAUSE)
        elif reply.status == SERVICE_UNAVAILABLE:
            self._hold_all(retry_after(reply.headers) or 0.0, _PAUSE)

    def _hold_all(self, seconds: float, why: str) -> None:
        now = time_now()
        # All that was under way may be refused too: that is one hold, and one warning.
        if seconds > 0 and self._hold.until <= now:
            is_usual = why == _PAUSE and seconds <= _LONG_PAUSE
            level = logging.INFO if is_usual else logging.WARNING
            _log.log(level, "%s: holding all requests for %g s", why, round(seconds, 2))
        self._hold.prolong(seconds, why, now)
        for wait, deadline in list(self._waits.items()):
            if self._hold.outlasts(deadline, now):
                del self._waits[wait]
                wait.reschedule(now)

    def _share(self, budget: SharedBudget | None, share: float) -> Sharing | None:
        if budget is None:
            return None
        if not isinstance(self._pace, Scheduler):
            raise ConfigurationError("a shared budget needs a rate_limit: None is no pace at all")
        return Sharing(budget, share, self._pace, self._hold_all)


def _pace(rate_limit: RateLimit | None) -> Scheduler | Unlimited:
    if rate_limit is None:
        return Unlimited()
    if not isinstance(rate_limit, RateLimit):
        raise ConfigurationError(
            f"rate_limit must be a RateLimit, a Limiter or None, not {rate_limit!r}"
        )
    return Scheduler(rate_limit)


def _reset(said: Sequence[QuotaStatement], otherwise: float) -> float:
    """Return the seconds until what is spent is there again, if a refusal says so."""
    spent = (part.reset for part in said if part.reset is not None and not part.remaining)
    return max(spent, default=otherwise)
