"""A matrix on a virtual clock: how much of a quota a client uses, and how often it is refused.

The matrix combines every kind of window with every kind of headers, limit, round trip, number of
workers and strangers. Each cell runs for ten periods. The rivals are what people use today.
``--write`` puts the table into docs/explanation/benchmarks.md, and all cells into
benchmarks/quota.tsv. ``--compare`` runs a selection of cells in about a minute, and fails if they
are worse than in benchmarks/quota.tsv.
"""

from __future__ import annotations

import csv
import itertools
import logging
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

# The servers, the strangers and the clock of the tests are used here.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from suite import Metric, Result, Sample, argument_parser, show
from support import quota_model as model
from support.quota_model import Cell, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "docs" / "explanation" / "benchmarks.md"
CELLS = ROOT / "benchmarks" / "quota.tsv"
OURS, *RIVALS = model.CONTENDERS
BEGIN, END = "<!-- the table begins -->", "<!-- the table ends -->"
# The number of periods for each limit, for our client and for rivals. It is smaller if a period
# takes long to compute.
_PERIODS, _PERIODS_OF_RIVALS = {60: 10, 300: 10, 1000: 3}, {60: 3, 300: 2, 1000: 1}
_SEEDS = 20
_METRICS = [
    Metric(key="used", heading="% used without headers, median", digits=1),
    Metric(key="least", heading="the worst", digits=1),
    Metric(key="refused", heading="429s per period, median", digits=1),
    Metric(key="most", heading="the most", digits=1),
]
# The targets with and without strangers, and the headers that make these targets possible.
USED_ALONE, USED_TOGETHER = 0.98, 0.97
USED_ALONE_BY_LIMIT = {60: 0.97}
HONEST = ("X-RateLimit", "RateLimit")
LYING = ("too much", "nothing left")
# These sets of cells show quickly whether a change made something worse.
FAST: dict[str, Callable[[Cell], bool]] = {
    "32 workers": lambda cell: cell.workers == 32 and cell.strangers == "alone",
    "strangers": lambda cell: cell.workers == 8 and cell.strangers in ("30 %", "70 %", "bursts"),
    # Two clients at a small bucket are left out, because their figures vary too much by chance.
    "a client": lambda cell: cell.strangers == "a client" and cell.window != "small bucket",
}
# Tolerances for the share used and for the 429s per period. One pair is for the mean of a set, and
# one is for a single cell, which is printed if it is worse by more. The same code gives the same
# figures. Changed code may send a request a little later. That changes a cell by some points, and a
# mean by less.
TOLERANCE_OF_SETS, TOLERANCE_OF_CELLS = (0.01, 0.25), (0.05, 2.0)


class Row(NamedTuple):
    """A cell, and the outcome of each contender that ran in it."""

    cell: Cell
    outcomes: dict[str, Outcome]


def all_cells() -> Iterator[Cell]:
    """Yield the whole matrix."""
    parts = (
        model.WINDOWS,
        model.HEADERS,
        model.LIMITS,
        model.TRIPS,
        model.WORKERS,
        model.STRANGERS,
    )
    return filter(_is_wanted, itertools.starmap(Cell, itertools.product(*parts)))


def _is_wanted(cell: Cell) -> bool:
    """Return False for most cells with another client, because a few of those cells are enough."""
    return cell.strangers != "a client" or (cell.workers == 8 and cell.trip in {0.15, "jittered"})


def fast_cells() -> Iterator[Cell]:
    """Yield the cells of all sets in ``FAST``."""
    for cell in all_cells():
        is_fast = cell.limit == 60 and cell.trip in {0.15, "jittered"}
        if is_fast and any(belongs(cell) for belongs in FAST.values()):
            yield cell


def few_cells() -> Iterator[Cell]:
    """Yield a part of the matrix that runs in seconds.

    It has every kind of window and every kind of headers.
    """
    return (
        cell
        for cell in all_cells()
        if (cell.limit, cell.workers) == (60, 8) and cell.trip in {0.15, "jittered"}
    )


def run_cell(cell: Cell) -> Row:
    """Run a cell for our client, and for the rivals if it has no headers."""
    logging.disable(logging.CRITICAL)
    # Rivals do not read headers, so other cells would give the same result.
    rivals = RIVALS if cell.headers == "none" else ()
    periods = {OURS: _PERIODS[cell.limit]}
    periods |= dict.fromkeys(rivals, _PERIODS_OF_RIVALS[cell.limit])
    return Row(cell, {name: model.run(cell, name, count) for name, count in periods.items()})


def run_ours(cell: Cell) -> Row:
    """Run a cell only for our client."""
    logging.disable(logging.CRITICAL)
    return Row(cell, {OURS: model.run(cell, OURS, _PERIODS[cell.limit])})


def is_reached(row: Row) -> bool:
    """Return whether a cell reaches its target."""
    cell, ours = row.cell, row.outcomes[OURS]
    if cell.strangers == "alone":
        # With a small bucket or wrong headers, all requests in flight may be refused once.
        burst = cell.workers if cell.window == "small bucket" or cell.headers in LYING else 0
        wanted = USED_ALONE_BY_LIMIT.get(cell.limit, USED_ALONE)
        return ours.used >= wanted and ours.refused <= burst
    return ours.used >= USED_TOGETHER and ours.refused <= ours.periods


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of a table: one for each combination of window, headers and strangers."""
    yield (
        "| window | headers | strangers | used | 429s per period | 20, 50, 300 pages | "
        + " | ".join(f"`{name}`" for name in RIVALS)
        + " |"
    )
    yield "|---|---|---|---|---|---|" + "---|" * len(RIVALS)
    groups = itertools.product(model.STRANGERS, model.HEADERS, model.WINDOWS)
    for strangers, headers, window in groups:
        group = [
            row
            for row in rows
            if (row.cell.window, row.cell.headers, row.cell.strangers)
            == (window, headers, strangers)
        ]
        if group:
            yield line(group, same_without_headers(group, rows))


def same_without_headers(group: Sequence[Row], rows: Sequence[Row]) -> list[Row]:
    """Return the cells without headers, because rivals ran only in these."""
    wanted = {row.cell._replace(headers="none") for row in group}
    return [row for row in rows if row.cell in wanted]


def line(group: Sequence[Row], rivals: Sequence[Row]) -> str:
    """Return one line: the median and the worst of each figure."""
    first, ours = group[0].cell, [row.outcomes[OURS] for row in group]
    parts = [first.window, first.headers, first.strangers, used(ours), refused(ours), times(ours)]
    for name in RIVALS:
        theirs = [row.outcomes[name] for row in rivals]
        parts.append(f"{used(theirs)}, {refused(theirs)}" if theirs else "")
    return "| " + " | ".join(parts) + " |"


def used(outcomes: Iterable[Outcome]) -> str:
    """Return the median and the worst of the shares used."""
    shares = sorted(outcome.used for outcome in outcomes)
    return f"{shares[len(shares) // 2]:.1%} ({shares[0]:.1%})"


def refused(outcomes: Iterable[Outcome]) -> str:
    """Return the median and the maximum number of 429s per period."""
    counts = sorted(outcome.refused_in_a_period for outcome in outcomes)
    return f"{counts[len(counts) // 2]:.1f} ({counts[-1]:.1f})"


def times(outcomes: Iterable[Outcome]) -> str:
    """Return the median times until 20, 50 and 300 pages had arrived, in seconds."""
    columns = zip(*((o.at_20, o.at_50, o.at_300) for o in outcomes if o.at_300 >= 0), strict=True)
    return ", ".join(f"{sorted(column)[len(column) // 2]:.1f}" for column in columns) or "-"


def missed(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the cells that miss their target although their headers make the target possible."""
    for row in rows:
        possible = row.cell.strangers == "alone" or row.cell.headers in HONEST
        if possible and not is_reached(row):
            ours = row.outcomes[OURS]
            yield f"{'  '.join(map(str, row.cell))}: {ours.used:.1%}, {ours.refused} of 429"


def idle_starts() -> list[tuple[float, Cell]]:
    """Return how much longer 50 pages on an idle key take with our limiter than without one.

    Small buckets are left out, because they refuse a client without a limiter. If round trips are
    random, the figure is the mean of several runs.
    """
    logging.disable(logging.CRITICAL)
    found: list[tuple[float, Cell]] = []
    for cell in all_cells():
        is_idle = cell.strangers == "alone" and cell.headers in HONEST and cell.workers == 8
        if is_idle and cell.window != "small bucket":
            seeds = range(_SEEDS if isinstance(cell.trip, str) else 1)
            ours, bare = (
                fmean(model.run(cell, name, 1, seed).at_50 for seed in seeds)
                for name in (OURS, "backoff only")
            )
            found.append((ours / bare - 1, cell))
    return found


def idle_start() -> str:
    """Return a line about the slowest start on an idle key."""
    worst, where = max(idle_starts(), key=lambda pair: pair[0])
    return f"50 pages on an idle key, 8 workers, to no limiter: {worst:+.1%} at most ({where})"


def summary(rows: Sequence[Row]) -> Iterator[str]:
    """Yield lines that say how many cells reach their target."""
    for strangers in ("alone", "with strangers"):
        for headers in model.HEADERS:
            group = [
                row
                for row in rows
                if (row.cell.strangers == "alone") == (strangers == "alone")
                and row.cell.headers == headers
            ]
            if group:
                met = sum(map(is_reached, group))
                yield f"{strangers}, headers {headers}: {met} of {len(group)} cells"


def as_tsv(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of the file of cells, with one line per cell."""
    numbers = Outcome._fields
    names = [f"{name} {number}" for name in model.CONTENDERS for number in numbers]
    yield "\t".join([*Cell._fields, *names])
    for cell, outcomes in rows:
        values = [f"{value:.4g}" for name in model.CONTENDERS for value in outcomes.get(name, ())]
        yield "\t".join([*map(str, cell), *values])


def known_rows() -> dict[Cell, Row]:
    """Return the rows of the file of cells."""
    with CELLS.open(encoding="utf-8", newline="") as file:
        return {row.cell: row for row in map(_row, csv.DictReader(file, delimiter="\t"))}


def _row(values: Mapping[str, str]) -> Row:
    window, headers, limit, trip, workers, strangers = (values[name] for name in Cell._fields)
    seconds = trip if trip == "jittered" else float(trip)
    cell = Cell(window, headers, int(limit), seconds, int(workers), strangers)
    outcomes = {}
    for name in model.CONTENDERS:
        numbers = [values[f"{name} {number}"] for number in Outcome._fields]
        if all(numbers):  # rivals did not run in every cell
            used, refused, periods, *times = map(float, numbers)
            outcomes[name] = Outcome(used, int(refused), int(periods), *times)
    return Row(cell, outcomes)


def merged(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of the file of cells, updated with newer rows."""
    known = known_rows() if CELLS.exists() else {}
    for cell, outcomes in rows:
        earlier = known[cell].outcomes if cell in known else {}
        known[cell] = Row(cell, earlier | outcomes)
    return [known[cell] for cell in all_cells() if cell in known]


def comparison(rows: Iterable[Row]) -> tuple[list[str], bool]:
    """Compare rows with those in the file of cells, which may lack some of them.

    Returns:
        A line for each set, and a line for each cell that is worse by more than the tolerance. The
        second value is whether the mean of a set is worse.
    """
    known, is_worse = known_rows(), False
    lines: list[str] = []
    pairs = [
        (row.cell, known[row.cell].outcomes[OURS], row.outcomes[OURS])
        for row in rows
        if row.cell in known
    ]
    for name, belongs in FAST.items():
        group = [(before, now) for cell, before, now in pairs if belongs(cell)]
        before, now = (_mean(outcomes) for outcomes in zip(*group, strict=True))
        worse = _is_worse(before, now, TOLERANCE_OF_SETS)
        is_worse |= worse
        lines.append(f"{name}, {len(group)} cells: {_change(before, now)}{', WORSE' * worse}")
    for cell, *both in pairs:
        before, now = ((one.used, one.refused_in_a_period) for one in both)
        if _is_worse(before, now, TOLERANCE_OF_CELLS):
            lines.append(f"worse: {'  '.join(map(str, cell))}: {_change(before, now)}")
    return lines, is_worse


def _mean(outcomes: Sequence[Outcome]) -> tuple[float, float]:
    used = fmean(outcome.used for outcome in outcomes)
    return used, fmean(outcome.refused_in_a_period for outcome in outcomes)


def _is_worse(
    before: tuple[float, float], now: tuple[float, float], tolerance: tuple[float, float]
) -> bool:
    return before[0] - now[0] > tolerance[0] or now[1] - before[1] > tolerance[1]


def _change(before: tuple[float, float], now: tuple[float, float]) -> str:
    used, refused = zip(before, now, strict=True)
    return (
        f"used {used[0]:.2%} -> {used[1]:.2%}, 429s per period {refused[0]:.2f} -> {refused[1]:.2f}"
    )


def facts(rows: Sequence[Row], every: int) -> Iterator[str]:
    """Yield a summary. The idle start takes a minute, so only a run of all cells has it."""
    yield from summary(rows)
    if every == 1:
        yield idle_start()


def results(rows: Sequence[Row], every: int) -> list[Result]:
    """Return the rows as results with one row per contender."""
    contenders = {name: _contender(name, rows) for name in (OURS, *RIVALS)}
    return [
        Result(
            title=f"the quota, {len(rows):,} kinds of servers on a virtual clock",
            metrics=_METRICS,
            samples={name: [sample] for name, sample in contenders.items() if sample},
            notes=[*facts(rows, every), *(f"missed: {text}" for text in missed(rows))],
        )
    ]


def _contender(name: str, rows: Sequence[Row]) -> Sample:
    """Return the median and the worst of a contender, in the cells without headers."""
    outcomes = [row.outcomes[name] for row in rows if row.cell.headers == "none"]
    if not outcomes:
        return {}
    shares = sorted(outcome.used for outcome in outcomes)
    counts = sorted(outcome.refused_in_a_period for outcome in outcomes)
    return {
        "used": 100 * shares[len(shares) // 2],
        "least": 100 * shares[0],
        "refused": counts[len(counts) // 2],
        "most": counts[-1],
    }


def write(rows: Sequence[Row]) -> None:
    """Write the table into the documentation, and the cells into their file."""
    head, _, rest = TABLE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    known = [f"- {text}" for text in facts(rows, every=1)]
    alone = [row for row in rows if row.cell.strangers == "alone"]
    heading = (
        "Cells that miss their target, alone or with headers that make it possible: "
        f"{sum(1 for _ in missed(rows))}. Those alone are:"
    )
    lost = [f"- {text}" for text in missed(alone)]
    body = "\n".join(
        [BEGIN, "", *known, "", heading, "", *(lost or ["none"]), "", *table(rows), ""]
    )
    TABLE.write_text(f"{head}{body}\n{END}{tail}", encoding="utf-8")
    CELLS.write_text("\n".join(as_tsv(rows)) + "\n", encoding="utf-8")


def followed(rows: Iterable[Row], count: int) -> Iterator[Row]:
    """Yield rows, and print the progress from time to time."""
    for number, row in enumerate(rows, 1):
        yield row
        if number % 100 == 0:
            print(f"{number} of {count}", file=sys.stderr, flush=True)


def main() -> int:
    """Run the matrix and print it. Fail if too many cells miss their targets."""
    parser = argument_parser(__doc__)
    parser.add_argument("--few", action="store_true", help="run a part that takes a minute")
    parser.add_argument(
        "--compare", action="store_true", help="run a selection; fail if it is worse than before"
    )
    parser.add_argument("--every", type=int, default=1, help="run only every n-th cell")
    parser.add_argument(
        "--write", action="store_true", help="write the table into the documentation"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at once")
    parser.add_argument("--at-most-missed", type=int, help="fail if more cells miss")
    options = parser.parse_args()
    chosen = fast_cells if options.compare else few_cells if options.few else all_cells
    cells = list(chosen())[:: options.every]
    work = run_ours if options.compare else run_cell
    with ProcessPoolExecutor(options.jobs) as pool:
        rows = list(followed(pool.map(work, cells, chunksize=4), len(cells)))
    if options.compare:
        lines, is_worse = comparison(rows)
        print("\n".join(lines))
        return int(is_worse)
    if options.json:
        show(results(rows, options.every), as_json=True)
    else:
        print("\n".join([*table(rows), "", *facts(rows, options.every), "", *missed(rows)]))
    if options.write:
        write(merged(rows))
    count = sum(1 for _ in missed(rows))
    return int(options.at_most_missed is not None and count > options.at_most_missed)


if __name__ == "__main__":
    sys.exit(main())
