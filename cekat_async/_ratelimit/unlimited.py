"""The scheduler of a limiter without a rate limit. It sends every request immediately. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cekat_async._ratelimit.sent_log import Permit
from cekat_async._ratelimit.server.limit_estimate import Terms
from cekat_async._ratelimit.server.refusals import RefusalHistory
from cekat_async._ratelimit.slot import Slot, WaitReason

if TYPE_CHECKING:
    from cekat_async._ratelimit.server.outcome import Outcome

__all__ = ["Unlimited"]


class Unlimited:
    """Allows every request immediately. This class has the same interface as ``Scheduler``.

    Attributes:
        refusals: The refusals so far.
        in_flight: The number of sent requests that have neither a reply nor an error yet.
    """

    # After a 429 without a Retry-After, requests pause for one window. This scheduler uses 0
    # seconds, because the backoff is enough.
    terms = Terms(0, 0.0, "unpaced")
    windows: tuple[Terms, ...] = ()
    server_per = 0.0
    trusts_server = True

    def __init__(self) -> None:
        self.refusals = RefusalHistory()
        self.in_flight = 0

    def used(self, now: float, per: float | None = None) -> int:  # noqa: ARG002 - the interface is Scheduler's
        return 0

    def remaining(self, now: float) -> int | None:  # noqa: ARG002
        return None

    def earned(self, now: float) -> float:  # noqa: ARG002
        return math.inf

    def next_slot(self, now: float) -> Slot:
        return Slot(now, WaitReason.NOTHING, paced=False)

    def take(self, slot: Slot, now: float) -> Permit:  # noqa: ARG002
        self.in_flight += 1
        return Permit(now)

    def note_idle(self, now: float) -> None:
        """No-op: there is no credit to save."""

    def settle(self, now: float, *, sent: bool) -> None:  # noqa: ARG002
        self.in_flight -= 1

    def observe(self, permit: Permit, outcome: Outcome, now: float) -> None:  # noqa: ARG002
        self.in_flight -= 1
        if outcome.refusal is not None:
            self.refusals.add(outcome.refusal)
