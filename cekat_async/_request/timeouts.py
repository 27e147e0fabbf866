"""Enforces ``Timeout.request`` and ``Timeout.deadline``. Ends all calls of a closed client.

``transport.py`` enforces ``Timeout.attempt`` for each exchange. aiohttp enforces
``Timeout.connect`` and ``Timeout.read``.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from weakref import WeakSet

from cekat_async.errors import ClientClosedError, DeadlineExceededError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cekat_async.config import Timeout

__all__ = ["CallTimer", "CallTimers", "closed_error"]

T = TypeVar("T")


class _Limit(NamedTuple):
    end: float
    name: str


class CallTimer:
    """Ends one call at ``Timeout.request`` or at ``Timeout.deadline``, whichever comes first.

    The deadline is a fixed time. For ``Timeout.request``, a clock starts at the first attempt.
    While the call waits in our own queue, this clock counts only the pauses that the server asked
    for.

    Args:
        limits: The time limits of the call.
        get_pause_time: Returns the total seconds of the server's pauses so far.

    Attributes:
        timeout: The context in which the call runs. The context cancels the call.
        deadline: The latest end of the call, on the event loop's clock.
    """

    def __init__(self, limits: Timeout, get_pause_time: Callable[[], float]) -> None:
        self._limits = limits
        self._get_pause_time = get_pause_time
        self.timeout = asyncio.timeout(limits.deadline)
        when = self.timeout.when()
        self.deadline = math.inf if when is None else when
        # The end of the limit while the clock runs, and the remaining seconds while it is stopped.
        self._request_end = self._left = math.inf
        self._pause_time_before = 0.0
        self._is_closed = False

    def enter_queue(self) -> None:
        """Stop the clock, because the call waits in our queue. Only pauses still count."""
        if self._request_end == math.inf:
            return  # the clock has not started yet, or there is no limit
        self._left = self._request_end - _now()
        self._pause_time_before = self._get_pause_time()
        self._request_end = math.inf
        self._reschedule()

    def leave_queue(self) -> None:
        """Start the clock, because an attempt begins."""
        left = self.server_time_left
        if left == math.inf and self._limits.request is not None:
            left = self._limits.request  # this is the first attempt
        self._request_end = _now() + left
        self._reschedule()

    @property
    def server_time_left(self) -> float:
        """The remaining seconds of ``Timeout.request``; infinite before the first attempt."""
        if self._request_end < math.inf:
            return self._request_end - _now()
        if self._left == math.inf:
            return math.inf
        return self._left - (self._get_pause_time() - self._pause_time_before)

    def find_exceeded_limit(self, seconds: float) -> str | None:
        """Return the limit that a wait would exceed, for example "the 300 s of Timeout.request"."""
        first = self.first_limit
        return first.name if _now() + seconds > first.end else None

    @property
    def first_limit(self) -> _Limit:
        """The limit that the call will reach first, with the time at which it ends."""
        if self._request_end < self.deadline:
            return _Limit(self._request_end, f"the {self._limits.request:g} s of Timeout.request")
        return _Limit(self.deadline, f"the {self._limits.deadline or 0:g} s of Timeout.deadline")

    def close(self) -> None:
        """End the call now."""
        self._is_closed = True
        if not self.timeout.expired():
            self.timeout.reschedule(_now())

    def _reschedule(self) -> None:
        end = min(self._request_end, self.deadline)
        when = None if end == math.inf else end
        # A call that is already being cancelled must not get a later end.
        if when != self.timeout.when() and not self._is_closed and not self.timeout.expired():
            self.timeout.reschedule(when)


class CallTimers:
    """The running calls of one client, each with its own timer.

    Args:
        limits: The time limits of each call.
        get_pause_time: Returns the total seconds of the server's pauses so far.

    Attributes:
        is_closed: True if the client was closed. Calls are then refused.
    """

    def __init__(self, limits: Timeout, get_pause_time: Callable[[], float]) -> None:
        self.is_closed = False
        self._limits = limits
        self._get_pause_time = get_pause_time
        self._running = set[CallTimer]()
        # The references are weak, because a program may derive a client for each of its calls.
        self._derived = WeakSet[CallTimers]()
        self._parent: CallTimers | None = None

    def derive(self, limits: Timeout) -> CallTimers:
        """Return timers with other limits. Closing this object also closes the returned one."""
        derived = CallTimers(limits, self._get_pause_time)
        # The reference keeps the parent timers alive, so that closing the first client closes these
        # timers too.
        derived._parent = self
        self._derived.add(derived)
        return derived

    def require_open(self) -> None:
        """Raise :class:`ClientClosedError` if the client was closed."""
        if self.is_closed:
            raise closed_error()

    async def enforce(
        self, call: Callable[[CallTimer], Awaitable[T]], *, was_sent: Callable[[], bool]
    ) -> T:
        """Return the result of ``call``, unless a limit or the closing of the client ends it first.

        Args:
            call: A function that runs the call. It receives the timer of the call, and calls the
                timer's methods when the call enters and leaves the queue.
            was_sent: Returns whether the call has sent a request. If not, the error says so.

        Raises:
            DeadlineExceededError: The call was cancelled at one of its limits.
            ClientClosedError: The client was closed before or during the call.
        """
        self.require_open()
        timer = CallTimer(self._limits, self._get_pause_time)
        try:
            async with timer.timeout:
                self._running.add(timer)
                return await call(timer)
        except TimeoutError:
            if not timer.timeout.expired():
                raise
        finally:
            self._running.discard(timer)
        if self.is_closed:
            raise ClientClosedError("the client was closed during a request")
        where = "" if was_sent() else ": the request was still queued"
        raise DeadlineExceededError(f"no reply within {timer.first_limit.name}{where}")

    def close(self) -> None:
        """Cancel all running calls, even those that are waiting."""
        self.is_closed = True
        for timer in self._running:
            timer.close()
        for derived in self._derived:
            derived.close()


def closed_error() -> ClientClosedError:
    """Return the error for a call of a client that was closed."""
    return ClientClosedError("the client is closed: make a new one")


def _now() -> float:
    return asyncio.get_running_loop().time()
