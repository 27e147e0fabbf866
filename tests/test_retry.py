"""Which failures are retried, when, and how often."""

import asyncio
import contextlib
import gc
import logging
import math
import random
from collections.abc import Awaitable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import now, run_virtual

from cekat_async import RetryPolicy
from cekat_async._api.status import get_error_class
from cekat_async._request.retry import RetryBudget, backoff, is_retryable, run_with_retries
from cekat_async.errors import (
    APIStatusError,
    CekatError,
    ClientClosedError,
    ConfigurationError,
    ConnectionDroppedError,
    ConnectTimeoutError,
    DeadlineExceededError,
    DecodeError,
    MalformedBodyError,
    MalformedRecordError,
    NotSentError,
    PaginationError,
    ProxyError,
    RateLimitError,
    ResponseLostError,
    ResponseTimeoutError,
    ResponseTooLargeError,
    ServerError,
    TLSError,
    TransportError,
    UnknownHostError,
)

NEVER = math.inf


def status_error(status: int, retry_after: float | None = None) -> APIStatusError:
    error = get_error_class(status)("no", status=status)
    error.retry_after = retry_after
    return error


def resumed_later(error: APIStatusError) -> APIStatusError:
    error.resumes_at = datetime.now(UTC)
    return error


def idle_drop() -> ConnectionDroppedError:
    error = ConnectionDroppedError()
    error.was_idle = True
    return error


class Failing:
    """Raises one error after another, then returns ``"done"``.

    Records the times of the calls.
    """

    def __init__(self, *errors: BaseException) -> None:
        self._errors = list(errors)
        self.times: list[float] = []

    async def __call__(self) -> str:
        self.times.append(now())
        if self._errors:
            raise self._errors.pop(0)
        return "done"


def retrying(
    attempt: Failing,
    policy: RetryPolicy = RetryPolicy(),  # noqa: B008 - a frozen value
    *,
    deadline: float = NEVER,
    budget: RetryBudget | None = None,
) -> Awaitable[str]:
    """Return a retrying call of ``attempt``.

    The call has its own retry budget unless one is given.
    """
    return run_with_retries(
        attempt,
        policy=policy,
        budget=budget or RetryBudget(policy.budget),
        find_exceeded_limit=lambda seconds: "the limit" if now() + seconds > deadline else None,
        count_sent=lambda: len(attempt.times),
        report_retry=lambda error, seconds: None,
    )


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
def test_transient_failures_are_retried(error):
    """Transport failures, 408, 425, 429, 5xx and incomplete bodies are retried."""
    assert is_retryable(error)


@pytest.mark.parametrize(
    "error",
    [
        *(status_error(s) for s in (200, 204, 301, 400, 401, 403, 404, 405, 409, 422, 451, 600)),
        ResponseTooLargeError(),
        TLSError(),
        ProxyError(),
        resumed_later(status_error(429)),
        resumed_later(status_error(503)),
        DecodeError(),
        MalformedRecordError(),
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
def test_permanent_failures_are_not_retried(error):
    """Other statuses, JSON of another shape, misuse and cancellation are not retried."""
    attempt = Failing(error)

    async def main() -> None:
        with pytest.raises(type(error)) as caught:
            await retrying(attempt)
        assert caught.value is error

    if isinstance(error, KeyboardInterrupt):  # a KeyboardInterrupt would end the loop
        assert not is_retryable(error)
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
    """Each backoff is between half of its maximum and the whole, for any policy."""
    policy = RetryPolicy(backoff=base, backoff_max=cap)
    ceiling = min(base * 2.0 ** min(retry - 1, 200), cap)

    seconds = backoff(policy, retry, lambda: draw)

    assert ceiling / 2 <= seconds <= ceiling


def test_backoff_doubles_up_to_its_cap():
    """The backoff doubles with each retry, up to the cap."""
    policy = RetryPolicy(backoff=0.5, backoff_max=30)

    waits = [backoff(policy, retry, lambda: 1.0) for retry in range(1, 9)]

    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_backoff_is_jittered_at_its_cap_too():
    """At the cap, backoffs still vary evenly over the upper half."""
    policy = RetryPolicy(backoff=1, backoff_max=30)
    draw = random.Random(7).random

    waits = [backoff(policy, 50, draw) for _ in range(2_000)]

    quarters = [sum(low <= w < low + 3.75 for w in waits) for low in (15, 18.75, 22.5, 26.25)]
    assert sum(quarters) == 2_000
    assert min(quarters) > 400


def test_backoff_is_random_by_default():
    """Without a fixed random source, no two clients wait for the same time."""
    waits = {backoff(RetryPolicy(), 20) for _ in range(50)}

    assert len(waits) == 50


def test_waits_grow_between_attempts():
    """The backoff grows with each attempt, and the last attempt's result is returned."""
    attempt = Failing(*(status_error(503) for _ in range(4)))

    result = run_virtual(retrying(attempt, RetryPolicy(backoff=1, backoff_max=100)))

    assert result == "done"
    gaps = [b - a for a, b in zip(attempt.times, attempt.times[1:], strict=False)]
    assert len(gaps) == 4
    for retry, gap in enumerate(gaps):
        assert 2**retry / 2 <= gap <= 2**retry


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_attempts_are_bounded(attempts):
    """There are at most as many attempts as the policy allows, and the last error is raised."""
    errors = [status_error(500 + number) for number in range(10)]
    attempt = Failing(*errors)

    async def main() -> None:
        with pytest.raises(ServerError) as caught:
            await retrying(attempt, RetryPolicy(attempts=attempts))
        assert caught.value is errors[attempts - 1]

    run_virtual(main())
    assert len(attempt.times) == attempts


def test_a_retry_after_sets_the_wait():
    """If a Retry-After is longer than the backoff, it sets the wait."""
    attempt = Failing(status_error(503, 7.5), status_error(429, 0.001))

    run_virtual(retrying(attempt, RetryPolicy(backoff=1)))

    first, second, third = attempt.times
    assert second - first == pytest.approx(7.5)
    assert 1 <= third - second <= 2


def test_a_wait_beyond_the_deadline_is_not_begun():
    """If the wait would outlast the deadline, the server's own error is raised immediately."""
    error = status_error(429, 61.0)

    async def main() -> None:
        with pytest.raises(RateLimitError) as caught:
            await retrying(Failing(error), deadline=now() + 60)
        assert now() == 0
        assert caught.value is error
        assert caught.value.retry_after == 61.0
        assert caught.value.__notes__ == [
            "not retried: a backoff of 61 s exceeds the limit",
        ]

    run_virtual(main())


def test_backoff_beyond_the_deadline_is_not_begun():
    """If a backoff would outlast the deadline, it does not begin."""
    attempt = Failing(*(status_error(500) for _ in range(99)))
    policy = RetryPolicy(attempts=99, backoff=1, backoff_max=1)

    async def main() -> None:
        with pytest.raises(ServerError):
            await retrying(attempt, policy, deadline=now() + 10)
        assert 9 <= now() <= 10

    run_virtual(main())
    assert 10 <= len(attempt.times) <= 20


def test_the_last_attempt_has_no_note():
    """An error after the last attempt does not mention the deadline."""

    async def main() -> None:
        with pytest.raises(ServerError) as caught:
            await retrying(Failing(status_error(500)), RetryPolicy(attempts=1), deadline=now())
        assert not hasattr(caught.value, "__notes__")

    run_virtual(main())


def test_each_retry_is_logged(caplog):
    """Each retry is logged at a low level, with its attempt, its seconds and the status.

    The log does not have the server's message, because it may quote a customer.
    """
    attempt = Failing(status_error(429, 3.0))

    with caplog.at_level(logging.DEBUG, "cekat_async"):
        run_virtual(retrying(attempt))

    assert [record.levelno for record in caplog.records] == [logging.INFO]

    assert [record.getMessage() for record in caplog.records] == [
        "attempt 1 failed, next in 3 s: RateLimitError (HTTP 429, retry after 3 s)"
    ]


def test_the_drop_of_an_idle_connection_is_hardly_logged(caplog):
    """Servers drop idle connections regularly, so these drops are logged only at DEBUG."""
    with caplog.at_level(logging.DEBUG, "cekat_async"):
        run_virtual(retrying(Failing(idle_drop())))

    assert [record.levelno for record in caplog.records] == [logging.DEBUG]


@pytest.mark.parametrize("after", [0.0, 0.1, 5.0])
def test_cancellation_passes_at_once(after):
    """A call that is cancelled during an attempt or a backoff ends immediately."""

    async def main() -> None:
        attempt = Failing(*(status_error(503, 4) for _ in range(7)))
        task = asyncio.create_task(retrying(attempt))
        await asyncio.sleep(after)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert now() == pytest.approx(after)

    run_virtual(main())


@pytest.mark.parametrize("backoff", [0.001, 0.5, 100.0])
def test_an_unknown_host_is_asked_for_twice_more(backoff):
    """An unknown host name is retried twice within two seconds, for any policy."""
    attempt = Failing(*(UnknownHostError() for _ in range(9)))

    async def main() -> None:
        with pytest.raises(UnknownHostError):
            await retrying(attempt, RetryPolicy(backoff=backoff, backoff_max=100.0))

    run_virtual(main())
    assert len(attempt.times) == 3
    assert attempt.times[-1] <= 2


def test_an_unknown_host_has_no_more_attempts_than_others():
    """A policy without retries applies to an unknown host, too."""
    attempt = Failing(UnknownHostError())

    async def main() -> None:
        with pytest.raises(UnknownHostError):
            await retrying(attempt, RetryPolicy(attempts=1))

    run_virtual(main())
    assert len(attempt.times) == 1


# --- the budget

LOST = [ResponseLostError, ResponseTimeoutError, ConnectTimeoutError]
AGAIN = RetryPolicy(attempts=1000, backoff=1, backoff_max=1)


def test_a_budget_counts_down_and_up():
    """A retry budget never gives more than it has, and it never exceeds its size."""
    budget = RetryBudget(2)

    assert [budget.spend(5), budget.spend(5), budget.spend(5)] == [True, True, False]
    assert budget.balance == 0
    budget.give_back(1)
    assert budget.balance == 0.2
    budget.give_back(1000)
    assert budget.balance == 2


def test_a_budget_without_a_bound():
    """``None`` allows every retry and logs nothing."""
    budget = RetryBudget(None)
    attempt = Failing(*(ResponseLostError() for _ in range(500)))

    assert run_virtual(retrying(attempt, AGAIN, budget=budget)) == "done"
    assert len(attempt.times) == 501
    assert budget.balance == math.inf


@pytest.mark.parametrize(
    "error, retries",
    [
        *((kind(), 5) for kind in LOST),
        *((error, 10) for error in (NotSentError(), MalformedBodyError(), status_error(503))),
        (status_error(429), 999),
    ],
    ids=repr,
)
def test_what_a_retry_costs(error, retries):
    """A retry costs one.

    It costs two after a lost response or a timeout, and nothing after a 429.
    """
    attempt = Failing(*[error] * 2000)

    async def main() -> None:
        with pytest.raises(type(error)):
            await retrying(attempt, AGAIN, budget=RetryBudget(10))

    run_virtual(main())
    assert len(attempt.times) == 1 + retries


def test_the_drop_of_an_idle_connection_is_free():
    """Once per call, a retry after this drop is immediate and costs nothing of the retry budget."""
    budget = RetryBudget(2)
    budget.spend(10)
    attempt = Failing(status_error(429, 5.0), idle_drop(), idle_drop())

    async def main() -> None:
        with pytest.raises(ConnectionDroppedError) as caught:
            await retrying(attempt, budget=budget)
        assert "retry budget of 2 is used up" in caught.value.__notes__[0]

    run_virtual(main())
    begin, *later = attempt.times
    assert later == [begin + 5, begin + 5]


def test_a_spent_budget_ends_a_call_at_once():
    """If the retry budget is used up, the last error is raised immediately, with that reason."""
    errors = [status_error(500 + number) for number in range(5)]
    attempt = Failing(*errors)

    async def main() -> None:
        with pytest.raises(ServerError) as caught:
            await retrying(attempt, AGAIN, budget=RetryBudget(3))
        assert caught.value is errors[3]
        assert now() == attempt.times[3]
        (note,) = caught.value.__notes__
        assert note == (
            "not retried: the client's retry budget of 3 is used up; "
            "requests that succeed refill it"
        )

    run_virtual(main())
    assert len(attempt.times) == 4


@pytest.mark.parametrize("policy", [RetryPolicy(attempts=1), RetryPolicy(backoff=9)])
@pytest.mark.parametrize("balance", [0, 3])
def test_other_reasons_against_a_retry_cost_no_budget(policy, balance, caplog):
    """If the attempts or the deadline forbid a retry, it costs nothing."""
    budget = RetryBudget(3)
    budget.spend(5 * (3 - balance))

    async def main() -> None:
        with pytest.raises(ServerError) as caught:
            await retrying(Failing(status_error(500)), policy, deadline=now() + 1, budget=budget)
        assert "budget" not in str(getattr(caught.value, "__notes__", ""))

    run_virtual(main())
    assert budget.balance == balance
    assert not warnings_of_budget(caplog)


@pytest.mark.parametrize(
    "errors, balance",
    [
        ([], 5.2),
        ([status_error(500)], 5),
        ([ResponseLostError()], 5),
        ([status_error(500), ResponseLostError()], 5),
        ([ResponseLostError(), status_error(500)], 5),
        ([status_error(500)] * 5, 5),
        ([status_error(429)] * 3, 5.2),
        ([status_error(500), status_error(429)], 5),
    ],
    ids=repr,
)
def test_what_success_gives_back(errors, balance):
    """A success gives back the cost of its retries.

    If the retries cost nothing, the success gives back a fifth of a retry.
    """
    budget = RetryBudget(10)
    budget.spend(25)

    run_virtual(retrying(Failing(*errors), budget=budget))

    assert budget.balance == balance


def test_what_fails_in_the_end_gives_nothing_back():
    """A call that fails for good has used up exactly what its retries cost."""
    budget = RetryBudget(10)
    attempt = Failing(status_error(500), ResponseLostError(), status_error(404))

    async def main() -> None:
        with pytest.raises(APIStatusError):
            await retrying(attempt, budget=budget)

    run_virtual(main())
    assert budget.balance == 7


@pytest.mark.parametrize("patience", [0.1, 0.9])
def test_cancelled_while_it_backs_off_a_retry_has_cost_nothing(patience):
    """A retry that was never sent costs nothing. Earlier retries are not refunded."""
    budget = RetryBudget(10)
    attempt = Failing(status_error(503, 1), ResponseLostError(), NotSentError())

    async def main() -> None:
        call = asyncio.ensure_future(retrying(attempt, AGAIN, budget=budget))
        await asyncio.sleep(patience)
        assert budget.balance == 9
        call.cancel()
        await asyncio.wait([call])
        assert budget.balance == 10

    run_virtual(main())
    assert len(attempt.times) == 1


@pytest.mark.parametrize("queue, work, sent, balance", [(0, 60, 2, 8), (60, 0, 1, 10)])
def test_a_retry_that_is_cancelled_costs_what_was_sent(queue, work, sent, balance):
    """A cancelled retry costs its price if it was sent.

    A retry in the queue costs nothing.
    """
    budget = RetryBudget(10)
    attempt = Queueing(queue, work, ResponseLostError(), status_error(500))

    async def main() -> None:
        call = asyncio.ensure_future(retrying(attempt, AGAIN, budget=budget))
        await asyncio.sleep(90)
        assert budget.balance == 8
        call.cancel()
        await asyncio.wait([call])

    run_virtual(main())
    assert len(attempt.times) == sent
    assert budget.balance == balance


@pytest.mark.parametrize(
    "errors, others, balance",
    [
        ([ResponseLostError(), status_error(429, 99)], 0, 10),
        ([ResponseLostError(), status_error(429), status_error(404)], 0, 10),
        ([status_error(500), ResponseLostError()], 9, 1),
    ],
    ids=["it ends there", "it goes on", "the next one is too dear"],
)
def test_a_retry_that_was_refused_unsent_has_cost_nothing(errors, others, balance):
    """If a pause ends a retry before it is sent, the retry is refunded, once."""
    budget = RetryBudget(10)
    budget.spend(5 * others)
    requests = ["the first"]
    left = iter(errors)

    async def attempt() -> str:
        raise next(left)

    async def main() -> None:
        with pytest.raises(CekatError) as caught:
            await run_with_retries(
                attempt,
                policy=AGAIN,
                budget=budget,
                find_exceeded_limit=lambda seconds: "the limit" if seconds > 60 else None,
                count_sent=lambda: len(requests),
                report_retry=lambda error, seconds: None,
            )
        assert caught.value is errors[-1]

    run_virtual(main())
    assert budget.balance == balance


@pytest.mark.parametrize("errors", [0, 1, 2])
def test_a_call_leaves_nothing_to_the_garbage_collector(errors):
    """The objects of a call are freed immediately: a collection could block the event loop."""
    attempts = [Failing(*(TransportError() for _ in range(errors))) for _ in range(10)]

    async def main() -> int:
        gc.collect()
        gc.disable()
        for attempt in attempts:
            await retrying(attempt, AGAIN)
        return gc.collect()

    try:
        assert run_virtual(main()) == 0
    finally:
        gc.enable()


class Queueing(Failing):
    """Waits in a queue before it is sent, and then for its reply."""

    def __init__(self, queue: float, latency: float, *errors: BaseException) -> None:
        super().__init__(*errors)
        self._queue = queue
        self._latency = latency

    async def __call__(self) -> str:
        await asyncio.sleep(self._queue)
        self.times.append(now())
        await asyncio.sleep(self._latency)
        if self._errors:
            raise self._errors.pop(0)
        return "done"


def test_a_spent_budget_warns_once(caplog):
    """An empty retry budget causes one warning, until it is half full again."""
    budget = RetryBudget(4)

    async def fail() -> None:
        with pytest.raises(ServerError):
            await retrying(Failing(*[status_error(500)] * 99), AGAIN, budget=budget)

    async def main() -> None:
        await asyncio.gather(*(fail() for _ in range(20)))
        for _ in range(9):
            await retrying(Failing(), budget=budget)
        await fail()
        assert len(warnings_of_budget(caplog)) == 1
        for _ in range(12):
            await retrying(Failing(), budget=budget)
        await fail()

    run_virtual(main())
    first, second = warnings_of_budget(caplog)
    assert first == second
    assert first == (
        "the client's retry budget of 4 is used up: failures are not retried until requests succeed"
    )


def warnings_of_budget(caplog) -> list[str]:
    said = [record.getMessage() for record in caplog.records]
    return [line for line in said if "budget" in line]


class Watched(RetryBudget):
    """Checks the balance of the budget after every change."""

    def spend(self, tokens: int) -> bool:
        spent = super().spend(tokens)
        self.check()
        return spent

    def give_back(self, tokens: int) -> None:
        super().give_back(tokens)
        self.check()

    def check(self) -> None:
        assert 0 <= self._balance <= self._capacity


OUTCOMES = {
    "refused": (lambda: status_error(429), 0),
    "failed": (lambda: status_error(503), 5),
    "not sent": (NotSentError, 5),
    "lost": (ResponseLostError, 10),
    "late": (ResponseTimeoutError, 10),
    "not found": (lambda: status_error(404), math.nan),
}


class PlannedCall:
    """A call that starts, queues, fails and is cancelled according to a plan."""

    def __init__(self, waits: tuple[float, ...], patience: float, outcomes: list[str]) -> None:
        self._start, queue, latency = waits
        self._patience = patience
        self._prices = [OUTCOMES[name][1] for name in outcomes]
        self._attempt = Queueing(queue, latency, *(OUTCOMES[name][0]() for name in outcomes))
        self._succeeded = False

    async def run(self, budget: RetryBudget) -> None:
        await asyncio.sleep(self._start)
        with contextlib.suppress(CekatError, TimeoutError):
            async with asyncio.timeout(self._patience):
                await retrying(self._attempt, RetryPolicy(backoff=1, backoff_max=2), budget=budget)
                self._succeeded = True

    @property
    def spent(self) -> int:
        return sum(self._prices[: max(len(self._attempt.times) - 1, 0)])

    @property
    def given_back(self) -> int:
        return max(1, sum(self._prices)) if self._succeeded else 0


@given(
    retries=st.integers(1, 12),
    calls=st.lists(
        st.builds(
            PlannedCall,
            waits=st.tuples(*[st.sampled_from([0.0, 0.3, 1.7, 6.0])] * 3),
            patience=st.sampled_from([0.5, 2.5, 9.0, 999.0]),
            outcomes=st.lists(st.sampled_from(sorted(OUTCOMES)), max_size=7),
        ),
        max_size=20,
    ),
)
def test_no_more_is_sent_than_the_budget_allows(retries, calls):
    """For any calls, the number of retries is at most the budget plus what was given back.

    Retries that were not sent cost nothing.
    """
    budget = Watched(retries)

    async def main() -> None:
        await asyncio.gather(*(call.run(budget) for call in calls))

    run_virtual(main())
    spent = sum(call.spent for call in calls)
    assert spent <= retries * 5 + sum(call.given_back for call in calls)
    assert budget.balance >= retries - spent / 5
