"""A pause for everyone, and what is said to those who cannot wait for its end. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from cekat_async.errors import APIStatusError, RateLimitError

__all__ = ["Pause", "refusal", "write_resumption"]

# Servers can say any number of seconds; a calendar ends some day.
_AN_AGE = 100 * 365 * 86_400.0


class Pause:
    """The pause that is on, or was the last.

    Attributes:
        until: When it ends.
        why: Who asked for it, or what for.
    """

    def __init__(self, longest: float | None) -> None:
        """Make one that is over; nobody waits for more than ``longest`` seconds (None: they do)."""
        self.until, self.why = 0.0, ""
        self._longest = math.inf if longest is None else longest

    def left(self, now: float) -> float:
        """Return how many seconds are left of it."""
        return max(0.0, self.until - now)

    def prolong(self, seconds: float, why: str, now: float) -> None:
        """Let it last for so many seconds from now, if that is longer than it lasts anyway."""
        if now + seconds > self.until:
            self.until, self.why = now + seconds, why

    def outlasts(self, deadline: float, now: float) -> bool:
        """Whether it is on, and ends too late for who can wait until ``deadline``."""
        return self.until > now and self.is_too_late(self.until, deadline, now)

    def is_too_late(self, at: float, deadline: float, now: float) -> bool:
        """Whether a time is too late for who can wait until ``deadline``."""
        return at > min(deadline, now + self._longest)


def refusal(why: str, seconds: float) -> RateLimitError:
    """Return what is raised where a call would have to wait too long."""
    error = RateLimitError(f"{why}: {seconds:.0f} s to go", status=HTTPStatus.TOO_MANY_REQUESTS)
    write_resumption(error, seconds)
    return error


def write_resumption(error: APIStatusError, seconds: float) -> None:
    """Write on an error when to come back, and why it is not tried again."""
    error.retry_after = seconds
    error.resumes_at = datetime.now(UTC) + timedelta(seconds=min(seconds, _AN_AGE))
    error.add_note(
        f"not tried again: {seconds:.0f} s would outlast the deadline of the call, "
        "or RateLimit.longest_hold"
    )
