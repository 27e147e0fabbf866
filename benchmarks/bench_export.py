"""The cost of an export: its speed, its memory, and how long it blocks the event loop.

The sandbox runs in its own process, and so does each export. The rival is the obvious script:
``requests``, ``pandas``, ``to_parquet``. None of them has a rate limit, so that the machine is
measured and not the quota.
"""

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from suite import Metric, Result, Sample, argument_parser, show

from cekat_async import CekatClient
from cekat_async.export import ExportProgress, export_conversations
from cekat_async.sandbox import Sandbox

TARGETS = (".jsonl", ".jsonl.zst", ".parquet", ".csv", ".sqlite", ".duckdb")
RIVAL = "the script"
ALONE = "the walk alone"
_MEGABYTE = 1_000_000
_METRICS = [
    Metric(key="per_second", heading="conversations/s", ratio=True),
    Metric(key="cpu", heading="CPU µs each", digits=1),
    Metric(key="first", heading="memory MB, first tenth"),
    Metric(key="last", heading="last tenth"),
    Metric(key="peak", heading="peak"),
    Metric(key="fetching_p999", heading="loop blocked ms while fetching, 99.9 %"),
    Metric(key="fetching_longest", heading="longest"),
    Metric(key="writing_p999", heading="while writing, 99.9 %"),
    Metric(key="writing_longest", heading="longest"),
]
_PLAIN = {
    "id",
    "inbox_id",
    "contact_id",
    "contact_name",
    "contact_phone",
    "inbox_name",
    "platform_type",
    "stage_status",
    "handled_by_id",
    "handled_by_name",
    "notes",
    "created_at",
    "resolved_at",
    "resolved_by_id",
    "resolved_by_name",
    "labels",
    "first_message",
    "last_message",
}


async def serve(conversations: int) -> None:
    """Print the address of a sandbox, and run the sandbox until standard input ends."""
    async with Sandbox(conversations, quota=None) as sandbox:
        print(json.dumps([sandbox.base_url, sandbox.api_key]), flush=True)
        await asyncio.to_thread(sys.stdin.read)


@contextmanager
def sandbox(conversations: int) -> Generator[tuple[str, str]]:
    """Run a sandbox in its own process."""
    command = [sys.executable, __file__, "serve", str(conversations)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        if process.stdin is not None and process.stdout is not None:
            base_url, api_key = json.loads(process.stdout.readline())
            yield base_url, api_key
            process.stdin.close()


def resident() -> float:
    """Return this process's memory in megabytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MEGABYTE


def peak() -> float:
    """Return the peak memory of this process in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _MEGABYTE


class Loop:
    """Measures how long the event loop is blocked, by how late a sleep of a millisecond ends."""

    def __init__(self) -> None:
        self._late: list[tuple[float, float]] = []

    async def watch(self) -> None:
        """Sleep for a millisecond again and again."""
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            self._late.append((now, (now - before) * 1000 - 1))

    def figures(self, begin: float, end: float = float("inf")) -> dict[str, float]:
        """Return the longest block in a time span, and the 99.9th percentile."""
        late = sorted(late for at, late in self._late if begin < at <= end) or [0.0]
        return {"longest": late[-1], "p99.9": late[int(len(late) * 0.999) - 1]}


async def ours(base_url: str, api_key: str, target: str, conversations: int) -> dict[str, Any]:
    """Export to a target, and return the figures."""
    loop, tenths = Loop(), list[float]()
    began, cpu = time.perf_counter(), time.process_time()
    walked = [began]

    def on_progress(progress: ExportProgress) -> None:
        if progress.published is not None:
            return
        if progress.conversations >= conversations * (len(tenths) + 1) / 10:
            tenths.append(resident())
        walked[:] = [time.perf_counter()]

    watching = asyncio.create_task(loop.watch())
    async with CekatClient(api_key, base_url=base_url, rate_limit=None) as client:
        report = await export_conversations(client, target, on_progress=on_progress)
    watching.cancel()
    return {
        "conversations": report.conversations,
        "seconds": time.perf_counter() - began,
        "walked": walked[0] - began,
        "cpu": (time.process_time() - cpu) / report.conversations * _MEGABYTE,
        "tenths": tenths,
        "peak": peak(),
        "fetching": loop.figures(began, walked[0]),
        "writing": loop.figures(walked[0]),
    }


async def alone(base_url: str, api_key: str) -> dict[str, Any]:
    """Walk like an export does, but store nothing, for comparison."""
    loop, count = Loop(), 0
    began, cpu = time.perf_counter(), time.process_time()
    watching = asyncio.create_task(loop.watch())
    async with CekatClient(api_key, base_url=base_url, rate_limit=None) as client:
        async for page in client.conversations.list(segments=8).tracked_pages({}):
            count += len(page)
    watching.cancel()
    seconds = time.perf_counter() - began
    return {
        "conversations": count,
        "seconds": seconds,
        "cpu": (time.process_time() - cpu) / count * _MEGABYTE,
        "tenths": [],
        "peak": peak(),
        "fetching": loop.figures(began),
    }


def theirs(base_url: str, api_key: str, target: str) -> dict[str, Any]:
    """Export like the obvious script: all pages in a list, and the list in a DataFrame."""
    import pandas as pd  # noqa: PLC0415 - only for the rival
    import requests  # noqa: PLC0415

    began, cpu, tenths = time.perf_counter(), time.process_time(), list[float]()
    rows: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {api_key}"
        while True:
            page = session.get(
                f"{base_url}/api/conversations", params={"limit": "100"} | cursor, timeout=60
            ).json()
            rows += page["data"]
            cursor = page["metadata"]["next_cursor"]
            if not cursor["cursor_id"]:
                break
    tenths.append(resident())
    frame = pd.DataFrame(rows)
    # to_parquet fails on fields that have more than one type, such as undocumented ones.
    for name in {"additional_data", *frame.columns} - _PLAIN:
        frame[name] = frame[name].map(json.dumps)
    frame.to_parquet(target)
    return {
        "conversations": len(rows),
        "seconds": time.perf_counter() - began,
        "cpu": (time.process_time() - cpu) / len(rows) * _MEGABYTE,
        "tenths": tenths,
        "peak": peak(),
    }


def measured(what: str, where: tuple[str, str], conversations: int) -> dict[str, Any]:
    """Run one export, or the script, in its own process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "one", what, *where, folder, str(conversations)]
        # The command line sets the same variable.
        environ = os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system"}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environ)
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def one(what: str, base_url: str, api_key: str, folder: str, conversations: int) -> dict[str, Any]:
    """Run one export, or a rival. This is the main function of each process."""
    if what == ALONE:
        return asyncio.run(alone(base_url, api_key))
    if what == RIVAL:
        return theirs(base_url, api_key, f"{folder}/x.parquet")
    # Arrow would import this module, although an export does not need it.
    sys.modules["numpy"] = None  # type: ignore[assignment]
    return asyncio.run(ours(base_url, api_key, f"{folder}/x{what}", conversations))


def get_sample(found: dict[str, Any]) -> Sample:
    """Return the figures of a run as a sample."""
    sample = {
        "per_second": found["conversations"] / found["seconds"],
        "cpu": found["cpu"],
        "peak": found["peak"],
    }
    if found["tenths"]:
        sample |= {"first": found["tenths"][0], "last": found["tenths"][-1]}
    for phase in ("fetching", "writing"):
        if late := found.get(phase):
            sample |= {f"{phase}_p999": late["p99.9"], f"{phase}_longest": late["longest"]}
    return sample


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__)
    parser.add_argument("--conversations", type=int, default=1_000_000)
    parser.add_argument("--targets", nargs="*", default=TARGETS, choices=TARGETS)
    parser.add_argument("--no-script", action="store_true", help="without the rival")
    options = parser.parse_args()
    found = dict[str, Any]()
    with sandbox(options.conversations) as where:
        rivals = [ALONE] if options.no_script else [RIVAL, ALONE]
        for what in (*rivals, *options.targets):
            found[what] = measured(what, where, options.conversations)
            if what != ALONE and found[what]["conversations"] != options.conversations:
                sys.exit(f"{what} has only {found[what]['conversations']:,} conversations")
    result = Result(
        title=f"an export, {options.conversations:,} conversations",
        metrics=_METRICS,
        samples={what: [get_sample(figures)] for what, figures in found.items()},
        reference=RIVAL,
    )
    show([result], as_json=options.json)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(int(sys.argv[2])))
    elif sys.argv[1:2] == ["one"]:
        what, base_url, api_key, folder, conversations = sys.argv[2:]
        print(json.dumps(one(what, base_url, api_key, folder, int(conversations))))
    else:
        main()
