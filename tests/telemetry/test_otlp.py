"""A real exporter sends spans and metrics to a real receiver on loopback."""

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from support.otel import account
from support.otlp import receiving

from cekat_async import RateLimit, RetryPolicy
from cekat_async.export import export_conversations
from cekat_async.sandbox import Fault
from cekat_async.telemetry import OpenTelemetry


async def test_a_collector_gets_everything(tmp_path):
    """A collector receives the span tree of an export and all metrics, but no key."""
    with receiving() as receiver:
        tracer_provider = TracerProvider()
        tracer_provider.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(f"{receiver.url}/v1/traces"))
        )
        exporter = OTLPMetricExporter(f"{receiver.url}/v1/metrics")
        meter_provider = MeterProvider([PeriodicExportingMetricReader(exporter)])
        hook = OpenTelemetry(tracer_provider=tracer_provider, meter_provider=meter_provider)
        options = {"retry": RetryPolicy(backoff=0.01), "rate_limit": RateLimit(10_000)}
        async with account(120, 2, hooks=hook, **options) as (sandbox, client):
            hook.observe(client)
            sandbox.fail_next(Fault.status(503), Fault.status(429, headers={"Retry-After": "0.01"}))
            await export_conversations(client, tmp_path / "x.jsonl", by_inbox=True)
        # The reader of metrics runs in another thread, after the client's loop has ended.
        tracer_provider.shutdown()
        meter_provider.shutdown()

    by_id = {span.span_id: span for span in receiver.spans}

    def path(span):
        above = by_id.get(span.parent_span_id)
        return f"{path(above)} > {span.name}" if above else span.name

    collect = "export > collect > listing > page"
    assert {path(span) for span in receiver.spans} == {
        "export",
        "export > listing",
        "export > listing > page",
        "export > listing > page > GET /api/inboxes",
        "export > collect",
        "export > collect > listing",
        collect,
        f"{collect} > GET /api/conversations",
        "export > publish",
    }
    assert {span.trace_id for span in receiver.spans} == {receiver.spans[0].trace_id}
    waits = [e for span in receiver.spans for e in span.events if e.name == "wait"]
    assert waits
    assert receiver.metric_names == {
        "http.client.request.duration",
        "cekat.client.retries",
        "cekat.client.refusals",
        "cekat.client.wait.time",
        "cekat.client.pauses",
        "cekat.client.pages",
        "cekat.client.records",
        "cekat.export.duration",
        "cekat.export.partitions",
        "cekat.export.published",
        "cekat.quota.limit",
        "cekat.quota.usage",
        "cekat.quota.utilization",
    }
    assert sandbox.api_key.encode() not in b"".join(receiver.bodies)
