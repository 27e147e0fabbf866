"""Decides which limits apply, and records the source of each limit. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from cekat_async._ratelimit.server.headers import get_scarcity
from cekat_async._ratelimit.server.learned_rate import Evidence
from cekat_async._ratelimit.server.refused_limit import RefusedLimit
from cekat_async._ratelimit.server.window_length import WindowLength

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cekat_async._ratelimit.server.headers import QuotaStatement
    from cekat_async._ratelimit.server.learned_rate import LearnedRate
    from cekat_async._ratelimit.server.window_length import Report
    from cekat_async.config import RateLimit

__all__ = ["DOCUMENTED", "LimitEstimate", "Terms"]

DOCUMENTED = 300
"""The documented limit of this endpoint, in requests per minute and IP address."""

_MINUTE = 60.0
# The documented limit explains a refusal if the number of granted requests differs from the limit
# by at most this fraction.
_NEAR = 0.1
# If a server refuses requests within its stated limit, our own limit applies too for this many
# windows.
_DISTRUST = 20


class Terms(NamedTuple):
    """A limit that applies to requests.

    Attributes:
        limit: The most requests in any ``per`` seconds.
        per: The length of the window in seconds.
        source: The source of the limit: ``"documented"``, ``"configured"``, ``"stated"`` (by the
            server), ``"refusals"`` or ``"shared"`` (learned by another process).
    """

    limit: int
    per: float
    source: str

    @property
    def rate(self) -> float:
        """The limit in requests per second."""
        return self.limit / self.per


class LimitEstimate:
    """All limits that apply: configured, stated by the server, and learned from refusals.

    A configured limit always applies. The documented limit applies until the server states another
    limit. It applies again for a while if the server refuses requests within its stated limit. A
    rate that another process has learned replaces all other limits except the configured one.

    Attributes:
        windows: All limits that apply now.
        changes_at: The time at which the limits change by themselves; infinite if they do not.
        is_length_guessed: True if the server states a limit without the length of its window.
    """

    def __init__(self, rate: RateLimit) -> None:
        self._share = rate.share
        self._own = (
            Terms(self._get_part(DOCUMENTED), rate.per, "documented")
            if rate.requests is None
            else Terms(rate.requests, rate.per, "configured")
        )
        self._statements: tuple[QuotaStatement, ...] = ()
        # Our part of each stated limit, with the window length that is assumed now.
        self._stated: tuple[Terms, ...] = ()
        self._length = WindowLength(rate.per)
        # A limit that the server does not state is probably per minute, like the documented limit.
        self._refused = [RefusedLimit(per) for per in sorted({rate.per, max(rate.per, _MINUTE)})]
        self._distrusts_until = -math.inf
        self._learned = Evidence()
        self._adopted: Terms | None = None
        self.is_length_guessed = False
        self.changes_at = math.inf
        self.windows: tuple[Terms, ...] = (self._own,)

    @property
    def pace(self) -> Terms:
        """The slowest of the limits."""
        return min(self.windows, key=_get_rate)

    @property
    def is_lowered(self) -> bool:
        """Whether refusals have lowered a limit."""
        return any(one.limit < math.inf for one in self._refused)

    @property
    def server_per(self) -> float:
        """The length in seconds of the window for which the server reports ``remaining``."""
        return self._stated[0].per if self._stated else self._own.per

    @property
    def longest(self) -> float:
        """The length in seconds of the longest window that any limit may need."""
        return max(self.server_per, *(one.per for one in self._refused))

    def update(self, reported: Sequence[QuotaStatement], now: float) -> None:
        """Adopt the limits that the server states, even if they are higher than ours."""
        # ``remaining`` is about the quota with the fewest requests left, so that quota comes first.
        stated = sorted((one for one in reported if one.limit), key=get_scarcity)
        if not stated:
            return
        self.is_length_guessed = any(one.per is None for one in stated)
        self._statements = tuple(stated)
        if not self.is_lowered:
            self._learn(min(self._get_whole(), key=_get_rate), now)
        self.renew(now)

    def learn_length(self, report: Report, *, quickest: float, in_flight: int, used: int) -> None:
        """Learn the length of the server's window from a report that does not state it."""
        self._length.record(report, quickest=quickest, in_flight=in_flight, used=used)

    def lengthen(self, now: float) -> None:
        """Assume a longer window, because the server refused us although only we used the quota."""
        self._length.lengthen(now)
        self.renew(now)

    def extend(self, seconds: float, now: float) -> None:
        """Assume a longer window, because the server grants nothing for this many seconds."""
        self._length.extend(seconds)
        self.renew(now)

    def distrust(self, now: float) -> None:
        """Return to our own limit for a while: the server's stated limit proved wrong."""
        self._distrusts_until = now + _DISTRUST * self._own.per
        self.renew(now)

    def record_grant(self, count: Callable[[float], int], now: float) -> None:
        """Record that a request was granted.

        ``count(seconds)`` returns how many requests the server granted in the last ``seconds``
        seconds.
        """
        for refused in self._refused:
            refused.record_granted(count(refused.per), now)

    def is_documented(self, count: Callable[[float], int]) -> bool:
        """Whether the documented limit explains a refusal, even if the server states another limit.

        ``count`` is the same function as in :meth:`record_grant`.
        """
        return abs(count(_MINUTE) - DOCUMENTED) <= _NEAR * DOCUMENTED

    def lower(
        self, count: Callable[[float], int], asked: float | None, began_at: float, now: float
    ) -> None:
        """Lower the limit of the shortest window that explains a refusal.

        Args:
            count: The same function as in :meth:`record_grant`.
            asked: The seconds of the pause that the server asked for; ``None`` without a pause.
            began_at: The time of the first request.
            now: The present time.
        """
        rate = self._get_rate_without_refusals()
        for refused in self._refused:
            granted, elapsed = count(refused.per), now - began_at
            if asked is not None and elapsed + asked < refused.per:
                # The server's pause ends before this window does, so the server's window is
                # shorter.
                granted = int(granted * refused.per / max(elapsed + asked, 1.0))
            is_documented = refused.per == _MINUTE and self.is_documented(count)
            is_known = refused.per == self._own.per or refused.per <= elapsed or is_documented
            if is_known and refused.explains(granted, int(rate * refused.per), now):
                refused.lower(granted, now, at_once=is_documented)
                break
        self.renew(now)

    def get_learned(self, now: float) -> LearnedRate | None:
        """Return the latest rate that this client's own replies have shown, or ``None``."""
        return self._learned.get(now)

    def adopt(self, rate: LearnedRate | None, now: float) -> None:
        """Use a rate that another process has learned. With ``None``, return to our own rate."""
        self._adopted = None
        if rate is not None:
            self._learned = Evidence()
            self._adopted = Terms(self._get_part(rate.requests), rate.per, "shared")
        self.renew(now)

    def renew(self, now: float) -> None:
        """Recompute ``windows`` and ``changes_at``."""
        whole = self._get_whole()
        self._stated = tuple(one._replace(limit=self._get_part(one.limit)) for one in whole)
        is_raised = self._raise_limits(now)
        refused = self._get_refused()
        if (shown := [*whole, *refused]) and (self.is_lowered or is_raised):
            self._learn(min(shown, key=_get_rate), now)
        windows = [*self._stated, *refused] if self._adopted is None else [self._adopted]
        is_own_kept = self._own.source == "configured" or now < self._distrusts_until
        if is_own_kept or not (self._stated or self._adopted):
            windows = [*windows, self._own]
        self.windows = tuple(windows)
        doubts = self._distrusts_until if now < self._distrusts_until else math.inf
        self.changes_at = min(doubts, *(one.raises_at for one in self._refused))

    def _raise_limits(self, now: float) -> bool:
        """Raise each lowered limit whose next rise is due. Return whether any was due."""
        rate = self._get_rate_without_refusals()
        was_due = any(now >= refused.raises_at for refused in self._refused)
        for refused in self._refused:
            refused.raise_limit(max(1, int(rate * refused.per)), now)
        return was_due

    def _get_rate_without_refusals(self) -> float:
        others = [*self._stated, self._own] if self._own.source == "configured" else self._stated
        return min(map(_get_rate, others), default=self._own.rate)

    def _get_whole(self) -> list[Terms]:
        """Return the limits that the server states. Each limit is for all processes together."""
        return [
            Terms(one.limit or 1, one.per or self._length.seconds, "stated")
            for one in self._statements
        ]

    def _get_refused(self) -> list[Terms]:
        return [
            Terms(int(one.limit), one.per, "refusals")
            for one in self._refused
            if one.limit < math.inf
        ]

    def _learn(self, terms: Terms, now: float) -> None:
        self._learned.record(terms.limit, terms.per, now)

    def _get_part(self, limit: int) -> int:
        return max(1, int(limit * self._share))


def _get_rate(terms: Terms) -> float:
    return terms.rate
