"""Pauses all requests, and ends waits with an error if a pause is too long for them."""

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
    """The end and the reason of the current pause, or of the last one.

    A caller waits at most ``longest`` seconds for its end. ``None`` means no limit.
    """

    def __init__(self, longest: float | None) -> None:
        self.until, self.reason = 0.0, ""
        self._longest = math.inf if longest is None else longest
        # The end of the last pause that the server asked for, and the total seconds of all these
        # pauses.
        self._server_until = self._server_seconds = 0.0

    def get_rest(self, now: float) -> float:
        return max(0.0, self.until - now)

    def get_server_time(self, now: float) -> float:
        """Return how many seconds the pauses that the server asked for have lasted so far."""
        return self._server_seconds - max(0.0, self._server_until - now)

    def extend(self, seconds: float, reason: str, now: float) -> None:
        """Extend the pause to ``seconds`` from now, unless its end is already later."""
        if now + seconds > self.until:
            self.until, self.reason = now + seconds, reason

    def count_server_time(self, seconds: float, now: float) -> None:
        """Count the next ``seconds`` as a pause that the server asked for."""
        if now + seconds > self._server_until:
            self._server_seconds += now + seconds - max(now, self._server_until)
            self._server_until = now + seconds

    def find_exceeded_limit(self, deadline: float, server_time: float, now: float) -> str | None:
        """Return the name of the caller's limit that the current pause exceeds, or ``None``.

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
        """Return the name of the caller's first limit if that limit ends before ``at``."""
        end, name = min(
            (deadline, "Timeout.deadline"),
            (now + left, "Timeout.request"),
            (now + self._longest, "RateLimit.longest_hold"),
        )
        return name if at > end else None


@dataclass
class _Limits:
    """The limits of one wait, and the error if a pause has ended the wait."""

    deadline: float
    server_time: float
    error: RateLimitError | None = None


class PausableWaits:
    """All waits that a pause may end."""

    def __init__(self, pause: Pause) -> None:
        self._pause = pause
        self._running: dict[asyncio.Timeout, _Limits] = {}

    async def run(self, wait: Callable[[], Awaitable[T]], deadline: float, pauses: float) -> T:
        """Return the result of ``wait``, or raise an error as soon as a pause is too long.

        Args:
            wait: A function that returns the awaitable. If a pause is too long, the awaitable is
                cancelled.
            deadline: The latest time until which the caller can wait, on the event loop's clock.
            pauses: The most seconds of server pauses that the caller can wait.

        Raises:
            RateLimitError: A pause lasts longer than the caller can wait, or longer than
                ``RateLimit.longest_hold``.
        """
        limits = _Limits(deadline, self._pause.get_server_time(time_now()) + pauses)
        limits.error = self._find_error(limits)
        if limits.error is None:
            # The timeout has no end at first. A pause that is too long sets the end to now.
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
        """End the waits for which the current pause is too long."""
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
    """Return the error for a call that a pause would make wait longer than ``limit``."""
    message = f"{reason}: requests resume in {seconds:.0f} s"
    error = RateLimitError(message, status=HTTPStatus.TOO_MANY_REQUESTS)
    set_resumes_at(error, seconds, limit)
    return error


def set_resumes_at(error: APIStatusError, seconds: float, limit: str) -> None:
    """Set the time when the server accepts requests again. Note why the call is not retried."""
    error.retry_after = seconds
    error.resumes_at = datetime.now(UTC) + timedelta(seconds=min(seconds, _LONGEST_PAUSE))
    error.add_note(f"not retried: a pause of {seconds:.0f} s exceeds {limit}")


def find_pause(outcome: Outcome, refusals_in_a_row: int, per: float) -> float:
    """Return the seconds for which the client sends nothing after a refusal.

    Args:
        outcome: The refusal.
        refusals_in_a_row: The number of refusals since the last success, including this one.
        per: The length of the limiter's window in seconds.
    """
    if outcome.asked is not None:
        return outcome.asked
    if outcome.refusal is RefusalKind.OVERLOAD:
        # The pauses are 1, 2, 4, ... seconds, because the quota may have no headers. 2.0**1024
        # would be too large for a float.
        return min(2.0 ** min(refusals_in_a_row - 1, 64), LONG_PAUSE)
    return outcome.get_reset(default=per)
