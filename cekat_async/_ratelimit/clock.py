"""The clock that requests are counted by."""

from __future__ import annotations

import asyncio
import time

__all__ = ["time_now"]

_COARSE = frozenset({"uvloop", "winloop"})


def time_now() -> float:
    """Return the time by which the running loop's timers go, to the moment.

    The clock of uvloop stands still for as long as a turn of the loop takes, and counts whole
    milliseconds. By it a reply would be written down as older than it is, and its place in the
    window be taken again too soon. It is the system's, so that one can look there.
    """
    loop = asyncio.get_running_loop()
    is_coarse = type(loop).__module__ in _COARSE
    return time.monotonic() if is_coarse else loop.time()
