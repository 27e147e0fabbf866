"""How many requests the limit would have allowed. Pure."""

from __future__ import annotations

import math

__all__ = ["EarnedTotal"]


class EarnedTotal:
    """How many requests the limit would have allowed since the first one."""

    def __init__(self) -> None:
        self._total, self._until = 0.0, math.inf

    def start(self, now: float) -> None:
        """Begin to count, if counting has not begun yet."""
        if self._until == math.inf:
            self._until = now

    def get(self, now: float, rate: float) -> float:
        """Return the total. The time since the last call counts at ``rate`` requests a second."""
        if now > self._until:
            self._total += (now - self._until) * rate
            self._until = now
        return self._total
