"""The events that an export emits to the hooks of its client, besides those of its requests.

No event holds a file name, an account's name or a text of the server's.
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
"""A step of an export: fetch all records into the checkpoint, or write them to the target."""


class ExportBegun(HookEvent, frozen=True, kw_only=True):
    """An export has begun. The walks that begin in its task until it ends are part of it.

    Attributes:
        export: A number that identifies the export among those of the process.
        incremental: Whether it was asked to fetch only what has changed.
        by_inbox: Whether it walks each inbox of the account by itself.
    """

    export: int
    incremental: bool
    by_inbox: bool


class ExportEnded(HookEvent, frozen=True, kw_only=True):
    """An export has ended: its target is complete, or it failed.

    Attributes:
        export: As in :class:`ExportBegun`.
        seconds: Since it began.
        conversations: The different conversations that it fetched; 0 after an error.
        error: The name of the class of the exception that ended it; ``None`` if none did.
    """

    export: int
    seconds: float
    conversations: int = 0
    error: str | None = None


class ExportStepBegun(HookEvent, frozen=True, kw_only=True):
    """A step of an export has begun.

    Attributes:
        export: As in :class:`ExportBegun`.
        step: ``"collect"`` or ``"publish"``.
    """

    export: int
    step: ExportStep


class ExportStepEnded(HookEvent, frozen=True, kw_only=True):
    """A step of an export has ended.

    Attributes:
        export: As in :class:`ExportBegun`.
        step: ``"collect"`` or ``"publish"``.
        records: The records that it stored in the checkpoint, or gave to the target, in this run.
        seconds: Since it began.
        error: The name of the class of the exception that ended it; ``None`` if none did.
    """

    export: int
    step: ExportStep
    records: int
    seconds: float
    error: str | None = None


class PartitionEnded(HookEvent, frozen=True, kw_only=True):
    """One partition of an export has been collected, or has failed permanently.

    All are reported when the last one has ended.

    Attributes:
        export: As in :class:`ExportBegun`.
        inbox_id: The inbox that it is of; ``None`` for all conversations of the account.
        pages: The pages that were fetched, over all runs of the export.
        records: The records on them, repeated ones included.
        error: The name of the class of the permanent error; ``None`` if it is complete.
    """

    export: int
    inbox_id: str | None
    pages: int
    records: int
    error: str | None = None


class CatchUpBegun(HookEvent, frozen=True, kw_only=True):
    """A partition reads the front of its listing again, because too much has moved.

    Attributes:
        export: As in :class:`ExportBegun`.
        inbox_id: As in :class:`PartitionEnded`.
        number: Which catch-up pass of this partition it is, from 1.
    """

    export: int
    inbox_id: str | None
    number: int
