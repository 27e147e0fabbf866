"""Named cases for the limiter: a model server, a client of it, and what came of them.

All of it on a virtual clock, with the package's own path of a request. The names are built of
parts, as ``stall/5 in 10/sliding/none/300``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from cekat_async import APIStatusError, Limiter, RateLimit, RetryPolicy
from cekat_async._api.requests import Request
from cekat_async._request.pipeline import Pipeline

from .clock import VirtualLoop, most_in_any
from .parts import PATIENT, in_one_step, make_config
from .quota_servers import Faults, ModelServer, ServerSpec, Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_REQUEST = Request("/api/conversations", "limit=100")
_DECODE = in_one_step(lambda reply: reply)
# Not at the beginning of all time.
_WARM_UP = 180.0
_MINUTE = 60.0
_START = 10.0


class Stall(NamedTuple):
    """The event loop is blocked for ``seconds`` at the end of each ``every`` seconds."""

    seconds: float
    every: float


@dataclass(frozen=True, kw_only=True)
class Case:
    """A server and its client.

    Attributes:
        server: How the server behaves.
        options: The arguments of the client's ``RateLimit``.
        workers: How many workers of the client send requests, one after another.
        stranger: Requests per second that a stranger sends at random.
        stall: How the client's event loop is blocked.
        period: Seconds of a period of the run.
        periods: How many periods the case takes unless the caller says otherwise.
    """

    server: ServerSpec
    options: Mapping[str, Any] = field(default_factory=dict)
    workers: int = 8
    stranger: float = 0.0
    stall: Stall | None = None
    period: float = _MINUTE
    periods: int = 10


class CaseResult(NamedTuple):
    """What came of a case.

    Attributes:
        used: The part of the quota that was granted, to the client and to strangers.
        later: The same from the second minute on (with periods above a minute: the second period).
        ours: The part of the quota that was granted to the client.
        refused: Replies of 429 to the client, without those that are faults.
        after_start: Those of them after the first ten seconds.
        after_minute: Those of them after the first minute.
        refused_share: The part of the client's requests after the first ten seconds that was
            refused.
        faults: Random refusals.
        wanted: Requests of strangers.
        strangers_refused: Those of them that were refused.
        worst: The most of the client's requests that arrived in any window of the longest quota.
    """

    used: float
    later: float
    ours: float
    refused: int
    after_start: int
    after_minute: int
    refused_share: float
    faults: int
    wanted: int
    strangers_refused: int
    worst: int

    @property
    def strangers_refused_share(self) -> float:
        """The part of the strangers' requests that was refused."""
        return self.strangers_refused / max(1, self.wanted)


def run_case(
    name: str,
    limiter_options: Mapping[str, Any] | None = None,
    periods: int | None = None,
    seed: int = 1,
) -> CaseResult:
    """Run one case on a virtual clock.

    Args:
        name: One of ``CASES``.
        limiter_options: Arguments for ``RateLimit`` in place of those of the case.
        periods: How long, in periods of the case; ``None`` for as long as the case says.
        seed: For what happens at random.
    """
    case = CASES[name]
    options = case.options if limiter_options is None else limiter_options
    limiter = Limiter(RateLimit(**options))
    length = case.period * (periods or case.periods)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        server = runner.run(_play(case, limiter, length, f"{name} {seed}"))
    return _build_result(case, server, length)


async def _play(case: Case, limiter: Limiter, length: float, seed: str) -> ModelServer:
    await asyncio.sleep(_WARM_UP)
    server = ModelServer(case.server, seed)
    config = make_config(retry=RetryPolicy(budget=None), timeout=PATIENT, concurrency=case.workers)
    pipeline = Pipeline(config, limiter, server)
    work = [_send_requests(pipeline) for _ in range(case.workers)]
    if case.stranger:
        work.append(server.send_strangers(case.stranger))
    if case.stall:
        work.append(_block_loop(case.stall))
    tasks = [asyncio.ensure_future(one) for one in work]
    await asyncio.sleep(length)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return server


async def _send_requests(pipeline: Pipeline) -> None:
    while True:
        try:
            await pipeline.fetch(_REQUEST, _DECODE)
        except APIStatusError:
            continue  # a script would give up here


async def _block_loop(stall: Stall) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(stall.every - stall.seconds)
        loop.block(stall.seconds)


def _build_result(case: Case, server: ModelServer, length: float) -> CaseResult:
    since = max(_MINUTE, case.period)
    granted = [one.at for one in server.events if one.result == "granted" and one.at < length]
    theirs = [one.at for one in server.strangers if one.result == "granted" and one.at < length]
    refused = [one.at for one in server.events if one.result == "refused"]
    both = granted + theirs
    could = case.server.capacity(0.0, length)
    could_later = case.server.capacity(since, length) if length > since else 0.0
    late = [one.result for one in server.events if one.at >= _START]
    per = max(window.per for window in case.server.windows)
    return CaseResult(
        used=len(both) / could,
        later=sum(at >= since for at in both) / could_later if could_later else 0.0,
        ours=len(granted) / could,
        refused=len(refused),
        after_start=sum(at >= _START for at in refused),
        after_minute=sum(at >= _MINUTE for at in refused),
        refused_share=late.count("refused") / max(1, len(late)),
        faults=sum(one.result == "fault" for one in server.events),
        wanted=len(server.strangers),
        strangers_refused=len(server.strangers) - len(theirs),
        worst=most_in_any([one.at for one in server.events], per),
    )


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
    """A bucket of 10 that is refilled at 30 per second, and reports its size."""
    window = Window("bucket", 30, 1.0, size=10, reports_size=True)
    forms = {"no reset": "no reset", "until full": "delta", "until next": "next"}
    for reset, (label, options) in product(forms, _options((30, 1.0), (1800, 60.0))):
        spec = ServerSpec(windows=(window,), headers=_says(forms[reset]))
        yield f"size/{reset}/{label}", Case(server=spec, options=options, periods=4)


def _short_and_long() -> Iterator[tuple[str, Case]]:
    """10 per second and 300 per minute; the headers are about the second."""
    variants = product(("phase", "sliding"), (True, False), _options((300, 60.0), (10, 1.0)))
    for kind, retry_after, (label, options) in variants:
        spec = ServerSpec(
            windows=(Window(kind, 10, 1.0), Window(kind, 300)), retry_after=retry_after
        )
        asked = "Retry-After" if retry_after else "bare"
        yield f"two/{kind}/{asked}/{label}", Case(server=spec, options=options)


def _unstated_window() -> Iterator[tuple[str, Case]]:
    """A window of 5 seconds or 5 minutes whose length no header states."""
    windows = ((25, 5.0, _MINUTE, 5), (60, 5.0, _MINUTE, 5), (1500, 300.0, 300.0, 4))
    for (limit, per, period, periods), kind, form in product(
        windows, ("phase", "sliding"), ("epoch", "no reset")
    ):
        spec = ServerSpec(windows=(Window(kind, limit, per),), headers=_says(form))
        for label, options in _options((limit, per)):
            case = Case(server=spec, options=options, period=period, periods=periods)
            yield f"unstated/{limit} in {per:g} s/{kind}/{form}/{label}", case


def _overload() -> Iterator[tuple[str, Case]]:
    """1 % of all requests are refused whatever the quota."""
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


def _strangers() -> Iterator[tuple[str, Case]]:
    """A stranger wants 90 of 300 requests per minute, at random, and does not retry."""
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
    """The caller believes 300 in 5 seconds, the server grants 60 and has no headers."""
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
    """Return labels and arguments of ``RateLimit``: none, and each of the limits."""
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
        _strangers,
        _at_once,
        _starts,
        _believed_too_much,
        _changes,
    )
    for case in family()
)
