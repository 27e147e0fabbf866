"""Counts how many requests the limit would have allowed so far. Pure."""

from __future__ import annotations

import math

__all__ = ["EarnedTotal"]


class EarnedTotal:
    """The number of requests that the limit would have allowed since the first request."""

    def __init__(self) -> None:
        self._total, self._until = 0.0, math.inf

    def start(self, now: float) -> None:
        """Start counting, unless it has already started."""
        if self._until == math.inf:
            self._until = now

    def get(self, now: float, rate: float) -> float:
        """Return the total. The time since the last call counts at ``rate`` requests per second."""
        if now > self._until:
            self._total += (now - self._until) * rate
            self._until = now
        return self._total
