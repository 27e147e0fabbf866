"""Bulk export: every conversation of an account, once, to a file or a database.

>>> report = await export_conversations(cekat, "conversations.jsonl")
>>> print(report.conversations)

Stopped or killed at any moment, the same call goes on where it stood: what has come is kept in a
checkpoint. The target is visible when it is whole, with a manifest of what it holds.
"""

import importlib
import typing

if typing.TYPE_CHECKING:
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

# Where the names above are at home. A home is imported when the first of its names is wanted: what
# a target is called can be checked without a database, and a manifest be read.
_HOMES = {
    "manifest": ["Filters", "Manifest", "Partition"],
    "report": ["ExportProgress", "ExportReport"],
    "runner": ["export_conversations"],
    "sink": ["Records", "Sink"],
    "targets": ["sink_for"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

# Type checkers are not to see it: to them any name whatsoever would be one of the package's.
if not typing.TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = importlib.import_module(f"{__name__}.{_HOME_OF[name]}")
        value = globals()[name] = getattr(home, name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOME_OF})
