"""The cost of hooks and OpenTelemetry: instructions per page of a walk, by callgrind.

Each case walks two listings of different length, as in ``bench_instructions.py``. The difference,
divided by the pages in between, is free of what comes once. Without an SDK, the hook of
``cekat_async.telemetry`` must cost next to nothing.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from page_server import SERVERS, Listing, serving
from suite import HERE, Claim, Metric, Result, argument_parser, ratios, show

if TYPE_CHECKING:
    from collections.abc import Callable

_WALK = "import bench_telemetry, sys; bench_telemetry.walk(*sys.argv[1:])"
_METRICS = [Metric(key="instructions", heading="thousand instructions a page", ratio=True)]
_MISSING = "Not measured, because valgrind is not installed."

NONE = "without hooks"
EMPTY = "a hook that does nothing"
API = "OpenTelemetry, its API alone"
SDK = "OpenTelemetry with its SDK: spans and metrics"
MOST = {EMPTY: 1.03, API: 1.03}


def _make_sdk_hook() -> Any:
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415 - of this case alone
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

    from cekat_async.telemetry import OpenTelemetry  # noqa: PLC0415

    # Without a processor: what an exporter costs is its own.
    return OpenTelemetry(
        tracer_provider=TracerProvider(), meter_provider=MeterProvider([InMemoryMetricReader()])
    )


def _make_api_hook() -> Any:
    from cekat_async.telemetry import OpenTelemetry  # noqa: PLC0415 - not of all cases

    return OpenTelemetry()


HOOKS: dict[str, Callable[[], Any]] = {
    NONE: lambda: (),
    EMPTY: lambda: lambda _: None,
    API: _make_api_hook,
    SDK: _make_sdk_hook,
}


def walk(case: str, base_url: str) -> None:
    """Walk a listing in the way of a case."""
    asyncio.run(_walk(HOOKS[case](), base_url))


async def _walk(hooks: Any, base_url: str) -> None:
    from cekat_async import CekatClient  # noqa: PLC0415 - only a child walks

    async with CekatClient("benchmark", base_url=base_url, rate_limit=None, hooks=hooks) as cekat:
        async for _ in cekat.conversations.list():
            pass


def count(valgrind: str, case: str, base_url: str) -> int:
    """Return how many instructions a process executes in which a case walks a listing."""
    done = subprocess.run(
        [
            valgrind,
            "--tool=callgrind",
            f"--callgrind-out-file={os.devnull}",
            *(sys.executable, "-c", _WALK, case, base_url),
        ],
        check=True,
        capture_output=True,
        text=True,
        cwd=HERE,
        env=os.environ | {"PYTHONHASHSEED": "0"},
    )
    print(f"{case}, {base_url}", file=sys.stderr, flush=True)
    [found] = re.findall(r"Collected : (\d+)", done.stderr)
    return int(found)


def run(cases: tuple[str, ...], pages: tuple[int, int], server: str) -> Result:
    """Measure each case once: another run differs by less than one in a hundred."""
    title = f"pages of 100, {pages[1]} of them minus {pages[0]}"
    result = Result(title=title, metrics=_METRICS, samples={}, reference=NONE)
    if (valgrind := shutil.which("valgrind")) is None:
        result.notes = [_MISSING]
        return result
    listings = [Listing(str(length), length) for length in pages]
    with serving(*listings, server=server) as urls, ThreadPoolExecutor(os.cpu_count()) as pool:
        walks = [(case, urls[str(length)]) for case in cases for length in pages]
        counts = [*pool.map(lambda one: count(valgrind, *one), walks)]
    for case, few, many in zip(cases, counts[::2], counts[1::2], strict=True):
        result.samples[case] = [{"instructions": (many - few) / (pages[1] - pages[0]) / 1000}]
    result.claims = [
        Claim(what=case, values=ratios(result, case, NONE, "instructions"), wanted=wanted)
        for case, wanted in MOST.items()
        if NONE in cases
    ]
    return result


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__)
    parser.add_argument("--pages", type=int, nargs=2, default=(30, 130), help="two lengths")
    parser.add_argument("--few", action="store_true", help="OpenTelemetry's API alone")
    parser.add_argument("--server", choices=SERVERS, default="auto")
    options = parser.parse_args()
    cases = (API,) if options.few else tuple(HOOKS)
    show([run(cases, tuple(options.pages), options.server)], as_json=options.json)


if __name__ == "__main__":
    main()
