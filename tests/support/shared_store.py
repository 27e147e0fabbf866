"""A model of a store that several limiters share, and of the connections to that store."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import deque
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from cekat_async import BudgetAnswer, Limiter, RateLimit

from .clock import now
from .scripted import reply

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cekat_async import LearnedRate
    from cekat_async._api.replies import Reply

PER = 60.0
NEVER = math.inf


class Store:
    """A sliding log of exact times. The store is unavailable during ``outages``.

    The store also keeps the last learned rate and the end of a pause.
    """

    def __init__(self, outages: Iterable[tuple[float, float]] = ()) -> None:
        self.outages = list(outages)
        self.taken = deque[float]()
        self.learned: LearnedRate | None = None
        self.learned_at = -NEVER
        self.paused_until = 0.0

    def is_away(self) -> bool:
        return any(begin <= now() < end for begin, end in self.outages)

    def take(self, requests: int, per: float, learned: LearnedRate | None = None) -> BudgetAnswer:
        time = asyncio.get_running_loop().time()
        self._learn(learned, time)
        while self.taken and self.taken[0] + per <= time:
            self.taken.popleft()
        wait = paused_for = max(0.0, self.paused_until - time)
        if not paused_for and len(self.taken) >= requests:
            wait = self.taken[-requests] + per - time
        if not wait:
            self.taken.append(time)
        return BudgetAnswer(
            wait=wait,
            used=len(self.taken),
            learned=self.learned and replace(self.learned, age=time - self.learned_at),
            paused_for=paused_for,
        )

    def pause(self, seconds: float, learned: LearnedRate | None = None) -> None:
        time = asyncio.get_running_loop().time()
        self._learn(learned, time)
        self.paused_until = max(self.paused_until, time + seconds)

    def _learn(self, learned: LearnedRate | None, time: float) -> None:
        if learned and time - learned.age >= self.learned_at:
            self.learned, self.learned_at = learned, time - learned.age


class Budget:
    """A limiter's connection to a store. The connection can be cut or slow."""

    def __init__(
        self,
        store: Store,
        *,
        cuts: Iterable[tuple[float, float]] = (),
        answers: Sequence[float] = (0.0,),
        silences: Sequence[float] = (0.0,),
    ) -> None:
        self._store = store
        self._cuts = Store(cuts)
        self._answers, self._silences = itertools.cycle(answers), itertools.cycle(silences)
        self.asked: list[tuple[float, int, float]] = []

    async def take(
        self, requests: int, per: float, learned: LearnedRate | None = None
    ) -> BudgetAnswer:
        self.asked.append((now(), requests, per))
        await self._require_store()
        answer = self._store.take(requests, per, learned)
        await asyncio.sleep(0.01 if answer.wait else next(self._answers))
        return answer

    async def pause(self, seconds: float, learned: LearnedRate | None = None) -> None:
        await self._require_store()
        self._store.pause(seconds, learned)

    async def _require_store(self) -> None:
        if self._store.is_away() or self._cuts.is_away():
            # Some calls fail immediately, and some after a timeout.
            await asyncio.sleep(next(self._silences))
            raise ConnectionError("nobody there")


async def call(limiter: Limiter, answer: Reply | None = None) -> float:
    """Send one request, and return the time at which it was sent."""
    permit = await limiter.acquire(NEVER)
    sent = now()
    limiter.observe(permit, answer or reply())
    return sent


async def busy(limiter: Limiter, until: float, begin: float = 0.0) -> list[float]:
    """Send requests from ``begin`` to ``until``, and return the times at which they were sent."""
    await asyncio.sleep(begin - now())
    times: list[float] = []
    while now() < until:
        times.append(await call(limiter))
    return [time for time in times if time < until]


def make_limiter(budget: Budget, *, limit: int = 60, share: float = 0.5, **options: Any) -> Limiter:
    return Limiter(RateLimit(limit, PER, **options), budget=budget, share=share)
