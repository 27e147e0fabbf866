"""The clock of the limiter."""

from __future__ import annotations

import asyncio
import time

__all__ = ["time_now"]

_COARSE = frozenset({"uvloop", "winloop"})


def time_now() -> float:
    """Return the exact time on the clock of the running loop's timers.

    uvloop's clock counts whole milliseconds, and does not advance during one iteration of the loop.
    With such a clock, a reply would seem older than it is, and the limiter would reuse the place of
    its request too early. Because uvloop's clock is based on the system's monotonic clock, this
    function reads the monotonic clock directly.
    """
    loop = asyncio.get_running_loop()
    is_coarse = type(loop).__module__ in _COARSE
    return time.monotonic() if is_coarse else loop.time()
