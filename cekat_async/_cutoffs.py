"""Cutoffs: what ends calls that take too long, with one timer for all of them."""

from __future__ import annotations

import asyncio
import math

__all__ = ["Cutoffs"]


class Cutoffs:
    """The calls under way that are each given the same time.

    A timer of its own is two thirds of what ``asyncio.timeout`` costs a call, and hardly one ever
    goes off. Here there is one: since all are given the same time, they end in the order in which
    they began, and by the time the first one's timer goes off that call is usually long over.

    Args:
        seconds: How long a call may take; ``None`` for as long as it likes.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = math.inf if seconds is None else seconds
        self._ends: dict[asyncio.Timeout, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, cutoff: asyncio.Timeout) -> float:
        """Give an entered timeout its time, and return when that is over, by the loop's clock.

        Whoever adds one must :meth:`discard` it when it is left.
        """
        loop = asyncio.get_running_loop()
        end = self._ends[cutoff] = loop.time() + self._seconds
        if self._timer is None and end < math.inf:
            self._timer = loop.call_at(end, self._cut_due, end)
        return end

    def discard(self, cutoff: asyncio.Timeout) -> None:
        """Forget a timeout, if it is there."""
        self._ends.pop(cutoff, None)

    def cut_all(self) -> None:
        """End all calls now, and need no timer any more."""
        self._cut(list(self._ends))
        if self._timer is not None:
            self._timer.cancel()

    def _cut_due(self, now: float) -> None:
        # By the time that was set: the clock may stand a little before it when a timer goes off.
        self._cut([cutoff for cutoff, end in list(self._ends.items()) if end <= now])
        self._timer = None
        if (end := min(self._ends.values(), default=math.inf)) < math.inf:
            self._timer = asyncio.get_running_loop().call_at(end, self._cut_due, end)

    def _cut(self, cutoffs: list[asyncio.Timeout]) -> None:
        for cutoff in cutoffs:
            del self._ends[cutoff]
            cutoff.reschedule(asyncio.get_running_loop().time())
