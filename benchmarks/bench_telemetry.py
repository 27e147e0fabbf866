"""The cost of hooks and OpenTelemetry, in instructions per page of a walk.

``callgrind.py`` explains how they are counted. Without an SDK, the hook of
``cekat_async.telemetry`` must cost almost nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from callgrind import measure
from page_server import SERVERS, Listing, serving
from suite import Claim, argument_parser, ratios, show

if TYPE_CHECKING:
    from collections.abc import Callable

    from suite import Result

_WALK = "import bench_telemetry, sys; bench_telemetry.walk(*sys.argv[1:])"

NONE = "without hooks"
EMPTY = "a hook that does nothing"
API = "OpenTelemetry, its API alone"
SDK = "OpenTelemetry with its SDK: spans and metrics"
MOST = {EMPTY: 1.03, API: 1.03}


def _make_sdk_hook() -> Any:
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415 - only this case needs it
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

    from cekat_async.telemetry import OpenTelemetry  # noqa: PLC0415

    # There is no span processor, because the cost of exporters is not measured.
    return OpenTelemetry(
        tracer_provider=TracerProvider(), meter_provider=MeterProvider([InMemoryMetricReader()])
    )


def _make_api_hook() -> Any:
    from cekat_async.telemetry import OpenTelemetry  # noqa: PLC0415 - only some cases need it

    return OpenTelemetry()


def _ignore(_: object) -> None:
    """Do nothing."""


HOOKS: dict[str, Callable[[], Any]] = {
    NONE: lambda: (),
    EMPTY: lambda: _ignore,
    API: _make_api_hook,
    SDK: _make_sdk_hook,
}


def walk(case: str, base_url: str) -> None:
    """Walk a listing in the way that a case describes."""
    asyncio.run(_walk(HOOKS[case](), base_url))


async def _walk(hooks: Any, base_url: str) -> None:
    from cekat_async import CekatClient  # noqa: PLC0415 - only the child process needs it

    async with CekatClient("benchmark", base_url=base_url, rate_limit=None, hooks=hooks) as cekat:
        async for _ in cekat.conversations.list():
            pass


def run(cases: tuple[str, ...], pages: tuple[int, int], server: str) -> Result:
    """Measure the cases."""
    listings = [Listing(str(length), length) for length in pages]
    with serving(*listings, server=server) as urls:
        walks = {case: [(case, urls[str(length)]) for length in pages] for case in cases}
        result = measure(_WALK, walks, pages, reference=NONE)
    result.claims = [
        Claim(what=case, values=ratios(result, case, NONE, "instructions"), wanted=wanted)
        for case, wanted in MOST.items()
        if NONE in cases and result.samples
    ]
    return result


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__)
    parser.add_argument("--pages", type=int, nargs=2, default=(30, 130), help="two lengths")
    parser.add_argument("--few", action="store_true", help="only OpenTelemetry's API")
    parser.add_argument("--server", choices=SERVERS, default="auto")
    options = parser.parse_args()
    cases = (API,) if options.few else tuple(HOOKS)
    show([run(cases, tuple(options.pages), options.server)], as_json=options.json)


if __name__ == "__main__":
    main()
