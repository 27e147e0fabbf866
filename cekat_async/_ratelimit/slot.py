"""The time at which a request may be sent, and the reason for waiting. Pure."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import NamedTuple

__all__ = ["Slot", "WaitReason"]


class WaitReason(StrEnum):
    """The reason why a request waits.

    Attributes:
        NOTHING: It may be sent now.
        FIRST_REPLY: The reply to the very first request, because it shows the limits.
        WINDOW: A slot in a window that is full of our own requests.
        PACE: The next interval of the even pace.
        OTHERS: Other clients need the requests that are left.
        SERVER: The server reports that nothing is left.
        DAY: ``RateLimit.per_day`` is used up.
        PAUSE: The end of a pause that the server asked for.
    """

    NOTHING = "nothing"
    FIRST_REPLY = "first reply"
    WINDOW = "window"
    PACE = "pace"
    OTHERS = "others"
    SERVER = "server"
    DAY = "day"
    PAUSE = "pause"


class Slot(NamedTuple):
    """When the next request may be sent, as far as is known now.

    Attributes:
        at: The time; infinite if a reply has to arrive first.
        reason: Why the request waits.
        paced: Whether the request also waits for the even pace.
        is_burst: Whether it uses the credit saved up while idle.
        exhausted: Whether the quota is used up, so that the server grants nothing before ``at``.
        remaining: Requests that the server reports as left; infinite without a report.
    """

    at: float
    reason: WaitReason = WaitReason.PACE
    paced: bool = True
    is_burst: bool = False
    exhausted: bool = False
    remaining: float = math.inf
