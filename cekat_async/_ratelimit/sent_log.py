"""Keeps a log of sent requests, and counts how many of them are in a window. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import NamedTuple

__all__ = ["Permit", "SentLog"]

# If there are this many entries that no window needs, they are deleted.
_MOST_OLD = 100


class Permit(NamedTuple):
    """The permission to send one request. The permit is valid until the request has an outcome.

    Attributes:
        sent: The time at which the permit was granted. The server counts the request later.
        remaining: The remaining requests that the server had reported; infinite without a report.
    """

    sent: float
    remaining: float = math.inf


class SentLog:
    """The requests of the last windows: those in flight, and the end times of the others.

    The server counts a request at some time between its departure and its reply. The request's
    place in the window is therefore certainly free one window after the *reply*. The next request
    also needs time to reach the server, so the log subtracts half of the quickest round trip so
    far. A window can then exceed its limit only if two one-way trips together are faster than half
    of any round trip.

    One log serves windows of any length. Callers must pass times in ascending order.

    Attributes:
        total: The number of requests sent so far.
        in_flight: The number of sent requests that have neither a reply nor an error yet.
        quickest: The seconds of the quickest exchange so far; infinite before the first reply.
        began_at: The time of the first request; infinite before the first request.
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
        """Whether any request has received a reply."""
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
        """Record that the server refused the request that ended last."""
        self._refused.append(now)

    def record_duration(self, seconds: float) -> None:
        self.quickest = min(self.quickest, seconds)

    def count(self, now: float, per: float) -> int:
        """Return how many requests the server may count in the ``per`` seconds until now."""
        return len(self._settled) - self._find(now, per) + self.in_flight

    def count_granted(self, now: float, per: float) -> int:
        """Return how many requests ended in the ``per`` seconds until now and were not refused."""
        refused = len(self._refused) - bisect_right(self._refused, now - self._get_retention(per))
        return self.count(now, per) - self.in_flight - refused

    def count_expired(self, at: float, per: float) -> int:
        """Return how many requests had left a window of ``per`` seconds by the time ``at``."""
        return self._deleted + self._find(at, per)

    def next_free(self, now: float, per: float) -> float:
        """Return the time of the next free slot; infinite if a reply has to arrive first."""
        first = self._find(now, per)
        if first == len(self._settled):
            return math.inf
        return self._settled[first] + self._get_retention(per)

    def forget(self, now: float, longest: float) -> None:
        """Delete entries that no window of up to ``longest`` seconds needs."""
        # count_expired() may still need the window before the current one.
        if len(self._settled) < _MOST_OLD or self._find(now, 2 * longest) < _MOST_OLD:
            return
        old = self._find(now, 2 * longest)
        del self._settled[:old]
        self._deleted += old
        del self._refused[: bisect_right(self._refused, now - 2 * longest)]

    def _find(self, at: float, per: float) -> int:
        """Return the index of the first request that may count in the window until ``at``."""
        settled, retention = self._settled, self._get_retention(per)
        # A bisection with a key takes twice the time. The loops correct rounding: next_free()
        # computes the same sum, so a slot is free exactly at the time that next_free() returns.
        first = bisect_right(settled, at - retention)
        while first < len(settled) and settled[first] + retention <= at:
            first += 1
        while first and settled[first - 1] + retention > at:
            first -= 1
        return first

    def _get_retention(self, per: float) -> float:
        # Before the first reply, nothing is subtracted. Slow replies prove little, so at most a
        # twentieth of the window is subtracted.
        return per if self.quickest == math.inf else per - min(self.quickest, per / 10) / 2
