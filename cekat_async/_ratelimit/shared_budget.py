"""Shares one quota among several processes, with a fallback while the budget is unavailable.

An outage of the budget usually affects all processes, but a process notices the outage only at its
next request. That request may be an hour later. A process has two modes. In the mode *alone*, the
process uses only its share, and the budget does not count its requests. In the mode *whole*, the
budget counts every request. At least one window must pass between the last request of any process
in one mode and the first request of any process in the other. Only waiting can ensure this:

- A process switches to *alone* after one window without an answer from the budget, plus the longest
  time that an answer may take.
- A process switches to *whole* when the budget has answered for a long enough time. By then, no
  process is alone, and none was alone within the last window. Until then, the process asks the
  budget, but also uses only its share. This restriction applies at the start, after an outage, and
  after an idle time, because there may have been an outage.

With these rules, no window exceeds the limit under two conditions: an outage affects all processes
or none, and the budget stays available for at least three windows after an outage. If only some
processes lose the budget, the others cannot notice it. A window may then exceed the limit by the
shares of these processes.

The processes also share the rates that they learn. With each take, a process sends the rate that
its own replies have shown. The answer contains the rate that was learned last by any process. A
process that has learned nothing sends no rate, so that a new process does not overwrite a learned
rate.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Protocol

import msgspec

from cekat_async._ratelimit.clock import time_now
from cekat_async._ratelimit.server.learned_rate import LearnedRate
from cekat_async.errors import CekatError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cekat_async._ratelimit.server.limit_estimate import Terms

__all__ = ["SHARED_PAUSE", "BudgetAnswer", "BudgetWithFallback", "SharedBudget"]

SHARED_PAUSE = "the server asked another process to pause"
"""The reason for a pause that another process has announced."""

_log = logging.getLogger("cekat_async")

# These constants count windows, except ``_MOST_LATE`` (grants) and ``_AT_ONCE`` (seconds).
#
# The budget counts a request when it is granted, but the server counts it later, after a varying
# delay. The window is therefore lengthened by this fraction, which costs the same fraction of the
# quota.
_MARGIN = 1 / 60
# Half of the margin is for the budget's answer. A grant that takes longer is dropped, and the
# process asks again.
_LATE = _MARGIN / 2
# After more consecutive late grants than this, the budget counts as unavailable.
_MOST_LATE = 3
# The longest wait for an answer. The guarantee above holds only because this wait is bounded.
_PATIENCE = 1 / 4
# While alone, the process tries to reach the budget at this interval. During an attempt, it sends
# no requests.
_RETRY_INTERVAL = 1 / 2
# When the budget is available again, other processes stay alone until their next attempt ends. One
# window after that, the requests that they sent alone no longer count. The last quarter of a window
# is for slow requests.
_SETTLING = _RETRY_INTERVAL + _PATIENCE + 1 + 1 / 4
# If the previous failure was longer ago than this, a failure counts as a new outage.
_MEMORY = 2
# No wait is longer than this, because a window without a take would look like an idle time.
_LONGEST_WAIT = 1 / 2
# If no reply confirms a learned rate for this many of its windows, the rate is dropped. The number
# must be more than 16, because a limit that refusals lowered is raised again after 16 windows.
_FORGOTTEN_AFTER = 20
# If an answer changes the rate, the process asks again after this many seconds.
_AT_ONCE = 0.001


class BudgetAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The result of taking a request from a shared budget.

    Attributes:
        wait: 0 if the request was taken. Otherwise the seconds to wait before the next attempt.
        used: The number of requests that all processes have taken in the window that ends now,
            including this request.
        learned: The rate that was learned last by any process. ``None`` if there is none.
        paused_for: The seconds until the end of a pause that a process has announced; 0 without a
            pause. During a pause, no request can be taken.
    """

    wait: float
    used: int
    learned: LearnedRate | None = None
    paused_for: float = 0.0


class SharedBudget(Protocol):
    """Counts the requests of all processes that share a quota: see :mod:`cekat_async.budgets`.

    A budget also keeps the rate that was learned last, and the end of the pause. Implement this
    protocol to keep the counts in a store of your own.

    Examples:
        >>> class NoBudget:
        ...     async def take(self, requests, per, learned=None):
        ...         return BudgetAnswer(wait=0.0, used=1)
        ...     async def pause(self, seconds, learned=None):
        ...         pass
        >>> limiter = Limiter(budget=NoBudget())
    """

    async def take(
        self, requests: int, per: float, learned: LearnedRate | None = None
    ) -> BudgetAnswer:
        """Take one request from the budget, and return whether the budget granted it.

        The call should finish within a hundredth of ``per``. A later grant is not used, and the
        client asks again. If the call takes longer than a quarter of ``per``, the budget counts as
        unavailable.

        Args:
            requests: The most requests that all processes together may take in any ``per`` seconds.
            per: The length of the window in seconds.
            learned: The rate that the caller has learned from its own replies. The budget keeps
                this rate, unless it already has a more recent one. Default ``None``.

        Raises:
            OSError: The budget cannot be reached, does not answer in time, or has lost its counts.
        """
        ...

    async def pause(self, seconds: float, learned: LearnedRate | None = None) -> None:
        """Grant no requests to any process for some time. An earlier pause that ends later stays.

        Args:
            seconds: The length of the pause, from now.
            learned: The rate that the caller has learned from its own replies, as in :meth:`take`.

        Raises:
            OSError: The budget cannot be reached, or does not answer in time.
        """


class SharingScheduler(Protocol):
    """The methods of the scheduler that a shared budget uses."""

    terms: Terms

    @property
    def total_limit(self) -> int:
        """The limit per window for all processes together."""
        ...

    def set_share(self, share: float, now: float) -> None:
        """Use only this fraction of the limit from now on, above 0 and at most 1."""

    def get_learned(self, now: float) -> LearnedRate | None:
        """Return the latest rate that this process's own replies have shown.

        Return ``None`` if these replies have not shown any rate. A default rate, a configured rate,
        or a rate adopted from other processes does not count. The rate may exceed the caller's own
        :class:`RateLimit`.
        """

    def adopt(self, rate: LearnedRate | None, now: float) -> None:
        """Use a rate that another process has learned, but at most the caller's own limit.

        With ``None``, return to the rate that this process has learned by itself. The budget calls
        this method after every take. A call with the same rate as before must be cheap.
        """

    def note_used_by_all(self, count: int, now: float) -> None:
        """Record how many requests all processes have taken in the window that ends now."""


class BudgetWithFallback:
    """Asks the shared budget before each request, and continues alone while it is unavailable.

    Only one task may ask at a time: the first in the limiter's queue.

    While the process is alone, the scheduler uses only ``share``, a fraction of the limit. The
    number of requests is rounded down, but never to zero. So if there are more processes than
    requests per window, they exceed the limit together.
    """

    def __init__(
        self,
        budget: SharedBudget,
        share: float,
        scheduler: SharingScheduler,
        pause: Callable[[float, str], None],
    ) -> None:
        self._budget = budget
        self._share = share
        self._scheduler = scheduler
        self._pause = pause
        self._announcer = _PauseAnnouncer(budget, scheduler)
        self._is_unavailable = False
        self._late_grants = 0
        self._answered_at = self._failed_at = -math.inf
        # The times at which this process may switch to *alone*, and back to *whole*.
        self._alone_at, self._whole_at = math.inf, math.inf
        # The time at which the adopted rate becomes too old.
        self._forgotten_at = math.inf

    def announce_pause(self, seconds: float) -> None:
        """Tell the other processes, in the background, that the server asked for a pause."""
        self._announcer.announce(seconds, _PATIENCE * self._scheduler.terms.per)

    async def take(self) -> float:
        """Return 0 if a request may be sent, otherwise the seconds to wait before asking again."""
        if (now := time_now()) > self._forgotten_at:
            self._adopt(None, now)
        if self._is_alone():
            return 0.0
        per = self._scheduler.terms.per
        try:
            async with asyncio.timeout(_PATIENCE * per):
                wait = await self._ask()
        except OSError as error:
            return self._record_failure(str(error) or "no answer in time")
        if not 0 <= wait < math.inf:
            return self._record_failure(f"it asks to wait for {wait} s")
        self._record_answer()
        return min(wait, _LONGEST_WAIT * per)

    async def _ask(self) -> float:
        """Take a request. Drop late grants, and raise an error after several in a row."""
        while self._late_grants <= _MOST_LATE:
            asked_at, per = time_now(), self._scheduler.terms.per
            wait = await self._ask_once(asked_at)
            if wait:
                return wait
            if time_now() - asked_at <= _LATE * per:
                self._late_grants = 0
                return 0.0
            self._late_grants += 1
        # With this count, a single late grant makes the next attempt fail.
        self._late_grants = _MOST_LATE
        raise TimeoutError("its grants arrive too late")

    async def _ask_once(self, now: float) -> float:
        """Take a request, adopt the rate and the pause of other processes, and return the wait."""
        scheduler = self._scheduler
        requests, per = asked = scheduler.total_limit, scheduler.terms.per
        news = scheduler.get_learned(now)
        answer = await self._budget.take(requests, per + _MARGIN * per, news)
        if not isinstance(answer, BudgetAnswer):
            raise ConfigurationError(f"a budget must return a BudgetAnswer, not {answer!r}")
        now = time_now()
        scheduler.note_used_by_all(answer.used, now)
        # If our limit has changed in the meantime, our replies are newer than the answer's rate.
        if (scheduler.total_limit, scheduler.terms.per) == asked:
            is_own = news and answer.learned and _is_same(news, answer.learned)
            self._adopt(None if is_own else answer.learned, now)
        # A pause with a short remaining time may be this process's own. Waiting for its end is then
        # enough.
        if answer.paused_for > _LATE * per:
            self._pause(answer.paused_for, SHARED_PAUSE)
        limit, window = scheduler.total_limit, scheduler.terms.per
        if (limit, window) == asked:
            return answer.wait
        # The budget computed the wait for the old rate. A grant counts only if it fits the new rate
        # too.
        is_within = answer.used <= limit and window <= per
        return 0.0 if not answer.wait and is_within else _AT_ONCE

    def _adopt(self, rate: LearnedRate | None, now: float) -> None:
        """Use a rate that another process has learned, unless the rate is outdated."""
        if rate is not None and rate.age > _FORGOTTEN_AFTER * rate.per:
            rate = None
        lasts = math.inf if rate is None else _FORGOTTEN_AFTER * rate.per - rate.age
        self._forgotten_at = now + lasts
        self._scheduler.adopt(rate, now)

    def _is_alone(self) -> bool:
        now = time_now()
        retries_at = self._failed_at + _RETRY_INTERVAL * self._scheduler.terms.per
        return self._is_unavailable and self._alone_at <= now < retries_at

    def _record_failure(self, reason: str) -> float:
        """Pause all requests if the outage is new. Return the seconds until *alone* begins."""
        now, per = time_now(), self._scheduler.terms.per
        is_new = not self._is_unavailable or now - self._failed_at > _MEMORY * per
        self._is_unavailable, self._failed_at = True, now
        if is_new:
            seconds = per + _PATIENCE * per
            self._alone_at = now + seconds
            self._scheduler.set_share(self._share, now)
            part = f"{self._share:.0%} of the limit"
            reason = f"the shared budget is unavailable ({reason}), continuing with {part}"
            self._pause(seconds, reason)
        return max(0.0, self._alone_at - now)

    def _record_answer(self) -> None:
        now, per = time_now(), self._scheduler.terms.per
        if self._is_unavailable:
            _log.warning("the shared budget is available again")
        if self._is_unavailable or now - self._answered_at > per:
            self._is_unavailable = False
            self._whole_at = now + _SETTLING * per
            self._scheduler.set_share(self._share, now)
        elif now >= self._whole_at:
            self._whole_at = math.inf
            self._scheduler.set_share(1.0, now)
        self._answered_at = now


def _is_same(one: LearnedRate, other: LearnedRate) -> bool:
    return (one.requests, one.per) == (other.requests, other.per)


class _PauseAnnouncer:
    """Announces pauses to a budget, from one task at a time."""

    def __init__(self, budget: SharedBudget, scheduler: SharingScheduler) -> None:
        self._budget = budget
        self._scheduler = scheduler
        self._until = self._announced_until = -math.inf
        self._task: asyncio.Task[None] | None = None

    def announce(self, seconds: float, patience: float) -> None:
        """Announce a pause that begins now. Each attempt takes at most ``patience`` seconds."""
        self._until = max(self._until, time_now() + seconds)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(patience))

    async def _run(self, patience: float) -> None:
        # This is a loop, because several refusals often arrive together, and each may extend the
        # pause.
        while self._announced_until < self._until:
            until, now = self._until, time_now()
            try:
                async with asyncio.timeout(patience):
                    await self._budget.pause(until - now, self._scheduler.get_learned(now))
            except (OSError, CekatError) as error:
                # The next take notices the outage and logs it.
                _log.debug("the pause was not announced: %s", error)
                return
            self._announced_until = until
