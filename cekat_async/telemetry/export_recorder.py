"""Spans and measurements of exports: their steps and partitions."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

from cekat_async.telemetry.attributes import ERROR_TYPE
from cekat_async.telemetry.spans import OpenSpan

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Tracer

    from cekat_async.telemetry.export_events import (
        CatchUpBegun,
        ExportBegun,
        ExportEnded,
        ExportStepBegun,
        ExportStepEnded,
        PartitionEnded,
    )
    from cekat_async.telemetry.metrics import Measurements

__all__ = ["ExportRecorder"]

# The number of the export that the present task runs. Tasks that this task starts inherit the
# number.
_export = ContextVar[int | None]("cekat_export", default=None)


class _OpenExport(NamedTuple):
    """The open spans of an export.

    Attributes:
        spans: The span of the export, and also the span of the present step if there is one.
        outer: The number of the export whose task started this export. ``None`` if there was no
            such export.
    """

    spans: list[OpenSpan]
    outer: int | None


class ExportRecorder:
    """Records the events of exports.

    Args:
        tracer: The tracer that starts the spans.
        measurements: The measurements to which the numbers are added.
        is_recording: A function that returns whether anything is recorded now.
    """

    def __init__(
        self, tracer: Tracer, measurements: Measurements, is_recording: Callable[[], bool]
    ) -> None:
        self._tracer = tracer
        self._measurements = measurements
        self._is_recording = is_recording
        self._exports: dict[int, _OpenExport] = {}

    @property
    def open_spans(self) -> int:
        """The number of open spans of exports."""
        return len(self._exports)

    def get_parent(self) -> OpenSpan | None:
        """Return the innermost span of the export that the present task runs."""
        number = _export.get()
        export = None if number is None else self._exports.get(number)
        return export and export.spans[-1]

    def begin(self, event: ExportBegun) -> None:
        """Begin the span of an export."""
        if self._is_recording():
            attributes = {
                "cekat.export.incremental": event.incremental,
                "cekat.export.by_inbox": event.by_inbox,
            }
            span = OpenSpan(self._tracer, "export", attributes, self.get_parent())
            self._exports[event.export] = _OpenExport([span], _export.get())
            _export.set(event.export)

    def begin_step(self, event: ExportStepBegun) -> None:
        """Begin the span of a step."""
        if (export := self._exports.get(event.export)) is not None:
            export.spans.append(OpenSpan(self._tracer, event.step, {}, export.spans[0]))

    def add_catch_up(self, event: CatchUpBegun) -> None:
        """Add an event for a catch-up pass to the span of the present step."""
        if (export := self._exports.get(event.export)) is not None:
            attributes = {"cekat.inbox.id": event.inbox_id, "cekat.catch_up.number": event.number}
            export.spans[-1].add_event("catch-up", attributes)
            self._measurements.add_catch_up()

    def end_partition(self, event: PartitionEnded) -> None:
        """Add an event for the end of a partition to the span of the present step."""
        if (export := self._exports.get(event.export)) is None:
            return
        attributes = {
            "cekat.inbox.id": event.inbox_id,
            "cekat.pages": event.pages,
            "cekat.records": event.records,
            ERROR_TYPE: event.error,
        }
        export.spans[-1].add_event("partition", attributes)
        self._measurements.add_partition(event)

    def end_step(self, event: ExportStepEnded) -> None:
        """End the span of a step."""
        export = self._exports.get(event.export)
        if export is not None and len(export.spans) > 1:
            export.spans.pop().end(event.error, {"cekat.records": event.records})
            self._measurements.add_step(event)

    def end(self, event: ExportEnded) -> None:
        """End the span of an export."""
        if (export := self._exports.pop(event.export, None)) is None:
            return
        _export.set(export.outer)
        for span in export.spans[:0:-1]:
            span.end(event.error)
        export.spans[0].end(event.error, {"cekat.export.conversations": event.conversations})
        self._measurements.add_export(event)
