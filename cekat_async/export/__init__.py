"""Bulk export: every conversation of an account to a file, exactly as the API sent it.

>>> report = await export_conversations(cekat, "conversations.jsonl")
>>> print(report.conversations)

The target takes its name only when it is whole: until then, and after a failure, what there is
stands beside it as ``conversations.jsonl.partial``.
"""

from cekat_async.export.report import ExportProgress, ExportReport
from cekat_async.export.runner import export_conversations
from cekat_async.export.sink import JsonLinesSink, Sink, json_line, sink_for

__all__ = [
    "ExportProgress",
    "ExportReport",
    "JsonLinesSink",
    "Sink",
    "export_conversations",
    "json_line",
    "sink_for",
]
