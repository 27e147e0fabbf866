"""When the next request may be sent. Pure: every time is given, and nothing waits here.

Four things decide, each with a file of its own: ``sent_log``, what this client itself has sent;
``server_quota``, what the server reports as left, and whether that can be relied on;
``limit_estimate``, how much the server grants at all; and ``other_clients``.
The sent log alone guarantees that no window ever holds more than the limit. The server's reports
can only slow the client down further, for others who share the quota, or allow a burst.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from cekat_async._ratelimit.burst_credit import BurstCredit
from cekat_async._ratelimit.limit_estimate import EarnedTotal, LimitEstimate
from cekat_async._ratelimit.other_clients import OtherClients
from cekat_async._ratelimit.sent_log import DAY, DailyLog, Permit, SentLog
from cekat_async._ratelimit.server_quota import RESET_SLACK, HeaderReliability, ServerQuota

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cekat_async._ratelimit.headers import QuotaStatement
    from cekat_async.config import RateLimit

__all__ = ["Scheduler", "Slot", "Terms"]

# Parts of the limit, as its divisors: what may be sent at once before the server's first reply,
# what is never sent at once, and by how much a client may be ahead of the even pace.
_INITIAL_BURST, _RESERVE, _LEAD = 30, 20, 100
# ``remaining: 0`` is tested this many times a window, if it is doubtful.
_PROBES = 60
# Two refusals within this many windows lower the limit.
_REPEATED = 2


class Slot(NamedTuple):
    """When the next request may be sent, as far as is known now.

    Attributes:
        at: The time; infinite if a reply has to arrive first.
        paced: Whether it takes its place in an even pace; else it is sent as soon as it is wanted.
        exhausted: Whether it waits for the server to grant anything at all.
        remaining: How much the server reports as left; infinite if it does not.
    """

    at: float
    paced: bool = True
    exhausted: bool = False
    remaining: float = math.inf


class Terms(NamedTuple):
    """The rate that a scheduler keeps.

    Attributes:
        limit: Requests in any ``per`` seconds that are probably ours.
        per: Seconds of the window.
        source: Where the limit comes from; see :class:`LimitEstimate`.
    """

    limit: int
    per: float
    source: str


class Scheduler:
    """Decides when the next request may be sent, and learns from the outcome of each.

    Attributes:
        terms: The rate that it keeps now.
        refused: How many requests were refused so far.
    """

    def __init__(self, rate: RateLimit) -> None:
        self.refused = 0
        self._estimate = LimitEstimate(rate)
        self._share = 1.0
        self.terms = self._build_terms()
        self._sent = SentLog()
        self._sent_today = DailyLog(rate.per_day) if rate.per_day else None
        self._earned = EarnedTotal()
        self._server = ServerQuota()
        self._reliability = HeaderReliability()
        self._others = OtherClients()
        self._credit = BurstCredit(float(self.terms.limit))
        self._last_sent_at = -math.inf
        # Requests that had left the window when the server's newest report arrived.
        self._expired_before_report = 0
        self._refused_at = -math.inf
        self._granted_before_refusal = 0

    @property
    def total_limit(self) -> int:
        """The limit for all who share it together."""
        return self._estimate.limit

    @property
    def in_flight(self) -> int:
        """Requests that are not settled yet."""
        return self._sent.in_flight

    def used(self, now: float) -> int:
        """Return how many requests are in the window that ends now."""
        return self._sent.count(now, self.terms.per)

    def set_share(self, share: float, now: float) -> None:
        """Keep to a part of the limit from now on, from 0 to 1."""
        self._share = share
        self._renew_terms(now)

    def remaining(self, now: float) -> int | None:
        """Return what the server last reported as left; ``None`` if that is not valid any more."""
        return int(self._server.remaining) if self._is_report_valid(now) else None

    def earned(self, now: float) -> float:
        """Return how many requests the limit would have allowed since the first one."""
        return self._earned.get(now, self.terms.limit, self.terms.per)

    def next_slot(self, now: float) -> Slot:
        """Return when the next request may be sent, if nothing happens until then."""
        if now >= self._estimate.raises_at:
            self._estimate.raise_one_step(now)
            self._renew_terms(now)
        if self._sent_today and self._sent_today.is_used_up(now):
            return Slot(self._sent_today.next_free(DAY), exhausted=True)
        limit, per, _ = self.terms
        left = limit - self._sent.count(now, per)
        if left <= 0:
            return Slot(self._sent.next_free(per))
        remaining = self._get_remaining(now)
        is_shared = remaining < math.inf and not self._is_all_ours(now)
        if is_shared and remaining < 1:
            return self._get_slot_after_refill(remaining, now)
        if self._may_burst(remaining, now):
            return Slot(now, paced=False, remaining=remaining)
        at = self._spread(left, self._sent.next_free(per), now)
        if is_shared and not self._server.is_continuous:
            at = max(at, self._spread(remaining, self._server.resets_at - RESET_SLACK, now))
        # If nothing is left because of ourselves alone, going on is not a test of the header.
        return Slot(at, remaining=remaining if is_shared else max(remaining, 1.0))

    def take(self, slot: Slot, now: float) -> Permit:
        """Send a request whose slot has come."""
        limit, per, _ = self.terms
        self._credit.end_idle(now, limit, per)
        if not slot.paced:
            self._credit.spend()
        self._last_sent_at = now
        self._earned.start(now)
        self._sent.add()
        if self._sent_today:
            self._sent_today.add()
        return Permit(now, slot.remaining, self._sent.total - self.used(now))

    def note_idle(self, now: float) -> None:
        """Record that no request is wanted: what is not used now may be sent at once later."""
        self._credit.note_idle(now)

    def settle(self, now: float, *, sent: bool) -> None:
        """Record that a request is over: it counts, unless it was never sent."""
        self._sent.settle(now, sent=sent)
        if self._sent_today:
            self._sent_today.settle(now, sent=sent)

    def observe(
        self, permit: Permit, reported: Iterable[QuotaStatement], now: float, *, refused: bool
    ) -> None:
        """Settle a request that got a reply, and learn from it."""
        self.settle(now, sent=True)
        self._sent.record_duration(now - permit.sent)
        scarcest = None
        if short := [one for one in reported if not one.is_long]:
            # Of several quotas the slowest sets the pace, and the scarcest what is left.
            self._estimate.update(min(short, key=self._get_rate), now)
            self._renew_terms(now)
            scarcest = min(short, key=_get_scarcity)
            self._learn_from_report(scarcest, permit, now, refused=refused)
        if refused:
            self._learn_from_refusal(permit, scarcest, now)

    def _build_terms(self) -> Terms:
        estimate = self._estimate
        return Terms(max(1, int(estimate.limit * self._share)), estimate.per, estimate.source)

    def _renew_terms(self, now: float) -> None:
        if (terms := self._build_terms()) != self.terms:
            self.earned(now)  # until now at the old ones
            self.terms = terms

    def _is_report_valid(self, now: float) -> bool:
        is_trusted = now >= self._reliability.trusts_zero_from
        return is_trusted and self._server.is_current(now, self.terms.per)

    def _get_remaining(self, now: float) -> float:
        """Return how many requests the server would still grant, by its newest report."""
        if not self._is_report_valid(now):
            return math.inf
        limit, server = self.terms.limit, self._server
        margin = self._others.get_margin(now, limit, server.most_remaining)
        remaining = server.remaining - self._sent.in_flight - margin
        if server.is_continuous:
            # Given back since: what we sent ourselves for certain, or at the measured rate.
            expired = self._sent.expired - self._expired_before_report
            remaining += max(expired, self._get_refill_rate() * (now - server.measured_at))
        return remaining

    def _get_refill_rate(self) -> float:
        """Return how fast a continuous quota refills, less what others take."""
        most = self.terms.limit / self.terms.per
        # A full bucket does not show how much more would have been given back.
        return most if self._server.is_full else min(self._server.get_refill_rate(), most)

    def _get_slot_after_refill(self, remaining: float, now: float) -> Slot:
        """Return when a request may be sent again after nothing was left."""
        if self._is_zero_doubtful(now):
            return Slot(self._server.received_at + self.terms.per / _PROBES, remaining=remaining)
        end = self._server.resets_at
        if not self._server.is_continuous:
            return Slot(end, exhausted=self._server.remaining <= 0)
        refill = self._get_refill_rate()
        refilled = now + (1 - remaining) / refill if refill else math.inf
        at = min(refilled, self._sent.next_free(self.terms.per))
        # All should be given back by then; one request tests that, and not many.
        return Slot(at if self._sent.in_flight else min(at, end))

    def _is_zero_doubtful(self, now: float) -> bool:
        """Whether to test ``remaining: 0``, because this client has used so little.

        A server that always reports 0 would otherwise stop the client for good.
        """
        return (
            now >= self._reliability.probes_from
            and self._server.remaining <= 0
            and not self._sent.in_flight
            and self.used(now) <= max(self._reliability.contradictions, self.terms.limit // 10)
        )

    def _may_burst(self, remaining: float, now: float) -> bool:
        """Whether a request may be sent as soon as it is wanted.

        Only while the server reports enough as left; the rest has to last. Before its first
        report, only a few.
        """
        if self._credit.amount < 1 or now < self._reliability.trusts_remaining_from:
            return False
        if remaining == math.inf:
            is_first = self._sent.in_flight < self.terms.limit // _INITIAL_BURST
            return is_first and not self._sent.has_settled
        return remaining > self.terms.limit // _RESERVE

    def _is_all_ours(self, now: float) -> bool:
        """Whether this client alone has used what is missing.

        Then the sent log knows when it is given back, more exactly than the reset, which may be up
        to two seconds late.
        """
        return not self._server.is_continuous and not self._others.are_present(now)

    def _spread(self, left: float, until: float, now: float) -> float:
        """Return when to send, so that ``left`` lasts until a time; never faster than even."""
        limit, per, _ = self.terms
        if until == math.inf or left + limit // _LEAD >= (until - now) * limit / per:
            return -math.inf
        return (self._last_sent_at * left + until) / (left + 1)

    def _get_rate(self, reported: QuotaStatement) -> float:
        per = reported.per or self.terms.per
        return math.inf if reported.limit is None else reported.limit / per

    def _learn_from_report(
        self, reported: QuotaStatement, permit: Permit, now: float, *, refused: bool
    ) -> None:
        was_continuous = self._server.is_continuous
        self.used(now)  # counts what has left the window until now
        if self._server.update(reported, permit, now, self.terms.per):
            self._expired_before_report = self._sent.expired
        if reported.remaining is None:
            return
        if self._server.is_continuous and not was_continuous:
            # A small bucket looks like a window of which others have taken most.
            self._others.forget()
        self._look_for_others(reported, reported.remaining, permit, now)
        if not refused:
            # A server that never reported anything else may be wrong, unless the limit is 1.
            is_always_zero = self._server.most_remaining == 0 and self.terms.limit > 1
            after_zero = is_always_zero or permit.remaining < 1
            per = self.terms.per
            self._reliability.record_grant(reported.remaining, now, per, after_zero=after_zero)
        elif permit.remaining < 1:
            self._reliability.confirm_zero(now, self.terms.per)

    def _look_for_others(
        self, reported: QuotaStatement, remaining: int, permit: Permit, now: float
    ) -> None:
        """Notice others, if more is missing from the server's quota than can be ours."""
        if reported.limit is None:
            return
        is_bucket = self._server.is_continuous
        whole = self._server.most_remaining + 1 if is_bucket else reported.limit
        # Ours are at most those in the window when this one was sent, and those sent since.
        ours = self._sent.total - permit.expired
        if whole - remaining > ours + 1:
            self._others.notice(now, self.terms.per)

    def _learn_from_refusal(
        self, permit: Permit, reported: QuotaStatement | None, now: float
    ) -> None:
        self.refused += 1
        self._credit.clear()
        # Requests in flight during the first refusal show nothing new.
        if permit.sent <= self._refused_at:
            return
        is_repeated = now < self._refused_at + _REPEATED * self.terms.per
        self._refused_at = now
        if reported is not None and reported.remaining:
            # It refuses what it reports as left.
            self._reliability.distrust_remaining(now, self.terms.per)
            self._estimate.distrust(now)
        elif self._is_report_valid(now):
            # Others were faster.
            self._others.notice(now, self.terms.per)
            self._others.add_caution(self.terms.limit)
            return
        self._lower_estimate(now, is_repeated=is_repeated)

    def _lower_estimate(self, now: float, *, is_repeated: bool) -> None:
        granted = self.used(now) - self._sent.in_flight - 1
        before, self._granted_before_refusal = self._granted_before_refusal, granted
        if is_repeated:
            self._estimate.lower(max(granted, before), now)
        self._renew_terms(now)


def _get_scarcity(reported: QuotaStatement) -> float:
    return math.inf if reported.remaining is None else reported.remaining
