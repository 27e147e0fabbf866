"""The options of an export, and the checks that stop an export before it can do damage."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from cekat_async import (
    APIStatusError,
    CheckpointError,
    ConfigurationError,
    DeadlineExceededError,
    MalformedBodyError,
    PaginationError,
    Position,
    RateLimitError,
    ReplacementRefusedError,
    ServerError,
    TransportError,
)
from cekat_async.config import require_inbox_id, require_switch, require_text
from cekat_async.export.manifest import Filters
from cekat_async.export.sinks.base import CHECKPOINT
from cekat_async.export.sinks.lock import LOCK
from cekat_async.models.conversation import describe_unknown_status
from cekat_async.resources.time_range import format_bound, require_bound

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path
    from uuid import UUID

    from cekat_async import CekatError, StageStatus
    from cekat_async.export.checkpoint import Job
    from cekat_async.export.existing_target import ExistingTarget
    from cekat_async.export.manifest import Manifest, Partition
    from cekat_async.export.sinks.base import Sink
    from cekat_async.resources.time_range import Bound

__all__ = [
    "Policy",
    "build_filters",
    "can_resume",
    "covers_unchanged",
    "is_same_selection",
    "may_pass",
    "require_carriable",
    "require_not_emptied",
    "require_own_checkpoint",
    "require_replaceable",
    "require_same_export",
    "require_same_filters",
    "start_positions",
]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The options that decide what may happen to existing data.

    Attributes:
        incremental: Whether to add to the last export to the target.
        restart: Whether to discard an unfinished export.
        replace: Whether to replace the target without comparing accounts and filters.
        allow_empty: Whether an export without conversations may replace a target that has some.
    """

    incremental: bool = False
    restart: bool = False
    replace: bool = False
    allow_empty: bool = False

    def __post_init__(self) -> None:
        require_switch("replace", self.replace)
        require_switch("allow_empty", self.allow_empty)


def build_filters(
    inbox_ids: Iterable[str | UUID],
    stage_status: StageStatus | str | None,
    *,
    by_inbox: bool,
    since: Bound | str | None = None,
    until: Bound | str | None = None,
) -> Filters:
    """Check the filters, and return them. ``since`` and ``until`` may be text that a user typed.

    Raises:
        ConfigurationError: The filters are invalid. The message says what to write instead.
    """
    if isinstance(inbox_ids, str):
        raise ConfigurationError(f"inbox_ids must be a list, not one text: write [{inbox_ids!r}]")
    texts = (require_inbox_id("each of inbox_ids", each) for each in inbox_ids)
    wanted = tuple(dict.fromkeys(texts))  # without duplicates, in the same order
    if wanted and by_inbox:
        raise ConfigurationError("by_inbox means all inboxes: leave it out, or inbox_ids")
    status = None if stage_status is None else str(require_text("stage_status", stage_status))
    filters = Filters(
        inbox_ids=wanted,
        by_inbox=by_inbox,
        stage_status=status,
        since=_write_bound("since", since),
        until=_write_bound("until", until),
    )
    filters.resolve(datetime.now(UTC))  # raises for wrong bounds
    return filters


def _write_bound(name: str, bound: Bound | str | None) -> str | None:
    if bound is None or isinstance(bound, str):
        return bound
    return format_bound(require_bound(name, bound))


def is_same_selection(one: Filters, other: Filters) -> bool:
    """Return whether two filters select the same conversations. Ignore the order of inboxes."""
    return _selection(one) == _selection(other)


def _selection(filters: Filters) -> tuple[object, ...]:
    # Compare the bounds as they were typed: `3d` means a different time every night, but is the
    # same filter.
    bounds = filters.since, filters.until
    return frozenset(filters.inbox_ids), filters.by_inbox, filters.stage_status, *bounds


def start_positions(
    inbox_ids: Iterable[str | None], base: Manifest | None
) -> dict[str | None, Position]:
    """Return the start of each walk: the end of the earlier export's walk, if there was one."""
    partitions = base.partitions if base else ()
    known = {one.inbox_id: one.position for one in partitions if one.error is None}
    return {
        inbox_id: position.since() if (position := known.get(inbox_id)) else Position()
        for inbox_id in inbox_ids
    }


def covers_unchanged(base: Filters, wanted: Filters) -> bool:
    """Return whether an earlier export has all wanted conversations that have not changed since.

    The bounds of both exports are the same texts, but a text such as ``3d`` means a later time now.
    """
    if wanted.until_time is not None:
        return False  # a later `until` includes more conversations, even if they have not changed
    since = base.since_time
    return since is None or (wanted.since_time is not None and since <= wanted.since_time)


def require_same_export(found: Job, wanted: Job, where: object) -> None:
    """Raise unless the unfinished export and the wanted export have the same target and filters.

    The account is checked later, because that check may need a request.

    Raises:
        CheckpointError: The target or the filters differ. The message names both.
    """
    if found.target != wanted.target:
        what, theirs, ours = "another target", found.target, wanted.target
    elif not is_same_selection(found.filters, wanted.filters):
        what = "an export with other filters"
        theirs, ours = _describe(found.filters), _describe(wanted.filters)
    else:
        return
    raise CheckpointError(
        f"the checkpoint {where} belongs to {what} ({theirs}; this is {ours})"
    ).advise("finish that export with its own options, or start over with {option}", restart=True)


def can_resume(found: Job, wanted: Job) -> bool:
    """Return whether an unfinished export with the same target and filters can be resumed.

    A full export can always be resumed, because it fetches everything. An incremental export can
    be resumed only if the wanted export adds to the same earlier export.
    """
    return found.adds_to is None or found.adds_to == wanted.adds_to


def require_same_filters(base: Manifest, filters: Filters) -> None:
    """Raise unless an incremental export has the same filters as the export that it adds to.

    Raises:
        ConfigurationError: The filters differ. The message names both.
    """
    if not is_same_selection(base.filters, filters):
        raise ConfigurationError(_describe_difference(base, filters)).advise(
            "it cannot be updated. Export everything again with {option}", incremental=False
        )


def require_replaceable(existing: ExistingTarget, filters: Filters) -> None:
    """Raise if the export would replace an export with other filters.

    Raises:
        ReplacementRefusedError: The filters differ. The message names both.
    """
    last = existing.last
    if last is None or is_same_selection(last.filters, filters) or not existing.is_replaced:
        return
    raise ReplacementRefusedError(
        f"{_describe_difference(last, filters)}, which this one would replace"
    ).advise("choose another target, or pass {option}", replace=True)


def require_carriable(existing: ExistingTarget, target: str, failed: Collection[Partition]) -> None:
    """Raise unless the new target can keep the old records of the inboxes that failed.

    Raises:
        ReplacementRefusedError: The new target cannot keep the records. The message says why.
    """
    if existing.is_unchanged:
        return
    why = "has no manifest" if existing.last is None else "was changed since the last export"
    first = next(iter(failed))
    count = f"{len(failed):,} inboxes" if len(failed) > 1 else "1 inbox"
    raise ReplacementRefusedError(
        f"{count} failed (the first is {first.inbox_id}: {first.error}), and the old records "
        f"cannot be kept, because {target} {why}"
    ).advise(
        "run it again when all inboxes can be read, or pass {option} to replace the target "
        "without them",
        replace=True,
    )


def require_not_emptied(
    existing: ExistingTarget, target: str, filters: Filters, policy: Policy
) -> None:
    """Raise if an export without conversations must not replace a target that has some.

    Raises:
        ReplacementRefusedError: Neither ``allow_empty`` nor the combination of ``replace`` and new
            filters allows it.
    """
    last = existing.last
    is_another = last is not None and not is_same_selection(last.filters, filters)
    if policy.allow_empty or (policy.replace and is_another):
        return
    count = existing.count()
    what = "something" if count is None else f"{count:,} conversation{'s' * (count != 1)}"
    raise ReplacementRefusedError(
        f"the export found no conversation, but {target} contains {what}"
    ).advise("if that is right, pass {option}", allow_empty=True)


def _describe_difference(last: Manifest, filters: Filters) -> str:
    doubt = filters.stage_status and describe_unknown_status(filters.stage_status)
    ours = f"{_describe(filters)}; {doubt}" if doubt else _describe(filters)
    theirs = _describe(last.filters)
    return f"{last.target} holds an export with other filters ({theirs}; this is {ours})"


def _describe(filters: Filters) -> str:
    if filters.by_inbox:
        which = "each inbox by itself"
    else:
        which = f"inboxes {', '.join(filters.inbox_ids)}" if filters.inbox_ids else "all inboxes"
    values = {"status": filters.stage_status, "since": filters.since, "until": filters.until}
    return ", ".join([which, *(f"{name} {value}" for name, value in values.items() if value)])


def require_own_checkpoint(checkpoint: Path, sink: Sink) -> None:
    """Raise if the checkpoint has the same name as a file that belongs to the target.

    Raises:
        ConfigurationError: The name belongs to the target.
    """
    if sink.checkpoint is None:
        return
    target = sink.checkpoint.with_name(sink.checkpoint.name.removesuffix(CHECKPOINT))
    suffixes = ("", ".new", ".manifest.json", ".manifest.json.new", LOCK)
    taken = {target.with_name(target.name + suffix).absolute() for suffix in suffixes}
    if {checkpoint.absolute(), checkpoint.resolve()} & taken:
        raise ConfigurationError(
            f"the checkpoint cannot be {checkpoint}, which belongs to the target: choose another "
            "file"
        )


# After one of these errors, another run may succeed. All other errors are permanent.
_PASSING = (
    TransportError,
    ServerError,
    DeadlineExceededError,
    RateLimitError,
    MalformedBodyError,  # for instance, an HTML page that says that the API is down
    PaginationError,  # for instance, if conversations move faster than they can be read
)
_PASSING_STATUS = {408, 425}


def may_pass(error: CekatError) -> bool:
    """Return whether another run may succeed after this error."""
    is_passing_status = isinstance(error, APIStatusError) and error.status in _PASSING_STATUS
    return isinstance(error, _PASSING) or is_passing_status
