"""The log of sent requests, which counts how many are in a window. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import NamedTuple

__all__ = ["Permit", "SentLog"]

# Entries that no window needs are deleted once there are this many of them.
_MOST_OLD = 100


class Permit(NamedTuple):
    """The permission to send one request, until the request is settled.

    Attributes:
        sent: When the permit was granted. The server cannot have counted the request earlier.
        remaining: Requests that the server had reported as left; infinite without a report.
    """

    sent: float
    remaining: float = math.inf


class SentLog:
    """The requests of the last windows: how many are in flight, and when the others were settled.

    The server counts a request at some time between its departure and its reply. So its slot is
    certainly free one window after the *reply*. The next request also needs time to reach the
    server, so half of the quickest round trip so far is subtracted. Jitter can then make a window
    exceed its limit only if two one-way trips together are faster than half of any round trip.

    One log serves windows of any length. Callers must not pass earlier times than before.

    Attributes:
        total: Requests sent so far.
        in_flight: The sent requests that are not settled yet.
        quickest: Seconds of the quickest exchange so far; infinite before the first reply.
        began_at: When the first request was sent; infinite before the first request.
    """

    def __init__(self) -> None:
        self.total = 0
        self.in_flight = 0
        self.quickest = math.inf
        self.began_at = math.inf
        self._settled: list[float] = []
        self._refused: list[float] = []
        self._deleted = 0

    @property
    def has_reply(self) -> bool:
        """Whether any request has had a reply."""
        return self.quickest < math.inf

    def add(self, now: float) -> None:
        self.began_at = min(self.began_at, now)
        self.total += 1
        self.in_flight += 1

    def settle(self, now: float, *, sent: bool) -> None:
        """Record that a request has ended. A request that was never sent does not count."""
        self.in_flight -= 1
        if sent:
            self._settled.append(now)

    def record_refusal(self, now: float) -> None:
        """Record that the request settled last was refused."""
        self._refused.append(now)

    def record_duration(self, seconds: float) -> None:
        self.quickest = min(self.quickest, seconds)

    def count(self, now: float, per: float) -> int:
        """Return how many requests may count in a window of ``per`` seconds that ends now."""
        return len(self._settled) - self._find(now, per) + self.in_flight

    def count_granted(self, now: float, per: float) -> int:
        """Return how many requests in such a window were settled and not refused."""
        refused = len(self._refused) - bisect_right(self._refused, now - self._get_retention(per))
        return self.count(now, per) - self.in_flight - refused

    def count_expired(self, at: float, per: float) -> int:
        """Return how many requests had left a window of ``per`` seconds by the time ``at``."""
        return self._deleted + self._find(at, per)

    def next_free(self, now: float, per: float) -> float:
        """Return when the next slot is free; infinite if a reply has to arrive first."""
        first = self._find(now, per)
        if first == len(self._settled):
            return math.inf
        return self._settled[first] + self._get_retention(per)

    def forget(self, now: float, longest: float) -> None:
        """Delete entries that no window of up to ``longest`` seconds needs."""
        # count_expired() may still ask about the window before the current one.
        if len(self._settled) < _MOST_OLD or self._find(now, 2 * longest) < _MOST_OLD:
            return
        old = self._find(now, 2 * longest)
        del self._settled[:old]
        self._deleted += old
        del self._refused[: bisect_right(self._refused, now - 2 * longest)]

    def _find(self, at: float, per: float) -> int:
        """Return the index of the first request that may count in a window that ends at ``at``."""
        settled, retention = self._settled, self._get_retention(per)
        # A bisection with a key takes twice the time. The loops correct rounding: next_free()
        # computes the same sum, so a slot is free exactly at the time that it returns.
        first = bisect_right(settled, at - retention)
        while first < len(settled) and settled[first] + retention <= at:
            first += 1
        while first and settled[first - 1] + retention > at:
            first -= 1
        return first

    def _get_retention(self, per: float) -> float:
        # Without a reply nothing is subtracted. Slow replies prove little, so the subtraction is
        # bounded.
        return per if self.quickest == math.inf else per - min(self.quickest, per / 10) / 2
