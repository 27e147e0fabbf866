"""Bulk export: every conversation of an account, once, to a file or a database.

>>> report = await export_conversations(cekat, "conversations.jsonl")
>>> print(report.conversations)

Stopped or killed at any moment, the same call goes on where it stood: what has come is kept in a
checkpoint. The target is visible when it is whole, with a manifest of what it holds.
"""

import typing

from cekat_async.export.manifest import Filters, Manifest, Partition
from cekat_async.export.report import ExportProgress, ExportReport
from cekat_async.export.sink import Lookup, Records, Sink
from cekat_async.export.targets import sink_for

if typing.TYPE_CHECKING:
    from cekat_async.export.runner import export_conversations

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

if not typing.TYPE_CHECKING:
    # asyncio and sqlite3 take longer to import than everything else.
    def __getattr__(name: str) -> object:
        if name == "export_conversations":
            from cekat_async.export import runner  # noqa: PLC0415 - see above

            return runner.export_conversations
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
