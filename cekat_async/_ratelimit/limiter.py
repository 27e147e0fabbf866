"""The limiter. Requests queue here, and ``scheduler.py`` decides when each may be sent."""

from __future__ import annotations

import asyncio
import logging
import math
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet

from cekat_async._api.dates import parse_retry_after
from cekat_async._api.status import PAUSES_ALL, SERVICE_UNAVAILABLE
from cekat_async._ratelimit.clock import time_now
from cekat_async._ratelimit.event_loop import EventLoopGuard
from cekat_async._ratelimit.leaky_bucket import LeakyBucket
from cekat_async._ratelimit.pause import (
    LONG_PAUSE,
    PausableWaits,
    Pause,
    build_pause_error,
    find_pause,
    set_resumes_at,
)
from cekat_async._ratelimit.scheduler import Scheduler
from cekat_async._ratelimit.server.outcome import read_outcome
from cekat_async._ratelimit.server.refusals import RefusalKind
from cekat_async._ratelimit.shared_budget import SHARED_PAUSE, BudgetWithFallback
from cekat_async._ratelimit.slot import Slot
from cekat_async._ratelimit.snapshot import take_snapshot
from cekat_async._ratelimit.unlimited import Unlimited
from cekat_async.config import RateLimit, require_share
from cekat_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cekat_async._api.replies import Reply
    from cekat_async._ratelimit.pause import PauseListener
    from cekat_async._ratelimit.sent_log import Permit
    from cekat_async._ratelimit.server.outcome import Outcome
    from cekat_async._ratelimit.shared_budget import SharedBudget
    from cekat_async._ratelimit.snapshot import LimiterSnapshot
    from cekat_async.errors import APIStatusError

__all__ = ["Limiter"]

_log = logging.getLogger("cekat_async")

T = TypeVar("T")

_SERVER_PAUSE = "the server asks for a pause"
_DAY_USED_UP = "the daily quota is used up"
_USED_UP = "the quota is used up"


class Limiter:
    """Paces the requests of one client, or of several clients that share a quota.

    A client makes its own limiter from its ``rate_limit``. To share a quota among several clients
    of one event loop, make one limiter and pass it to each: ``CekatClient(rate_limit=limiter)``. To
    share a quota with other processes, give the limiter a budget from :mod:`cekat_async.budgets`.

    Args:
        rate_limit: The most requests to send. With ``None``, the limiter waits only for the pauses
            that the server asks for. Default: ``RateLimit()``.
        budget: A budget that counts the requests of all processes that share the quota. Default: no
            budget.
        share: The fraction of the rate, above 0 and at most 1, that this process uses while the
            budget is unavailable. The share also applies for two windows at the start, after
            an outage, and after more than one window without requests. The share of the limit is
            rounded down to whole requests, but is at least one request per window. The shares of
            all processes should not add up to more than 1. Default 0.5.

    Raises:
        ConfigurationError: An argument is wrong.

    Examples:
        >>> limiter = Limiter(RateLimit(requests=100))
        >>> async with CekatClient(rate_limit=limiter) as client:
        ...     page = await client.conversations.page()
        >>> limiter.snapshot().sent
        1
    """

    def __init__(
        self,
        rate_limit: RateLimit | None = RateLimit(),  # noqa: B008 - frozen values
        *,
        budget: SharedBudget | None = None,
        share: float = 0.5,
    ) -> None:
        self._scheduler = _build_scheduler(rate_limit)
        self._budget = self._build_budget(budget, require_share("share", share))
        self._pause = Pause((rate_limit or RateLimit()).longest_hold)
        self._waits = PausableWaits(self._pause)
        # The limiter reports each pause to the hooks of its clients. The references are weak,
        # because a client may never be closed.
        self.pause_listeners = WeakSet["PauseListener"]()
        self._event_loop = EventLoopGuard("limiter")
        # The task that has this lock is the first in the queue. All other tasks wait for the lock.
        self._first_in_queue = asyncio.Lock()
        self._bucket = LeakyBucket((rate_limit or RateLimit()).burst)
        self._queued = 0
        # The slot that the first queued task waits for, and the timeout that can end that wait.
        self._awaited = Slot(0.0)
        self._wakeup: asyncio.Timeout | None = None
        self._sent = 0

    def snapshot(self) -> LimiterSnapshot:
        """Return the present state: the limit, how much of it is used, waits and pauses.

        Examples:
            >>> cekat.limiter.snapshot().limit
            300
        """
        return take_snapshot(
            self._scheduler, self._pause, time_now(), waiting=self._queued, sent=self._sent
        )

    def get_pause_time(self) -> float:
        """Return the total seconds of the server's pauses so far.

        Examples:
            >>> cekat.limiter.get_pause_time()
            0.0
        """
        return self._pause.get_server_time(time_now())

    async def acquire(self, deadline: float = math.inf, pauses: float = math.inf) -> Permit:
        """Wait until a request may be sent, and return its permit. First come, first served.

        After the request, the caller must call :meth:`observe` or :meth:`observe_failure`.

        Args:
            deadline: The latest time until which the caller can wait, on the event loop's clock.
            pauses: The most seconds of server pauses that the caller can wait.

        Raises:
            RateLimitError: A pause lasts longer than the caller can wait or than
                ``RateLimit.longest_hold``. The same error is raised if the wait is too long because
                ``RateLimit.per_day`` is used up or other clients have used up the quota. Any other
                wait continues until the caller ends it at the deadline.
            ConfigurationError: The limiter is in use in another event loop.
        """
        self._event_loop.check()
        if not self._queued and self._budget is None:
            # If no other task waits, a request that is due now need not queue.
            slot, now = self._get_slot()
            if slot.at <= now and (not slot.paced or self._bucket.has_token()):
                if slot.paced:
                    await self._bucket.take_token()
                return self._grant(slot, now)
        self._queued += 1
        try:
            wait = partial(self._wait_in_queue, deadline)
            return await self._waits.run(wait, deadline, pauses)
        finally:
            self._queued -= 1
            self._note_idle(time_now())

    async def wait_unless_paused(
        self, wait: Callable[[], Awaitable[T]], deadline: float, pauses: float
    ) -> T:
        """Return the result of ``wait``. A long pause ends it with an error, as in :meth:`acquire`.

        Args:
            wait: A function that returns the awaitable.
            deadline: The latest time until which the caller can wait, on the event loop's clock.
            pauses: The most seconds of server pauses that the caller can wait.
        """
        return await self._waits.run(wait, deadline, pauses)

    def observe(self, permit: Permit, reply: Reply) -> RefusalKind | None:
        """Learn from the reply to a request. Return the reason if the server refused the request.

        Args:
            permit: The permit that :meth:`acquire` returned for the request.
            reply: The reply.
        """
        now, scheduler, before = time_now(), self._scheduler, self._scheduler.terms
        outcome = read_outcome(reply, scheduler.server_per, trusts_headers=scheduler.trusts_server)
        scheduler.observe(permit, outcome, now)
        if (terms := scheduler.terms) != before:
            _log.debug("the limit is now %d in %g s (%s), it was %d in %g s (%s)", *terms, *before)
        if outcome.refusal in {RefusalKind.QUOTA, RefusalKind.PAUSE}:
            self._bucket.stop_catching_up()
        self._pause_if_asked(reply, outcome)
        self._wake_first(now)
        return outcome.refusal

    def observe_failure(self, *, sent: bool) -> None:
        """Record that a request got no reply.

        Args:
            sent: Whether the request may have been sent.
        """
        now = time_now()
        self._scheduler.settle(now, sent=sent)
        self._wake_first(now)

    def set_resumption(
        self, error: APIStatusError, deadline: float = math.inf, left: float = math.inf
    ) -> None:
        """Set ``resumes_at`` on an error if the call cannot wait until the end of its pause.

        After a 429 or a 503, the pause concerns all requests. Otherwise it concerns only this call.

        Args:
            error: The error.
            deadline: The time at which the call ends, on the event loop's clock.
            left: The remaining seconds of ``Timeout.request``.
        """
        now = time_now()
        is_for_all = error.status in PAUSES_ALL
        seconds = self._pause.get_rest(now) if is_for_all else error.retry_after or 0.0
        limit = self._pause.find_limit_before(now + seconds, deadline, left, now)
        if seconds and limit:
            set_resumes_at(error, seconds, limit)

    async def _wait_in_queue(self, deadline: float) -> Permit:
        async with self._first_in_queue:
            return await self._wait_as_first(deadline)

    async def _wait_as_first(self, deadline: float) -> Permit:
        """Wait until the first request in the queue may be sent, and return its permit."""
        has_token = False
        while True:
            slot, now = self._get_slot()
            if slot.at > now:
                limit = self._pause.find_limit_before(slot.at, deadline, math.inf, now)
                if slot.exhausted and limit:
                    raise build_pause_error(_USED_UP, slot.at - now, limit)
                # A reply also ends this wait if it makes the slot earlier.
                until = None if slot.at == math.inf else slot.at
                await self._wait_unless_woken(
                    slot, asyncio.get_running_loop().create_future(), until
                )
            elif slot.paced and not has_token:
                has_token = await self._wait_unless_woken(slot, self._bucket.take_token())
            elif self._budget is None:
                return self._grant(slot, now)
            elif seconds := await self._budget.take():
                await asyncio.sleep(seconds)
            else:
                # A pause may have begun while the budget was being asked.
                slot, now = self._get_slot()
                if slot.at <= now:
                    return self._grant(slot, now)

    async def _wait_unless_woken(
        self, slot: Slot, wait: Awaitable[object], until: float | None = None
    ) -> bool:
        """Await ``wait`` until a time or a wake-up. Return whether ``wait`` was completed."""
        self._awaited, self._wakeup = slot, asyncio.timeout_at(until)
        try:
            async with self._wakeup:
                await wait
        except TimeoutError:
            return False
        finally:
            self._wakeup = None
        return True

    def _get_slot(self) -> tuple[Slot, float]:
        now = time_now()
        if self._pause.until > now:
            return Slot(self._pause.until), now
        slot = self._scheduler.next_slot(now)
        if slot.paced:
            self._bucket.set_rate(self._scheduler.terms)
        return slot, now

    def _grant(self, slot: Slot, now: float) -> Permit:
        self._sent += 1
        return self._scheduler.take(slot, now)

    def _wake_first(self, now: float) -> None:
        """Wake the first task in the queue if its slot is earlier than before."""
        # This check is much cheaper than a useless wake-up.
        if self._wakeup is not None and not self._wakeup.expired():
            slot, now = self._get_slot()
            # If the task waits for a token, its slot is due, so only an unpaced slot is earlier.
            is_early = slot.at < self._awaited.at
            if is_early if self._awaited.at > now else slot.at <= now and not slot.paced:
                self._wakeup.reschedule(now)
        self._note_idle(now)

    def _note_idle(self, now: float) -> None:
        if not self._queued and not self._scheduler.in_flight:
            self._scheduler.note_idle(now)

    def _pause_if_asked(self, reply: Reply, outcome: Outcome) -> None:
        """Pause all requests if the reply asks for a pause or reports a used-up daily quota."""
        for one in outcome.reported:
            if one.remaining == 0 and one.reset and one.is_long:
                self._pause_everybody(one.reset, _DAY_USED_UP)
        if outcome.refusal is not None:
            in_a_row, per = self._scheduler.refusals.in_a_row, self._scheduler.terms.per
            self._pause_everybody(find_pause(outcome, in_a_row, per), _SERVER_PAUSE)
        elif reply.status == SERVICE_UNAVAILABLE:
            self._pause_everybody(parse_retry_after(reply.headers) or 0.0, _SERVER_PAUSE)

    def _pause_everybody(self, seconds: float, reason: str) -> None:
        """Pause the requests of this process, and of all processes that share the budget."""
        self._pause_all(seconds, reason)
        if self._budget and seconds > 0:
            self._budget.announce_pause(seconds)

    def _pause_all(self, seconds: float, reason: str) -> None:
        """Pause all requests of this process, because the server asks for a pause."""
        self._pause.count_server_time(seconds, time_now())
        self._begin_pause(seconds, reason)

    def _pause_for_budget(self, seconds: float, reason: str) -> None:
        # Either the server asked another process for a pause, or the budget is unavailable.
        pause = self._pause_all if reason == SHARED_PAUSE else self._begin_pause
        pause(seconds, reason)

    def _begin_pause(self, seconds: float, reason: str) -> None:
        now = time_now()
        # Several requests in flight may be refused together. They cause only one pause.
        is_new = seconds > 0 and self._pause.until <= now
        if is_new:
            is_usual = reason in {_SERVER_PAUSE, SHARED_PAUSE} and seconds <= LONG_PAUSE
            level = logging.INFO if is_usual else logging.WARNING
            _log.log(level, "%s: pausing all requests for %g s", reason, round(seconds, 2))
        self._pause.extend(seconds, reason, now)
        self._waits.end_those_too_short()
        for listener in [*self.pause_listeners] if is_new else ():
            listener.pause_begun(seconds, reason)

    def _build_budget(self, budget: SharedBudget | None, share: float) -> BudgetWithFallback | None:
        if budget is None:
            return None
        if not isinstance(self._scheduler, Scheduler):
            raise ConfigurationError("a shared budget needs a rate_limit: pass a RateLimit")
        if not all(hasattr(budget, name) for name in ("take", "pause")):
            raise ConfigurationError(f"budget must be a SharedBudget, not {budget!r}")
        return BudgetWithFallback(budget, share, self._scheduler, self._pause_for_budget)


def _build_scheduler(rate_limit: RateLimit | None) -> Scheduler | Unlimited:
    if rate_limit is None:
        return Unlimited()
    if not isinstance(rate_limit, RateLimit):
        raise ConfigurationError(
            f"rate_limit must be a RateLimit, a Limiter or None, not {rate_limit!r}"
        )
    return Scheduler(rate_limit)
