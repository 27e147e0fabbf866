"""When the next request may go out, and by which terms. Pure."""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["Slot", "Terms"]


class Slot(NamedTuple):
    """When the next request may go out, as far as is known now.

    Attributes:
        at: The time; infinite if a reply has to come first.
        paced: Whether it takes its place in an even pace; else it goes as soon as it is wanted.
        spent: Whether it waits for the server to grant anything at all.
        room: How much the server says is left; infinite if it does not.
    """

    at: float
    paced: bool = True
    spent: bool = False
    room: float = math.inf


class Terms(NamedTuple):
    """What a pace keeps to.

    Attributes:
        limit: Requests in any ``per`` seconds that are believed to be ours.
        per: Seconds of the window.
        source: Where the limit comes from; see :class:`Belief`.
    """

    limit: int
    per: float
    source: str
