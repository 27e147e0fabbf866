"""Bulk export: every conversation of an account, once, to a file or a database.

>>> report = await export_conversations(cekat, "conversations.jsonl")
>>> print(report.conversations)

Stopped or killed at any moment, the same call goes on where it stood: what has come is kept in a
checkpoint. The target is visible when it is whole, with a manifest of what it holds.
"""

# ruff: noqa: PLC0415 - modules are imported when one of their names is first used

import typing

from cekat_async._lazy import at_first_use as _late

if typing.TYPE_CHECKING:
    from cekat_async.export.manifest import Filters, Manifest, Partition
    from cekat_async.export.report import ExportProgress, ExportReport
    from cekat_async.export.runner import export_conversations
    from cekat_async.export.sinks.base import Lookup, Records, Sink
    from cekat_async.export.sinks.registry import sink_for

__all__ = [
    "ExportProgress",
    "ExportReport",
    "Filters",
    "Lookup",
    "Manifest",
    "Partition",
    "Records",
    "Sink",
    "export_conversations",
    "sink_for",
]

# What a target is called can be checked without a database, and a manifest be read.
_HOMES = {
    "manifest": ["Filters", "Manifest", "Partition"],
    "report": ["ExportProgress", "ExportReport"],
    "runner": ["export_conversations"],
    "sinks.base": ["Lookup", "Records", "Sink"],
    "sinks.registry": ["sink_for"],
}

if not typing.TYPE_CHECKING:

    def _load(home: str) -> None:
        match home:
            case "manifest":
                import cekat_async.export.manifest
            case "report":
                import cekat_async.export.report
            case "runner":
                import cekat_async.export.runner
            case "sinks.base":
                import cekat_async.export.sinks.base
            case "sinks.registry":
                import cekat_async.export.sinks.registry  # noqa: F401

    __getattr__, __dir__ = _late(__name__, _HOMES, _load)
