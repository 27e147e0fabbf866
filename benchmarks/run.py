"""Run all benchmarks or the given ones. They run one after another, each in its own process.

The results go into one document, with the versions of all packages. ``--write`` puts them into
docs/explanation/benchmarks.md, with a picture.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import report
from suite import HERE, Result, machine, show, versions


class Bench(NamedTuple):
    """A script, and its options at each size."""

    script: str
    tiny: str
    full: str = ""

    def command(self, size: str) -> list[str]:
        """Return the command that runs the script and prints JSON."""
        options = self.tiny if size == "tiny" else self.full
        return [sys.executable, str(HERE / self.script), "--json", *options.split()]


# Scripts that can fail have loose bounds in a tiny run, so that noise does not make them fail.
BENCHES = {
    "walk": Bench("bench_walk.py", "--pages 20 --rounds 1"),
    "instructions": Bench("bench_instructions.py", "--pages 1 2 --few"),
    "telemetry": Bench("bench_telemetry.py", "--pages 1 2 --few"),
    "decode": Bench("bench_decode.py", "--turns 1 --rounds 1"),
    "raw": Bench("bench_raw.py", "--pages 20 --rounds 1"),
    "frames": Bench("bench_frames.py", "--pages 20 --rounds 1"),
    "latency": Bench("bench_latency.py", "--calls 100 --rounds 1"),
    "request": Bench("bench_request.py", "--turns 2 --rounds 1"),
    "hold": Bench("bench_hold.py", "--pages 20 --rounds 1"),
    "blocking": Bench(
        "bench_blocking.py",
        "backslashes-half-an-emoji error-the-key --rounds 1 --at-most 5000",
    ),
    "import": Bench("bench_import.py", "--rounds 1"),
    "memory": Bench("bench_memory.py", "--pages 50 --records 1000 --rounds 1"),
    "accounts": Bench("bench_accounts.py", "--clients 2 --seconds 0.3 --period 0.1"),
    "growth": Bench(
        "bench_growth.py",
        "--cases list jsonl --sizes 300 1000 --at-most 20",
        "--also 10000000",
    ),
    "concurrency": Bench("bench_concurrency.py", "--pages 6 --segment-pages 6 --at-most 1.6"),
    "export": Bench("bench_export.py", "--conversations 2000"),
    "limiter": Bench("bench_limiter.py", "--waiters 2000 --rounds 50 --at-most 25"),
    "quota": Bench("bench_quota.py", "--few --every 23", "--few"),
    "quota_cases": Bench("bench_quota_cases.py", "--every 19 --periods 1"),
    "quota_sockets": Bench("bench_quota_sockets.py", "--scale 0.01", "--check"),
    "quota_contenders": Bench(
        "bench_quota_contenders.py", "--requests 20 --per 0.5 --periods 1", "--at-least 0.9"
    ),
    "budgets": Bench("bench_budgets.py", "--requests 60 --per 2 --pages 30", "--at-least 0.9"),
}


def run(name: str, size: str) -> tuple[list[dict[str, Any]], bool]:
    """Run a benchmark. Return its results and whether it failed."""
    print(f"--- {name}", file=sys.stderr, flush=True)
    done = subprocess.run(
        BENCHES[name].command(size), stdout=subprocess.PIPE, text=True, check=False
    )
    return json.loads(done.stdout or "[]"), done.returncode != 0


def document(names: list[str], size: str) -> dict[str, Any]:
    """Run benchmarks and print their tables. Return the document."""
    found: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "size": size,
        "machine": machine(),
        "versions": versions(),
        "failed": [],
        "benches": {},
    }
    for name in names:
        found["benches"][name], failed = run(name, size)
        found["failed"] += [name] if failed else []
        show(msgspec.convert(found["benches"][name], list[Result]), as_json=False)
    return found


def main() -> None:
    """Run the chosen benchmarks. Fail if one of the benchmarks fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=", ".join(BENCHES))
    parser.add_argument("--size", choices=("tiny", "full"), default="full")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the document in this file")
    parser.add_argument(
        "--write", action="store_true", help="write the results into docs/explanation/benchmarks.md"
    )
    parser.add_argument(
        "--from", type=Path, metavar="FILE", dest="earlier", help="use the results in such a file"
    )
    options = parser.parse_args()
    if unknown := {*options.benches} - {*BENCHES}:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    earlier: dict[str, Any] = (
        json.loads(options.earlier.read_text("utf-8")) if options.earlier else {}
    )
    names = options.benches or ([] if earlier else [*BENCHES])
    found = document(names, options.size) if names else earlier
    if earlier and names:
        found["benches"] = earlier["benches"] | found["benches"]
        found["size"] = min(earlier["size"], found["size"], key=("tiny", "full").index)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.write:
        report.write(found)
    if found["failed"]:
        sys.exit(f"failed: {', '.join(found['failed'])}")


if __name__ == "__main__":
    main()
