"""Bulk export: writes each conversation of an account exactly once to a file or a database.

>>> report = await export_conversations(cekat, "conversations.jsonl")
>>> print(report.conversations)

If an export is stopped or killed, the same call resumes from its checkpoint. The target appears
only when it is complete, together with a manifest that describes its content.

Start reading in ``runner.py``. An export runs in four steps, each in its own module: ``opening``
makes the checks that need no request. ``accounts`` identifies the account and lists its inboxes.
``collecting`` copies records from the API to the ``checkpoint``. ``publishing`` copies them from
the checkpoint to a sink.
"""

# ruff: noqa: PLC0415 - some names are imported on first use, see the end of the file

import typing

from cekat_async.export.manifest import Counts, Filters, Manifest, Partition
from cekat_async.export.report import ExportProgress, ExportReport
from cekat_async.export.sinks.base import Interruptible, Lookup, Records, Sink
from cekat_async.telemetry.export_events import (
    CatchUpBegun,
    ExportBegun,
    ExportEnded,
    ExportStepBegun,
    ExportStepEnded,
    PartitionEnded,
)

if typing.TYPE_CHECKING:
    from cekat_async.export.runner import export_conversations
    from cekat_async.export.sinks.registry import sink_for

__all__ = [
    "CatchUpBegun",
    "Counts",
    "ExportBegun",
    "ExportEnded",
    "ExportProgress",
    "ExportReport",
    "ExportStepBegun",
    "ExportStepEnded",
    "Filters",
    "Interruptible",
    "Lookup",
    "Manifest",
    "Partition",
    "PartitionEnded",
    "Records",
    "Sink",
    "export_conversations",
    "sink_for",
]

if not typing.TYPE_CHECKING:  # pragma: no branch
    # asyncio and sqlite3 take longer to import than everything else.
    def __getattr__(name: str) -> object:
        if name == "export_conversations":
            from cekat_async.export import runner

            return runner.export_conversations
        if name == "sink_for":
            from cekat_async.export.sinks import registry

            return registry.sink_for
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
