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
        source: The source of the limit, as in :attr:`LimiterSnapshot.source`.
        used: The number of this limiter's requests in the window that ends now.
    """

    limit: int
    per: float
    source: str
    used: int


class LimiterSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a limiter at one moment.

    Attributes:
        limit: The most requests in any ``per`` seconds. ``None`` without a rate limit. If there are
            several limits, the slowest one is shown.
        per: The length of the window in seconds.
        source: The source of the limit: ``"documented"`` (docs/api.md#limits), ``"configured"``,
            ``"stated"`` (by the server's headers), ``"refusals"`` (learned from refused requests),
            ``"shared"`` (learned by another process with the same budget), or ``"unpaced"``.
        windows: All limits that the limiter keeps, each with the number of requests used.
        used: The number of this limiter's requests in the window that ends now.
        remaining: The remaining requests in the server's last report, for all clients that share
            the quota. ``None`` if there is no report, or if the last report is no longer valid.
        in_flight: The number of sent requests that have no reply yet.
        waiting: The number of requests that wait in the queue.
        next_in: The seconds until the next request may be sent, as far as is known. Infinite if a
            reply has to arrive first.
        waits_for: The reason why the next request waits: ``"nothing"``, ``"first reply"`` (the
            reply to the very first request), ``"window"`` (the window is full of the limiter's own
            requests), ``"pace"``, ``"others"`` (other clients need the remaining requests),
            ``"server"`` (the server reports that no requests are left), ``"day"``
            (``RateLimit.per_day``) or ``"pause"``.
        paused_for: The remaining seconds of a pause. 0 without a pause.
        pause_reason: The reason for the pause. Empty without a pause.
        sent: The number of requests sent so far.
        refused: The number of sent requests that the server refused with a 429.
        refused_for: The number of refused requests for each reason: ``"quota"``, ``"pause"`` (the
            server asks for a pause although quota is left), ``"overload"`` (a retry may succeed
            immediately) or ``"ban"`` (a pause of more than an hour).
        last_refusal: The reason for the last refusal. ``None`` if there was none.
        earned: The number of requests that the limit would have allowed since the first request.
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
        """The fraction of the limit that is used, from 0 to 1. ``None`` without a rate limit."""
        return None if self.limit is None else min(1.0, self.used / self.limit)


def take_snapshot(
    scheduler: Scheduler | Unlimited, pause: Pause, now: float, *, waiting: int, sent: int
) -> LimiterSnapshot:
    """Return the state of a limiter, from its parts."""
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
