"""The events that an export emits to the hooks of its client, in addition to those of its requests.

No event contains a file name, an account's name or a text of the server.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from cekat_async import HookEvent

__all__ = [
    "CatchUpBegun",
    "ExportBegun",
    "ExportEnded",
    "ExportStep",
    "ExportStepBegun",
    "ExportStepEnded",
    "PartitionEnded",
]

ExportStep: TypeAlias = Literal["collect", "publish"]
"""A step of an export: store all records in the checkpoint, or write them to the target."""


class ExportBegun(HookEvent, frozen=True, kw_only=True):
    """An export has begun. All walks that begin in its task, until it ends, belong to it.

    Attributes:
        export: The number of the export. It is unique in the process.
        incremental: Whether the export is incremental.
        by_inbox: Whether it walks each inbox of the account separately.
    """

    export: int
    incremental: bool
    by_inbox: bool


class ExportEnded(HookEvent, frozen=True, kw_only=True):
    """An export has ended: its target is complete, or it failed.

    Attributes:
        export: The number of the export, as in :class:`ExportBegun`.
        seconds: The time since the export began.
        conversations: How many different conversations it fetched. 0 after an error.
        error: The class name of the exception that ended it. ``None`` if none did.
    """

    export: int
    seconds: float
    conversations: int = 0
    error: str | None = None


class ExportStepBegun(HookEvent, frozen=True, kw_only=True):
    """A step of an export has begun.

    Attributes:
        export: The number of the export, as in :class:`ExportBegun`.
        step: ``"collect"`` or ``"publish"``.
    """

    export: int
    step: ExportStep


class ExportStepEnded(HookEvent, frozen=True, kw_only=True):
    """A step of an export has ended.

    Attributes:
        export: The number of the export, as in :class:`ExportBegun`.
        step: ``"collect"`` or ``"publish"``.
        records: How many records it stored in the checkpoint, or wrote to the target, in this run.
        seconds: The time since the step began.
        error: The class name of the exception that ended it. ``None`` if none did.
    """

    export: int
    step: ExportStep
    records: int
    seconds: float
    error: str | None = None


class PartitionEnded(HookEvent, frozen=True, kw_only=True):
    """One partition of an export was collected, or has failed permanently.

    The export reports all partitions when the last one has ended.

    Attributes:
        export: The number of the export, as in :class:`ExportBegun`.
        inbox_id: The inbox of the partition. ``None`` for all conversations of the account.
        pages: How many pages were fetched, in all runs of the export.
        records: How many records are on these pages, repeated ones included.
        error: The class name of the permanent error. ``None`` if the partition is complete.
    """

    export: int
    inbox_id: str | None
    pages: int
    records: int
    error: str | None = None


class CatchUpBegun(HookEvent, frozen=True, kw_only=True):
    """A partition reads the front of its listing again, because too many records have moved.

    Attributes:
        export: The number of the export, as in :class:`ExportBegun`.
        inbox_id: The inbox of the partition. ``None`` for all conversations of the account.
        number: The number of the catch-up pass of this partition, from 1.
    """

    export: int
    inbox_id: str | None
    number: int
