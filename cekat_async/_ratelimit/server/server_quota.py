"""Keeps the server's newest report of its remaining quota, and checks its reliability. Pure.

The meaning of "remaining" depends on how the server counts, and the server does not state this.
There are two kinds of quota, and the resets show the kind:

- A *fixed window* has an end. Its reset stays the same, and the server gives no requests back until
  the end.
- A *continuous* quota (a sliding window or a bucket) gives requests back all the time. Its reset
  moves forward as time passes.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cekat_async._ratelimit.sent_log import Permit
    from cekat_async._ratelimit.server.headers import QuotaStatement

__all__ = ["RESET_SLACK", "HeaderReliability", "ServerQuota"]

RESET_SLACK = 1.0
"""The seconds by which a reset may be too late, because it is rounded up, or ``Date`` down."""

# Two reports of the same reset may differ by this many seconds.
_TOLERANCE = 1.5
# If the window is shorter than this many seconds, a reset in whole seconds is too coarse.
_SHORT_WINDOW = 4 * _TOLERANCE
# A quota counts as continuous after its reset has moved this many times.
_MOVES = 3
# The refill is measured twice. Many reports give a steady value, and few reports show quickly that
# the refill has stopped.
_LONG, _SHORT = 64, 8

# After this many grants in a row despite ``remaining: 0``, that header is ignored.
_MOST_CONTRADICTIONS = 6
# A header that proved wrong is ignored for this many windows. The next time, ``remaining: 0`` is
# ignored for twice as many windows.
_DISTRUST = 10


class ServerQuota:
    """The server's newest report. Replies may arrive out of order.

    Attributes:
        remaining: The remaining requests according to the newest report.
        resets_at: The time at which a fixed window ends or a continuous quota is full again. This
            time is never too early.
        received_at: The time at which the newest report arrived.
        most_remaining: The largest ``remaining`` in any report. For a small bucket, this is its
            size.
    """

    def __init__(self) -> None:
        self.remaining = math.inf
        self.resets_at = -math.inf
        self.received_at = -math.inf
        self.most_remaining = 0
        self._limit: int | None = None
        self._sent_at = -math.inf
        self._reference_reset = -math.inf
        self._moves = 0
        self._replies = 0
        self._levels: deque[tuple[float, int]] = deque(maxlen=_LONG)

    @property
    def is_continuous(self) -> bool:
        """Whether the server gives requests back all the time."""
        return self._moves >= _MOVES

    @property
    def is_full(self) -> bool:
        """Whether the newest report shows the largest ``remaining`` so far, and it is above 0."""
        return 0 < self.most_remaining <= self.remaining

    @property
    def measured_at(self) -> float:
        """The approximate time of the newest report, halfway between its request and its reply."""
        return (self._sent_at + self.received_at) / 2

    def get_expiry(self, per: float) -> float:
        """Return when the newest report becomes invalid."""
        return self.received_at + per if self.is_continuous else self.resets_at

    def is_current(self, now: float, per: float) -> bool:
        """Whether the newest report is still valid."""
        return now < self.get_expiry(per)

    def update(self, reported: QuotaStatement, permit: Permit, now: float, per: float) -> bool:
        """Record the report in the reply to ``permit``. Return whether it is the newest report."""
        self._replies += 1
        if reported.remaining is None:
            return False
        if reported.limit != self._limit:
            self._limit, self.most_remaining = reported.limit, 0
        self.most_remaining = max(self.most_remaining, reported.remaining)
        # The sum of remaining and answered requests grows by the number of requests given back.
        self._levels.append((now, reported.remaining + self._replies))
        resets_at = now + (per if reported.reset is None else reported.reset)
        if reported.reset is None or per < _SHORT_WINDOW:
            # The end of the window is not stated, or is too inexact to wait for.
            self._moves = _MOVES
        else:
            # The server computed the reset before the reply arrived, up to one round trip ago.
            self._detect_kind(resets_at, _TOLERANCE + (now - permit.sent), per)
        if not self._is_newer(reported.remaining, resets_at, permit.sent, now):
            return False
        self.remaining, self.resets_at = reported.remaining, resets_at
        self.received_at, self._sent_at = now, permit.sent
        return True

    def get_refill_rate(self) -> float:
        """Return the recent refill in requests per second, minus what other clients use."""
        if len(self._levels) < _SHORT:
            return 0.0
        end, level = self._levels[-1]
        return max(
            0.0,
            # The smaller of two measurements, because a refill that has stopped must not count.
            min(
                (level - before) / (end - begin) if end > begin else 0.0
                for begin, before in (self._levels[0], self._levels[-_SHORT])
            ),
        )

    def _is_newer(self, remaining: int, resets_at: float, sent: float, now: float) -> bool:
        """Whether a report is newer than all earlier ones. Replies may arrive out of order."""
        if self.is_continuous:
            return sent >= self._sent_at
        if now >= self.resets_at or sent >= self.received_at:
            return True
        # Both requests were in flight at the same time. If both reports are about the same window,
        # the smaller one is newer. Otherwise the report about the later window is newer.
        drift = resets_at - self.resets_at
        return drift > _TOLERANCE or (drift >= -_TOLERANCE and remaining < self.remaining)

    def _detect_kind(self, resets_at: float, tolerance: float, per: float) -> None:
        drift = resets_at - self._reference_reset
        if tolerance < drift < per - tolerance:
            self._moves += 1
            if self.is_continuous:
                self._reference_reset = resets_at
        elif drift >= per - tolerance:
            self._reference_reset = resets_at
            # The drift shows a fixed window only if this window directly follows the previous one.
            if drift <= per + tolerance:
                self._moves = 0


class HeaderReliability:
    """Compares the server's reports with its behavior.

    A server may refuse requests although it reports some as left, or grant requests although it
    reports none as left. Neither behavior may stop the client or cause endless refusals.

    Attributes:
        trusts_remaining_from: The time until which a large ``remaining`` is ignored.
        trusts_zero_from: The time until which ``remaining: 0`` is ignored.
        probes_from: The time from which ``remaining: 0`` may be tested again.
        contradictions: The number of consecutive grants after ``remaining: 0`` whose replies
            reported 0 again.
    """

    def __init__(self) -> None:
        self.trusts_remaining_from = self.trusts_zero_from = self.probes_from = -math.inf
        self.contradictions = 0
        self._distrust = float(_DISTRUST)

    def record_grant(self, remaining: int, now: float, per: float, *, after_zero: bool) -> None:
        """Compare ``remaining: 0`` with a grant. The reply reports ``remaining`` requests as left.

        ``after_zero`` is true if the server reported 0 when the request was sent.
        """
        if remaining:
            self.contradictions = 0
        elif after_zero:
            self.contradictions += 1
        if self.contradictions >= _MOST_CONTRADICTIONS:
            self.trusts_zero_from = now + self._distrust * per
            self.contradictions, self._distrust = 0, 2 * self._distrust

    def confirm_zero(self, now: float, per: float) -> None:
        """Stop testing ``remaining: 0`` for a while, because the server refused the test."""
        self.probes_from = now + _DISTRUST * per

    def distrust_remaining(self, now: float, per: float) -> None:
        """Ignore a large ``remaining`` for a while: the server refused a request despite it."""
        self.trusts_remaining_from = now + self._distrust * per
