"""The limiter's named cases: how the server and its client behave.

A name has several parts, as in ``stall/5 in 10/sliding/none/300``. The first part is the family.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from .quota_servers import Faults, ServerSpec, Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MINUTE = 60.0


class Stall(NamedTuple):
    """Something blocks the event loop for the last ``seconds`` of each ``every`` seconds."""

    seconds: float
    every: float


@dataclass(frozen=True, kw_only=True)
class Case:
    """A server and its client.

    Attributes:
        server: The behaviour of the server.
        options: The arguments of the client's ``RateLimit``.
        workers: The number of the client's workers. Each worker sends one request after another.
        stranger: The number of requests per second that a stranger sends at random times.
        stall: How often and how long the client's event loop is blocked.
        period: The length of a period in seconds.
        periods: The default number of periods of a run.
    """

    server: ServerSpec
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    workers: int = 8
    stranger: float = 0.0
    stall: Stall | None = None
    period: float = _MINUTE
    periods: int = 10


_KINDS = ("fixed", "phase", "first hit", "sliding", "bucket")


def _says(form: str) -> tuple[tuple[float, str], ...]:
    return ((0.0, form),)


def _alone() -> Iterator[tuple[str, Case]]:
    forms = ("none", "epoch", "delta", "no reset")
    for kind, form, limit, workers in product(_KINDS, forms, (60, 300, 1000), (1, 8, 32)):
        spec = ServerSpec(windows=(Window(kind, limit),), headers=_says(form))
        options = {"requests": limit} if form == "none" else {}
        case = Case(server=spec, options=options, workers=workers)
        yield f"alone/{kind}/{form}/{limit}/{workers}", case


def _reported_size() -> Iterator[tuple[str, Case]]:
    """A bucket of 10 tokens, refilled at 30 per second. The server reports the bucket's size."""
    window = Window("bucket", 30, 1.0, size=10, reports_size=True)
    forms = {"no reset": "no reset", "until full": "delta", "until next": "next"}
    for reset, (label, options) in product(forms, _options((30, 1.0), (1800, 60.0))):
        spec = ServerSpec(windows=(window,), headers=_says(forms[reset]))
        yield f"size/{reset}/{label}", Case(server=spec, options=options, periods=4)


def _short_and_long() -> Iterator[tuple[str, Case]]:
    """The server's limits are 10 per second and 300 per minute. Headers state only the first."""
    variants = product(("phase", "sliding"), (True, False), _options((300, 60.0), (10, 1.0)))
    for kind, retry_after, (label, options) in variants:
        spec = ServerSpec(
            windows=(Window(kind, 10, 1.0), Window(kind, 300)), retry_after=retry_after
        )
        asked = "Retry-After" if retry_after else "bare"
        yield f"two/{kind}/{asked}/{label}", Case(server=spec, options=options)


def _unstated_window() -> Iterator[tuple[str, Case]]:
    """The server has windows of 5 seconds or 5 minutes, and no header states their length."""
    windows = ((25, 5.0, _MINUTE, 5), (60, 5.0, _MINUTE, 5), (1500, 300.0, 300.0, 4))
    for (limit, per, period, periods), kind, form in product(
        windows, ("phase", "sliding"), ("epoch", "no reset")
    ):
        spec = ServerSpec(windows=(Window(kind, limit, per),), headers=_says(form))
        for label, options in _options((limit, per)):
            case = Case(server=spec, options=options, period=period, periods=periods)
            yield f"unstated/{limit} in {per:g} s/{kind}/{form}/{label}", case


def _overload() -> Iterator[tuple[str, Case]]:
    """The server refuses 1 % of all requests at random, even if quota remains."""
    variants = product((429, 503), (True, False), ("epoch", "none"), ((300, 60.0), (60, 5.0)))
    for status, counted, form, (limit, per) in variants:
        spec = ServerSpec(
            windows=(Window("phase", limit, per),),
            headers=_says(form),
            faults=Faults(status, 0.01, counted),
        )
        is_default = form == "epoch" and per == _MINUTE
        case = Case(
            server=spec,
            options={} if is_default else {"requests": limit, "per": per},
            periods=10 if per == _MINUTE else 5,
        )
        tally = "counted" if counted else "uncounted"
        yield f"overload/{status}/{tally}/{form}/{limit} in {per:g} s", case


def _stalls() -> Iterator[tuple[str, Case]]:
    stalls = (Stall(2, 10), Stall(5, 10), Stall(15, 60))
    for stall, kind, form, limit in product(
        stalls, ("fixed", "sliding"), ("epoch", "none"), (300, 60)
    ):
        spec = ServerSpec(windows=(Window(kind, limit),), headers=_says(form))
        options = {"requests": limit} if form == "none" else {}
        name = f"stall/{stall.seconds:g} in {stall.every:g}/{kind}/{form}/{limit}"
        yield name, Case(server=spec, options=options, stall=stall)


def _catching_up() -> Iterator[tuple[str, Case]]:
    """After each stall, the client catches up on missed requests, up to ``burst`` of the limit."""
    for burst, stall in product((0.01, 0.1, 0.25, 0.5), (Stall(5, 10), Stall(15, 60))):
        told = f"burst {burst:g}/{stall.seconds:g} in {stall.every:g}"
        hidden = ServerSpec(
            windows=(Window("sliding", 300), Window("fixed", 10, 1.0)), headers=_says("none")
        )
        options = {"requests": 300, "burst": burst}
        yield f"catch up/{told}/hidden second", Case(server=hidden, options=options, stall=stall)
        spec = ServerSpec(windows=(Window("sliding", 300),))
        yield (
            f"catch up/{told}/stranger",
            Case(server=spec, options={"burst": burst}, stall=stall, stranger=90 / _MINUTE),
        )


def _strangers() -> Iterator[tuple[str, Case]]:
    """A stranger uses 90 of the 300 requests per minute, at random times and without retries."""
    for kind, share in product(_KINDS, (None, 0.5)):
        spec = ServerSpec(windows=(Window(kind, 300),))
        options = {} if share is None else {"share": share}
        yield (
            f"stranger/{kind}/{'all' if share is None else f'share {share}'}",
            Case(server=spec, options=options, stranger=90 / _MINUTE),
        )


def _at_once() -> Iterator[tuple[str, Case]]:
    for workers, form in product((8, 32), ("epoch", "none")):
        spec = ServerSpec(
            windows=(Window("phase", 300),), headers=_says(form), at_once=5, service=1.45
        )
        yield f"at once/{form}/{workers}", Case(server=spec, workers=workers)


def _starts() -> Iterator[tuple[str, Case]]:
    windows = {
        "one per second": Window("sliding", 1, 1.0),
        "bucket of two": Window("bucket", 5, 1.0, size=2),
    }
    for (name, window), retry_after in product(windows.items(), (True, False)):
        spec = ServerSpec(windows=(window,), headers=_says("none"), retry_after=retry_after)
        asked = "Retry-After" if retry_after else "bare"
        yield f"start/{name}/{asked}", Case(server=spec, periods=3)


def _believed_too_much() -> Iterator[tuple[str, Case]]:
    """The caller configures 300 in 5 seconds. The server grants only 60, and sends no headers."""
    for kind, retry_after in product(("phase", "sliding"), (True, False)):
        spec = ServerSpec(
            windows=(Window(kind, 60, 5.0),), headers=_says("none"), retry_after=retry_after
        )
        asked = "Retry-After" if retry_after else "bare"
        options = {"requests": 300, "per": 5.0}
        yield (
            f"believed/{kind}/{asked}",
            Case(server=spec, options=options, period=5.0, periods=9),
        )


def _changes() -> Iterator[tuple[str, Case]]:
    for kind in ("fixed", "sliding"):
        windows = (Window(kind, 300),)
        limits = ((240.0, 100), (420.0, 300))
        yield f"change/limit/{kind}", Case(server=ServerSpec(windows=windows, limits=limits))
        for lie in ("none", "too much", "nothing left"):
            headers = ((0.0, "epoch"), (200.0, lie), (400.0, "epoch"))
            spec = ServerSpec(windows=windows, headers=headers)
            yield f"change/headers {lie}/{kind}", Case(server=spec)


def _options(*limits: tuple[int, float]) -> list[tuple[str, dict[str, Any]]]:
    """Return pairs of a label and ``RateLimit`` arguments: without a limit, and with each limit."""
    told = [(f"{n} in {per:g} s", {"requests": n, "per": per}) for n, per in limits]
    return [("RateLimit()", {}), *(told)]


CASES: dict[str, Case] = dict(
    case
    for family in (
        _alone,
        _reported_size,
        _short_and_long,
        _unstated_window,
        _overload,
        _stalls,
        _catching_up,
        _strangers,
        _at_once,
        _starts,
        _believed_too_much,
        _changes,
    )
    for case in family()
)
