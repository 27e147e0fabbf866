"""The limit learned from refusals: it falls for a reason, and always recovers."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cekat_async._ratelimit.server.refused_limit import RefusedLimit

CEILING = 1_000
PER = 60.0


def make_lowered(granted: int, now: float = 0.0) -> RefusedLimit:
    """Return a limit that two refusals lowered after ``granted`` requests were granted."""
    refused = RefusedLimit(PER)
    refused.lower(granted, now)
    refused.lower(granted, now)
    return refused


def test_nothing_is_refused_at_first():
    """At first there is no limit, and nothing to raise."""
    refused = RefusedLimit(PER)

    assert (refused.per, refused.limit, refused.raises_at) == (PER, math.inf, math.inf)
    refused.raise_limit(10, 1e9)
    assert (refused.limit, refused.raises_at) == (math.inf, math.inf)


# --- lowering


@pytest.mark.parametrize("later, is_lowered", [(0.0, True), (119.9, True), (120.0, False)])
def test_two_refusals_within_two_windows_lower_it(later, is_lowered):
    """A single refusal may have a temporary reason.

    The lowered limit is the larger number of grants in the two windows.
    """
    refused = RefusedLimit(PER)
    refused.lower(100, 1000.0)
    assert refused.limit == math.inf

    refused.lower(90, 1000.0 + later)

    assert refused.limit == (100 if is_lowered else math.inf)


def test_one_refusal_lowers_it_if_its_reason_is_known():
    """The lowered limit is the number of grants, and at least one."""
    refused, nothing = RefusedLimit(PER), RefusedLimit(PER)
    refused.lower(290, 0.0, at_once=True)
    nothing.lower(0, 0.0, at_once=True)

    assert (refused.limit, nothing.limit) == (290, 1)


def test_refusals_never_raise_it():
    """If the server refuses requests at a limit again, the limit is lowered by a tenth.

    The number of grants does not matter.
    """
    refused = make_lowered(100)
    refused.lower(200, 10.0)

    assert refused.limit == 90


def test_a_search_downwards_does_not_delay_the_way_up():
    """Only a refusal at a raised limit shows that no more requests are available for now."""
    refused = make_lowered(100)
    for now in (10.0, 20.0, 30.0):
        refused.lower(200, now)

    assert (refused.limit, refused.raises_at) == (72, 30.0 + 2 * PER)


def test_it_falls_further_if_it_is_refused_below():
    """Two refusals below the limit lower the limit as well."""
    refused = make_lowered(100)
    refused.lower(50, 1000.0)
    assert refused.limit == 100

    refused.lower(50, 1010.0)
    assert refused.limit == 50


@pytest.mark.parametrize("granted, limit", [(100, 100), (95, 100), (94, 102)])
def test_one_refusal_takes_back_what_it_was_raised_by(granted, limit):
    """A refusal long before the limit is reached has another reason and does not lower it."""
    refused = make_lowered(100)
    refused.raise_limit(1000, 120.0)
    assert refused.limit == 102

    refused.lower(granted, 130.0)

    assert refused.limit == limit


# --- raising


def test_patience_grows_with_each_refusal():
    """The limit is raised after two windows, then after eight, then always after thirty-two."""
    refused, patience = make_lowered(100), []
    for _ in range(4):
        now = refused.raises_at
        patience.append(now)
        refused.raise_limit(1000, now)
        refused.lower(100, now)
        patience[-1] = refused.raises_at - now

    assert make_lowered(100).raises_at == 2 * PER
    assert patience == [8 * PER, 32 * PER, 32 * PER, 32 * PER]


def test_it_is_raised_by_steps_that_double():
    """The first step is a fiftieth, and there is one step per window.

    In the end, the limit is dropped.
    """
    refused, limits = make_lowered(100), []
    while refused.limit < math.inf:
        limits.append((refused.raises_at, refused.limit))
        refused.raise_limit(130, refused.raises_at - 0.1)
        refused.raise_limit(130, refused.raises_at)

    assert limits == [(120.0, 100), (180.0, 102), (240.0, 106), (300.0, 114)]
    assert refused.raises_at == math.inf


def test_a_small_limit_is_raised_by_one_at_least():
    """A fiftieth of a small limit would be 0."""
    refused = make_lowered(1)
    refused.raise_limit(100, refused.raises_at)

    assert refused.limit == 2


@pytest.mark.parametrize("ceiling", [100, 99, 1])
def test_it_is_forgotten_where_something_else_is_lower(ceiling):
    """If another limit is lower, there is no limit to raise."""
    refused = make_lowered(100)
    refused.raise_limit(ceiling, 1.0)

    assert (refused.limit, refused.raises_at) == (math.inf, math.inf)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["lower", "at once", "raise", "grant"]),
        st.integers(-1, 400),
        st.just(0.0) | st.floats(0, 200) | st.floats(0, 5000),
    ),
    max_size=50,
)


@given(steps=STEPS, per=st.sampled_from([0.5, 60.0]), ceilings=st.lists(st.integers(1, 500)))
def test_it_is_below_the_ceiling_and_recovers(steps, per, ceilings):
    """A raised limit never exceeds the ceiling, and in the end it is dropped."""
    refused, now, ceilings = RefusedLimit(per), 0.0, [*ceilings, 300]
    for place, (what, value, wait) in enumerate(steps):
        now += wait
        before, ceiling = refused.limit, ceilings[place % len(ceilings)]
        if what == "raise":
            refused.raise_limit(ceiling, now)
            assert refused.limit >= before
            assert refused.limit < ceiling or refused.limit == math.inf
        elif what == "grant":
            refused.record_granted(value, now)
            assert refused.limit == before
        else:
            refused.lower(value, now, at_once=what == "at once")
            assert 1 <= refused.limit <= before
        assert (refused.raises_at == math.inf) == (refused.limit == math.inf)

    raises = 0
    while refused.limit < math.inf:
        refused.raise_limit(300, refused.raises_at)
        raises += 1
    # For a limit of 1 the first step is 1, and each step doubles.
    assert raises <= 10


# --- windows that explain a refusal


@pytest.mark.parametrize("granted, explains", [(99, False), (100, False), (101, True)])
def test_it_explains_refusals_at_counts_that_were_never_granted(granted, explains):
    """An earlier window with as many grants shows that the limit is not the reason."""
    refused = RefusedLimit(PER)
    refused.record_granted(100, 0.0)

    assert refused.explains(granted, CEILING, 60.0) is explains


def test_the_present_window_proves_nothing():
    """The grants of the current window may be the reason for the refusal."""
    refused = RefusedLimit(PER)
    refused.record_granted(100, 0.0)

    assert refused.explains(100, CEILING, 59.9)
    assert not refused.explains(100, CEILING, 60.0)


def test_it_explains_a_refusal_before_any_grant_by_nothing():
    """Before the first grant, no window can be the reason."""
    refused = RefusedLimit(PER)

    assert refused.explains(1, CEILING, 0.0)
    assert not refused.explains(0, CEILING, 0.0)


def test_a_lowered_limit_explains_any_refusal():
    """A lowered limit explains any refusal, because it may have to be lowered further."""
    refused = make_lowered(100)
    refused.record_granted(100, 0.0)

    assert refused.explains(1, CEILING, 60.0)


def test_old_grants_are_forgotten():
    """After four windows, the server may have changed its limit."""
    refused = RefusedLimit(PER)
    refused.record_granted(100, 0.0)
    for part in range(1, 32):
        refused.record_granted(1, part * PER / 8)
    assert not refused.explains(100, CEILING, 31 * PER / 8)

    refused.record_granted(1, 4 * PER)

    assert refused.explains(100, CEILING, 4 * PER)


@example(counts=[1, 1, 2, 1, 1], pace=4.4271912642937625, which=277, later=1.0)
@given(
    counts=st.lists(st.integers(1, 300), min_size=1, max_size=300),
    pace=st.floats(0.05, 20),
    which=st.integers(0, 299),
    later=st.floats(1, 3.5),
)
def test_random_refusals_do_not_lower_it(counts, pace, which, later):
    """A limit is not to blame if as much was granted one to three and a half windows ago."""
    refused, which = RefusedLimit(PER), which % len(counts)
    granted_at = which * pace
    refused_at = granted_at + later * PER
    while refused_at - PER < granted_at:  # rounding made it less than one window
        refused_at = math.nextafter(refused_at, math.inf)
    for place, count in enumerate(counts):
        now = place * pace
        if place > which and now > refused_at:
            break
        refused.record_granted(count, now)

    assert not refused.explains(counts[which], CEILING, refused_at)
