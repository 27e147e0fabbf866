"""One quota for several processes: a shared budget, and the fallback while it is unavailable.

An outage usually affects all processes. But each process notices it only at its next request, which
may be an hour later. A process has two modes. In the mode *alone*, it uses only its share, and the
budget does not count its requests. In the mode *whole*, the budget counts every request. Across all
processes, there must be at least one window between the two modes. Only time can ensure that:

- A process switches to *alone* after one window without an answer of the budget, plus the longest
  time that an answer may take.
- A process switches to *whole* when the budget has answered for a long enough time. By then no
  process is alone, or was alone within the last window. Until then the process asks the budget, but
  also uses only its share. This applies at the start, after an outage, and after an idle time,
  because there may have been an outage.

With these rules, no window exceeds the limit under two conditions. The budget is unavailable to all
processes or to none, and it stays available for at least three windows after an outage. If only one
process is disconnected, no process can notice that. Then a window may exceed the limit by the share
of this process.

The processes also share the rates that they learn. Each take passes on the rate that this process's
own replies have shown. The answer contains the rate that any process learned last. A process that
has learned nothing passes nothing on, so that a new process overwrites nothing.
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

# The unit of the following constants is a window, except for ``_MOST_LATE``.
#
# The budget counts a request when it is granted, but the server counts it later, after a varying
# delay. So the window is lengthened by this part, which costs the same part of the quota.
_MARGIN = 1 / 60
# Half of the margin is for the budget's answer. If a grant takes longer, it is dropped, and the
# process takes again.
_LATE = _MARGIN / 2
# After more consecutive late grants than this, the budget counts as unavailable.
_MOST_LATE = 3
# The longest wait for an answer. The guarantee above depends on such a bound.
_PATIENCE = 1 / 4
# While alone, the process tries to reach the budget at this interval. During an attempt, it sends
# no requests.
_RETRY_INTERVAL = 1 / 2
# When the budget is available again, other processes are alone until their next attempt ends. One
# window later, the requests that they sent alone have left the window. The last quarter of a window
# is for slow requests.
_SETTLING = _RETRY_INTERVAL + _PATIENCE + 1 + 1 / 4
# After a longer time without a take, the next outage counts as a new outage.
_MEMORY = 2
# Longer waits are shortened to this, because a window without a take would look like an idle time.
_LONGEST_WAIT = 1 / 2
# A learned rate is dropped after this many of its windows without confirmation by a reply. This is
# more than the 16 windows after which a limit lowered by refusals is raised again.
_FORGOTTEN_AFTER = 20
# If an answer has changed the rate, the next take is after this many seconds.
_AT_ONCE = 0.001


class BudgetAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a take from a shared budget.

    Attributes:
        wait: 0 if the request was taken. Otherwise the seconds after which to ask again.
        used: How many requests all processes have taken in the window that ends now, including this
            one.
        learned: The rate that any of the processes has learned last. ``None`` if there is none.
        paused_for: The seconds until the end of a pause that a process has announced. 0 without a
            pause. Nothing can be taken during a pause.
    """

    wait: float
    used: int
    learned: LearnedRate | None = None
    paused_for: float = 0.0


class SharedBudget(Protocol):
    """Counts the requests of all processes that share a quota: see :mod:`cekat_async.budgets`.

    It also keeps the rate that was learned last, and the end of a pause. Implement it to keep the
    counts in a store of your own.

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
        """Take one request from the budget, and return whether it was taken.

        It should finish within a hundredth of ``per``. A grant that arrives later is not used, and
        the client takes again. If it takes longer than a quarter of ``per``, the budget counts as
        unavailable.

        Args:
            requests: The most requests that all processes together may take in any ``per`` seconds.
            per: The length of the window in seconds.
            learned: The rate that the caller has learned from its own replies. The budget keeps it,
                unless it has a more recent one. Default ``None``.

        Raises:
            OSError: The budget cannot be reached, does not answer in time, or has lost its counts.
        """
        ...

    async def pause(self, seconds: float, learned: LearnedRate | None = None) -> None:
        """Grant nothing to any process for some time. A pause that ends later is kept.

        Args:
            seconds: The length of the pause.
            learned: The rate that the caller has learned from its own replies, as in :meth:`take`.

        Raises:
            OSError: The budget cannot be reached, or does not answer in time.
        """


class SharingScheduler(Protocol):
    """The part of the scheduler that a shared budget uses."""

    terms: Terms

    @property
    def total_limit(self) -> int:
        """Requests in a window for all processes together."""
        ...

    def set_share(self, share: float, now: float) -> None:
        """Use only this part of the limit from now on, above 0 and at most 1."""

    def get_learned(self, now: float) -> LearnedRate | None:
        """Return the latest rate that this process's own replies have shown.

        Return ``None`` if they have shown none. A default rate, a configured rate, or a rate
        adopted from other processes does not count. The rate may exceed the caller's own
        :class:`RateLimit`.
        """

    def adopt(self, rate: LearnedRate | None, now: float) -> None:
        """Use a rate that another process has learned, but at most the caller's own limit.

        With ``None``, return to the rate that this process has learned by itself. This method is
        called after every take, mostly with the same rate, and must then be cheap.
        """

    def note_used_by_all(self, count: int, now: float) -> None:
        """Record how many requests all processes together have taken in the window ending now."""


class BudgetWithFallback:
    """Asks the shared budget before each request, and continues alone while it is unavailable.

    Only one task may ask at a time: the first in the limiter's queue.

    While alone, the scheduler uses only ``share``, a part of the limit. It is rounded down to whole
    requests, but never to zero. So if there are more processes than requests per window, the shares
    together exceed the limit.
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
        # When this process may switch to *alone*, and when it may switch back to *whole*.
        self._alone_at, self._whole_at = math.inf, math.inf
        # When the adopted rate becomes too old.
        self._forgotten_at = math.inf

    def announce_pause(self, seconds: float) -> None:
        """Announce a pause by the server to the other processes, in the background."""
        self._announcer.announce(seconds, _PATIENCE * self._scheduler.terms.per)

    async def take(self) -> float:
        """Return 0 if a request may be sent, otherwise the seconds after which to ask again."""
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
        # With this count, a single late grant is enough to fail at the next attempt.
        self._late_grants = _MOST_LATE
        raise TimeoutError("its grants arrive too late")

    async def _ask_once(self, now: float) -> float:
        """Take a request, adopt the other processes' rate and pause, and return the wait."""
        scheduler = self._scheduler
        requests, per = asked = scheduler.total_limit, scheduler.terms.per
        news = scheduler.get_learned(now)
        answer = await self._budget.take(requests, per + _MARGIN * per, news)
        if not isinstance(answer, BudgetAnswer):
            raise ConfigurationError(f"a budget must return a BudgetAnswer, not {answer!r}")
        now = time_now()
        scheduler.note_used_by_all(answer.used, now)
        # Replies that arrived in the meantime are newer than the answer.
        if (scheduler.total_limit, scheduler.terms.per) == asked:
            is_own = news and answer.learned and _is_same(news, answer.learned)
            self._adopt(None if is_own else answer.learned, now)
        # If the pause is this process's own, waiting for its end is enough.
        if answer.paused_for > _LATE * per:
            self._pause(answer.paused_for, SHARED_PAUSE)
        limit, window = scheduler.total_limit, scheduler.terms.per
        if (limit, window) == asked:
            return answer.wait
        # The wait was computed for the old rate. A grant counts only if it also fits the new rate.
        is_within = answer.used <= limit and window <= per
        return 0.0 if not answer.wait and is_within else _AT_ONCE

    def _adopt(self, rate: LearnedRate | None, now: float) -> None:
        """Use a rate that another process has learned, unless it is outdated."""
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
        """Pause all requests if the outage is new. Return the seconds until continuing alone."""
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
    """Announces pauses to a budget. Only one task at a time does this."""

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
        # A loop, because several refusals often arrive together, and each may extend the pause.
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
