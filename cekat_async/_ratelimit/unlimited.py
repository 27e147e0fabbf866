"""No pace: what a limiter goes by when pacing is switched off. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cekat_async._ratelimit.sent_log import Permit
from cekat_async._ratelimit.turn import Slot, Terms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cekat_async._ratelimit.headers import QuotaStatement

__all__ = ["Unlimited"]


class Unlimited:
    """No pace at all: each request goes as soon as it is wanted.

    Attributes:
        refused: How many requests were refused so far.
        under_way: Requests that are not settled yet.
    """

    # A 429 that does not say for how long holds for a period: none, it is left to the backoff.
    terms = Terms(0, 0.0, "unpaced")

    def __init__(self) -> None:
        self.refused = 0
        self.under_way = 0

    def used(self, now: float) -> int:  # noqa: ARG002 - the interface is Scheduler's
        """Return 0: nothing is counted."""
        return 0

    def remaining(self, now: float) -> int | None:  # noqa: ARG002
        """Return ``None``: nobody asks."""
        return None

    def earned(self, now: float) -> float:  # noqa: ARG002
        """Return infinity: nothing is bounded."""
        return math.inf

    def next(self, now: float) -> Slot:
        """Return that it may go now."""
        return Slot(now, paced=False)

    def take(self, turn: Slot, now: float) -> Permit:  # noqa: ARG002
        """Let a request go out."""
        self.under_way += 1
        return Permit(now)

    def rest(self, now: float) -> None:
        """Take no notice."""

    def lost(self, now: float, *, sent: bool) -> None:  # noqa: ARG002
        """Settle a request that got no reply."""
        self.under_way -= 1

    def answered(
        self,
        permit: Permit,  # noqa: ARG002
        said: Iterable[QuotaStatement],  # noqa: ARG002
        now: float,  # noqa: ARG002
        *,
        refused: bool,
    ) -> None:
        """Settle a request that got a reply."""
        self.under_way -= 1
        self.refused += refused
