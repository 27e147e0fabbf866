"""Many accounts in one process: each client has its own key, and sends one request per second.

Each case runs in its own process, in one event loop. A task measures the lag of the loop: it sleeps
for 10 ms and notes how late it wakes up. That task itself takes CPU time, so the CPU is measured
first, without it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench_memory import resident
from page_server import Listing, serving
from suite import (
    Claim,
    Metric,
    Result,
    Sample,
    argument_parser,
    fresh,
    interleaved,
    ratios,
    show,
    values,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Awaitable,
        Callable,
        Coroutine,
        Iterator,
        Mapping,
        Sequence,
    )

OURS = "cekat_async"
HEADERS = "cekat_async, a server that reports its quota"
OWN, SHARED = "hand-written loops", "hand-written loops, one session"
# No walk reads this many pages.
_PAGES = 10_000
# Each client walks this many pages before the measurement begins.
_WARM_UP = 3
_SLEEP = 0.01
_METRICS = [
    Metric(key="memory", heading="kB per client"),
    Metric(key="cpu", heading="CPU ms per request", digits=2),
    Metric(key="lag", heading="lag ms, 99th percentile", digits=1),
    Metric(key="rate", heading="requests/s", digits=1),
    Metric(key="least", heading="slowest client, x its pace", digits=2),
]
_NOTE = (
    "The clients start one after another within a second, to spread their requests. A "
    "hand-written loop is aiohttp, msgspec and an `AsyncLimiter(1, 1)`. It has its own session, "
    "or shares one with all others. CPU is the CPU time of the whole process. Memory is how much "
    "the process grew after a first client had walked and was closed."
)


class Walker(NamedTuple):
    """One account: the seconds between its requests, and the list in which it counts records."""

    number: int
    base_url: str
    per_page: int
    period: float
    counts: list[int]

    @property
    def key(self) -> str:
        """The API key of the account."""
        return f"benchmark-{self.number}"


async def ours(walker: Walker, *, states_quota: bool = False) -> None:
    """Walk with our client."""
    from cekat_async import CekatClient, RateLimit  # noqa: PLC0415 - each process imports only what it needs

    # If the server reported a whole minute's quota as left, a client would use it up at once.
    requests = 1 if states_quota else 60
    rate = RateLimit(requests, requests * walker.period)
    async with CekatClient(walker.key, base_url=walker.base_url, rate_limit=rate) as cekat:
        async for conversation in cekat.conversations.list(page_size=walker.per_page):
            walker.counts[walker.number] += conversation.id is not None


async def with_own_session(walker: Walker) -> None:
    """Walk with a hand-written loop that has its own session."""
    import aiohttp  # noqa: PLC0415

    async with aiohttp.ClientSession() as session:
        await _by_hand(walker, session)


async def _by_hand(walker: Walker, session: Any) -> None:
    import msgspec  # noqa: PLC0415
    from aiolimiter import AsyncLimiter  # noqa: PLC0415
    from rivals.by_hand import Page  # noqa: PLC0415

    decoder, limiter = msgspec.json.Decoder(Page), AsyncLimiter(1, walker.period)
    url, headers = f"{walker.base_url}/api/conversations", {"Authorization": f"Bearer {walker.key}"}
    cursor: dict[str, str | None] = {}
    while True:
        query = {"limit": str(walker.per_page), **cursor}
        async with limiter, session.get(url, params=query, headers=headers) as response:
            page = decoder.decode(await response.read())
        for conversation in page.data:
            walker.counts[walker.number] += conversation.id is not None
        following = page.metadata.next_cursor
        cursor = {"cursor_id": following.cursor_id, "cursor_ts": following.cursor_ts}


async def _each(walk: Callable[[Walker], Coroutine[Any, Any, None]], walkers: list[Walker]) -> None:
    """Start all walks within one period, one after another."""
    async with asyncio.TaskGroup() as group:
        for walker in walkers:
            group.create_task(walk(walker))
            await asyncio.sleep(walker.period / len(walkers))


async def _with_shared_session(walkers: list[Walker]) -> None:
    import aiohttp  # noqa: PLC0415

    async with aiohttp.ClientSession() as session:
        await _each(partial(_by_hand, session=session), walkers)


_CROWDS: dict[str, Callable[[list[Walker]], Awaitable[None]]] = {
    OURS: partial(_each, ours),
    HEADERS: partial(_each, partial(ours, states_quota=True)),
    OWN: partial(_each, with_own_session),
    SHARED: _with_shared_session,
}


def measure(
    who: str, clients: int, base_url: str, per_page: int, period: float, seconds: float
) -> Sample:
    """Measure the CPU for ``seconds``, and then the lag for half that time."""
    counts = [0] * clients
    walkers = [Walker(number, base_url, per_page, period, counts) for number in range(clients)]
    return asyncio.run(_measure(who, walkers, seconds))


async def _measure(who: str, walkers: list[Walker], seconds: float) -> Sample:
    _, _, per_page, period, counts = walkers[0]
    async with _walking(_CROWDS[who](walkers[:1])):
        await _warm_up(walkers[:1])
    before = _settled()
    async with _walking(_CROWDS[who](walkers)):
        await _warm_up(walkers)
        memory = (_settled() - before) / len(walkers)
        begin, cpu, read = time.perf_counter(), time.process_time(), [*counts]
        await asyncio.sleep(seconds)
        cpu = time.process_time() - cpu
        rates = _rates(counts, read, per_page, time.perf_counter() - begin)
        used = cpu / (sum(counts) - sum(read)) * per_page
        lags = sorted([lag async for lag in _lags(seconds / 2)])
    return {
        "memory": memory / 1000,
        "cpu": 1000 * used,
        "lag": 1000 * lags[int(len(lags) * 0.99)],
        "rate": sum(rates),
        "least": period * min(rates),
    }


@asynccontextmanager
async def _walking(crowd: Awaitable[None]) -> AsyncGenerator[None]:
    task = asyncio.ensure_future(crowd)
    try:
        yield
    finally:
        ended = task.done()
        task.cancel()
        await asyncio.wait([task])
    if ended:
        sys.exit(f"the walks ended: {task.exception()!r}")


async def _warm_up(walkers: list[Walker]) -> None:
    """Wait until each client has walked some more pages."""
    counts, before = walkers[0].counts, [*walkers[0].counts]
    wanted = _WARM_UP * walkers[0].per_page
    waiting = [walker.number for walker in walkers]
    while waiting:
        await asyncio.sleep(walkers[0].period / 10)
        waiting = [number for number in waiting if counts[number] - before[number] < wanted]


def _settled() -> int:
    gc.collect()
    return resident()


def _rates(counts: list[int], before: list[int], per_page: int, seconds: float) -> list[float]:
    """Return the number of requests per second for each client."""
    pairs = zip(counts, before, strict=True)
    return [(now - then) / per_page / seconds for now, then in pairs]


async def _lags(seconds: float) -> AsyncIterator[float]:
    """Sleep repeatedly, and yield the number of seconds that each sleep was too long."""
    end = time.perf_counter() + seconds
    while (begin := time.perf_counter()) < end:
        await asyncio.sleep(_SLEEP)
        yield time.perf_counter() - begin - _SLEEP


def table(
    what: str,
    crowds: Mapping[str, Sequence[int]],
    listings: Mapping[str, Listing],
    options: argparse.Namespace,
    certificate: str | None = None,
) -> Result:
    """Measure each group of clients at each of its sizes, on one kind of pages."""
    with serving(*listings.values(), server="raw", certificate=certificate) as urls:
        cases = {
            _name(who, clients): partial(
                fresh,
                measure,
                who=who,
                clients=clients,
                base_url=urls[listings[who].name],
                per_page=listings[who].per_page,
                period=options.period,
                seconds=options.seconds,
            )
            for who, sizes in crowds.items()
            for clients in sizes
        }
        samples = interleaved(cases, options.rounds)
    title = f"one request per client every {options.period:g} s, {what}, rounds: {options.rounds}"
    result = Result(title=title, metrics=_METRICS, samples=samples)
    result.claims = list(_claims(result, what, crowds))
    return result


def _name(who: str, clients: int) -> str:
    return f"{who}: {clients}"


def _claims(result: Result, what: str, crowds: Mapping[str, Sequence[int]]) -> Iterator[Claim]:
    for who, sizes in crowds.items():
        if who.startswith(OURS):
            few, many = _name(who, min(sizes)), _name(who, max(sizes))
            where = f"{who}, {what}"
            growth = ratios(result, many, few, "cpu")
            about = f"CPU per request, {max(sizes)} clients compared with {min(sizes)}"
            yield Claim(what=f"{about}: {where}", values=growth, wanted=1.15)
            least = values(result, many, "least")
            about = f"slowest of {max(sizes)} clients, compared with its pace"
            yield Claim(what=f"{about}: {where}", values=least, wanted=0.9, at_least=True)


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__, rounds=1)
    parser.add_argument("--seconds", type=float, default=20, help="how long to measure")
    parser.add_argument("--clients", type=int, nargs="+", default=[10, 50, 100, 200])
    parser.add_argument("--period", type=float, default=1, help="seconds between two requests")
    options = parser.parse_args()
    ends = sorted({min(options.clients), max(options.clients)})
    clients: list[int] = options.clients
    crowds: dict[str, list[int]] = {OURS: clients, HEADERS: ends, OWN: clients, SHARED: ends}
    small = _listings(10, options.period)
    results = [
        table("pages of 100", crowds, _listings(100, options.period), options),
        table("pages of 10", dict.fromkeys(crowds, ends), small, options),
    ]
    results[0].notes = [_NOTE]
    if find_spec("trustme"):
        with tempfile.TemporaryDirectory() as folder:
            certificate = _make_certificate(Path(folder))
            both: dict[str, list[int]] = dict.fromkeys((OURS, OWN), ends)
            what = "pages of 10 over TLS"
            results.append(table(what, both, small, options, certificate))
    show(results, as_json=options.json)


def _listings(per_page: int, period: float) -> dict[str, Listing]:
    """Return the listing of each group.

    If the server reports a quota, it is five times what a client sends.
    """
    silent = Listing("silent", _PAGES, per_page=per_page)
    reporting = Listing("reporting", _PAGES, per_page=per_page, quota=int(300 / period))
    return {OURS: silent, HEADERS: reporting, OWN: silent, SHARED: silent}


def _make_certificate(folder: Path) -> str:
    """Make a certificate for this host. Processes that start from now on trust it."""
    import trustme  # noqa: PLC0415 - optional

    authority, path = trustme.CA(), folder / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(path))
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    os.environ["SSL_CERT_FILE"] = str(folder / "authority.pem")
    return str(path)


if __name__ == "__main__":
    main()
