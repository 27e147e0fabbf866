"""The requests this client has sent: how many of them the server's window may hold. Pure."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

__all__ = ["DAY", "DailyLog", "Permit", "SentLog"]

DAY = 86_400.0


class Permit(NamedTuple):
    """One request that may be sent, from its grant until it is settled.

    Attributes:
        sent: When it was granted; the server cannot have counted it sooner.
        remaining: Requests that the server had reported as left; infinite if it had not.
        expired: Earlier requests that had left the window by then.
    """

    sent: float
    remaining: float = math.inf
    expired: int = 0


class SentLog:
    """The requests of the last window: how many are in flight, and when the others were settled.

    The server counts a request between its departure and its reply, so its place in the server's
    window is free again one window after the *reply*. It is free a little sooner: the reply that
    began that window, and the request that takes the place, both need time on the way. Half of the
    quickest exchange so far is deducted for that. No jitter then fills a window beyond what is
    counted here, unless two ways together are that much quicker than any exchange was.

    Attributes:
        total: Requests sent so far.
        in_flight: Those of them that are not settled yet.
        expired: Those of them that have left the window.
    """

    def __init__(self) -> None:
        self.total = 0
        self.in_flight = 0
        self.expired = 0
        self._settled: deque[float] = deque()
        self._quickest = math.inf

    @property
    def has_settled(self) -> bool:
        """Whether the window holds a settled request."""
        return bool(self._settled)

    def add(self) -> None:
        self.total += 1
        self.in_flight += 1

    def settle(self, now: float, *, sent: bool) -> None:
        """Record that a request is over; one that was never sent does not count."""
        self.in_flight -= 1
        if sent:
            self._settled.append(now)

    def record_duration(self, seconds: float) -> None:
        self._quickest = min(self._quickest, seconds)

    def count(self, now: float, per: float) -> int:
        """Return how many requests a window of ``per`` seconds that ends now may hold."""
        settled, retention = self._settled, self._get_retention(per)
        while settled and settled[0] + retention <= now:
            settled.popleft()
            self.expired += 1
        return len(settled) + self.in_flight

    def next_free(self, per: float) -> float:
        """Return when the next place is free; infinite if a reply has to arrive first."""
        return self._settled[0] + self._get_retention(per) if self._settled else math.inf

    def _get_retention(self, per: float) -> float:
        # Before the first reply nothing is known; and the quickest of slow ones proves little.
        return per if self._quickest == math.inf else per - min(self._quickest, per / 10) / 2


class DailyLog(SentLog):
    """The requests of the last 24 hours, of which ``RateLimit.per_day`` may be sent."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def is_used_up(self, now: float) -> bool:
        """Whether no more may be sent for now."""
        return self.count(now, DAY) >= self._limit
