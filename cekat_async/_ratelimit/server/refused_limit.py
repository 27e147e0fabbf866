"""Estimates a limit from refusals if the server states no limit or a wrong one. Pure."""

from __future__ import annotations

import math
from collections import deque

__all__ = ["RefusedLimit"]

# The limit is raised again after this many windows without a refusal. If the server refuses
# requests at the raised limit, the next rise waits four times as long. The first rise is a fiftieth
# of the limit, and each further rise is twice as large.
_PATIENCE, _MORE_PATIENCE, _MOST_PATIENCE = 2, 4, 32
_FIRST_STEP = 1 / 50
# This fraction of a limit counts as nearly the whole limit.
_NEARLY = 0.95
# If the server refuses requests at a lowered limit, that limit is lowered by at least this
# fraction.
_LEAST_CUT = 1 / 10
# Two refusals lower the limit if they are within this many windows.
_REPEATED = 2
# The largest number of granted requests per window is remembered for this many windows. Each window
# is divided into ``_PARTS`` parts.
_MEMORY, _PARTS = 4, 8


class RefusedLimit:
    """The estimated number of requests in one window above which the server refuses.

    Args:
        per: The length of the window in seconds.

    Attributes:
        limit: The most requests in any ``per`` seconds; infinite until refusals lower it.
        raises_at: The time of the next rise by one step; infinite if the limit is not lowered.
    """

    def __init__(self, per: float) -> None:
        self.per = per
        self.limit = math.inf
        self.raises_at = math.inf
        # The limit as refusals set it last, before any rise.
        self._known = math.inf
        self._patience, self._step = _PATIENCE, 1
        self._refused_at = -math.inf
        self._granted_before_refusal = 0
        # For each part: its beginning, and the most requests granted in a window that ended in it.
        self._granted: deque[tuple[float, int]] = deque(maxlen=_MEMORY * _PARTS)

    def record_granted(self, count: int, now: float) -> None:
        """Record how many requests the server granted in the window that ends now."""
        if self._granted and now < self._granted[-1][0] + self.per / _PARTS:
            begin, most = self._granted.pop()
            self._granted.append((begin, max(most, count)))
        else:
            self._granted.append((now, count))

    def explains(self, granted: int, ceiling: int, now: float) -> bool:
        """Whether this window explains a refusal after ``granted`` grants in it.

        The window explains the refusal in three cases: refusals have already lowered its limit, no
        earlier window had as many grants, or there were about as many grants at the last refusal
        although ``ceiling`` allows more.
        """
        earlier = [count for begin, count in self._granted if begin <= now - self.per]
        before = self._granted_before_refusal
        is_same = before > 0 and _NEARLY <= granted / before <= 1 / _NEARLY
        is_below = granted < _NEARLY * ceiling
        is_most = granted > max(earlier, default=0)
        return self.limit < math.inf or is_most or (is_same and is_below)

    def lower(self, granted: int, now: float, *, at_once: bool = False) -> None:
        """Lower the limit to the number of requests granted in the window, at the second refusal.

        With ``at_once``, or after a rise of the limit, the first refusal is enough.
        """
        is_repeated = now < self._refused_at + _REPEATED * self.per
        before, self._granted_before_refusal = self._granted_before_refusal, granted
        self._refused_at = now
        if self._known < self.limit < math.inf and granted >= _NEARLY * self._known:
            self._patience = min(_MORE_PATIENCE * self._patience, _MOST_PATIENCE)
            self._set_limit(self._known, now)
        elif is_repeated or at_once:
            possible = max(1, granted, before)
            if possible >= self.limit:  # refused even at the lowered limit
                possible = max(1, int(self.limit * (1 - _LEAST_CUT)))
            self._set_limit(possible, now)

    def _set_limit(self, limit: float, now: float) -> None:
        self.limit = self._known = min(self.limit, limit)
        self.raises_at = now + self._patience * self.per
        self._step = max(1, int(_FIRST_STEP * self.limit))

    def raise_limit(self, ceiling: float, now: float) -> None:
        """Raise the limit by one step if a rise is due. Remove it at ``ceiling``."""
        if now >= self.raises_at:
            self.limit += self._step
            self._step *= 2
            self.raises_at = now + self.per
        if self.limit >= ceiling:
            self.limit = self.raises_at = math.inf
