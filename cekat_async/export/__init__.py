"""Bulk export: every conversation of an account, once, to a file or a database.

>>> report = await export_conversations(cekat, "conversations.jsonl")
>>> print(report.conversations)

Stopped or killed at any moment, the same call goes on where it stood: what has come is kept in a
checkpoint. The target is visible when it is whole, with a manifest of what it holds.
"""

from cekat_async.export.manifest import Filters, Manifest, Partition
from cekat_async.export.report import ExportProgress, ExportReport
from cekat_async.export.runner import export_conversations
from cekat_async.export.sink import Records, Sink
from cekat_async.export.targets import sink_for

__all__ = [
    "ExportProgress",
    "ExportReport",
    "Filters",
    "Manifest",
    "Partition",
    "Records",
    "Sink",
    "export_conversations",
    "sink_for",
]
