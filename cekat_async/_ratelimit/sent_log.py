"""The requests this client has sent: how many of them a server's window may hold. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import NamedTuple

__all__ = ["Permit", "SentLog"]

# Entries that no window needs are deleted once there are this many of them.
_MOST_OLD = 100


class Permit(NamedTuple):
    """One request that may be sent, from its grant until it is settled.

    Attributes:
        sent: When it was granted; the server cannot have counted it sooner.
        remaining: Requests that the server had reported as left; infinite if it had not.
    """

    sent: float
    remaining: float = math.inf


class SentLog:
    """The requests of the last windows: how many are in flight, and when the others were settled.

    The server counts a request between its departure and its reply, so its place in the server's
    window is free again one window after the *reply*. It is free a little sooner: the reply that
    began that window, and the request that takes the place, both need time on the way. Half of the
    quickest exchange so far is deducted for that. No jitter then fills a window beyond what is
    counted here, unless two ways together are that much quicker than any exchange was.

    One log answers for windows of any length. Times of later calls must not be earlier.

    Attributes:
        total: Requests sent so far.
        in_flight: Those of them that are not settled yet.
        quickest: Seconds of the quickest exchange so far; infinite before the first reply.
        began_at: When the first request was sent; infinite before it.
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
        """Whether any request had a reply so far."""
        return self.quickest < math.inf

    def add(self, now: float) -> None:
        self.began_at = min(self.began_at, now)
        self.total += 1
        self.in_flight += 1

    def settle(self, now: float, *, sent: bool) -> None:
        """Record that a request is over; one that was never sent does not count."""
        self.in_flight -= 1
        if sent:
            self._settled.append(now)

    def record_refusal(self, now: float) -> None:
        """Record that a request which has just been settled was refused."""
        self._refused.append(now)

    def record_duration(self, seconds: float) -> None:
        self.quickest = min(self.quickest, seconds)

    def count(self, now: float, per: float) -> int:
        """Return how many requests a window of ``per`` seconds that ends now may hold."""
        return len(self._settled) - self._find(now, per) + self.in_flight

    def count_granted(self, now: float, per: float) -> int:
        """Return how many of those were settled, and not refused."""
        refused = len(self._refused) - bisect_right(self._refused, now - self._get_retention(per))
        return self.count(now, per) - self.in_flight - refused

    def count_expired(self, at: float, per: float) -> int:
        """Return how many requests had left such a window by the time ``at``."""
        return self._deleted + self._find(at, per)

    def next_free(self, now: float, per: float) -> float:
        """Return when the next place is free; infinite if a reply has to arrive first."""
        first = self._find(now, per)
        if first == len(self._settled):
            return math.inf
        return self._settled[first] + self._get_retention(per)

    def forget(self, now: float, longest: float) -> None:
        """Delete what is of no use, if no window is longer than ``longest`` seconds."""
        # What left the window during the last one is still asked for.
        if len(self._settled) < _MOST_OLD or self._find(now, 2 * longest) < _MOST_OLD:
            return
        old = self._find(now, 2 * longest)
        del self._settled[:old]
        self._deleted += old
        del self._refused[: bisect_right(self._refused, now - 2 * longest)]

    def _find(self, at: float, per: float) -> int:
        """Return the place of the first request that a window which ends then may hold."""
        settled, retention = self._settled, self._get_retention(per)
        # Half the time of a bisection with a key. Only its rounding is corrected: the same sum
        # as in next_free() counts, so that a place is free at the very time that it names.
        first = bisect_right(settled, at - retention)
        while first < len(settled) and settled[first] + retention <= at:
            first += 1
        while first and settled[first - 1] + retention > at:
            first -= 1
        return first

    def _get_retention(self, per: float) -> float:
        # Before the first reply nothing is known; and the quickest of slow ones proves little.
        return per if self.quickest == math.inf else per - min(self.quickest, per / 10) / 2
