"""The named cases of the limiter, on a virtual clock: one line for each.

``bench_quota_cases.py stall sliding/none`` runs the cases whose names contain one of the texts.
"""

from __future__ import annotations

import logging
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

# The tests have the same servers and clock.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import msgspec
from suite import argument_parser
from support.quota_cases import CASES, CaseResult, run_case

_HEADINGS = ("case", "used", "later", "ours", "429", ">10 s", ">60 s", "share", "faults", "worst")


def measure(
    name: str, options: dict[str, Any] | None, periods: int | None, seed: int
) -> CaseResult | str:
    """Run a case; return what it raised as text, so that the others are shown too."""
    logging.disable(logging.CRITICAL)
    try:
        return run_case(name, options, periods, seed)
    except Exception as error:  # noqa: BLE001 - it is printed
        return f"{type(error).__name__}: {error}"


def line(name: str, result: CaseResult | str) -> str:
    """Return a line of the table."""
    if isinstance(result, str):
        return f"{name:48} {result}"
    shares = "".join(f"{share:7.1%}" for share in (result.used, result.later, result.ours))
    counts = (result.refused, result.after_start, result.after_minute)
    stranger = (
        f"  stranger {result.strangers_refused} of {result.wanted}"
        f" ({result.strangers_refused_share:.1%})"
        if result.wanted
        else ""
    )
    return (
        f"{name:48}{shares}{''.join(f'{count:6}' for count in counts)}"
        f"{result.refused_share:7.1%}{result.faults:7}{result.worst:6}{stranger}"
    )


def main() -> None:
    """Run the chosen cases and print the table."""
    parser = argument_parser(__doc__)
    parser.add_argument("names", nargs="*", help="texts that a case's name contains; default: all")
    parser.add_argument("--periods", type=int, help="how long, in periods of each case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--options", help="arguments of RateLimit for all cases, as JSON")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at once")
    chosen = parser.parse_args()
    wanted = [name for name in CASES if not chosen.names or any(t in name for t in chosen.names)]
    options = msgspec.json.decode(chosen.options) if chosen.options else None
    work = partial(measure, options=options, periods=chosen.periods, seed=chosen.seed)
    first, *others = _HEADINGS
    print(f"{first:48}" + "".join(f"{heading:>7}" for heading in others[:3]), end="")
    print("".join(f"{heading:>6}" for heading in others[3:6]), end="")
    print("".join(f"{text:>{width}}" for text, width in zip(others[6:], (7, 7, 6), strict=True)))
    with ProcessPoolExecutor(chosen.jobs) as pool:
        for name, result in zip(wanted, pool.map(work, wanted), strict=True):
            print(line(name, result), flush=True)


if __name__ == "__main__":
    main()
