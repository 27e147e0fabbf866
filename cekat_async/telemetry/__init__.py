"""Spans and metrics of a client and its exports, for OpenTelemetry.

>>> telemetry = OpenTelemetry()
>>> async with CekatClient(hooks=telemetry) as cekat:
...     telemetry.observe(cekat)  # also report the quota
...     page = await cekat.conversations.page()

Start reading in ``hook.py``, which turns the events of a client into spans (``spans.py``) and
measurements (``metrics.py``, ``quota.py``). ``export_events.py`` has the events of an export. Only
a call of ``OpenTelemetry()`` needs the library opentelemetry-api.
"""

from cekat_async.telemetry.hook import OpenTelemetry

__all__ = ["OpenTelemetry"]
