"""Detects whether other clients use the same quota, and how much to leave to them. Pure."""

from __future__ import annotations

import math

__all__ = ["OtherClients"]

# Other clients count as present for this many windows after they were last noticed.
_PRESENT = 2
# A hundredth of the limit is left to other clients. If they were faster, up to a sixtieth more is
# left to them.
_MARGIN, _MOST_CAUTION = 100, 60
# The rate of other clients is measured over at least this part of a window.
_LEAST_TIME = 1 / 20


class OtherClients:
    """Other users of the quota, as the server's numbers show them."""

    def __init__(self) -> None:
        self._rate = 0.0
        self._present_until = -math.inf
        self._caution = 0.0

    def are_present(self, now: float) -> bool:
        """Whether other clients were noticed recently."""
        return now <= self._present_until

    def notice(self, now: float, per: float) -> None:
        """Count other clients as present, for two windows of ``per`` seconds."""
        self._present_until = now + _PRESENT * per

    def forget(self) -> None:
        self._present_until = -math.inf

    def record(self, theirs: int, elapsed: float, per: float) -> None:
        """Measure the rate of other clients.

        Args:
            theirs: The requests of other clients in the window.
            elapsed: Seconds since the window began; ``per`` for a window without a beginning.
            per: Seconds of the window.
        """
        self._rate = theirs / max(elapsed, _LEAST_TIME * per)

    def get_rate(self, now: float) -> float:
        """Return about how many requests a second other clients send; 0 if there are none."""
        return self._rate if self.are_present(now) else 0.0

    def add_caution(self, limit: int) -> None:
        """Leave more to other clients: they were faster, and one of our requests was refused."""
        self._caution = min(2 * self._caution + 1, limit / _MOST_CAUTION)

    def get_margin(self, now: float, limit: int, most_remaining: int) -> float:
        """Return how many requests to leave, for clients that send before ours arrives."""
        if not self.are_present(now):
            return 0.0
        # A small bucket never has much left, so at most half of it is left to other clients.
        return min(max(1.0, limit / _MARGIN) + self._caution, most_remaining / 2)

    def get_turn(self, remaining: float, until: float, now: float) -> float:
        """Return when more is left than other clients will probably use before the next refill."""
        rate = self.get_rate(now)
        return until - (remaining - 1) / rate if rate and until < math.inf else -math.inf
