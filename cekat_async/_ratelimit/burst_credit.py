"""Counts how many requests the limiter may send in a burst, faster than the even pace. Pure."""

from __future__ import annotations

__all__ = ["BurstCredit"]


class BurstCredit:
    """The number of requests saved up while idle (``amount``), at most one window's limit."""

    def __init__(self, amount: float) -> None:
        self.amount = amount
        self._idle_since: float | None = None

    def note_idle(self, now: float) -> None:
        """Start saving requests, because no request is waiting."""
        self._idle_since = now

    def end_idle(self, now: float, limit: int, per: float) -> None:
        """Stop saving, and add ``limit`` requests for each ``per`` seconds of the idle time."""
        if self._idle_since is not None:
            idle, self._idle_since = now - self._idle_since, None
            self.amount = min(self.amount + idle * limit / per, float(limit))

    def spend(self) -> None:
        self.amount -= 1

    def clear(self) -> None:
        self.amount = 0.0
