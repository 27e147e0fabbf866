"""How many requests the server grants, as far as one can know, and why. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cekat_async._ratelimit.headers import QuotaStatement
    from cekat_async.config import RateLimit

__all__ = ["DOCUMENTED", "LimitEstimate"]

DOCUMENTED = 300
"""Requests a minute at this endpoint, per IP address (API.md)."""

# After a refusal the limit climbs again, by a fiftieth a period, when this many periods went by
# without another; each further refusal doubles them.
_PATIENCE, _MOST_PATIENCE = 2, 16
_STEPS = 50
# What has been caught lying is not believed for so many periods.
_DISTRUST = 20


class LimitEstimate:
    """The limit to keep to: the smaller of what the server states and a ceiling of one's own.

    Attributes:
        limit: Requests in any ``per`` seconds.
        per: Seconds.
        source: Where the limit comes from: ``"documented"``, ``"configured"``, ``"stated"`` (by
            the server) or ``"refusals"``.
        climbs_at: When it is to be probed upwards again; infinite if there is no reason to.
    """

    def __init__(self, rate: RateLimit) -> None:
        self._is_free = rate.requests is None
        self._own = DOCUMENTED if rate.requests is None else rate.requests
        self._own_source = "documented" if rate.requests is None else "configured"
        self._top, self._top_source = self._own, self._own_source
        self.limit, self.source = self._top, self._top_source
        self.per = self._own_per = rate.per
        self._doubts_until = -math.inf
        self._patience = _PATIENCE
        self.climbs_at = math.inf

    def hear(self, said: QuotaStatement, now: float) -> bool:
        """Follow what the server states, up and down; tell whether that changes anything."""
        before = self.limit, self.per, self.source
        if said.limit is not None:
            self._follow(said.limit, said.per or self._own_per, now)
        return before != (self.limit, self.per, self.source)

    def doubt(self, now: float) -> None:
        """Go back to one's own limit, unless it is the faster one: a promise was broken."""
        self._doubts_until = now + _DISTRUST * self._own_per
        if self._top / self.per > self._own / self._own_per:
            self._settle_on(self._own, self._own_per, self._own_source)

    def lower(self, granted: int, now: float) -> None:
        """Learn from a refusal that nothing explains but a limit set too high.

        Args:
            granted: Requests of the last period that were not refused.
            now: The time.
        """
        self.limit = max(1, min(granted, self.limit - max(1, self.limit // 10)))
        self.source = "refusals"
        self.climbs_at = now + self._patience * self.per
        self._patience = min(2 * self._patience, _MOST_PATIENCE)

    def climb(self, now: float) -> None:
        """Probe upwards again, a small step a period, up to what is stated or configured."""
        self.limit = min(self._top, self.limit + max(1, self._top // _STEPS))
        self.climbs_at = now + self.per
        if self.limit == self._top:
            self.source, self.climbs_at = self._top_source, math.inf

    def _follow(self, stated: int, per: float, now: float) -> None:
        # Who was caught promising too much may still take away.
        if self._is_free and now >= self._doubts_until:
            self._settle_on(stated, per, "stated")
            return
        # Windows of another length do not compare, and one's own is to be kept in any case.
        in_ours = int(stated * self._own_per / per)
        if per > self._own_per and (stated <= self._own or not in_ours):
            # So few in so long a time are no more in any shorter one.
            self._settle_on(min(stated, self._own), per, "stated")
            return
        source = "stated" if in_ours < self._own else self._own_source
        self._settle_on(max(1, min(in_ours, self._own)), self._own_per, source)

    def _settle_on(self, top: int, per: float, source: str) -> None:
        lowered = self.limit < self._top and per == self.per
        self._top, self._top_source, self.per = top, source, per
        if top <= self.limit or not lowered:
            self.limit, self.source, self.climbs_at = top, source, math.inf
