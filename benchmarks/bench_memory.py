"""The memory of a long walk, and of a conversation that the caller keeps.

The memory of a walk is sampled while it runs. The figures are its peak, and the medians of its
first and last tenth.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import statistics
import sys
import tempfile
import threading
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import rivals
from page_server import Listing, Pages, serving
from rivals import BY_HAND, OURS, RIVALS
from suite import (
    Claim,
    Metric,
    Result,
    Sample,
    argument_parser,
    differences,
    fresh,
    interleaved,
    ratios,
    show,
    values,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

CONVERSATION, DICT = "cekat_async Conversation", "dict from json.loads"
STRUCT, MODEL = "hand-written struct", "pydantic model"
_MEGABYTE = 1_000_000
_WALK_METRICS = [
    Metric(key="peak", heading="peak MB", digits=1),
    Metric(key="first", heading="first tenth", digits=1),
    Metric(key="last", heading="last tenth", digits=1),
    Metric(key="growth", heading="growth", digits=1),
]


def resident() -> int:
    """Return the memory of the process in bytes, or 0 if the system does not report it."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


def peak() -> int:
    """Return the peak memory of the process in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage includes the memory of the parent process
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return 1024 * int(line.split()[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure_walk(rival: str, base_url: str, warm_up_url: str) -> Sample:
    """Walk. Return the megabytes that the walk took."""
    rivals.walk(rival, warm_up_url)  # so that all modules are imported
    over, found = threading.Event(), list[int]()

    def watch() -> None:
        while not over.wait(0.01):
            found.append(resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    rivals.walk(rival, base_url)
    over.set()
    watcher.join()
    tenth = len(found) // 10 or 1
    first, last = (statistics.median(part) for part in (found[:tenth], found[-tenth:]))
    sample = {"peak": peak(), "first": first, "last": last, "growth": last - first}
    return {name: value / _MEGABYTE for name, value in sample.items()}


def decoder(kind: str) -> Callable[[bytes], Iterable[object]]:
    """Return a function that decodes a page into records of one kind."""
    import msgspec  # noqa: PLC0415 - each process imports only what it needs

    if kind == DICT:
        return lambda body: json.loads(body)["data"]
    if kind == STRUCT:
        from rivals.by_hand import Page  # noqa: PLC0415

        return lambda body: msgspec.json.decode(body, type=Page).data
    if kind == MODEL:
        from rivals import httpx_pydantic  # noqa: PLC0415

        return lambda body: httpx_pydantic.Page.model_validate_json(body).data
    from cekat_async._api.decoding import ConversationPageDecoder  # noqa: PLC0415
    from cekat_async._api.replies import Reply  # noqa: PLC0415
    from cekat_async.models.steps import run_steps  # noqa: PLC0415

    decoder = ConversationPageDecoder()
    return lambda body: run_steps(decoder.decode(Reply(200, {}, body))).items


def measure_kept(kind: str, path: str) -> Sample:
    """Keep all records of a file of pages. Return the number of bytes of each record."""
    decode = decoder(kind)
    with Path(path).open("rb") as lines:
        decode(lines.readline())
        lines.seek(0)
        gc.collect()
        before = resident()
        kept = [record for line in lines for record in decode(line)]
        gc.collect()
        return {"bytes": (resident() - before) / len(kept)}


def walks(names: list[str], pages: int, rounds: int) -> Result:
    """Measure the memory of walks."""
    with serving(Listing("walk", pages), Listing("warm_up", 20), server="raw") as urls:
        where = {"base_url": urls["walk"], "warm_up_url": urls["warm_up"]}
        cases = {
            RIVALS[name].title: partial(fresh, measure_walk, rival=name, **where) for name in names
        }
        samples = interleaved(cases, rounds)
    result = Result(
        title=f"memory of a walk, {100 * pages:,} conversations, rounds: {rounds}",
        metrics=_WALK_METRICS,
        samples=samples,
    )
    result.claims = list(_claims_of_walks(result, names))
    return result


def _claims_of_walks(result: Result, names: list[str]) -> Iterator[Claim]:
    if OURS in names:
        ours = RIVALS[OURS].title
        growth = values(result, ours, "growth")
        yield Claim(
            what="growth from the first tenth to the last", values=growth, wanted=2, unit="MB"
        )
        if BY_HAND in names:
            more = differences(result, ours, RIVALS[BY_HAND].title, "peak")
            what = "peak, more than the hand-written loop"
            yield Claim(what=what, values=more, wanted=10, unit="MB")


def kept(records: int, rounds: int) -> Result:
    """Measure the memory of records that are kept."""
    kinds = [CONVERSATION, DICT, STRUCT]
    kinds += [MODEL] if find_spec("pydantic") and find_spec("httpx") else []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pages"
        pages = Pages(Listing("kept", -(-records // 100)))
        with path.open("wb") as lines:
            lines.writelines(pages.body(number) + b"\n" for number in range(len(pages)))
        cases = {kind: partial(fresh, measure_kept, kind=kind, path=str(path)) for kind in kinds}
        samples = interleaved(cases, rounds)
    result = Result(
        title=f"memory of kept records, {records:,} conversations, rounds: {rounds}",
        metrics=[Metric(key="bytes", heading="bytes each", ratio=True)],
        samples=samples,
        reference=DICT,
    )
    compared = ratios(result, CONVERSATION, DICT, "bytes")
    result.claims = [
        Claim(what="a Conversation, compared with a dict", values=compared, wanted=0.75)
    ]
    return result


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__, rounds=5)
    parser.add_argument("--pages", type=int, default=10_000, help="pages of a walk")
    parser.add_argument("--records", type=int, default=20_000, help="records to keep")
    parser.add_argument("--rivals", nargs="*", default=[OURS, BY_HAND], choices=RIVALS)
    options = parser.parse_args()
    names = [name for name in options.rivals if not RIVALS[name].missing]
    results = [
        walks(names, options.pages, options.rounds),
        kept(options.records, options.rounds),
    ]
    show(results, as_json=options.json)


if __name__ == "__main__":
    main()
