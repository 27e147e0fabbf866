"""When the next request may go out. Pure: every time is given, and nothing waits here.

Four things decide, each with a file of its own: the *ledger*, what this client itself has sent;
the *reports*, what the server says is left; *trust*, whether that is to be taken; and the *belief*,
how much the server grants at all.
The ledger alone guarantees that no window ever holds more than the limit. The reports can only
slow it down further, for others who share the quota, or tell that there is no need to be slow.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cekat_async._ratelimit.limit_estimate import LimitEstimate
from cekat_async._ratelimit.sent_log import Permit, SentLog
from cekat_async._ratelimit.server_quota import SLACK, ServerQuota
from cekat_async._ratelimit.trust import Trust
from cekat_async._ratelimit.turn import Slot, Terms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cekat_async._ratelimit.headers import QuotaStatement
    from cekat_async.config import RateLimit

__all__ = ["Scheduler", "is_long"]

_DAY = 86_400.0
# A statement about more seconds than this is about the day, and none to keep a pace by.
_LONG = 3_600.0
# Others count as present for so many periods after they were last noticed.
_PRESENT = 2
# Before the server has said anything, the part of the limit that may go at once: one in thirty.
_FIRST = 30
# The part of the limit that is never spent at once: one in twenty.
_RESERVE = 20
# The parts of the limit that are left to others when they are there, and when that did not do.
_MARGIN, _MOST_CAUTION = 100, 60
# The part of the limit by which one may be ahead of the even pace: one in a hundred.
_AHEAD = 100
# A word that is doubted is put to the test so many times a period.
_TESTS = 60


class Scheduler:
    """Decides when the next request may go out, and learns from what becomes of each.

    Attributes:
        terms: What it keeps to now.
        refused: How many requests were refused so far.
    """

    def __init__(self, rate: RateLimit) -> None:
        self.refused = 0
        self._belief = LimitEstimate(rate)
        self._share = 1.0
        self.terms = self._new_terms()
        self._ledger = SentLog()
        self._per_day, self._day = rate.per_day, SentLog()
        self._earned, self._earned_until = 0.0, math.inf
        self._reports = ServerQuota()
        self._last = -math.inf
        # Requests that may go without an even pace: those of a period in which nothing was wanted.
        self._credit = float(self.terms.limit)
        self._resting_since: float | None = None
        self._aged_when_heard = 0
        self._others_until = -math.inf
        self._caution = 0.0
        self._refused_at = -math.inf
        self._trust = Trust()
        self._granted = 0

    @property
    def whole_limit(self) -> int:
        """The limit for all together who share it."""
        return self._belief.limit

    @property
    def under_way(self) -> int:
        """Requests that are not settled yet."""
        return self._ledger.under_way

    def used(self, now: float) -> int:
        """Return how many requests stand in the window that ends now."""
        return self._ledger.spent(now, self.terms.per)

    def keep_to_share(self, share: float, now: float) -> None:
        """From now on keep to a part of the limit, from 0 to 1."""
        self._share = share
        self._renew_terms(now)

    def remaining(self, now: float) -> int | None:
        """Return what the server last said is left; ``None`` if that holds no longer."""
        return int(self._reports.remaining) if self._hears(now) else None

    def earned(self, now: float) -> float:
        """Return how many requests the limit would have let out since the first one."""
        if now > self._earned_until:
            self._earned += (now - self._earned_until) * self.terms.limit / self.terms.per
            self._earned_until = now
        return self._earned

    def next(self, now: float) -> Slot:
        """Return when the next request may go out, if nothing happens until then."""
        if now >= self._belief.climbs_at:
            self._belief.climb(now)
            self._renew_terms(now)
        if self._per_day is not None and self._day.spent(now, _DAY) >= self._per_day:
            return Slot(self._day.next_free(_DAY), spent=True)
        limit, per, _ = self.terms
        left = limit - self._ledger.spent(now, per)
        if left <= 0:
            return Slot(self._ledger.next_free(per))
        room = self._room(now)
        is_shared = room < math.inf and not self._is_explained(now)
        if is_shared and room < 1:
            return self._exhausted(room, now)
        if self._is_free(room, now):
            return Slot(now, paced=False, room=room)
        at = self._lasting(left, self._ledger.next_free(per), now)
        if is_shared and not self._reports.is_stream:
            at = max(at, self._lasting(room, self._reports.resets_at - SLACK, now))
        # Where we alone explain that nothing is left, it is no test to go on.
        return Slot(at, room=room if is_shared else max(room, 1.0))

    def take(self, turn: Slot, now: float) -> Permit:
        """Let a request go out, whose turn it is."""
        if self._resting_since is not None:
            idle, self._resting_since = now - self._resting_since, None
            limit, per, _ = self.terms
            self._credit = min(self._credit + idle * limit / per, float(limit))
        if not turn.paced:
            self._credit -= 1
        self._last = now
        if self._earned_until == math.inf:
            self._earned_until = now
        self._open()
        return Permit(now, turn.room, self._ledger.opened - self.used(now))

    def rest(self, now: float) -> None:
        """Take notice that nothing is wanted: what is not used now may be used at once later."""
        self._resting_since = now

    def lost(self, now: float, *, sent: bool) -> None:
        """Settle a request that got no reply: it counts, unless it was never sent."""
        self._close(now, sent=sent)

    def answered(
        self, permit: Permit, said: Iterable[QuotaStatement], now: float, *, refused: bool
    ) -> None:
        """Settle a request that got a reply, and learn from it."""
        self._close(now)
        self._ledger.time(now - permit.sent)
        scarcest = None
        if short := [part for part in said if not is_long(part)]:
            # Of several quotas the slowest sets the pace, and the scarcest says how much is left.
            if self._belief.hear(min(short, key=self._rate_of), now):
                self._renew_terms(now)
            scarcest = min(short, key=_scarcity)
            self._hear(scarcest, permit, now, refused=refused)
        if refused:
            self._refuse(permit, scarcest, now)

    def _new_terms(self) -> Terms:
        belief = self._belief
        return Terms(max(1, int(belief.limit * self._share)), belief.per, belief.source)

    def _renew_terms(self, now: float) -> None:
        if (terms := self._new_terms()) != self.terms:
            self.earned(now)  # until now at the old ones
            self.terms = terms

    def _open(self) -> None:
        self._ledger.open()
        if self._per_day is not None:
            self._day.open()

    def _close(self, now: float, *, sent: bool = True) -> None:
        self._ledger.close(now, sent=sent)
        if self._per_day is not None:
            self._day.close(now, sent=sent)

    def _hears(self, now: float) -> bool:
        return now >= self._trust.denials_from and self._reports.is_live(now, self.terms.per)

    def _room(self, now: float) -> float:
        """Return how many requests the server would still grant, by its own newest word."""
        if not self._hears(now):
            return math.inf
        room = self._reports.remaining - self._ledger.under_way - self._margin(now)
        if self._reports.is_stream:
            # What came back since: places of our own for certain, or at the rate of late.
            aged = self._ledger.aged - self._aged_when_heard
            room += max(aged, self._refill() * (now - self._reports.true_at))
        return room

    def _margin(self, now: float) -> float:
        """Return what is left to others, who may take it while our request is on its way."""
        if now > self._others_until:
            return 0.0
        margin = max(1.0, self.terms.limit / _MARGIN) + self._caution
        # A small bucket never holds much: half of it has to do.
        return min(margin, self._reports.most / 2)

    def _refill(self) -> float:
        """Return how fast places come back in a stream, less what others take."""
        most = self.terms.limit / self.terms.per
        # Of a bucket that is full one cannot see how much more would have come back.
        return most if self._reports.is_full else min(self._reports.refill(), most)

    def _exhausted(self, room: float, now: float) -> Slot:
        """Return when there is room again."""
        if self._is_doubtful(now):
            return Slot(self._reports.heard_at + self.terms.per / _TESTS, room=room)
        over = self._reports.resets_at
        if not self._reports.is_stream:
            return Slot(over, spent=self._reports.remaining <= 0)
        refill = self._refill()
        back = now + (1 - room) / refill if refill else math.inf
        at = min(back, self._ledger.next_free(self.terms.per))
        # All should be back by then; but that is put to one request, and not to many.
        return Slot(at if self._ledger.under_way else min(at, over))

    def _is_doubtful(self, now: float) -> bool:
        """Whether a word of "nothing left" is to be put to the test: we ourselves used so little.

        A server that always says so would else stop us for good.
        """
        return (
            now >= self._trust.tests_from
            and self._reports.remaining <= 0
            and not self._ledger.under_way
            and self.used(now) <= max(self._trust.zeros, self.terms.limit // 10)
        )

    def _is_free(self, room: float, now: float) -> bool:
        """Whether a request may go as soon as it is wanted.

        Only while the server says so, and only until little is left: that has to last. With a
        window that is all ours, and no word of the server's yet, only a few.
        """
        if self._credit < 1 or now < self._trust.promises_from:
            return False
        if room == math.inf:
            is_first = self._ledger.under_way < self.terms.limit // _FIRST
            return is_first and not self._ledger.has_counted
        return room > self.terms.limit // _RESERVE

    def _is_explained(self, now: float) -> bool:
        """Whether nothing is left because of ourselves alone.

        Then it is there again as soon as the ledger says so: the window in which our oldest
        request stands cannot last longer than that. The reset may be said up to two seconds late.
        """
        return not self._reports.is_stream and now > self._others_until

    def _lasting(self, left: float, until: float, now: float) -> float:
        """Return when to go, for what is left to last until a time; an even pace is kept anyway."""
        limit, per, _ = self.terms
        if until == math.inf or left + limit // _AHEAD >= (until - now) * limit / per:
            return -math.inf
        return (self._last * left + until) / (left + 1)

    def _rate_of(self, said: QuotaStatement) -> float:
        return math.inf if said.limit is None else said.limit / (said.per or self.terms.per)

    def _hear(self, said: QuotaStatement, permit: Permit, now: float, *, refused: bool) -> None:
        was_stream = self._reports.is_stream
        self.used(now)  # counts what aged until now
        if self._reports.hear(said, permit, now, self.terms.per):
            self._aged_when_heard = self._ledger.aged
        if said.remaining is None:
            return
        if self._reports.is_stream and not was_stream:
            # A small bucket looks like a window of which others have taken most.
            self._others_until = -math.inf
        # Of ours there can be in it what was in it when this one went out, and what went out since.
        ours = self._ledger.opened - permit.before
        if said.limit is not None and self._taken(said.limit, said.remaining) > ours + 1:
            self._notice_others(now)
        if not refused:
            # Who never said anything else may be lying, unless there is but one place.
            is_mute = self._reports.most == 0 and self.terms.limit > 1
            is_against = is_mute or permit.room < 1
            self._trust.granted(said.remaining, now, self.terms.per, against=is_against)
        elif permit.room < 1:
            self._trust.proved_true(now, self.terms.per)

    def _taken(self, limit: int, remaining: int) -> int:
        """Return how many requests are in the server's window, or have gone out of its bucket."""
        whole = self._reports.most + 1 if self._reports.is_stream else limit
        return whole - remaining

    def _notice_others(self, now: float) -> None:
        self._others_until = now + _PRESENT * self.terms.per

    def _refuse(self, permit: Permit, said: QuotaStatement | None, now: float) -> None:
        """Learn from a refusal, and from what it says itself is left."""
        self.refused += 1
        self._credit = 0.0
        # What was under way when the first one was refused tells nothing new.
        if permit.sent <= self._refused_at:
            return
        repeated = now < self._refused_at + _PRESENT * self.terms.per
        self._refused_at = now
        if said is not None and said.remaining:
            # It refuses what it says is left: its word is worth nothing.
            self._trust.broke_a_promise(now, self.terms.per)
            self._belief.doubt(now)
        elif self._hears(now):
            # Others were faster.
            self._notice_others(now)
            self._caution = min(2 * self._caution + 1, self.terms.limit / _MOST_CAUTION)
            return
        granted, before = self.used(now) - self._ledger.under_way - 1, self._granted
        self._granted = granted
        if repeated:
            self._belief.lower(max(granted, before), now)
        self._renew_terms(now)


def is_long(said: QuotaStatement) -> bool:
    """Whether a statement is about a day, or as long a time, and none to keep a pace by."""
    return (said.per or 0.0) > _LONG or (said.reset or 0.0) > _LONG


def _scarcity(said: QuotaStatement) -> float:
    return math.inf if said.remaining is None else said.remaining
