"""The open spans of exports, listings, pages and attempts. No span is made current."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from cekat_async.telemetry.attributes import (
    CANCELLED,
    ERROR_TYPE,
    METHOD,
    RESEND_COUNT,
    URL_TEMPLATE,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer
    from opentelemetry.util.types import AttributeValue

    Attributes = Mapping[str, AttributeValue | None]

__all__ = ["OpenCall", "OpenSpan"]


class OpenSpan:
    """A span that can have children.

    Args:
        tracer: The tracer.
        name: The span's name.
        attributes: The span's attributes. The span does not get attributes that are ``None``.
        parent: The parent span. With ``None``, the current span is the parent.
        kind: The kind of the span.
    """

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        attributes: Attributes,
        parent: OpenSpan | None,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> None:
        context = parent.context if parent else contexts.get_current()
        self._tracer = tracer
        self._span = tracer.start_span(name, context, kind, _known(attributes))
        self.context: Context = trace.set_span_in_context(self._span, context)

    def add_event(self, name: str, attributes: Attributes) -> None:
        """Add an event that happens now."""
        self._span.add_event(name, _known(attributes))

    def end(self, error: str | None = None, attributes: Attributes | None = None) -> None:
        """End the span. ``error`` is the class name of an exception, or the status of a failure."""
        self._span.set_attributes(_known(attributes or {}))
        if error is not None:
            self._span.set_attribute(ERROR_TYPE, error)
            if error != CANCELLED:
                self._span.set_status(StatusCode.ERROR)
        self._span.end()


class OpenCall(OpenSpan):
    """The span of a page, and the span of its current attempt.

    Attributes:
        walk: The number of the walk that requested the page. ``None`` for a page without a walk.
        path: The path of the endpoint.
        request: The attributes of all attempts. Empty before the first attempt.
    """

    def __init__(
        self,
        tracer: Tracer,
        attributes: Attributes,
        parent: OpenSpan | None,
        *,
        walk: int | None,
        path: str,
    ) -> None:
        super().__init__(tracer, "page", attributes, parent)
        self.walk = walk
        self.path = path
        self.request: Mapping[str, str | int] = {}
        self._attempt: OpenSpan | None = None

    def add_waits(self, waited: Mapping[str, float]) -> None:
        """Add an event for each reason for which the call waited."""
        for reason, seconds in waited.items():
            self.add_event("wait", {"cekat.wait.reason": reason, "cekat.wait.seconds": seconds})

    def begin_attempt(
        self, number: int, request: Mapping[str, str | int], waited: Mapping[str, float]
    ) -> None:
        """Add the waits, and begin the span of an attempt. The first ``number`` is 1."""
        self.add_waits(waited)
        self.request = request
        name = f"{request[METHOD]} {request[URL_TEMPLATE]}"
        resend_count = number - 1 or None
        self._attempt = OpenSpan(
            self._tracer, name, {**request, RESEND_COUNT: resend_count}, self, SpanKind.CLIENT
        )

    def end_attempt(self, error: str | None, attributes: Attributes | None = None) -> None:
        """End the span of the current attempt, if there is one."""
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.end(error, attributes)

    def end(self, error: str | None = None, attributes: Attributes | None = None) -> None:
        """End the span of the page, and also the span of its attempt if that is still open."""
        self.end_attempt(error)
        super().end(error, attributes)


def _known(attributes: Attributes) -> dict[str, AttributeValue]:
    return {name: value for name, value in attributes.items() if value is not None}
