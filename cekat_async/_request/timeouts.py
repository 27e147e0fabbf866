"""Cutoffs: what ends calls that take too long, with one timer for all of them."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Cutoff", "Cutoffs"]


class Cutoffs:
    """The calls under way that are each given the same time.

    ``asyncio.timeout`` sets a timer for each call, though hardly one ever goes off, and with its
    coroutines costs 5 to 8 µs of a request (benchmarks/bench_latency.py); this costs 1. There is
    one timer: since all are given the same time, they end in the order in which they began, and by
    the time the first one's timer goes off that call is usually long over.

    Args:
        seconds: How long a call may take; ``None`` for as long as it likes.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = math.inf if seconds is None else seconds
        # As a dict, for their order.
        self._under_way: dict[Cutoff, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> Cutoff:
        """Return the cutoff of a call of the current task: use it as a context manager."""
        loop = asyncio.get_running_loop()
        cutoff = Cutoff(self._under_way, loop.time() + self._seconds)
        if self._timer is None and cutoff.end < math.inf:
            self._timer = loop.call_at(cutoff.end, self._cut_due, cutoff.end)
        return cutoff

    def cut_all(self) -> None:
        """End all calls now."""
        for cutoff in list(self._under_way):
            cutoff.cut()
        self.rest()

    def rest(self) -> None:
        """Need no timer any more: all calls have ended, and there will be no other."""
        if self._timer is not None:
            self._timer.cancel()

    def _cut_due(self, now: float) -> None:
        # By the time that was set: the clock may stand a little before it when a timer goes off.
        for cutoff in list(self._under_way):
            if cutoff.end <= now:
                cutoff.cut()
        self._timer = None
        if left := [cutoff.end for cutoff in self._under_way if not cutoff.is_cut]:
            self._timer = asyncio.get_running_loop().call_at(min(left), self._cut_due, min(left))


class Cutoff:
    """Ends what one task does in its context, as ``asyncio.timeout`` does: with a TimeoutError.

    Attributes:
        end: When it does, by the loop's clock.
        is_cut: Whether it has.
    """

    def __init__(self, under_way: dict[Cutoff, None], end: float) -> None:
        self.end = end
        self.is_cut = False
        self._under_way = under_way
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0

    def cut(self) -> None:
        """End it now, if it has not ended."""
        if self._task is not None and not self.is_cut:
            self.is_cut = True
            self._task.cancel()

    def __enter__(self) -> Self:
        if (task := asyncio.current_task()) is None:
            raise RuntimeError("a request can only be made in a task of asyncio")
        self._task, self._cancelling = task, task.cancelling()
        self._under_way[self] = None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        del self._under_way[self]
        # Who is cancelled by somebody else as well, is cancelled and has not timed out.
        if (
            self.is_cut
            and self._task is not None
            and self._task.uncancel() <= self._cancelling
            and kind is asyncio.CancelledError
        ):
            raise TimeoutError from error
