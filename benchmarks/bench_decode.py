"""The cost of decoding a page of 100 records: ours, other libraries, and rejected designs.

In one process, the decoders take turns on each page. The figure of a round is the median over its
pages, and the result is the median over all rounds.
"""

from __future__ import annotations

import json
import statistics
import time
from datetime import datetime
from enum import StrEnum
from importlib.util import find_spec
from random import Random
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec
from page_server import Listing, Pages
from rivals import by_hand
from suite import Metric, Result, Sample, argument_parser, fresh, show, together

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OURS, BY_HAND = "cekat_async", "hand-written structs"
# There are many different pages, so that none of them stays in a cache.
_PAGES = 100
_METRICS = [Metric(key="page", heading="µs for a page", ratio=True)]
_KINDS = {
    "documented": "as documented",
    "unknown": "15 % with an undocumented field",
    "two-unknown": "all with two undocumented fields",
    "mistyped": "all with a mistyped field",
}

_Moment: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)] | None


class Status(StrEnum):
    """The known statuses."""

    ASSIGNED = "assigned"
    RESOLVED = "resolved"
    PENDING = "pending"
    OPEN = "open"


class OpenStatus(StrEnum):
    """The known statuses, and any other text."""

    ASSIGNED = "assigned"
    RESOLVED = "resolved"
    PENDING = "pending"
    OPEN = "open"

    @classmethod
    def _missing_(cls, value: Any) -> OpenStatus:
        member = str.__new__(cls, value)
        member._name_ = member._value_ = value
        return member


def structs(
    types: Mapping[str, Any] | None = None, *, post_init: bool = False, **options: Any
) -> Callable[[bytes], Any]:
    """Return a decoder of the hand-written structs with other types or options."""
    fields = [
        (field.name, (types or {}).get(field.name, field.type), msgspec.field(default=None))
        for field in msgspec.structs.fields(by_hand.Conversation)
    ]
    namespace = {"__post_init__": _nothing} if post_init else {}
    record = msgspec.defstruct("Conversation", fields, namespace=namespace, **options)
    records: Any = list[record]  # type: ignore[valid-type]
    page = msgspec.defstruct("Page", [("data", records), ("metadata", by_hand.Metadata)])
    return msgspec.json.Decoder(page).decode


def _nothing(_: object) -> None:
    """Called for each record."""


def options_considered() -> dict[str, Callable[[bytes], Any]]:
    """Return the rejected designs of a record, by name."""
    return {
        "structs, frozen": structs(frozen=True),
        "structs, gc=False": structs(gc=False),
        "structs, forbid_unknown_fields": structs(forbid_unknown_fields=True),
        "structs, __post_init__": structs(post_init=True),
        "structs, status an enum": structs({"stage_status": Status}),
        "structs, status an open enum": structs({"stage_status": OpenStatus}),
        "structs, times with a zone only": structs({"created_at": _Moment, "resolved_at": _Moment}),
        "structs, times as text": structs({"created_at": str, "resolved_at": str | None}),
        "structs, additional_data as Raw": structs({"additional_data": msgspec.Raw}),
    }


def ours() -> dict[str, Callable[[bytes], Any]]:
    """Return our decoders: into records, and into the bytes of each record."""
    from cekat_async._api.decoding import ConversationPageDecoder  # noqa: PLC0415
    from cekat_async._api.replies import Reply  # noqa: PLC0415
    from cekat_async.models.raw_json import cut_records  # noqa: PLC0415
    from cekat_async.models.steps import run_steps  # noqa: PLC0415

    decoder = ConversationPageDecoder()
    return {
        OURS: lambda body: run_steps(decoder.decode(Reply(200, {}, body))),
        "cekat_async page.raw": cut_records,
    }


def theirs() -> dict[str, Callable[[bytes], Any]]:
    """Return the decoders of other libraries."""
    found: dict[str, Callable[[bytes], Any]] = {
        BY_HAND: msgspec.json.Decoder(by_hand.Page).decode,
        "json.loads": json.loads,
    }
    if find_spec("pydantic") and find_spec("httpx"):
        from rivals import httpx_pydantic  # noqa: PLC0415

        found["pydantic"] = httpx_pydantic.Page.model_validate_json
    return found


def measure(turns: int) -> dict[str, Sample]:
    """Return the microseconds that each decoder takes for a page."""
    ways = ours() | theirs() | options_considered()
    pages = Pages(Listing("decode", _PAGES))
    return _timed(ways, [pages.body(number) for number in range(_PAGES)], turns)


def measure_kind(kind: str, turns: int) -> dict[str, Sample]:
    """Return the microseconds that our decoder takes for a page with another kind of records."""
    pages = Pages(Listing("decode", _PAGES, records=kind))
    bodies = [pages.body(number) for number in range(_PAGES)]
    found = _timed({OURS: ours()[OURS]}, bodies, turns)
    return {f"{OURS}, records {_KINDS[kind]}": found[OURS]}


def _timed(
    ways: dict[str, Callable[[bytes], Any]], bodies: list[bytes], turns: int
) -> dict[str, Sample]:
    names, found = list(ways), {name: list[float]() for name in ways}
    # The order changes: a decoder is faster if the previous one has read the same page.
    chance = Random(1)  # noqa: S311 - only for the order
    for body in bodies * turns:
        chance.shuffle(names)
        for name in names:
            begin = time.perf_counter()
            ways[name](body)
            found[name].append(time.perf_counter() - begin)
    return {name: {"page": 1e6 * statistics.median(times)} for name, times in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__, rounds=9)
    parser.add_argument("--turns", type=int, default=5, help=f"over {_PAGES} pages")
    options = parser.parse_args()
    rounds = range(options.rounds)
    ways = together(fresh(measure, turns=options.turns) for _ in rounds)
    kinds = together(
        fresh(measure_kind, kind=kind, turns=options.turns) for _ in rounds for kind in _KINDS
    )
    size = f"{_PAGES * options.turns:,} pages of 100, rounds: {options.rounds}"
    results = [
        Result(title=f"decoding, {size}", metrics=_METRICS, samples=ways, reference=BY_HAND),
        Result(title=f"decoding other kinds of records, {size}", metrics=_METRICS, samples=kinds),
    ]
    show(results, as_json=options.json)


if __name__ == "__main__":
    main()
