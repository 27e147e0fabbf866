"""The cost of each part of a request: aiohttp with one more option at a time, and our layers.

All cases take turns in one process, with several requests in each turn. The reply is small, so that
the other parts of the request dominate. The figure of a round is the median over its turns, and the
result is the median over all rounds.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from page_server import SERVERS, Listing, serving
from suite import Metric, Result, Sample, argument_parser, fresh, show, together

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    import aiohttp
    from yarl import URL

LEAST = "aiohttp, at its simplest: a URL of parts, no cookies, no total timeout"
TRANSPORT = "cekat_async, the transport"
PIPELINE = "cekat_async, with retry, deadline and limiter"
PACED = "cekat_async, with a pace that is never reached"
_IN_A_ROW = 40
_WARM_UP = 3
_METRICS = [
    Metric(key="cpu", heading="CPU µs", digits=1),
    Metric(key="more", heading="more than the first", digits=1),
]


def measure(base_url: str, turns: int) -> dict[str, Sample]:
    """Return the CPU microseconds of a request for each case."""
    return asyncio.run(_measure(base_url, turns))


async def _measure(base_url: str, turns: int) -> dict[str, Sample]:
    import aiohttp  # noqa: PLC0415 - only the child process needs them

    from cekat_async import CekatClient, RateLimit  # noqa: PLC0415

    no_timeout, no_cookies = aiohttp.ClientTimeout(total=None), aiohttp.DummyCookieJar()
    ours = partial(CekatClient, "benchmark", base_url=base_url)
    async with (
        aiohttp.ClientSession(timeout=no_timeout, cookie_jar=no_cookies) as least,
        aiohttp.ClientSession() as usual,
        ours(rate_limit=None) as unpaced,
        ours(rate_limit=RateLimit(100_000_000)) as paced,
    ):
        ways = _of_aiohttp(least, usual, base_url) | _of_ours(unpaced, paced)
        await _timed(ways, _WARM_UP)
        return _figures(await _timed(ways, turns))


def _of_aiohttp(
    least: aiohttp.ClientSession, usual: aiohttp.ClientSession, base_url: str
) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return requests of aiohttp alone.

    Each request has one option that a caller may want.
    """
    import aiohttp  # noqa: PLC0415
    from yarl import URL  # noqa: PLC0415

    path, numbers = f"{base_url}/api/conversations", count()

    parts = URL(path)

    def url() -> URL:
        # Each request has a new URL, because cursors differ too.
        return URL.build(
            scheme=parts.scheme,
            authority=parts.raw_authority,
            path=parts.raw_path,
            query_string=f"limit=1&number={next(numbers)}",
            encoded=True,
        )

    async def with_text() -> bytes:
        return await get(url=URL(f"{path}?limit=1&number={next(numbers)}", encoded=True))

    async def get(session: aiohttp.ClientSession = least, **options: Any) -> bytes:
        async with session.get(options.pop("url", None) or url(), **options) as response:
            return await response.read()

    async def with_query() -> bytes:
        return await get(url=path, params={"limit": "1", "number": str(next(numbers))})

    async def with_timeout() -> bytes:
        async with asyncio.timeout(60):
            return await get()

    return {
        LEAST: get,
        "+ a URL in one string": with_text,
        "+ a URL as a string, and params=": with_query,
        "+ cookies and a total timeout, the defaults": partial(get, usual),
        "+ sock_read=": partial(get, timeout=aiohttp.ClientTimeout(total=None, sock_read=60)),
        "+ asyncio.timeout": with_timeout,
        "+ two request headers": partial(get, headers={"Accept": "x", "User-Agent": "x"}),
        "+ a middleware": partial(get, middlewares=(_pass_on,)),
    }


async def _pass_on(request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
    return await handler(request)


def _undecoded(_: object) -> Iterator[None]:
    """Decode nothing."""
    return iter(())


def _of_ours(unpaced: Any, paced: Any) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return requests through our layers.

    Each request goes through one more layer than the previous one.
    """
    from cekat_async._api.requests import Request  # noqa: PLC0415

    numbers = count()

    def request() -> Request:
        return Request("/api/conversations", f"limit=1&number={next(numbers)}")

    async def transport() -> object:
        return await unpaced._transport.exchange(request())  # noqa: SLF001 - a single layer

    async def pipeline(client: Any = unpaced) -> object:
        return await client._pipeline.fetch(request(), _undecoded)  # noqa: SLF001 - a single layer

    return {
        TRANSPORT: transport,
        PIPELINE: pipeline,
        PACED: partial(pipeline, paced),
        "cekat_async, page(limit=1)": lambda: unpaced.conversations.page(limit=1),
    }


async def _timed(
    ways: dict[str, Callable[[], Awaitable[object]]], turns: int
) -> dict[str, list[float]]:
    names, found = list(ways), {name: list[float]() for name in ways}
    for _ in range(turns):
        names.append(names.pop(0))
        for name in names:
            begin = time.process_time()
            for _ in range(_IN_A_ROW):
                await ways[name]()
            found[name].append(1e6 * (time.process_time() - begin) / _IN_A_ROW)
    return found


def _figures(found: dict[str, list[float]]) -> dict[str, Sample]:
    """Return the medians of the cases.

    Also return the medians of their differences from the first case in the same turn.
    """
    first = found[LEAST]
    return {
        name: {
            "cpu": statistics.median(cpu),
            "more": statistics.median(a - b for a, b in zip(cpu, first, strict=True)),
        }
        for name, cpu in found.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__, rounds=5)
    parser.add_argument(
        "--turns", type=int, default=100, help=f"turns of {_IN_A_ROW} requests each"
    )
    parser.add_argument("--server", choices=SERVERS, default="auto")
    options = parser.parse_args()
    with serving(Listing("small", 2, per_page=1), server=options.server) as urls:
        samples = together(
            fresh(measure, base_url=urls["small"], turns=options.turns)
            for _ in range(options.rounds)
        )
    title = f"one request for one record, {options.turns} turns of {_IN_A_ROW}"
    result = Result(title=f"{title}, rounds: {options.rounds}", metrics=_METRICS, samples=samples)
    show([result], as_json=options.json)


if __name__ == "__main__":
    main()
