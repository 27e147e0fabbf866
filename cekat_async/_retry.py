"""Which failures deserve another attempt, and when. The one file that knows tenacity."""

from __future__ import annotations

import asyncio
import logging
import random
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from cekat_async.errors import (
    APIStatusError,
    CekatError,
    MalformedBodyError,
    ResponseTooLargeError,
    TransportError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cekat_async.config import RetryPolicy

__all__ = ["backoff", "deserves_retry", "retried"]

_log = logging.getLogger("cekat_async")

T = TypeVar("T")

_RETRIED_STATUSES = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)


def deserves_retry(error: BaseException) -> bool:
    """Whether asking again may heal a failure.

    Only our own classes do, named one by one: a predicate that says yes to all it does not know
    also says yes to a cancellation.
    """
    if isinstance(error, APIStatusError):
        return error.status in _RETRIED_STATUSES or error.status in range(500, 600)
    if isinstance(error, ResponseTooLargeError):
        return False
    return isinstance(error, (TransportError, MalformedBodyError))


def backoff(policy: RetryPolicy, retry: int, draw: Callable[[], float] = random.random) -> float:
    """Return the seconds before the ``retry``-th retry (from 1), by ``draw`` from 0 to 1.

    Drawn from the upper half of the exponential, at its cap too: clients that failed together
    must not come back together.
    """
    # 2.0**1024 is beyond a float, and long before that beyond any cap.
    ceiling = min(policy.backoff * 2.0 ** min(retry - 1, 64), policy.backoff_max)
    return ceiling * (1 + draw()) / 2


async def retried(policy: RetryPolicy, deadline: float, attempt: Callable[[], Awaitable[T]]) -> T:
    """Return what ``attempt`` returns, trying again as the policy says.

    Nothing is held while it waits: ``attempt`` has let go of all it took. A wait that would end
    behind ``deadline`` (a time of the event loop's clock) is not begun.

    Raises:
        CekatError: What the last attempt raised.
    """
    try:
        # Past tenacity, whose machinery costs a twentieth of a whole page.
        return await attempt()
    except CekatError as error:
        if not deserves_retry(error):
            raise
        failures = [error]

    async def again() -> T:
        # For tenacity the first attempt is yet to come: it is told how that one ended.
        if failures:
            raise failures.pop()
        return await attempt()

    return await _retrying(policy, deadline)(again)


def _retrying(policy: RetryPolicy, deadline: float) -> AsyncRetrying:
    """Make one for a call: a shared one gives tasks each other's errors."""

    def wait(state: RetryCallState) -> float:
        return max(backoff(policy, state.attempt_number), _failure(state).retry_after or 0.0)

    def is_too_late(state: RetryCallState) -> bool:
        late = asyncio.get_running_loop().time() + state.upcoming_sleep > deadline
        if late:
            _failure(state).add_note(
                f"not tried again: waiting {state.upcoming_sleep:.3g} s would outlast the deadline"
            )
        return late

    enough = stop_after_attempt(policy.attempts)
    return AsyncRetrying(
        retry=retry_if_exception(deserves_retry),
        wait=wait,
        stop=lambda state: enough(state) or is_too_late(state),
        before_sleep=_log_retry,
        sleep=asyncio.sleep,
        reraise=True,
    )


def _failure(state: RetryCallState) -> CekatError:
    """Return what the attempt failed with: the predicate let only our own errors come here."""
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, CekatError)  # noqa: S101 - for the type checker; see above
    return error


def _log_retry(state: RetryCallState) -> None:
    _log.warning(
        "attempt %d failed, next in %.3g s: %s",
        state.attempt_number,
        state.upcoming_sleep,
        _failure(state),
    )
