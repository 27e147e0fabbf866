"""The rate that a client has learned from replies and shares with other processes. Pure."""

from __future__ import annotations

import math

import msgspec

__all__ = ["Evidence", "LearnedRate"]


class LearnedRate(msgspec.Struct, frozen=True):
    """A rate that one process has learned from the server, for all processes with the same budget.

    Attributes:
        requests: The number of requests that all processes together may send in any ``per``
            seconds.
        per: The length of the window in seconds.
        age: The seconds since the reply that showed the rate. Default 0.
    """

    requests: int
    per: float
    age: float = 0.0


class Evidence:
    """The latest rate that this client has learned from replies."""

    def __init__(self) -> None:
        self._rate: LearnedRate | None = None
        self._at = -math.inf

    def record(self, limit: int, per: float, now: float) -> None:
        """Record that a reply shows this rate."""
        self._rate, self._at = LearnedRate(limit, per), now

    def get(self, now: float) -> LearnedRate | None:
        """Return the rate with its present age, or ``None`` if no reply has shown a rate."""
        return self._rate and msgspec.structs.replace(self._rate, age=now - self._at)
