"""When the next request may be sent. Pure: every time is given, and nothing waits here.

Four things decide, each with a file of its own: ``sent_log``, what this client itself has sent;
``server_quota``, what the server reports as left, and whether that can be relied on;
``limit_estimate``, which limits count, for windows of which length; and ``other_clients``.
The sent log alone guarantees that no window ever holds more than its limit. The server's reports
can only slow the client down further, for others who share the quota, or allow a burst.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from cekat_async._ratelimit.burst_credit import BurstCredit
from cekat_async._ratelimit.earned_total import EarnedTotal
from cekat_async._ratelimit.limit_estimate import LimitEstimate, Terms
from cekat_async._ratelimit.other_clients import OtherClients
from cekat_async._ratelimit.refusals import RefusalHistory, RefusalKind
from cekat_async._ratelimit.sent_log import Permit, SentLog
from cekat_async._ratelimit.server_quota import RESET_SLACK, HeaderReliability, ServerQuota
from cekat_async._ratelimit.window_length import Report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cekat_async._ratelimit.headers import QuotaStatement
    from cekat_async.config import RateLimit

__all__ = ["Scheduler", "Slot"]

_MINUTE, _DAY = 60.0, 86_400.0
# What is never sent at once, but spread over the window, in case others need it: this part of the
# limit, if so many may be sent. Of a small limit it is half, and at most eight: their replies show
# how long the window is.
_RESERVE, _JOB, _MOST_OF_FEW, _FEW = 1 / 3, 52, 1 / 2, 8
# At least this part of the pace is kept beside others.
_LEAST_PART = 1 / 20
# How far a client may be ahead of the even pace, as a part of the limit.
_LEAD = 1 / 100
# ``remaining: 0`` is tested this many times a window, if it is doubtful.
_PROBES = 60
# Who has used this part of the stated limit alone, and is refused, knows the window too short.
_OURS = 0.9


class Slot(NamedTuple):
    """When the next request may be sent, as far as is known now.

    Attributes:
        at: The time; infinite if a reply has to arrive first.
        paced: Whether it takes its place in an even pace; else it is sent as soon as it is wanted.
        is_burst: Whether it takes from what idle time has saved up.
        exhausted: Whether it waits for the server to grant anything at all.
        remaining: How much the server reports as left; infinite if it does not.
    """

    at: float
    paced: bool = True
    is_burst: bool = False
    exhausted: bool = False
    remaining: float = math.inf


class Scheduler:
    """Decides when the next request may be sent, and learns from the outcome of each.

    Attributes:
        terms: The rate that it keeps now.
        refused: How many requests were refused so far.
    """

    def __init__(self, rate: RateLimit) -> None:
        self.refusals = RefusalHistory()
        self._estimate = LimitEstimate(rate)
        self._trusts_server = rate.trust_server
        self._per_day = rate.per_day or math.inf
        self._share = 1.0
        self.windows = self._estimate.windows
        self.terms = self._estimate.pace
        self._sent = SentLog()
        self._earned = EarnedTotal()
        self._server = ServerQuota()
        self._reliability = HeaderReliability()
        self._others = OtherClients()
        self._credit = BurstCredit(float(self.terms.limit))
        self._last_sent_at = -math.inf

    @property
    def total_limit(self) -> int:
        """The limit for all who share it together."""
        return self._estimate.pace.limit

    @property
    def in_flight(self) -> int:
        """Requests that are not settled yet."""
        return self._sent.in_flight

    @property
    def server_per(self) -> float:
        """Seconds of the window that the server's reports are about."""
        return self._estimate.server_per

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
        return self._earned.get(now, self.terms.rate)

    def next_slot(self, now: float) -> Slot:
        """Return when the next request may be sent, if nothing happens until then."""
        if now >= self._estimate.changes_at:
            self._estimate.renew(now)
            self._renew_terms(now)
        if self._sent.in_flight and not self._sent.has_reply:
            return Slot(math.inf)  # what the first reply allows is not known yet
        if self._sent.count(now, _DAY) >= self._per_day:
            return Slot(self._sent.next_free(now, _DAY), exhausted=True)
        left = {window: window.limit - self._sent.count(now, window.per) for window in self.windows}
        if full := [window for window in left if left[window] <= 0]:
            return Slot(max(self._sent.next_free(now, window.per) for window in full))
        remaining = self._get_remaining(now)
        is_shared = remaining < math.inf and not self._is_all_ours(now)
        if is_shared and remaining < 1:
            return self._get_slot_after_refill(remaining, now)
        if is_shared and (turn := self._get_turn_beside_others(remaining, now)) > now:
            latest = self._last_sent_at + 1 / (self.terms.rate * _LEAST_PART)
            return Slot(min(turn, latest), remaining=remaining)
        if self._may_burst(min(remaining, *left.values()), now):
            return Slot(now, paced=False, is_burst=True, remaining=remaining)
        at = max(
            self._spread(left[window], self._sent.next_free(now, window.per), window, now)
            for window in self.windows
        )
        if is_shared:
            at = max(at, self._get_even_time_beside_others(remaining, now))
        # If nothing is left because of ourselves alone, going on is not a test of the header.
        return Slot(
            at,
            paced=not self._is_look(at),
            remaining=remaining if is_shared else max(remaining, 1.0),
        )

    def take(self, slot: Slot, now: float) -> Permit:
        """Send a request whose slot has come."""
        self._credit.end_idle(now, self.terms.limit, self.terms.per)
        if slot.is_burst:
            self._credit.spend()
        self._last_sent_at = now
        self._earned.start(now)
        self._sent.add(now)
        return Permit(now, slot.remaining)

    def note_idle(self, now: float) -> None:
        """Record that no request is wanted: what is not used now may be sent at once later."""
        self._credit.note_idle(now)

    def settle(self, now: float, *, sent: bool) -> None:
        """Record that a request is over: it counts, unless it was never sent."""
        self._sent.settle(now, sent=sent)

    def observe(
        self,
        permit: Permit,
        reported: Sequence[QuotaStatement],
        now: float,
        *,
        granted: bool = True,
        refusal: RefusalKind | None = None,
        asked: float | None = None,
    ) -> None:
        """Settle a request that got a reply, and learn from it.

        It was ``granted`` if it succeeded. What failed otherwise may not have been counted. With a
        refusal, the server may have ``asked`` for so many seconds without requests.
        """
        self.settle(now, sent=True)
        self._sent.record_duration(now - permit.sent)
        scarcest = None
        if self._trusts_server and (short := [one for one in reported if not one.is_long]):
            # Of several quotas the scarcest decides what is left.
            scarcest = min(short, key=_get_scarcity)
            if granted:
                self._learn_length(scarcest, permit, now)
            self._estimate.update(short, now)
            self._learn_from_report(scarcest, permit, now, refused=refusal is not None)
        if refusal is None:
            self.refusals.note_grant(permit.sent)
            self._estimate.record_grant(partial(self._sent.count_granted, now), now)
        else:
            self._sent.record_refusal(now)
            self._learn_from_refusal(permit, scarcest, refusal, asked, now)
        self._renew_terms(now)

    def _renew_terms(self, now: float) -> None:
        windows = tuple(
            window._replace(limit=max(1, int(window.limit * self._share)))
            for window in self._estimate.windows
        )
        if windows == self.windows:
            return
        self.earned(now)  # until now at the old ones
        self.windows = windows
        self.terms = min(self.windows, key=lambda window: window.rate)
        longest = max(_MINUTE, *(window.per for window in self.windows))
        self._sent.forget(now, _DAY if self._per_day < math.inf else longest)

    def _is_report_valid(self, now: float) -> bool:
        is_trusted = now >= self._reliability.trusts_zero_from
        return is_trusted and self._server.is_current(now, self._estimate.server_per)

    def _get_remaining(self, now: float) -> float:
        """Return how many requests the server would still grant, by its newest report."""
        if not self._is_report_valid(now):
            return math.inf
        limit, server, per = self.terms.limit, self._server, self._estimate.server_per
        margin = self._others.get_margin(now, limit, server.most_remaining)
        remaining = server.remaining - self._sent.in_flight - margin
        if server.is_continuous:
            # Given back since: what was measured, or what was ours, but no faster than our pace.
            expired = self._sent.count_expired(now, per)
            expired -= self._sent.count_expired(server.received_at, per)
            time = now - server.measured_at
            most = 1 + self.terms.rate * time
            remaining += max(self._get_refill_rate() * time, min(expired, most))
        return remaining

    def _get_refill_rate(self) -> float:
        """Return how fast a continuous quota refills, less what others take."""
        # A full bucket does not show how much more would have been given back.
        most, server = self.terms.rate, self._server
        return most if server.is_full else min(server.get_refill_rate(), most)

    def _get_slot_after_refill(self, remaining: float, now: float) -> Slot:
        """Return when a request may be sent again after nothing was left."""
        per = self._estimate.server_per
        if self._is_zero_doubtful(now):
            return Slot(self._server.received_at + per / _PROBES, remaining=remaining)
        end = self._server.resets_at
        if not self._server.is_continuous:
            return Slot(end, exhausted=self._server.remaining <= 0)
        refill = self._get_refill_rate()
        refilled = now + (1 - remaining) / refill if refill else math.inf
        at = min(refilled, self._sent.next_free(now, per))
        # All should be given back by then; one request tests that, and not many.
        return Slot(at if self._sent.in_flight else min(at, end))

    def _get_turn_beside_others(self, remaining: float, now: float) -> float:
        """Return when more is left than others will probably take until more is given back."""
        if not self._server.is_continuous:
            return self._others.get_turn(remaining, self._server.resets_at, now)
        per = self._estimate.server_per
        if now >= self._sent.began_at + per:
            return -math.inf  # as many of theirs as they take are given back by now
        return self._others.get_turn(remaining, self._sent.next_free(now, per), now)

    def _get_even_time_beside_others(self, remaining: float, now: float) -> float:
        """Return when to send, so that what others do not take lasts until it is given back."""
        theirs = self._others.get_rate(now)
        if self._server.is_continuous:
            # What is left beyond that is used up during half a window.
            surplus = 2 * remaining / self._estimate.server_per
            ours = max(self.terms.rate - theirs + surplus, self.terms.rate * _LEAST_PART)
            return self._last_sent_at + 1 / ours if theirs else -math.inf
        end = self._server.resets_at - RESET_SLACK
        left = max(0.0, remaining - theirs * max(0.0, end - now))
        return self._spread(left, end, self.terms, now)

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

    def _may_burst(self, left: float, now: float) -> bool:
        """Whether a request may be sent as soon as it is wanted.

        Only while the server reports enough as left; the rest has to last.
        """
        is_trusted = self._is_report_valid(now) and now >= self._reliability.trusts_remaining_from
        limit = self.terms.limit
        reserve = max(min(_FEW, _MOST_OF_FEW * limit), min(_RESERVE * limit, limit - _JOB))
        is_alone = not self._others.are_present(now)
        return is_trusted and is_alone and self._credit.amount >= 1 and left > reserve

    def _is_all_ours(self, now: float) -> bool:
        """Whether this client alone has used what is missing.

        Then the sent log knows when it is given back, more exactly than the reset, which may be up
        to two seconds late.
        """
        return not self._server.is_continuous and not self._others.are_present(now)

    def _is_look(self, at: float) -> bool:
        """Whether a request is sent to see how long a window is, and not in an even pace."""
        return at > -math.inf and self._estimate.is_length_guessed

    def _spread(self, left: float, until: float, window: Terms, now: float) -> float:
        """Return when to send, so that ``left`` lasts until a time; never faster than even."""
        if until == math.inf or left + _LEAD * window.limit >= (until - now) * window.rate:
            return -math.inf
        # Replies after ever longer times show the length of a window that is not stated.
        part = 2**left if self._estimate.is_length_guessed and left < _FEW else left + 1
        return self._last_sent_at + (until - self._last_sent_at) / part

    def _learn_length(self, reported: QuotaStatement, permit: Permit, now: float) -> None:
        """Learn how long the server's window is, if it does not say so."""
        limit, remaining = reported.limit, reported.remaining
        # Some servers always report that nothing is left.
        if limit is None or not remaining or reported.per is not None:
            return
        self._estimate.learn_length(
            Report(limit, remaining, reported.reset, permit.sent, now),
            quickest=self._sent.quickest,
            in_flight=self._sent.in_flight,
            used=self._sent.count(now, self._estimate.server_per),
        )

    def _learn_from_report(
        self, reported: QuotaStatement, permit: Permit, now: float, *, refused: bool
    ) -> None:
        was_continuous, per = self._server.is_continuous, self._estimate.server_per
        self._server.update(reported, permit, now, per)
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
            self._reliability.record_grant(reported.remaining, now, per, after_zero=after_zero)
        elif permit.remaining < 1:
            self._reliability.confirm_zero(now, per)

    def _look_for_others(
        self, reported: QuotaStatement, remaining: int, permit: Permit, now: float
    ) -> None:
        """Notice others, if more is missing from the server's quota than can be ours."""
        if reported.limit is None:
            return
        is_bucket, per = self._server.is_continuous, self._estimate.server_per
        whole = reported.limit
        if is_bucket:
            whole = min(whole, self._server.most_remaining + 1)
        # Ours are at most those in the window when this one was sent, and those sent since.
        ours = self._sent.total - self._sent.count_expired(permit.sent, per)
        theirs = whole - remaining - ours
        if theirs > 1:
            self._others.notice(now, per)
        elapsed = min(per, now - self._sent.began_at)
        if not is_bucket:
            elapsed = per - max(0.0, self._server.resets_at - now)
        if remaining:
            self._others.record(max(0, theirs), elapsed, per)

    def _learn_from_refusal(
        self,
        permit: Permit,
        reported: QuotaStatement | None,
        kind: RefusalKind,
        asked: float | None,
        now: float,
    ) -> None:
        self.refusals.add(kind)
        self._credit.clear()
        # Requests in flight during the first refusal show nothing new.
        if not self.refusals.is_news(permit.sent, now) or kind is RefusalKind.BAN:
            return
        count = partial(self._sent.count_granted, now)
        is_persistent = self.refusals.are_persistent or self._estimate.is_lowered
        is_hidden = self.refusals.are_frequent and self._estimate.is_documented(count)
        if kind is RefusalKind.OVERLOAD and not is_persistent and not is_hidden:
            return
        if reported is not None and reported.remaining == 0 and asked is not None:
            self._estimate.extend(asked)
        is_reported = reported is not None and self._is_report_valid(now)
        if kind is RefusalKind.QUOTA and reported is not None and is_reported and not is_persistent:
            self._learn_from_used_up(reported, now)
            return
        if reported is not None and reported.remaining:
            # It refuses what it reports as left.
            self._reliability.distrust_remaining(now, self._estimate.server_per)
            self._estimate.distrust(now)
        self._estimate.lower(count, asked, self._sent.began_at, now)

    def _learn_from_used_up(self, reported: QuotaStatement, now: float) -> None:
        """Learn from a refusal for a quota that the server reports as used up."""
        ours = self._sent.count(now, self._estimate.server_per)
        if reported.limit is not None and ours >= _OURS * reported.limit:
            self._estimate.lengthen(now)
        else:
            self._others.notice(now, self._estimate.server_per)
            self._others.add_caution(self.terms.limit)


def _get_scarcity(reported: QuotaStatement) -> float:
    return math.inf if reported.remaining is None else reported.remaining
