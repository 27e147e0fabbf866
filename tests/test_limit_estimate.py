"""The limits that apply together: configured, reported, learned from refusals, or shared."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cekat_async import RateLimit
from cekat_async._ratelimit.server.headers import QuotaStatement
from cekat_async._ratelimit.server.learned_rate import LearnedRate
from cekat_async._ratelimit.server.limit_estimate import DOCUMENTED, LimitEstimate, Terms
from cekat_async._ratelimit.server.window_length import Report

DOCUMENTED_TERMS = Terms(300, 60.0, "documented")


def make_estimate(*stated: QuotaStatement, **rate: object) -> LimitEstimate:
    """Return an estimate that has learned these quotas from a reply at time 0."""
    estimate = LimitEstimate(RateLimit(**rate))
    estimate.update(stated, 0.0)
    return estimate


def refuse(estimate, granted: int, now: float, *, asked=None, began_at=-1e6, times=1) -> None:
    """Record refusals by a server that had granted ``granted`` requests in each window."""
    for _ in range(times):
        estimate.lower(lambda per: granted, asked, began_at, now)


def make_short(*stated: QuotaStatement) -> LimitEstimate:
    """Return an estimate that has learned from a server with 1000 requests per 5 seconds.

    Strangers use up each of the server's windows.
    """
    estimate = make_estimate(*stated)
    for start in range(0, 100, 5):
        for now, remaining in ((start, 999), (start + 4.99, 0)):
            report = Report(1000, remaining, None, now, now)
            estimate.learn_length(report, quickest=0.0, in_flight=0, used=1)
    estimate.update(stated, 100.0)
    return estimate


# --- which limits apply without refusals


@pytest.mark.parametrize(
    "rate, terms",
    [
        ({}, (300, 60.0, "documented")),
        ({"per": 30.0}, (300, 30.0, "documented")),
        ({"share": 0.5}, (150, 60.0, "documented")),
        ({"share": 0.001}, (1, 60.0, "documented")),
        ({"requests": 1000, "per": 30.0}, (1000, 30.0, "configured")),
        ({"requests": 50, "share": 0.5}, (50, 60.0, "configured")),
    ],
)
def test_it_begins_with_the_configured_or_documented_limit(rate, terms):
    """Without a setting, the limit is 300 requests in 60 seconds.

    A share does not reduce a configured limit.
    """
    estimate = LimitEstimate(RateLimit(**rate))

    assert DOCUMENTED == 300
    assert estimate.windows == (terms,)
    assert estimate.pace == terms
    assert estimate.server_per == terms[1]
    assert estimate.changes_at == math.inf
    assert not estimate.is_lowered
    assert not estimate.is_length_guessed


def test_it_follows_the_reported_limit_up_and_down():
    """A reported limit replaces the documented limit, and any limit that was reported before."""
    estimate = LimitEstimate(RateLimit())

    for limit in (60, 1000, 1, 999_999_999):
        estimate.update([QuotaStatement(limit)], 0.0)
        assert estimate.windows == ((limit, 60.0, "stated"),)
    assert estimate.changes_at == math.inf


@pytest.mark.parametrize("reported", [[], [QuotaStatement(remaining=5, reset=10.0)]])
def test_a_reply_that_states_no_limit_changes_nothing(reported):
    """A reply that reports only ``remaining`` does not change the limit."""
    estimate = make_estimate(QuotaStatement(100))
    estimate.update(reported, 1.0)

    assert estimate.windows == ((100, 60.0, "stated"),)


def test_the_stated_window_is_followed():
    """If the server reports the length of the window, the client does not estimate it."""
    estimate = make_estimate(QuotaStatement(10, per=1.0))
    assert estimate.windows == ((10, 1.0, "stated"),)
    assert estimate.server_per == 1.0
    assert not estimate.is_length_guessed

    estimate.update([QuotaStatement(10)], 0.0)
    assert estimate.windows == ((10, 60.0, "stated"),)
    assert estimate.is_length_guessed


def test_several_limits_count_at_once():
    """The slowest of several limits determines the pace."""
    estimate = make_estimate(QuotaStatement(10, per=1.0), QuotaStatement(300, per=60.0))

    assert estimate.windows == ((10, 1.0, "stated"), (300, 60.0, "stated"))
    assert estimate.pace == (300, 60.0, "stated")
    assert estimate.pace.rate == 5.0


@pytest.mark.parametrize("limit, part", [(100, 25), (7, 1), (1, 1)])
def test_a_share_is_a_part_of_the_reported_limit(limit, part):
    """A share of the limit is rounded down, but it is at least one request."""
    assert make_estimate(QuotaStatement(limit), share=0.25).windows == ((part, 60.0, "stated"),)


@pytest.mark.parametrize("stated", [49, 50, 51, 999_999_999])
def test_the_configured_limit_always_applies(stated):
    """The configured limit applies in addition to the reported one."""
    estimate = make_estimate(QuotaStatement(stated), requests=50)

    assert estimate.windows == ((stated, 60.0, "stated"), (50, 60.0, "configured"))
    assert estimate.pace.limit == min(stated, 50)


# --- the length of the window


def test_a_shorter_window_is_learned():
    """The client learns a shorter window, to which the limit applies from the next report on."""
    estimate = make_short(QuotaStatement(1000))

    assert estimate.windows == ((1000, pytest.approx(5, rel=0.01), "stated"),)
    assert estimate.server_per == estimate.pace.per


def test_a_stated_window_is_not_learned():
    """A reported length replaces the learned one."""
    assert make_short(QuotaStatement(1000, per=30.0)).windows == ((1000, 30.0, "stated"),)


def test_a_window_that_was_too_short_is_longer_at_once():
    """If the learned window is too short, it is lengthened immediately."""
    estimate = make_short(QuotaStatement(1000))
    before = estimate.server_per

    estimate.lengthen(101.0)

    assert estimate.windows == ((1000, pytest.approx(1.1 * before), "stated"),)
    assert estimate.server_per == estimate.pace.per


def test_a_longer_window_is_assumed_from_the_next_statement_on():
    """If a refusal lasts longer than the window, the next report makes the window that long."""
    estimate = make_estimate(QuotaStatement(10))
    estimate.extend(300.0, 0.0)
    estimate.update([QuotaStatement(10)], 1.0)

    assert estimate.windows == ((10, 300.0, "stated"),)


# --- doubt


def test_a_server_that_refused_within_its_own_limit_is_distrusted():
    """After a refusal within the reported limit, the documented limit applies too.

    It applies for twenty windows, and each further such refusal extends this time.
    """
    estimate = make_estimate(QuotaStatement(1200))
    estimate.distrust(5.0)
    assert estimate.windows == ((1200, 60.0, "stated"), DOCUMENTED_TERMS)
    assert estimate.changes_at == 1205.0

    estimate.distrust(100.0)
    estimate.update([QuotaStatement(1200)], 1299.9)
    assert estimate.pace == DOCUMENTED_TERMS
    assert estimate.changes_at == 1300.0

    estimate.renew(1300.0)
    assert estimate.windows == ((1200, 60.0, "stated"),)
    assert estimate.changes_at == math.inf


def test_a_distrusted_server_may_still_report_less():
    """If a distrusted server reports a limit below the documented one, the reported one applies."""
    estimate = make_estimate(QuotaStatement(1200))
    estimate.distrust(0.0)
    estimate.update([QuotaStatement(60)], 1.0)

    assert estimate.pace == (60, 60.0, "stated")


# --- refusals


def test_a_single_refusal_lowers_nothing():
    """A single refusal lowers nothing, because its reason may be temporary. The second one does."""
    estimate = LimitEstimate(RateLimit())
    refuse(estimate, 200, 0.0)
    assert estimate.windows == (DOCUMENTED_TERMS,)

    refuse(estimate, 190, 60.0)

    assert estimate.is_lowered
    assert estimate.windows == ((200, 60.0, "refusals"), DOCUMENTED_TERMS)
    assert estimate.pace == (200, 60.0, "refusals")
    assert estimate.changes_at == 180.0


@pytest.mark.parametrize("granted, is_lowered", [(269, False), (270, True), (330, True)])
def test_one_refusal_is_enough_near_the_documented_limit(granted, is_lowered):
    """One refusal lowers the limit if about 300 requests, the documented limit, were granted."""
    estimate = make_estimate(QuotaStatement(1000))
    assert estimate.is_documented(lambda per: granted) is is_lowered
    refuse(estimate, granted, 1.0)

    assert estimate.is_lowered is is_lowered
    assert estimate.pace.limit == (granted if is_lowered else 1000)


def test_only_the_minute_is_documented():
    """A refusal after 300 requests in five seconds is not due to the documented limit."""
    estimate = make_estimate(QuotaStatement(1000), per=5.0)

    assert not estimate.is_documented(lambda per: 300 if per == 5.0 else 800)


def test_a_lowered_limit_is_raised_until_it_is_forgotten():
    """A lowered limit is raised to the reported limit, in steps that double each time."""
    estimate, limits = make_estimate(QuotaStatement(300)), []
    refuse(estimate, 200, 0.0, times=2)
    while estimate.changes_at < math.inf:
        limits.append((estimate.changes_at, estimate.pace.limit))
        estimate.renew(estimate.changes_at - 0.1)
        estimate.renew(estimate.changes_at)

    assert limits == [(120.0, 200), (180.0, 204), (240.0, 212), (300.0, 228), (360.0, 260)]
    assert estimate.windows == ((300, 60.0, "stated"),)


@pytest.mark.parametrize("requests", [200, 100])
def test_a_limit_above_the_configured_one_is_dropped(requests):
    """A limit that was learned from refusals is dropped unless it is below the configured one."""
    estimate = LimitEstimate(RateLimit(requests))
    refuse(estimate, 200, 0.0, times=2)

    assert estimate.windows == ((requests, 60.0, "configured"),)
    assert not estimate.is_lowered


@pytest.mark.parametrize("stated, is_kept", [(201, True), (200, False), (100, False)])
def test_a_report_below_a_lowered_limit_replaces_it(stated, is_kept):
    """If the server reports a limit at or below a lowered limit, the reported limit replaces it."""
    estimate = LimitEstimate(RateLimit())
    refuse(estimate, 200, 0.0, times=2)
    estimate.update([QuotaStatement(stated)], 1.0)

    assert estimate.is_lowered is is_kept
    assert estimate.pace.limit == (200 if is_kept else stated)


@pytest.mark.parametrize(
    "granted, now, asked, limit",
    [
        # The server grants more 5 seconds later, so it grants 10 in 10 seconds, or 60 per minute.
        (10, 5.0, 5.0, 60),
        (10, 0.0, 0.1, 300),
        # The server grants more after the minute, or it does not say when.
        (10, 50.0, 10.0, 10),
        (10, 5.0, None, 10),
    ],
)
def test_an_early_return_shows_a_shorter_window(granted, now, asked, limit):
    """If the server grants more requests soon after a refusal, its window is that short."""
    estimate = LimitEstimate(RateLimit())
    refuse(estimate, granted, now, asked=asked, began_at=0.0, times=2)

    assert estimate.pace.limit == limit


def count_by_window(counts: dict[float, int]):
    return lambda per: counts[per]


def test_the_shortest_window_that_explains_a_refusal_is_lowered():
    """At first, refusals lower the limit of the window with the configured length."""
    estimate = LimitEstimate(RateLimit(100, per=5.0))
    for _ in range(2):
        estimate.lower(count_by_window({5.0: 50, 60.0: 90}), None, 0.0, 100.0)

    assert estimate.windows == ((50, 5.0, "refusals"), (100, 5.0, "configured"))


@pytest.mark.parametrize("began_at, explains", [(40.0, True), (40.1, False)])
def test_a_minute_is_lowered_if_a_shorter_window_held_as_many_before(began_at, explains):
    """The limit per minute is lowered only after a complete minute was observed."""
    estimate = LimitEstimate(RateLimit(100, per=5.0))
    estimate.record_grant(count_by_window({5.0: 50, 60.0: 0}), 90.0)
    for _ in range(2):
        estimate.lower(count_by_window({5.0: 50, 60.0: 90}), None, began_at, 100.0)

    lowered = ((90, 60.0, "refusals"),) if explains else ()
    assert estimate.windows == (*lowered, (100, 5.0, "configured"))


def test_the_documented_minute_is_lowered_before_it_is_over():
    """A refusal after 300 requests in ten seconds is explained by the documented limit."""
    estimate = LimitEstimate(RateLimit(1000, per=5.0))
    estimate.record_grant(count_by_window({5.0: 200, 60.0: 200}), 5.0)
    estimate.lower(count_by_window({5.0: 150, 60.0: 300}), None, 0.0, 10.0)

    assert estimate.windows == ((300, 60.0, "refusals"), (1000, 5.0, "configured"))


def test_refusals_at_random_lower_nothing():
    """If the same number of requests was granted before, refusals do not lower the limit."""
    estimate = LimitEstimate(RateLimit())
    estimate.record_grant(lambda per: 200, 0.0)
    refuse(estimate, 200, 60.0, times=5)

    assert estimate.windows == (DOCUMENTED_TERMS,)


def test_a_window_longer_than_a_minute_is_the_only_one():
    """If the window is longer than a minute, refusals lower only the limit of that window."""
    estimate = LimitEstimate(RateLimit(100, per=120.0))
    refuse(estimate, 50, 200.0, began_at=0.0, times=2)

    assert estimate.windows == ((50, 120.0, "refusals"), (100, 120.0, "configured"))


# --- the rate for other processes


def test_nothing_is_learned_from_the_configured_limit():
    """A limit that is only configured is not shared with other processes."""
    assert LimitEstimate(RateLimit(50)).get_learned(0.0) is None


def test_the_slowest_reported_limit_is_learned():
    """The slowest reported limit is learned, with its age. A share does not reduce it."""
    estimate = make_estimate(
        QuotaStatement(10, per=1.0), QuotaStatement(300, per=60.0), requests=5, share=0.5
    )

    assert estimate.get_learned(7.0) == LearnedRate(300, 60.0, age=7.0)


def test_a_lowered_limit_is_learned_and_so_is_its_end():
    """While a lowered limit applies, it is the learned limit, even if reports state another one."""
    estimate = make_estimate(QuotaStatement(300), share=0.9)
    refuse(estimate, 200, 1.0, times=2)
    assert estimate.get_learned(1.0) == LearnedRate(200, 60.0)
    estimate.update([QuotaStatement(300)], 2.0)
    assert estimate.get_learned(2.0) == LearnedRate(200, 60.0)

    while estimate.changes_at < math.inf:
        now = estimate.changes_at
        estimate.renew(now)

    assert estimate.get_learned(now) == LearnedRate(300, 60.0)


def test_the_limit_of_another_process_is_adopted():
    """The limit of another process replaces the documented or reported one. A share reduces it."""
    estimate = make_estimate(QuotaStatement(300), share=0.5)

    estimate.adopt(LearnedRate(100, 30.0), 1.0)
    assert estimate.windows == ((50, 30.0, "shared"),)
    assert estimate.get_learned(1.0) is None
    estimate.update([QuotaStatement(300)], 2.0)
    assert estimate.windows == ((50, 30.0, "shared"),)

    estimate.adopt(None, 3.0)
    assert estimate.windows == ((150, 60.0, "stated"),)
    assert estimate.get_learned(3.0) == LearnedRate(300, 60.0, age=1.0)


def test_an_adopted_limit_replaces_the_documented_one():
    """An adopted limit replaces the documented limit, even if the adopted one is higher."""
    estimate = LimitEstimate(RateLimit())
    estimate.adopt(LearnedRate(1000, 60.0), 0.0)

    assert estimate.windows == ((1000, 60.0, "shared"),)


def test_the_configured_limit_applies_next_to_an_adopted_one():
    """The configured limit applies in addition to the limit of another process."""
    estimate = LimitEstimate(RateLimit(50))
    estimate.adopt(LearnedRate(100, 60.0), 0.0)

    assert estimate.windows == ((100, 60.0, "shared"), (50, 60.0, "configured"))


# --- any sequence of events

LIMITS = st.integers(1, 20) | st.integers(1, 999_999_999)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("update"), LIMITS),
        st.tuples(st.just("lower"), st.integers(-1, 1000)),
        st.tuples(st.just("grant"), st.integers(-1, 1000)),
        st.tuples(st.just("distrust"), st.none()),
        st.tuples(st.just("adopt"), LIMITS | st.none()),
        st.tuples(st.just("renew"), st.none()),
    ),
    max_size=40,
)


@given(requests=st.none() | LIMITS, steps=STEPS, waits=st.lists(st.integers(0, 1500), min_size=40))
def test_the_limit_never_exceeds_the_reported_or_configured_one(requests, steps, waits):
    """The limit is never above the reported or configured one, for any sequence of events."""
    estimate = LimitEstimate(RateLimit(requests))
    ceiling, stated, adopted, now = requests or math.inf, None, None, 0.0
    for (what, value), wait in zip(steps, waits, strict=False):
        now += wait
        match what:
            case "update":
                stated = value
                estimate.update([QuotaStatement(value)], now)
            case "lower":
                refuse(estimate, value, now)
            case "grant":
                estimate.record_grant(lambda per, granted=value: granted, now)
            case "distrust":
                estimate.distrust(now)
            case "adopt":
                adopted = value
                estimate.adopt(value and LearnedRate(value, 60.0), now)
            case _:
                estimate.renew(now)
        known = [one for one in (adopted or stated, requests) if one is not None]
        assert 1 <= estimate.pace.limit <= min(known, default=300)
        assert estimate.pace.limit <= ceiling
        assert all(isinstance(one.limit, int) and one.limit >= 1 for one in estimate.windows)
        # Only a grant can leave a change overdue.
        assert what == "grant" or estimate.changes_at > now
