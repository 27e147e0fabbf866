"""The limiter with unexpected servers and machines, on a virtual clock.

By default, the tests run some of the named cases of ``support/quota_catalogue.py``. With more
effort, they run all of them. The figures are in ``support/quota_targets.py``.
"""

import pytest
from support.clock import most_in_any, virtual
from support.effort import EFFORT
from support.quota_cases import run_case, run_seeds
from support.quota_catalogue import CASES
from support.quota_servers import ModelServer, ServerSpec, Window
from support.quota_targets import find_misses

from cekat_async._api.requests import Request

pytestmark = pytest.mark.once


def cases(family, *short):
    """Parametrize a test with some cases of a family. With more effort, use all of them."""
    every = [name for name in CASES if name.startswith(f"{family}/")]
    return pytest.mark.parametrize("name", every if EFFORT > 1 else short)


def run(name, periods):
    """Run a case for some periods. With more effort, run it for its full length."""
    return run_case(name, periods=None if EFFORT > 1 else periods)


@cases(
    "alone",
    "alone/fixed/none/60/32",
    "alone/phase/no reset/300/8",
    "alone/first hit/delta/60/1",
    "alone/sliding/epoch/300/32",
    "alone/bucket/none/60/8",
)
def test_alone(name):
    """Alone on a key, the client uses 98 % of any quota in each window, without a 429.

    If the quota is 60 requests, the client uses 97 %.
    """
    assert find_misses(name, run(name, 4)) == []


@cases(
    "size",
    "size/no reset/RateLimit()",
    "size/until full/30 in 1 s",
    "size/until next/1800 in 60 s",
)
def test_a_bucket_that_reports_its_size(name):
    """After the first minute, the client uses 95 % of the refill.

    It gets at most eight 429s, all of them before that.
    """
    assert find_misses(name, run(name, 2)) == []


@cases(
    "two",
    "two/phase/Retry-After/RateLimit()",
    "two/sliding/Retry-After/300 in 60 s",
    "two/sliding/bare/10 in 1 s",
)
def test_a_short_and_a_long_window(name):
    """The client finds the long window although only the short one is reported.

    From the second minute on, it uses 95 %, after at most eight 429s. If the caller has configured
    only the short window, there are at most sixteen.
    """
    assert find_misses(name, run(name, 10)) == []


@cases(
    "unstated",
    "unstated/60 in 5 s/phase/epoch/RateLimit()",
    "unstated/25 in 5 s/sliding/no reset/RateLimit()",
    "unstated/60 in 5 s/sliding/epoch/60 in 5 s",
)
def test_a_window_whose_length_is_not_stated(name):
    """The replies show the length.

    From the second minute on, the client uses 95 %, with at most eight 429s.
    """
    assert find_misses(name, run_seeds(name, periods=3)) == []


@cases(
    "overload",
    "overload/429/counted/epoch/300 in 60 s",
    "overload/429/uncounted/none/300 in 60 s",
    "overload/429/counted/none/60 in 5 s",
    "overload/503/uncounted/epoch/60 in 5 s",
)
def test_refusals_without_a_quota(name):
    """If 1 % of replies are 429s with an immediate retry, they cost at most 4 % of the quota."""
    assert find_misses(name, run(name, 5)) == []


@cases(
    "stall",
    "stall/2 in 10/fixed/epoch/300",
    "stall/5 in 10/sliding/none/60",
    "stall/15 in 60/sliding/epoch/300",
)
def test_a_blocked_event_loop(name):
    """The client catches up after a blocked loop: it uses 97 %, and no window exceeds the limit."""
    assert find_misses(name, run(name, 8)) == []


@cases(
    "stranger",
    "stranger/sliding/all",
    "stranger/first hit/all",
    "stranger/fixed/share 0.5",
)
def test_a_stranger(name):
    """At most 8 % of a stranger's requests are refused, or 5 % if the share is one half.

    The client is refused at most once per period.
    """
    assert find_misses(name, run_seeds(name)) == []


@cases("at once", "at once/epoch/8", "at once/none/32")
def test_five_requests_at_once(name):
    """If the server allows five concurrent requests, at most 5 % are refused after ten seconds."""
    assert find_misses(name, run(name, 4)) == []


@cases("start", *(name for name in CASES if name.startswith("start/")))
def test_the_start(name):
    """A server much slower than documented refuses at most three requests in ten seconds."""
    assert find_misses(name, run(name, 4)) == []


@cases("believed", "believed/phase/Retry-After", "believed/sliding/bare")
def test_a_configured_limit_that_is_too_high(name):
    """The client finds a fifth of the configured limit.

    It gets status 429 at most 16 times, and at most 5 times after the first ten seconds.
    """
    assert find_misses(name, run_case(name)) == []


@cases("change", "change/limit/fixed", "change/headers too much/sliding")
def test_changing_servers(name):
    """Changing limits and missing or wrong headers cost at most 5 % of the quota and eight 429s."""
    assert find_misses(name, run_case(name)) == []


@pytest.mark.parametrize(
    "window, most",
    [
        (Window("fixed", 10), 20),
        (Window("phase", 10), 20),
        (Window("first hit", 10), 20),
        (Window("sliding", 10), 10),
        (Window("bucket", 10), 20),
        (Window("bucket", 10, size=2), 12),
    ],
)
@virtual
async def test_a_model_server_grants_its_quota(window, most):
    """A client that never stops gets exactly the quota in each minute."""
    server = ModelServer(ServerSpec(windows=(window,), way=(0.1, 0.1)), "seed")
    for _ in range(3000):
        await server.exchange(Request("/", ""))

    granted = [one.at for one in server.events if one.result == "granted"]
    assert 100 <= len(granted) <= 120
    assert most_in_any(granted, 60.0) <= most
