"""The cost of an export to JSON Lines that keeps each record byte for byte.

The rival is a loop that decodes each page, encodes each record again and writes it.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from page_server import Listing, serving
from suite import Claim, Metric, Result, Sample, argument_parser, fresh, interleaved, ratios, show

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    import msgspec

LINES, EXPORT = "cekat_async `raw_pages()`", "cekat_async `export_conversations()`"
ENCODED, CUT = "hand-written loop: decode, encode, write", "hand-written loop: cut as Raw, write"
_WARM_UP = 50
_NOTE = (
    "An export does more than write: it stores each record in a durable checkpoint, finds those "
    "that it received again, and writes from there. So it can be killed at any moment, and misses "
    "nothing on a live account. Writing to SQLite and reading from it cost more than the network."
)
_METRICS = [
    Metric(key="cpu", heading="CPU µs each", digits=2, ratio=True),
    Metric(key="per_second", heading="conversations/s", ratio=True),
]


async def by_page(base_url: str, path: Path) -> int:
    """Write the lines of our raw pages."""
    from cekat_async import CekatClient  # noqa: PLC0415 - each process imports only what it needs

    count = 0
    async with CekatClient("benchmark", base_url=base_url, rate_limit=None) as cekat:
        with path.open("wb") as file:
            async for page in cekat.conversations.list().raw_pages():
                file.write(page.json_lines())
                count += len(page)
    return count


async def by_export(base_url: str, path: Path) -> int:
    """Export with a checkpoint, with catch-up, or with one write at the end."""
    from cekat_async import CekatClient  # noqa: PLC0415
    from cekat_async.export import export_conversations  # noqa: PLC0415

    async with CekatClient("benchmark", base_url=base_url, rate_limit=None) as cekat:
        report = await export_conversations(cekat, path)
    return report.conversations


async def by_hand(base_url: str, path: Path, *, cut: bool = False) -> int:
    """Write with aiohttp and msgspec alone.

    Either encode each record again, or cut out its bytes.
    """
    import aiohttp  # noqa: PLC0415
    import msgspec  # noqa: PLC0415
    from rivals.by_hand import Metadata, Page  # noqa: PLC0415

    raw_page = msgspec.defstruct("RawPage", [("data", list[msgspec.Raw]), ("metadata", Metadata)])
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(raw_page if cut else Page)
    count, query = 0, {"limit": "100"}
    async with aiohttp.ClientSession() as session:
        with path.open("wb") as file:
            while query:
                async with session.get(f"{base_url}/api/conversations", params=query) as response:
                    page = decoder.decode(await response.read())
                file.write(_lines(page.data if cut else map(msgspec.json.encode, page.data)))
                count += len(page.data)
                cursor = msgspec.structs.asdict(page.metadata.next_cursor)
                query = {"limit": "100", **cursor} if cursor["cursor_id"] else {}
    return count


def _lines(records: Iterable[bytes | msgspec.Raw]) -> bytes:
    return b"\n".join([*records, b""])


_WAYS: dict[str, Callable[[str, Path], Coroutine[Any, Any, int]]] = {
    ENCODED: by_hand,
    CUT: partial(by_hand, cut=True),
    LINES: by_page,
    EXPORT: by_export,
}


def measure(way: str, base_url: str, warm_up_url: str, pages: int) -> Sample:
    """Write all conversations. Return the CPU microseconds per conversation, and the throughput."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_WAYS[way](warm_up_url, Path(folder) / "warm_up.jsonl"))
        wall, cpu = time.perf_counter(), time.process_time()
        count = asyncio.run(_WAYS[way](base_url, Path(folder) / "x.jsonl"))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if count != 100 * pages:
        raise SystemExit(f"{way}: {count:,} conversations of {100 * pages:,}")
    return {"cpu": 1e6 * cpu / count, "per_second": count / wall}


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__, rounds=9)
    parser.add_argument("--pages", type=int, default=2000, help="of 100 conversations")
    options = parser.parse_args()
    listings = Listing("walk", options.pages), Listing("warm_up", _WARM_UP)
    # An export constructs cursors, which only the bundled server supports.
    with serving(*listings, server="raw") as urls:
        where = {"base_url": urls["walk"], "warm_up_url": urls["warm_up"], "pages": options.pages}
        cases = {way: partial(fresh, measure, way=way, **where) for way in _WAYS}
        samples = interleaved(cases, options.rounds)
    result = Result(
        title=f"raw export, {100 * options.pages:,} conversations, rounds: {options.rounds}",
        metrics=_METRICS,
        samples=samples,
        reference=ENCODED,
    )
    result.notes = [_NOTE]
    result.claims = [
        Claim(what=f"CPU of {what}", values=ratios(result, way, ENCODED, "cpu"), wanted=0.7)
        for way, what in ((LINES, "`raw_pages()`"), (EXPORT, "`export_conversations()`"))
    ]
    show([result], as_json=options.json)


if __name__ == "__main__":
    main()
