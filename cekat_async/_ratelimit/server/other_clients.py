"""Detects other clients of the same quota, and decides how much to leave for them. Pure."""

from __future__ import annotations

import math

__all__ = ["OtherClients"]

# After other clients are noticed, they count as present for this many windows.
_PRESENT = 2
# While other clients are present, this client leaves a hundredth of the limit for them. If they
# used up the quota before our requests arrived, it leaves up to a sixtieth more.
_MARGIN, _MOST_CAUTION = 100, 60
# The rate of other clients is measured over at least this fraction of a window.
_LEAST_TIME = 1 / 20


class OtherClients:
    """Estimates from the server's numbers how much of the quota other clients use."""

    def __init__(self) -> None:
        self._rate = 0.0
        self._present_until = -math.inf
        self._caution = 0.0

    def are_present(self, now: float) -> bool:
        """Whether other clients were noticed recently."""
        return now <= self._present_until

    def notice(self, now: float, per: float) -> None:
        """Count other clients as present for the next two windows of ``per`` seconds."""
        self._present_until = now + _PRESENT * per

    def forget(self) -> None:
        self._present_until = -math.inf

    def record(self, theirs: int, elapsed: float, per: float) -> None:
        """Measure how fast other clients send requests.

        Args:
            theirs: The number of requests of other clients in the window.
            elapsed: The seconds since the window began; ``per`` if the window slides.
            per: The length of the window in seconds.
        """
        self._rate = theirs / max(elapsed, _LEAST_TIME * per)

    def get_rate(self, now: float) -> float:
        """Return the approximate requests per second of other clients; 0 if there are none."""
        return self._rate if self.are_present(now) else 0.0

    def add_caution(self, limit: int) -> None:
        """Leave more for other clients, because they used quota that one of our requests needed."""
        self._caution = min(2 * self._caution + 1, limit / _MOST_CAUTION)

    def get_margin(self, now: float, limit: int, most_remaining: int) -> float:
        """Return how many requests to leave for clients whose requests arrive before ours."""
        if not self.are_present(now):
            return 0.0
        # A small bucket never contains many requests, so other clients get at most half of them.
        return min(max(1.0, limit / _MARGIN) + self._caution, most_remaining / 2)

    def get_turn(self, remaining: float, until: float, now: float) -> float:
        """Return the time at which more requests remain than others need before the next refill."""
        rate = self.get_rate(now)
        return until - (remaining - 1) / rate if rate and until < math.inf else -math.inf
