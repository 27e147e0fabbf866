"""A client in its own process, for ``bench_quota_sockets.py``: our client or a hand-written loop.

The only argument is a JSON object with the fields of ``Settings``. The process prints a line when
it starts. At the end, it prints the maximum delay of its event loop in seconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
from aiolimiter import AsyncLimiter

from cekat_async import APIStatusError, CekatClient, RateLimit, Timeout

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

_KEY = "a-made-up-key"
_PATH = "/api/conversations?limit=1"
_WATCH = 0.005


@dataclass
class Settings:
    """How the client behaves.

    Attributes:
        base_url: Where the server is.
        seconds: How long it sends requests.
        workers: How many workers send requests. Each sends one after another.
        options: Arguments of ``RateLimit``.
        by_hand: Requests and seconds of an ``AsyncLimiter`` for the hand-written loop; ``None`` for
            our client.
        stall: The seconds for which the event loop is blocked, and the seconds between two such
            blocks. ``None`` for never.
    """

    base_url: str
    seconds: float
    workers: int = 8
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    by_hand: tuple[float, float] | None = None
    stall: tuple[float, float] | None = None


@asynccontextmanager
async def ours(settings: Settings) -> AsyncGenerator[Callable[[], Awaitable[object]]]:
    """Yield a function that fetches one page with our client."""
    async with CekatClient(
        _KEY,
        base_url=settings.base_url,
        rate_limit=RateLimit(**settings.options),
        timeout=Timeout(deadline=None),
        concurrency=settings.workers,
    ) as client:

        async def fetch() -> None:
            with suppress(APIStatusError):
                await client.conversations.page(limit=1)

        yield fetch


@asynccontextmanager
async def loop_by_hand(settings: Settings) -> AsyncGenerator[Callable[[], Awaitable[object]]]:
    """Yield a function that sends one request and obeys the ``Retry-After`` of a 429."""
    limiter = AsyncLimiter(*settings.by_hand) if settings.by_hand else None
    headers = {"Authorization": f"Bearer {_KEY}"}
    async with aiohttp.ClientSession(settings.base_url, headers=headers) as session:

        async def fetch() -> None:
            if limiter:
                await limiter.acquire()
            async with session.get(_PATH) as response:
                await response.read()
            if response.status == 429:
                await asyncio.sleep(float(response.headers["Retry-After"]))

        yield fetch


async def repeat(fetch: Callable[[], Awaitable[object]]) -> None:
    """Send one request after another."""
    while True:
        await fetch()


async def block(seconds: float, every: float) -> None:
    """Block the event loop repeatedly."""
    while True:
        await asyncio.sleep(every - seconds)
        time.sleep(seconds)  # noqa: ASYNC251 - on purpose


async def watch(seconds: float) -> float:
    """Wait. Return the maximum delay of the event loop."""
    lag, end = 0.0, time.monotonic() + seconds
    while (due := time.monotonic() + _WATCH) < end:
        await asyncio.sleep(_WATCH)
        lag = max(lag, time.monotonic() - due)
    return lag


async def main(settings: Settings) -> float:
    """Send requests for a while. Return the maximum delay of the event loop."""
    async with loop_by_hand(settings) if settings.by_hand else ours(settings) as fetch:
        print("started", flush=True)
        tasks = [asyncio.ensure_future(repeat(fetch)) for _ in range(settings.workers)]
        if settings.stall:
            tasks.append(asyncio.ensure_future(block(*settings.stall)))
        lag = await watch(settings.seconds)
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            # If a worker ended early, the measurement would be worthless.
            if ended is not None and not isinstance(ended, asyncio.CancelledError):
                raise ended
        return lag


if __name__ == "__main__":
    print(asyncio.run(main(Settings(**json.loads(sys.argv[1])))))
