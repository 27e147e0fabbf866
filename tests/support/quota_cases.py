"""Runs the limiter's named cases, and counts granted and refused requests.

Each case uses the package's own pipeline and a virtual clock.
"""

from __future__ import annotations

import asyncio
import math
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from cekat_async import APIStatusError, Limiter, RateLimit, RetryPolicy
from cekat_async._api.requests import Request
from cekat_async._request.pipeline import Pipeline

from .clock import VirtualLoop, most_in_any
from .parts import PATIENT, in_one_step, make_config
from .quota_catalogue import CASES
from .quota_servers import ModelServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .quota_catalogue import Case, Stall

_REQUEST = Request("/api/conversations", "limit=100")
_DECODE = in_one_step(lambda reply: reply)
# The client starts after some time, because time zero is a special moment.
_WARM_UP = 180.0
_MINUTE = 60.0
_START = 10.0


class CaseResult(NamedTuple):
    """The result of a case.

    Attributes:
        used: The fraction of the quota that the client and strangers used together.
        later: The same fraction after the first minute, or after the first period if that is
            longer. NaN if the run is too short.
        ours: The fraction of the quota that the client used.
        refused: The number of the client's requests that were refused, without random refusals.
        after_start: The number of these refusals after the first ten seconds.
        after_minute: The number of these refusals after the first minute, or after the first
            period if that is longer.
        refused_share: The fraction of the client's requests that were refused, without random
            refusals and without the first ten seconds.
        faults: The number of random refusals.
        wanted: The number of requests that strangers sent.
        strangers_refused: The number of strangers' requests that were refused.
        worst: The largest number of the client's requests that arrived in a window of the longest
            quota.
    """

    used: float
    later: float
    ours: float
    refused: float
    after_start: float
    after_minute: float
    refused_share: float
    faults: float
    wanted: float
    strangers_refused: float
    worst: int

    @property
    def at_start(self) -> float:
        """The number of requests that were refused in the first ten seconds."""
        return self.refused - self.after_start

    @property
    def strangers_refused_share(self) -> float:
        """The fraction of the strangers' requests that were refused."""
        return self.strangers_refused / max(1, self.wanted)


def run_case(
    name: str,
    limiter_options: Mapping[str, Any] | None = None,
    periods: int | None = None,
    seed: int = 1,
) -> CaseResult:
    """Run one case on a virtual clock.

    Args:
        name: The name of the case, a key of ``CASES``.
        limiter_options: Arguments for ``RateLimit`` that replace those of the case.
        periods: The length of the run, as a number of periods. The default is that of the case.
        seed: The seed for random events.
    """
    case = CASES[name]
    options = case.options if limiter_options is None else limiter_options
    limiter = Limiter(RateLimit(**options))
    length = case.period * (periods or case.periods)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        server = runner.run(_play(case, limiter, length, f"{name} {seed}"))
    return _build_result(case, server, length)


def run_seeds(
    name: str,
    limiter_options: Mapping[str, Any] | None = None,
    periods: int | None = None,
    seeds: Iterable[int] = range(1, 4),
) -> CaseResult:
    """Run one case with several seeds, and return the means. ``worst`` is the maximum."""
    results = [run_case(name, limiter_options, periods, seed) for seed in seeds]
    means = CaseResult._make(map(fmean, zip(*results, strict=True)))
    return means._replace(worst=max(result.worst for result in results))


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
            continue  # a user's program would stop here


async def _block_loop(stall: Stall) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
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
        later=sum(at >= since for at in both) / could_later if could_later else math.nan,
        ours=len(granted) / could,
        refused=len(refused),
        after_start=sum(at >= _START for at in refused),
        after_minute=sum(at >= since for at in refused),
        refused_share=late.count("refused") / max(1, len(late)),
        faults=sum(one.result == "fault" for one in server.events),
        wanted=len(server.strangers),
        strangers_refused=sum(one.result == "refused" for one in server.strangers),
        worst=most_in_any([one.at for one in server.events], per),
    )
