"""Quotas: a counter for each kind of window, and the headers that report a quota.

This module has no side effects and reads no clock: the caller passes the time.
"""

from __future__ import annotations

from collections import deque
from email.utils import formatdate
from math import ceil, floor
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from cekat_async.sandbox.options import Quota, ResetAs

_DAY = 86_400.0
# The tokens in a bucket are a sum of floats, so a whole token may be slightly less than 1.
_ROUNDING = 1e-9


class QuotaState(msgspec.Struct, frozen=True):
    """The state of a quota after some requests were counted.

    Attributes:
        granted: The number of these requests that were granted.
        limit: The number of requests that the quota allows per window.
        remaining: The number of requests that would still be granted now.
        reset: The seconds until the window ends, or until the whole quota is available again.
        wait: The seconds until another request would be granted. 0 if it would be granted now.
        daily: Whether the daily limit caused the refusal.
    """

    granted: int
    limit: int
    remaining: int
    reset: float
    wait: float
    daily: bool = False


class QuotaCounter(Protocol):
    """Counts requests against a quota."""

    def take(self, now: float, count: int = 1) -> QuotaState:
        """Grant up to ``count`` requests at the time ``now``, which must not go backwards."""
        ...


class _FixedWindow:
    """Consecutive windows, each with the full quota.

    If the windows are aligned to the clock, ``phase`` is the start of any one of them. If ``phase``
    is ``None``, a window starts with the first request after the last window.
    """

    def __init__(self, limit: int, per: float, phase: float | None) -> None:
        self._limit = limit
        self._per = per
        self._phase = phase
        self._start: float | None = None
        self._used = 0

    def take(self, now: float, count: int = 1) -> QuotaState:
        start = self._find_start(now)
        if start != self._start:
            self._start, self._used = start, 0
        granted = min(count, self._limit - self._used)
        self._used += granted
        reset = max(0.0, start + self._per - now)
        remaining = self._limit - self._used
        return QuotaState(granted, self._limit, remaining, reset, 0.0 if remaining else reset)

    def _find_start(self, now: float) -> float:
        if self._phase is not None:
            return floor((now - self._phase) / self._per) * self._per + self._phase
        if self._start is None or now >= self._start + self._per:
            return now
        return self._start


class _SlidingWindow:
    """At most ``limit`` requests in any ``per`` seconds."""

    def __init__(self, limit: int, per: float) -> None:
        self._limit = limit
        self._per = per
        self._times: deque[float] = deque()

    def take(self, now: float, count: int = 1) -> QuotaState:
        while self._times and now >= self._times[0] + self._per:
            self._times.popleft()
        granted = min(count, self._limit - len(self._times))
        self._times.extend([now] * granted)
        remaining = self._limit - len(self._times)
        wait = 0.0 if remaining else self._times[0] + self._per - now
        reset = self._times[-1] + self._per - now if self._times else 0.0
        return QuotaState(granted, self._limit, remaining, reset, wait)


class _TokenBucket:
    """A bucket that starts with ``burst`` tokens and gains ``limit`` tokens in ``per`` seconds."""

    def __init__(self, limit: int, per: float, burst: int) -> None:
        self._limit = limit
        self._rate = limit / per
        self._burst = burst
        self._tokens = float(burst)
        self._last: float | None = None

    def take(self, now: float, count: int = 1) -> QuotaState:
        passed = 0.0 if self._last is None else now - self._last
        self._last = now
        self._tokens = min(self._burst, self._tokens + passed * self._rate)
        granted = min(count, int(self._tokens + _ROUNDING))
        self._tokens -= granted
        remaining = max(0, int(self._tokens + _ROUNDING))
        wait = 0.0 if remaining else (1 - self._tokens) / self._rate
        reset = (self._burst - self._tokens) / self._rate
        return QuotaState(granted, self._limit, remaining, reset, wait)


class _WindowAndDay:
    """A window plus a daily limit. A request counts only if both of them grant it."""

    def __init__(self, window: QuotaCounter, per_day: int) -> None:
        self._window = window
        self._day = _FixedWindow(per_day, _DAY, None)

    def take(self, now: float, count: int = 1) -> QuotaState:
        left = self._day.take(now, 0)
        state = self._window.take(now, min(count, left.remaining))
        day = self._day.take(now, state.granted)
        refused_by_day = left.remaining < count and state.granted == left.remaining
        if day.remaining >= state.remaining and not refused_by_day:
            return state
        return msgspec.structs.replace(
            state,
            remaining=min(day.remaining, state.remaining),
            # The daily limit is the lower limit now, so report its reset.
            reset=day.reset,
            wait=max(day.wait, state.wait),
            daily=refused_by_day,
        )


def build_counter(quota: Quota) -> QuotaCounter:
    """Return a new counter for ``quota``."""
    window = _build_window(quota)
    return window if quota.per_day is None else _WindowAndDay(window, quota.per_day)


def _build_window(quota: Quota) -> QuotaCounter:
    match quota.window:
        case "fixed":
            return _FixedWindow(quota.requests, quota.per, quota.phase)
        case "first_hit":
            return _FixedWindow(quota.requests, quota.per, None)
        case "sliding":
            return _SlidingWindow(quota.requests, quota.per)
        case "bucket":
            return _TokenBucket(quota.requests, quota.per, quota.burst or quota.requests)


def build_quota_headers(quota: Quota, state: QuotaState, wall: float) -> dict[str, str]:
    """Return the headers that report the quota. ``wall`` is the time in seconds since 1970."""
    limit, remaining = str(state.limit), str(state.remaining)
    match quota.headers:
        case None:
            return {}
        case "x-ratelimit":
            return {
                "X-RateLimit-Limit": limit,
                "X-RateLimit-Remaining": remaining,
                "X-RateLimit-Reset": _format_reset(quota.reset_as, state.reset, wall),
            }
        case "ratelimit":
            return {
                "RateLimit-Limit": limit,
                "RateLimit-Remaining": remaining,
                "RateLimit-Reset": str(ceil(state.reset)),
            }
        case "ratelimit-combined":
            reset = ceil(state.reset)
            return {
                "RateLimit": f"limit={limit}, remaining={remaining}, reset={reset}",
                "RateLimit-Policy": f"{limit};w={quota.per:g}",
            }


def build_retry_after(quota: Quota, state: QuotaState, wall: float) -> dict[str, str]:
    """Return the ``Retry-After`` header of a 429, rounded up so that the wait is long enough."""
    match quota.retry_after:
        case None:
            return {}
        case "seconds":
            return {"Retry-After": str(ceil(state.wait))}
        case "fraction":
            return {"Retry-After": f"{ceil(state.wait * 1000) / 1000:.3f}"}
        case "http-date":
            return {"Retry-After": formatdate(ceil(wall + state.wait), usegmt=True)}


def _format_reset(form: ResetAs, seconds: float, wall: float) -> str:
    match form:
        case "epoch":
            return str(ceil(wall + seconds))
        case "epoch_ms":
            return str(ceil((wall + seconds) * 1000))
        case "delta":
            return str(ceil(seconds))
