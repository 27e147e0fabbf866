"""What a walk costs: ``list()`` beside the shortest hand-written loop that does the same work.

Each rival walks all pages of a server in a process of its own, over one connection, one after
another in each round; the ratio is taken within a round, and the median of them counts.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from cekat_async import CekatClient

KEY = "benchmark"


class Label(msgspec.Struct):
    """As on the API's page."""

    id: str
    name: str


class Message(msgspec.Struct):
    """As on the API's page."""

    message: str | None = None
    created_at: datetime | None = None


class Conversation(msgspec.Struct):
    """What somebody writes who reads the API's page and wants typed records."""

    id: str
    inbox_id: str
    contact_id: str
    contact_name: str | None
    contact_phone: str | None
    platform_type: str
    inbox_name: str | None
    stage_status: str
    created_at: datetime
    handled_by_id: str | None = None
    handled_by_name: str | None = None
    notes: str | None = None
    labels: list[Label] | None = None
    last_message: Message | None = None
    first_message: Message | None = None
    additional_data: dict[str, Any] | None = None
    resolved_at: datetime | None = None
    resolved_by_id: str | None = None
    resolved_by_name: str | None = None


class NextCursor(msgspec.Struct):
    """The pair."""

    cursor_id: str | None
    cursor_ts: str | None


class Metadata(msgspec.Struct):
    """What holds the pair."""

    next_cursor: NextCursor


class Page(msgspec.Struct):
    """One answer."""

    data: list[Conversation]
    metadata: Metadata


async def by_hand(base_url: str) -> int:
    """Walk with aiohttp and msgspec alone: no retry, no pace, no check, no cursor to resume."""
    decoder, count, cursor = msgspec.json.Decoder(Page), 0, {}
    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        while True:
            query = {"limit": "100", **cursor}
            async with session.get(f"{base_url}/api/conversations", params=query) as response:
                page = decoder.decode(await response.read())
            for conversation in page.data:
                count += conversation.id is not None
            following = page.metadata.next_cursor
            if following.cursor_id is None:
                return count
            cursor = {"cursor_id": following.cursor_id, "cursor_ts": following.cursor_ts}


async def by_client(base_url: str) -> int:
    """Walk with this package: every safety on, but for the pace, which is what is measured."""
    count = 0
    async with CekatClient(KEY, base_url=base_url, rate_limit=None) as cekat:
        async for conversation in cekat.conversations.list():
            count += conversation.id is not None
    return count


RIVALS: dict[str, Callable[[str], Awaitable[int]]] = {
    "hand-written loop": by_hand,
    "cekat_async list()": by_client,
}


@contextmanager
def page_server(pages: int, *, unknown_fields: bool) -> Iterator[str]:
    """Run the page server and yield its base URL."""
    script = Path(__file__).with_name("page_server.py")
    command = [sys.executable, str(script), f"--pages={pages}"]
    command += ["--unknown-fields"] if unknown_fields else []
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()


def measure(rival: Callable[[str], Awaitable[int]], base_url: str) -> tuple[float, float]:
    """Return conversations per second, and microseconds of CPU for each."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = asyncio.run(rival(base_url))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return count / wall, 1e6 * cpu / count


def run(pages: int, rounds: int, *, unknown_fields: bool) -> dict[str, dict[str, float]]:
    """Measure all rivals in turn, round after round, and return their medians."""
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in RIVALS}
    with page_server(pages, unknown_fields=unknown_fields) as base_url:
        for rival in RIVALS.values():
            measure(rival, base_url)
        for _ in range(rounds):
            for name, rival in RIVALS.items():
                results[name].append(measure(rival, base_url))
    reference = results["hand-written loop"]
    return {name: _medians(found, reference) for name, found in results.items()}


def _medians(
    found: list[tuple[float, float]], reference: list[tuple[float, float]]
) -> dict[str, float]:
    pairs = list(zip(found, reference, strict=True))
    return {
        "per_second": statistics.median(speed for speed, _ in found),
        "throughput_ratio": statistics.median(mine[0] / theirs[0] for mine, theirs in pairs),
        "cpu_us": statistics.median(cpu for _, cpu in found),
        "cpu_ratio": statistics.median(mine[1] / theirs[1] for mine, theirs in pairs),
    }


def _print_table(title: str, results: dict[str, dict[str, float]]) -> None:
    print(f"\n{title}")
    print(f"{'':20} {'per second':>11} {'ratio':>6} {'CPU us each':>12} {'ratio':>6}")
    for name, row in results.items():
        print(
            f"{name:20} {row['per_second']:>11,.0f} {row['throughput_ratio']:>6.2f}"
            f" {row['cpu_us']:>12.2f} {row['cpu_ratio']:>6.2f}"
        )


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=500, help="of 100 conversations")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--at-least", type=float, default=0.0, help="fail below this ratio, on documented records"
    )
    options = parser.parse_args()
    found = {
        title: run(options.pages, options.rounds, unknown_fields=unknown)
        for title, unknown in (
            ("records as on the API's page", False),
            ("records with fields that the page does not have", True),
        )
    }
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        for title, results in found.items():
            _print_table(f"{title}, {options.pages} pages, {options.rounds} rounds", results)
    documented = next(iter(found.values()))["cekat_async list()"]["throughput_ratio"]
    if documented < options.at_least:
        sys.exit(f"list() reached {documented:.2f} of the hand-written loop's throughput")


if __name__ == "__main__":
    main()
