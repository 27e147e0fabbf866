"""One call: its attempts, its waits and its events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cekat_async._api.replies import redact_headers
from cekat_async._ratelimit.clock import time_now
from cekat_async._request.hooks import (
    CallBegun,
    CallFailed,
    PageFetched,
    ReplyReceived,
    RequestFailed,
    RequestSent,
    RetryScheduled,
)
from cekat_async._request.walk_report import next_number
from cekat_async.errors import APIStatusError
from cekat_async.models.response_details import ResponseDetails
from cekat_async.pages import count_records

if TYPE_CHECKING:
    from collections.abc import Callable

    from cekat_async._api.replies import Reply
    from cekat_async._api.requests import Request
    from cekat_async._request.hooks import Hooks
    from cekat_async.errors import CekatError
    from cekat_async.redaction import Secret

__all__ = ["Call", "CallReport", "Waits"]

# A wait shorter than this is only the running time of our own code.
_SHORTEST_WAIT = 0.001


class Waits:
    """The seconds that one call has waited, by reason. The first wait is for the ``"quota"``.

    All waiting during a server pause counts as ``"pause"``.

    Args:
        get_pause_time: Returns the total seconds of the server's pauses so far.

    Attributes:
        began: The time at which the call began.
        total: The seconds waited during the whole call, by reason.
        latest: The seconds waited since the last :meth:`take_latest`, by reason.
    """

    def __init__(self, get_pause_time: Callable[[], float]) -> None:
        self.total: dict[str, float] = {}
        self.latest: dict[str, float] = {}
        self._get_pause_time = get_pause_time
        self._reason: str | None = "quota"
        self.began = self._since = time_now()
        self._pause_time_before = get_pause_time()

    def begin(self, reason: str) -> None:
        """Begin a wait for ``reason``. A wait for another reason ends."""
        if reason != self._reason:
            self.end()
            self._reason = reason
            self._since, self._pause_time_before = time_now(), self._get_pause_time()

    def end(self) -> None:
        """End the present wait."""
        reason, self._reason = self._reason, None
        if reason is None or (seconds := time_now() - self._since) < _SHORTEST_WAIT:
            return
        paused = min(seconds, self._get_pause_time() - self._pause_time_before)
        self._add("pause", paused)
        self._add(reason, seconds - paused)

    def take_latest(self) -> dict[str, float]:
        """Return the seconds waited since the last call of this method, by reason."""
        latest, self.latest = self.latest, {}
        return latest

    def _add(self, reason: str, seconds: float) -> None:
        if seconds >= _SHORTEST_WAIT:
            for waits in (self.latest, self.total):
                waits[reason] = waits.get(reason, 0.0) + seconds


class Call:
    """One call: a request with its retries.

    Args:
        request: The request.
        get_pause_time: The same function as in :class:`Waits`.
        report: Emits the events of the call; ``None`` without hooks.

    Attributes:
        attempts: The number of times that the request was sent.
        waits: The waits of the call, by reason.
        failure: The error of the last attempt.
    """

    def __init__(
        self, request: Request, get_pause_time: Callable[[], float], report: CallReport | None
    ) -> None:
        self.request = request
        self.attempts = 0
        self.waits = Waits(get_pause_time)
        self.failure: CekatError | None = None
        self._report = report

    @property
    def seconds(self) -> float:
        """The seconds since the call began."""
        return time_now() - self.waits.began

    def locate(self, error: CekatError) -> CekatError:
        """Add the request and the number of its attempts to an error. Return the error."""
        error.attempts = self.attempts
        return error.locate(path=self.request.path)

    def describe(self, reply: Reply, key: Secret) -> ResponseDetails:
        """Return the details of a reply, with the key removed."""
        return ResponseDetails(
            status=reply.status,
            headers=redact_headers(reply.headers, key),
            attempts=self.attempts,
            waited=self.waits.total,
            seconds=self.seconds,
        )

    def begin(self) -> None:
        """Report that the call begins."""
        if self._report is not None:
            self._report.begin()

    def send(self) -> None:
        """Count an attempt that is sent now, and report it."""
        self.waits.end()
        waited = self.waits.take_latest()
        self.attempts += 1
        if self._report is not None:
            self._report.send(self.attempts, waited)

    def receive(self, reply: Reply) -> None:
        """Report the reply to the attempt."""
        if self._report is not None:
            self._report.receive(reply)

    def lose(self, error: BaseException) -> None:
        """Report that the attempt got no reply."""
        if self._report is not None:
            self._report.lose(error)

    def fail_attempt(self, error: CekatError) -> None:
        """Record the error of the attempt. If a retry follows, its backoff begins now."""
        self.failure = self.locate(error)
        self.waits.begin("backoff")

    def retry(self, error: CekatError, seconds: float) -> None:
        """Report that a retry follows after ``seconds``."""
        if self._report is not None:
            self._report.retry(error, seconds)

    def succeed(self, result: object) -> None:
        """Report the result of the call."""
        if self._report is not None:
            self._report.succeed(result, self.seconds)

    def fail(self, error: BaseException) -> None:
        """Report the error of the call."""
        self.waits.end()
        if self._report is not None:
            self._report.fail(error, self.seconds, self.waits.latest)


class CallReport:
    """Emits the events of one call.

    Args:
        hooks: The hooks that receive the events.
        request: The request.
        base_url: The base URL of the client.
        walk: The number of the call's walk; ``None`` if the call belongs to no walk.
        inbox_id: The ID of the requested inbox; ``None`` for all inboxes.
    """

    def __init__(
        self, hooks: Hooks, request: Request, base_url: str, walk: int | None, inbox_id: str | None
    ) -> None:
        self._emit = hooks.emit
        self._call = next_number()
        self._walk = walk
        self._path = request.path
        self._url = f"{base_url}{request.path}"
        self._inbox_id = inbox_id
        self._attempt = 0
        self._sent_at = 0.0

    def begin(self) -> None:
        self._emit(
            CallBegun(call=self._call, walk=self._walk, path=self._path, inbox_id=self._inbox_id)
        )

    def send(self, attempt: int, waited: dict[str, float]) -> None:
        self._attempt, self._sent_at = attempt, time_now()
        self._emit(
            RequestSent(
                call=self._call,
                walk=self._walk,
                attempt=attempt,
                method="GET",
                url=self._url,
                waited=waited,
            )
        )

    def receive(self, reply: Reply) -> None:
        self._emit(
            ReplyReceived(
                call=self._call,
                walk=self._walk,
                attempt=self._attempt,
                status=reply.status,
                seconds=time_now() - self._sent_at,
                size=len(reply.body),
            )
        )

    def lose(self, error: BaseException) -> None:
        self._emit(
            RequestFailed(
                call=self._call,
                walk=self._walk,
                attempt=self._attempt,
                error=type(error).__name__,
                seconds=time_now() - self._sent_at,
            )
        )

    def retry(self, error: CekatError, seconds: float) -> None:
        self._emit(
            RetryScheduled(
                call=self._call,
                walk=self._walk,
                attempt=self._attempt,
                seconds=seconds,
                error=type(error).__name__,
                status=_get_status(error),
            )
        )

    def succeed(self, result: object, seconds: float) -> None:
        records, malformed = count_records(result)
        self._emit(
            PageFetched(
                call=self._call,
                walk=self._walk,
                records=records,
                malformed_records=malformed,
                attempts=self._attempt,
                seconds=seconds,
            )
        )

    def fail(self, error: BaseException, seconds: float, waited: dict[str, float]) -> None:
        self._emit(
            CallFailed(
                call=self._call,
                walk=self._walk,
                attempts=self._attempt,
                error=type(error).__name__,
                seconds=seconds,
                waited=waited,
                status=_get_status(error),
            )
        )


def _get_status(error: BaseException) -> int | None:
    return error.status if isinstance(error, APIStatusError) else None
