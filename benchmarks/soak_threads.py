"""Walk the same listing in several threads for a long time, and check that no record is lost.

    python benchmarks/soak_threads.py --seconds 3600

Each thread has its own event loop, sandbox and client, like an application with several loops.
Every walk must return all ids of the sandbox, in the order of the listing. If a walk does not, the
script fails and writes evidence to a file: the ids, every request as the client sent it, every
request as the sandbox received it, and every cursor. The two lists of requests show whether the
client, the HTTP library or the sandbox lost the page.

Other processes keep each core busy. Between rounds, the script changes how often Python switches
threads. With ``--collect``, other threads run during garbage collections. The same happens in test
suites: hypothesis measures collections in a callback that is written in Python. This script showed
    that aiohttp before 3.13 builds the requests of all threads in one buffer.

This is not a benchmark and has no rival, so ``run.py`` does not run it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from cekat_async import CekatClient, RetryPolicy
from cekat_async.sandbox import Dialect, Faults, Sandbox

_PACKAGES = ("cekat-async", "aiohttp", "yarl", "multidict", "msgspec", "tenacity", "aiolimiter")
# Python's own interval, and two other intervals at which threads switch a hundred times as often.
_SWITCH_INTERVALS = (0.005, 0.000_05, 0.000_001)
_REPORT_EVERY = 60.0
# The process exits when its parent has exited, even if the parent was killed.
_BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"


@dataclass
class Walk:
    """One walk: what it returned, and what was sent for it."""

    ids: list[str] = field(default_factory=list[str])
    sent: list[str] = field(default_factory=list[str])
    error: str | None = None


@dataclass
class Totals:
    """The counts of all threads."""

    walks: int = 0
    pages: int = 0
    retries: int = 0
    failures: list[Path] = field(default_factory=list[Path])


class Soak:
    """Runs rounds of walks, one walk per thread, and keeps the evidence of a wrong walk."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.totals = Totals()
        self._options = options
        self._lock = threading.Lock()

    def round(self, number: int) -> None:
        """Run one walk in each thread."""
        sys.setswitchinterval(_SWITCH_INTERVALS[number % len(_SWITCH_INTERVALS)])
        threads = [
            threading.Thread(target=asyncio.run, args=(self._walk(number, thread),))
            for thread in range(self._options.threads)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    async def _walk(self, number: int, thread: int) -> None:
        options = self._options
        # Every other round has faults, so that walks retry, reconnect and give up pages.
        bad = Faults(drop=0.05, drop_mid_body=0.05, error=0.05, truncate=0.05, seed=number)
        dialect = Dialect(compress=("gzip", None)[number // 2 % 2])
        faults = bad if number % 2 else None
        sandbox = Sandbox(options.conversations, quota=None, faults=faults, dialect=dialect)
        walk = Walk()
        async with (
            sandbox,
            CekatClient(
                # Each sandbox has its own key. It refuses requests that have the key of another
                # thread.
                sandbox.api_key,
                base_url=sandbox.base_url,
                rate_limit=None,
                retry=RetryPolicy(attempts=50, backoff=0.001, backoff_max=0.01, budget=None),
            ) as client,
        ):
            _record_requests(client, walk)
            try:
                async for conversation in client.conversations.list(page_size=options.limit):
                    walk.ids.append(conversation.id)
            except Exception as error:  # noqa: BLE001 - errors are evidence too
                walk.error = repr(error)
            retries = client.traffic.retries
        self._check(sandbox, walk, f"round {number}, thread {thread}")
        with self._lock:
            self.totals.walks += 1
            self.totals.pages += len(walk.ids) // options.limit
            self.totals.retries += retries

    def _check(self, sandbox: Sandbox, walk: Walk, where: str) -> None:
        received = [f"{seen.path}?{seen.query}" for seen in sandbox.log.requests]
        expected = [id_ for id_, _ in sandbox.records()]
        if walk.ids == expected and walk.sent == received and walk.error is None:
            return
        # If the last request was given up, the sandbox may have closed before it received that
        # request.
        if walk.ids == expected and walk.error is None and walk.sent[:-1] == received:
            return
        path = Path(self._options.evidence) / f"soak-{os.getpid()}-{time.time_ns()}.json"
        evidence = {
            "where": where,
            "versions": _versions(),
            "expected": expected,
            "walk": asdict(walk),
            "received": [asdict(seen) for seen in sandbox.log.requests],
        }
        path.write_text(json.dumps(evidence, indent=1), encoding="utf-8")
        with self._lock:
            self.totals.failures.append(path)
        print(f"{where}: {_difference(walk, expected, received)}; evidence in {path}", flush=True)


def _record_requests(client: CekatClient, walk: Walk) -> None:
    """Record each request as the client passes it to the HTTP library."""
    exchange = client._transport.exchange  # noqa: SLF001 - there is no public way  # pyright: ignore[reportPrivateUsage]

    async def recorded(request: Any) -> Any:
        walk.sent.append(f"{request.path}?{request.query}")
        return await exchange(request)

    client._transport.exchange = recorded  # type: ignore[method-assign]  # noqa: SLF001


def _difference(walk: Walk, expected: list[str], received: list[str]) -> str:
    if walk.error is not None:
        return f"a walk failed: {walk.error}"
    if walk.ids != expected:
        return f"a walk returned {len(walk.ids)} of {len(expected)} conversations"
    changed = [pair for pair in zip(walk.sent, received, strict=False) if pair[0] != pair[1]]
    return f"{len(walk.sent)} requests were sent, {len(received)} received; {changed[:1]} differ"


def _versions() -> dict[str, str]:
    found = {"python": sys.version}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _let_others_run(_phase: str, _info: dict[str, int]) -> None:
    """Let another thread run in the middle of a garbage collection."""
    time.sleep(0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=1800.0, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--conversations", type=int, default=500, help="default: %(default)s")
    parser.add_argument("--limit", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--busy", type=int, default=os.cpu_count(), help="default: one per core")
    parser.add_argument("--collect", action="store_true", help="collect garbage very often")
    parser.add_argument("--evidence", default=".", metavar="FOLDER", help="default: this folder")
    return parser.parse_args()


def _report(totals: Totals, seconds: float) -> None:
    print(
        f"{seconds:,.0f} s: {totals.walks:,} walks, {totals.pages:,} pages, "
        f"{totals.retries:,} retries, {len(totals.failures)} wrong",
        flush=True,
    )


def _run(soak: Soak, seconds: float) -> None:
    began = reported = time.monotonic()
    number = 0
    while (now := time.monotonic()) - began < seconds:
        soak.round(number)
        number += 1
        if now - reported > _REPORT_EVERY:
            reported = now
            _report(soak.totals, now - began)
    _report(soak.totals, time.monotonic() - began)


def main() -> None:
    """Run for the given time. Fail if a walk returned wrong records."""
    options = _options()
    print(json.dumps(_versions()), flush=True)
    logging.getLogger("cekat_async").setLevel(logging.ERROR)  # retries are expected here
    if options.collect:
        gc.set_threshold(25, 2, 2)
        gc.callbacks.append(_let_others_run)
    busy = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(options.busy)]
    soak = Soak(options)
    try:
        _run(soak, options.seconds)
    finally:
        for process in busy:
            process.kill()
    if soak.totals.failures:
        sys.exit(f"{len(soak.totals.failures)} walks were wrong")


if __name__ == "__main__":
    main()
