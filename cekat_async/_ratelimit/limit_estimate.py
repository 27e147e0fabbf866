"""Which limits to keep to, and why. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from cekat_async._ratelimit.refused_limit import RefusedLimit
from cekat_async._ratelimit.window_length import WindowLength

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cekat_async._ratelimit.headers import QuotaStatement
    from cekat_async._ratelimit.window_length import Report
    from cekat_async.config import RateLimit

__all__ = ["DOCUMENTED", "LimitEstimate", "Terms"]

DOCUMENTED = 300
"""Requests a minute at this endpoint, per IP address."""

_MINUTE = 60.0
# A refusal this near to the documented limit, as a part of it, is explained by that at once.
_NEAR = 0.1
# A server that refused what it stated is not believed for this many windows.
_DISTRUST = 20


class Terms(NamedTuple):
    """A limit to keep to.

    Attributes:
        limit: Requests in any ``per`` seconds.
        per: Seconds of the window.
        source: Where it comes from: ``"documented"``, ``"configured"``, ``"stated"`` (by the
            server) or ``"refusals"``.
    """

    limit: int
    per: float
    source: str

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.limit / self.per


class LimitEstimate:
    """The limits to keep to at once: configured, stated by the server, learned from refusals.

    What the caller configured always counts. The documented limit counts until the server states
    another one, and again for a while when the server has refused what it stated.

    Attributes:
        windows: All limits that count now.
        changes_at: When they change although nothing is learned; infinite if they do not.
    """

    def __init__(self, rate: RateLimit) -> None:
        self._share = rate.share
        self._own = (
            Terms(self._get_part(DOCUMENTED), rate.per, "documented")
            if rate.requests is None
            else Terms(rate.requests, rate.per, "configured")
        )
        self._length = WindowLength(rate.per)
        self._stated: tuple[Terms, ...] = ()
        self._is_length_guessed = False
        # A limit that nobody states is probably one per minute, as the documented one.
        self._refused = [RefusedLimit(per) for per in sorted({rate.per, max(rate.per, _MINUTE)})]
        self._distrusts_until = -math.inf
        self.changes_at = math.inf
        self.windows: tuple[Terms, ...] = (self._own,)

    @property
    def pace(self) -> Terms:
        """The slowest of them."""
        return min(self.windows, key=lambda window: window.rate)

    @property
    def own_per(self) -> float:
        """Seconds of the window that is configured or documented."""
        return self._own.per

    @property
    def is_length_guessed(self) -> bool:
        """Whether the server states a limit, and not the seconds it is meant for."""
        return self._is_length_guessed

    @property
    def is_lowered(self) -> bool:
        """Whether refusals have lowered a limit."""
        return any(one.limit < math.inf for one in self._refused)

    @property
    def server_per(self) -> float:
        """Seconds of the window that the server's reports are about."""
        return self._stated[0].per if self._stated else self._own.per

    def learn_length(self, report: Report, *, quickest: float, in_flight: int, used: int) -> None:
        """Learn from a report how long the server's window is, if that is not stated."""
        self._length.record(report, quickest=quickest, in_flight=in_flight, used=used)

    def lengthen(self, now: float) -> None:
        """Assume a longer window: we alone used up what the server states, and were refused."""
        self._length.lengthen(now)
        self.renew(now)

    def update(self, stated: Sequence[QuotaStatement], now: float) -> None:
        """Follow what the server states, up and down."""
        self._is_length_guessed = any(one.limit and not one.per for one in stated)
        self._stated = tuple(
            Terms(self._get_part(one.limit), one.per or self._length.seconds, "stated")
            for one in stated
            if one.limit is not None
        ) or self._stated
        self.renew(now)

    def extend(self, seconds: float) -> None:
        """Assume a longer window: the server will not grant more for so long."""
        self._length.extend(seconds)

    def distrust(self, now: float) -> None:
        """Return to the own limit for a while: the server refused what it stated."""
        self._distrusts_until = now + _DISTRUST * self._own.per
        self.renew(now)

    def record_grant(self, count: Callable[[float], int], now: float) -> None:
        """Record that a request was granted.

        ``count`` returns how many were granted in a window of so many seconds that ends now.
        """
        for refused in self._refused:
            refused.record_granted(count(refused.per), now)

    def is_documented(self, count: Callable[[float], int]) -> bool:
        """Whether the documented limit explains a refusal, whatever is stated; ``count`` as above."""
        return abs(count(_MINUTE) - DOCUMENTED) <= _NEAR * DOCUMENTED

    def lower(
        self, count: Callable[[float], int], asked: float | None, began_at: float, now: float
    ) -> None:
        """Lower the limit of the shortest window that explains a refusal.

        ``count`` is as above, and the first request was sent at ``began_at``. The server wants none
        for the seconds that it ``asked`` for.
        """
        for refused in self._refused:
            granted = count(refused.per)
            if asked is not None and now + asked < began_at + refused.per:
                # It will grant more before this window is over, so it counts in a shorter one.
                granted = int(granted * refused.per / (now + asked - began_at))
            is_documented = refused.per == _MINUTE and self.is_documented(count)
            is_known = refused.per == self._own.per or refused.per <= now - began_at or is_documented
            if is_known and refused.explains(granted, now):
                refused.lower(granted, now, at_once=is_documented)
                break
        self.renew(now)

    def renew(self, now: float) -> None:
        """Set ``windows`` and ``changes_at`` anew."""
        rate = self._get_rate()
        for refused in self._refused:
            refused.raise_limit(max(1, int(rate * refused.per)), now)
        windows = list(self._stated)
        is_own_kept = self._own.source == "configured" or now < self._distrusts_until
        if is_own_kept or not windows:
            windows.append(self._own)
        windows += [
            Terms(int(one.limit), one.per, "refusals")
            for one in self._refused
            if one.limit < math.inf
        ]
        self.windows = tuple(windows)
        doubts = self._distrusts_until if now < self._distrusts_until else math.inf
        self.changes_at = min(doubts, *(one.raises_at for one in self._refused))

    def _get_rate(self) -> float:
        """Return how many requests a second the other limits allow."""
        others = [*self._stated, self._own] if self._own.source == "configured" else self._stated
        return min((window.rate for window in others), default=self._own.rate)

    def _get_part(self, limit: int) -> int:
        return max(1, int(limit * self._share))
