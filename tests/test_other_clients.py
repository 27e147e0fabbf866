"""Other clients of the same quota: whether there are any, their rate, and what is left for them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cekat_async._ratelimit.server.other_clients import OtherClients

PER = 60.0


def make_present(now: float = 0.0) -> OtherClients:
    others = OtherClients()
    others.notice(now, PER)
    return others


def test_nobody_is_there_at_first():
    """At first nothing is reserved for other clients, and no request waits for them."""
    others = OtherClients()

    assert not others.are_present(0.0)
    assert others.get_rate(0.0) == 0.0
    assert others.get_margin(0.0, 300, 300) == 0.0
    assert others.get_turn(5.0, 60.0, 0.0) == -math.inf


def test_they_are_present_for_two_windows():
    """Other clients count as present for two windows after they were last noticed."""
    others = make_present(100.0)

    assert others.are_present(220.0)
    assert not others.are_present(220.1)
    others.notice(230.0, 1.0)
    assert others.are_present(232.0)
    assert not others.are_present(232.1)


def test_they_can_be_forgotten():
    """After ``forget()``, other clients do not count as present."""
    others = make_present()
    others.forget()

    assert not others.are_present(0.0)


@pytest.mark.parametrize(
    "theirs, elapsed, rate",
    [(90, 60.0, 1.5), (0, 60.0, 0.0), (9, 3.0, 3.0), (9, 1.0, 3.0), (9, 0.0, 3.0)],
)
def test_their_rate_is_what_they_took_in_the_time_it_took(theirs, elapsed, rate):
    """The rate of others is measured over at least a twentieth of a window.

    A few requests in a short time do not determine it.
    """
    others = make_present()
    others.record(theirs, elapsed, PER)

    assert others.get_rate(1.0) == pytest.approx(rate)
    assert others.get_rate(121.0) == 0.0


@pytest.mark.parametrize(
    "limit, most, margin",
    [(300, 300, 3.0), (1000, 1000, 10.0), (60, 60, 1.0), (1, 1, 0.5), (300, 4, 2.0), (300, 0, 0.0)],
)
def test_a_hundredth_is_left_to_them(limit, most, margin):
    """At least one request is reserved for others, but at most half of a small bucket."""
    assert make_present().get_margin(1.0, limit, most) == margin
    assert make_present().get_margin(121.0, limit, most) == 0.0


def test_more_is_left_to_them_after_each_refusal():
    """Each refusal doubles the reserve for others, up to a sixtieth of the limit."""
    others, margins = make_present(), []
    for _ in range(4):
        margins.append(others.get_margin(1.0, 300, 300))
        others.add_caution(300)

    assert margins == [3.0, 4.0, 6.0, 8.0]
    others.add_caution(300)
    assert others.get_margin(1.0, 300, 300) == 8.0


def test_a_request_waits_until_more_is_left_than_they_take():
    """Others take two requests per second, so 10 of 11 remaining requests last for 5 seconds."""
    others = make_present()
    others.record(120, 60.0, PER)

    assert others.get_turn(11.0, 60.0, 0.0) == 55.0
    assert others.get_turn(1.0, 60.0, 0.0) == 60.0


def test_without_a_reset_there_is_no_such_time():
    """There is no wait without a reset, without a rate of others, or if no others are present."""
    others = make_present()
    assert others.get_turn(1.0, 60.0, 0.0) == -math.inf
    others.record(120, 60.0, PER)

    assert others.get_turn(1.0, math.inf, 0.0) == -math.inf
    assert others.get_turn(1.0, 200.0, 121.0) == -math.inf


@given(
    limit=st.integers(1, 10_000),
    most=st.integers(0, 10_000),
    cautions=st.integers(0, 20),
)
def test_something_is_left_to_us(limit, most, cautions):
    """The reserve for others is at most half of the limit, however often they were faster."""
    others = make_present()
    for _ in range(cautions):
        others.add_caution(limit)

    assert 0 <= others.get_margin(0.0, limit, most) <= most / 2
