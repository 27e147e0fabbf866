"""Records the spans and metrics of the OpenTelemetry hook in memory."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cekat_async.sandbox import Sandbox
from cekat_async.telemetry import OpenTelemetry

from .parts import make_client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from opentelemetry.sdk.trace import ReadableSpan

    from cekat_async import CekatClient, HookEvent
    from cekat_async.sandbox import Live

Attributes: TypeAlias = "dict[str, Any]"


class Recorded:
    """A hook, its providers, and everything that they have recorded.

    Attributes:
        hook: The hook.
        tracer_provider: The provider of its spans.
        meter_provider: The provider of its metrics.
        events: The events that :meth:`keep` has stored. A test can pass this method as a hook.
    """

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self._reader])
        self.hook = OpenTelemetry(
            tracer_provider=self.tracer_provider, meter_provider=self.meter_provider
        )
        self.events: list[HookEvent] = []

    def close(self) -> None:
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()

    def keep(self, event: HookEvent) -> None:
        """Store an event."""
        self.events.append(event)

    @property
    def metrics_json(self) -> str:
        """All metrics as JSON text."""
        data = self._reader.get_metrics_data()
        return data.to_json() if data else ""

    @property
    def spans(self) -> list[ReadableSpan]:
        """All finished spans, ordered by start time."""
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def named(self, name: str) -> list[ReadableSpan]:
        """Return the finished spans with this name."""
        return [span for span in self.spans if span.name == name]

    def path(self, span: ReadableSpan) -> str:
        """Return the names on the path from the root span to this span, joined by ``>``."""
        by_id = {one.context.span_id: one for one in self.spans if one.context}
        names = [span.name]
        while span.parent is not None:
            span = by_id[span.parent.span_id]
            names.append(span.name)
        return " > ".join(reversed(names))

    @property
    def paths(self) -> list[str]:
        """The paths of all spans."""
        return [self.path(span) for span in self.spans]

    def points(self, name: str) -> list[tuple[Attributes, float]]:
        """Return the data points of a metric as pairs of attributes and value."""
        data = self._reader.get_metrics_data()
        return [
            (
                dict(point.attributes or {}),
                point.value if isinstance(point, NumberDataPoint) else point.count,
            )
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def total(self, name: str, **wanted: object) -> float:
        """Return the sum of a metric over all data points that have the given attributes.

        Attributes are given by the last part of their names, such as ``reason`` for
        ``cekat.wait.reason``.
        """
        return sum(
            value
            for attributes, value in self.points(name)
            if wanted.items() <= {k.rpartition(".")[2]: v for k, v in attributes.items()}.items()
        )


def get_events(span: ReadableSpan) -> list[tuple[str, Attributes]]:
    """Return the events of a span as pairs of name and attributes."""
    return [(event.name, dict(event.attributes or {})) for event in span.events]


@asynccontextmanager
async def account(
    conversations: int, inboxes: int = 8, *, live: Live | None = None, **options: Any
) -> AsyncGenerator[tuple[Sandbox, CekatClient]]:
    """Open a sandbox without a quota, and a client with these options that uses the sandbox."""
    async with (
        Sandbox(conversations, inboxes, quota=None, live=live) as sandbox,
        make_client(sandbox, **options) as client,
    ):
        yield sandbox, client
