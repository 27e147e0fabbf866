"""Bulk export: every conversation of an account, once, to a file or a database.

>>> report = await export_conversations(cekat, "conversations.jsonl")
>>> print(report.conversations)

If an export is stopped or killed, the same call resumes from its checkpoint. The target becomes
visible when it is complete, with a manifest of what it holds.

Start reading in ``runner.py``. An export runs in four steps, each in a module of its own:
``opening`` (what can be refused without a request), ``preparing`` (the account and its inboxes),
``collecting`` (from the API to the ``checkpoint``), ``publishing`` (from there to a sink).
"""

# ruff: noqa: PLC0415 - modules are imported when one of their names is first used

import typing

from cekat_async._lazy import at_first_use as _late

if typing.TYPE_CHECKING:
    from cekat_async.export.manifest import Counts, Filters, Manifest, Partition
    from cekat_async.export.progress import ExportProgress, ExportReport
    from cekat_async.export.runner import export_conversations
    from cekat_async.export.sink import Lookup, Records, Sink
    from cekat_async.export.targets import sink_for

__all__ = [
    "Counts",
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
    "manifest": ["Counts", "Filters", "Manifest", "Partition"],
    "progress": ["ExportProgress", "ExportReport"],
    "runner": ["export_conversations"],
    "sink": ["Lookup", "Records", "Sink"],
    "targets": ["sink_for"],
}

if not typing.TYPE_CHECKING:

    def _load(home: str) -> None:
        match home:
            case "manifest":
                import cekat_async.export.manifest
            case "progress":
                import cekat_async.export.progress
            case "runner":
                import cekat_async.export.runner
            case "sink":
                import cekat_async.export.sink
            case "targets":
                import cekat_async.export.targets  # noqa: F401

    __getattr__, __dir__ = _late(__name__, _HOMES, _load)
