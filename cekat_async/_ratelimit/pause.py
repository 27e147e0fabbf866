"""Pauses of all requests, and the waits that they end with an error."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, TypeVar

from cekat_async._ratelimit.clock import time_now
from cekat_async._ratelimit.server.refusals import RefusalKind
from cekat_async.errors import APIStatusError, RateLimitError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cekat_async._ratelimit.server.outcome import Outcome

__all__ = [
    "LONG_PAUSE",
    "PausableWaits",
    "Pause",
    "PauseListener",
    "build_pause_error",
    "find_pause",
    "set_resumes_at",
]

T = TypeVar("T")

LONG_PAUSE = 60.0
"""Seconds. A server with a quota per minute never asks for a longer pause."""

# Servers can ask for any number of seconds, but dates end in the year 9999.
_LONGEST_PAUSE = 100 * 365 * 86_400.0


class PauseListener(Protocol):
    """An object to which a limiter reports its pauses."""

    def pause_begun(self, seconds: float, reason: str) -> None:
        """Receive the length of a pause in seconds, and its reason."""
        ...


class Pause:
    """The current or last pause: its end and its reason.

    A caller waits at most ``longest`` seconds. ``None`` means no limit.
    """

    def __init__(self, longest: float | None) -> None:
        self.until, self.reason = 0.0, ""
        self._longest = math.inf if longest is None else longest
        # For pauses that the server asked for: the end of the last one, and their total seconds.
        self._server_until = self._server_seconds = 0.0

    def get_rest(self, now: float) -> float:
        return max(0.0, self.until - now)

    def get_server_time(self, now: float) -> float:
        """Return how many seconds of pauses the server has asked for so far."""
        return self._server_seconds - max(0.0, self._server_until - now)

    def extend(self, seconds: float, reason: str, now: float) -> None:
        """Extend the pause to this many seconds from now, unless it already lasts longer."""
        if now + seconds > self.until:
            self.until, self.reason = now + seconds, reason

    def count_server_time(self, seconds: float, now: float) -> None:
        """Count this many seconds from now as a pause that the server asked for."""
        if now + seconds > self._server_until:
            self._server_seconds += now + seconds - max(now, self._server_until)
            self._server_until = now + seconds

    def find_exceeded_limit(self, deadline: float, server_time: float, now: float) -> str | None:
        """Return which limit of a caller the current pause exceeds, or ``None``.

        Args:
            deadline: The time until which the caller can wait.
            server_time: The highest result of :meth:`get_server_time` that the caller accepts.
            now: The present time.
        """
        if self.until <= now:
            return None
        is_servers = self.until == self._server_until
        left = server_time - self.get_server_time(now) if is_servers else math.inf
        return self.find_limit_before(self.until, deadline, left, now)

    def find_limit_before(self, at: float, deadline: float, left: float, now: float) -> str | None:
        """Return the first limit of a caller if it is before ``at``. ``left`` is in seconds."""
        end, name = min(
            (deadline, "Timeout.deadline"),
            (now + left, "Timeout.request"),
            (now + self._longest, "RateLimit.longest_hold"),
        )
        return name if at > end else None


@dataclass
class _Limits:
    """The limits of one wait, and the error of the pause that ended it."""

    deadline: float
    server_time: float
    error: RateLimitError | None = None


class PausableWaits:
    """All waits that a pause may end."""

    def __init__(self, pause: Pause) -> None:
        self._pause = pause
        self._running: dict[asyncio.Timeout, _Limits] = {}

    async def run(self, wait: Callable[[], Awaitable[T]], deadline: float, pauses: float) -> T:
        """Return the result of ``wait``, unless a pause is too long for the caller.

        Args:
            wait: Returns the awaitable. It is cancelled as soon as such a pause begins.
            deadline: Until when the caller can wait, on the event loop's clock.
            pauses: For how many seconds of server pauses the caller can wait.

        Raises:
            RateLimitError: A pause lasts longer than the caller can wait, or longer than
                ``RateLimit.longest_hold``.
        """
        limits = _Limits(deadline, self._pause.get_server_time(time_now()) + pauses)
        limits.error = self._find_error(limits)
        if limits.error is None:
            # The timeout has no time at first. A pause that is too long sets it to now.
            timeout = asyncio.timeout(None)
            try:
                async with timeout:
                    self._running[timeout] = limits
                    return await wait()
            except TimeoutError:
                if limits.error is None:
                    raise
            finally:
                self._running.pop(timeout, None)
        raise limits.error

    def end_those_too_short(self) -> None:
        """End the waits of callers for whom the current pause is too long."""
        now = time_now()
        for timeout, limits in list(self._running.items()):
            limits.error = self._find_error(limits)
            if limits.error is not None:
                del self._running[timeout]
                timeout.reschedule(now)

    def _find_error(self, limits: _Limits) -> RateLimitError | None:
        now, pause = time_now(), self._pause
        limit = pause.find_exceeded_limit(limits.deadline, limits.server_time, now)
        if limit is None:
            return None
        return build_pause_error(pause.reason, pause.get_rest(now), limit)


def build_pause_error(reason: str, seconds: float, limit: str) -> RateLimitError:
    """Return the error for a call that would have to wait longer than ``limit``."""
    message = f"{reason}: requests resume in {seconds:.0f} s"
    error = RateLimitError(message, status=HTTPStatus.TOO_MANY_REQUESTS)
    set_resumes_at(error, seconds, limit)
    return error


def set_resumes_at(error: APIStatusError, seconds: float, limit: str) -> None:
    """Record on an error when the server accepts requests again, and why it is not retried."""
    error.retry_after = seconds
    error.resumes_at = datetime.now(UTC) + timedelta(seconds=min(seconds, _LONGEST_PAUSE))
    error.add_note(f"not retried: a pause of {seconds:.0f} s exceeds {limit}")


def find_pause(outcome: Outcome, refusals_in_a_row: int, per: float) -> float:
    """Return for how many seconds to send nothing after a refusal.

    Args:
        outcome: The refusal.
        refusals_in_a_row: How many there were since the last success, including this one.
        per: The length of the limiter's window in seconds.
    """
    if outcome.asked is not None:
        return outcome.asked
    if outcome.refusal is RefusalKind.OVERLOAD:
        # 1, 2, 4, ... seconds, because the refusal may come from a quota without headers.
        # 2.0**1024 would be too large for a float.
        return min(2.0 ** min(refusals_in_a_row - 1, 64), LONG_PAUSE)
    return outcome.get_reset(default=per)
