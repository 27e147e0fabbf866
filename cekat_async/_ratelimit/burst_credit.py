"""How many requests may be sent in a burst, without an even pace. Pure."""

from __future__ import annotations

__all__ = ["BurstCredit"]


class BurstCredit:
    """The ``amount`` of requests saved up while idle, at most the requests of one window."""

    def __init__(self, amount: float) -> None:
        self.amount = amount
        self._idle_since: float | None = None

    def note_idle(self, now: float) -> None:
        """Start to save, because no request is waiting."""
        self._idle_since = now

    def end_idle(self, now: float, limit: int, per: float) -> None:
        """Add the requests saved while idle, at ``limit`` requests in ``per`` seconds."""
        if self._idle_since is not None:
            idle, self._idle_since = now - self._idle_since, None
            self.amount = min(self.amount + idle * limit / per, float(limit))

    def spend(self) -> None:
        self.amount -= 1

    def clear(self) -> None:
        self.amount = 0.0
