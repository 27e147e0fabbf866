"""The measurements of a client and its exports, recorded when an event happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cekat_async.telemetry.attributes import ERROR_TYPE, METHOD, STATUS, select_server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.metrics import Meter

    from cekat_async import PageFetched, PauseBegun, RetryScheduled
    from cekat_async.telemetry.export_events import (
        ExportEnded,
        ExportStepEnded,
        PartitionEnded,
    )

    Attributes = Mapping[str, str | int]

__all__ = ["Measurements"]

# The bucket boundaries that the semantic conventions recommend for http.client.request.duration.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_TOO_MANY_REQUESTS = 429


class Measurements:
    """Records measurements with the instruments of a meter."""

    def __init__(self, meter: Meter) -> None:
        count = meter.create_counter
        self._duration = meter.create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Duration of attempts, from sending to the end of the body.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._retries = count("cekat.client.retries", "{retry}", "Attempts after the first.")
        self._refusals = count("cekat.client.refusals", "{refusal}", "Replies with status 429.")
        self._waits = count("cekat.client.wait.time", "s", "Seconds that calls waited.")
        self._pauses = count("cekat.client.pauses", "{pause}", "Pauses of all requests.")
        self._pages = count("cekat.client.pages", "{page}", "Calls that succeeded.")
        self._records = count("cekat.client.records", "{record}", "Records on pages.")
        self._malformed = count(
            "cekat.client.malformed_records", "{record}", "Malformed records on pages."
        )
        self._exports = meter.create_histogram(
            "cekat.export.duration", unit="s", description="Duration of exports."
        )
        self._published = count(
            "cekat.export.published", "{record}", "Records that targets received."
        )
        self._partitions = count(
            "cekat.export.partitions", "{partition}", "Partitions that ended, or failed for good."
        )
        self._catch_ups = count("cekat.export.catch_up.passes", "{pass}", "Catch-up passes.")

    def add_attempt(
        self, request: Attributes, seconds: float, *, status: int | None, error: str | None
    ) -> None:
        """Add an attempt that has ended with a status, an error, or both."""
        outcome = _drop_none({STATUS: status, ERROR_TYPE: error})
        server = select_server(request)
        self._duration.record(seconds, {METHOD: request[METHOD], **server, **outcome})
        if status == _TOO_MANY_REQUESTS:
            self._refusals.add(1, server)

    def add_waits(self, request: Attributes, waited: Mapping[str, float]) -> None:
        """Add the seconds that a call waited before an attempt, by reason."""
        for reason, seconds in waited.items():
            self._waits.add(seconds, {**select_server(request), "cekat.wait.reason": reason})

    def add_retry(self, request: Attributes, event: RetryScheduled) -> None:
        """Add a retry, with the failure that caused it."""
        outcome = _drop_none({STATUS: event.status, ERROR_TYPE: event.error})
        self._retries.add(1, {**select_server(request), **outcome})

    def add_pause(self, event: PauseBegun) -> None:
        """Add a pause."""
        self._pauses.add(1, {"cekat.pause.reason": event.reason})

    def add_page(self, request: Attributes, event: PageFetched) -> None:
        """Add a call that has succeeded."""
        server = select_server(request)
        self._pages.add(1, server)
        self._records.add(event.records, server)
        if event.malformed_records:
            self._malformed.add(event.malformed_records, server)

    def add_export(self, event: ExportEnded) -> None:
        """Add an export that has ended."""
        self._exports.record(event.seconds, _drop_none({ERROR_TYPE: event.error}))

    def add_step(self, event: ExportStepEnded) -> None:
        """Add a step of an export that has ended."""
        if event.step == "publish":
            self._published.add(event.records)

    def add_partition(self, event: PartitionEnded) -> None:
        """Add a partition that has ended."""
        self._partitions.add(1, _drop_none({ERROR_TYPE: event.error}))

    def add_catch_up(self) -> None:
        """Add a catch-up pass."""
        self._catch_ups.add(1)


def _drop_none(attributes: Mapping[str, str | int | None]) -> dict[str, str | int]:
    return {name: value for name, value in attributes.items() if value is not None}
