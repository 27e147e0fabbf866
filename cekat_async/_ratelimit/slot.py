"""The time at which a request may be sent, and the reason for waiting. Pure."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import NamedTuple

__all__ = ["Slot", "WaitReason"]


class WaitReason(StrEnum):
    """The reason why a request waits.

    Attributes:
        NOTHING: The request may be sent now.
        FIRST_REPLY: The very first request has no reply yet, and its reply shows the limits.
        WINDOW: The window is full of our own requests.
        PACE: The next interval of the even pace has not begun.
        OTHERS: Other clients need the remaining requests.
        SERVER: The server reports that no requests are left.
        DAY: ``RateLimit.per_day`` is used up.
        PAUSE: A pause that the server asked for has not ended.
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
    """The time at which the next request may be sent, as far as is known now.

    Attributes:
        at: The time; infinite if a reply has to arrive first.
        reason: The reason why the request waits.
        paced: True if the request also waits for the even pace.
        is_burst: True if the request uses the credit saved up while idle.
        exhausted: True if the quota is used up and the server grants nothing before ``at``.
        remaining: The remaining requests that the server reports; infinite without a report.
    """

    at: float
    reason: WaitReason = WaitReason.PACE
    paced: bool = True
    is_burst: bool = False
    exhausted: bool = False
    remaining: float = math.inf
