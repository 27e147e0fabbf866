"""One quota for several processes: a budget that they share, and what to do when it is away.

The budget is away for everyone, as a rule, and everyone finds out at another time: who asks just
then at once, who wants nothing for an hour never. Two things have to be kept apart by time alone:
what is sent *alone*, which the budget does not count, and what is taken out of the *whole*. Whoever
sends alone must know that nobody has taken from the whole for a period, and the other way round.

- Alone goes who has had no answer for a period, and the time that an answer may be under way.
- The whole takes who has had answers for so long that nobody can still be alone, or have been so
  within the last period. Until then it asks the budget and keeps to its share as well: after an
  outage, after a pause in which there may have been one, and in the beginning, when there may.

So no window holds too much, as long as the budget is away for all or for none, and for three
periods at least is not away again. Whoever is cut off from it alone cannot tell, nor can the
others, for whom it looks idle: then there may be its share too much.
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

__all__ = ["SharedBudget", "Sharing"]

_log = logging.getLogger("cekat_async")

# All of these are periods, but for one.
#
# What is granted counts from then on, and arrives later, one request sooner than the other: so much
# longer than it is the window is taken for. It costs as much of the quota.
_MARGIN = 1 / 60
# One half of that is for the answer. A grant that takes longer is dropped, and asked for anew.
_LATE = _MARGIN / 2
# So many in a row, and not periods.
_DROPPED = 3
# Who has no answer in time for so long has none: all that is said above rests on a bound for that.
_PATIENCE = 1 / 4
# While one is alone, the time until one asks again: asking may take a while, and nobody can go.
_ALONE = 1 / 2
# When the budget is back, others are alone until they ask the next time, and have no answer; after
# another period that has aged out. The rest is for requests that are long under way.
_SETTLING = _ALONE + _PATIENCE + 1 + 1 / 4
# Who has not asked for longer does not know whether the budget has been there meanwhile.
_MEMORY = 2
# A wait is cut to that: who has not asked for a period would take it for a pause.
_LONGEST_WAIT = 1 / 2


class SharedBudget(Protocol):
    """Counts the requests of all who share a quota; see :mod:`cekat_async.budgets`."""

    async def take(self, requests: int, per: float) -> float:
        """Take one request out of a budget of ``requests`` in any ``per`` seconds.

        Return 0 if it was taken, else the seconds after which to ask again. It should not take
        longer than a hundredth of ``per``: what was taken is not used then, and taken again. What
        is not answered in a quarter of it, or by no such number, counts as not answered.

        Raises:
            OSError: The budget cannot be reached, does not answer in time, or has forgotten what
                was taken.
        """
        ...


class Sharing:
    """Asks the shared budget before each request, and goes on alone while it is away.

    Only one may ask at a time, as the first in the limiter's line does.

    Args:
        budget: What counts for all.
        share: The part of the limit to keep to alone, above 0 and at most 1. It is rounded down to
            whole requests, but never to none: shares of a limit that is smaller than the number of
            those who share it add up to more than the limit.
        pace: What is made to keep to it.
        hold: Holds all requests for some seconds, and says why.
    """

    def __init__(
        self,
        budget: SharedBudget,
        share: float,
        pace: Scheduler,
        hold: Callable[[float, str], None],
    ) -> None:
        self._budget = budget
        self._share = share
        self._pace = pace
        self._hold = hold
        self._is_away = False
        self._late = 0
        self._heard_at = self._missed_at = -math.inf
        # When one may go alone; and when to take the whole again.
        self._alone_at, self._whole_at = math.inf, math.inf

    async def take(self) -> float:
        """Return 0 if a request may go out, else the seconds after which to ask again."""
        if self._is_alone():
            return 0.0
        per = self._pace.terms.per
        try:
            async with asyncio.timeout(_PATIENCE * per):
                seconds = await self._ask(per)
        except OSError as error:
            return self._miss(str(error) or "no answer in time")
        if not 0 <= seconds < math.inf:
            return self._miss(f"it asks to wait for {seconds} s")
        self._hear()
        return min(seconds, _LONGEST_WAIT * per)

    async def _ask(self, per: float) -> float:
        """Take; drop what is granted late, and fail if that happens again and again."""
        while self._late <= _DROPPED:
            asked = time_now()
            seconds = await self._budget.take(self._pace.whole_limit, per + _MARGIN * per)
            if seconds:
                return seconds
            if time_now() - asked <= _LATE * per:
                self._late = 0
                return 0.0
            self._late += 1
        # The next time, one that is late will do to know that nothing has changed.
        self._late = _DROPPED
        raise TimeoutError("its grants come late")

    def _is_alone(self) -> bool:
        now = time_now()
        asks_at = self._missed_at + _ALONE * self._pace.terms.per
        return self._is_away and self._alone_at <= now < asks_at

    def _miss(self, why: str) -> float:
        """Hold everyone, when that is new; return how long it is until one may go alone."""
        now, per = time_now(), self._pace.terms.per
        is_new = not self._is_away or now - self._missed_at > _MEMORY * per
        self._is_away, self._missed_at = True, now
        if is_new:
            seconds = per + _PATIENCE * per
            self._alone_at = now + seconds
            self._pace.keep_to_share(self._share, now)
            self._hold(seconds, f"the shared budget is away ({why}), going on with {self._part}")
        return max(0.0, self._alone_at - now)

    def _hear(self) -> None:
        now, per = time_now(), self._pace.terms.per
        if self._is_away:
            _log.warning("the shared budget is back")
        if self._is_away or now - self._heard_at > per:
            self._is_away = False
            self._whole_at = now + _SETTLING * per
            self._pace.keep_to_share(self._share, now)
        elif now >= self._whole_at:
            self._whole_at = math.inf
            self._pace.keep_to_share(1.0, now)
        self._heard_at = now

    @property
    def _part(self) -> str:
        return f"{self._share:.0%} of the limit"
