"""How many requests the server probably grants, and why. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cekat_async._ratelimit.headers import QuotaStatement
    from cekat_async.config import RateLimit

__all__ = ["DOCUMENTED", "EarnedTotal", "LimitEstimate"]

DOCUMENTED = 300
"""Requests a minute at this endpoint, per IP address (API.md)."""

# After a refusal the limit is raised again, by a fiftieth a window, once this many windows have
# passed without another; each further refusal doubles them.
_PATIENCE, _MOST_PATIENCE = 2, 16
_STEPS = 50
# A server that refused what it stated is not believed for this many windows.
_DISTRUST = 20


class LimitEstimate:
    """The limit to keep: the smaller of what the server states and what is configured.

    Attributes:
        limit: Requests in any ``per`` seconds.
        per: Seconds.
        source: Where the limit comes from: ``"documented"``, ``"configured"``, ``"stated"`` (by
            the server) or ``"refusals"``.
        raises_at: When to raise it by one step; infinite if there is no reason to.
    """

    def __init__(self, rate: RateLimit) -> None:
        self._own = DOCUMENTED if rate.requests is None else rate.requests
        self._own_source = "documented" if rate.requests is None else "configured"
        self._ceiling, self._ceiling_source = self._own, self._own_source
        self.limit, self.source = self._own, self._own_source
        self.per = self._own_per = rate.per
        self._distrusts_until = -math.inf
        self._patience = _PATIENCE
        self.raises_at = math.inf

    def update(self, reported: QuotaStatement, now: float) -> None:
        """Follow what the server states, up and down."""
        if reported.limit is None:
            return
        stated, per = reported.limit, reported.per or self._own_per
        # A server that is not believed may still lower the limit.
        if self._own_source == "documented" and now >= self._distrusts_until:
            self._set_ceiling(stated, per, "stated")
            return
        # Windows of different length do not compare, and the own one must be kept in any case.
        in_own_window = int(stated * self._own_per / per)
        if per > self._own_per and (stated <= self._own or not in_own_window):
            # So few in so long a window are no more in any shorter one.
            self._set_ceiling(min(stated, self._own), per, "stated")
            return
        source = "stated" if in_own_window < self._own else self._own_source
        self._set_ceiling(max(1, min(in_own_window, self._own)), self._own_per, source)

    def distrust(self, now: float) -> None:
        """Return to the own limit, unless it is faster: the server refused what it stated."""
        self._distrusts_until = now + _DISTRUST * self._own_per
        if self._ceiling / self.per > self._own / self._own_per:
            self._set_ceiling(self._own, self._own_per, self._own_source)

    def lower(self, granted: int, now: float) -> None:
        """Lower the limit after a refusal that only a limit set too high explains.

        ``granted`` counts the requests of the last window that were not refused.
        """
        self.limit = max(1, min(granted, self.limit - max(1, self.limit // 10)))
        self.source = "refusals"
        self.raises_at = now + self._patience * self.per
        self._patience = min(2 * self._patience, _MOST_PATIENCE)

    def raise_one_step(self, now: float) -> None:
        """Raise the limit by a small step, up to what is stated or configured."""
        self.limit = min(self._ceiling, self.limit + max(1, self._ceiling // _STEPS))
        self.raises_at = now + self.per
        if self.limit == self._ceiling:
            self.source, self.raises_at = self._ceiling_source, math.inf

    def _set_ceiling(self, ceiling: int, per: float, source: str) -> None:
        is_lowered = self.limit < self._ceiling and per == self.per
        self._ceiling, self._ceiling_source, self.per = ceiling, source, per
        if ceiling <= self.limit or not is_lowered:
            self.limit, self.source, self.raises_at = ceiling, source, math.inf


class EarnedTotal:
    """How many requests the limit would have allowed since the first one."""

    def __init__(self) -> None:
        self._total, self._until = 0.0, math.inf

    def start(self, now: float) -> None:
        """Begin to count, unless that has begun."""
        if self._until == math.inf:
            self._until = now

    def get(self, now: float, limit: int, per: float) -> float:
        """Return the total; since the last call, ``limit`` requests in ``per`` seconds."""
        if now > self._until:
            self._total += (now - self._until) * limit / per
            self._until = now
        return self._total
