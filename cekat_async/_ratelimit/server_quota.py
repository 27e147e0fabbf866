"""What the server says is left of its quota, and what follows until it speaks again. Pure.

What "remaining" means depends on how the server counts, which it does not say. Two kinds behave
differently enough to matter, and their resets tell them apart:

- a *window* that ends: its reset stands still, and until then nothing comes back;
- a *stream* (a sliding window, a bucket): its reset moves along, and places come back all the time.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cekat_async._ratelimit.headers import QuotaStatement
    from cekat_async._ratelimit.sent_log import Permit

__all__ = ["SLACK", "ServerQuota"]

SLACK = 1.0
"""Seconds by which a reset may be too late: most are rounded up, or ``Date`` is rounded down."""

# Seconds by which two words about one reset may differ.
_TOLERANCE = 1.5
# How many resets must have moved along before a server is taken for a stream.
_MOVES = 3
# Over how many reports the refill is measured: long enough to be steady, and short enough to see
# when it stops.
_LONG, _SHORT = 64, 8


class ServerQuota:
    """The server's newest word, as far as one can tell which that is.

    Attributes:
        remaining: Requests left, by that word.
        resets_at: When a window ends, or a stream has all of its places again. Never too early.
        heard_at: When the word came.
        most: The largest ``remaining`` ever said: what a small bucket holds.
    """

    def __init__(self) -> None:
        self.remaining = math.inf
        self.resets_at = -math.inf
        self.heard_at = -math.inf
        self.most = 0
        self._sent_at = -math.inf
        self._anchor = -math.inf
        self._moves = 0
        self._answered = 0
        self._levels: deque[tuple[float, int]] = deque(maxlen=_LONG)

    @property
    def is_stream(self) -> bool:
        """Whether places come back all the time."""
        return self._moves >= _MOVES

    @property
    def is_full(self) -> bool:
        """Whether no more was ever left than by the newest word, and that is something."""
        return 0 < self.most <= self.remaining

    @property
    def true_at(self) -> float:
        """About when the newest word was said: half-way between request and reply."""
        return (self._sent_at + self.heard_at) / 2

    def is_live(self, now: float, per: float) -> bool:
        """Whether the newest word still holds."""
        return now < (self.heard_at + per if self.is_stream else self.resets_at)

    def hear(self, said: QuotaStatement, permit: Permit, now: float, per: float) -> bool:
        """Take in what the reply to ``permit`` says; tell whether it is the newest word."""
        self._answered += 1
        if said.remaining is None:
            return False
        self.most = max(self.most, said.remaining)
        # That which is left and that which was taken, together, grow by what comes back.
        self._levels.append((now, said.remaining + self._answered))
        resets_at = now + (per if said.reset is None else said.reset)
        # A reset is said at some time on the way, and reckoned from the end of it.
        tolerance = _TOLERANCE + (now - permit.sent)
        if said.reset is None:
            # Nothing to wait for the end of: places come back when they do.
            self._moves = _MOVES
        else:
            self._tell_kind(resets_at, tolerance, per)
        if not self._is_newer(said.remaining, resets_at, permit.sent, now):
            return False
        self.remaining, self.resets_at = said.remaining, resets_at
        self.heard_at, self._sent_at = now, permit.sent
        return True

    def refill(self) -> float:
        """Return how many places came back lately in a second, less what others took."""
        if len(self._levels) < _SHORT:
            return 0.0
        end, level = self._levels[-1]
        return max(
            0.0,
            # The slower of a long and a short look: what has stopped must not be counted on.
            min(
                (level - before) / (end - begin) if end > begin else 0.0
                for begin, before in (self._levels[0], self._levels[-_SHORT])
            ),
        )

    def _is_newer(self, remaining: int, resets_at: float, sent: float, now: float) -> bool:
        """Whether a word is to replace the one that came before it, perhaps out of order."""
        if self.is_stream:
            return sent >= self._sent_at
        if now >= self.resets_at or sent >= self.heard_at:
            return True
        # Both were under way at once. In one window the smaller was said later; else the window
        # that ends later is the newer one.
        drift = resets_at - self.resets_at
        return drift > _TOLERANCE or (drift >= -_TOLERANCE and remaining < self.remaining)

    def _tell_kind(self, resets_at: float, tolerance: float, per: float) -> None:
        drift = resets_at - self._anchor
        if tolerance < drift < per - tolerance:
            self._moves += 1
            if self.is_stream:
                self._anchor = resets_at
        elif drift >= per - tolerance:
            self._anchor = resets_at
            # One window after the other. After a longer pause it says nothing.
            if drift <= per + tolerance:
                self._moves = 0
