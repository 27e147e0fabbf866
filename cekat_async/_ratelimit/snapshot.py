"""The state of a limiter, for people and programs that watch it. Pure."""

from __future__ import annotations

import msgspec

__all__ = ["LimiterSnapshot", "WindowSnapshot"]


class WindowSnapshot(msgspec.Struct, frozen=True):
    """One of the limits that a limiter keeps to.

    Attributes:
        limit: Requests in any ``per`` seconds.
        per: Seconds.
        source: Where it comes from, as :attr:`LimiterSnapshot.source`.
        used: Requests of its own in the window that ends now.
    """

    limit: int
    per: float
    source: str
    used: int


class LimiterSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a limiter at one moment.

    Attributes:
        limit: Requests in any ``per`` seconds that it keeps to; ``None`` without a rate limit. Of
            several limits it is the slowest.
        per: Seconds.
        source: Where the limit comes from: ``"documented"`` (docs/api.md#limits), ``"configured"``,
            ``"stated"`` (by the server's headers), ``"refusals"`` (it was refused, and probes),
            ``"shared"`` (another process with the same budget has learned it), or ``"unpaced"``.
        windows: All limits that it keeps to, each with what is used of it.
        used: Requests of its own in the window that ends now.
        remaining: What the server last reported as left, for all who share the quota; ``None`` if
            it did not, or that is not valid any more.
        in_flight: Requests that have no reply yet.
        waiting: Requests that wait in the queue.
        next_in: Seconds until the next one may be sent, as far as is known; infinite if a reply has
            to arrive first.
        waits_for: What the next one waits for: ``"nothing"``, ``"first reply"`` (to the very first
            request), ``"window"`` (it is full of its own requests), ``"pace"``, ``"others"`` (they
            need what is left), ``"server"`` (it reports that nothing is left), ``"day"``
            (``RateLimit.per_day``) or ``"pause"``.
        paused_for: Seconds that are left of a pause; 0 without one.
        pause_reason: The reason of the pause; empty without one.
        sent: Requests so far.
        refused: How many of them were answered with a 429.
        refused_for: How many of them for what: ``"quota"``, ``"pause"`` (the server wants no
            requests although some are left), ``"overload"`` (it may be asked again at once) or
            ``"ban"`` (of more than an hour).
        last_refusal: The reason of the last one; ``None`` if there was none.
        earned: Requests that the limit would have allowed since the first one.
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
        """The part of the limit that is in use, from 0 to 1; ``None`` without a rate limit."""
        return None if self.limit is None else min(1.0, self.used / self.limit)
