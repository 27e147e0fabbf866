"""Without an SDK, nothing is recorded and the hook costs almost nothing."""

import subprocess
import sys

import pytest
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider
from support.effort import calls_in
from support.otel import Recorded, account

from cekat_async import CallBegun, MissingExtraError, PageFetched, ReplyReceived, RequestSent
from cekat_async.telemetry import OpenTelemetry

LIST = "/api/conversations"
PAGE = (
    CallBegun(call=1, walk=None, path=LIST),
    RequestSent(
        call=1, walk=None, attempt=1, method="GET", url=f"https://x.example{LIST}", waited={}
    ),
    ReplyReceived(call=1, walk=None, attempt=1, status=200, seconds=0.1, size=1),
    PageFetched(call=1, walk=None, records=1, malformed_records=0, attempts=1, seconds=0.1),
)


def send_page(hook):
    """Send the events of a page of a walk."""
    for event in PAGE:
        hook(event)


def make_idle():
    """Return a hook whose providers record nothing."""
    return OpenTelemetry(tracer_provider=NoOpTracerProvider(), meter_provider=NoOpMeterProvider())


def test_a_page_costs_almost_nothing():
    """Without an SDK, a page takes a few function calls. With an SDK, it takes several hundred."""
    recorded, idle = Recorded(), make_idle()
    send_page(recorded.hook)

    assert calls_in(lambda: send_page(idle)) < 25
    assert calls_in(lambda: send_page(recorded.hook)) > 250
    recorded.close()


async def test_a_client_works_without_an_sdk():
    """Walks and pages work as usual, and nothing about them is stored."""
    hook = make_idle()
    async with account(150, hooks=hook) as (_, client):
        hook.observe(client)
        assert len(await client.conversations.list().collect()) == 150
        assert hook.open_spans == 0


@pytest.mark.parametrize("which", ["tracer_provider", "meter_provider"])
def test_one_provider_is_enough(which):
    """If only one of the two providers records, it still gets its data."""
    recorded = Recorded()
    providers = {
        "tracer_provider": NoOpTracerProvider(),
        "meter_provider": NoOpMeterProvider(),
        which: getattr(recorded, which),
    }
    send_page(OpenTelemetry(**providers))

    assert len(recorded.spans) == (2 if which == "tracer_provider" else 0)
    assert recorded.total("cekat.client.pages") == (1 if which == "meter_provider" else 0)
    recorded.close()


GLOBAL = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from cekat_async import CallBegun, CallFailed
from cekat_async.telemetry import OpenTelemetry

def call(number):
    hook(CallBegun(call=number, walk=None, path="/api/things"))
    hook(CallFailed(call=number, walk=None, attempts=0, error="X", seconds=0.0))

hook = OpenTelemetry()
call(1)
exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
call(2)
print(hook, [span.name for span in exporter.get_finished_spans()])
"""


def test_the_global_provider_may_be_set_later():
    """A hook may be created before the SDK is configured: it reports from the configuration on."""
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", GLOBAL], capture_output=True, text=True, check=True
    )

    assert done.stdout == "<OpenTelemetry hook: 0 open spans> ['page']\n"


def test_a_missing_extra_says_how_to_install_it(monkeypatch):
    """Without the library, the hook cannot be created.

    The error says how to install the library.
    """
    for name in {"opentelemetry", *sys.modules}:
        if name.partition(".")[0] == "opentelemetry":
            monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(MissingExtraError) as caught:
        OpenTelemetry()

    assert str(caught.value) == "telemetry needs opentelemetry-api: pip install 'cekat-async[otel]'"


@pytest.mark.parametrize("package", ["telemetry", "export"])
def test_importing_imports_no_library(package):
    """Importing the package or its exports does not import OpenTelemetry."""
    code = f"import sys, cekat_async.{package}; print('opentelemetry' in sys.modules)"
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout == "False\n"
