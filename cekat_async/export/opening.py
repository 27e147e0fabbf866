"""Opens an export: makes all decisions and checks that are possible before the first request."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from cekat_async import CheckpointError, ConfigurationError, ReplacementRefusedError
from cekat_async.export.accounts import Identity
from cekat_async.export.checks import (
    can_resume,
    is_same_selection,
    require_replaceable,
    require_same_export,
    require_same_filters,
)
from cekat_async.export.existing_target import ExistingTarget
from cekat_async.redaction import readable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from cekat_async import CekatError
    from cekat_async.export.checkpoint import Checkpoint, Job
    from cekat_async.export.checks import Policy
    from cekat_async.export.manifest import Manifest
    from cekat_async.export.sinks.base import Sink

__all__ = ["OpenedExport", "name_target", "open_export"]


class OpenedExport(NamedTuple):
    """An export that may begin, unless its checkpoint or target belongs to another account.

    Attributes:
        wanted: The export that the caller wants.
        job: The export that runs: the wanted export, or the unfinished export.
        found: The unfinished export in the checkpoint; ``None`` if there is none.
        existing: The content of the target.
        policy: The options that decide what may happen to existing data.
    """

    wanted: Job
    job: Job
    found: Job | None
    existing: ExistingTarget
    policy: Policy

    @property
    def resumes(self) -> bool:
        """Whether the unfinished export is resumed. If not, the wanted export starts over."""
        return self.found is not None and self.found is self.job

    @property
    def last(self) -> Manifest | None:
        """The manifest of the last export to the target."""
        return self.existing.last

    @property
    def base(self) -> Manifest | None:
        """The manifest of the export that this one adds to; ``None`` for a full export."""
        return self.last if self.job.adds_to else None

    @property
    def expected(self) -> int | None:
        """The approximate number of conversations to fetch; ``None`` if it is unknown."""
        last = self.last
        if last is None or self.base or not is_same_selection(last.filters, self.wanted.filters):
            return None
        return last.conversations

    @property
    def business_id(self) -> str | None:
        """The business that was recorded for the client's key; ``None`` if there is no record."""
        recorded = [Identity.from_record(one) for one in (self.found, self.last) if one]
        known = [one.business_id for one in recorded if one.key == self.wanted.key_fingerprint]
        return next((one for one in known if one is not None), None)

    def is_target_in_doubt(self) -> bool:
        """Whether the target was written with another key, so that its account must be checked."""
        if self.last is None or Identity.from_record(self.last).key == self.wanted.key_fingerprint:
            return False
        if self.base is not None:
            return True
        return (
            not self.policy.replace and self.existing.is_replaced and not self.existing.is_empty()
        )

    def refuse_target(self, why: str) -> CekatError:
        """Return the error to raise if the target belongs to another account."""
        assert self.last is not None  # noqa: S101 - for type checkers
        text = (
            f"{self.last.target} holds an export of another account "
            f"({self._describe_accounts(self.last, why)})"
        )
        if self.existing.is_replaced:
            return ReplacementRefusedError(text).advise(
                "choose another target, or pass {option} to replace it", replace=True
            )
        return ConfigurationError(text).advise(
            "it cannot be updated. Export everything again with {option}", incremental=False
        )

    def refuse_checkpoint(self, where: object, why: str) -> CekatError:
        """Return the error to raise if the checkpoint belongs to another account."""
        assert self.found is not None  # noqa: S101 - for type checkers
        return CheckpointError(
            f"the checkpoint {where} belongs to another account "
            f"({self._describe_accounts(self.found, why)})"
        ).advise(
            "finish it with the other account's key, or start over with {option}", restart=True
        )

    def _describe_accounts(self, other: Job | Manifest, why: str) -> str:
        ours, theirs = Identity.from_record(self.wanted), Identity.from_record(other)
        difference = ours.describe_difference(theirs)
        return f"{other.account}; this is {self.wanted.account}; {difference}, and {why}"


def open_export(
    checkpoint: Checkpoint, sink: Sink, wanted: Job, policy: Policy, check: Callable[[], None]
) -> OpenedExport:
    """Open the checkpoint and the target, and decide what the export does.

    If an export can be refused without a request, this function refuses it before anything changes.

    ``wanted`` is the export that the caller wants, described as a full export. ``check`` is passed
    to :class:`ExistingTarget`.

    Raises:
        CekatError: The export is refused.
    """
    # The target is locked first, because another export may use another checkpoint.
    sink.open()
    found, is_stale = _find(checkpoint, restart=policy.restart)
    existing = ExistingTarget(sink, _last_export(sink, policy), check)
    if found and existing.last and existing.last.began == found.began:
        # The export in the checkpoint was killed between publishing and removing its checkpoint.
        found, is_stale = None, True
    wanted = msgspec.structs.replace(wanted, adds_to=_adds_to(existing, wanted, policy))
    if found:
        require_same_export(found, wanted, checkpoint.path)
    job = found if found and can_resume(found, wanted) else wanted
    if not policy.replace:
        require_replaceable(existing, wanted.filters)
    if job.adds_to is not None and existing.last is not None:
        require_same_filters(existing.last, wanted.filters)
        sink.verify(existing.last)
    if is_stale:
        checkpoint.open(restart=True)
    return OpenedExport(wanted, job, found, existing, policy)


def _last_export(sink: Sink, policy: Policy) -> Manifest | None:
    try:
        return sink.manifest()
    except ReplacementRefusedError:
        if not policy.replace:
            raise
        return None


def _find(checkpoint: Checkpoint, *, restart: bool) -> tuple[Job | None, bool]:
    """Return the unfinished export, if any, and whether the checkpoint must be emptied."""
    try:
        found = checkpoint.open()
    except CheckpointError:
        if not restart:
            raise
        return None, True
    return (None, found is not None) if restart else (found, False)


def _adds_to(existing: ExistingTarget, wanted: Job, policy: Policy) -> datetime | None:
    """Return the start time of the export to which this one adds; ``None`` to fetch everything."""
    last = existing.last
    if not policy.incremental or last is None:
        return None
    return None if _may_be_replaced(existing, last, wanted, policy) else last.began


def _may_be_replaced(existing: ExistingTarget, last: Manifest, wanted: Job, policy: Policy) -> bool:
    """Whether an incremental export may replace the target instead of adding to it."""
    is_ours = Identity.from_record(last).key == wanted.key_fingerprint
    if (is_ours and not policy.replace) or not existing.is_replaced:
        return False
    if not is_ours:
        # The target may belong to another account, so this export cannot add to it.
        return policy.replace or existing.is_empty()
    return not (is_same_selection(last.filters, wanted.filters) and existing.is_unchanged)


def name_target(checkpoint: Path, sink: Sink) -> str:
    """Return the target's name in a checkpoint, which is the same in every working directory."""
    usual = sink.checkpoint
    if usual is None:
        return sink.target
    # A checkpoint next to its target may be moved together with it.
    is_beside = checkpoint.absolute() == usual.absolute()
    return readable(usual.name if is_beside else str(usual.absolute()))
