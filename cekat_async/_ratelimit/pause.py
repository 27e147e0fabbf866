"""A pause of all requests, and the error for calls that cannot wait for its end. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from cekat_async.errors import APIStatusError, RateLimitError

__all__ = ["Pause", "build_pause_error", "set_resumes_at"]

# Servers can ask for any number of seconds; dates end in the year 9999.
_LONGEST_PAUSE = 100 * 365 * 86_400.0


class Pause:
    """The current pause, or the last one: until when, and who asked for it, or what for.

    A caller waits at most ``longest`` seconds; ``None`` for no limit.
    """

    def __init__(self, longest: float | None) -> None:
        self.until, self.reason = 0.0, ""
        self._longest = math.inf if longest is None else longest

    def get_rest(self, now: float) -> float:
        return max(0.0, self.until - now)

    def extend(self, seconds: float, reason: str, now: float) -> None:
        """Make it last this many seconds from now, unless it already lasts longer."""
        if now + seconds > self.until:
            self.until, self.reason = now + seconds, reason

    def exceeds(self, deadline: float, now: float) -> bool:
        """Whether it is on, and ends too late for a caller that can wait until ``deadline``."""
        return self.until > now and self.is_too_late(self.until, deadline, now)

    def is_too_late(self, at: float, deadline: float, now: float) -> bool:
        """Whether a time is too late for a caller that can wait until ``deadline``."""
        return at > min(deadline, now + self._longest)


def build_pause_error(reason: str, seconds: float) -> RateLimitError:
    """Return the error for a call that would have to wait too long."""
    error = RateLimitError(f"{reason}: {seconds:.0f} s to go", status=HTTPStatus.TOO_MANY_REQUESTS)
    set_resumes_at(error, seconds)
    return error


def set_resumes_at(error: APIStatusError, seconds: float) -> None:
    """Set on an error when the server accepts requests again, and why it is not retried."""
    error.retry_after = seconds
    error.resumes_at = datetime.now(UTC) + timedelta(seconds=min(seconds, _LONGEST_PAUSE))
    error.add_note(
        f"not tried again: {seconds:.0f} s would outlast the deadline of the call, "
        "or RateLimit.longest_hold"
    )
