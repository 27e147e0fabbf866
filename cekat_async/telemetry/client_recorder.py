"""Spans and measurements of clients: their walks, calls, attempts and waits."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from cekat_async.telemetry.attributes import (
    ERROR_TYPE,
    STATUS,
    URL_TEMPLATE,
    build_request_attributes,
    get_template,
)
from cekat_async.telemetry.spans import OpenCall, OpenSpan

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Tracer

    from cekat_async import (
        CallBegun,
        CallFailed,
        PageFetched,
        PauseBegun,
        ReplyReceived,
        RequestFailed,
        RequestSent,
        RetryScheduled,
        WalkBegun,
        WalkEnded,
    )
    from cekat_async.telemetry.metrics import Measurements
    from cekat_async.telemetry.quota import QuotaGauges

__all__ = ["ClientRecorder"]


class ClientRecorder:
    """Records the events of clients.

    The recorder ignores walks and calls that began while nothing was recorded.

    Args:
        tracer: The tracer that starts the spans.
        measurements: The measurements to which the numbers are added.
        quota: The gauges to refresh after each attempt.
        get_parent: A function that returns the parent span for a walk or a call in the present
            task.
        is_recording: A function that returns whether anything is recorded now.
    """

    def __init__(
        self,
        tracer: Tracer,
        measurements: Measurements,
        quota: QuotaGauges,
        get_parent: Callable[[], OpenSpan | None],
        is_recording: Callable[[], bool],
    ) -> None:
        self._tracer = tracer
        self._measurements = measurements
        self._quota = quota
        self._get_parent = get_parent
        self._is_recording = is_recording
        self._walks: dict[int, OpenSpan] = {}
        self._calls: dict[int, OpenCall] = {}

    @property
    def open_spans(self) -> int:
        """The number of open spans of listings and pages."""
        return len(self._walks) + len(self._calls)

    def begin_walk(self, event: WalkBegun) -> None:
        """Begin the span of a listing."""
        if self._is_recording():
            attributes = {URL_TEMPLATE: get_template(event.path)}
            parent = self._get_parent()
            self._walks[event.walk] = OpenSpan(self._tracer, "listing", attributes, parent)

    def end_walk(self, event: WalkEnded) -> None:
        """End the span of a listing."""
        if (walk := self._walks.pop(event.walk, None)) is not None:
            walk.end(event.error, {"cekat.pages": event.pages, "cekat.records": event.records})

    def begin_call(self, event: CallBegun) -> None:
        """Begin the span of a page."""
        if event.walk is None:
            if not self._is_recording():
                return
            parent = self._get_parent()
        elif (parent := self._walks.get(event.walk)) is None:
            return
        attributes = {URL_TEMPLATE: get_template(event.path), "cekat.inbox.id": event.inbox_id}
        self._calls[event.call] = OpenCall(
            self._tracer, attributes, parent, walk=event.walk, path=event.path
        )

    def begin_attempt(self, event: RequestSent) -> None:
        """Begin the span of an attempt, and record the waits before it."""
        if (call := self._calls.get(event.call)) is None:
            return
        request = build_request_attributes(event.method, event.url, call.path)
        call.begin_attempt(event.attempt, request, event.waited)
        self._measurements.add_waits(request, event.waited)

    def end_attempt(self, event: ReplyReceived) -> None:
        """End the span of an attempt that got a reply."""
        if (call := self._calls.get(event.call)) is None:
            return
        status = event.status
        error = str(status) if status >= HTTPStatus.BAD_REQUEST else None
        call.end_attempt(error, {STATUS: status, "cekat.response.size": event.size})
        self._measurements.add_attempt(call.request, event.seconds, status=status, error=error)
        self._quota.refresh()

    def fail_attempt(self, event: RequestFailed) -> None:
        """End the span of an attempt that got no reply."""
        if (call := self._calls.get(event.call)) is None:
            return
        call.end_attempt(event.error)
        self._measurements.add_attempt(call.request, event.seconds, status=None, error=event.error)
        self._quota.refresh()

    def add_retry(self, event: RetryScheduled) -> None:
        """Add an event for a retry to the span of its page."""
        if (call := self._calls.get(event.call)) is None:
            return
        call.add_event(
            "retry",
            {
                "cekat.attempt": event.attempt,
                "cekat.backoff.seconds": event.seconds,
                ERROR_TYPE: event.error,
                STATUS: event.status,
            },
        )
        self._measurements.add_retry(call.request, event)

    def add_pause(self, event: PauseBegun) -> None:
        """Add an event for a pause to all spans of listings, and of pages without a listing."""
        alone = (call for call in list(self._calls.values()) if call.walk is None)
        for span in (*self._walks.values(), *alone):
            span.add_event(
                "pause", {"cekat.pause.reason": event.reason, "cekat.pause.seconds": event.seconds}
            )
        self._measurements.add_pause(event)

    def end_call(self, event: PageFetched) -> None:
        """End the span of a page."""
        if (call := self._calls.pop(event.call, None)) is None:
            return
        call.end(
            attributes={
                "cekat.records": event.records,
                "cekat.malformed_records": event.malformed_records or None,
                "cekat.attempts": event.attempts,
            }
        )
        self._measurements.add_page(call.request, event)

    def fail_call(self, event: CallFailed) -> None:
        """End the span of a page that could not be fetched."""
        if (call := self._calls.pop(event.call, None)) is not None:
            call.add_waits(event.waited)
            call.end(event.error, {"cekat.attempts": event.attempts, STATUS: event.status})
            self._measurements.add_waits(call.request, event.waited)
