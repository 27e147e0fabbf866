"""One quota for several processes: a budget that they share, and what to do when it is away."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from cekat_async._pace import Pace

__all__ = ["SharedBudget", "Sharing"]

_log = logging.getLogger("cekat_async")

# While the budget is away it is asked for again so many times a period: asking may take seconds,
# in which nobody else can go.
_ASKED = 2


class SharedBudget(Protocol):
    """Counts the requests of all who share a quota; see :mod:`cekat_async.budgets`."""

    async def take(self, requests: int, per: float) -> float:
        """Take one request out of a budget of ``requests`` in any ``per`` seconds.

        Return 0 if it was taken, else the seconds after which to ask again.

        Raises:
            OSError: The budget cannot be reached, or does not answer in time.
        """
        ...


class Sharing:
    """Asks the shared budget before each request, and goes on alone while it is away.

    Nothing may be exceeded by that. What the others have sent is not known any more, so that it
    waits for a period, in which all of it ages out, and then keeps to its own share. When the
    budget is back, it does not know what was sent meanwhile, so that the share is kept to as well
    until that has aged out too, of those who noticed later as well.
    """

    def __init__(
        self,
        budget: SharedBudget,
        share: float,
        pace: Pace,
        hold: Callable[[float, str], None],
    ) -> None:
        self._budget = budget
        self._share = share
        self._pace = pace
        self._hold = hold
        self._is_away = False
        self._asks_at, self._whole_at = 0.0, math.inf

    async def take(self) -> float:
        """Return 0 if a request may go out, else the seconds after which to ask again."""
        now = asyncio.get_running_loop().time()
        if self._is_away and now < self._asks_at:
            return 0.0
        try:
            seconds = await self._budget.take(self._pace.whole_limit, self._pace.terms.per)
        except OSError as error:
            return self._go_alone(error)
        self._come_back()
        return seconds

    def _go_alone(self, error: OSError) -> float:
        now, per = asyncio.get_running_loop().time(), self._pace.terms.per
        self._asks_at = now + per / _ASKED
        if self._is_away:
            return 0.0
        self._is_away = True
        self._pace.keep_to_share(self._share, now)
        self._hold(
            per, f"the shared budget is away ({error}), going on with {self._share:.0%} of it"
        )
        return per

    def _come_back(self) -> None:
        now, per = asyncio.get_running_loop().time(), self._pace.terms.per
        if self._is_away:
            self._is_away = False
            self._whole_at = now + per + 2 * per / _ASKED
            _log.warning("the shared budget is back")
        elif now >= self._whole_at:
            self._whole_at = math.inf
            self._pace.keep_to_share(1.0, now)
