"""The rate that this client's replies have shown, to be shared with other processes. Pure."""

from __future__ import annotations

import math

import msgspec

__all__ = ["Evidence", "LearnedRate"]


class LearnedRate(msgspec.Struct, frozen=True):
    """A rate that the server has shown to one of those who share a budget.

    Attributes:
        requests: Requests in any ``per`` seconds, for all who share the quota.
        per: Seconds.
        age: Seconds since the reply that showed it.
    """

    requests: int
    per: float
    age: float = 0.0


class Evidence:
    """The latest rate that this client's replies have shown."""

    def __init__(self) -> None:
        self._rate: LearnedRate | None = None
        self._at = -math.inf

    def record(self, limit: int, per: float, now: float) -> None:
        """Record that a reply has shown this rate now."""
        self._rate, self._at = LearnedRate(limit, per), now

    def get(self, now: float) -> LearnedRate | None:
        """Return the rate with its present age; ``None`` if no reply has shown any."""
        return self._rate and msgspec.structs.replace(self._rate, age=now - self._at)
