"""The time for which one page blocks the event loop. Nothing else can run during that time.

A selector measures it: between two calls of ``select()``, the loop only runs callbacks. The figure
of a page is the longest time between two calls while the page was fetched.
"""

from __future__ import annotations

import asyncio
import selectors
import statistics
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from page_server import RECORDS, SERVERS, Listing, serving
from suite import Claim, Metric, Result, Sample, argument_parser, fresh, interleaved, show, values

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

OURS, BY_HAND, READ = "cekat_async pages()", "hand-written loop", "aiohttp get + read"
UNKNOWN = f"{OURS}, 15 % with an undocumented field"
TWO_UNKNOWN = f"{OURS}, all with two undocumented fields"
MISTYPED = f"{OURS}, all with a mistyped field"
_WARM_UP = 5
_METRICS = [
    Metric(key="median", heading="median ms", digits=2),
    Metric(key="p99", heading="99th percentile", digits=2),
    Metric(key="longest", heading="longest", digits=2),
    Metric(key="longest_cpu", heading="longest, CPU ms", digits=2),
]
_NOTE = (
    "The longest block of the loop for each page, in milliseconds. The longest of all pages "
    "includes other work of the machine. Its CPU time does not, but includes garbage collection."
)


class Probe(selectors.DefaultSelector):
    """Measures the longest time between two calls of ``select()``, in seconds and CPU seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._awake = (time.perf_counter(), time.thread_time())
        self._longest = (0.0, 0.0)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Note how long the loop was blocked, and wait for events."""
        wall, cpu = time.perf_counter() - self._awake[0], time.thread_time() - self._awake[1]
        self._longest = (max(self._longest[0], wall), max(self._longest[1], cpu))
        events = super().select(timeout)
        self._awake = (time.perf_counter(), time.thread_time())
        return events

    def take(self) -> tuple[float, float]:
        """Return the longest time since the last call of this method, and start again from zero."""
        found, self._longest = self._longest, (0.0, 0.0)
        return found


async def ours(base_url: str) -> AsyncIterator[object]:
    """Walk page by page."""
    from cekat_async import CekatClient  # noqa: PLC0415 - each process imports only what it needs

    async with CekatClient("benchmark", base_url=base_url, rate_limit=None) as cekat:
        async for page in cekat.conversations.list(on_malformed=_ignore).pages():
            yield page


def _ignore(_: object) -> None:
    """Ignore a malformed record."""


async def by_hand(base_url: str, *, decode: bool = True) -> AsyncIterator[object]:
    """Walk with aiohttp. Decode the whole page with msgspec, or only its cursor."""
    import aiohttp  # noqa: PLC0415
    import msgspec  # noqa: PLC0415
    from rivals.by_hand import Metadata, Page  # noqa: PLC0415

    cursor_alone = msgspec.defstruct("CursorAlone", [("metadata", Metadata)])
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Page if decode else cursor_alone)
    query = {"limit": "100"}
    async with aiohttp.ClientSession() as session:
        while query:
            async with session.get(f"{base_url}/api/conversations", params=query) as response:
                page = decoder.decode(await response.read())
            yield page
            cursor = msgspec.structs.asdict(page.metadata.next_cursor)
            query = {"limit": "100", **cursor} if cursor["cursor_id"] else {}


_WALKS: dict[str, Callable[[str], AsyncIterator[object]]] = {
    OURS: ours,
    UNKNOWN: ours,
    TWO_UNKNOWN: ours,
    MISTYPED: ours,
    BY_HAND: by_hand,
    READ: partial(by_hand, decode=False),
}
_RECORDS = {UNKNOWN: "unknown", TWO_UNKNOWN: "two-unknown", MISTYPED: "mistyped"}


def measure(walk: str, base_url: str) -> Sample:
    """Walk. Return how long pages block the loop, in milliseconds."""
    probe = Probe()

    async def holds() -> list[tuple[float, float]]:
        return [probe.take() async for _ in _WALKS[walk](base_url)]

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(probe)) as runner:
        found = runner.run(holds())[_WARM_UP:]
    walls, cpus = zip(*sorted(found), strict=True)
    seconds = {
        "median": statistics.median(walls),
        "p99": walls[min(len(walls) - 1, int(len(walls) * 0.99))],
        "longest": walls[-1],
        "longest_cpu": max(cpus),
    }
    return {name: 1000 * value for name, value in seconds.items()}


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__, rounds=5)
    parser.add_argument("--pages", type=int, default=500, help="of 100 conversations")
    parser.add_argument("--server", choices=SERVERS, default="auto")
    options = parser.parse_args()
    listings = [Listing(kind, options.pages, records=kind) for kind in RECORDS]
    with serving(*listings, server=options.server) as urls:
        cases = {
            name: partial(
                fresh, measure, walk=name, base_url=urls[_RECORDS.get(name, "documented")]
            )
            for name in _WALKS
        }
        samples = interleaved(cases, options.rounds)
    result = Result(
        title=f"blocks of the loop, {options.pages:,} pages of 100, rounds: {options.rounds}",
        metrics=_METRICS,
        samples=samples,
        notes=[_NOTE],
    )
    result.claims = [
        Claim(
            what=f"longest of {what}, CPU",
            values=values(result, name, "longest_cpu"),
            wanted=wanted,
            unit="ms",
        )
        for name, what, wanted in (
            (OURS, "a page", 2),
            (UNKNOWN, "a page with undocumented fields", 2),
            (TWO_UNKNOWN, "a page with two undocumented fields in each record", 2),
            (MISTYPED, "a page of 100 mistyped records", 4),
        )
    ]
    show([result], as_json=options.json)


if __name__ == "__main__":
    main()
