"""The time of one call: ``page(limit=10)`` on a warm client, compared with aiohttp alone.

The two contenders take turns, with several calls in each turn, over connections that are already
open.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING

from page_server import SERVERS, Listing, serving
from suite import Claim, Metric, Result, Sample, argument_parser, fresh, ratios, show, together

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

OURS, READ, DECODED = "cekat_async page(limit=10)", "aiohttp get + read", "the same, decoded"
_IN_A_ROW = 20
_WARM_UP = 10
_NOTE = (
    "The call returns ten typed records. Decoding them alone adds a sixth to aiohttp's own time. "
    "The rest is spent on the deadline, the time limit of an attempt, retries, the limiter, "
    "rate-limit headers, the size limit, and errors without the key. These are a hundred small "
    "functions, and with a single call none of them is in the processor's cache."
)
_METRICS = [
    Metric(key="median", heading="median µs", ratio=True),
    Metric(key="p99", heading="99th percentile µs", ratio=True),
]


def measure(base_url: str, calls: int) -> dict[str, Sample]:
    """Return the microseconds of a call for each contender."""
    return asyncio.run(_measure(base_url, calls))


async def _measure(base_url: str, calls: int) -> dict[str, Sample]:
    import aiohttp  # noqa: PLC0415 - only the child process needs them
    import msgspec  # noqa: PLC0415
    from rivals.by_hand import KEY, Page  # noqa: PLC0415

    from cekat_async import CekatClient  # noqa: PLC0415

    url, query, decoder = (
        f"{base_url}/api/conversations",
        {"limit": "10"},
        msgspec.json.Decoder(Page),
    )
    headers = {"Authorization": f"Bearer {KEY}"}
    async with (
        CekatClient(KEY, base_url=base_url, rate_limit=None) as cekat,
        aiohttp.ClientSession(headers=headers) as session,
    ):

        async def read() -> bytes:
            async with session.get(url, params=query) as response:
                return await response.read()

        async def decoded() -> Page:
            return decoder.decode(await read())

        sides: dict[str, Callable[[], Awaitable[object]]] = {
            OURS: lambda: cekat.conversations.page(limit=10),
            READ: read,
            DECODED: decoded,
        }
        await _timed(sides, _WARM_UP)
        return await _timed(sides, -(-calls // _IN_A_ROW))


async def _timed(
    sides: dict[str, Callable[[], Awaitable[object]]], turns: int
) -> dict[str, Sample]:
    names, found = list(sides), {name: list[float]() for name in sides}
    for _ in range(turns):
        names.append(names.pop(0))
        for name in names:
            for _ in range(_IN_A_ROW):
                begin = time.perf_counter()
                await sides[name]()
                found[name].append(time.perf_counter() - begin)
    return {name: _figures(times) for name, times in found.items()}


def _figures(times: list[float]) -> Sample:
    ordered = sorted(times)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return {"median": 1e6 * statistics.median(ordered), "p99": 1e6 * p99}


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__, rounds=9)
    parser.add_argument(
        "--calls", type=int, default=5000, help="calls of each contender in a round"
    )
    parser.add_argument("--server", choices=SERVERS, default="auto")
    options = parser.parse_args()
    with serving(Listing("small", 2, per_page=10), server=options.server) as urls:
        samples = together(
            fresh(measure, base_url=urls["small"], calls=options.calls)
            for _ in range(options.rounds)
        )
    result = Result(
        title=f"one call, {options.calls:,} calls of each, rounds: {options.rounds}",
        metrics=_METRICS,
        samples=samples,
        reference=READ,
    )
    result.notes = [_NOTE]
    result.claims = [
        Claim(
            what=f"{heading}, compared with aiohttp",
            values=ratios(result, OURS, READ, key),
            wanted=wanted,
        )
        for key, heading, wanted in (("median", "median", 1.1), ("p99", "99th percentile", 1.15))
    ]
    show([result], as_json=options.json)


if __name__ == "__main__":
    main()
