"""Estimates the length of the server's window from its replies. Pure.

Many servers state a limit without the length of its window. The client starts with a guess, such as
a minute. A report can prove that the guess is too long. The report shows how many requests the
server still counts, so all older requests must have left the window. The proof depends on how the
server counts, and the server does not state this either:

- A *sliding* window is shorter than the age of a request that has left it.
- A *fixed* window ends when requests leave it. The window is at most as long as the time between
  two such ends, and at most as long as the reset that is stated right after an end.
- A *bucket* is refilled with ``limit`` requests per window.

For each of the three ways to count, :class:`WindowLength` keeps the longest window that is still
possible. The class assumes the longest of these three windows. Other clients reduce ``remaining``,
so they can hide evidence, but cannot create it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from cekat_async._ratelimit.server.headers import SHORTEST_WINDOW

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Report", "WindowLength"]

# A shorter window replaces the guess only if the difference is more than a tenth.
_CLEARLY = 0.9
# A window is at least as long as the time until its reset. A larger guess replaces the present
# guess only if it is longer by more than a tenth.
_GROWTH = 1.1
# A reset is rounded to whole seconds, up or down.
_ROUNDING = 1.0
# A new end of a window is compared with up to ``_ENDS`` earlier ends, and a new report with up to
# ``_REPORTS`` earlier reports.
_ENDS, _REPORTS = 32, 16
# This many reports are kept, because many may arrive while a request is on its way.
_MOST_REPORTS = 256
# The refill of a bucket is measured over at least this many requests.
_ROUND = 8
# A faster refill is assumed if we use most of the limit and the bucket still does not run low.
_LITTLE, _MOST, _LEAST_STEP = 0.4, 0.8, 0.95
# An assumed window that was too short is lengthened by ``_FIRST_EXCESS``, a fraction of it. The
# longer window is kept for ``_DOUBT`` times the guess.
_FIRST_EXCESS, _DOUBT = 0.1, 2


class Report(NamedTuple):
    """The report in the reply to a granted request.

    Attributes:
        limit: The requests per window.
        remaining: The requests left in the window.
        reset: The seconds until the window ends; ``None`` if the reply does not state them.
        sent: The time at which the request was sent.
        received: The time at which the reply arrived.
    """

    limit: int
    remaining: int
    reset: float | None
    sent: float
    received: float


class WindowLength:
    """The longest window that the reports of one limit allow, in seconds.

    The result is never shorter than the server's window, except while the client tests a bucket for
    a faster refill. This holds under four assumptions:

    - The server counts in one of the three ways, and a bucket has as many tokens as the limit.
    - The window is not longer than the guess.
    - Each one-way trip takes at least half of ``quickest``.
    - A stated reset is off by less than a second.

    Args:
        guess: The longest window to assume.
    """

    def __init__(self, guess: float) -> None:
        self._guess = guess
        self.restart()

    def restart(self, limit: int = 0) -> None:
        """Start over with the guess, and forget all evidence."""
        self._limit = limit
        self._shortest, self._shortest_until = SHORTEST_WINDOW, math.inf
        self._excess = _FIRST_EXCESS
        self._granted = _GrantedRequests()
        self._levels = _Levels()
        self._sliding = self._guess
        self._fixed = _FixedWindows(self._guess)
        self._bucket = _Bucket(self._guess)

    @property
    def seconds(self) -> float:
        """The assumed length of the window."""
        longest = max(self._sliding, self._fixed.longest, self._bucket.longest, self._shortest)
        return longest if longest < _CLEARLY * self._guess else self._guess

    def lengthen(self, now: float) -> None:
        """Assume a window that is longer: by a tenth at first, then by two tenths, then by four."""
        self._shortest = self.seconds * (1 + self._excess)
        self._shortest_until = now + _DOUBT * self._guess
        self._excess *= 2

    def extend(self, seconds: float) -> None:
        """Assume a longer window, because the server's window lasts at least ``seconds``."""
        if seconds > _GROWTH * self._guess:
            self._guess = seconds
            self.restart(self._limit)

    def record(self, report: Report, *, quickest: float, in_flight: int, used: int) -> None:
        """Learn from a report.

        Args:
            report: The report.
            quickest: The seconds of the quickest round trip so far.
            in_flight: The number of requests without a reply when the report arrived.
            used: The number of our requests in the assumed window.
        """
        self.extend((report.reset or 0.0) - 2 * _ROUNDING)
        if report.limit != self._limit:
            self.restart(report.limit)
        if report.received > self._shortest_until:
            self._shortest, self._shortest_until = SHORTEST_WINDOW, math.inf
        # The server may have computed ``remaining`` before it counted the request.
        remembered = report.limit - report.remaining + 1
        forgotten_sent = self._granted.find_forgotten(report.sent, remembered)
        if forgotten_sent is not None:
            self._sliding = min(self._sliding, report.received - forgotten_sent - quickest)
        given_back = self._levels.compare(report, self._granted.count_settled(report.sent))
        self._fixed.record(given_back)
        self._bucket.record(given_back, quickest)
        is_limited = self.seconds == self._bucket.longest and used >= _MOST * report.limit
        self._bucket.ask_for_more(report, self._granted.total, is_limited=is_limited)
        self._granted.add(report)
        self._levels.add(report, self._granted.total + in_flight)


class _GrantedRequests:
    """The requests that the server has certainly counted, in the order of their replies."""

    def __init__(self) -> None:
        self._sent: list[float] = []
        self._received: list[float] = []
        self._deleted = 0

    @property
    def total(self) -> int:
        return self._deleted + len(self._sent)

    def add(self, report: Report) -> None:
        self._sent.append(report.sent)
        self._received.append(report.received)
        # The server may still count as many requests as the limit, and as many again may be in
        # flight.
        if len(self._sent) > 4 * report.limit + _REPORTS:
            half = len(self._sent) // 2
            del self._sent[:half], self._received[:half]
            self._deleted += half

    def count_settled(self, at: float) -> int:
        """Return how many of the requests had received a reply by the time ``at``."""
        return self._deleted + bisect_right(self._received, at)

    def find_forgotten(self, sent: float, remembered: int) -> float | None:
        """Return when the earliest request that the server no longer counts was sent.

        Args:
            sent: The time at which the reporting request was sent. The server has certainly counted
                only the requests that had a reply by then.
            remembered: The most requests that the server may still count, including the reporting
                one.

        Returns:
            ``None`` if the server may still count all of them.
        """
        end = bisect_right(self._received, sent)
        # The server counts the reporting request itself. So it no longer counts at least one of the
        # last ``remembered`` requests before that request.
        return min(self._sent[end - remembered : end]) if end >= remembered else None


class _GivenBack(NamedTuple):
    """The minimum number of requests that the server gave back between two reports."""

    requests: int
    before: Report
    after: Report


class _Levels:
    """The last reports, each with the most requests that the server may have counted by then."""

    def __init__(self) -> None:
        self._reports: list[tuple[Report, int]] = []

    def add(self, report: Report, counted: int) -> None:
        """Keep a report. The server had counted at most ``counted`` requests by then."""
        self._reports.append((report, counted))
        if len(self._reports) > _MOST_REPORTS:
            del self._reports[: _MOST_REPORTS // 2]

    def compare(self, report: Report, counted: int) -> list[_GivenBack]:
        """Compare a report with earlier reports. The server had counted ``counted`` other requests.

        A report is comparable only if it arrived before the request of this report was sent. The
        server may have made any other report later than this one, after other clients had used
        more.
        """
        end = bisect_right(self._reports, report.sent, key=lambda one: one[0].received)
        return [
            _GivenBack(report.remaining + counted + 1 - most - before.remaining, before, report)
            for before, most in self._reports[max(0, end - _REPORTS) : end]
        ]


class _FixedWindows:
    """The longest fixed window that the reports allow."""

    def __init__(self, longest: float) -> None:
        self.longest = longest
        # Each pair of times encloses the end of a window. The pairs do not overlap.
        self._ends: deque[tuple[float, float]] = deque(maxlen=_ENDS)

    def record(self, given_back: Iterable[_GivenBack]) -> None:
        """Record the end of a window if requests were given back between two reports."""
        ends = [one for one in given_back if one.requests > 0]
        if not ends:
            return
        last = max(ends, key=lambda one: one.before.sent)
        begin, end = last.before.sent, last.after.received
        if last.after.reset is not None:
            self.longest = min(self.longest, end - begin + last.after.reset + _ROUNDING)
        if self._ends and begin < self._ends[-1][1]:
            return  # this pair may enclose the same end
        for place, (first, _) in enumerate(self._ends):
            self.longest = min(self.longest, (end - first) / (len(self._ends) - place))
        self._ends.append((begin, end))


class _Bucket:
    """The longest time in which a bucket may refill completely."""

    def __init__(self, longest: float) -> None:
        self.longest = self._bound = self._guess = longest
        self._first: Report | None = None
        self._first_total = 0
        self._least_remaining = math.inf
        self._has_run_low = False

    def record(self, given_back: Iterable[_GivenBack], quickest: float) -> None:
        for requests, before, after in given_back:
            # ``remaining`` is rounded down.
            if requests > 1:
                seconds = max(0.0, after.received - before.sent - quickest)
                self._bound = min(self._bound, after.limit * seconds / (requests - 1))
        self.longest = min(self.longest, self._bound)

    def ask_for_more(self, report: Report, total: int, *, is_limited: bool) -> None:
        """Assume a faster refill if the bucket does not run low even though we use the whole limit.

        A full bucket does not show how fast it refills. A bucket that is not full shows the whole
        refill.
        """
        first, self._first = self._first, self._first or report
        if first is None:
            self._first_total, self._least_remaining = total, report.remaining
            return
        self._least_remaining = min(self._least_remaining, report.remaining)
        taken = total - self._first_total
        if taken < max(_ROUND, report.limit // 4):
            return
        self._first = None
        if self._least_remaining < report.limit * _LITTLE:
            given_back = max(1, report.remaining + taken - first.remaining)
            seconds = report.received - first.received
            measured = report.limit * seconds / given_back
            self.longest = min(max(self.longest, measured), self._bound)
            self._has_run_low = True
        elif is_limited and self._bound < _CLEARLY * self._guess:
            # If the bucket stays full, the refill time is more than halved. If the bucket runs low,
            # the refill time hardly changes.
            step = 1 + _LITTLE - self._least_remaining / report.limit
            self.longest *= _LEAST_STEP if self._has_run_low else min(_LEAST_STEP, step)
