"""The path that every request takes: retry → limiter → transport → decode."""

from __future__ import annotations

import asyncio
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self, TypeVar

from cekat_async._api.replies import HEADERS_READ, MOST_READ, Reply
from cekat_async._api.status import OK, error_from_reply
from cekat_async._ratelimit.server.refusals import RefusalKind
from cekat_async._request.call import Call, CallReport
from cekat_async._request.concurrency import ConcurrencyLimit
from cekat_async._request.hooks import Hooks
from cekat_async._request.retry import RetryBudget, is_retryable, run_with_retries
from cekat_async._request.timeouts import CallTimers
from cekat_async.errors import (
    APIStatusError,
    CekatError,
    ClientClosedError,
    DeadlineExceededError,
    DecodeError,
    NotSentError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cekat_async._api.requests import Request
    from cekat_async._ratelimit.limiter import Limiter
    from cekat_async._ratelimit.sent_log import Permit
    from cekat_async._request.adaptive_limit import Flight
    from cekat_async._request.client_config import ClientConfig
    from cekat_async._request.timeouts import CallTimer
    from cekat_async.config import Timeout
    from cekat_async.models.response_details import ResponseDetails
    from cekat_async.models.steps import Steps

__all__ = ["Exchanger", "Pipeline", "Traffic"]

T = TypeVar("T")


class Exchanger(Protocol):
    """Sends one request and returns the whole reply. Tests use a scripted exchanger."""

    def with_timeout(self, timeout: Timeout) -> Exchanger:
        """Return an exchanger with other time limits, over the same connections."""
        ...

    def require_usable(self) -> None:
        """Raise an error if the exchanger is closed or belongs to another event loop."""
        ...

    async def exchange(self, request: Request) -> Reply:
        """Send a request and return its reply."""
        ...


class Traffic:
    """The number of requests that a client has sent so far.

    Attributes:
        requests: The number of attempts, including retries and attempts that could not connect.
        retries: The number of attempts that were not the first attempt of their call.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.retries = 0

    def __repr__(self) -> str:
        return f"<Traffic: {self.requests} requests, {self.retries} of them retries>"


class Pipeline:
    """Sends the requests of one client.

    Attributes:
        traffic: The number of requests sent so far.
        hooks: The hooks that receive the client's events.
    """

    def __init__(
        self,
        config: ClientConfig,
        limiter: Limiter,
        transport: Exchanger,
        hooks: Hooks | None = None,
    ) -> None:
        self.traffic = Traffic()
        self.hooks = hooks or Hooks()
        self._config = config
        self._limiter = limiter
        self._transport = transport
        self._budget = RetryBudget(config.retry.budget)
        self._concurrency = ConcurrencyLimit(config.concurrency)
        self._timers = CallTimers(config.timeout, limiter.get_pause_time)
        self._walk: int | None = None

    def with_options(self, config: ClientConfig) -> Self:
        """Return a pipeline with another retry policy and time limits. Everything else is shared.

        Closing this pipeline also ends the calls of the new pipeline.
        """
        other = copy(self)
        other._set_options(config)  # noqa: SLF001 - of the same class
        return other

    def _set_options(self, config: ClientConfig) -> None:
        self._config = config
        self._transport = self._transport.with_timeout(config.timeout)
        self._timers = self._timers.derive(config.timeout)

    def for_walk(self, walk: int | None) -> Self:
        """Return a pipeline for the calls of one walk, whose events have the walk's number."""
        bound = copy(self)
        bound._walk = walk  # noqa: SLF001 - of the same class
        return bound

    @property
    def concurrency(self) -> int:
        """The configured limit of concurrent requests."""
        return self._concurrency.most

    @property
    def present_concurrency(self) -> int:
        """The present limit of concurrent requests. The server may allow fewer than configured."""
        return self._concurrency.now

    @property
    def is_closed(self) -> bool:
        """Whether the pipeline was closed. A closed pipeline refuses calls."""
        return self._timers.is_closed

    def require_open(self) -> None:
        """Raise :class:`ClientClosedError` if the pipeline was closed."""
        self._timers.require_open()

    def close(self) -> None:
        """Cancel all running calls. They raise ``ClientClosedError``."""
        self._timers.close()

    async def fetch(
        self, request: Request, decode: Callable[[Reply], Steps[T]], inbox_id: str | None = None
    ) -> T:
        """Send a request, and return the result of ``decode`` for a reply with status 200.

        Args:
            request: The request.
            decode: Decodes the reply, in steps.
            inbox_id: The ID of the requested inbox, for the events.

        Raises:
            DeadlineExceededError: The call exceeded ``Timeout.request`` or ``Timeout.deadline``.
            CekatError: The error of the last attempt.
        """
        result, _ = await self.fetch_with_details(request, decode, inbox_id)
        return result

    async def fetch_with_details(
        self, request: Request, decode: Callable[[Reply], Steps[T]], inbox_id: str | None = None
    ) -> tuple[T, ResponseDetails]:
        """Return the result of :meth:`fetch`, and the details of the reply."""
        call = self._begin(request, inbox_id)
        try:
            call.begin()
            result, details = await self._enforce(call, decode)
        except BaseException as error:  # also a cancellation
            call.fail(error)
            raise
        call.succeed(result)
        return result, details

    def _begin(self, request: Request, inbox_id: str | None) -> Call:
        report = None
        if self.hooks:
            base_url = self._config.base_url
            report = CallReport(self.hooks, request, base_url, self._walk, inbox_id)
        return Call(request, self._limiter.get_pause_time, report)

    async def _enforce(
        self, call: Call, decode: Callable[[Reply], Steps[T]]
    ) -> tuple[T, ResponseDetails]:
        try:
            return await self._timers.enforce(
                partial(self._run, call, decode), was_sent=lambda: call.attempts > 0
            )
        except (ClientClosedError, DeadlineExceededError) as error:
            if error is call.failure:
                raise
            raise call.locate(error) from call.failure

    async def _run(
        self, call: Call, decode: Callable[[Reply], Steps[T]], timer: CallTimer
    ) -> tuple[T, ResponseDetails]:
        return await run_with_retries(
            partial(self._attempt, call, decode, timer),
            policy=self._config.retry,
            budget=self._budget,
            find_exceeded_limit=timer.find_exceeded_limit,
            count_sent=lambda: call.attempts,
            report_retry=call.retry,
        )

    def redact(self, error: CekatError) -> CekatError:
        """Remove the key from an error that quotes a reply, and return it."""
        error.attempts = max(error.attempts, 1)
        error.message = self._config.api_key.redact_text(error.message)
        error.args = (error.message,)
        return error

    async def _attempt(
        self, call: Call, decode: Callable[[Reply], Steps[T]], timer: CallTimer
    ) -> tuple[T, ResponseDetails]:
        try:
            # Check before the call enters the queue. A closed client need not wait there, and a
            # limiter of another event loop would raise a less helpful error.
            self._transport.require_usable()
            timer.enter_queue()
            await self._wait_for_slot(call, timer)
            try:
                return await self._send(call, decode, timer)
            finally:
                # Release the slot after _observe(), so that the limiter knows the reply before the
                # next request is sent.
                self._concurrency.release()
        except CekatError as error:
            if isinstance(error, APIStatusError) and is_retryable(error):
                self._limiter.set_resumption(error, timer.deadline, timer.server_time_left)
            call.fail_attempt(error)
            raise

    async def _wait_for_slot(self, call: Call, timer: CallTimer) -> None:
        if not self._concurrency.take():
            call.waits.begin("concurrency")
            await self._limiter.wait_unless_paused(
                self._concurrency.wait, timer.deadline, timer.server_time_left
            )

    async def _send(
        self, call: Call, decode: Callable[[Reply], Steps[T]], timer: CallTimer
    ) -> tuple[T, ResponseDetails]:
        call.waits.begin("quota")
        permit = await self._limiter.acquire(timer.deadline, timer.server_time_left)
        timer.leave_queue()
        sent = _Sent(permit, self._concurrency.depart())
        reply = await self._exchange(call, sent.flight)
        return await self._answer(call, decode, sent, reply)

    async def _exchange(self, call: Call, flight: Flight) -> Reply:
        self.traffic.requests += 1
        self.traffic.retries += call.attempts > 0
        try:
            call.send()
            return await self._transport.exchange(call.request)
        except BaseException as error:  # a cancelled request may have arrived
            self._limiter.observe_failure(sent=not isinstance(error, NotSentError))
            call.lose(error)
            raise
        finally:
            self._concurrency.arrive(flight)

    async def _answer(
        self, call: Call, decode: Callable[[Reply], Steps[T]], sent: _Sent, reply: Reply
    ) -> tuple[T, ResponseDetails]:
        status = reply.status
        try:
            call.receive(reply)
            result = await self._decoded(reply, decode)
            return result, call.describe(reply, self._config.api_key)
        except APIStatusError as error:
            # A reply with status 200 and "success": false has its real status in the body.
            status = error.status
            raise
        finally:
            self._observe(sent, Reply(status, reply.headers, reply.body))

    def _observe(self, sent: _Sent, reply: Reply) -> None:
        refusal = self._limiter.observe(sent.permit, reply)
        if refusal is RefusalKind.OVERLOAD:
            self._concurrency.refuse(sent.flight)
        elif reply.status == OK:
            self._concurrency.succeed(sent.flight)

    async def _decoded(self, reply: Reply, decode: Callable[[Reply], Steps[T]]) -> T:
        """Return the decoded reply, or raise the error that the reply describes.

        A server may echo the key, and an error contains data from the server in its message, in its
        attributes, and in the frames of its traceback. So this method raises the error itself, from
        an excerpt of the reply without the key.
        """
        failure: CekatError | None = None
        if reply.status == OK:
            try:
                return await _in_turns(decode(reply))
            except DecodeError as error:
                failure = self._without_key(error)
            except APIStatusError:
                pass  # raised below
        raise failure or error_from_reply(self._excerpt(reply))

    def _without_key(self, error: DecodeError) -> CekatError:
        error.raw = self._config.api_key.excerpt(error.raw, MOST_READ)
        return self.redact(error).with_traceback(None)

    def _excerpt(self, reply: Reply) -> Reply:
        key, said = self._config.api_key, reply.headers
        headers = {name: key.redact_text(said[name]) for name in HEADERS_READ if name in said}
        excerpt = key.excerpt(reply.body, MOST_READ)
        return Reply(reply.status, headers, excerpt, size=len(reply.body))


class _Sent(NamedTuple):
    """The state of a sent request in the limiter (permit) and in the concurrency limit."""

    permit: Permit
    flight: Flight


async def _in_turns(steps: Steps[T]) -> T:
    """Run work in steps, and let the event loop run after each step. Return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        await asyncio.sleep(0)
