"""The state of a limiter, for monitoring. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from cekat_async._ratelimit.slot import WaitReason

if TYPE_CHECKING:
    from cekat_async._ratelimit.pause import Pause
    from cekat_async._ratelimit.scheduler import Scheduler
    from cekat_async._ratelimit.unlimited import Unlimited

__all__ = ["LimiterSnapshot", "WindowSnapshot", "take_snapshot"]


class WindowSnapshot(msgspec.Struct, frozen=True):
    """One of the limits that a limiter keeps.

    Attributes:
        limit: The most requests in any ``per`` seconds.
        per: The length of the window in seconds.
        source: Where the limit comes from, as in :attr:`LimiterSnapshot.source`.
        used: How many requests of the limiter are in the window that ends now.
    """

    limit: int
    per: float
    source: str
    used: int


class LimiterSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a limiter at one moment.

    Attributes:
        limit: The most requests in any ``per`` seconds. ``None`` without a rate limit. If there are
            several limits, it is the slowest.
        per: The length of the window in seconds.
        source: Where the limit comes from: ``"documented"`` (docs/api.md#limits), ``"configured"``,
            ``"stated"`` (by the server's headers), ``"refusals"`` (learned from refused requests),
            ``"shared"`` (learned by another process with the same budget), or ``"unpaced"``.
        windows: All limits that it keeps, each with its use.
        used: How many requests of the limiter are in the window that ends now.
        remaining: How many requests the server last reported as left, for all clients that share
            the quota. ``None`` if it reported none, or if that report is no longer valid.
        in_flight: How many requests have no reply yet.
        waiting: How many requests wait in the queue.
        next_in: The seconds until the next request may be sent, as far as is known. Infinite if a
            reply has to arrive first.
        waits_for: What the next request waits for: ``"nothing"``, ``"first reply"`` (the reply to
            the very first request), ``"window"`` (the window is full of the limiter's own
            requests), ``"pace"``, ``"others"`` (other clients need what is left), ``"server"`` (the
            server reports that nothing is left), ``"day"`` (``RateLimit.per_day``) or ``"pause"``.
        paused_for: The seconds that are left of a pause. 0 without a pause.
        pause_reason: The reason for the pause. Empty without a pause.
        sent: How many requests were sent so far.
        refused: How many of them the server refused with a 429.
        refused_for: How many were refused for each reason: ``"quota"``, ``"pause"`` (the server
            wants no requests although some are left), ``"overload"`` (a retry may succeed at once)
            or ``"ban"`` (a pause of more than an hour).
        last_refusal: The reason for the last refusal. ``None`` if there was none.
        earned: How many requests the limit would have allowed since the first one.
    """

    limit: int | None
    per: float
    source: str
    windows: tuple[WindowSnapshot, ...]
    used: int
    remaining: int | None
    in_flight: int
    waiting: int
    next_in: float
    waits_for: str
    paused_for: float
    pause_reason: str
    sent: int
    refused: int
    refused_for: dict[str, int]
    last_refusal: str | None
    earned: float

    @property
    def share(self) -> float | None:
        """The fraction of the limit that is in use, 0 to 1. ``None`` without a rate limit."""
        return None if self.limit is None else min(1.0, self.used / self.limit)


def take_snapshot(
    scheduler: Scheduler | Unlimited, pause: Pause, now: float, *, waiting: int, sent: int
) -> LimiterSnapshot:
    """Return the state of the parts of a limiter."""
    slot, paused_for = scheduler.next_slot(now), pause.get_rest(now)
    terms, refusals = scheduler.terms, scheduler.refusals
    return LimiterSnapshot(
        limit=terms.limit or None,
        per=terms.per,
        source=terms.source,
        windows=tuple(
            WindowSnapshot(*window, used=scheduler.used(now, window.per))
            for window in scheduler.windows
        ),
        used=scheduler.used(now),
        remaining=scheduler.remaining(now),
        in_flight=scheduler.in_flight,
        waiting=waiting,
        next_in=max(paused_for, slot.at - now, 0.0),
        waits_for=str(WaitReason.PAUSE if paused_for else slot.reason),
        paused_for=paused_for,
        pause_reason=pause.reason if paused_for else "",
        sent=sent,
        refused=refusals.total,
        refused_for={str(kind): count for kind, count in refusals.counts.items() if count},
        last_refusal=refusals.latest and str(refusals.latest),
        earned=scheduler.earned(now),
    )
