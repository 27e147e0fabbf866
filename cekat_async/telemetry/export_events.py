"""The events that an export sends to the hooks of its client, besides the events of requests.

No event contains the name of a file or an account, or text from the server.
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
"""A step of an export: to store all records in the checkpoint, or to write them to the target."""


class ExportBegun(HookEvent, frozen=True, kw_only=True):
    """An export has begun. It includes all walks that begin in its task until it ends.

    Attributes:
        export: The number of the export, which is unique in the process.
        incremental: Whether the export is incremental.
        by_inbox: Whether the export walks each inbox of the account separately.
    """

    export: int
    incremental: bool
    by_inbox: bool


class ExportEnded(HookEvent, frozen=True, kw_only=True):
    """An export has ended: its target is complete, or it failed.

    Attributes:
        export: The number of the export, as in :class:`ExportBegun`.
        seconds: The time since the export began.
        conversations: The number of different conversations that the export fetched. 0 after an
            error.
        error: The class name of the exception that ended it. ``None`` if there was none.
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
        records: The number of records that the step stored in the checkpoint, or wrote to the
            target, in this run.
        seconds: The time since the step began.
        error: The class name of the exception that ended it. ``None`` if there was none.
    """

    export: int
    step: ExportStep
    records: int
    seconds: float
    error: str | None = None


class PartitionEnded(HookEvent, frozen=True, kw_only=True):
    """One partition of an export was fetched completely, or has failed permanently.

    An export reports all its partitions together, when the last of them has ended.

    Attributes:
        export: The number of the export, as in :class:`ExportBegun`.
        inbox_id: The inbox of the partition. ``None`` for all conversations of the account.
        pages: The number of pages that were fetched, in all runs of the export.
        records: The number of records on these pages, including repeated ones.
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
        number: The number of this catch-up pass among those of the partition, from 1.
    """

    export: int
    inbox_id: str | None
    number: int
