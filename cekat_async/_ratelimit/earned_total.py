"""How many requests the limit would have allowed. Pure."""

from __future__ import annotations

import math

__all__ = ["EarnedTotal"]


class EarnedTotal:
    """How many requests the limit would have allowed since the first request."""

    def __init__(self) -> None:
        self._total, self._until = 0.0, math.inf

    def start(self, now: float) -> None:
        """Begin to count, unless counting has begun already."""
        if self._until == math.inf:
            self._until = now

    def get(self, now: float, rate: float) -> float:
        """Return the total. For the time since the last call, ``rate`` requests a second count."""
        if now > self._until:
            self._total += (now - self._until) * rate
            self._until = now
        return self._total
