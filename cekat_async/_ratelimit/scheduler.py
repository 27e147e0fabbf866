"""Decides when the next request may be sent. Pure: callers pass the time.

It uses three sources:

- ``sent_log``: the requests that this client has sent.
- ``server/limit_estimate``: the limits that apply, and the lengths of their windows.
- ``server/remaining``: the remaining requests that the server reports, and how many of them other
  clients need.

The sent log alone guarantees that no window ever exceeds its limit. The server's reports can only
do two things: slow the client down in favor of other clients, or allow a burst.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from cekat_async._ratelimit.burst_credit import BurstCredit
from cekat_async._ratelimit.earned_total import EarnedTotal
from cekat_async._ratelimit.sent_log import Permit, SentLog
from cekat_async._ratelimit.server.headers import get_scarcity
from cekat_async._ratelimit.server.limit_estimate import LimitEstimate, Terms
from cekat_async._ratelimit.server.refusals import RefusalHistory, RefusalKind
from cekat_async._ratelimit.server.remaining import Remaining
from cekat_async._ratelimit.server.window_length import Report
from cekat_async._ratelimit.slot import Slot, WaitReason

if TYPE_CHECKING:
    from cekat_async._ratelimit.server.headers import QuotaStatement
    from cekat_async._ratelimit.server.learned_rate import LearnedRate
    from cekat_async._ratelimit.server.outcome import Outcome
    from cekat_async.config import RateLimit

__all__ = ["Scheduler"]

_DAY = 86_400.0
# The reserve: this part of the limit is never sent in a burst, but at the even pace, because other
# clients may need it. If the limit is large enough, a burst covers a small job (``_JOB`` requests).
# If the limit is small, the reserve is half of the limit, but at most eight requests. The replies
# to these requests show how long the window is.
_RESERVE, _JOB, _MOST_OF_FEW, _FEW = 1 / 3, 52, 1 / 2, 8
# After this many seconds, another request is sent even if the first one has no reply yet.
_FIRST_WAIT = 10.0
# A client may be ahead of the even pace by this fraction of the limit.
_LEAD = 1 / 100
# After this many refusals in a row, a refusal no longer counts as a short overload.
_HOPELESS = 10
# If the server refuses a request when our own requests have used at least this fraction of the
# stated limit, the assumed window is too short.
_OURS = 0.9


class Scheduler:
    """Decides when the next request may be sent, and learns from the outcome of each request.

    Attributes:
        windows: The limits that apply now.
        terms: The slowest of these limits.
        refusals: The refusals so far.
        trusts_server: True if the scheduler reads the rate-limit headers of replies.
    """

    def __init__(self, rate: RateLimit) -> None:
        self.refusals = RefusalHistory()
        self._estimate = LimitEstimate(rate)
        self.trusts_server = rate.trust_server
        self._per_day = rate.per_day
        self._share = 1.0
        self.windows = self._estimate.windows
        self.terms = self._estimate.pace
        self._sent = SentLog()
        self._used_by_others = 0
        self._earned = EarnedTotal()
        self._remaining = Remaining(self._sent, self.terms, self.server_per)
        self._longest = self._get_longest()
        self._credit = BurstCredit(float(self.terms.limit))
        self._last_sent_at = -math.inf

    @property
    def total_limit(self) -> int:
        """The total limit for all processes that share the quota."""
        return self._estimate.pace.limit

    @property
    def in_flight(self) -> int:
        """The number of sent requests that have neither a reply nor an error yet."""
        return self._sent.in_flight

    @property
    def server_per(self) -> float:
        """The length in seconds of the window for which the server reports ``remaining``."""
        return self._estimate.server_per

    def used(self, now: float, per: float | None = None) -> int:
        """Return how many requests are in the window that ends now."""
        return self._sent.count(now, self.terms.per if per is None else per)

    def set_share(self, share: float, now: float) -> None:
        """Use only this fraction of the limit from now on, from 0 to 1."""
        self._share = share
        self._renew_terms(now)

    def get_learned(self, now: float) -> LearnedRate | None:
        """Return the latest rate that this client's own replies have shown."""
        return self._estimate.get_learned(now)

    def adopt(self, rate: LearnedRate | None, now: float) -> None:
        """Use a rate that another process has learned. With ``None``, return to our own rate."""
        self._estimate.adopt(rate, now)
        self._renew_terms(now)

    def note_used_by_all(self, count: int, now: float) -> None:
        """Record how many requests all processes have taken in the window that ends now."""
        # ``count`` includes the request that is about to be sent.
        self._used_by_others = max(0, count - self.used(now) - 1)

    def remaining(self, now: float) -> int | None:
        """Return the remaining requests in the newest report; ``None`` if it is outdated."""
        return self._remaining.get_reported(now)

    def earned(self, now: float) -> float:
        """Return how many requests the limit would have allowed since the first request."""
        return self._earned.get(now, self.terms.rate)

    def next_slot(self, now: float) -> Slot:
        """Return when the next request may be sent, as far as is known now."""
        if now >= self._estimate.changes_at:
            self._estimate.renew(now)
            self._renew_terms(now)
        first_wait_ends = self._last_sent_at + _FIRST_WAIT
        if not self._sent.has_reply and self._sent.in_flight and now < first_wait_ends:
            return Slot(first_wait_ends, WaitReason.FIRST_REPLY)
        if self._per_day is not None and self._sent.count(now, _DAY) >= self._per_day:
            return Slot(self._sent.next_free(now, _DAY), WaitReason.DAY, exhausted=True)
        left = {window: window.limit - self._sent.count(now, window.per) for window in self.windows}
        if full := [window for window in left if left[window] <= 0]:
            at = max(self._sent.next_free(now, window.per) for window in full)
            return Slot(at, WaitReason.WINDOW)
        remaining = self._remaining.get(now)
        if remaining < math.inf and not self._remaining.is_all_ours(now):
            return self._get_shared_slot(remaining, left, now)
        # Use at least 1: if only this client used the quota, the sent log alone decides.
        return self._get_paced_slot(max(remaining, 1.0), left, now)

    def _get_shared_slot(self, remaining: float, left: dict[Terms, int], now: float) -> Slot:
        """Return the slot of a request while other clients use the quota. The report decides."""
        if remaining < 1:
            at, is_test = self._remaining.get_time_of_more(remaining, now)
            exhausted = not is_test and self._remaining.is_used_up()
            room = remaining if is_test else math.inf
            return Slot(at, WaitReason.SERVER, exhausted=exhausted, remaining=room)
        turn = self._remaining.get_turn_beside_others(remaining, now)
        if turn > now:
            latest = self._last_sent_at + 1 / self._remaining.get_least_pace()
            return Slot(min(turn, latest), WaitReason.OTHERS, remaining=remaining)
        slot = self._get_paced_slot(remaining, left, now)
        ours = self._remaining.get_pace_beside_others(remaining, now)
        rest, end = self._remaining.get_rest_of_window(remaining, now)
        at = max(self._last_sent_at + 1 / ours, self._spread(rest, end, self.terms, now))
        # After the report expires, nothing is known about other clients.
        at = min(at, self._remaining.get_expiry())
        if slot.is_burst or at <= max(now, slot.at):
            return slot
        return Slot(at, WaitReason.OTHERS, remaining=remaining)

    def _get_paced_slot(self, remaining: float, left: dict[Terms, int], now: float) -> Slot:
        """Return the slot of a request: now if a burst is allowed, otherwise by the even pace."""
        if not self._sent.has_reply:
            return Slot(now, WaitReason.NOTHING, paced=False)
        if self._may_burst(remaining, left, now):
            return Slot(now, WaitReason.NOTHING, paced=False, is_burst=True, remaining=remaining)
        at = max(
            self._spread(left[window], self._sent.next_free(now, window.per), window, now)
            for window in self.windows
        )
        # Requests that measure the length of a window do not wait for the even pace.
        paced = at == -math.inf or not self._estimate.is_length_guessed
        return Slot(at, paced=paced, remaining=remaining)

    def take(self, slot: Slot, now: float) -> Permit:
        """Record that a request is sent in this slot, and return its permit."""
        self._credit.end_idle(now, self.terms.limit, self.terms.per)
        if slot.is_burst:
            self._credit.spend()
        self._last_sent_at = now
        self._earned.start(now)
        self._sent.add(now)
        return Permit(now, slot.remaining)

    def note_idle(self, now: float) -> None:
        """Record that no request is waiting. The unused time may allow a burst later."""
        self._credit.note_idle(now)

    def settle(self, now: float, *, sent: bool) -> None:
        """Record that a request has ended. If it was never sent, it does not count."""
        self._sent.settle(now, sent=sent)
        self._sent.forget(now, self._longest)

    def observe(self, permit: Permit, outcome: Outcome, now: float) -> None:
        """Record that a request got a reply, and learn from the reply."""
        self.settle(now, sent=True)
        self._sent.record_duration(now - permit.sent)
        scarcest = None
        if short := outcome.short:
            # If there are several quotas, the one with the fewest remaining requests decides.
            scarcest = min(short, key=get_scarcity)
            if outcome.granted:
                self._learn_length(scarcest, permit, now)
            self._estimate.update(short, now)
            self._renew_terms(now)
            refused = outcome.refusal is not None
            self._remaining.learn(scarcest, permit, now, refused=refused)
        if outcome.refusal is None:
            self.refusals.note_grant(permit.sent)
            self._estimate.record_grant(partial(self._count_granted, now), now)
        elif self._is_new_refusal(permit, outcome.refusal, now):
            self._learn_from_refusal(outcome, scarcest, now)
            self._renew_terms(now)

    def _renew_terms(self, now: float) -> None:
        windows = tuple(
            window._replace(limit=max(1, int(window.limit * self._share)))
            for window in self._estimate.windows
        )
        if windows != self.windows:
            self.earned(now)  # count the time until now at the old rate
            self.windows = windows
            self.terms = min(self.windows, key=lambda window: window.rate)
        # The window of the server's reports may have changed even if the terms did not.
        self._remaining.set_terms(self.terms, self.server_per)
        self._longest = self._get_longest()

    def _get_longest(self) -> float:
        """Return the length in seconds of the longest window in which requests are counted."""
        day = 0.0 if self._per_day is None else _DAY
        return max(day, self._estimate.longest, *(window.per for window in self.windows))

    def _count_granted(self, now: float, per: float) -> int:
        """Return how many requests of all processes were granted in the last ``per`` seconds."""
        others = self._used_by_others if per == self.terms.per else 0
        return self._sent.count_granted(now, per) + others

    def _may_burst(self, remaining: float, left: dict[Terms, int], now: float) -> bool:
        """Whether a request may be sent immediately, faster than the even pace.

        A burst is allowed while more requests remain than the reserve.
        """
        has_credit = self._credit.amount >= 1 and remaining > _get_reserve(self.terms)
        has_room = all(left[window] > _get_reserve(window) for window in left)
        return has_credit and has_room and self._remaining.allows_burst(now)

    def _spread(self, left: float, until: float, window: Terms, now: float) -> float:
        """Return when to send the next request if ``left`` requests must last until ``until``."""
        if until == math.inf or left + _LEAD * window.limit >= (until - now) * window.rate:
            return -math.inf
        # Replies at growing intervals show the length of a window that is not stated.
        part = 2**left if self._estimate.is_length_guessed and left < _FEW else left + 1
        return self._last_sent_at + (until - self._last_sent_at) / part

    def _learn_length(self, reported: QuotaStatement, permit: Permit, now: float) -> None:
        """Learn the length of the server's window if the server does not state it."""
        limit, remaining = reported.limit, reported.remaining
        if limit is None or reported.per is not None:
            return
        # Some servers always report that no request is left, or that more requests than the limit
        # are left.
        if remaining is None or not 0 < remaining <= limit:
            return
        self._estimate.learn_length(
            Report(limit, remaining, reported.reset, permit.sent, now),
            quickest=self._sent.quickest,
            in_flight=self._sent.in_flight,
            used=self.used(now, self.server_per),
        )

    def _is_new_refusal(self, permit: Permit, kind: RefusalKind, now: float) -> bool:
        """Record a refusal. Return whether it shows something new about the limit."""
        self._sent.record_refusal(now)
        self.refusals.add(kind)
        self._credit.clear()
        # Refusals of requests that were in flight during the first refusal show nothing new.
        return self.refusals.is_news(permit.sent, now) and kind is not RefusalKind.BAN

    def _learn_from_refusal(
        self, outcome: Outcome, reported: QuotaStatement | None, now: float
    ) -> None:
        count = partial(self._count_granted, now)
        is_persistent = self.refusals.are_persistent or self._estimate.is_lowered
        is_hidden = self.refusals.are_frequent and self._estimate.is_documented(count)
        if outcome.refusal is RefusalKind.OVERLOAD and not is_hidden:
            # An overload means too many concurrent requests, not a used-up quota.
            is_hopeless = self.refusals.in_a_row >= _HOPELESS
            if not (is_persistent if outcome.asked is None else is_hopeless):
                return
        if reported is not None and reported.remaining is not None:
            if reported.remaining == 0:
                self._estimate.extend(outcome.asked or 0.0, now)
            if outcome.refusal is RefusalKind.QUOTA and not is_persistent:
                self._learn_from_used_up(reported, now)
                return
            if reported.remaining:  # The server refused a request although quota is left.
                self._remaining.distrust(now)
                self._estimate.distrust(now)
        self._estimate.lower(count, outcome.asked, self._sent.began_at, now)

    def _learn_from_used_up(self, reported: QuotaStatement, now: float) -> None:
        """Learn from a refusal whose reply reports the quota as used up."""
        if reported.limit and self.used(now, self.server_per) >= _OURS * reported.limit:
            self._estimate.lengthen(now)
        else:
            self._remaining.leave_more(now)


def _get_reserve(window: Terms) -> float:
    """Return how many requests of a window's limit are never sent in a burst."""
    limit = window.limit
    return max(min(_FEW, _MOST_OF_FEW * limit), min(_RESERVE * limit, limit - _JOB))
