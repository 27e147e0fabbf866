"""Model servers for the limiter's cases, with many kinds of quotas, headers and faults.

Their counters share no code with the client or the sandbox. A server counts each request at its
time of arrival, even if the client's event loop is blocked at that time.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import deque
from dataclasses import dataclass
from email.utils import formatdate
from math import ceil, floor
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

from multidict import CIMultiDict

from cekat_async._api.replies import Reply

if TYPE_CHECKING:
    from cekat_async._api.requests import Request

T = TypeVar("T")

# The loop's time 0 is not a whole second on the server's clock.
_EPOCH = 1.8e9 + 0.4
_ROUNDING = 1e-9


class Standing(NamedTuple):
    """The state of a counter at one moment.

    Attributes:
        limit: The limit that the counter reports.
        remaining: The number of requests that the counter would grant now.
        reset: The time in seconds until the window ends, or until the full limit is available.
        next: The time in seconds until the counter can grant one more request.
    """

    limit: int
    remaining: int
    reset: float
    next: float


class FixedWindow:
    """Consecutive windows. Each starts ``phase`` seconds after a multiple of its length."""

    def __init__(self, limit: int, per: float, phase: float) -> None:
        self.limit = limit
        self._per, self._phase = per, phase
        self._number, self._used = -1, 0

    def look(self, now: float) -> Standing:
        number = floor((now - self._phase) / self._per)
        if number > self._number:
            self._number, self._used = number, 0
        reset = (self._number + 1) * self._per + self._phase - now
        return Standing(self.limit, max(0, self.limit - self._used), reset, reset)

    def count(self, now: float) -> None:
        self._used += 1


class FirstHitWindow:
    """Windows on demand: each begins with the first request after the previous window."""

    def __init__(self, limit: int, per: float) -> None:
        self.limit = limit
        self._per = per
        self._end, self._used = 0.0, 0

    def look(self, now: float) -> Standing:
        if now >= self._end:
            self._end, self._used = now + self._per, 0
        reset = self._end - now
        return Standing(self.limit, max(0, self.limit - self._used), reset, reset)

    def count(self, now: float) -> None:
        self._used += 1


class SlidingWindow:
    """Grants at most ``limit`` requests in any ``per`` seconds."""

    def __init__(self, limit: int, per: float) -> None:
        self.limit = limit
        self._per = per
        self._times: deque[float] = deque()

    def look(self, now: float) -> Standing:
        while self._times and now >= self._times[0] + self._per:
            self._times.popleft()
        remaining = max(0, self.limit - len(self._times))
        first, last = (self._times[0], self._times[-1]) if self._times else (now, now)
        return Standing(self.limit, remaining, last + self._per - now, first + self._per - now)

    def count(self, now: float) -> None:
        self._times.append(now)


class Bucket:
    """Holds up to ``size`` tokens, adds ``limit`` in ``per`` seconds, and reports ``reported``."""

    def __init__(self, limit: int, per: float, size: int, reported: int) -> None:
        self.limit = limit
        self._per, self._size, self._reported = per, size, reported
        self._tokens, self._last = float(size), 0.0

    def look(self, now: float) -> Standing:
        rate = self.limit / self._per
        self._tokens = min(self._size, self._tokens + (now - self._last) * rate)
        self._last = now
        remaining = int(self._tokens + _ROUNDING)
        until_next = (remaining + 1 - self._tokens) / rate
        return Standing(
            self._reported, remaining, (self._size - self._tokens) / rate, max(0.0, until_next)
        )

    def count(self, now: float) -> None:
        self._tokens -= 1


class Window(NamedTuple):
    """One quota of a server.

    Attributes:
        kind: ``"fixed"``, ``"phase"`` (fixed, but the client starts in the middle of a window),
            ``"first hit"``, ``"sliding"`` or ``"bucket"``.
        limit: The number of requests that are granted in ``per`` seconds, or, for a bucket, the
            number of tokens that are added.
        per: The length of the window in seconds.
        size: The maximum number of tokens in a bucket. 0 means ``limit``.
        reports_size: Whether a bucket reports ``size`` as its limit instead of ``limit``.
    """

    kind: str
    limit: int
    per: float = 60.0
    size: int = 0
    reports_size: bool = False

    def build(self, begin: float) -> FixedWindow | FirstHitWindow | SlidingWindow | Bucket:
        """Return a new counter for a client that starts at the time ``begin``."""
        match self.kind:
            case "fixed":
                return FixedWindow(self.limit, self.per, begin % self.per)
            case "phase":
                return FixedWindow(self.limit, self.per, (begin + 0.37 * self.per) % self.per)
            case "first hit":
                return FirstHitWindow(self.limit, self.per)
            case "sliding":
                return SlidingWindow(self.limit, self.per)
            case _:
                size = self.size or self.limit
                reported = size if self.reports_size else self.limit
                return Bucket(self.limit, self.per, size, reported)


class Faults(NamedTuple):
    """Random refusals that do not depend on the quota. Their ``Retry-After`` is 0.

    Attributes:
        status: The status of the refusals, 429 or 503.
        share: The fraction of all requests that the server refuses at random.
        counted: Whether these requests count in the quota.
    """

    status: int
    share: float
    counted: bool


@dataclass(frozen=True, kw_only=True)
class ServerSpec:
    """How a server behaves.

    Attributes:
        windows: The server's quotas. The server grants a request if every quota permits it. Its
            headers report the first quota.
        headers: Pairs of a time and the kind of headers that the server sends from that time on.
            Times are in seconds after the start. The kinds are ``"none"``, ``"epoch"``,
            ``"delta"``, ``"next"`` (the seconds until the server can grant one more request),
            ``"no reset"``, ``"too much"`` and ``"nothing left"``.
        limits: Pairs of a time and a limit, which is the first window's limit from that time on.
        retry_after: Whether refusals have a ``Retry-After``.
        faults: The random refusals.
        at_once: The maximum number of requests in progress. The server refuses more.
        service: The time that the server needs for a request, in seconds.
        way: The shortest and the longest time that a message takes in one direction.
    """

    windows: tuple[Window, ...]
    headers: tuple[tuple[float, str], ...] = ((0.0, "epoch"),)
    limits: tuple[tuple[float, int], ...] = ()
    retry_after: bool = True
    faults: Faults | None = None
    at_once: int | None = None
    service: float = 0.0
    way: tuple[float, float] = (0.015, 0.035)

    def capacity(self, since: float, until: float) -> float:
        """Return how many requests can be granted between two times, in seconds after the start."""
        most = min(window.limit / window.per for window in self.windows)
        if self.at_once is not None:
            most = min(most, self.at_once / (self.service + sum(self.way)))
        if not self.limits:
            return most * (until - since)
        edges = [0.0, *(at for at, _ in self.limits), until]
        rates = [most, *(limit / self.windows[0].per for _, limit in self.limits)]
        spans = itertools.pairwise(edges)
        return sum(
            rate * max(0.0, min(end, until) - max(start, since))
            for rate, (start, end) in zip(rates, spans, strict=True)
        )


class Event(NamedTuple):
    """The arrival of a request: its time in seconds after the start, and its result."""

    at: float
    result: str


class ModelServer:
    """Takes the place of a pipeline's transport: counts requests, and answers them.

    Attributes:
        events: The client's requests. A result is ``"granted"``, ``"refused"`` or ``"fault"``.
        strangers: The strangers' requests. A result is ``"granted"`` or ``"refused"``.
    """

    def __init__(self, spec: ServerSpec, seed: str) -> None:
        self.events: list[Event] = []
        self.strangers: list[Event] = []
        self._spec = spec
        # Use separate random numbers, so that the strangers' requests do not depend on the client.
        self._way, self._fault, self._stranger = (
            random.Random(f"{seed} {what}") for what in ("way", "fault", "stranger")
        )
        self._begin = self._last = _now()
        self._counters = [window.build(self._begin) for window in spec.windows]
        self._working = 0

    def with_timeout(self, _timeout: object) -> Self:
        """Return this server, which has no timeouts."""
        return self

    def require_usable(self) -> None:
        """Accept requests at any time."""

    async def exchange(self, request: Request) -> Reply:
        """Receive a request after a delay, process it, and return the reply after another delay."""
        arrival = _now() + self._way.uniform(*self._spec.way)
        await _sleep_until(arrival)
        if self._spec.at_once is not None and self._working >= self._spec.at_once:
            reply = self._refuse(arrival, 429, "refused", wait=0.0)
        else:
            reply = self._answer(arrival)
        if reply.status == 200 and self._spec.service:
            self._working += 1
            arrival += self._spec.service
            await _sleep_until(arrival)
            self._working -= 1
        await _sleep_until(arrival + self._way.uniform(*self._spec.way))
        return reply

    async def send_strangers(self, rate: float) -> None:
        """Send strangers' requests at random times, ``rate`` per second on average."""
        at = self._begin
        while True:
            at += self._stranger.expovariate(rate)
            await _sleep_until(at)
            is_granted = self._may_grant(at)
            if is_granted:
                self._count(at)
            self.strangers.append(Event(at - self._begin, "granted" if is_granted else "refused"))

    def _answer(self, at: float) -> Reply:
        faults = self._spec.faults
        if faults is not None and self._fault.random() < faults.share:
            if faults.counted and self._may_grant(at):
                self._count(at)
            return self._refuse(at, faults.status, "fault", wait=0.0)
        if not self._may_grant(at):
            wait = max(one.next for one in self._look(at) if not one.remaining)
            return self._refuse(at, 429, "refused", wait)
        self._count(at)
        self.events.append(Event(at - self._begin, "granted"))
        return Reply(200, self._build_headers(at), b"")

    def _refuse(self, at: float, status: int, result: str, wait: float) -> Reply:
        self.events.append(Event(at - self._begin, result))
        headers = self._build_headers(at)
        if self._spec.retry_after:
            headers["Retry-After"] = str(ceil(wait))
        return Reply(status, headers, b"")

    def _look(self, at: float) -> list[Standing]:
        if self._spec.limits:
            limit = _get_current(self._spec.limits, at - self._begin)
            self._counters[0].limit = limit or self._spec.windows[0].limit
        # A rounding error can make a message appear to arrive before an earlier one.
        self._last = max(self._last, at)
        return [counter.look(self._last) for counter in self._counters]

    def _may_grant(self, at: float) -> bool:
        return all(one.remaining for one in self._look(at))

    def _count(self, at: float) -> None:
        for counter in self._counters:
            counter.count(at)

    def _build_headers(self, at: float) -> CIMultiDict[str]:
        form = _get_current(self._spec.headers, at - self._begin)
        wall = _EPOCH + at
        headers = CIMultiDict({"Date": formatdate(wall, usegmt=True)})
        headers.update(_report(form or "none", self._look(at)[0], wall))
        return headers


def _report(form: str, one: Standing, wall: float) -> dict[str, str]:
    names = [f"X-RateLimit-{name}" for name in ("Limit", "Remaining", "Reset")]
    limit, remaining = str(one.limit), str(one.remaining)
    match form:
        case "none":
            return {}
        case "no reset":
            values = [limit, remaining]
        case "delta":
            values = [limit, remaining, str(ceil(one.reset))]
        case "next":
            values = [limit, remaining, str(ceil(one.next))]
        case "too much":
            values = [str(4 * one.limit), str(4 * one.limit), str(ceil(wall + one.reset))]
        case "nothing left":
            values = [limit, "0", str(ceil(wall + one.reset))]
        case _:
            values = [limit, remaining, str(ceil(wall + one.reset))]
    return dict(zip(names, values, strict=False))


def _get_current(schedule: tuple[tuple[float, T], ...], at: float) -> T | None:
    """Return the entry of a schedule that applies at a time, or None before the first entry."""
    return next((value for since, value in reversed(schedule) if since <= at), None)


async def _sleep_until(at: float) -> None:
    await asyncio.sleep(at - _now())


def _now() -> float:
    return asyncio.get_running_loop().time()
