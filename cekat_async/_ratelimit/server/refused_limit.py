"""The limit that refusals show, if no limit is stated or the stated limit is wrong. Pure."""

from __future__ import annotations

import math
from collections import deque

__all__ = ["RefusedLimit"]

# The limit is raised again after this many windows without a refusal. If the raised limit is
# refused, the next rise waits four times as long. The first step is a fiftieth of the limit, and
# each further step is twice as large.
_PATIENCE, _MORE_PATIENCE, _MOST_PATIENCE = 2, 4, 32
_FIRST_STEP = 1 / 50
# This part of a limit counts as nearly all of it.
_NEARLY = 0.95
# If a lowered limit is refused again, it is lowered by at least this part.
_LEAST_CUT = 1 / 10
# Two refusals within this many windows lower the limit.
_REPEATED = 2
# The largest number of requests granted in a window is remembered for this many windows, each
# divided into 8 parts.
_MEMORY, _PARTS = 4, 8


class RefusedLimit:
    """The estimated number of requests in one window above which the server refuses.

    Args:
        per: Seconds of the window.

    Attributes:
        limit: Requests in any ``per`` seconds; infinite while no refusal has lowered it.
        raises_at: When to raise the limit by one step; infinite if there is no reason to raise it.
    """

    def __init__(self, per: float) -> None:
        self.per = per
        self.limit = math.inf
        self.raises_at = math.inf
        # The limit before it was raised again.
        self._known = math.inf
        self._patience, self._step = _PATIENCE, 1
        self._refused_at = -math.inf
        self._granted_before_refusal = 0
        # For each part: its beginning, and the most requests granted in a window that ended in it.
        self._granted: deque[tuple[float, int]] = deque(maxlen=_MEMORY * _PARTS)

    def record_granted(self, count: int, now: float) -> None:
        """Record how many requests of the window that ends now were granted."""
        if self._granted and now < self._granted[-1][0] + self.per / _PARTS:
            begin, most = self._granted.pop()
            self._granted.append((begin, max(most, count)))
        else:
            self._granted.append((now, count))

    def explains(self, granted: int, ceiling: int, now: float) -> bool:
        """Whether this window explains a refusal after ``granted`` grants in it.

        There are three cases: its limit has been lowered already, it never had as many grants
        before, or it had about as many at the last refusal although ``ceiling`` allows more.
        """
        earlier = [count for begin, count in self._granted if begin <= now - self.per]
        before = self._granted_before_refusal
        is_same = before > 0 and _NEARLY <= granted / before <= 1 / _NEARLY
        is_below = granted < _NEARLY * ceiling
        is_most = granted > max(earlier, default=0)
        return self.limit < math.inf or is_most or (is_same and is_below)

    def lower(self, granted: int, now: float, *, at_once: bool = False) -> None:
        """Lower the limit to the number granted in the window, at the second refusal.

        One refusal is enough with ``at_once``, or if the limit has just been raised.
        """
        is_repeated = now < self._refused_at + _REPEATED * self.per
        before, self._granted_before_refusal = self._granted_before_refusal, granted
        self._refused_at = now
        if self._known < self.limit < math.inf and granted >= _NEARLY * self._known:
            self._patience = min(_MORE_PATIENCE * self._patience, _MOST_PATIENCE)
            self._set_limit(self._known, now)
        elif is_repeated or at_once:
            possible = max(1, granted, before)
            if possible >= self.limit:  # the server refused even the lowered limit
                possible = max(1, int(self.limit * (1 - _LEAST_CUT)))
            self._set_limit(possible, now)

    def _set_limit(self, limit: float, now: float) -> None:
        self.limit = self._known = min(self.limit, limit)
        self.raises_at = now + self._patience * self.per
        self._step = max(1, int(_FIRST_STEP * self.limit))

    def raise_limit(self, ceiling: float, now: float) -> None:
        """Raise the limit by a step if it is time. At ``ceiling``, forget the limit."""
        if now >= self.raises_at:
            self.limit += self._step
            self._step *= 2
            self.raises_at = now + self.per
        if self.limit >= ceiling:
            self.limit = self.raises_at = math.inf
