"""Decides which failures are retried, and when. This is the only file that imports tenacity."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from cekat_async._api.log_text import describe_for_log
from cekat_async.errors import (
    APIStatusError,
    CekatError,
    ConnectionDroppedError,
    ConnectTimeoutError,
    MalformedBodyError,
    ProxyError,
    RateLimitError,
    ResponseLostError,
    ResponseTooLargeError,
    TLSError,
    TransportError,
    UnknownHostError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cekat_async.config import RetryPolicy

__all__ = ["RetryBudget", "backoff", "is_retryable", "run_with_retries"]

_log = logging.getLogger("cekat_async")

T = TypeVar("T")

_RETRIED_STATUSES = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)

# The usual cost of a retry in tokens. With five tokens, all costs are whole numbers.
_RETRY_COST = 5
_LOST_ANSWER_COST = 10
_SUCCESS_REFILL = 1

# Unknown hosts are retried only because the name service may still be starting.
_ATTEMPTS_AT_UNKNOWN_HOST = 3
_LONGEST_WAIT_FOR_HOST = 1.0


def is_retryable(error: BaseException) -> bool:
    """Whether a retry after ``error`` may succeed.

    Only some classes of our own errors are retryable. If unknown errors were retryable,
    cancellations would be retried too.
    """
    if isinstance(error, APIStatusError):
        # ``resumes_at`` is set only if the pause is too long for this call.
        is_retried = error.status in _RETRIED_STATUSES or error.status in range(500, 600)
        return is_retried and error.resumes_at is None
    if isinstance(error, (ResponseTooLargeError, TLSError, ProxyError)):
        return False
    return isinstance(error, (TransportError, MalformedBodyError))


def backoff(policy: RetryPolicy, retry: int, draw: Callable[[], float] = random.random) -> float:
    """Return the seconds before the ``retry``-th retry (from 1).

    The result is a random number from the upper half of the exponential backoff, even at the
    maximum. So clients that failed at the same time do not retry at the same time.
    """
    # The exponent is bounded because 2.0**1024 overflows.
    ceiling = min(policy.backoff * 2.0 ** min(retry - 1, 64), policy.backoff_max)
    return ceiling * (1 + draw()) / 2


class RetryBudget:
    """The number of retries that one client may send for calls that have not succeeded.

    The budget is a token bucket with botocore's costs. A call that succeeds refunds all its
    retries, so occasional failures do not use up the budget. (botocore refunds only the last retry.
    If 40 % of the requests failed, a walk would then fail after some hundred pages.) Time does not
    refill the budget, so the client stops retrying a server that stays down.

    Args:
        retries: The size of the budget in retries; ``None`` for no limit.
    """

    def __init__(self, retries: int | None) -> None:
        self._retries = retries
        self._capacity = math.inf if retries is None else retries * _RETRY_COST
        self._balance = self._capacity
        self._is_low = False

    @property
    def balance(self) -> float:
        """The number of retries that remain."""
        return self._balance / _RETRY_COST

    def spend(self, tokens: int) -> bool:
        """Take ``tokens`` if there are enough. Return whether they were taken."""
        if tokens > self._balance:
            self._warn()
            return False
        self._balance -= tokens
        return True

    def give_back(self, tokens: int) -> None:
        """Refund ``tokens``, up to the size of the budget."""
        if self._balance < self._capacity:
            self._balance = min(self._capacity, self._balance + tokens)
            # Warn once, and not again before the budget is half full. Otherwise every call would
            # warn.
            self._is_low = self._is_low and self._balance < self._capacity / 2

    def _warn(self) -> None:
        if not self._is_low:
            _log.warning("%s is used up: failures are not retried until requests succeed", self)
        self._is_low = True

    def __str__(self) -> str:
        return f"the client's retry budget of {self._retries}"


class _Charge:
    """Charges the retries of one call to the client's budget."""

    def __init__(self, budget: RetryBudget, sent: Callable[[], int]) -> None:
        self.budget = budget
        self._sent = sent
        self._sent_before = sent()
        self._latest = 0
        self._earlier = 0
        self._idle_drop: CekatError | None = None

    def is_free(self, error: CekatError) -> bool:
        """Whether a retry after ``error`` costs nothing and needs no backoff.

        The retry is free the first time that an idle connection is dropped in this call. The next
        attempt uses a new connection, so a second drop must have another reason.
        """
        if self._idle_drop is None and isinstance(error, ConnectionDroppedError) and error.was_idle:
            self._idle_drop = error
        return self._idle_drop is error

    def pay_for_retry(self, error: CekatError) -> bool:
        """Charge the budget before the backoff. Return whether the budget had enough tokens."""
        self.refund_if_unsent()
        tokens = 0 if self.is_free(error) else _cost(error)
        if not self.budget.spend(tokens):
            return False
        self._earlier += self._latest
        self._latest, self._sent_before = tokens, self._sent()
        return True

    def refund_if_unsent(self) -> None:
        """Refund the latest retry if it was never sent, because it was cancelled or refused.

        A retry that was cancelled later is not refunded, because the server may have received it.
        """
        if self._sent() == self._sent_before:
            self.budget.give_back(self._latest)
            self._latest = 0

    def refund_after_success(self) -> None:
        """Refund all retries of the call, because it succeeded."""
        self.budget.give_back(max(self._earlier + self._latest, _SUCCESS_REFILL))


def _cost(error: CekatError) -> int:
    if isinstance(error, RateLimitError):
        return 0  # the limiter's pause already delays these retries
    # The cost is higher if the server may have done the work, or may still be doing it.
    is_lost = isinstance(error, (ResponseLostError, ConnectTimeoutError))
    return _LOST_ANSWER_COST if is_lost else _RETRY_COST


async def run_with_retries(
    attempt: Callable[[], Awaitable[T]],
    *,
    policy: RetryPolicy,
    budget: RetryBudget,
    find_exceeded_limit: Callable[[float], str | None],
    count_sent: Callable[[], int],
    report_retry: Callable[[CekatError, float], None],
) -> T:
    """Return the result of ``attempt``. Retry it as often as the policy and the budget allow.

    Args:
        attempt: A function that sends the request once. After a failure, it holds no resources.
        policy: The number of retries, and the waits between attempts.
        budget: The retry budget of the client.
        find_exceeded_limit: Takes the seconds of a wait. Returns the name of the call's time limit
            that the wait would exceed, or ``None``. A wait that would exceed a limit is not
            started.
        count_sent: Returns how many requests of this call were sent. Only retries that were sent
            are charged.
        report_retry: Receives the failure and the seconds to wait, before each backoff.

    Raises:
        CekatError: The error of the last attempt.
    """
    charge = _Charge(budget, count_sent)
    build_retrying = partial(_build_retrying, policy, find_exceeded_limit, charge, report_retry)
    try:
        result = await _attempt_until_done(attempt, build_retrying)
    except BaseException:  # also a cancellation
        charge.refund_if_unsent()
        raise
    charge.refund_after_success()
    return result


async def _attempt_until_done(
    attempt: Callable[[], Awaitable[T]], build_retrying: Callable[[], AsyncRetrying]
) -> T:
    """Return the result of ``attempt``. Use tenacity only if the first attempt fails.

    Using it in each call would take 7 % of a page's CPU instructions (``bench_instructions.py``).
    """
    failures: list[CekatError] = []
    try:
        return await attempt()
    except CekatError as error:
        failures.append(error)

    async def attempt_again() -> T:
        if failures:
            raise failures.pop()  # tenacity counts this as attempt 1
        return await attempt()

    retrying = build_retrying()
    try:
        result: T = await retrying(attempt_again)
    finally:
        # Break a reference cycle, which only the garbage collector would free.
        retrying.iter_state.reset()
    return result


def _build_retrying(
    policy: RetryPolicy,
    find_exceeded_limit: Callable[[float], str | None],
    charge: _Charge,
    report_retry: Callable[[CekatError, float], None],
) -> AsyncRetrying:
    """Return the retrying object of one call. A shared object would mix up the tasks' errors."""

    def wait(state: RetryCallState) -> float:
        error = _failure(state)
        if charge.is_free(error):
            return 0.0
        seconds = backoff(policy, state.attempt_number)
        if isinstance(error, UnknownHostError):
            return min(seconds, _LONGEST_WAIT_FOR_HOST)
        return max(seconds, error.retry_after or 0.0)

    def report(state: RetryCallState) -> None:
        _log_retry(state)
        report_retry(_failure(state), state.upcoming_sleep)

    return AsyncRetrying(
        retry=retry_if_exception(is_retryable),
        wait=wait,
        # The budget comes last, so that it is charged only if no other condition forbids a retry.
        stop=lambda state: (
            _has_no_attempts_left(state, policy)
            or _is_too_late(state, find_exceeded_limit)
            or _is_over_budget(state, charge)
        ),
        before_sleep=report,
        sleep=asyncio.sleep,
        reraise=True,
    )


def _has_no_attempts_left(state: RetryCallState, policy: RetryPolicy) -> bool:
    is_unknown_host = isinstance(_failure(state), UnknownHostError)
    most = _ATTEMPTS_AT_UNKNOWN_HOST if is_unknown_host else policy.attempts
    return state.attempt_number >= min(most, policy.attempts)


def _is_too_late(state: RetryCallState, find_exceeded_limit: Callable[[float], str | None]) -> bool:
    limit = find_exceeded_limit(state.upcoming_sleep)
    if limit is not None:
        _failure(state).add_note(
            f"not retried: a backoff of {state.upcoming_sleep:.3g} s exceeds {limit}"
        )
    return limit is not None


def _is_over_budget(state: RetryCallState, charge: _Charge) -> bool:
    error = _failure(state)
    paid = charge.pay_for_retry(error)
    if not paid:
        error.add_note(f"not retried: {charge.budget} is used up; requests that succeed refill it")
    return not paid


def _failure(state: RetryCallState) -> CekatError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, CekatError)  # noqa: S101 - is_retryable accepts no other
    return error


def _log_retry(state: RetryCallState) -> None:
    _log.log(
        # Dropped idle connections are normal, so they are logged only at level DEBUG.
        logging.INFO if state.upcoming_sleep else logging.DEBUG,
        "attempt %d failed, next in %g s: %s",
        state.attempt_number,
        round(state.upcoming_sleep, 2),
        describe_for_log(_failure(state)),
    )
