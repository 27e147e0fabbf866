"""The time that latency costs one walk and many walks, compared with a lower bound.

The sandbox runs in its own process and answers after 50 ms. It has no quota, except in the last two
cases. A bare socket gets its reply after exactly 50 ms, because the sandbox waits a little less, to
make up for the delays of this machine's timers. The lower bound is the least time that the network
and the caller's own work allow. A ratio is the measured time divided by the lower bound. The rival
is a serial loop.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import selectors
import socket
import statistics
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import aiohttp
from suite import Metric, Result, Sample, argument_parser, show

from cekat_async import CekatClient, RateLimit
from cekat_async.sandbox import Dialect, Quota, Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Coroutine, Generator
    from multiprocessing.connection import Connection

    from cekat_async import ConversationPage
    from cekat_async.sandbox.options import Density

T = TypeVar("T")

LATENCY = 0.05
PER_PAGE = 100
WALKS = 16
INBOXES = 64
EMPTY = 10_000
SEGMENTS = 8
WALKERS = 64

_METRICS = [
    Metric(key="bound", heading="bound, s", digits=2),
    Metric(key="ours", heading="ours, s", digits=2),
    Metric(key="ratio", heading="ratio", digits=2),
    Metric(key="requests", heading="requests", digits=2),
    Metric(key="serial", heading="serial loop, s", digits=2),
]


class Server(NamedTuple):
    """A sandbox: its address, its key, and the number of pages of each inbox."""

    base_url: str
    api_key: str
    pages: dict[str, int]


class Row(NamedTuple):
    """One case: the lower bound, our time, and the time of the serial loop, in seconds.

    ``requests`` is the number of requests, divided by the number for a walk in order.
    """

    case: str
    bound: float
    ours: float
    serial: float | None
    requests: float = 1.0


def serve(
    pipe: Connection,
    conversations: int,
    inboxes: int,
    latency: float,
    quota: Quota | None,
    density: Density,
) -> None:
    """Run a sandbox until the parent process sends a message."""

    async def main() -> None:
        async with Sandbox(
            conversations,
            inboxes,
            quota=quota,
            latency=latency,
            cache=conversations,
            dialect=Dialect(density=density),
        ) as sandbox:
            for _ in sandbox.records():
                pass  # so that the time to build records is not measured
            pages = {id_: max(1, -(-sandbox.count(id_) // PER_PAGE)) for id_ in sandbox.inbox_ids}
            pipe.send(Server(sandbox.base_url, sandbox.api_key, pages))
            await asyncio.to_thread(pipe.recv)

    run(main())


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a loop with exact timers.

    The usual selectors round each wait up to whole milliseconds, which is not exact enough here.
    """
    with asyncio.Runner(
        loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())
    ) as runner:
        return runner.run(work)


@contextmanager
def server(
    conversations: int,
    inboxes: int,
    latency: float = LATENCY,
    quota: Quota | None = None,
    density: str = "even",
) -> Generator[Server]:
    """Start a sandbox in its own process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=serve, args=(theirs, conversations, inboxes, latency, quota, density)
    )
    process.start()
    theirs.close()  # so that recv() fails if the server exits early
    try:
        yield ours.recv()
    finally:
        ours.send(None)
        process.join()


def lateness() -> float:
    """Return how many seconds too late a reply arrives at a bare socket."""
    with server(PER_PAGE, 1) as where:
        return statistics.median(bare_exchange(where) for _ in range(41)) - LATENCY


def bare_exchange(where: Server) -> float:
    """Return the seconds that a page takes on a bare socket.

    Opening the socket is not included.
    """
    address = urlsplit(where.base_url)
    request = (
        f"GET /api/conversations?limit={PER_PAGE} HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: Bearer {where.api_key}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port)) as connection:
        begin = time.perf_counter()
        connection.sendall(request.encode())
        while connection.recv(1 << 20):
            pass
        return time.perf_counter() - begin


def make_client(where: Server, concurrency: int = 8) -> CekatClient:
    """Return a client without a rate limit."""
    return CekatClient(
        where.api_key, base_url=where.base_url, rate_limit=None, concurrency=concurrency
    )


async def serial_pages(where: Server, *inbox_ids: str) -> AsyncGenerator[list[Any]]:
    """Walk like the obvious script: one page, then the work, then the next page."""
    headers = {"Authorization": f"Bearer {where.api_key}"}
    url = f"{where.base_url}/api/conversations"
    async with aiohttp.ClientSession(headers=headers) as session:
        for inbox_id in inbox_ids:
            query: dict[str, str] = {"limit": str(PER_PAGE), "inbox_id": inbox_id}
            while query:
                async with session.get(url, params=query) as response:
                    answer = await response.json()
                yield answer["data"]
                cursor = answer["metadata"]["next_cursor"]
                query = query | cursor if cursor["cursor_id"] else {}


async def timed(work: Awaitable[int], expected: int) -> float:
    """Return the seconds that some work takes. Exit if the work did not find all pages."""
    begin = time.perf_counter()
    found = await work
    seconds = time.perf_counter() - begin
    if found != expected:
        sys.exit(f"received {found} pages of {expected}")
    return seconds


async def worked(pages: AsyncGenerator[object, None], work: float) -> int:
    """Count pages, and work on each of them for ``work`` seconds."""
    count = 0
    async for _ in pages:
        count += 1
        if work:
            await asyncio.sleep(work)
    return count


async def one_walk(where: Server, pages: int, work: float) -> Row:
    """Walk all pages while the caller works on each of them."""
    async with make_client(where) as cekat:
        await cekat.conversations.page(limit=1)
        ours = await timed(worked(cekat.conversations.list().pages(), work), pages)
    serial = await timed(worked(serial_pages(where, *where.pages), work), pages)
    bound = pages * max(LATENCY, work) + min(LATENCY, work)
    return Row(f"one walk, {pages} pages, {1000 * work:.0f} ms of work each", bound, ours, serial)


async def many_walks(where: Server) -> Row:
    """Walk all inboxes at once."""
    total, longest = sum(where.pages.values()), max(where.pages.values())
    async with make_client(where, WALKS) as cekat:
        stream = cekat.conversations.across(list(where.pages), concurrency=WALKS).pages()
        ours = await timed(worked(stream, 0), total)
    serial = await timed(worked(serial_pages(where, *where.pages), 0), total)
    bound = max(total / WALKS, longest) * LATENCY
    case = f"{INBOXES} inboxes, {total} pages, the longest {longest}, {WALKS} at once"
    return Row(case, bound, ours, serial)


async def in_segments(where: Server, pages: int, density: str) -> Row:
    """Walk one inbox in segments."""
    async with make_client(where, SEGMENTS) as cekat:
        await cekat.conversations.page(limit=1)
        begun = cekat.traffic.requests
        stream = cekat.conversations.list(segments=SEGMENTS).pages()
        seconds = await timed(counted(stream), PER_PAGE * pages)
        requests = cekat.traffic.requests - begun
    serial = await timed(worked(serial_pages(where, *where.pages), 0), pages)
    case = f"one inbox, {pages} pages, {density}, {SEGMENTS} segments"
    return Row(case, pages * LATENCY / SEGMENTS, seconds, serial, requests / pages)


async def against_the_quota(where: Server, pages: int, quota: Quota) -> Row:
    """Walk one inbox in so many segments that only the quota limits the speed."""
    limit = RateLimit(quota.requests, per=quota.per)
    async with CekatClient(
        where.api_key, base_url=where.base_url, rate_limit=limit, concurrency=WALKERS
    ) as cekat:
        stream = cekat.conversations.list(segments=WALKERS).pages()
        seconds = await timed(counted(stream), PER_PAGE * pages)
        requests = cekat.traffic.requests
    case = f"{pages} pages, {quota.requests} per {quota.per:g} s, 500 ms, {WALKERS} segments"
    return Row(case, pages * quota.per / quota.requests, seconds, None, requests / pages)


async def counted(pages: AsyncGenerator[ConversationPage, None]) -> int:
    """Count the distinct conversations of some pages."""
    return len({conversation.id async for page in pages for conversation in page})


async def empty_inboxes(where: Server) -> str:
    """Walk ten thousand empty inboxes."""
    most = before = 0
    begin = time.perf_counter()

    async def ids() -> AsyncGenerator[str, None]:
        nonlocal most, before
        for number, inbox_id in enumerate(where.pages):
            most = max(most, len(asyncio.all_tasks()))
            before = resident() if number == EMPTY // 10 else before
            yield inbox_id

    async with make_client(where) as cekat:
        async for _ in cekat.conversations.across(ids(), concurrency=8):
            pass
    grown = (resident() - before) / 1e6
    seconds = time.perf_counter() - begin
    return f"{EMPTY:,} empty inboxes, 8 at once: {seconds:.1f} s, {most} tasks, {grown:+.1f} MB"


def resident() -> int:
    """Return the memory of the process in bytes, or 0 if the system does not report it."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


def measure(pages: int, latency: float) -> list[Row]:
    """Measure walks in order: one walk, and many inboxes."""
    rows: list[Row] = []
    with server(PER_PAGE * pages, 1, latency) as where:
        rows += [run(one_walk(where, pages, work)) for work in (0, 0.02, 0.05, 0.1)]
    # Most inboxes end in the middle of a page. So this makes about 3 x `pages` pages.
    with server(PER_PAGE * max(3 * pages - INBOXES // 2, INBOXES), INBOXES, latency) as where:
        rows.append(run(many_walks(where)))
    return rows


def measure_segments(pages: int, latency: float) -> list[Row]:
    """Measure one listing in segments, first limited by latency and then by a quota."""
    rows: list[Row] = []
    densities: tuple[Density, ...] = ("even", "bursty", "recent")
    for density in densities:
        with server(PER_PAGE * pages, 1, latency, density=density) as where:
            rows.append(run(in_segments(where, pages, density)))
    for quota, length in ((Quota(300, per=3), pages), (Quota(3000, per=30), 10 * pages)):
        with server(PER_PAGE * length, 1, 9 * LATENCY + latency, quota) as where:
            rows.append(run(against_the_quota(where, length, quota)))
    return rows


def get_result(rows: list[Row], notes: list[str]) -> Result:
    """Return the rows as a ``Result``."""
    return Result(
        title=f"latency of {1000 * LATENCY:.0f} ms: one walk, many at once, and in segments",
        metrics=_METRICS,
        samples={row.case: [_sample(row)] for row in rows},
        notes=notes,
    )


def _sample(row: Row) -> Sample:
    sample = {"bound": row.bound, "ours": row.ours, "ratio": row.ours / row.bound}
    sample["requests"] = row.requests
    return sample | ({"serial": row.serial} if row.serial else {})


def main() -> int:
    """Measure and print. Fail if a ratio is too large."""
    parser = argument_parser(__doc__)
    parser.add_argument("--pages", type=int, default=200, help="of 100 conversations")
    parser.add_argument(
        "--segment-pages", type=int, default=400, help="pages of a walk in segments"
    )
    parser.add_argument("--at-most", type=float, help="fail if a walk in order has a larger ratio")
    options = parser.parse_args()
    late = lateness()
    walks = measure(options.pages, LATENCY - late)
    rows = walks + measure_segments(options.segment_pages, LATENCY - late)
    with server(0, EMPTY, 0.0) as where:
        notes = [run(empty_inboxes(where))]
    notes.append(f"A bare socket gets its replies {1000 * late:.1f} ms late; this is compensated.")
    show([get_result(rows, notes)], as_json=options.json)
    worst = max(row.ours / row.bound for row in walks)
    return int(options.at_most is not None and worst > options.at_most)


if __name__ == "__main__":
    sys.exit(main())
