"""The common parts of all benchmarks: rounds, processes, ratios, claims and tables.

In each round, the rivals run one after another, each in its own process. The outcome is a
``Result``: samples by rival and round, from which medians, ranges and ratios are computed. A ratio
compares two samples of the same round. The reported ratio is the median over all rounds.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import platform
import statistics
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

HERE = Path(__file__).parent
PACKAGES = (
    *("cekat-async", "aiohttp", "msgspec", "tenacity", "aiolimiter", "uvloop", "requests", "httpx"),
    *("pydantic", "openai", "dlt", "pandas", "polars", "pyarrow", "duckdb", "matplotlib"),
)

Sample: TypeAlias = dict[str, float]
Samples: TypeAlias = dict[str, list[Sample]]


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of a sample, and its format.

    With ``ratio``, the ratio to the reference follows it.
    """

    key: str
    heading: str
    digits: int = 0
    ratio: bool = False


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A target for a figure, and the values of the figure in all rounds."""

    what: str
    values: list[float]
    wanted: float
    unit: str = "x"
    at_least: bool = False

    @property
    def is_reached(self) -> bool:
        """True if the median reaches the target."""
        reached = statistics.median(self.values)
        return reached >= self.wanted if self.at_least else reached <= self.wanted


class Result(msgspec.Struct, kw_only=True):
    """The outcome of a benchmark, or of a part of it: samples by rival, one for each round."""

    title: str
    metrics: list[Metric]
    samples: Samples
    reference: str | None = None
    claims: list[Claim] = []
    notes: list[str] = []


class Spread(NamedTuple):
    """The median, the minimum and the maximum of some values."""

    median: float
    least: float
    most: float

    def shown(self, digits: int) -> str:
        """Return the text, with the range in brackets if there is a range."""
        middle, least, most = (f"{value:,.{digits}f}" for value in self)
        return middle if least == most else f"{middle} ({least} to {most})"


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the range of some values."""
    return Spread(statistics.median(values), min(values), max(values))


def ratios(result: Result, mine: str, theirs: str, key: str) -> list[float]:
    """Return the figure of one rival divided by that of another, for each round."""
    pairs = zip(result.samples[mine], result.samples[theirs], strict=True)
    return [ours[key] / other[key] for ours, other in pairs]


def differences(result: Result, mine: str, theirs: str, key: str) -> list[float]:
    """Return how much larger the figure of one rival is than that of another, for each round."""
    pairs = zip(result.samples[mine], result.samples[theirs], strict=True)
    return [ours[key] - other[key] for ours, other in pairs]


def values(result: Result, name: str, key: str) -> list[float]:
    """Return the figure of one rival for each round."""
    return [sample[key] for sample in result.samples[name]]


def fresh(function: Callable[..., Any], **arguments: Any) -> Any:
    """Call a function of a benchmark in its own process.

    Return its result, decoded from JSON.
    """
    where = f"{Path(inspect.getfile(function)).stem}:{function.__name__}"
    command = [sys.executable, str(HERE / "child.py"), where, json.dumps(arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def interleaved(cases: Mapping[str, Callable[[], Sample]], rounds: int) -> Samples:
    """Run all cases in each round. Each round begins with a different case."""
    names, found = list(cases), Samples()
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            found.setdefault(name, []).append(cases[name]())
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
    return {name: found[name] for name in names}


def together(rounds: Iterable[Mapping[str, Sample]]) -> Samples:
    """Return the samples of rounds in which one process measures all cases."""
    found = Samples()
    for samples in rounds:
        for name, sample in samples.items():
            found.setdefault(name, []).append(sample)
    return found


def table(result: Result) -> list[list[str]]:
    """Return a table as rows of text cells. The first row has the headings."""
    columns = [
        metric
        for metric in result.metrics
        if any(_has(result, name, metric) for name in result.samples)
    ]
    headings = [""]
    for metric in columns:
        headings += [metric.heading, "x"] if _get_reference(result, metric) else [metric.heading]
    return [headings, *([name, *_cells(result, name, columns)] for name in result.samples)]


def _has(result: Result, name: str, metric: Metric) -> bool:
    return all(metric.key in sample for sample in result.samples[name])


def _get_reference(result: Result, metric: Metric) -> str | None:
    """Return the rival with which a figure is compared, or ``None`` for no comparison."""
    return result.reference if metric.ratio and result.reference in result.samples else None


def _cells(result: Result, name: str, columns: list[Metric]) -> Iterator[str]:
    for metric in columns:
        known = _has(result, name, metric)
        yield spread(values(result, name, metric.key)).shown(metric.digits) if known else ""
        if reference := _get_reference(result, metric):
            yield spread(ratios(result, name, reference, metric.key)).shown(2)


def claims_table(claims: Iterable[Claim]) -> list[list[str]]:
    """Return a table of the targets and of the values that were reached, as rows of text cells."""
    rows = [["", "target", "reached", ""]]
    for claim in claims:
        bound = "at least" if claim.at_least else "at most"
        wanted = f"{bound} {claim.wanted:g} {claim.unit}"
        reached = f"{spread(claim.values).shown(_digits(claim.wanted))} {claim.unit}"
        rows.append([claim.what, wanted, reached, "met" if claim.is_reached else "missed"])
    return rows


def _digits(wanted: float) -> int:
    return 3 if wanted < 0.1 else 2 if wanted < 5 else 1


def as_text(rows: list[list[str]]) -> str:
    """Return a table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def as_markdown(rows: list[list[str]]) -> str:
    """Return a table in Markdown, with our own rows in bold."""
    lines = [f"| {' | '.join(map(_bold, row) if _is_ours(row[0]) else row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def _is_ours(name: str) -> bool:
    return name.startswith("cekat_async")


def _bold(cell: str) -> str:
    return f"**{cell}**" if cell else ""


def as_data(result: Result) -> dict[str, Any]:
    """Return a result as plain values. Include the figures that are computed from its samples."""
    summary = {name: _summary(result, name) for name in result.samples}
    claims = [
        msgspec.to_builtins(claim)
        | {"reached": statistics.median(claim.values), "is_met": claim.is_reached}
        for claim in result.claims
    ]
    data: dict[str, Any] = msgspec.to_builtins(result)
    return data | {"summary": summary, "claims": claims}


def _summary(result: Result, name: str) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}
    for metric in result.metrics:
        if _has(result, name, metric):
            found[metric.key] = spread(values(result, name, metric.key))._asdict()
            if reference := _get_reference(result, metric):
                compared = ratios(result, name, reference, metric.key)
                found[metric.key]["ratio"] = spread(compared)._asdict()
    return found


def show(results: Iterable[Result], *, as_json: bool) -> None:
    """Print results as text or as JSON."""
    if as_json:
        print(json.dumps([as_data(result) for result in results], indent=2))
        return
    for result in results:
        print(f"\n{result.title}\n\n{as_text(table(result))}")
        if result.claims:
            print(f"\n{as_text(claims_table(result.claims))}")
        print("".join(f"\n{note}" for note in result.notes))


def argument_parser(about: str | None, *, rounds: int | None = None) -> argparse.ArgumentParser:
    """Return a parser with the common options."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--json", action="store_true", help="print all samples as JSON")
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds)
    return parser


def versions() -> dict[str, str]:
    """Return the versions of Python and of the measured packages that are installed."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Return a description of the machine."""
    return {
        "system": platform.system(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "implementation": platform.python_implementation(),
    }


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    if described.exists():
        for line in described.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
