"""The estimate: how many requests the server grants, as far as one can know, and why."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cekat_async import RateLimit
from cekat_async._ratelimit.server.headers import QuotaStatement
from cekat_async._ratelimit.server.limit_estimate import DOCUMENTED, LimitEstimate

NEVER = math.inf


def get_terms(estimate: LimitEstimate) -> tuple[int, float, str]:
    """Return what a estimate keeps to."""
    return estimate.limit, estimate.per, estimate.source


def make_estimate(limit: int | None, requests: int | None = None) -> LimitEstimate:
    """Return the estimate of one who was told a limit, at the time 0."""
    estimate = LimitEstimate(RateLimit(requests))
    estimate.update(QuotaStatement(limit), 0.0)
    return estimate


def make_lowered(granted: int, limit: int = 300) -> LimitEstimate:
    """Return the estimate of one who was told a limit and refused, at the time 0."""
    estimate = make_estimate(limit)
    estimate.lower(granted, 0.0)
    return estimate


# --- what it begins with, and what it is told


def test_it_begins_with_what_is_configured_or_documented():
    """Without a setting: 300 requests in 60 seconds, which nothing is to probe."""
    estimate = LimitEstimate(RateLimit())

    assert get_terms(estimate) == (DOCUMENTED, 60.0, "documented") == (300, 60.0, "documented")
    assert estimate.raises_at == NEVER
    assert get_terms(LimitEstimate(RateLimit(1000, per=30))) == (1000, 30, "configured")
    assert get_terms(LimitEstimate(RateLimit(1))) == (1, 60.0, "configured")
    assert get_terms(LimitEstimate(RateLimit(per=30))) == (300, 30, "documented")


def test_it_follows_what_is_stated_up_and_down():
    """Each statement replaces the one before."""
    estimate = LimitEstimate(RateLimit())

    for limit in (60, 1000, 1, 999_999_999):
        estimate.update(QuotaStatement(limit), 0.0)
        assert get_terms(estimate) == (limit, 60.0, "stated")
    assert estimate.raises_at == NEVER


def test_the_stated_window_is_followed():
    """The limit is for as many seconds as the server says, until it says another."""
    estimate = LimitEstimate(RateLimit())

    estimate.update(QuotaStatement(10, per=1.0), 0.0)
    assert get_terms(estimate) == (10, 1.0, "stated")
    estimate.update(QuotaStatement(10, per=2.0), 0.0)
    assert get_terms(estimate) == (10, 2.0, "stated")


@pytest.mark.parametrize(
    "stated, keeps_to",
    [
        (49, (49, 60.0, "stated")),
        (50, (50, 60.0, "configured")),
        (51, (50, 60.0, "configured")),
        (999_999_999, (50, 60.0, "configured")),
    ],
)
def test_a_ceiling_of_ones_own_is_never_exceeded(stated, keeps_to):
    """Below it the server's word counts; what it says beyond is nobody's business."""
    assert get_terms(make_estimate(stated, requests=50)) == keeps_to


# --- doubt


def test_what_was_promised_and_refused_is_not_believed_any_more():
    """The own limit is back, and for twenty periods promises beyond it count for nothing."""
    estimate = make_estimate(1200)
    estimate.distrust(5.0)
    assert get_terms(estimate) == (300, 60.0, "documented")

    estimate.update(QuotaStatement(1200), 5.0 + 20 * 60 - 0.01)
    assert get_terms(estimate) == (300, 60.0, "documented")

    estimate.update(QuotaStatement(1200), 5.0 + 20 * 60)
    assert get_terms(estimate) == (1200, 60.0, "stated")


def test_who_is_doubted_may_still_take_away():
    """A smaller limit counts at once, and when it is taken back the own one is the most."""
    estimate = make_estimate(1200)
    estimate.distrust(0.0)

    estimate.update(QuotaStatement(60), 1.0)
    assert get_terms(estimate) == (60, 60.0, "stated")
    estimate.update(QuotaStatement(1200), 2.0)
    assert get_terms(estimate) == (300, 60.0, "documented")


def test_doubt_does_not_raise_a_limit_that_was_stated_lower():
    """There is nothing to go back to."""
    estimate = make_estimate(60)
    estimate.distrust(0.0)

    assert get_terms(estimate) == (60, 60.0, "stated")


def test_a_configured_limit_is_what_doubt_goes_back_to():
    """It was never exceeded, so that nothing but the word of the server changes."""
    estimate = make_estimate(1200, requests=1000)
    estimate.distrust(0.0)
    assert get_terms(estimate) == (1000, 60.0, "configured")

    estimate.update(QuotaStatement(900), 1.0)
    assert get_terms(estimate) == (900, 60.0, "stated")


def test_a_shorter_window_is_doubted_with_the_limit():
    """Both were its promise: the own window is back, and no other is heard of meanwhile."""
    estimate = LimitEstimate(RateLimit())
    estimate.update(QuotaStatement(500, per=1.0), 0.0)
    estimate.distrust(0.0)
    assert get_terms(estimate) == (300, 60.0, "documented")

    # Twenty of the own periods, and not of those that were promised.
    estimate.update(QuotaStatement(500, per=1.0), 1199.0)
    assert get_terms(estimate) == (300, 60.0, "documented")

    estimate.update(QuotaStatement(500, per=1.0), 1200.0)
    assert get_terms(estimate) == (500, 1.0, "stated")


def test_doubt_that_is_renewed_lasts_from_then():
    """Each time that it is caught, the twenty periods begin anew."""
    estimate = make_estimate(1200)
    estimate.distrust(0.0)
    estimate.distrust(1000.0)
    estimate.update(QuotaStatement(1200), 2199.0)

    assert estimate.limit == 300


# --- refusals


@pytest.mark.parametrize(
    "granted, limit, keeps_to",
    [
        (200, 300, 200),  # what was granted
        (290, 300, 270),  # a tenth less at least
        (999, 300, 270),
        (270, 300, 270),
        (271, 300, 270),
        (0, 300, 1),  # one at least
        (-1, 300, 1),
        (5, 5, 4),  # one less at least
        (5, 19, 5),
        (19, 19, 18),
        (1, 1, 1),
        (0, 1, 1),
    ],
)
def test_a_refusal_lowers_the_limit_to_what_was_granted(granted, limit, keeps_to):
    """To what the server granted, and by a tenth at least; but one request is always left."""
    assert get_terms(make_lowered(granted, limit)) == (keeps_to, 60.0, "refusals")


def test_patience_doubles_with_each_refusal():
    """It is probed upwards after two periods, then four, and so on up to sixteen."""
    estimate = make_estimate(300)
    patience = []
    for now in range(6):
        estimate.lower(300, now)
        patience.append(estimate.raises_at - now)

    assert patience == [120.0, 240.0, 480.0, 960.0, 960.0, 960.0]


def test_it_climbs_back_by_a_fiftieth_a_period():
    """Step by step up to what is stated, and there it stays."""
    estimate = make_lowered(280)
    assert (estimate.limit, estimate.raises_at) == (270, 120.0)

    limits = []
    while estimate.raises_at < NEVER:
        now = estimate.raises_at
        estimate.raise_one_step(now)
        limits.append(estimate.limit)
        assert estimate.raises_at in (now + 60.0, NEVER)
        assert estimate.source == ("refusals" if estimate.limit < 300 else "stated")

    assert limits == [276, 282, 288, 294, 300]


def test_it_climbs_by_one_at_least():
    """Limits below fifty have no fiftieth; nor does a step ever lead beyond the top."""
    estimate = make_lowered(0, limit=3)

    for limit in (2, 3):
        estimate.raise_one_step(estimate.raises_at)
        assert estimate.limit == limit
    assert get_terms(estimate) == (3, 60.0, "stated")
    assert estimate.raises_at == NEVER


def test_a_step_does_not_overshoot():
    """The last one is as long as what is missing."""
    estimate = make_lowered(269)
    estimate.raise_one_step(120.0)
    assert estimate.limit == 275
    for now in (180.0, 240.0, 300.0, 360.0, 420.0):
        estimate.raise_one_step(now)

    assert estimate.limit == 300


@pytest.mark.parametrize("stated", [300, 250, 10_000])
def test_what_is_stated_does_not_undo_what_refusals_taught(stated):
    """A header that promises more than the server grants is in every reply: it must not help."""
    estimate = make_lowered(200)

    estimate.update(QuotaStatement(stated), 1.0)

    assert get_terms(estimate) == (200, 60.0, "refusals")
    assert estimate.raises_at == 120.0


def test_it_climbs_up_to_what_is_stated_last():
    """The goal moves with the server's word, whose source it then has."""
    estimate = make_lowered(200)
    estimate.update(QuotaStatement(210), 1.0)
    for now in (120.0, 180.0, 240.0):
        estimate.raise_one_step(now)

    assert get_terms(estimate) == (210, 60.0, "stated")


@pytest.mark.parametrize("stated", [100, 200])
def test_a_statement_below_what_refusals_taught_counts_at_once(stated):
    """There is nothing left to probe then."""
    estimate = make_lowered(200)

    estimate.update(QuotaStatement(stated), 1.0)

    assert get_terms(estimate) == (stated, 60.0, "stated")
    assert estimate.raises_at == NEVER


def test_doubt_keeps_what_refusals_taught():
    """It takes the top away, and not the lesson."""
    estimate = make_lowered(200, limit=1200)
    estimate.distrust(1.0)
    assert get_terms(estimate) == (200, 60.0, "refusals")

    while estimate.raises_at < NEVER:
        estimate.raise_one_step(estimate.raises_at)
    assert get_terms(estimate) == (300, 60.0, "documented")


# --- whatever happens

LIMITS = st.integers(1, 20) | st.integers(1, 999_999_999)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("update"), LIMITS | st.none()),
        st.tuples(st.just("lower"), st.integers(-1, 1000)),
        st.tuples(st.just("distrust"), st.none()),
        st.tuples(st.just("raise"), st.none()),
    ),
    max_size=40,
)


@given(requests=st.none() | LIMITS, steps=STEPS, waits=st.lists(st.integers(0, 1500), min_size=40))
def test_nothing_leads_beyond_what_is_stated_or_configured(requests, steps, waits):
    """Never above the ceiling, nor the last word of the server's, nor one's own under doubt."""
    estimate = LimitEstimate(RateLimit(requests))
    own = 300 if requests is None else requests
    ceiling = math.inf if requests is None else requests
    stated, distrusted_until, now = own, 0.0, 0.0
    for (what, value), wait in zip(steps, waits, strict=False):
        now += wait
        before = estimate.limit
        match what:
            case "update":
                estimate.update(QuotaStatement(value), now)
                if value is not None:
                    stated = min(value, own if now < distrusted_until else value)
            case "lower":
                estimate.lower(value, now)
                assert estimate.limit < before or estimate.limit == before == 1
            case "distrust":
                estimate.distrust(now)
                distrusted_until, stated = now + 1200.0, min(own, stated)
                assert estimate.limit <= before
            case _:
                estimate.raise_one_step(now)
                assert estimate.limit >= before
        assert 1 <= estimate.limit <= min(stated, ceiling)
        assert isinstance(estimate.limit, int)
        assert estimate.per == 60.0
        assert estimate.source in {"documented", "configured", "stated", "refusals"}
        assert not math.isnan(estimate.raises_at)


# --- windows: what is kept to is so many requests in so many seconds


@pytest.mark.parametrize("limit", [100, 1000])
def test_doubt_never_makes_it_faster(limit):
    """A server that refused gets fewer requests a second, or as many; never more than it said."""
    estimate = LimitEstimate(RateLimit())
    estimate.update(QuotaStatement(limit, per=3600.0), 0.0)
    estimate.distrust(1.0)

    assert estimate.limit / estimate.per <= limit / 3600.0


@pytest.mark.parametrize(
    "requests, said, most",
    [
        # A window without a limit: the own one is for the own window.
        (None, [QuotaStatement(per=1.0)], 300 / 60.0),
        # Two layers speak in turns, "10 a second" and a mere "300": that is not 300 a second.
        (None, [QuotaStatement(10, per=1.0), QuotaStatement(300)], 10.0),
        # A shorter window of the server does not lift a ceiling.
        (50, [QuotaStatement(10, per=1.0)], 50 / 60.0),
        (50, [QuotaStatement(50, per=1.0)], 50 / 60.0),
        (50, [QuotaStatement(1000, per=1.0)], 50 / 60.0),
        # Under a ceiling, less than one in the own window is kept to.
        (50, [QuotaStatement(10, per=3600.0)], 10 / 3600.0),
        (50, [QuotaStatement(1, per=61.0)], 1 / 61.0),
        (50, [QuotaStatement(59, per=3600.0)], 59 / 3600.0),
    ],
)
def test_windows_of_other_lengths_never_make_it_faster(requests, said, most):
    """Neither than what is stated nor than what is configured."""
    estimate = LimitEstimate(RateLimit(requests))
    for statement in said:
        estimate.update(statement, 0.0)

    assert estimate.limit / estimate.per <= most
