"""The share of a quota that each contender uses over real sockets, and its refusals.

The sandbox runs in its own process and grants 300 requests in 3 seconds. Each contender requests
pages for several periods. The contenders are our client, our export, and hand-written loops that
obey the ``Retry-After`` of a 429: one paced by aiolimiter, and one without pacing.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
from aiolimiter import AsyncLimiter
from suite import Metric, Result, argument_parser, show

from cekat_async import CekatClient, RateLimit, Timeout
from cekat_async.export import export_conversations
from cekat_async.sandbox import Quota, Sandbox

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator
    from multiprocessing.connection import Connection

    from cekat_async.sandbox.options import Window

WINDOWS: tuple[Window, ...] = ("fixed", "first_hit", "sliding", "bucket")
WORKERS = 8

_METRICS = [
    Metric(key="used", heading="% of the quota used", digits=1),
    Metric(key="refused", heading="replies of 429"),
]


class Server(NamedTuple):
    """The address of a sandbox, and its key."""

    base_url: str
    api_key: str


class Outcome(NamedTuple):
    """The number of pages and of 429s that a contender received."""

    pages: int
    refused: int


def serve(pipe: Connection, quota: Quota, conversations: int) -> None:
    """Run a sandbox until the parent process sends a message."""

    async def main() -> None:
        async with Sandbox(conversations, quota=quota) as sandbox:
            pipe.send(Server(sandbox.base_url, sandbox.api_key))
            await asyncio.to_thread(pipe.recv)

    asyncio.run(main())


@contextmanager
def server(quota: Quota, conversations: int = 1000) -> Generator[Server]:
    """Start a sandbox in its own process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, quota, conversations))
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send(None)
        process.join()


def make_client(where: Server, quota: Quota) -> CekatClient:
    """Return our client, without a time limit for requests."""
    return CekatClient(
        where.api_key,
        base_url=where.base_url,
        rate_limit=RateLimit(per=quota.per),
        timeout=Timeout(request=None),
    )


async def cekat(where: Server, seconds: float, quota: Quota) -> Outcome:
    """Request pages with our client."""
    pages = 0
    async with make_client(where, quota) as client:

        async def work() -> None:
            nonlocal pages
            while True:
                await client.conversations.page(limit=1)
                pages += 1

        await for_a_while(work, seconds)
        return Outcome(pages, client.limiter.snapshot().refused)


async def export(where: Server, seconds: float, quota: Quota) -> Outcome:
    """Export with one conversation per page. The export itself reports the share used."""
    async with make_client(where, quota) as client:
        with tempfile.TemporaryDirectory() as folder:
            report = await export_conversations(client, Path(folder) / "x.jsonl", page_size=1)
        share = report.quota_share or 0.0
        return Outcome(round(share * quota.requests * seconds / quota.per), report.refused)


async def by_hand(where: Server, seconds: float, limiter: AsyncLimiter | None) -> Outcome:
    """Request pages with a hand-written loop."""
    pages = refused = 0
    headers = {"Authorization": f"Bearer {where.api_key}"}
    async with aiohttp.ClientSession(where.base_url, headers=headers) as session:

        async def work() -> None:
            nonlocal pages, refused
            while True:
                if limiter is not None:
                    await limiter.acquire()
                async with session.get("/api/conversations?limit=1") as response:
                    await response.read()
                if response.status == 200:
                    pages += 1
                else:
                    refused += 1
                    await asyncio.sleep(float(response.headers["Retry-After"]))

        await for_a_while(work, seconds)
    return Outcome(pages, refused)


async def for_a_while(work: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Run all workers for some seconds."""
    tasks = [asyncio.ensure_future(work()) for _ in range(WORKERS)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def contenders(
    quota: Quota, seconds: float
) -> dict[str, Callable[[Server], Coroutine[Any, Any, Outcome]]]:
    """Return the contenders by name."""
    return {
        "cekat_async": lambda where: cekat(where, seconds, quota),
        "cekat_async, export": lambda where: export(where, seconds, quota),
        "AsyncLimiter(N, per)": lambda where: by_hand(
            where, seconds, AsyncLimiter(quota.requests, quota.per)
        ),
        "AsyncLimiter(1, per/N)": lambda where: by_hand(
            where, seconds, AsyncLimiter(1, quota.per / quota.requests)
        ),
        "no pacing": lambda where: by_hand(where, seconds, None),
    }


def measure(requests: int, per: float, periods: int) -> list[tuple[str, str, float, int]]:
    """Return the share used, and the number of refusals, for each window and contender."""
    found: list[tuple[str, str, float, int]] = []
    for window in WINDOWS:
        quota = Quota(requests, per=per, window=window, phase=time.monotonic() % per)
        for name in contenders(quota, 0):
            with server(quota, requests * periods) as where:
                outcome = asyncio.run(contenders(quota, per * periods)[name](where))
            share = outcome.pages / (requests * periods)
            found.append((window, name, share, outcome.refused))
            print(f"{window}: {name}", file=sys.stderr, flush=True)
    return found


def main() -> int:
    """Measure and print.

    With ``--at-least``, fail if our client is refused or uses a smaller share.
    """
    parser = argument_parser(__doc__)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--per", type=float, default=3.0)
    parser.add_argument("--periods", type=int, default=10)
    parser.add_argument(
        "--at-least", type=float, help="fail if we use a smaller share, or are refused"
    )
    options = parser.parse_args()
    found = measure(options.requests, options.per, options.periods)
    result = Result(
        title=f"the quota over sockets, {options.requests} in {options.per:g} s",
        metrics=_METRICS,
        samples={
            f"{name}, {window}": [{"used": 100 * share, "refused": refused}]
            for window, name, share, refused in found
        },
    )
    show([result], as_json=options.json)
    ours = [(share, refused) for _, name, share, refused in found if name.startswith("cekat_async")]
    if options.at_least is None:
        return 0
    return int(any(refused or share < options.at_least for share, refused in ours))


if __name__ == "__main__":
    sys.exit(main())
