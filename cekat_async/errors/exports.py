"""Errors of exports, about the target or the checkpoint."""

from __future__ import annotations

from cekat_async.errors.base import CekatError

__all__ = ["CheckpointError", "ReplacementRefusedError", "TargetBusyError", "TargetError"]


class TargetError(CekatError):
    """An export cannot write its target: for example, the folder is missing or the disk is full.

    ``__cause__`` is the original error. The checkpoint is kept, so the same call resumes the
    export.
    """


class ReplacementRefusedError(TargetError):
    """An export would replace its target with something that may be worse.

    The target is unchanged, and the checkpoint keeps the fetched records. If you want to replace
    the target, make the same call with the argument ``option`` (``"replace"`` or
    ``"allow_empty"``). That call does not fetch the records again.
    """

    option = "replace"


class TargetBusyError(TargetError):
    """Another export uses the target, its checkpoint or its database table. Try again later."""


class CheckpointError(CekatError):
    """The checkpoint of an export is broken, or belongs to another export. Nothing was changed."""
