"""A server with a quota in its own process, for ``bench_quota_sockets.py``.

It shares no code with the package, its sandbox or the model servers of the tests: it has its own
HTTP, counters and headers. The only argument is a JSON object with the fields of ``Settings``. It
prints its port, serves until its standard input ends, and then prints its counts.
"""

from __future__ import annotations

import asyncio
import bisect
import json
import math
import random
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

_PAGE = {
    "success": True,
    "data": [{"id": "a-conversation"}],
    "metadata": {"next_cursor": {"cursor_id": None, "cursor_ts": None}},
}
_BODIES = {200: json.dumps(_PAGE).encode(), 429: b'{"success":false,"error":"too many requests"}'}
_REASONS = {200: "OK", 429: "Too Many Requests"}
_WATCH = 0.005


@dataclass
class Settings:
    """How the server behaves.

    Attributes:
        windows: Arguments of ``Fixed``, ``Sliding`` or ``Bucket``, with the ``kind`` of each. A
            request must fit into all of them. The headers report the first of them.
        headers: ``"epoch"``, ``"no reset"``, or ``None`` for no headers.
        faults: The share of all requests that the server refuses at random, with ``Retry-After:
            0``.
        at_once: The number of requests that the server handles at once. The server refuses further
            requests with ``Retry-After: 0``.
        service: Seconds that a granted request takes, without the network.
        way: The least and the most seconds that a message takes in one direction.
        stranger: The number of requests per second that others send at random, without retries.
        seed: The seed of all random numbers.
    """

    windows: list[dict[str, Any]]
    headers: str | None = "epoch"
    faults: float = 0.0
    at_once: int | None = None
    service: float = 0.0
    way: tuple[float, float] = (0.005, 0.02)
    stranger: float = 0.0
    seed: str = ""


class Fixed:
    """Fixed windows. They begin at multiples of their length on the server's clock."""

    def __init__(self, limit: int, per: float) -> None:
        self.limit, self.per = limit, per
        self._used: dict[int, int] = {}

    def left(self, now: float) -> int:
        """Return how many more requests fit now."""
        return self.limit - self._used.get(int(now // self.per), 0)

    def add(self, now: float) -> None:
        """Count a request."""
        number = int(now // self.per)
        self._used[number] = self._used.get(number, 0) + 1

    def wait(self, now: float) -> float:
        """Return the seconds until a request fits, if none fits now."""
        return self.per - now % self.per

    reset = wait


class Sliding:
    """A sliding window: no span of that length has more requests than the limit."""

    def __init__(self, limit: int, per: float) -> None:
        self.limit, self.per = limit, per
        self._times: list[float] = []

    def left(self, now: float) -> int:
        """Return how many more requests fit now."""
        begin = bisect.bisect_right(self._times, now - self.per)
        return self.limit - (len(self._times) - begin)

    def add(self, now: float) -> None:
        """Count a request."""
        self._times.append(now)

    def wait(self, now: float) -> float:
        """Return the seconds until a request fits, if none fits now."""
        return self._times[-self.limit] + self.per - now

    def reset(self, now: float) -> float:
        """Return the seconds until the whole limit is free."""
        return self._times[-1] + self.per - now if self._times else 0.0


class Bucket:
    """A bucket of ``size``, stored as a theoretical arrival time (GCRA). It reports its size."""

    def __init__(self, limit: int, per: float, size: int) -> None:
        self.limit = size
        self._interval, self._size = per / limit, size
        self._arrival = 0.0

    def left(self, now: float) -> int:
        """Return how many more requests fit now."""
        ahead = max(0.0, self._arrival - now) / self._interval
        return math.floor(self._size - ahead + 1e-9)

    def add(self, now: float) -> None:
        """Count a request."""
        self._arrival = max(now, self._arrival) + self._interval

    def wait(self, now: float) -> float:
        """Return the seconds until a request fits, if none fits now."""
        return self._arrival - (self._size - 1) * self._interval - now

    def reset(self, now: float) -> float:
        """Return the seconds until the bucket is full."""
        return max(0.0, self._arrival - now)


_KINDS = {"fixed": Fixed, "sliding": Sliding, "bucket": Bucket}


@dataclass
class Report:
    """The times of all requests, in seconds since the first one, and the lag of the loop."""

    granted: list[float] = field(default_factory=list[float])
    refused: list[float] = field(default_factory=list[float])
    faults: list[float] = field(default_factory=list[float])
    strangers_granted: list[float] = field(default_factory=list[float])
    strangers_refused: list[float] = field(default_factory=list[float])
    lag: float = 0.0


class Server:
    """Handles requests according to its settings, and keeps a report."""

    def __init__(self, settings: Settings) -> None:
        self.report = Report()
        self._settings = settings
        self._windows = [
            _KINDS[window["kind"]](**{key: value for key, value in window.items() if key != "kind"})
            for window in settings.windows
        ]
        # There are separate generators, so that faults do not depend on the number of messages
        # sent.
        self._way, self._fault, self._stranger = (
            random.Random(f"{settings.seed} {what}")  # noqa: S311 - repeatable
            for what in ("way", "fault", "stranger")
        )
        self._first = asyncio.get_running_loop().create_future()
        self._working = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Reply to the requests of one connection."""
        # CancelledError: a request was still in flight at the end of the case.
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(self._way.uniform(*self._settings.way))
                status, headers = await self._answer()
                await asyncio.sleep(self._way.uniform(*self._settings.way))
                writer.write(_format(status, headers))
                await writer.drain()
        writer.close()

    async def be_strangers(self) -> None:
        """Use the quota like a stranger, from the first request on."""
        await self._first
        while True:
            await asyncio.sleep(self._stranger.expovariate(self._settings.stranger))
            now = time.monotonic()
            if fits := self._fits(now):
                self._add(now)
            seen = self.report.strangers_granted if fits else self.report.strangers_refused
            seen.append(self._since_first(now))

    async def watch(self) -> None:
        """Record the lag of the event loop."""
        while True:
            due = time.monotonic() + _WATCH
            await asyncio.sleep(_WATCH)
            self.report.lag = max(self.report.lag, time.monotonic() - due)

    async def _answer(self) -> tuple[int, dict[str, str]]:
        now = time.monotonic()
        if not self._first.done():
            self._first.set_result(now)
        at, most = self._since_first(now), self._settings.at_once
        if self._fault.random() < self._settings.faults:
            self.report.faults.append(at)
            return 429, self._headers(now) | {"Retry-After": "0"}
        if most is not None and self._working >= most:
            self.report.refused.append(at)
            return 429, self._headers(now) | {"Retry-After": "0"}
        if not self._fits(now):
            self.report.refused.append(at)
            wait = max(window.wait(now) for window in self._windows if window.left(now) <= 0)
            return 429, self._headers(now) | {"Retry-After": str(math.ceil(wait))}
        self._add(now)
        self.report.granted.append(at)
        headers = self._headers(now)
        if self._settings.service:
            self._working += 1
            await asyncio.sleep(self._settings.service)
            self._working -= 1
        return 200, headers

    def _since_first(self, now: float) -> float:
        first: float = self._first.result()
        return round(now - first, 4)

    def _fits(self, now: float) -> bool:
        return all(window.left(now) > 0 for window in self._windows)

    def _add(self, now: float) -> None:
        for window in self._windows:
            window.add(now)

    def _headers(self, now: float) -> dict[str, str]:
        window, wall = self._windows[0], time.time()
        headers = {"Date": formatdate(wall, usegmt=True)}
        if self._settings.headers is None:
            return headers
        headers["X-RateLimit-Limit"] = str(window.limit)
        headers["X-RateLimit-Remaining"] = str(max(0, window.left(now)))
        if self._settings.headers == "epoch":
            headers["X-RateLimit-Reset"] = str(math.ceil(wall + window.reset(now)))
        return headers


def _format(status: int, headers: dict[str, str]) -> bytes:
    body = _BODIES[status]
    lines = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def main(settings: Settings) -> None:
    """Serve until the standard input ends, then print the report."""
    server = Server(settings)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    print(listener.sockets[0].getsockname()[1], flush=True)
    tasks = [asyncio.ensure_future(server.watch())]
    if settings.stranger:
        tasks.append(asyncio.ensure_future(server.be_strangers()))
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    listener.close()
    print(json.dumps(vars(server.report)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Settings(**json.loads(sys.argv[1]))))
