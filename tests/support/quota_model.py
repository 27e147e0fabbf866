"""Measures limiters: a server counts requests that clients and strangers send.

Everything runs on a virtual clock. The sandbox's code counts the requests and makes the headers.
Each client is the package's own pipeline, with the package's limiter or another library's.
"""

from __future__ import annotations

import asyncio
import random
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from aiolimiter import AsyncLimiter
from multidict import CIMultiDict

from cekat_async import APIStatusError, Limiter, RateLimit, RetryPolicy
from cekat_async._api.replies import Reply
from cekat_async._api.requests import Request
from cekat_async._ratelimit.sent_log import Permit
from cekat_async._request.pipeline import Pipeline
from cekat_async.sandbox import Quota
from cekat_async.sandbox.behaviour.quota import (
    build_counter,
    build_quota_headers,
    build_retry_after,
)

from .clock import VirtualLoop
from .parts import PATIENT, in_one_step, make_config

if TYPE_CHECKING:
    from collections.abc import Callable

PER = 60.0
WINDOWS = ("fixed", "phase", "first hit", "sliding", "large bucket", "small bucket")
HEADERS = ("none", "X-RateLimit", "RateLimit", "too much", "nothing left")
LIMITS = (60, 300, 1000)
TRIPS = (0.02, 0.15, 1.0, "jittered")
WORKERS = (1, 8, 32)
STRANGERS = ("alone", "30 %", "70 %", "bursts", "a client")

_SHARES = {"30 %": 0.3, "70 %": 0.7}
_BURST = 0.3
_SLOWEST_WAY = 0.5
_FASTEST_WAY = 0.02
_EPOCH = 1.8e9
_REQUEST = Request("/api/conversations", "limit=100")


class Cell(NamedTuple):
    """One combination of conditions to measure."""

    window: str
    headers: str
    limit: int
    trip: float | str
    workers: int
    strangers: str

    @property
    def mean_trip(self) -> float:
        """The mean duration of a round trip, in seconds."""
        return _FASTEST_WAY + _SLOWEST_WAY if isinstance(self.trip, str) else self.trip

    def quota(self) -> Quota:
        """Return the server's quota."""
        headers = {"X-RateLimit": "x-ratelimit", "RateLimit": "ratelimit-combined"}
        said: dict[str, Any] = {"headers": headers.get(self.headers)}
        match self.window:
            case "fixed":
                return Quota(self.limit, PER, **said)
            case "phase":
                return Quota(self.limit, PER, phase=0.37 * PER, **said)
            case "first hit":
                return Quota(self.limit, PER, "first_hit", **said)
            case "sliding":
                return Quota(self.limit, PER, "sliding", **said)
            case "large bucket":
                return Quota(self.limit, PER, "bucket", burst=self.limit, **said)
            case _:
                return Quota(self.limit, PER, "bucket", burst=max(2, self.limit // 30), **said)


class Server:
    """A model server that counts requests, and takes the place of a pipeline's transport."""

    def __init__(self, cell: Cell, seed: int) -> None:
        self.granted = self.refused = self.taken = self.wanted = 0
        self._cell = cell
        self._quota = cell.quota()
        self._counter = build_counter(self._quota)
        self._draw = random.Random(f"{cell} {seed}")

    def with_timeout(self, _timeout: object) -> Self:
        """Return this server, which has no timeouts."""
        return self

    def require_usable(self) -> None:
        """Accept requests at any time."""

    async def exchange(self, request: Request) -> Reply:
        """Receive a request after a delay, count it, and return the reply after another delay."""
        await asyncio.sleep(self._way())
        reply = self._answer()
        await asyncio.sleep(self._way())
        return reply

    async def strangers(self) -> None:
        """Use up part of the client's quota, as other programs with the same quota would do."""
        limit = self._cell.limit
        while True:
            if self._cell.strangers == "bursts":
                await asyncio.sleep(self._draw.uniform(0, 2 * PER))
                self._take(int(_BURST * limit))
            else:
                rate = _SHARES[self._cell.strangers] * limit / PER
                await asyncio.sleep(self._draw.expovariate(rate))
                self._take(1)

    def _take(self, count: int) -> None:
        self.wanted += count
        self.taken += self._counter.take(_now(), count).granted

    def _way(self) -> float:
        if isinstance(self._cell.trip, str):
            return self._draw.uniform(_FASTEST_WAY, _SLOWEST_WAY)
        return self._cell.trip / 2

    def _answer(self) -> Reply:
        now = _now()
        standing = self._counter.take(now)
        headers = CIMultiDict({"Date": formatdate(_EPOCH + now, usegmt=True)})
        headers.update(build_quota_headers(self._quota, standing, _EPOCH + now))
        headers.update(_lies(self._cell))
        self.granted += standing.granted
        self.refused += not standing.granted
        if standing.granted:
            return Reply(200, headers, b"")
        headers.update(build_retry_after(self._quota, standing, _EPOCH + now))
        return Reply(429, headers, b"")


def _lies(cell: Cell) -> dict[str, str]:
    much = str(4 * cell.limit)
    match cell.headers:
        case "too much":
            return {"X-RateLimit-Limit": much, "X-RateLimit-Remaining": much}
        case "nothing left":
            return {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "60"}
        case _:
            return {}


class Rival:
    """Adapts another library's limiter, which ignores pauses and replies."""

    def __init__(self, acquire: Callable[[], Any]) -> None:
        self._acquire = acquire

    async def acquire(self, *limits: float) -> Permit:
        """Wait until the other library's limiter allows a request."""
        await self._acquire()
        return Permit(_now())

    async def wait_unless_paused(self, wait: Callable[[], Any], *limits: float) -> None:
        """Wait to the end, because this limiter ignores pauses."""
        await wait()

    def get_pause_time(self) -> float:
        """Return 0, because there are no pauses."""
        return 0.0

    def observe(self, permit: Permit, reply: Reply) -> None:
        """No-op."""

    def observe_failure(self, *, sent: bool) -> None:
        """No-op."""

    def set_resumption(self, error: Exception, *limits: float) -> None:
        """No-op."""


def _ours(cell: Cell) -> Limiter:
    # A server's reports replace a setting. Without reports, use the same limit as the rivals.
    honest = cell.headers in {"X-RateLimit", "RateLimit"}
    return Limiter(RateLimit() if honest else RateLimit(cell.limit))


def _of_aiolimiter(rate: float, per: float) -> Rival:
    return Rival(AsyncLimiter(rate, per).acquire)


CONTENDERS: dict[str, Callable[[Cell], Any]] = {
    "cekat_async": _ours,
    "AsyncLimiter(N, 60)": lambda cell: _of_aiolimiter(cell.limit, PER),
    "AsyncLimiter(1, 60/N)": lambda cell: _of_aiolimiter(1, PER / cell.limit),
    "sleep(1)": lambda cell: Rival(lambda: asyncio.sleep(1)),
    "backoff only": lambda cell: Rival(lambda: asyncio.sleep(0)),
}


class Outcome(NamedTuple):
    """The result of a cell.

    Attributes:
        used: The fraction of the available quota that the client and strangers used together.
        refused: The number of 429 replies to the client, or to both clients if there are two.
        periods: The number of periods.
        at_20: The time in seconds until 20 pages had arrived, or -1 if fewer arrived.
        at_50: The same for 50 pages.
        at_300: The same for 300 pages.
    """

    used: float
    refused: int
    periods: int
    at_20: float
    at_50: float
    at_300: float

    @property
    def refused_in_a_period(self) -> float:
        """The mean number of 429 replies in a period."""
        return self.refused / self.periods


def run(cell: Cell, contender: str, periods: int, seed: int = 1) -> Outcome:
    """Measure a contender under the conditions of a cell, on a virtual clock."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_run(cell, CONTENDERS[contender], periods, seed))


async def _run(cell: Cell, contender: Callable[[Cell], Any], periods: int, seed: int) -> Outcome:
    # Do not start at time zero, which is a special moment.
    await asyncio.sleep(3 * PER)
    server = Server(cell, seed)
    done: list[float] = []
    tasks = _client(cell, contender(cell), server, done)
    if cell.strangers == "a client":
        tasks += _client(cell, contender(cell), server, [])
    elif cell.strangers != "alone":
        tasks.append(asyncio.ensure_future(server.strangers()))
    begin = _now()
    await asyncio.sleep(periods * PER)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    clients = 2 if cell.strangers == "a client" else 1
    carried = clients * cell.workers * periods * PER / cell.mean_trip
    could = min(cell.limit * periods, carried + server.wanted)
    times = [done[n - 1] - begin if len(done) >= n else -1.0 for n in (20, 50, 300)]
    return Outcome((server.granted + server.taken) / could, server.refused, periods, *times)


_DECODE = in_one_step(lambda reply: reply)


def _client(
    cell: Cell, limiter: Any, server: Server, done: list[float]
) -> list[asyncio.Task[None]]:
    """Start a client's workers, which add the arrival time of each page to ``done``."""
    retry = RetryPolicy(budget=None)
    config = make_config(retry=retry, timeout=PATIENT, concurrency=cell.workers)
    pipeline = Pipeline(config, limiter, server)
    return [asyncio.ensure_future(_work(pipeline, done)) for _ in range(cell.workers)]


async def _work(pipeline: Pipeline, done: list[float]) -> None:
    while True:
        try:
            await pipeline.fetch(_REQUEST, _DECODE)
        except APIStatusError:
            continue  # a user's program would stop here
        done.append(_now())


def _now() -> float:
    return asyncio.get_running_loop().time()
