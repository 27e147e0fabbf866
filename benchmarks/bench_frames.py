"""The cost of a table of all conversations, compared with ``json.loads`` and ``pd.DataFrame``.

The bodies of all pages are in memory, so no network is measured. Each case runs in its own process,
and reads a few pages before the measurement. CPU is the CPU time of all threads.
"""

# pyarrow does not include types.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import json
import time
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from page_server import RECORDS, Pages
from page_server import Listing as Served
from suite import Claim, Metric, Result, Sample, argument_parser, fresh, interleaved, ratios, show

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from cekat_async import ConversationPage, Listing

RIVAL = "`json.loads`, `pd.DataFrame` of the dicts"
_WARM_UP = 20
_WANTED = 0.35
_METRICS = [
    Metric(key="cpu", heading="CPU µs for a conversation", digits=2, ratio=True),
    Metric(key="seconds", heading="seconds", digits=2),
]
_NOTE = (
    "The rival's frame has times as text, and labels and other nested values as Python objects. "
    "Ours also has the exact JSON of each record."
)


def list_bodies(bodies: list[bytes]) -> Listing[Any, Any]:
    """Return a listing whose pages are decoded from bodies in memory."""
    from cekat_async import CekatClient, Conversation, Listing  # noqa: PLC0415 - not needed by the rival
    from cekat_async._api.decoding import ConversationPageDecoder  # noqa: PLC0415
    from cekat_async._api.replies import Reply  # noqa: PLC0415
    from cekat_async.models.steps import run_steps  # noqa: PLC0415
    from cekat_async.resources.listing import Source  # noqa: PLC0415

    class InMemory(Source["ConversationPage"]):
        record_type = Conversation

        async def pages(self) -> AsyncGenerator[ConversationPage, None]:
            decode = ConversationPageDecoder().decode
            for body in bodies:
                yield run_steps(decode(Reply(200, {}, body)))

    pipeline = CekatClient("benchmark")._pipeline  # noqa: SLF001 - it sends nothing  # pyright: ignore[reportPrivateUsage]
    return Listing(pipeline, "/api/conversations", lambda _: InMemory())


def by_dicts(bodies: list[bytes]) -> int:
    """Build a DataFrame like the obvious script does."""
    import pandas as pd  # noqa: PLC0415

    records: list[dict[str, Any]] = []
    for body in bodies:
        records += json.loads(body)["data"]
    return len(pd.DataFrame(records))


def to_arrow(bodies: list[bytes]) -> int:
    """Build an Arrow table."""
    from cekat_async import frames  # noqa: PLC0415

    return asyncio.run(count_rows(frames.to_arrow(list_bodies(bodies))))


def to_pandas(bodies: list[bytes], **options: Any) -> int:
    """Build a pandas frame."""
    from cekat_async import frames  # noqa: PLC0415

    return asyncio.run(count_rows(frames.to_pandas(list_bodies(bodies), **options)))


def to_polars(bodies: list[bytes]) -> int:
    """Build a polars frame."""
    from cekat_async import frames  # noqa: PLC0415

    return asyncio.run(count_rows(frames.to_polars(list_bodies(bodies))))


async def count_rows(table: Awaitable[Any]) -> int:
    """Return the number of rows of a table.

    ``asyncio.run()`` must not return the table itself. When it looks up its signal handler, it
    makes a ``repr`` of the result, and for a large frame that takes 80 ms.
    """
    return len(await table)


ARROW, PANDAS = "cekat_async `to_arrow()`", "cekat_async `to_pandas()`"
_FEW = ["id", "inbox_name", "handled_by_name", "stage_status", "created_at", "last_message_at"]
WAYS: dict[str, Callable[[list[bytes]], int]] = {
    RIVAL: by_dicts,
    ARROW: to_arrow,
    PANDAS: to_pandas,
    'cekat_async `to_pandas(dtype_backend="pyarrow")`': partial(to_pandas, dtype_backend="pyarrow"),
    "cekat_async `to_pandas()`, six columns": partial(to_pandas, columns=_FEW),
}
if find_spec("polars"):
    WAYS["cekat_async `to_polars()`"] = to_polars


def measure(way: str, pages: int, records: str) -> Sample:
    """Return the microseconds of CPU for one conversation, and the seconds for all of them."""
    made = Pages(Served("frames", pages, records=records))
    bodies = [made.body(number) for number in range(pages)]
    WAYS[way](bodies[:_WARM_UP])
    wall, cpu = time.perf_counter(), time.process_time()
    count = WAYS[way](bodies)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if count != 100 * pages:
        raise SystemExit(f"{way}: {count:,} rows of {100 * pages:,}")
    return {"cpu": 1e6 * cpu / count, "seconds": wall}


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__, rounds=5)
    parser.add_argument("--pages", type=int, default=2000, help="of 100 conversations")
    parser.add_argument("--records", choices=RECORDS, default="documented")
    options = parser.parse_args()
    what = {"pages": options.pages, "records": options.records}
    cases = {way: partial(fresh, measure, way=way, **what) for way in WAYS}
    samples = interleaved(cases, options.rounds)
    result = Result(
        title=f"{100 * options.pages:,} conversations, {options.records}, as a table; "
        f"rounds: {options.rounds}",
        metrics=_METRICS,
        samples=samples,
        reference=RIVAL,
        notes=[_NOTE],
    )
    result.claims = [
        Claim(
            what=f"CPU of `{name}()` to that of json.loads and pd.DataFrame",
            values=ratios(result, way, RIVAL, "cpu"),
            wanted=_WANTED,
        )
        for name, way in (("to_arrow", ARROW), ("to_pandas", PANDAS))
    ]
    show([result], as_json=options.json)


if __name__ == "__main__":
    main()
