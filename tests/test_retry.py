"""Which failures are tried again, when, and how often."""

import asyncio
import logging
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import now, run_virtual

from cekat_async import RetryPolicy
from cekat_async._retry import backoff, deserves_retry, retried
from cekat_async.errors import (
    APIStatusError,
    CekatError,
    ClientClosedError,
    ConfigurationError,
    ConnectTimeoutError,
    DeadlineExceededError,
    DecodeError,
    MalformedBodyError,
    NotSentError,
    OddRecordError,
    PaginationError,
    RateLimitError,
    ResponseLostError,
    ResponseTimeoutError,
    ResponseTooLargeError,
    ServerError,
    TransportError,
    status_error_class,
)

NEVER = math.inf


def status_error(status: int, retry_after: float | None = None) -> APIStatusError:
    error = status_error_class(status)("no", status=status)
    error.retry_after = retry_after
    return error


class Failing:
    """Fails with one error after the other, then returns ``"done"``; notes when it was called."""

    def __init__(self, *errors: BaseException) -> None:
        self._errors = list(errors)
        self.times: list[float] = []

    async def __call__(self) -> str:
        self.times.append(now())
        if self._errors:
            raise self._errors.pop(0)
        return "done"


@pytest.mark.parametrize(
    "error",
    [
        TransportError(),
        NotSentError(),
        ConnectTimeoutError(),
        ResponseLostError(),
        ResponseTimeoutError(),
        MalformedBodyError(),
        *(status_error(status) for status in (408, 425, 429, 500, 502, 503, 504, 520, 599)),
    ],
    ids=repr,
)
def test_what_may_heal_is_tried_again(error):
    """Transport failures, 408, 425, 429, 5xx and a body that is not whole are tried again."""
    assert deserves_retry(error)


@pytest.mark.parametrize(
    "error",
    [
        *(status_error(s) for s in (200, 204, 301, 400, 401, 403, 404, 405, 409, 422, 451, 600)),
        ResponseTooLargeError(),
        DecodeError(),
        OddRecordError(),
        PaginationError(),
        ConfigurationError(),
        ClientClosedError(),
        DeadlineExceededError(),
        CekatError(),
        ValueError(),
        TimeoutError(),
        OSError(),
        asyncio.CancelledError(),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_what_cannot_heal_is_not_tried_again(error):
    """Other statuses, another shape of JSON, misuse and cancellation are not tried again."""
    attempt = Failing(error)

    async def main() -> None:
        with pytest.raises(type(error)) as caught:
            await retried(RetryPolicy(), NEVER, attempt)
        assert caught.value is error

    if isinstance(error, KeyboardInterrupt):  # would end the loop
        assert not deserves_retry(error)
        return
    run_virtual(main())
    assert len(attempt.times) == 1


SECONDS = st.one_of(st.just(0.0), st.floats(1e-6, 1000))


@given(
    base=SECONDS,
    cap=SECONDS,
    retry=st.integers(1, 10_000),
    draw=st.floats(0, 1),
)
def test_backoff_lies_in_the_upper_half_of_its_ceiling(base, cap, retry, draw):
    """Each wait lies between half of its ceiling and the whole, whatever the policy."""
    policy = RetryPolicy(backoff=base, backoff_max=cap)
    ceiling = min(base * 2.0 ** min(retry - 1, 200), cap)

    seconds = backoff(policy, retry, lambda: draw)

    assert ceiling / 2 <= seconds <= ceiling


def test_backoff_doubles_up_to_its_cap():
    """The waits double from retry to retry, up to the cap."""
    policy = RetryPolicy(backoff=0.5, backoff_max=30)

    waits = [backoff(policy, retry, lambda: 1.0) for retry in range(1, 9)]

    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_backoff_is_jittered_at_its_cap_too():
    """At the cap the waits still spread evenly over the upper half."""
    policy = RetryPolicy(backoff=1, backoff_max=30)
    draw = random.Random(7).random

    waits = [backoff(policy, 50, draw) for _ in range(2_000)]

    quarters = [sum(low <= w < low + 3.75 for w in waits) for low in (15, 18.75, 22.5, 26.25)]
    assert sum(quarters) == 2_000
    assert min(quarters) > 400


def test_backoff_draws_anew_by_itself():
    """Without a draw of the test's own, no two clients wait for the same time."""
    waits = {backoff(RetryPolicy(), 20) for _ in range(50)}

    assert len(waits) == 50


def test_waits_grow_between_attempts():
    """A call waits longer before each attempt, and returns what the last one returns."""
    attempt = Failing(*(status_error(503) for _ in range(4)))

    result = run_virtual(retried(RetryPolicy(backoff=1, backoff_max=100), NEVER, attempt))

    assert result == "done"
    gaps = [b - a for a, b in zip(attempt.times, attempt.times[1:], strict=False)]
    assert len(gaps) == 4
    for retry, gap in enumerate(gaps):
        assert 2**retry / 2 <= gap <= 2**retry


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_attempts_are_bounded(attempts):
    """No more attempts are made than the policy allows, and the last one's error is raised."""
    errors = [status_error(500 + number) for number in range(10)]
    attempt = Failing(*errors)

    async def main() -> None:
        with pytest.raises(ServerError) as caught:
            await retried(RetryPolicy(attempts=attempts), NEVER, attempt)
        assert caught.value is errors[attempts - 1]

    run_virtual(main())
    assert len(attempt.times) == attempts


def test_the_server_is_not_asked_earlier_than_it_said():
    """A Retry-After that is longer than the backoff sets the wait."""
    attempt = Failing(status_error(503, 7.5), status_error(429, 0.001))

    run_virtual(retried(RetryPolicy(backoff=1), NEVER, attempt))

    first, second, third = attempt.times
    assert second - first == pytest.approx(7.5)
    assert 1 <= third - second <= 2


def test_a_wait_beyond_the_deadline_is_not_begun():
    """A wait that would outlive the deadline fails at once, with the server's own error."""
    error = status_error(429, 61.0)

    async def main() -> None:
        with pytest.raises(RateLimitError) as caught:
            await retried(RetryPolicy(), now() + 60, Failing(error))
        assert now() == 0
        assert caught.value is error
        assert caught.value.retry_after == 61.0
        assert caught.value.__notes__ == [
            "not tried again: waiting 61 s would outlast the deadline",
        ]

    run_virtual(main())


def test_backoff_beyond_the_deadline_is_not_begun():
    """A backoff that would outlive the deadline is not begun either."""
    attempt = Failing(*(status_error(500) for _ in range(99)))

    async def main() -> None:
        with pytest.raises(ServerError):
            await retried(RetryPolicy(attempts=99, backoff=1, backoff_max=1), now() + 10, attempt)
        assert 9 <= now() <= 10

    run_virtual(main())
    assert 10 <= len(attempt.times) <= 20


def test_the_last_attempt_has_no_note():
    """An error that used up its attempts says nothing of the deadline."""

    async def main() -> None:
        with pytest.raises(ServerError) as caught:
            await retried(RetryPolicy(attempts=1), now(), Failing(status_error(500)))
        assert not hasattr(caught.value, "__notes__")

    run_virtual(main())


def test_each_retry_is_logged(caplog):
    """Each wait is logged, with the attempt, the seconds and the reason."""
    attempt = Failing(status_error(429, 3.0))

    with caplog.at_level(logging.WARNING, "cekat_async"):
        run_virtual(retried(RetryPolicy(), NEVER, attempt))

    assert [record.getMessage() for record in caplog.records] == [
        "attempt 1 failed, next in 3 s: no (HTTP 429, retry after 3 s)"
    ]


def test_concurrent_calls_do_not_share_errors():
    """A hundred calls that fail at the same time each get the error of their own."""

    async def call(number: int) -> None:
        errors = [status_error(500 + number % 5) for _ in range(3)]
        with pytest.raises(ServerError) as caught:
            await retried(RetryPolicy(attempts=3), NEVER, Failing(*errors))
        assert caught.value is errors[-1]

    async def main() -> None:
        await asyncio.gather(*(call(number) for number in range(100)))

    run_virtual(main())


@pytest.mark.parametrize("after", [0.0, 0.1, 5.0])
def test_cancellation_passes_at_once(after):
    """A call that is cancelled, at work or while it backs off, ends at that moment."""

    async def main() -> None:
        attempt = Failing(*(status_error(503, 4) for _ in range(7)))
        task = asyncio.create_task(retried(RetryPolicy(), NEVER, attempt))
        await asyncio.sleep(after)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert now() == pytest.approx(after)

    run_virtual(main())
