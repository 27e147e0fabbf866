"""The example with OpenTelemetry sends spans and metrics to a real receiver."""

import os
import subprocess
import sys
from pathlib import Path

from support.otlp import receiving

from cekat_async.sandbox import Sandbox

EXAMPLE = Path(__file__).parents[2] / "examples" / "opentelemetry" / "count_by_status.py"


def test_a_collector_gets_its_spans_and_metrics():
    """The example prints its counts. A collector gets the walk as a child of the example's span."""
    with Sandbox(250, quota=None) as sandbox, receiving() as receiver:
        done = subprocess.run(  # noqa: S603 - our own example
            [sys.executable, EXAMPLE],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ
            | {
                "CEKAT_API_KEY": sandbox.api_key,
                "CEKAT_BASE_URL": sandbox.base_url,
                "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            },
        )

    assert (done.returncode, done.stderr) == (0, "")
    assert sum(int(line.split("\t")[1]) for line in done.stdout.splitlines()) == 250
    root, listing, *_ = receiver.spans
    assert (root.name, listing.name) == ("count by status", "listing")
    assert listing.parent_span_id == root.span_id
    assert "cekat.client.records" in receiver.metric_names
    assert "cekat.quota.utilization" in receiver.metric_names
