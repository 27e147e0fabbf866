"""The scheduler: when the next request may be sent, and what it learns from each reply."""

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cekat_async import RateLimit
from cekat_async._ratelimit.scheduler import Scheduler
from cekat_async._ratelimit.sent_log import Permit
from cekat_async._ratelimit.server.headers import QuotaStatement
from cekat_async._ratelimit.server.learned_rate import LearnedRate
from cekat_async._ratelimit.server.limit_estimate import Terms
from cekat_async._ratelimit.server.outcome import Outcome
from cekat_async._ratelimit.server.refusals import RefusalKind, classify_refusal
from cekat_async._ratelimit.slot import Slot, WaitReason
from cekat_async._ratelimit.unlimited import Unlimited

DAY = 86_400.0


def make_scheduler(requests: int | None = None, **more: object) -> Scheduler:
    return Scheduler(RateLimit(requests, **more))


def left(
    limit: int | None,
    remaining: int | None,
    reset: float | None = 60.0,
    per: float | None = 60.0,
) -> list[QuotaStatement]:
    """Return a reply's report about one quota."""
    return [QuotaStatement(limit, remaining, reset, per)]


def go(scheduler: Scheduler, now: float) -> Permit:
    """Send a request whose slot has arrived."""
    slot = scheduler.next_slot(now)
    assert slot.at <= now
    return scheduler.take(slot, now)


def observe(
    scheduler: Scheduler,
    permit: Permit,
    now: float,
    reported: Sequence[QuotaStatement] = (),
    *,
    refused: bool = False,
    asked: float | None = None,
) -> None:
    """Settle a request: granted, or refused for the reason in its reply."""
    reported = reported if scheduler.trusts_server else []
    outcome = Outcome(tuple(reported))
    if refused:
        kind = classify_refusal(reported, asked, scheduler.server_per)
        outcome = Outcome(tuple(reported), granted=False, refusal=kind, asked=asked)
    scheduler.observe(permit, outcome, now)


def call(
    scheduler: Scheduler,
    now: float,
    reported: Sequence[QuotaStatement] = (),
    *,
    trip: float = 0.0,
    refused: bool = False,
    asked: float | None = None,
) -> Permit:
    """Send a request and settle it by its reply."""
    permit = go(scheduler, now)
    observe(scheduler, permit, now + trip, reported, refused=refused, asked=asked)
    return permit


def refuse(
    scheduler: Scheduler,
    now: float,
    reported: Sequence[QuotaStatement] = (),
    asked: float | None = None,
) -> None:
    """Send a request that the server refuses."""
    call(scheduler, now, reported, refused=True, asked=asked)


def fill(
    scheduler: Scheduler, count: int, now: float, reported: Sequence[QuotaStatement] = ()
) -> None:
    """Send requests together, and settle each by the same reply.

    The window must be unused, because the scheduler spreads the rest of a used window.
    """
    for permit in [go(scheduler, now) for _ in range(count)]:
        observe(scheduler, permit, now, reported)


def all_ours(scheduler: Scheduler, limit: int, now: float) -> list[QuotaStatement]:
    """Return the report of a server that has counted our requests and no others."""
    return left(limit, limit - scheduler.used(now) - 1)


def take_burst(scheduler: Scheduler, now: float) -> list[Permit]:
    """Send everything that may be sent in a burst."""
    permits = []
    while (slot := scheduler.next_slot(now)).at <= now and not slot.paced:
        permits.append(scheduler.take(slot, now))
    return permits


def next_to_others(limit: int = 300, remaining: int = 0, reset: float = 31.0) -> Scheduler:
    """Return a scheduler whose first reply, at 0, shows that others took most of the window."""
    scheduler = make_scheduler()
    call(scheduler, 0.0, left(limit, remaining, reset))
    return scheduler


def find_next(scheduler: Scheduler, now: float) -> float:
    """Return when the next request may be sent, if nothing happens until then."""
    for _ in range(100):
        if (at := scheduler.next_slot(now).at) <= now:
            return now
        now = at
    raise AssertionError("it stopped for good")


def wait_until_ignored(scheduler: Scheduler, now: float) -> float:
    """Report "nothing left" with each grant until the scheduler ignores it, and return the time."""
    for _ in range(20):
        now = find_next(scheduler, now)
        call(scheduler, now, left(300, 0))
        if scheduler.remaining(now) is None:
            return now
    raise AssertionError("it is believed for ever")


# --- the start


def test_it_begins_with_the_documented_or_the_configured_limit():
    """Without settings, the scheduler allows 300 requests in 60 seconds.

    At first, nothing is used or reported.
    """
    scheduler = make_scheduler()

    assert scheduler.terms == Terms(300, 60.0, "documented")
    assert scheduler.windows == (scheduler.terms,)
    assert scheduler.total_limit == 300
    assert scheduler.server_per == 60.0
    assert scheduler.in_flight == scheduler.refusals.total == scheduler.used(0.0) == 0
    assert scheduler.remaining(0.0) is None
    assert scheduler.get_learned(0.0) is None
    assert scheduler.earned(1e9) == 0.0
    assert make_scheduler(7, per=2.0).terms == Terms(7, 2.0, "configured")


def test_until_the_first_reply_one_request_is_in_flight():
    """The first reply shows the limit.

    If no reply arrives in ten seconds, one more request is sent.
    """
    scheduler = make_scheduler()
    permit = go(scheduler, 0.0)
    assert scheduler.next_slot(5.0) == Slot(10.0, WaitReason.FIRST_REPLY)
    go(scheduler, 10.0)
    assert scheduler.next_slot(10.0) == Slot(20.0, WaitReason.FIRST_REPLY)

    observe(scheduler, permit, 11.0)
    assert scheduler.next_slot(11.0).at <= 11.0


@pytest.mark.parametrize("sent", [True, False])
def test_a_first_request_without_a_reply_is_followed_by_one_other(sent):
    """A lost request shows nothing, so the next one is sent alone too."""
    scheduler = make_scheduler()
    go(scheduler, 0.0)
    scheduler.settle(1.0, sent=sent)

    go(scheduler, 1.0)
    assert scheduler.next_slot(1.0) == Slot(11.0, WaitReason.FIRST_REPLY)


def test_a_coarse_clock_shows_no_window_of_no_length():
    """Some clocks tick every 16 ms. Replies in the same tick must not cause a division by zero."""
    scheduler = make_scheduler()
    while (slot := scheduler.next_slot(5.0)).at <= 5.0:
        permit = scheduler.take(slot, 5.0)
        observe(scheduler, permit, 5.0, left(50, 49, None, None))

    assert scheduler.windows == (Terms(50, 0.001, "stated"),)


def test_without_headers_the_pace_is_even():
    """After a reply without headers nothing is sent in a burst, not even after idle time."""
    scheduler = make_scheduler()
    call(scheduler, 0.0)
    scheduler.note_idle(0.0)

    for now in (1.0, 59.9, 60.0, 10_000.0):
        assert scheduler.next_slot(now) == Slot(-math.inf)


@pytest.mark.parametrize("limit", [1, 2, 300])
def test_at_most_the_limit_is_sent_before_a_place_is_free(limit):
    """Requests in flight take up their places until they are settled, however long that takes."""
    scheduler = make_scheduler(limit)
    call(scheduler, 0.0)
    permits = [go(scheduler, 100.0) for _ in range(limit)]
    assert scheduler.next_slot(1e6) == Slot(math.inf, WaitReason.WINDOW)
    assert scheduler.used(1e6) == scheduler.in_flight == limit

    observe(scheduler, permits[0], 110.0)
    assert scheduler.next_slot(110.0) == Slot(170.0, WaitReason.WINDOW)
    go(scheduler, 170.0)


def test_without_headers_what_is_left_lasts_until_the_first_place_is_free():
    """If most of a window was used at once, the rest is spread and not sent in a burst."""
    scheduler = make_scheduler(10)
    call(scheduler, 0.0)
    fill(scheduler, 8, 100.0)

    for at in (120.0, 140.0):
        assert scheduler.next_slot(100.0) == Slot(pytest.approx(at))
        call(scheduler, at)
    assert scheduler.next_slot(140.0) == Slot(160.0, WaitReason.WINDOW)


def test_half_of_the_quickest_exchange_is_gained_in_each_window():
    """The sent log learns from each reply how long an exchange takes."""
    scheduler = make_scheduler(1)
    call(scheduler, 0.0, trip=1.0)

    assert scheduler.next_slot(1.0) == Slot(60.5, WaitReason.WINDOW)


# --- bursts


@pytest.mark.parametrize(
    "limit, kept",
    [(300, 100), (156, 52), (100, 33), (78, 26), (66, 14), (60, 8), (20, 8), (10, 5), (2, 1)],
)
def test_a_burst_leaves_a_third_of_the_limit(limit, kept):
    """A burst leaves a third of the limit, but allows 52 requests if possible.

    It leaves half of a small limit, but at most 8 requests. The rest is spread until the end of the
    window.
    """
    scheduler = make_scheduler()
    call(scheduler, 0.0, left(limit, limit - 1))
    assert limit == 2 or scheduler.next_slot(0.0).reason is WaitReason.NOTHING

    burst = take_burst(scheduler, 0.0)

    assert len(burst) == limit - 1 - kept
    slot = scheduler.next_slot(0.0)
    assert (slot.reason, slot.paced, slot.is_burst) == (WaitReason.PACE, True, False)
    assert slot.remaining == kept
    assert slot.at == pytest.approx(60 / (kept + 1))


def test_a_limit_of_one_needs_no_reserve():
    """The only request of a window may be sent as soon as it is wanted."""
    scheduler = make_scheduler()
    call(scheduler, 0.0, left(1, 0))

    assert scheduler.next_slot(0.0) == Slot(60.0, WaitReason.WINDOW)
    call(scheduler, 60.0, left(1, 1))
    assert scheduler.next_slot(120.0).at <= 120.0


def test_a_burst_leaves_a_third_of_each_window():
    """Several windows count at the same time, and the fullest of them ends the burst."""
    scheduler = make_scheduler(250, per=1.0)
    call(scheduler, 0.0, left(300, 299))
    assert scheduler.windows == (Terms(300, 60.0, "stated"), Terms(250, 1.0, "configured"))
    assert scheduler.terms == Terms(300, 60.0, "stated")

    assert len(take_burst(scheduler, 0.0)) == 250 - 1 - 250 // 3
    assert [scheduler.used(0.0, per) for per in (60.0, 1.0)] == [167, 167]


def test_a_permit_says_what_was_reported_as_left():
    """The number in a permit excludes requests in flight. It is infinite until the first report."""
    scheduler = make_scheduler()
    assert call(scheduler, 0.0, left(300, 299)).remaining == math.inf

    permits = [go(scheduler, 0.0) for _ in range(3)]

    assert [permit.remaining for permit in permits] == [299, 298, 297]
    assert [permit.sent for permit in permits] == [0.0] * 3


def test_credit_is_saved_by_idle_time_and_by_nothing_else():
    """Idle time allows a later burst of up to one window's worth.

    Waiting for a slot does not.
    """
    scheduler = make_scheduler()
    all_left = left(40, 40)
    call(scheduler, 0.0, all_left)
    scheduler._credit.clear()

    # Waiting for a slot is not idle time.
    call(scheduler, 200.0, all_left)
    assert take_burst(scheduler, 200.0) == []

    scheduler.note_idle(200.0)
    call(scheduler, 230.0, all_left)
    burst = take_burst(scheduler, 230.0)
    assert len(burst) == 20
    for _ in burst:
        scheduler.settle(230.0, sent=False)

    scheduler.note_idle(230.0)
    call(scheduler, 100_000.0, all_left)
    assert scheduler._credit.amount == 40.0


def test_only_a_burst_costs_credit():
    """A request at the even pace costs no credit.

    At first, there is credit for one window's worth of requests.
    """
    scheduler = make_scheduler(60)
    for now in (0.0, 2.0, 4.0):
        call(scheduler, now)
    assert scheduler._credit.amount == 60.0

    call(scheduler, 100.0, left(60, 59))
    go(scheduler, 100.0)
    assert scheduler._credit.amount == 59.0


def test_after_a_refusal_nothing_is_sent_in_a_burst():
    """After a refusal, requests are sent one by one, whatever the server reports as left."""
    scheduler = make_scheduler()
    call(scheduler, 0.0, left(300, 299))
    assert scheduler.next_slot(0.0).is_burst

    refuse(scheduler, 0.0, left(300, 298), asked=0.0)

    call(scheduler, 0.0, left(300, 297))
    assert scheduler.next_slot(0.0).paced
    assert scheduler.refusals.total == 1


# --- what the server reports as left, and others


def test_what_is_left_is_spread_until_the_reset():
    """The rest is used up one second before the reset, which is rounded up.

    Three requests are reserved for others.
    """
    scheduler = next_to_others(remaining=100, reset=31.0)
    scheduler._credit.clear()
    scheduler._remaining._others._rate = 0.0

    slot = scheduler.next_slot(0.0)
    assert slot.remaining == 97
    assert slot == Slot(pytest.approx(30 / 98), WaitReason.OTHERS, remaining=97)


def test_what_lasts_anyway_is_not_spread():
    """If the even pace would not use up the rest before the reset, the pace alone decides."""
    scheduler = next_to_others(remaining=150, reset=21.0)
    scheduler._remaining._others._rate = 0.0
    scheduler._credit.clear()

    assert scheduler.next_slot(0.0) == Slot(-math.inf, remaining=147)


def test_others_are_given_way_until_enough_is_left_for_them():
    """The client reserves what others will use until the reset, at their rate so far."""
    # Others took 149 in 30 seconds, so they will take another 149 in the next 30.
    scheduler = next_to_others(remaining=150, reset=30.0)
    assert scheduler._remaining._others.get_rate(0.0) == pytest.approx(149 / 30)
    assert scheduler.next_slot(0.0).at <= 0.2 * 20

    scheduler = next_to_others(remaining=104, reset=30.0)
    slot = scheduler.next_slot(0.0)
    # Others need all 100 that are left beyond the margin, but a twentieth of the pace remains.
    assert slot == Slot(4.0, WaitReason.OTHERS, remaining=101)


def test_at_least_a_twentieth_of_the_pace_is_kept_next_to_others():
    """The replies to these requests show how much others use, and when they stop."""
    scheduler = next_to_others(remaining=50, reset=60.0)
    call(scheduler, 4.0, left(300, 45, 56.0))

    assert scheduler.next_slot(4.0).at == pytest.approx(8.0)


def test_a_used_up_window_of_others_is_waited_out():
    """The client waits until the reset.

    The wait is reported for calls that cannot wait as long.
    """
    scheduler = next_to_others(remaining=0)
    call(scheduler, 1.0, left(300, 0, 30.0))  # the test of the report is granted here
    go(scheduler, 2.0)

    assert scheduler.next_slot(2.0) == Slot(31.0, WaitReason.SERVER, exhausted=True)
    assert scheduler.remaining(30.9) == 0
    assert scheduler.remaining(31.0) is None
    assert scheduler.next_slot(31.0).at <= 31.0


def test_a_window_of_which_others_left_a_little_is_not_used_up():
    """The margin may turn out to be free, so calls wait instead of failing immediately."""
    scheduler = next_to_others(remaining=1)

    slot = scheduler.next_slot(0.0)
    assert (slot.at, slot.reason, slot.exhausted) == (31.0, WaitReason.SERVER, False)


def test_a_window_that_we_alone_used_up_is_over_when_the_sent_log_says_so():
    """The reported reset may be two seconds late.

    The client sends as soon as the sent log allows it, so it loses nothing.
    """
    scheduler = make_scheduler()
    for n in range(10):
        call(scheduler, find_next(scheduler, 0.0), left(10, 9 - n, 62.0))

    assert scheduler.next_slot(40.0) == Slot(60.0, WaitReason.WINDOW)
    assert scheduler.remaining(40.0) == 0


def test_others_are_noticed_by_what_is_missing():
    """One missing request may be due to chance.

    Two missing requests mean that there are others, for two windows.
    """
    scheduler = make_scheduler()
    call(scheduler, 0.0, left(300, 298, 200.0))
    assert scheduler.next_slot(0.0).remaining == 298

    call(scheduler, 0.0, left(300, 297, 200.0))
    assert scheduler.next_slot(0.0).remaining == 297

    call(scheduler, 0.0, left(300, 294, 200.0))
    assert scheduler.next_slot(0.0).remaining == 294 - 3
    assert scheduler.next_slot(120.0).remaining == 294 - 3
    assert scheduler.next_slot(120.1).remaining == 294


@pytest.mark.parametrize("limit, margin", [(1000, 10), (300, 3), (100, 1), (60, 1), (10, 1)])
def test_a_hundredth_of_the_limit_is_left_to_others(limit, margin):
    """At least one request is reserved for others, because theirs may be faster than ours."""
    scheduler = next_to_others(limit, remaining=limit // 2)

    assert scheduler.next_slot(0.0).remaining == limit // 2 - margin


def test_at_most_half_of_a_small_bucket_is_left_to_others():
    """Without the maximum of one half, the client could never use a bucket that stays low."""
    scheduler = next_to_others(300, remaining=4)

    assert scheduler.next_slot(0.0).remaining == 2


def test_more_is_left_to_others_after_they_were_faster():
    """The reserve grows by one request, then three, up to a sixtieth of the limit.

    The limit does not change.
    """
    scheduler = make_scheduler()
    margins = []
    for now in (0.0, 200.0, 400.0, 600.0):
        refuse(scheduler, now, left(300, 0))
        call(scheduler, now + 60.0, left(300, 200))
        margins.append(200 - scheduler.next_slot(now + 60.0).remaining)

    assert margins == [4, 6, 8, 8]
    assert scheduler.terms == Terms(300, 60.0, "stated")


def test_a_slot_next_to_others_is_no_later_than_the_report_is_valid():
    """An expired report shows nothing about others, so the wait ends when the report expires."""
    scheduler = make_scheduler()
    for _ in range(2):
        call(scheduler, 0.0, left(8, 8, None))
    call(scheduler, 1.0, left(8, 2, None))

    assert scheduler.next_slot(60.0).reason is WaitReason.OTHERS
    assert scheduler.next_slot(60.0).at == 61.0
    assert scheduler.next_slot(61.0).at <= 61.0


# --- continuous quotas: sliding windows and buckets


def test_what_is_left_of_a_full_bucket_grows_at_the_rate_of_the_limit():
    """The refill of a full bucket cannot be seen, so the limit's rate is used.

    Time counts from the middle of the exchange.
    """
    scheduler = make_scheduler()
    call(scheduler, 0.0, left(300, 4, None), trip=1.0)

    assert scheduler.next_slot(1.0).remaining == 4 + 2.5
    assert scheduler.next_slot(2.0).remaining == 4 + 7.5


def test_what_is_left_of_a_bucket_grows_as_it_did_lately():
    """The measured refill decides, so the estimated use by others does not matter."""
    scheduler = make_scheduler()
    call(scheduler, 0.0, left(300, 50, None))
    for now in range(1, 10):
        call(scheduler, find_next(scheduler, 4.0 * now), left(300, 20, None))

    before = scheduler.next_slot(36.0).remaining
    # The server refilled one per request, and there was one request in four seconds.
    assert scheduler.next_slot(40.0).remaining - before <= 1.01


def test_what_is_left_of_a_bucket_never_grows_faster_than_the_limit():
    """A report that rises suddenly shows a burst of refill and not a rate."""
    scheduler = make_scheduler(60)
    for n in range(8):
        call(scheduler, find_next(scheduler, n), left(60, 2 + 4 * n, None))
    call(scheduler, 8.0, left(60, 20, None))

    first, second = (scheduler.next_slot(now).remaining for now in (9.0, 10.0))
    assert second - first == pytest.approx(1.0)


def test_our_own_places_that_became_free_are_left_again():
    """Our own places are certain to become free, even if the refill gives back little else."""
    scheduler = make_scheduler()
    call(scheduler, 0.0, left(300, 100, None))
    call(scheduler, 4.0, left(300, 50, None))
    call(scheduler, 30.0, left(300, 20, None))

    assert scheduler._remaining.get(59.9) == 20 - 3
    assert scheduler._remaining.get(60.0) == 20 - 3 + 1
    assert scheduler._remaining.get(64.0) == 20 - 3 + 2


def test_an_empty_bucket_is_asked_once_when_all_should_be_given_back():
    """One request is sent. The next one waits for that one's reply, or for a place of our own."""
    scheduler = make_scheduler()
    for n in range(5):
        call(scheduler, 4.0 * n, left(40, 30 - n, 20.0))
    refuse(scheduler, 20.0, left(40, 0, 8.0))
    assert scheduler._remaining._server.is_continuous

    assert scheduler.next_slot(20.0).at == pytest.approx(28.0)
    go(scheduler, find_next(scheduler, 28.0))
    assert scheduler.next_slot(28.0).at == 60.0
    assert scheduler.next_slot(28.0).reason is WaitReason.SERVER


def test_a_small_bucket_is_no_sign_of_others():
    """The bucket never held the limit, so reports are compared with the most that it ever held."""
    scheduler = make_scheduler()
    now = 0.0
    for _ in range(12):
        now = find_next(scheduler, now + 1.0)
        call(scheduler, now, left(300, 9, 2.0))

    assert scheduler._remaining._server.is_continuous
    assert not scheduler._remaining._others.are_present(now)


# --- headers that are wrong


def test_nothing_left_is_ignored_if_it_is_always_reported():
    """Six requests, one per second, test the report. All are granted and report nothing left.

    Then the report is ignored for ten windows.
    """
    scheduler = make_scheduler()

    assert wait_until_ignored(scheduler, 0.0) == 5.0
    assert scheduler.next_slot(6.0) == Slot(-math.inf)
    call(scheduler, 604.9, left(300, 0))
    assert scheduler.next_slot(604.9) == Slot(-math.inf)
    assert scheduler.remaining(605.0) == 0


def test_a_slot_that_tests_the_report_says_so():
    """The slot waits for the server, is not exhausted, and has a permit with nothing left."""
    scheduler = make_scheduler()
    call(scheduler, 0.0, left(300, 0))

    slot = scheduler.next_slot(0.0)
    assert (slot.at, slot.reason, slot.exhausted) == (1.0, WaitReason.SERVER, False)
    assert slot.remaining < 1


def test_a_report_that_proved_wrong_again_is_ignored_for_twice_as_long():
    """The report is ignored for ten windows, the next time for twenty, and so on."""
    scheduler = make_scheduler()
    assert wait_until_ignored(scheduler, 0.0) == 5.0
    assert wait_until_ignored(scheduler, 605.0) == 610.0

    call(scheduler, 1809.9, left(300, 1))
    assert scheduler.remaining(1809.9) is None
    assert scheduler.remaining(1810.0) == 1


def test_one_report_of_more_restarts_the_count():
    """Only six contradictions in a row show that the report is wrong."""
    scheduler = make_scheduler()
    for n, remaining in enumerate((0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0)):
        call(scheduler, 200.0 * n, left(300, remaining))

    assert scheduler.remaining(2_000.0) == 0


def test_a_test_of_a_true_report_costs_one_refusal_in_ten_windows():
    """A refused test confirms the report. Ten windows later the report is tested again."""
    scheduler = make_scheduler()
    call(scheduler, 0.0, left(300, 0))
    tested: list[float] = []
    now = 0.0
    while now < 1900.0:
        slot = scheduler.next_slot(now)
        now = max(now, slot.at)
        if slot.remaining < 1:
            tested.append(now)
        refuse(scheduler, now, left(300, 0, 60.0 - now % 60.0))

    assert tested[0] == 1.0
    assert all(600.0 <= later - sooner <= 660.0 for sooner, later in pairwise(tested))
    assert len(tested) == 3


@pytest.mark.parametrize("why", ["in flight", "much is ours"])
def test_a_report_that_we_may_have_caused_is_not_tested(why):
    """A report is not tested while a request is in flight.

    It is not tested either if this client used more than a tenth of the limit.
    """
    scheduler = make_scheduler()
    call(scheduler, 0.0)
    fill(scheduler, 30, 100.0, left(300, 100))
    assert scheduler._remaining._others.are_present(100.0)
    now = find_next(scheduler, 100.0)
    permits = [go(scheduler, now)] if why == "in flight" else []
    now = find_next(scheduler, now)
    call(scheduler, now, left(300, 0, 160.0 - now))
    assert len(permits) == scheduler.in_flight

    assert scheduler.next_slot(now).at == pytest.approx(160.0)


def test_a_server_that_refuses_what_it_reports_as_left_is_distrusted():
    """For ten windows, no burst is sent. For twenty windows, the documented limit also applies."""
    scheduler = make_scheduler()
    call(scheduler, 0.0, left(1200, 1199))
    refuse(scheduler, 0.0, left(1200, 1198))  # without a Retry-After, a refusal is an overload
    call(scheduler, 0.0, left(1200, 1197))
    assert scheduler.windows == (Terms(1200, 60.0, "stated"),)

    refuse(scheduler, 1.0, left(1200, 1196), asked=30.0)
    assert scheduler.windows == (Terms(1200, 60.0, "stated"), Terms(300, 60.0, "documented"))
    assert scheduler.terms == Terms(300, 60.0, "documented")

    scheduler.note_idle(1.0)
    for now in (100.0, 600.0):
        call(scheduler, now, left(1200, 1199))
        assert scheduler._credit.amount > 100
        assert not scheduler.next_slot(now).is_burst
    call(scheduler, 602.0, left(1200, 1198))
    assert scheduler.next_slot(602.0).is_burst
    assert scheduler.terms == Terms(300, 60.0, "documented")
    assert scheduler.next_slot(1201.0).at <= 1201.0
    assert scheduler.windows == (Terms(1200, 60.0, "stated"),)


def test_more_left_than_the_limit_is_no_evidence_of_the_window():
    """Some servers report that more is left than their limit. The client accepts that number."""
    scheduler = make_scheduler()
    call(scheduler, 0.0, left(10, 11, None, None))
    call(scheduler, 6.0, left(10, 500, None, None))

    assert scheduler.remaining(6.0) == 500
    assert scheduler.terms == Terms(10, 60.0, "stated")


def test_headers_can_be_ignored():
    """With ``trust_server=False``, reported numbers are ignored. Refusals still count."""
    scheduler = make_scheduler(100, trust_server=False)
    call(scheduler, 0.0, left(10, 0))

    assert scheduler.windows == (Terms(100, 60.0, "configured"),)
    assert scheduler.remaining(0.0) is None
    assert scheduler.next_slot(0.0) == Slot(-math.inf)
    assert scheduler.get_learned(0.0) is None

    fill(scheduler, 4, 100.0)
    for now in (110.0, 120.0):
        refuse(scheduler, now, left(10, 0))
    assert scheduler.terms == Terms(4, 60.0, "refusals")


# --- refusals


def test_a_single_refusal_does_not_lower_the_limit():
    """Others may have caused one refusal.

    Two refusals far apart count as two single ones.
    """
    scheduler = make_scheduler()
    call(scheduler, 0.0)
    fill(scheduler, 20, 100.0)
    refuse(scheduler, 110.0)
    refuse(scheduler, 231.0)

    assert scheduler.terms == Terms(300, 60.0, "documented")
    assert scheduler.refusals.total == 2


def test_repeated_refusals_lower_the_limit():
    """The limit is lowered to the number of grants in the window, and then raised step by step."""
    scheduler = make_scheduler()
    call(scheduler, 0.0)
    fill(scheduler, 200, 100.0)
    refuse(scheduler, 110.0)
    assert scheduler.terms.limit == 300

    refuse(scheduler, 115.0)
    assert scheduler.terms == Terms(200, 60.0, "refusals")
    assert scheduler.total_limit == 200

    assert scheduler.next_slot(234.9).at <= 234.9
    assert scheduler.terms.limit == 200
    assert scheduler.next_slot(235.0).at <= 235.0
    assert scheduler.terms == Terms(204, 60.0, "refusals")


def test_a_lowered_limit_stays_when_the_server_states_another():
    """Both limits apply, and other processes may adopt the lowered one."""
    scheduler = make_scheduler()
    call(scheduler, 0.0)
    fill(scheduler, 20, 100.0)
    for now in (104.0, 108.0):
        refuse(scheduler, now)
    call(scheduler, 160.0, left(300, 250))

    assert scheduler.windows == (Terms(300, 60.0, "stated"), Terms(20, 60.0, "refusals"))
    learned = scheduler.get_learned(160.0)
    assert learned is not None
    assert learned.requests == 20


def test_refusals_that_were_in_flight_together_count_once():
    """The later refusals show nothing new, though each is counted."""
    scheduler = make_scheduler()
    call(scheduler, 0.0)
    permits = [go(scheduler, 100.0) for _ in range(18)]
    for n, permit in enumerate(permits):
        observe(scheduler, permit, 101.0, refused=n >= 9)
    assert scheduler.refusals.total == 9
    assert scheduler.terms.limit == 300

    refuse(scheduler, 102.0)
    assert scheduler.terms == Terms(9, 60.0, "refusals")


@pytest.mark.parametrize("remaining", [0, 3])
def test_refusals_next_to_others_never_lower_the_limit(remaining):
    """If little is left and a request is refused, others were faster. The limit is right."""
    scheduler = next_to_others(remaining=20)
    now = 0.0
    for _ in range(30):
        now = find_next(scheduler, now + 1.0)
        refuse(scheduler, now, left(300, remaining, 60.0))
        call(scheduler, now + 60.0, left(300, 50, 60.0))
        now += 60.0

    assert scheduler.terms == Terms(300, 60.0, "stated")
    assert scheduler.refusals.counts[RefusalKind.QUOTA] == 30


@pytest.mark.parametrize("asked", [0.0, None])
def test_an_overload_does_not_lower_the_limit(asked):
    """If requests are left and a retry is allowed immediately, the server is overloaded."""
    scheduler = make_scheduler()
    now = 0.0
    for n in range(200):
        now = find_next(scheduler, now + 1.0)
        reported = all_ours(scheduler, 300, now)
        call(scheduler, now, reported, refused=n % 10 == 5, asked=asked)

    assert scheduler.refusals.counts[RefusalKind.OVERLOAD] == 20
    assert scheduler.windows == (Terms(300, 60.0, "stated"),)


def test_an_overload_that_persists_is_a_limit():
    """Ten refusals in a row are no temporary overload, and the next one lowers the limit."""
    scheduler = make_scheduler(60)
    call(scheduler, 0.0)
    fill(scheduler, 5, 100.0, left(300, 295))
    for place in range(10):
        refuse(scheduler, 102.0 + 2 * place, left(300, 290), asked=0.0)
    assert scheduler.terms == Terms(60, 60.0, "configured")

    refuse(scheduler, 122.0, left(300, 290), asked=0.0)
    assert scheduler.terms == Terms(5, 60.0, "refusals")


def test_frequent_refusals_at_the_documented_limit_are_not_an_overload():
    """A documented limit that the headers do not show explains the refusals."""
    scheduler = make_scheduler()
    call(scheduler, 0.0, left(1200, 1199))
    permits = [go(scheduler, 100.0) for _ in range(304)]
    reported = left(1200, 1200 - 304)
    for n, permit in enumerate(permits):
        observe(scheduler, permit, 100.0, reported, refused=n >= 300, asked=0.0)
    assert scheduler.windows == (Terms(1200, 60.0, "stated"),)

    refuse(scheduler, find_next(scheduler, 101.0), reported, asked=0.0)
    assert Terms(300, 60.0, "refusals") in scheduler.windows
    assert scheduler.terms.limit == 300


def test_a_ban_does_not_change_the_limit():
    """A pause of more than an hour does not concern the pace."""
    scheduler = make_scheduler()
    call(scheduler, 0.0)
    fill(scheduler, 5, 100.0)
    for now in (101.0, 102.0, 103.0, 104.0):
        refuse(scheduler, now, asked=7_200.0)

    assert scheduler.refusals.counts[RefusalKind.BAN] == 4
    assert scheduler.windows == (Terms(300, 60.0, "documented"),)


def test_a_quota_that_we_alone_used_up_is_meant_for_a_longer_window():
    """If a request is refused although our own log has a place, the assumed window is too short."""
    scheduler = make_scheduler()
    now = 0.0
    for _ in range(9):
        now = find_next(scheduler, now + 2.0)
        call(scheduler, now, left(10, 9, None, None))
    per = scheduler.server_per
    assert per < 30.0
    now = find_next(scheduler, now + 60.0)
    permits = [go(scheduler, now) for _ in range(9)]
    for _ in permits:
        scheduler.settle(now, sent=True)

    refuse(scheduler, find_next(scheduler, now), left(10, 0, None, None))
    call(scheduler, find_next(scheduler, now + 60.0), left(10, 9, None, None))
    assert scheduler.server_per == pytest.approx(1.1 * per)


def test_a_refusal_that_asks_for_a_longer_time_shows_a_longer_window():
    """If the server grants nothing for 21 seconds, its window has at least 21 seconds."""
    scheduler = make_scheduler(per=10.0)
    call(scheduler, 0.0, left(10, 9, None, None))
    assert scheduler.server_per == 10.0
    refuse(scheduler, 2.0, left(10, 0, None, None), asked=21.0)

    call(scheduler, 30.0, left(10, 5, None, None))
    assert scheduler.server_per == 21.0


def test_a_limit_of_one_is_no_contradiction():
    """With a limit of one, each grant leaves nothing. So a report of 0 is trusted."""
    scheduler = make_scheduler()
    now = 0.0
    for _ in range(8):
        now = find_next(scheduler, now)
        call(scheduler, now, left(1, 0))

    assert scheduler.remaining(now) == 0


def test_a_reply_that_is_no_success_is_no_evidence_of_the_window():
    """A failed request may not have been counted, so it does not show the window's length."""
    scheduler, other = make_scheduler(), make_scheduler()
    for n in range(9):
        for one, granted in ((scheduler, False), (other, True)):
            now = find_next(one, 2.0 * n)
            outcome = Outcome(tuple(left(10, 9, None, None)), granted=granted)
            one.observe(go(one, now), outcome, now)

    assert scheduler.server_per == 60.0
    assert other.server_per < 30.0


# --- several windows, days, shares


def test_all_stated_windows_are_kept_at_once():
    """The slowest window sets the pace, and the lowest report decides how many are left."""
    second, minute = QuotaStatement(10, 9, 1.0, 1.0), QuotaStatement(300, 5, 30.0, 60.0)
    for reported in ([second, minute], [minute, second]):
        scheduler = make_scheduler()
        call(scheduler, 0.0, reported)

        assert set(scheduler.windows) == {Terms(10, 1.0, "stated"), Terms(300, 60.0, "stated")}
        assert scheduler.terms == Terms(300, 60.0, "stated")
        assert scheduler.remaining(0.0) == 5

    scheduler = make_scheduler()
    reported = [QuotaStatement(1, 1, 1.0, 1.0), QuotaStatement(300, 299, 30.0, 60.0)]
    call(scheduler, 0.0, [*reported, QuotaStatement(None)])
    assert scheduler.terms == Terms(1, 1.0, "stated")
    assert scheduler.remaining(0.0) == 1
    assert scheduler.next_slot(0.0) == Slot(1.0, WaitReason.WINDOW)


def test_the_fullest_window_is_waited_for():
    """If several windows are full, the next request waits until all of them have a place."""
    scheduler = make_scheduler()
    quotas = [QuotaStatement(2, 2, 1.0, 1.0), QuotaStatement(4, 4, 60.0, 60.0)]
    for now in (0.0, 0.0, 1.0, 1.0):
        call(scheduler, find_next(scheduler, now), quotas)
    now = max(scheduler._sent._settled)

    assert scheduler.next_slot(now) == Slot(60.0, WaitReason.WINDOW)


def test_a_configured_window_is_kept_next_to_the_reported_ones():
    """The configured limit always applies. A slower reported limit applies as well."""
    scheduler = make_scheduler(30, per=1.0)
    call(scheduler, 0.0, left(60, 59))
    assert scheduler.windows == (Terms(60, 60.0, "stated"), Terms(30, 1.0, "configured"))
    assert scheduler.terms == Terms(60, 60.0, "stated")


def test_a_quota_without_a_window_is_meant_for_the_own_one():
    """A limit without a window is assumed to be for ``RateLimit.per`` seconds."""
    scheduler = make_scheduler()
    call(scheduler, 0.0, [QuotaStatement(10, 9, 1.0, 1.0), QuotaStatement(300, 5, 30.0)])
    assert scheduler.terms == Terms(300, 60.0, "stated")

    scheduler = make_scheduler()
    call(scheduler, 0.0, [QuotaStatement(10, 9, 1.0, 1.0), QuotaStatement(remaining=3)])
    assert scheduler.terms == Terms(10, 1.0, "stated")
    assert scheduler.remaining(0.0) == 3


def test_while_the_length_is_unknown_the_last_requests_are_spread():
    """The replies to the last eight requests show the window's length.

    So the scheduler spreads these requests unevenly, and not at the even pace.
    """
    scheduler = make_scheduler()
    for n in range(15):
        call(scheduler, find_next(scheduler, 0.0), left(20, 19 - n, None, None))
    times = []
    now = 0.0
    for _ in range(4):
        slot = scheduler.next_slot(now)
        assert not slot.paced
        now = find_next(scheduler, now)
        call(scheduler, now, left(20, 19 - scheduler.used(now), None, None))
        times.append(now)

    gaps = [later - sooner for sooner, later in pairwise(times)]
    assert all(later > 1.5 * sooner for sooner, later in pairwise(gaps))

    scheduler = make_scheduler()
    for n in range(15):
        call(scheduler, find_next(scheduler, 0.0), left(20, 19 - n, None))
    assert scheduler.next_slot(0.0).paced


def test_a_quota_of_a_day_sets_no_pace():
    """The window and the reset of a daily quota do not affect the pace.

    A quota per minute in the same reply does affect it.
    """
    day, minute = QuotaStatement(1000, 0, 40_000.0, DAY), QuotaStatement(60, 59, 30.0, 60.0)
    scheduler = make_scheduler()
    call(scheduler, 0.0, [day])
    assert scheduler.terms == Terms(300, 60.0, "documented")
    assert scheduler.remaining(0.0) is None

    call(scheduler, 0.0, [day, minute])
    assert scheduler.windows == (Terms(60, 60.0, "stated"),)
    assert scheduler.remaining(0.0) == 59


@pytest.mark.parametrize(
    "reported, is_long",
    [
        (QuotaStatement(), False),
        (QuotaStatement(1, 1, 3600.0, 3600.0), False),
        (QuotaStatement(1, 1, 3600.1), True),
        (QuotaStatement(1, 1, None, 3600.1), True),
        (QuotaStatement(1, 1, 1.0, DAY), True),
        (QuotaStatement(1, 1, DAY, 60.0), True),
    ],
)
def test_more_than_an_hour_is_long(reported, is_long):
    """A quota is long if its window or its reset is."""
    assert reported.is_long is is_long


def test_the_configured_limit_of_a_day_is_kept():
    """A request counts towards the daily limit for 24 hours after its reply.

    A used-up daily limit is reported as exhausted.
    """
    scheduler = make_scheduler(per_day=3)
    call(scheduler, 0.0, trip=1.0)
    call(scheduler, 10.0, trip=1.0)
    go(scheduler, 20.0)
    used_up = Slot(0.5 + DAY, WaitReason.DAY, exhausted=True)
    assert scheduler.next_slot(20.0) == used_up

    scheduler.settle(21.0, sent=False)
    call(scheduler, 30.0, trip=1.0)
    assert scheduler.next_slot(1000.0) == used_up
    assert scheduler.next_slot(DAY + 0.5).at <= DAY + 0.5


def test_a_day_that_is_all_in_flight_waits_for_a_reply():
    """A request that turns out never to have been sent frees a place."""
    scheduler = make_scheduler(per_day=2)
    call(scheduler, 0.0)
    go(scheduler, DAY - 1.0)

    assert scheduler.next_slot(DAY - 1.0).at == DAY
    go(scheduler, DAY)
    assert scheduler.next_slot(DAY) == Slot(math.inf, WaitReason.DAY, exhausted=True)
    scheduler.settle(DAY + 1.0, sent=False)
    assert scheduler.next_slot(DAY + 1.0).at <= DAY + 1.0


def test_a_lost_request_counts_unless_it_was_never_sent():
    """A lost request counts for a whole window after it was given up."""
    scheduler = make_scheduler(3)
    call(scheduler, 0.0)
    for _ in range(2):
        scheduler.take(scheduler.next_slot(30.0), 30.0)
    scheduler.settle(35.0, sent=True)
    scheduler.settle(35.0, sent=False)

    assert scheduler.in_flight == 0
    assert scheduler.used(94.9) == 1
    assert scheduler.used(95.0) == 0


def test_the_earned_total_follows_the_limit_of_each_time():
    """The earned total is the number of requests that could have been sent since the first one."""
    scheduler = make_scheduler()
    call(scheduler, 100.0)
    assert scheduler.earned(100.0) == 0.0
    assert scheduler.earned(110.0) == 50.0
    assert scheduler.earned(105.0) == 50.0

    call(scheduler, 120.0, left(60, 59))
    assert scheduler.earned(120.0) == 100.0
    assert scheduler.earned(130.0) == 110.0


def test_a_process_keeps_to_its_share_of_every_limit():
    """``total_limit`` is the limit of all processes.

    Each may send at least one request per window.
    """
    scheduler = make_scheduler()
    scheduler.set_share(0.5, 0.0)
    assert scheduler.terms == Terms(150, 60.0, "documented")
    assert scheduler.total_limit == 300

    call(scheduler, 0.0, left(61, 60))
    assert scheduler.terms == Terms(30, 60.0, "stated")
    scheduler.set_share(0.0, 1.0)
    assert scheduler.terms == Terms(1, 60.0, "stated")
    assert scheduler.next_slot(1.0) == Slot(60.0, WaitReason.WINDOW)
    scheduler.set_share(1.0, 2.0)
    assert scheduler.terms == Terms(61, 60.0, "stated")


def test_a_share_is_taken_of_what_the_server_grants_and_not_of_the_ceiling():
    """``RateLimit.share`` leaves the rest of a limit to others, but does not reduce the ceiling."""
    scheduler = make_scheduler(share=0.5)
    assert scheduler.terms == Terms(150, 60.0, "documented")
    call(scheduler, 0.0, left(1000, 999))
    assert scheduler.windows == (Terms(500, 60.0, "stated"),)

    scheduler = make_scheduler(400, share=0.5)
    assert scheduler.terms == Terms(400, 60.0, "configured")
    call(scheduler, 0.0, left(1000, 999))
    assert scheduler.windows == (Terms(500, 60.0, "stated"), Terms(400, 60.0, "configured"))


def test_a_rate_that_another_process_learned_replaces_all_but_the_configured_one():
    """The adopted rate is dropped again when this process itself learns a rate."""
    scheduler = make_scheduler()
    call(scheduler, 0.0, left(100, 99))
    assert scheduler.get_learned(2.0) == LearnedRate(100, 60.0, age=2.0)

    scheduler.adopt(LearnedRate(50, 10.0), 1.0)
    assert scheduler.windows == (Terms(50, 10.0, "shared"),)
    assert scheduler.get_learned(1.0) is None
    scheduler.adopt(None, 2.0)
    assert scheduler.windows == (Terms(100, 60.0, "stated"),)

    scheduler = make_scheduler(40)
    scheduler.adopt(LearnedRate(50, 10.0), 1.0)
    assert scheduler.windows == (Terms(50, 10.0, "shared"), Terms(40, 60.0, "configured"))


def test_the_window_of_the_reports_is_followed_next_to_a_shared_rate():
    """A report about one second is not valid for a minute, even next to a shared rate."""
    scheduler = make_scheduler()
    scheduler.adopt(LearnedRate(300, 60.0), 0.0)
    call(scheduler, 0.0, left(5, 4, None, 1.0))

    assert scheduler.windows == (Terms(300, 60.0, "shared"),)
    assert scheduler.remaining(0.9) == 4
    assert scheduler.remaining(1.0) is None


def test_what_other_processes_were_granted_counts_for_a_refusal():
    """All processes together used the limit, so it is not lowered to what this process used."""
    scheduler = make_scheduler(100)
    call(scheduler, 0.0)
    fill(scheduler, 10, 100.0)
    scheduler.note_used_by_all(50 + 1, 100.0)  # including the one that is about to be sent
    for now in (101.0, 102.0):
        refuse(scheduler, now)

    assert scheduler.terms == Terms(50, 60.0, "refusals")


def test_a_long_job_takes_bounded_memory():
    """Requests that no window needs are deleted, even while the limits do not change."""
    scheduler = make_scheduler(100, per=1.0)
    for n in range(30_000):
        call(scheduler, n / 50)

    assert len(scheduler._sent._settled) < 1_000 + 2 * 60 * 50


def test_a_day_is_remembered_if_it_is_counted():
    """With ``per_day``, the requests of a whole day are kept."""
    scheduler = make_scheduler(100, per=1.0, per_day=100_000)
    for n in range(10_000):
        call(scheduler, n / 50)

    assert scheduler.used(200.0, DAY) == 10_000


# --- no pace at all


def test_without_a_pace_each_request_is_sent_as_soon_as_it_is_wanted():
    """The scheduler only counts requests in flight and refusals."""
    scheduler = Unlimited()
    permits = [scheduler.take(scheduler.next_slot(float(now)), float(now)) for now in range(3)]
    assert [permit.sent for permit in permits] == [0.0, 1.0, 2.0]
    assert scheduler.next_slot(7.0) == Slot(7.0, WaitReason.NOTHING, paced=False)
    assert scheduler.in_flight == 3

    refused = Outcome((), granted=False, refusal=RefusalKind.OVERLOAD)
    scheduler.observe(permits[0], refused, 3.0)
    scheduler.observe(permits[1], Outcome(tuple(left(1, 0))), 3.0)
    scheduler.settle(3.0, sent=True)
    scheduler.note_idle(3.0)

    assert scheduler.in_flight == 0
    assert scheduler.refusals.counts[RefusalKind.OVERLOAD] == scheduler.refusals.total == 1
    assert scheduler.terms == Terms(0, 0.0, "unpaced")
    assert scheduler.windows == ()
    assert scheduler.server_per == 0.0
    assert scheduler.next_slot(7.0) == Slot(7.0, WaitReason.NOTHING, paced=False)
    assert scheduler.used(7.0) == 0
    assert scheduler.remaining(7.0) is None
    assert scheduler.earned(7.0) == math.inf


# --- whatever happens


# A clock is always a little late: when it hits a slot exactly, rounding decides.
LATE = 1e-7
# In exact tests, the shortest time on the way: the maximum deduction for a one-minute window.
LEAST = 3.0


class Sent:
    """A request: when it was sent and settled, and the shortest exchange that it may have."""

    def __init__(self, permit: Permit, least: float) -> None:
        self.permit, self.sent, self.settled = permit, permit.sent, math.inf
        self.least = least


class Watched:
    """A window that the scheduler keeps: its start, and its limits over time."""

    def __init__(self, limit: int, now: float) -> None:
        self.since = now
        self.limits = [(now, limit)]

    def note(self, limit: int, now: float) -> None:
        if self.limits[-1][1] != limit:
            self.limits.append((now, limit))

    def get_largest_limit(self, since: float) -> int:
        """Return the largest limit that was in force at some time from ``since`` on."""
        ends = [time for time, _ in self.limits[1:]] + [math.inf]
        return max(limit for (_, limit), end in zip(self.limits, ends, strict=True) if end >= since)


class Driver:
    """Uses every slot, and checks after each event that no window holds too many requests.

    Every window of ``scheduler.windows`` is checked, and so is that of ``per_day``. The limits may
    change at any time: a window may hold as many as the largest limit that was in force while its
    requests were in flight. When a window of another length is kept, only the requests sent since
    then are checked against it.

    Args:
        rate: The options of the scheduler.
        is_exact: True if each exchange takes at least the time that is deducted from a window for
            it. Windows are then checked in their full length. If this is false, an exchange may
            take no time, and the checked windows are shorter by a twentieth, which is the maximum
            deduction.
    """

    def __init__(self, rate: RateLimit, *, is_exact: bool) -> None:
        self.rate, self.scheduler = rate, Scheduler(rate)
        self.is_exact = is_exact
        self.now = 0.0
        self.in_flight: list[Sent] = []
        self.done: list[Sent] = []
        self.longest_reset = 0.0
        self.watched: dict[float, Watched] = {}
        # The largest number of requests that each source of a limit allows.
        self.ceilings = {
            "documented": 300 * rate.share,
            "configured": rate.requests or 0,
            "stated": 0.0,
            "shared": 0.0,
        }
        self.look()

    def look(self) -> None:
        """Record the windows that the scheduler keeps from now on."""
        windows = self.scheduler.windows
        assert windows
        assert self.scheduler.terms in windows
        limits: dict[float, int] = {}
        for limit, per, source in windows:
            assert limit >= 1
            assert per > 0
            if source in self.ceilings:
                assert limit <= max(1, self.ceilings[source])
            limits[per] = min(limit, limits.get(per, limit))
        self.watched = {per: one for per, one in self.watched.items() if per in limits}
        for per, limit in limits.items():
            self.watched.setdefault(per, Watched(limit, self.now)).note(limit, self.now)

    def next(self) -> Slot:
        slot = self.scheduler.next_slot(self.now)
        self.look()
        assert not math.isnan(slot.at)
        assert not math.isnan(slot.remaining)
        return slot

    def take(self, most: int) -> None:
        """Send everything that may be sent now."""
        for _ in range(most):
            if (slot := self.next()).at > self.now:
                return
            least = self.get_deducted() if self.is_exact else 0.0
            self.in_flight.append(Sent(self.scheduler.take(slot, self.now), least))
            self.check([one.sent for one in (*self.done, *self.in_flight)])

    def get_deducted(self) -> float:
        """Return the maximum that is deducted from any of the windows, now or later."""
        longest = max(window.per for window in self.scheduler.windows)
        return max(LEAST, min(self.scheduler._sent.quickest, longest / 10) / 2)

    def pass_time(self, duration: float) -> None:
        self.now += duration + LATE

    def leap(self, most: int) -> None:
        """Advance to the time of the next slot without any other event, and use the slot."""
        slot = self.next()
        if self.now < slot.at < math.inf:
            self.pass_time(slot.at - self.now)
        self.take(most)

    def settle(
        self,
        place: int,
        reported: list[QuotaStatement],
        fate: str,
        asked: float | None = None,
        least: float = 0.0,
    ) -> None:
        """Let a request end."""
        if not self.in_flight:
            return
        one = self.in_flight.pop(place % len(self.in_flight))
        self.now = max(self.now, one.sent + max(least, one.least))
        one.settled = self.now
        if fate in {"lost", "never sent"}:
            self.scheduler.settle(self.now, sent=fate == "lost")
        else:
            self.observe(one.permit, reported, fate, asked)
        self.look()
        if fate != "never sent":
            self.done.append(one)
            self.check([one.settled for one in self.done])

    def observe(
        self, permit: Permit, reported: list[QuotaStatement], fate: str, asked: float | None
    ) -> None:
        reported = reported if self.scheduler.trusts_server else []
        outcome = Outcome(tuple(reported), granted=fate == "granted")
        resets = [part.reset or 0.0 for part in outcome.short]
        if self.rate.trust_server:
            self.raise_ceiling("stated", max((one.limit or 0 for one in outcome.short), default=0))
        if fate == "refused":
            kind = classify_refusal(reported, asked, self.scheduler.server_per)
            outcome = outcome._replace(refusal=kind, asked=asked)
        self.longest_reset = max(self.longest_reset, *resets, 0.0)
        self.scheduler.observe(permit, outcome, self.now)

    def adopt(self, rate: LearnedRate | None) -> None:
        self.raise_ceiling("shared", rate.requests if rate else 0)
        self.scheduler.adopt(rate, self.now)

    def raise_ceiling(self, source: str, limit: int) -> None:
        """Record that a source allows ``limit`` requests, reduced to the share."""
        self.ceilings[source] = max(self.ceilings[source], limit * self.rate.share)

    def check(self, times: list[float]) -> None:
        """Check all windows that end now, by the times of sending and of settling."""
        every = [*self.done, *self.in_flight][: len(times)]
        for per, watched in self.watched.items():
            begin = self.now - (per if self.is_exact else per * 19 / 20) + 1e-6
            held = [
                one.sent
                for time, one in zip(times, every, strict=True)
                if time > begin and one.sent >= watched.since
            ]
            assert len(held) <= (watched.get_largest_limit(min(held)) if held else 0)
        if self.rate.per_day is not None:
            begin = self.now - DAY * 19 / 20
            assert sum(time > begin for time in times) <= self.rate.per_day

    def get_longest_wait(self) -> float:
        """Return the number of seconds within which the next slot must arrive.

        This number is the longest of the scheduler's windows and of the reported resets. No window
        is longer than the configured one, one learned by another process, or an hour.
        """
        longest = max(window.per for window in self.scheduler.windows)
        assert longest <= max(3600.0, self.rate.per)
        day = 0.0 if self.rate.per_day is None else DAY
        return max(longest, self.longest_reset, self.rate.per, day)

    def never_stops(self) -> None:
        """Settle all requests without a refusal, and check that each next slot arrives in time."""
        while self.in_flight:
            self.settle(0, [], "granted", least=LEAST)
        for _ in range(3):
            latest = self.now + self.get_longest_wait() + 2.0
            for _ in range(50):
                if (slot := self.next()).at <= self.now:
                    break
                assert slot.at <= latest
                self.pass_time(slot.at - self.now)
            self.take(1)
            assert self.in_flight
            self.settle(0, [], "granted", least=LEAST)


FATES = st.sampled_from(
    ["granted", "granted", "granted", "granted", "failed", "refused", "refused", "lost", "unsent"]
).map(lambda fate: "never sent" if fate == "unsent" else fate)
COUNTS = st.none() | st.integers(0, 12) | st.integers(0, 999_999_999)
LIMITS = st.none() | st.integers(1, 12) | st.integers(1, 999_999_999)
RESETS = st.none() | st.just(0.0) | st.floats(0, 3) | st.floats(0, 120) | st.floats(0, 2_678_400)
ASKED = st.sampled_from([None, None, 0.0, 1.0, 30.0, 60.0, 600.0, 3600.0, DAY]) | st.floats(0, 200)
WINDOWS = st.sampled_from([None, None, None, 1e-21, 0.001, 0.5, 1.0, 60.0, 600.0, 3600.0, DAY])
WAITS = st.sampled_from([0.0, 0.0, 0.1, 1.0, 30.0, 60.0, 1000.0]) | st.floats(0, 100)
LEARNED = st.none() | st.builds(
    LearnedRate, LIMITS.map(lambda limit: limit or 20), st.sampled_from([1.0, 60.0, 600.0])
)
CEILINGS = st.none() | st.integers(1, 5) | st.integers(30, 70)
SHARES = st.sampled_from([1.0, 1.0, 0.5, 0.001])


def build_rates(per: st.SearchStrategy[float]) -> st.SearchStrategy[RateLimit]:
    """Return options of all kinds."""
    return st.builds(
        RateLimit,
        requests=CEILINGS,
        per=per,
        per_day=st.none() | st.none() | st.integers(1, 12),
        share=SHARES,
        trust_server=st.sampled_from([True, True, True, False]),
    )


def build_steps(per: st.SearchStrategy[float | None]) -> st.SearchStrategy[list[tuple]]:
    """Return a strategy for sequences of events."""
    reported = st.lists(st.builds(QuotaStatement, LIMITS, COUNTS, RESETS, per), max_size=2)
    settle = st.tuples(st.just("settle"), WAITS, st.integers(0, 20), reported, FATES, ASKED)
    return st.lists(
        st.one_of(
            st.tuples(st.just("take"), WAITS, st.integers(1, 20)),
            st.tuples(st.just("leap"), WAITS, st.integers(1, 20)),
            settle,
            settle,
            settle,
            st.tuples(st.just("idle"), WAITS),
            st.tuples(st.just("share"), WAITS, st.sampled_from([0.0, 0.1, 0.5, 1.0])),
            st.tuples(st.just("adopt"), WAITS, LEARNED),
            st.tuples(st.just("used by all"), WAITS, st.integers(0, 1000)),
        ),
        max_size=40,
    )


def drive(driver: Driver, happens: list[tuple]) -> None:
    for what, wait, *more in happens:
        driver.pass_time(wait)
        match what:
            case "take":
                driver.take(*more)
            case "leap":
                driver.leap(*more)
            case "settle":
                driver.settle(*more)
            case "idle":
                driver.scheduler.note_idle(driver.now)
            case "share":
                driver.scheduler.set_share(*more, driver.now)
            case "adopt":
                driver.adopt(*more)
            case _:
                driver.scheduler.note_used_by_all(*more, driver.now)
        driver.look()


@given(rate=build_rates(st.just(60.0)), happens=build_steps(st.none()))
def test_no_window_ever_holds_more_than_the_largest_limit_that_was_in_force(rate, happens):
    """No window is too full, by sending or settling time, and the next slot always arrives.

    That holds for any reports, refusals and losses, and for rates shared or learned elsewhere. The
    bound is exact if no exchange takes less than the time that is deducted from a window for it:
    see the tests of the sent log. A configured limit is never exceeded.
    """
    driver = Driver(rate, is_exact=True)

    drive(driver, happens)

    if rate.requests is not None:
        assert any(window.source == "configured" for window in driver.scheduler.windows)
        assert driver.scheduler.terms.rate <= rate.requests / rate.per
    driver.never_stops()


@given(
    rate=build_rates(st.sampled_from([0.001, 1.0, 60.0, 3600.0, 1e6])), happens=build_steps(WINDOWS)
)
def test_no_window_ever_holds_too_much_however_absurd_the_reports(rate, happens):
    """No window is too full even if exchanges take no time and reported windows have any length.

    The checked windows are a twentieth shorter for that, which is the maximum deduction.
    """
    driver = Driver(rate, is_exact=False)

    drive(driver, happens)

    driver.never_stops()
