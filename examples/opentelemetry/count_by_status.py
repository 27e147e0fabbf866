"""Count conversations by status, and send spans and metrics to an OpenTelemetry collector.

OTEL_EXPORTER_OTLP_ENDPOINT names the collector. The default is http://localhost:4318.
"""

import asyncio
from collections import Counter

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from cekat_async import CekatClient
from cekat_async.telemetry import OpenTelemetry


def set_up_telemetry() -> None:
    tracer_provider = TracerProvider()
    tracer_provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(tracer_provider)
    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    metrics.set_meter_provider(MeterProvider([reader]))


async def main() -> None:
    telemetry = OpenTelemetry()
    async with CekatClient(hooks=telemetry) as cekat:
        telemetry.observe(cekat)
        with trace.get_tracer("count_by_status").start_as_current_span("count by status"):
            counts = Counter([c.stage_status async for c in cekat.conversations.list()])
    for status, count in counts.most_common():
        print(f"{status}\t{count}")


# Recorded data is sent in the background. The rest is sent when the program exits.
set_up_telemetry()
asyncio.run(main())
