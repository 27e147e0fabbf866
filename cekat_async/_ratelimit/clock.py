"""The clock of the limiter."""

from __future__ import annotations

import asyncio
import time

__all__ = ["time_now"]

_COARSE = frozenset({"uvloop", "winloop"})


def time_now() -> float:
    """Return the exact time on the clock of the running loop's timers.

    The clock of uvloop counts whole milliseconds, and stands still during a turn of the loop. A
    reply would be recorded as older than it is, and its place in the window be used too soon. That
    clock is the system's, so the system is asked.
    """
    loop = asyncio.get_running_loop()
    is_coarse = type(loop).__module__ in _COARSE
    return time.monotonic() if is_coarse else loop.time()
