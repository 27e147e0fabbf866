"""How many instructions a page of a walk takes: the same number on a busy machine and an idle one.

Each rival walks two listings of different length under ``valgrind --tool=callgrind``. The
difference, divided by the pages in between, is free of what comes once: imports, connecting, the
first page.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from page_server import SERVERS, Listing, serving
from rivals import BY_HAND, OURS, RIVALS
from suite import HERE, Claim, Metric, Result, argument_parser, ratios, show

if TYPE_CHECKING:
    from suite import Samples

_WALK = "import rivals, sys; rivals.walk(*sys.argv[1:])"
_PAGES = "pages as on the API's page"
_UNKNOWN = "15 % of records with an unknown field"
_TWO_UNKNOWN = "two unknown fields in each record"
_MISTYPED = "a mistyped field in each record"
_METRICS = [Metric(key="instructions", heading="thousand instructions a page", ratio=True)]
_NOTE = "The hand-written loop ignores unknown fields. It cannot read mistyped ones at all."
_MISSING = "Not measured, because valgrind is not installed."


class Case(NamedTuple):
    """A rival, the kind of its records, and what it may take at most, beside the reference."""

    rival: str
    records: str
    what: str
    wanted: float | None = None

    @property
    def title(self) -> str:
        """What it is called in a table."""
        return f"{RIVALS[self.rival].title}, {self.what}"


REFERENCE = Case(BY_HAND, "documented", _PAGES)
CASES = (
    REFERENCE,
    Case(OURS, "documented", _PAGES, 1.25),
    Case(OURS, "unknown", _UNKNOWN, 1.45),
    Case(OURS, "two-unknown", _TWO_UNKNOWN, 1.6),
    Case(OURS, "mistyped", _MISTYPED, 2.5),
    Case("by-hand-paced", "documented", _PAGES),
)


def count(valgrind: str, rival: str, base_url: str) -> int:
    """Return how many instructions a process executes in which a rival walks a listing."""
    child = [sys.executable, "-c", _WALK, rival, base_url]
    done = subprocess.run(
        [valgrind, "--tool=callgrind", f"--callgrind-out-file={os.devnull}", *child],
        check=True,
        capture_output=True,
        text=True,
        cwd=HERE,
        # Where a hash leads to in a table is another place in each process without it.
        env=os.environ | {"PYTHONHASHSEED": "0"},
    )
    print(f"{rival}, {base_url}", file=sys.stderr, flush=True)
    [found] = re.findall(r"Collected : (\d+)", done.stderr)
    return int(found)


def measure(
    valgrind: str, cases: tuple[Case, ...], urls: dict[str, str], pages: tuple[int, int]
) -> Samples:
    """Return the thousands of instructions that one page takes, by case."""
    walks = [(case.rival, urls[f"{case.records}-{length}"]) for case in cases for length in pages]
    # At once, because what is counted does not depend on what else the machine does.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = [*pool.map(lambda walk: count(valgrind, *walk), walks)]
    by_case = zip(cases, counts[::2], counts[1::2], strict=True)
    per_page = {case.title: (many - few) / (pages[1] - pages[0]) for case, few, many in by_case}
    return {title: [{"instructions": found / 1000}] for title, found in per_page.items()}


def run(cases: tuple[Case, ...], pages: tuple[int, int], server: str) -> Result:
    """Measure each case once: another run differs by less than one in a hundred."""
    title = f"pages of 100, {pages[1]} of them minus {pages[0]}"
    result = Result(title=title, metrics=_METRICS, samples={}, reference=REFERENCE.title)
    if (valgrind := shutil.which("valgrind")) is None:
        result.notes = [_MISSING]
        return result
    kinds = {case.records for case in cases}
    listings = [
        Listing(f"{kind}-{length}", length, records=kind) for kind in kinds for length in pages
    ]
    with serving(*listings, server=server) as urls:
        result.samples = measure(valgrind, cases, urls, pages)
    result.claims = [
        Claim(
            what=f"{case.what}, to the hand-written loop on documented pages",
            values=ratios(result, case.title, REFERENCE.title, "instructions"),
            wanted=case.wanted,
        )
        for case in cases
        if case.wanted is not None and REFERENCE in cases
    ]
    result.notes = [_NOTE]
    return result


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__)
    parser.add_argument("--pages", type=int, nargs=2, default=(30, 130), help="two lengths")
    parser.add_argument("--few", action="store_true", help="this package and documented pages only")
    parser.add_argument("--server", choices=SERVERS, default="auto")
    options = parser.parse_args()
    cases = CASES[1:2] if options.few else CASES
    show([run(cases, tuple(options.pages), options.server)], as_json=options.json)


if __name__ == "__main__":
    main()
