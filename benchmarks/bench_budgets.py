"""The share of a quota that several processes use if they share the quota through a budget.

The sandbox runs in its own process. It does not report its quota, so only the budget keeps the
processes within it. Each process walks all conversations, one per page, with its own client and
limiter. The budget is in a file, and also in Redis if ``--redis`` names a server.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench_quota_contenders import Server, server
from suite import Metric, Result, Samples, argument_parser, show

from cekat_async import CekatClient, Limiter, RateLimit
from cekat_async.budgets import FileBudget, RedisBudget
from cekat_async.sandbox import Quota

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_METRICS = [
    Metric(key="used", heading="% of the quota used", digits=1),
    Metric(key="refused", heading="replies of 429"),
]
_BUDGETS = {"file": FileBudget, "redis": RedisBudget}


class Job(NamedTuple):
    """The task of each process.

    Attributes:
        where: The server.
        kind: The kind of the budget.
        place: The file of the budget, or the URL of its server.
        quota: The quota of the server.
        share: The part of the quota that a process uses while the budget cannot be reached.
    """

    where: Server
    kind: str
    place: str
    quota: Quota
    share: float


def walk(pipe: Connection, job: Job) -> None:
    """Walk all conversations. Report the time of each page, and the number of refused requests."""

    async def main() -> None:
        times: list[float] = []
        rate = RateLimit(job.quota.requests, job.quota.per)
        async with _BUDGETS[job.kind](job.place) as budget:
            limiter = Limiter(rate, budget=budget, share=job.share)
            async with CekatClient(
                job.where.api_key, base_url=job.where.base_url, rate_limit=limiter
            ) as client:
                pipe.send("ready")
                pipe.recv()
                async for _ in client.conversations.list(page_size=1):
                    times.append(time.monotonic())  # noqa: PERF401 - the time of each one is needed
                pipe.send((times, limiter.snapshot().refused))

    asyncio.run(main())


def run(job: Job, processes: int) -> tuple[float, int]:
    """Run the processes at the same time. Return the share used and the refusals."""
    context = multiprocessing.get_context("spawn")
    pipes: list[Connection] = []
    for _ in range(processes):
        ours, theirs = context.Pipe()
        context.Process(target=walk, args=(theirs, job)).start()
        pipes.append(ours)
    for pipe in pipes:
        pipe.recv()
    for pipe in pipes:
        pipe.send("go")
    outcomes: list[tuple[list[float], int]] = [pipe.recv() for pipe in pipes]
    times = sorted(itertools.chain.from_iterable(found for found, _ in outcomes))
    rate = (len(times) - 1) / (times[-1] - times[0])
    return rate * job.quota.per / job.quota.requests, sum(refused for _, refused in outcomes)


def measure(quota: Quota, processes: int, pages: int, redis: str | None) -> Samples:
    """Return the samples of each kind of budget."""
    samples = Samples()
    with tempfile.TemporaryDirectory() as folder:
        places = {"file": str(Path(folder) / "budget.sqlite")} | ({"redis": redis} if redis else {})
        for kind, place in places.items():
            with server(quota, pages) as where:
                share, refused = run(Job(where, kind, place, quota, 1 / processes), processes)
            samples[f"cekat_async, budget in {kind}"] = [{"used": 100 * share, "refused": refused}]
    return samples


def main() -> int:
    """Measure and print.

    With ``--at-least``, fail if a request is refused or a smaller share is used.
    """
    parser = argument_parser(__doc__)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--per", type=float, default=6.0)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--pages", type=int, default=600, help="pages of each process")
    parser.add_argument("--redis", help="URL of a Redis server whose data may be changed")
    parser.add_argument("--at-least", type=float, help="fail if a smaller share is used")
    options = parser.parse_args()
    quota = Quota(options.requests, options.per, "sliding", headers=None, retry_after="fraction")
    samples = measure(quota, options.processes, options.pages, options.redis)
    result = Result(
        title=f"{options.processes} processes share {quota.requests} requests in {quota.per:g} s",
        metrics=_METRICS,
        samples=samples,
    )
    show([result], as_json=options.json)
    if options.at_least is None:
        return 0
    found = [sample for (sample,) in samples.values()]
    return int(any(one["refused"] or one["used"] < 100 * options.at_least for one in found))


if __name__ == "__main__":
    sys.exit(main())
