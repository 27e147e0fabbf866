"""One quota for several processes: a shared budget, and what to do while it is unavailable.

An outage affects all processes as a rule, but each notices it at its next request: at once, or an
hour later. Time alone has to separate what is sent *alone*, which the budget does not count, from
what is taken out of the *whole* budget. A process that sends alone must know that nobody has taken
from the whole for one window, and the other way round.

- A process goes alone after one window without an answer, plus the time that one may be on its way.
- A process takes from the whole after it has had answers for so long that nobody can still be
  alone, or have been alone within the last window. Until then it asks the budget and also keeps to
  its share: at the start, after an outage, and after a pause in which there may have been one.

So no window holds too much, if the budget is unavailable to all or to none, and stays available for
at least three windows after an outage. If a single process is cut off, neither it nor the others
can tell, and a window may hold that process's share too much.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Protocol

from cekat_async._ratelimit.clock import time_now

if TYPE_CHECKING:
    from collections.abc import Callable

    from cekat_async._ratelimit.scheduler import Scheduler

__all__ = ["BudgetWithFallback", "SharedBudget"]

_log = logging.getLogger("cekat_async")

# All of these are parts of a window, or windows, except for ``_MOST_LATE``.
#
# A request counts from its grant on, but arrives later, one sooner than the other. The window is
# taken to be this much longer, which costs as much of the quota.
_MARGIN = 1 / 60
# Half of that is for the answer. A grant that takes longer is dropped, and asked for again.
_LATE = _MARGIN / 2
# Late grants in a row, after which the budget counts as unavailable.
_MOST_LATE = 3
# An answer that takes longer counts as none. Everything above depends on a bound for that.
_PATIENCE = 1 / 4
# The interval of attempts to reach the budget while alone: nothing can be sent during one.
_RETRY_INTERVAL = 1 / 2
# When the budget is back, others are alone until their next attempt ends; one window after that,
# what they sent has left the window. The rest is for requests that take long.
_SETTLING = _RETRY_INTERVAL + _PATIENCE + 1 + 1 / 4
# After a longer time without asking, an outage is a new one.
_MEMORY = 2
# A longer wait is cut, because a window without asking would look like a pause.
_LONGEST_WAIT = 1 / 2


class SharedBudget(Protocol):
    """Counts the requests of all who share a quota; see :mod:`cekat_async.budgets`."""

    async def take(self, requests: int, per: float) -> float:
        """Take one request out of a budget of ``requests`` in any ``per`` seconds.

        It should not take longer than a hundredth of ``per``: a grant that arrives later is not
        used, and taken again. An answer that takes longer than a quarter of ``per`` counts as none.

        Returns:
            0 if it was taken, else the seconds after which to ask again.

        Raises:
            OSError: The budget cannot be reached, does not answer in time, or has forgotten what
                was taken.
        """
        ...


class BudgetWithFallback:
    """Asks the shared budget before each request, and goes on alone while it is unavailable.

    Only one task may ask at a time: the first in the limiter's queue.

    Alone, the scheduler keeps to ``share``, a part of the limit. It is rounded down to whole
    requests, but never to zero: shares of a limit that is smaller than the number of those who
    share it add up to more than the limit.
    """

    def __init__(
        self,
        budget: SharedBudget,
        share: float,
        scheduler: Scheduler,
        pause: Callable[[float, str], None],
    ) -> None:
        self._budget = budget
        self._share = share
        self._scheduler = scheduler
        self._pause = pause
        self._is_unavailable = False
        self._late_grants = 0
        self._answered_at = self._failed_at = -math.inf
        # When this process may go alone, and when it may take from the whole again.
        self._alone_at, self._whole_at = math.inf, math.inf

    async def take(self) -> float:
        """Return 0 if a request may be sent, else the seconds after which to ask again."""
        if self._is_alone():
            return 0.0
        per = self._scheduler.terms.per
        try:
            async with asyncio.timeout(_PATIENCE * per):
                seconds = await self._ask(per)
        except OSError as error:
            return self._record_failure(str(error) or "no answer in time")
        if not 0 <= seconds < math.inf:
            return self._record_failure(f"it asks to wait for {seconds} s")
        self._record_answer()
        return min(seconds, _LONGEST_WAIT * per)

    async def _ask(self, per: float) -> float:
        """Take a request; drop late grants, and fail if there are several in a row."""
        while self._late_grants <= _MOST_LATE:
            asked_at = time_now()
            seconds = await self._budget.take(self._scheduler.total_limit, per + _MARGIN * per)
            if seconds:
                return seconds
            if time_now() - asked_at <= _LATE * per:
                self._late_grants = 0
                return 0.0
            self._late_grants += 1
        # The next time, a single late grant shows that nothing has changed.
        self._late_grants = _MOST_LATE
        raise TimeoutError("its grants come late")

    def _is_alone(self) -> bool:
        now = time_now()
        retries_at = self._failed_at + _RETRY_INTERVAL * self._scheduler.terms.per
        return self._is_unavailable and self._alone_at <= now < retries_at

    def _record_failure(self, reason: str) -> float:
        """Pause all requests if the outage is new; return the seconds until going alone."""
        now, per = time_now(), self._scheduler.terms.per
        is_new = not self._is_unavailable or now - self._failed_at > _MEMORY * per
        self._is_unavailable, self._failed_at = True, now
        if is_new:
            seconds = per + _PATIENCE * per
            self._alone_at = now + seconds
            self._scheduler.set_share(self._share, now)
            part = f"{self._share:.0%} of the limit"
            self._pause(seconds, f"the shared budget is away ({reason}), going on with {part}")
        return max(0.0, self._alone_at - now)

    def _record_answer(self) -> None:
        now, per = time_now(), self._scheduler.terms.per
        if self._is_unavailable:
            _log.warning("the shared budget is back")
        if self._is_unavailable or now - self._answered_at > per:
            self._is_unavailable = False
            self._whole_at = now + _SETTLING * per
            self._scheduler.set_share(self._share, now)
        elif now >= self._whole_at:
            self._whole_at = math.inf
            self._scheduler.set_share(1.0, now)
        self._answered_at = now
