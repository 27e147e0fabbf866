"""The cost of the limiter in microseconds per request, compared with aiolimiter."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiolimiter import AsyncLimiter
from multidict import CIMultiDict
from suite import Metric, Result, argument_parser, show

from cekat_async import Limiter, RateLimit
from cekat_async._api.replies import Reply

# The virtual clock of the tests, so that only work is measured and no waiting.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.clock import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MANY = 100_000_000
SILENT = Reply(200, CIMultiDict(), b"")
FREE = Reply(
    200,
    CIMultiDict(
        {
            "X-RateLimit-Limit": str(MANY),
            "X-RateLimit-Remaining": str(MANY - 1),
            "X-RateLimit-Reset": "60",
        }
    ),
    b"",
)


async def uncontended(limiter: Limiter, reply: Reply, rounds: int) -> tuple[float, float]:
    """Return the cost of an ``acquire`` and of an ``observe`` without waiting.

    Each cost is from its best round.
    """
    # Before the first reply, the limiter sends only one request.
    limiter.observe(await limiter.acquire(), reply)
    acquires, observes = list[float](), list[float]()
    for _ in range(rounds):
        begin = time.perf_counter()
        permits = [await limiter.acquire() for _ in range(200)]
        acquires.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        for permit in permits:
            limiter.observe(permit, reply)
        observes.append(time.perf_counter() - begin)
    return min(acquires) / 200 * 1e6, min(observes) / 200 * 1e6


async def bare(rounds: int) -> float:
    """Return the cost of an ``acquire`` of aiolimiter without waiting."""
    limiter, spans = AsyncLimiter(MANY, 60), list[float]()
    for _ in range(rounds):
        begin = time.perf_counter()
        for _ in range(200):
            await limiter.acquire()
        spans.append(time.perf_counter() - begin)
    return min(spans) / 200 * 1e6


async def crowd(
    acquire: Callable[[], Awaitable[Any]], waiters: int, *, half_gives_up: bool
) -> float:
    """Return the cost of each of many waiters, until it is admitted or gives up."""
    begin = time.perf_counter()
    tasks = [asyncio.ensure_future(acquire()) for _ in range(waiters)]
    await asyncio.sleep(0)
    if half_gives_up:
        for task in tasks[1::2]:
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return (time.perf_counter() - begin) / waiters * 1e6


def in_a_crowd(waiters: int, *, ours: bool, half_gives_up: bool) -> float:
    """Return the cost of each of many waiters.

    The clock is virtual, so that waiting takes no time.
    """

    async def main() -> float:
        limiter = Limiter(RateLimit(300))

        async def acquire() -> None:
            limiter.observe(await limiter.acquire(), SILENT)

        rival = AsyncLimiter(3, 0.6).acquire
        return await crowd(acquire if ours else rival, waiters, half_gives_up=half_gives_up)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def measure(waiters: int, rounds: int) -> dict[str, float]:
    """Return all figures by name."""
    rate = RateLimit(MANY)
    found = {"aiolimiter, no waiting": asyncio.run(bare(rounds))}
    for name, reply in (("no headers", SILENT), ("headers", FREE)):
        acquire, observe = asyncio.run(uncontended(Limiter(rate), reply, rounds))
        found[f"acquire, no waiting, {name}"] = acquire
        found[f"observe, {name}"] = observe
    for count in (waiters // 10, waiters):
        for name, ours in (("cekat_async", True), ("aiolimiter", False)):
            for how, gives_up in (("", False), (", half give up", True)):
                found[f"{name}, each of {count:,} waiters{how}"] = in_a_crowd(
                    count, ours=ours, half_gives_up=gives_up
                )
    return found


def main() -> int:
    """Measure and print. Fail if an ``acquire`` without waiting costs too much."""
    parser = argument_parser(__doc__)
    parser.add_argument("--waiters", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument(
        "--at-most", type=float, help="fail if an acquire without waiting takes more microseconds"
    )
    options = parser.parse_args()
    found = measure(options.waiters, options.rounds)
    result = Result(
        title="the limiter, per request",
        metrics=[Metric(key="us", heading="µs", digits=1)],
        samples={name: [{"us": microseconds}] for name, microseconds in found.items()},
    )
    show([result], as_json=options.json)
    dearest = max(value for name, value in found.items() if name.startswith("acquire"))
    return int(options.at_most is not None and dearest > options.at_most)


if __name__ == "__main__":
    sys.exit(main())
