"""The cost of a walk: The cost of ``list()``, compared with other clients that do the same work.

In each round, the rivals run one after another, each in its own process. Each rival walks all pages
over one connection. The server runs on another CPU.
"""

from __future__ import annotations

import statistics
import sys
import time
from functools import partial

import rivals
from page_server import SERVERS, Listing, chosen, serving
from rivals import BY_HAND, BY_HAND_UVLOOP, OPENAI, OURS, OURS_UVLOOP, PYDANTIC, RIVALS
from suite import Claim, Metric, Result, argument_parser, fresh, interleaved, ratios, show

# After these pages, all modules are imported, connections are open and the allocator is warm.
_WARM_UP = 50
_METRICS = [
    Metric(key="per_second", heading="conversations/s", ratio=True),
    Metric(key="cpu", heading="CPU µs each", digits=2, ratio=True),
]
# Two rivals to compare, the name of the second one, and the target: the maximum ratio of CPU.
_WANTED = (
    (OURS, BY_HAND, "the hand-written loop", 1.5),
    (OURS_UVLOOP, BY_HAND_UVLOOP, "the hand-written loop, both with uvloop", 1.75),
    (OURS, PYDANTIC, "httpx + pydantic", 0.35),
    (OURS, OPENAI, "openai's generic client", 0.1),
)


def measure(rival: str, base_url: str, warm_up_url: str) -> dict[str, float]:
    """Walk with a rival. Return conversations per second, and CPU microseconds per conversation."""
    rivals.walk(rival, warm_up_url)
    wall, cpu = time.perf_counter(), time.process_time()
    count = rivals.walk(rival, base_url)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"per_second": count / wall, "cpu": 1e6 * cpu / count}


def run(records: str, names: list[str], pages: int, rounds: int, server: str) -> Result:
    """Measure rivals on pages with one kind of records."""
    listings = [
        Listing("walk", pages, records=records),
        Listing("warm_up", min(pages, _WARM_UP), records=records),
    ]
    with serving(*listings, server=server) as urls:
        cases = {
            RIVALS[name].title: partial(
                fresh, measure, rival=name, base_url=urls["walk"], warm_up_url=urls["warm_up"]
            )
            for name in names
        }
        samples = interleaved(cases, rounds)
    served_by = "nginx" if chosen(server, listings) == "nginx" else "the bundled server"
    return Result(
        title=f"records {_KINDS[records]}, {pages:,} pages of 100, rounds: {rounds}, {served_by}",
        metrics=_METRICS,
        samples=samples,
        reference=RIVALS[BY_HAND].title,
    )


_KINDS = {
    "documented": "as documented",
    "unknown": "of which 15 % have an undocumented field",
    "two-unknown": "that have two undocumented fields each",
}


def claims(result: Result, names: list[str]) -> list[Claim]:
    """Return the targets whose rivals were measured."""
    return [
        Claim(
            what=f"CPU compared with {whose}, {result.title.partition(',')[0]}",
            values=ratios(result, RIVALS[mine].title, RIVALS[theirs].title, "cpu"),
            wanted=wanted,
        )
        for mine, theirs, whose, wanted in _WANTED
        if {mine, theirs} <= {*names}
    ]


def notes(names: list[str]) -> list[str]:
    """Return the rivals that could not be measured."""
    return [
        f"Skipped, without {' and '.join(RIVALS[name].missing)}: {RIVALS[name].title}."
        for name in names
        if RIVALS[name].missing
    ]


def require(documented: Result, at_least: float) -> None:
    """End the program with an error if the throughput is too low."""
    found = ratios(documented, RIVALS[OURS].title, RIVALS[BY_HAND].title, "per_second")
    if (reached := statistics.median(found)) < at_least:
        sys.exit(f"list() reached {reached:.2f} of the hand-written loop's throughput")


def main() -> None:
    """Measure and print. Fail if the throughput is too low."""
    parser = argument_parser(__doc__, rounds=9)
    parser.add_argument("--pages", type=int, default=2000, help="pages of 100 conversations")
    parser.add_argument("--rivals", nargs="*", default=[*RIVALS], choices=RIVALS)
    parser.add_argument("--server", choices=SERVERS, default="auto")
    parser.add_argument(
        "--at-least", type=float, default=0.0, help="fail below this ratio, on documented records"
    )
    options = parser.parse_args()
    names = [name for name in options.rivals if not RIVALS[name].missing]
    size = (options.pages, options.rounds, options.server)
    few = [name for name in (OURS, BY_HAND, PYDANTIC) if name in names]
    results = [run("documented", names, *size)]
    if len(few) > 1:
        results += [run(kind, few, *size) for kind in ("unknown", "two-unknown")]
    for result in results:
        result.claims = claims(result, few if result is not results[0] else names)
    results[0].notes = notes(options.rivals)
    show(results, as_json=options.json)
    if options.at_least:
        require(results[0], options.at_least)


if __name__ == "__main__":
    main()
