"""Accepted and refused values of each client option."""

import copy
import math
import pickle
from decimal import Decimal

import msgspec
import pytest

from cekat_async.config import (
    DEFAULT_BASE_URL,
    RateLimit,
    RetryPolicy,
    Timeout,
    require_count,
    require_share,
    require_text,
)
from cekat_async.errors import ConfigurationError


@pytest.mark.parametrize("value", [1, 1.0, 0.5, 1e-9])
def test_share(value: float) -> None:
    """A share is above 0 and at most 1."""
    assert require_share("share", value) == value


@pytest.mark.parametrize("value", [0, -0.1, 1.01, math.nan, math.inf, True, "1", None, 10**400])
def test_share_refused(value: object) -> None:
    """A wrong share is refused, and the error names the option and says what to write."""
    with pytest.raises(ConfigurationError, match=r"^share must be a number above 0 and at most 1"):
        require_share("share", value)


@pytest.mark.parametrize("value", [1, 2, 100, 10**30])
def test_count(value: int) -> None:
    """A count is a whole number of at least 1."""
    assert value == require_count("limit", value)


@pytest.mark.parametrize(
    "value", [0, -1, -(10**30), True, False, "5", 1.0, 0.5, math.nan, None, [1], b"1", Decimal(1)]
)
def test_no_count(value: object) -> None:
    """Zero, negative numbers, bools, strings and fractions are refused, and the error says why."""
    with pytest.raises(ConfigurationError) as caught:
        require_count("limit", value)

    assert str(caught.value) == f"limit must be a whole number of at least 1, not {value!r}"


def test_count_from_another_bound() -> None:
    """A count can have a minimum other than 1."""
    assert require_count("n", 0, at_least=0) == 0
    with pytest.raises(ConfigurationError, match="at least 3, not 2"):
        require_count("n", 2, at_least=3)


@pytest.mark.parametrize("value", ["a", " a ", "日本", "0", "a\nb", "\N{GRINNING FACE}"])
def test_text(value: str) -> None:
    """A string that is not empty is accepted unchanged."""
    assert value == require_text("inbox_id", value)


@pytest.mark.parametrize("value", ["", " ", "\t\n", "\u00a0", None, 1, b"abc", ["a"], True])
def test_no_text(value: object) -> None:
    """Empty strings, blank strings, bytes and numbers are refused."""
    with pytest.raises(ConfigurationError, match="inbox_id must be text that is not blank"):
        require_text("inbox_id", value)


@pytest.mark.parametrize("value", ["\ud83d", "a\udc80b"])
def test_text_that_cannot_be_sent(value: str) -> None:
    """A lone surrogate in an option is refused at once, and not only when a request is encoded."""
    with pytest.raises(ConfigurationError, match="inbox_id cannot be sent as UTF-8"):
        require_text("inbox_id", value)


BAD_SECONDS = [
    -1,
    -0.001,
    math.nan,
    math.inf,
    -math.inf,
    10**400,
    True,
    False,
    "1",
    None,
    Decimal(1),
    1j,
    [1],
]


@pytest.mark.parametrize(
    "make,name",
    [
        (lambda value: RateLimit(10, per=value), "RateLimit.per"),
        (lambda value: RateLimit(longest_hold=value or -1), "RateLimit.longest_hold"),  # or None
        (lambda value: Timeout(connect=value), "Timeout.connect"),
        (lambda value: Timeout(read=value), "Timeout.read"),
        (lambda value: Timeout(attempt=value), "Timeout.attempt"),
        (lambda value: Timeout(deadline=value or -1), "Timeout.deadline"),  # None switches it off
        (lambda value: Timeout(request=value or -1), "Timeout.request"),
        (lambda value: RetryPolicy(backoff=value), "RetryPolicy.backoff"),
        (lambda value: RetryPolicy(backoff_max=value), "RetryPolicy.backoff_max"),
    ],
)
@pytest.mark.parametrize("value", BAD_SECONDS, ids=lambda value: repr(value)[:12])
def test_seconds_refused(make, name: str, value: object) -> None:
    """Seconds are finite numbers.

    Negative numbers, NaN, infinity, bools and strings are refused.
    """
    with pytest.raises(ConfigurationError, match=f"^{name} must be a finite number of seconds"):
        make(value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RateLimit(10, per=0),
        lambda: RateLimit(longest_hold=0),
        lambda: Timeout(connect=0),
        lambda: Timeout(read=0.0),
        lambda: Timeout(attempt=-0.0),
        lambda: Timeout(deadline=0),
        lambda: Timeout(request=0),
    ],
)
def test_no_time_at_all(make) -> None:
    """A window or a timeout of 0 seconds is refused."""
    with pytest.raises(ConfigurationError, match="seconds above 0, not"):
        make()


def test_backoff_may_be_nothing() -> None:
    """A backoff of 0 is allowed, and the error about a negative backoff says so."""
    assert RetryPolicy(backoff=0, backoff_max=0).backoff == 0
    with pytest.raises(ConfigurationError, match="seconds of at least 0, not -1"):
        RetryPolicy(backoff=-1)


@pytest.mark.parametrize(
    "value", [0, -5, math.nan, math.inf, True, "300", None, 2.5, 300.0], ids=repr
)
@pytest.mark.parametrize(
    "make",
    [
        lambda value: RateLimit(value or 0),  # None leaves it to the server
        lambda value: RateLimit(per_day=value or 0),
        lambda value: RetryPolicy(attempts=value),
        lambda value: RetryPolicy(budget=value or 0),  # None switches it off
    ],
    ids=["requests", "per_day", "attempts", "budget"],
)
def test_counts_refused(make, value: object) -> None:
    """Numbers of requests, attempts and retries must be whole numbers of at least 1."""
    with pytest.raises(ConfigurationError, match="must be a whole number of at least 1, not"):
        make(value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RateLimit(10**9 + 1),
        lambda: RateLimit(10**400),
        lambda: RateLimit(per_day=10**10),
        lambda: RateLimit(1, per=1e-320),
    ],
)
def test_absurd_rates_are_refused(make) -> None:
    """A rate that a clock cannot measure is refused, and the error names the accepted range."""
    with pytest.raises(
        ConfigurationError, match=r"must be at (most 1,000,000,000|least 0\.001 sec)"
    ):
        make()


@pytest.mark.parametrize("value", [0, -0.1, 1.01, math.nan, math.inf, True, "1", None, 10**400])
@pytest.mark.parametrize("name", ["share", "burst"])
def test_parts_of_the_limit_refused(name: str, value: object) -> None:
    """The share and the burst are fractions of the limit, so they are above 0 and at most 1."""
    message = rf"^RateLimit.{name} must be a number above 0 and at most 1, not "
    with pytest.raises(ConfigurationError, match=message):
        RateLimit(**{name: value})


@pytest.mark.parametrize("value", [1, 1.0, 0.5, 1e-9])
@pytest.mark.parametrize("name", ["share", "burst"])
def test_parts_of_the_limit(name: str, value: float) -> None:
    """The largest fraction is 1, the full limit. Very small fractions are accepted too."""
    assert getattr(RateLimit(**{name: value}), name) == value


@pytest.mark.parametrize("value", [0, 1, None, "False", 1.0], ids=repr)
def test_trust_is_a_switch(value: object) -> None:
    """``trust_server`` must be a bool, because any nonempty string would count as true."""
    with pytest.raises(ConfigurationError, match=r"^RateLimit.trust_server must be True or False"):
        RateLimit(trust_server=value)


def test_documented_defaults() -> None:
    """The defaults are those that the documentation states, such as 8 attempts."""
    assert RateLimit() == RateLimit(
        None,
        per=60.0,
        per_day=None,
        longest_hold=900.0,
        share=1.0,
        burst=0.25,
        trust_server=True,
    )
    assert RetryPolicy() == RetryPolicy(attempts=8, backoff=0.5, backoff_max=30.0, budget=100)
    assert Timeout() == Timeout(connect=10.0, read=30.0, attempt=60.0, request=300.0, deadline=None)
    assert DEFAULT_BASE_URL == "https://api.cekat.ai"


def test_bounds_may_be_off() -> None:
    """The retry budget and two of the timeouts can be switched off."""
    assert Timeout(request=None).request is None
    assert Timeout(deadline=None).deadline is None
    assert RetryPolicy(budget=None).budget is None


@pytest.mark.parametrize(
    "value", [RateLimit(60, per=30), RetryPolicy(attempts=1), Timeout(request=None)], ids=repr
)
def test_values_are_frozen(value: msgspec.Struct) -> None:
    """Option objects are immutable, and can be compared, hashed, copied and pickled."""
    name = value.__struct_fields__[0]
    with pytest.raises(AttributeError):
        setattr(value, name, -1)
    again = pickle.loads(pickle.dumps(value))  # noqa: S301 - what was just pickled

    assert value == again == copy.deepcopy(value)
    assert hash(value) == hash(again)
