"""Estimates how many requests the server would grant now, and how many other clients need. Pure."""

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

# If ``remaining: 0`` is doubtful, the client tests it this many times per window.
_PROBES = 60
# While other clients are present, this client keeps at least this fraction of its pace, because
# only replies show how much the others use.
_LEAST_PART = 1 / 20
# This client uses the requests that others leave over during this fraction of a window.
_SURPLUS_TIME = 1 / 2


class Remaining:
    """Knows how many requests are left for this client now, and when more will be available.

    Args:
        sent: The log of this client's requests.
        pace: The rate limit of this client.
        per: The length in seconds of the window for which the server reports ``remaining``.
    """

    def __init__(self, sent: SentLog, pace: Terms, per: float) -> None:
        self._sent = sent
        self._pace, self._per = pace, per
        self._server = ServerQuota()
        self._reliability = HeaderReliability()
        self._others = OtherClients()

    def set_terms(self, pace: Terms, per: float) -> None:
        """Use another pace and another window from now on."""
        self._pace, self._per = pace, per

    def get_reported(self, now: float) -> int | None:
        """Return the remaining requests in the newest report; ``None`` if it is outdated."""
        return int(self._server.remaining) if self.is_valid(now) else None

    def is_valid(self, now: float) -> bool:
        """Whether the newest report is both trusted and current."""
        is_trusted = now >= self._reliability.trusts_zero_from
        return is_trusted and self._server.is_current(now, self._per)

    def get_expiry(self) -> float:
        """Return when the newest report becomes invalid."""
        return self._server.get_expiry(self._per)

    def allows_burst(self, now: float) -> bool:
        """Whether a burst may use the remaining requests, because no other client needs them."""
        is_trusted = self.is_valid(now) and now >= self._reliability.trusts_remaining_from
        return is_trusted and not self._others.are_present(now)

    def is_all_ours(self, now: float) -> bool:
        """Whether this client alone has used the missing part of the quota.

        If so, the sent log shows when the server gives this part back. The log is more exact than
        the reset, which may be up to two seconds late.
        """
        return not self._server.is_continuous and not self._others.are_present(now)

    def get(self, now: float) -> float:
        """Return how many requests the server would still grant; infinite without a report."""
        if not self.is_valid(now):
            return math.inf
        server = self._server
        margin = self._others.get_margin(now, self._pace.limit, server.most_remaining)
        remaining = server.remaining - self._sent.in_flight - margin
        return remaining + self._count_given_back(now) if server.is_continuous else remaining

    def get_time_of_more(self, remaining: float, now: float) -> tuple[float, bool]:
        """Return when a request is possible again, and whether that request tests a report."""
        if self._is_zero_doubtful(now):
            return self._server.received_at + self._per / _PROBES, True
        end = self._server.resets_at
        if not self._server.is_continuous:
            return end, False
        refill = self._get_refill_rate()
        refilled = now + (1 - remaining) / refill if refill else math.inf
        at = min(refilled, self._sent.next_free(now, self._per))
        # At ``end``, the whole quota should be available. A single request tests this.
        return (at if self._sent.in_flight else min(at, end)), False

    def is_used_up(self) -> bool:
        """Whether the server reports that nothing is left until its window ends."""
        return not self._server.is_continuous and self._server.remaining <= 0

    def get_turn_beside_others(self, remaining: float, now: float) -> float:
        """Return the time at which more requests remain than others need before the next refill."""
        until = self._server.resets_at
        if self._server.is_continuous:
            if now >= self._sent.began_at + self._per:
                return -math.inf  # after a window, others' requests are given back
            until = self._sent.next_free(now, self._per)
        return self._others.get_turn(remaining, until, now)

    def get_least_pace(self) -> float:
        """Return the requests per second that this client sends even if other clients use more."""
        return self._pace.rate * _LEAST_PART

    def get_pace_beside_others(self, remaining: float, now: float) -> float:
        """Return the requests per second that other clients leave over in a continuous quota."""
        theirs = self._others.get_rate(now)
        if not theirs or not self._server.is_continuous:
            return math.inf
        surplus = remaining / (self._per * _SURPLUS_TIME)
        return max(self._pace.rate - theirs + surplus, self.get_least_pace())

    def get_rest_of_window(self, remaining: float, now: float) -> tuple[float, float]:
        """Return how many requests others leave over in a fixed window, and the window's end."""
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
            # Until now, a small bucket looked like a large window that other clients had mostly
            # used.
            self._others.forget()
        self._look_for_others(reported, reported.remaining, permit, now)
        if not refused:
            # If a server has always reported 0, its reports may be wrong, unless the limit is 1.
            is_always_zero = self._server.most_remaining == 0 and self._pace.limit > 1
            after_zero = is_always_zero or permit.remaining < 1
            self._reliability.record_grant(
                reported.remaining, now, self._per, after_zero=after_zero
            )
        elif permit.remaining < 1:
            self._reliability.confirm_zero(now, self._per)

    def distrust(self, now: float) -> None:
        """Allow no burst for a while: the server refused requests although quota was left."""
        self._reliability.distrust_remaining(now, self._per)

    def leave_more(self, now: float) -> None:
        """Leave more for other clients from now on, because they used quota that we needed."""
        self._others.notice(now, self._per)
        self._others.add_caution(self._pace.limit)

    def _count_given_back(self, now: float) -> float:
        """Return how many requests were given back since the newest report of a continuous quota.

        The result is the measured refill or the number of our own expired requests, whichever is
        larger. Both are limited by our pace.
        """
        expired = self._sent.count_expired(now, self._per)
        expired -= self._sent.count_expired(self._server.received_at, self._per)
        time = now - self._server.measured_at
        return max(self._get_refill_rate() * time, min(expired, 1 + self._pace.rate * time))

    def _get_refill_rate(self) -> float:
        """Return how fast a continuous quota refills, minus what other clients use."""
        # A full bucket does not show how fast it would refill.
        most, server = self._pace.rate, self._server
        return most if server.is_full else min(server.get_refill_rate(), most)

    def _is_zero_doubtful(self, now: float) -> bool:
        """Whether to test ``remaining: 0``, because this client has used too little to explain it.

        Without the test, a server that always reports 0 would stop the client permanently.
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
        """Notice other clients if more of the quota is used than this client can have used."""
        if reported.limit is None:
            return
        is_continuous = self._server.is_continuous
        # A bucket may be smaller than the limit.
        whole = self._server.most_remaining + 1 if is_continuous else reported.limit
        # At most these requests are ours: those in the window when this request was sent, and those
        # sent later.
        ours = self._sent.total - self._sent.count_expired(permit.sent, self._per)
        theirs = min(whole, reported.limit) - remaining - ours
        if theirs > 1:
            self._others.notice(now, self._per)
        if remaining:
            elapsed = min(self._per, now - self._sent.began_at)
            if not is_continuous:
                elapsed = self._per - max(0.0, self._server.resets_at - now)
            self._others.record(max(0, theirs), elapsed, self._per)
