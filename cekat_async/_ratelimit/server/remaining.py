"""What the server would still grant now, by its newest report, and what others need of it. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cekat_async._ratelimit.server.other_clients import OtherClients
from cekat_async._ratelimit.server.server_quota import (
    RESET_SLACK,
    HeaderReliability,
    ServerQuota,
)

if TYPE_CHECKING:
    from cekat_async._ratelimit.sent_log import Permit, SentLog
    from cekat_async._ratelimit.server.headers import QuotaStatement
    from cekat_async._ratelimit.server.limit_estimate import Terms

__all__ = ["Remaining"]

# ``remaining: 0`` is tested this many times a window, if it is doubtful.
_PROBES = 60
# At least this part of the pace is kept beside others: its replies show what they take.
_LEAST_PART = 1 / 20
# What others leave beyond their usual part is used up during this part of a window.
_SURPLUS_TIME = 1 / 2


class Remaining:
    """How many requests are left to this client now, and when there will be more.

    Args:
        sent: The requests of this client.
        pace: The rate that it keeps.
        per: Seconds of the window that the server's reports are about.
    """

    def __init__(self, sent: SentLog, pace: Terms, per: float) -> None:
        self._sent = sent
        self._pace, self._per = pace, per
        self._server = ServerQuota()
        self._reliability = HeaderReliability()
        self._others = OtherClients()

    def set_terms(self, pace: Terms, per: float) -> None:
        """Compute with another pace and window from now on."""
        self._pace, self._per = pace, per

    def get_reported(self, now: float) -> int | None:
        """Return what the server last reported as left; ``None`` if that is not valid any more."""
        return int(self._server.remaining) if self.is_valid(now) else None

    def is_valid(self, now: float) -> bool:
        """Whether the newest report counts."""
        is_trusted = now >= self._reliability.trusts_zero_from
        return is_trusted and self._server.is_current(now, self._per)

    def get_expiry(self) -> float:
        """Return until when the newest report is valid."""
        return self._server.get_expiry(self._per)

    def allows_burst(self, now: float) -> bool:
        """Whether what is left may be used at once, for it is reported and nobody else needs it."""
        is_trusted = self.is_valid(now) and now >= self._reliability.trusts_remaining_from
        return is_trusted and not self._others.are_present(now)

    def is_all_ours(self, now: float) -> bool:
        """Whether this client alone has used what is missing.

        Then the sent log knows when it is given back, more exactly than the reset, which may be up
        to two seconds late.
        """
        return not self._server.is_continuous and not self._others.are_present(now)

    def get(self, now: float) -> float:
        """Return how many requests the server would still grant; infinite if it does not report."""
        if not self.is_valid(now):
            return math.inf
        server = self._server
        margin = self._others.get_margin(now, self._pace.limit, server.most_remaining)
        remaining = server.remaining - self._sent.in_flight - margin
        return remaining + self._count_given_back(now) if server.is_continuous else remaining

    def get_time_of_more(self, remaining: float, now: float) -> tuple[float, bool]:
        """Return when more is left, after nothing was, and whether that is a test of the report."""
        if self._is_zero_doubtful(now):
            return self._server.received_at + self._per / _PROBES, True
        end = self._server.resets_at
        if not self._server.is_continuous:
            return end, False
        refill = self._get_refill_rate()
        refilled = now + (1 - remaining) / refill if refill else math.inf
        at = min(refilled, self._sent.next_free(now, self._per))
        # All should be given back by then; one request tests that, and not many.
        return (at if self._sent.in_flight else min(at, end)), False

    def is_used_up(self) -> bool:
        """Whether the server reports that nothing is left until its window ends."""
        return not self._server.is_continuous and self._server.remaining <= 0

    def get_turn_beside_others(self, remaining: float, now: float) -> float:
        """Return when more is left than others will probably take until it is given back."""
        until = self._server.resets_at
        if self._server.is_continuous:
            if now >= self._sent.began_at + self._per:
                return -math.inf  # as many of theirs as they take are given back by now
            until = self._sent.next_free(now, self._per)
        return self._others.get_turn(remaining, until, now)

    def get_least_pace(self) -> float:
        """Return the requests a second that are sent beside others in any case."""
        return self._pace.rate * _LEAST_PART

    def get_pace_beside_others(self, remaining: float, now: float) -> float:
        """Return the requests a second that are left to this client in a continuous quota."""
        theirs = self._others.get_rate(now)
        if not theirs or not self._server.is_continuous:
            return math.inf
        surplus = remaining / (self._per * _SURPLUS_TIME)
        return max(self._pace.rate - theirs + surplus, self.get_least_pace())

    def get_rest_of_window(self, remaining: float, now: float) -> tuple[float, float]:
        """Return how many requests are left to this client in a fixed window, and until when."""
        if self._server.is_continuous:
            return math.inf, math.inf
        end = self._server.resets_at - RESET_SLACK
        return max(0.0, remaining - self._others.get_rate(now) * max(0.0, end - now)), end

    def learn(self, reported: QuotaStatement, permit: Permit, now: float, *, refused: bool) -> None:
        """Learn from the report in a reply."""
        was_continuous = self._server.is_continuous
        self._server.update(reported, permit, now, self._per)
        if reported.remaining is None:
            return
        if self._server.is_continuous and not was_continuous:
            # A small bucket looks like a window of which others have taken most.
            self._others.forget()
        self._look_for_others(reported, reported.remaining, permit, now)
        if not refused:
            # A server that never reported anything else may be wrong, unless the limit is 1.
            is_always_zero = self._server.most_remaining == 0 and self._pace.limit > 1
            after_zero = is_always_zero or permit.remaining < 1
            self._reliability.record_grant(
                reported.remaining, now, self._per, after_zero=after_zero
            )
        elif permit.remaining < 1:
            self._reliability.confirm_zero(now, self._per)

    def distrust(self, now: float) -> None:
        """Allow no burst for a while: the server refused what it reported as left."""
        self._reliability.distrust_remaining(now, self._per)

    def leave_more(self, now: float) -> None:
        """Leave others more from now on: they were faster."""
        self._others.notice(now, self._per)
        self._others.add_caution(self._pace.limit)

    def _count_given_back(self, now: float) -> float:
        """Return how many were given back since the newest report of a continuous quota.

        That is what was measured, or what was ours, but no faster than our pace.
        """
        expired = self._sent.count_expired(now, self._per)
        expired -= self._sent.count_expired(self._server.received_at, self._per)
        time = now - self._server.measured_at
        return max(self._get_refill_rate() * time, min(expired, 1 + self._pace.rate * time))

    def _get_refill_rate(self) -> float:
        """Return how fast a continuous quota refills, less what others take."""
        # A full bucket does not show how much more would have been given back.
        most, server = self._pace.rate, self._server
        return most if server.is_full else min(server.get_refill_rate(), most)

    def _is_zero_doubtful(self, now: float) -> bool:
        """Whether to test ``remaining: 0``, because this client has used so little.

        A server that always reports 0 would otherwise stop the client for good.
        """
        return (
            now >= self._reliability.probes_from
            and self._server.remaining <= 0
            and not self._sent.in_flight
            and self._sent.count(now, self._pace.per)
            <= max(self._reliability.contradictions, self._pace.limit // 10)
        )

    def _look_for_others(
        self, reported: QuotaStatement, remaining: int, permit: Permit, now: float
    ) -> None:
        """Notice others, if more is missing from the server's quota than can be ours."""
        if reported.limit is None:
            return
        is_continuous = self._server.is_continuous
        # A bucket may be smaller than the limit.
        whole = self._server.most_remaining + 1 if is_continuous else reported.limit
        # Ours are at most those in the window when this one was sent, and those sent since.
        ours = self._sent.total - self._sent.count_expired(permit.sent, self._per)
        theirs = min(whole, reported.limit) - remaining - ours
        if theirs > 1:
            self._others.notice(now, self._per)
        if remaining:
            elapsed = min(self._per, now - self._sent.began_at)
            if not is_continuous:
                elapsed = self._per - max(0.0, self._server.resets_at - now)
            self._others.record(max(0, theirs), elapsed, self._per)
