"""When a request may be sent, and what it waits for. Pure."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import NamedTuple

__all__ = ["Slot", "WaitReason"]


class WaitReason(StrEnum):
    """What a request waits for.

    Attributes:
        NOTHING: It may be sent now.
        FIRST_REPLY: The reply to the very first request, which shows what is allowed.
        WINDOW: A place in a window that is full of our own requests.
        PACE: Its turn in the even pace.
        OTHERS: Others need what is left.
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
        reason: What it waits for.
        paced: Whether it takes its place in an even pace; else it is sent as soon as it is wanted.
        is_burst: Whether it takes from what idle time has saved up.
        exhausted: Whether it waits for the server to grant anything at all.
        remaining: How much the server reports as left; infinite if it does not.
    """

    at: float
    reason: WaitReason = WaitReason.PACE
    paced: bool = True
    is_burst: bool = False
    exhausted: bool = False
    remaining: float = math.inf
