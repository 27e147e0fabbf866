"""Counting requests against a quota, in four kinds of window. Pure: every clock value is given."""

from __future__ import annotations

from collections import deque
from math import floor
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from .options import Quota

_DAY = 86_400.0
# Refills are sums of floats: a token that is whole but for rounding is whole.
_ROUNDING = 1e-9


class Standing(msgspec.Struct, frozen=True):
    """How a quota stands after some requests asked for their share.

    Attributes:
        granted: how many of them were granted.
        limit: requests per window.
        remaining: requests that would be granted at once.
        reset: seconds until the window starts anew or all is there again.
        wait: seconds until one more request would be granted; 0 when one would be now.
        daily: whether it is the daily limit that refused.
    """

    granted: int
    limit: int
    remaining: int
    reset: float
    wait: float
    daily: bool = False


class Counter(Protocol):
    """One way of counting."""

    def take(self, now: float, count: int = 1) -> Standing:
        """Grant up to `count` requests at the time `now`; time must not run backwards."""
        ...


class Windows:
    """Windows one after the other, each with its own full budget.

    Args:
        limit: requests per window.
        per: length of a window in seconds.
        phase: where windows start, for windows aligned to the clock; `None` for windows that
            start with the first request after the last window.
    """

    def __init__(self, limit: int, per: float, phase: float | None) -> None:
        self._limit = limit
        self._per = per
        self._phase = phase
        self._start: float | None = None
        self._used = 0

    def take(self, now: float, count: int = 1) -> Standing:
        """Grant up to `count` requests at the time `now`."""
        start = self._start_of(now)
        if start != self._start:
            self._start, self._used = start, 0
        granted = min(count, self._limit - self._used)
        self._used += granted
        reset = max(0.0, start + self._per - now)
        remaining = self._limit - self._used
        return Standing(granted, self._limit, remaining, reset, 0.0 if remaining else reset)

    def _start_of(self, now: float) -> float:
        if self._phase is not None:
            return floor((now - self._phase) / self._per) * self._per + self._phase
        if self._start is None or now >= self._start + self._per:
            return now
        return self._start


class Sliding:
    """At most `limit` requests in any `per` seconds.

    Args:
        limit: requests per window.
        per: length of the window in seconds.
    """

    def __init__(self, limit: int, per: float) -> None:
        self._limit = limit
        self._per = per
        self._times: deque[float] = deque()

    def take(self, now: float, count: int = 1) -> Standing:
        """Grant up to `count` requests at the time `now`."""
        while self._times and now >= self._times[0] + self._per:
            self._times.popleft()
        granted = min(count, self._limit - len(self._times))
        self._times.extend([now] * granted)
        remaining = self._limit - len(self._times)
        wait = 0.0 if remaining else self._times[0] + self._per - now
        reset = self._times[-1] + self._per - now if self._times else 0.0
        return Standing(granted, self._limit, remaining, reset, wait)


class Bucket:
    """A bucket of tokens that refills evenly.

    Args:
        limit: tokens that flow in per `per` seconds.
        per: that time in seconds.
        burst: tokens that the bucket holds; it starts full.
    """

    def __init__(self, limit: int, per: float, burst: int) -> None:
        self._limit = limit
        self._rate = limit / per
        self._burst = burst
        self._tokens = float(burst)
        self._last: float | None = None

    def take(self, now: float, count: int = 1) -> Standing:
        """Grant up to `count` requests at the time `now`."""
        passed = 0.0 if self._last is None else now - self._last
        self._last = now
        self._tokens = min(self._burst, self._tokens + passed * self._rate)
        granted = min(count, int(self._tokens + _ROUNDING))
        self._tokens -= granted
        remaining = max(0, int(self._tokens + _ROUNDING))
        wait = 0.0 if remaining else (1 - self._tokens) / self._rate
        reset = (self._burst - self._tokens) / self._rate
        return Standing(granted, self._limit, remaining, reset, wait)


class Both:
    """A short window and a day, asked together: what one refuses, the other does not count.

    Args:
        short: the quota per window.
        per_day: requests in the 24 hours that start with the first one.
    """

    def __init__(self, short: Counter, per_day: int) -> None:
        self._short = short
        self._day = Windows(per_day, _DAY, None)

    def take(self, now: float, count: int = 1) -> Standing:
        """Grant up to `count` requests at the time `now`."""
        left = self._day.take(now, 0)
        standing = self._short.take(now, min(count, left.remaining))
        day = self._day.take(now, standing.granted)
        refused_by_day = left.remaining < count and standing.granted == left.remaining
        if day.remaining >= standing.remaining and not refused_by_day:
            return standing
        return msgspec.structs.replace(
            standing,
            remaining=min(day.remaining, standing.remaining),
            # What is left is the day's: so is the time until there is more of it.
            reset=day.reset,
            wait=max(day.wait, standing.wait),
            daily=refused_by_day,
        )


def counter(quota: Quota) -> Counter:
    """Return a fresh counter for `quota`."""
    short = _short(quota)
    return short if quota.per_day is None else Both(short, quota.per_day)


def _short(quota: Quota) -> Counter:
    match quota.window:
        case "fixed":
            return Windows(quota.requests, quota.per, quota.phase)
        case "first_hit":
            return Windows(quota.requests, quota.per, None)
        case "sliding":
            return Sliding(quota.requests, quota.per)
        case "bucket":
            return Bucket(quota.requests, quota.per, quota.burst or quota.requests)
