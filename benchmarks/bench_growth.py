"""Measures whether time, memory or delays grow with the number of conversations.

The script runs listings and exports of several sizes, each in its own process. One of the largest
exports of each kind is also cancelled while it publishes.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import growth_cases
from page_server import Listing, move_last, serving
from suite import Claim, Metric, Result, Sample, Samples, argument_parser, fresh, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# The number of segments of each listing, and the suffix of each target.
LISTINGS = {"list()": 1, "list(segments=8)": 8}
EXPORTS = {"JSON Lines": ".jsonl", "Parquet": ".parquet", "SQLite": ".sqlite"}
# The keys are the names of the options.
CASES = {
    "list": "list()",
    "segments": "list(segments=8)",
    "jsonl": "JSON Lines",
    "parquet": "Parquet",
    "sqlite": "SQLite",
}
# Only these cases are measured at the largest sizes. The others would take too long.
LARGE = ("list()", "JSON Lines")
AGAIN = "{}, 1 % changed"
_PAGE = 100
_WARM_UP = 20
_BASE = 100_000
# An export is cancelled this many seconds after each moment in ``MOMENTS``.
_DELAY = 0.3
_MEGABYTE = 1_000_000
_METRICS = [
    Metric(key="time", heading="µs each", digits=1),
    Metric(key="cpu", heading="CPU µs each", digits=1),
    Metric(key="peak", heading="peak MB", digits=1),
    Metric(key="growth", heading="since the first tenth", digits=1),
    Metric(key="checkpoint", heading="checkpoint MB", digits=1),
    Metric(key="publishing", heading="publishing s", digits=2),
    Metric(key="silence", heading="longest time without progress s", digits=2),
    Metric(key="hold", heading="loop blocked, CPU ms", digits=1),
    Metric(key="hold_publishing", heading="while publishing", digits=1),
]
_NOTE = (
    "Each row is one process. Time and CPU of an export of 1 % are divided by all conversations of "
    "its target. The longest blocks of the loop are full runs of Python's garbage collector. They "
    "take some 25 ms, whatever the number of conversations. Short walks have none."
)
_STOPS = [Metric(key=key, heading=f"{key} s", digits=2) for key in growth_cases.MOMENTS]


def name_sample(case: str, size: int) -> str:
    """Return the name under which the samples of a case at one size are stored."""
    return f"{case}, {size:,}"


def measure(case: str, size: int, *, stops: bool) -> tuple[Samples, Samples]:
    """Return the samples of a case at one size, and those of its cancelled exports."""
    listings = Listing("walk", size // _PAGE), Listing("warm_up", _WARM_UP)
    # Only the bundled server supports constructed cursors and pages that move.
    with tempfile.TemporaryDirectory() as folder, serving(*listings, server="raw") as urls:
        where: dict[str, str | int] = {
            "base_url": urls["walk"],
            "warm_up_url": urls["warm_up"],
            "total": size,
        }
        if case in LISTINGS:
            found = fresh(growth_cases.measure_listing, **where, segments=LISTINGS[case])
            return {name_sample(case, size): [_shown(case, size, found)]}, {}
        target = Path(folder) / f"x{EXPORTS[case]}"
        samples = measure_exports(case, where, target)
        return samples, stop_exports(case, where, target) if stops else Samples()


def measure_exports(case: str, where: dict[str, str | int], target: Path) -> Samples:
    """Export everything, let 1 % change, and export incrementally."""
    samples, size = Samples(), int(where["total"])
    for kind, changed in ((case, 0), (AGAIN.format(case), size // 100)):
        move_last(str(where["base_url"]), changed // _PAGE)
        found = fresh(growth_cases.measure_export, **where, target=str(target), changed=changed)
        samples[name_sample(kind, size)] = [_shown(kind, size, found)]
    return samples


def stop_exports(case: str, where: dict[str, str | int], target: Path) -> Samples:
    """Cancel exports: a full one to a new target, and an incremental one to an existing target."""
    samples, size = Samples(), int(where["total"])
    options = {"base_url": where["base_url"], "delay": _DELAY}
    new = target.with_name(f"new-{target.name}")
    for kind, path in ((case, new), (AGAIN.format(case), target)):
        move_last(str(where["base_url"]), 2 * size // 100 // _PAGE)
        found = fresh(
            growth_cases.measure_stops, target=str(path), incremental=path == target, **options
        )
        samples[name_sample(kind, size)] = [_shown(kind, size, found)]
    return samples


def _shown(case: str, size: int, sample: Sample) -> Sample:
    """Print a sample immediately, because the whole run takes long, and return the sample."""
    figures = ", ".join(f"{key} {value:.2f}" for key, value in sample.items())
    print(f"{name_sample(case, size)}: {figures}", file=sys.stderr, flush=True)
    return sample


def growth(cases: Sequence[str], sizes: Sequence[int], also: Sequence[int]) -> list[Result]:
    """Measure all cases at ``sizes``. Measure cases in ``LARGE`` also at the sizes ``also``."""
    runs = [(case, size) for size in sizes for case in cases]
    runs += [(case, size) for size in also for case in LARGE if case in cases]
    samples, stopped = Samples(), Samples()
    for case, size in runs:
        found, stops = measure(case, size, stops=size == max(sizes))
        samples |= found
        stopped |= stops
    remembered = fresh(
        growth_cases.measure_remembered, pages=max(1_000_000, *sizes, *also) // _PAGE
    )
    title = "listings and exports by number of conversations"
    grown = Result(title=title, metrics=_METRICS, samples=samples, notes=[_NOTE])
    grown.claims = [*_claims(samples, [*sizes, *also], remembered["bytes"])]
    stopping = Result(
        title=f"exports of {max(sizes):,} conversations, cancelled while they publish: "
        "seconds until they have ended",
        metrics=_STOPS,
        samples=stopped,
    )
    if stopped:
        slowest = max(seconds for [sample] in stopped.values() for seconds in sample.values())
        what = "until a cancelled export has ended"
        stopping.claims = [Claim(what=what, values=[slowest], wanted=2, unit="s")]
    return [grown, stopping]


def _claims(samples: Samples, sizes: Sequence[int], remembered: float) -> Iterator[Claim]:
    """Yield the targets. If there are several values, the worst one counts."""
    for case in dict.fromkeys(name.rsplit(", ", 1)[0] for name in samples):
        least, most = _extremes(samples, case, sizes)
        ratio = _get(samples, case, most, "cpu") / _get(samples, case, least, "cpu")
        what = f"{case}: CPU per conversation, {most:,} compared with {least:,}"
        yield Claim(what=what, values=[ratio], wanted=1.3)
    # A cursor takes 10 bytes, and the records of its page take 8.
    yield Claim(what="list(): memory per page", values=[remembered], wanted=18, unit="bytes")
    if all(name_sample(case, min(sizes)) in samples for case in LISTINGS):
        yield _claim_of_segments(samples, sizes)
    exports = {name: found for name, [found] in samples.items() if "publishing" in found}
    if exports:
        worst = max(exports, key=lambda name: exports[name]["peak"])
        yield Claim(what=f"peak of {worst}", values=[exports[worst]["peak"]], wanted=150, unit="MB")
        silence = max(found["silence"] for found in exports.values())
        yield Claim(what="longest time without progress", values=[silence], wanted=2, unit="s")


def _claim_of_segments(samples: Samples, sizes: Sequence[int]) -> Claim:
    least, most = _extremes(samples, "list(segments=8)", sizes)
    growths = [
        _get(samples, case, most, "peak") - _get(samples, case, least, "peak") for case in LISTINGS
    ]
    each = _MEGABYTE * (growths[1] - growths[0]) / (most - least)
    what = "list(segments=8): memory per conversation, more than list()"
    return Claim(what=what, values=[each], wanted=10, unit="bytes")


def _extremes(samples: Samples, case: str, sizes: Sequence[int]) -> tuple[int, int]:
    """Return the smallest and the largest size to compare.

    If possible, the smallest is at least 100,000.
    """
    measured = sorted(size for size in sizes if name_sample(case, size) in samples)
    return next((size for size in measured[:-1] if size >= _BASE), measured[0]), measured[-1]


def _get(samples: Samples, case: str, size: int, key: str) -> float:
    return samples[name_sample(case, size)][0][key]


def main() -> None:
    """Measure and print.

    Fail if a conversation takes more CPU in a larger export than in a smaller one.
    """
    parser = argument_parser(__doc__)
    parser.add_argument("--cases", nargs="+", default=[*CASES], choices=CASES)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument(
        "--also", type=int, nargs="*", default=[], help="more sizes for list() and JSON Lines"
    )
    parser.add_argument(
        "--at-most", type=float, help="fail if the CPU per conversation grows by more"
    )
    options = parser.parse_args()
    # The command line sets the same variable.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    results = growth([CASES[name] for name in options.cases], options.sizes, options.also)
    show(results, as_json=options.json)
    grown = [value for one in results[0].claims if one.unit == "x" for value in one.values]
    if options.at_most is not None and max(grown) > options.at_most:
        sys.exit(f"the CPU per conversation grows {max(grown):.1f} times")


if __name__ == "__main__":
    main()
