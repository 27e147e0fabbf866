"""The named cases of the limiter on a virtual clock. Each case has a line with its missed targets.

The cases have servers and machines that are not in the matrix of ``bench_quota.py``: reported
numbers that mean something else, several windows at the same time, refusals without a quota, and
blocked event loops. ``bench_quota_cases.py stall sliding/none`` runs the cases whose names contain
one of the two texts. ``--write`` puts a table of all cases into docs/explanation/benchmarks.md.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

# The servers and the clock of the tests are used here.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import msgspec
from suite import Metric, Result, argument_parser, show
from support.quota_cases import CaseResult, run_seeds
from support.quota_catalogue import CASES
from support.quota_targets import find_misses

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable, Iterator, Mapping

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "benchmarks.md"
BEGIN, END = "<!-- the cases begin -->", "<!-- the cases end -->"


class Column(NamedTuple):
    """A column of the printed table."""

    heading: str
    width: int
    format: str
    field: str


_NAME_WIDTH = 50
_COLUMNS = [
    Column("used", 8, ".1%", "used"),
    Column("later", 8, ".1%", "later"),
    Column("ours", 8, ".1%", "ours"),
    Column("429s", 7, ".3g", "refused"),
    Column("<10 s", 7, ".3g", "at_start"),
    Column(">60 s", 7, ".3g", "after_minute"),
    Column("share", 7, ".1%", "refused_share"),
    Column("faults", 7, ".3g", "faults"),
    Column("worst", 7, ".4g", "worst"),
    Column("wanted", 7, ".3g", "wanted"),
    Column("refused", 8, ".1%", "strangers_refused_share"),
]
_METRICS = [
    Metric(key="used", heading="% used, least", digits=1),
    Metric(key="refused", heading="429s, most"),
    Metric(key="after_minute", heading="after the first minute, most"),
]


def measure(
    name: str, options: dict[str, Any] | None, periods: int | None, seeds: int
) -> CaseResult | str:
    """Run a case.

    Run a case. If the case raises an error, return the error as text, so that the other cases still
    run.
    """
    logging.disable(logging.CRITICAL)
    try:
        return run_seeds(name, options, periods, range(1, seeds + 1))
    except Exception as error:  # noqa: BLE001 - the caller prints it
        return f"{type(error).__name__}: {error}"


def headings() -> str:
    """Return the heading of the printed table."""
    return f"{'case':{_NAME_WIDTH}}" + "".join(f"{c.heading:>{c.width}}" for c in _COLUMNS)


def line(name: str, result: CaseResult | str) -> str:
    """Return a line of the printed table."""
    if isinstance(result, str):
        return f"{name:{_NAME_WIDTH}} {result}"
    cells = "".join(f"{getattr(result, c.field):>{c.width}{c.format}}" for c in _COLUMNS)
    return f"{name:{_NAME_WIDTH}}{cells}  {'; '.join(find_misses(name, result))}".rstrip()


def missed(found: Mapping[str, CaseResult | str]) -> list[str]:
    """Return a line for each case that misses a target or raised an error."""
    reasons = {
        name: [result] if isinstance(result, str) else find_misses(name, result)
        for name, result in found.items()
    }
    return [f"{name}: {'; '.join(why)}" for name, why in reasons.items() if why]


def page_lines(found: Mapping[str, CaseResult | str]) -> Iterator[str]:
    """Yield the table for the documentation.

    Cases with the same first two parts of their names share one line.
    """
    lost = missed(found)
    yield f"{len(found) - len(lost)} of {len(found)} cases reach their targets."
    yield ""
    yield from ["These miss them:", "", *(f"- {text}" for text in lost), ""] if lost else []
    yield "| cases | used | from the second minute | our 429s | after the first minute | theirs |"
    yield "|---|---|---|---|---|---|"
    for name, results in grouped(found).items():
        yield _page_line(name, results)


def grouped(found: Mapping[str, CaseResult | str]) -> dict[str, list[CaseResult]]:
    """Return the results by the first two parts of their names.

    Errors are left out.
    """
    groups: dict[str, list[CaseResult]] = defaultdict(list)
    for name, result in found.items():
        if not isinstance(result, str):
            groups["/".join(name.split("/")[:2])].append(result)
    return groups


def _page_line(name: str, results: list[CaseResult]) -> str:
    cells = [
        name,
        _span(result.used for result in results),
        _span(result.later for result in results if not isnan(result.later)),
        f"{max(result.refused for result in results):.3g}",
        f"{max(result.after_minute for result in results):.3g}",
        _span(result.strangers_refused_share for result in results if result.wanted),
    ]
    return f"| {' | '.join(cells)} |"


def _span(shares: Iterable[float]) -> str:
    """Return the lowest and the highest of some shares."""
    low, *others = sorted(f"{share:7.1%}" for share in shares) or [""]
    high = others[-1] if others else low
    return low.strip() if low == high else f"{low.strip()} to {high.strip()}"


def write(found: Mapping[str, CaseResult | str]) -> None:
    """Write the table into the documentation."""
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    body = "\n".join([BEGIN, "", *page_lines(found), ""])
    PAGE.write_text(f"{head}{body}\n{END}{tail}", encoding="utf-8")


def _worst(results: list[CaseResult]) -> dict[str, float]:
    return {
        "used": 100 * min(result.used for result in results),
        "refused": max(result.refused for result in results),
        "after_minute": max(result.after_minute for result in results),
    }


def as_result(found: Mapping[str, CaseResult | str]) -> Result:
    """Return the cases as a ``Result``."""
    return Result(
        title=f"the quota, {len(found)} named cases on a virtual clock",
        metrics=_METRICS,
        samples={name: [_worst(results)] for name, results in grouped(found).items()},
        notes=[f"missed: {text}" for text in missed(found)],
    )


def parse() -> Namespace:
    """Return the options of the command line."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "names", nargs="*", help="run the cases whose names contain one of these; default: all"
    )
    parser.add_argument("--periods", type=int, help="how many periods each case runs")
    parser.add_argument(
        "--seeds", type=int, default=1, help="runs of each case; the result is their mean"
    )
    parser.add_argument("--every", type=int, default=1, help="run only every n-th case")
    parser.add_argument("--options", help="arguments of RateLimit for all cases, as JSON")
    parser.add_argument(
        "--write", action="store_true", help="write the table into the documentation"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at once")
    parser.add_argument("--at-most-missed", type=int, help="fail if more cases miss")
    return parser.parse_args()


def run(chosen: Namespace, out: TextIO) -> dict[str, CaseResult | str]:
    """Run the chosen cases. Print a line for each case as soon as it ends."""
    names = [name for name in CASES if not chosen.names or any(t in name for t in chosen.names)]
    names = names[:: chosen.every]
    options = msgspec.json.decode(chosen.options) if chosen.options else None
    work = partial(measure, options=options, periods=chosen.periods, seeds=chosen.seeds)
    found: dict[str, CaseResult | str] = {}
    print(headings(), file=out)
    with ProcessPoolExecutor(chosen.jobs) as pool:
        for name, result in zip(names, pool.map(work, names), strict=True):
            found[name] = result
            print(line(name, result), file=out, flush=True)
    return found


def main() -> int:
    """Run the chosen cases and print the table. Fail if too many cases miss their targets."""
    chosen = parse()
    found = run(chosen, sys.stderr if chosen.json else sys.stdout)
    if chosen.json:
        show([as_result(found)], as_json=True)
    if chosen.write:
        write(found)
    lost = len(missed(found))
    print(f"{len(found) - lost} of {len(found)} cases reach their targets", file=sys.stderr)
    return int(chosen.at_most_missed is not None and lost > chosen.at_most_missed)


if __name__ == "__main__":
    sys.exit(main())
