"""What an export is to do: which listings it walks, from where, and whether it may go on."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING
from uuid import UUID

from cekat_async import CheckpointError, ConfigurationError, Position
from cekat_async.export.file_sink import CHECKPOINT
from cekat_async.export.lock import LOCK
from cekat_async.export.manifest import Filters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from cekat_async import CekatClient, OddRecord, StageStatus
    from cekat_async.export.checkpoint import Job
    from cekat_async.export.manifest import Manifest
    from cekat_async.export.sink import Sink

__all__ = [
    "filters_of",
    "goes_on",
    "inboxes_of",
    "positions_of",
    "require_own_checkpoint",
    "require_same_export",
    "require_same_kind",
]


def filters_of(
    inbox_ids: Iterable[str | UUID], stage_status: StageStatus | str | None, *, by_inbox: bool
) -> Filters:
    """Return checked filters.

    Raises:
        ConfigurationError: They make no sense; the message says what to write instead.
    """
    if isinstance(inbox_ids, str):
        raise ConfigurationError(f"inbox_ids must be several, not one text: write [{inbox_ids!r}]")
    texts = (str(each) if isinstance(each, UUID) else each for each in inbox_ids)
    wanted = tuple(dict.fromkeys(texts))  # each once, in their order
    if not all(_is_text(inbox_id) for inbox_id in wanted):
        raise ConfigurationError(f"each of inbox_ids must be a text, and not empty: {wanted!r}")
    if wanted and by_inbox:
        raise ConfigurationError("by_inbox means all inboxes: leave it out, or inbox_ids")
    if stage_status is not None and not _is_text(stage_status):
        raise ConfigurationError(f"stage_status must be a text or None, not {stage_status!r}")
    status = None if stage_status is None else str(stage_status)
    return Filters(inbox_ids=wanted, by_inbox=by_inbox, stage_status=status)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


async def inboxes_of(
    client: CekatClient, filters: Filters, on_odd_record: Callable[[OddRecord], object]
) -> list[str | None]:
    """Return whose listings are to be walked; ``None`` stands for that of all conversations.

    Raises:
        ConfigurationError: All inboxes are wanted, and there are none.
    """
    if not filters.by_inbox:
        return [*filters.inbox_ids] or [None]
    found = list[str | None]()
    # An odd one that has an id can be walked like any other.
    async with aclosing(client.inboxes.pages(on_odd_record=lambda _: None)) as pages:
        async for page in pages:
            found += [inbox.id for inbox in page.items]
            found += [odd.id for odd in page.odd_records if odd.id is not None]
            for odd in page.odd_records:
                if odd.id is None:
                    on_odd_record(odd)
    if not found:
        # Nothing is no export: it would take the place of one that is whole.
        raise ConfigurationError(
            "by_inbox finds no inbox that the key may see: leave it out, or check the key"
        )
    return found


def positions_of(
    inbox_ids: Iterable[str | None], base: Manifest | None
) -> dict[str | None, Position]:
    """Return where to begin each walk: behind those of an earlier export, where there was one."""
    partitions = base.partitions if base else ()
    known = {one.inbox_id: one.position for one in partitions if one.error is None}
    return {
        inbox_id: position.since() if (position := known.get(inbox_id)) else Position()
        for inbox_id in inbox_ids
    }


def require_same_export(found: Job, wanted: Job, where: object) -> None:
    """Raise unless an unfinished export is the one that is wanted.

    Raises:
        CheckpointError: It is another one; the message says in what.
    """
    pairs = (
        ("another account", found.account, wanted.account),
        ("another target", found.target, wanted.target),
        ("an export with other filters", _words(found.filters), _words(wanted.filters)),
    )
    for what, theirs, ours in pairs:
        if theirs != ours:
            raise CheckpointError(
                f"the checkpoint {where} belongs to {what} ({theirs}; this is {ours}{_why(what)}): "
                "finish that one as it was begun, or begin anew with restart=True"
            )


def goes_on(found: Job, wanted: Job) -> bool:
    """Whether an unfinished export, of the same, is one to go on with.

    A whole one brings what an incremental one would, and more. An incremental one adds to one
    certain export, and is nothing where that has been replaced, or all is wanted.
    """
    return found.adds_to is None or found.adds_to == wanted.adds_to


def require_same_kind(base: Manifest, account: str, filters: Filters) -> None:
    """Raise unless what a target holds is what is to be added to it.

    Raises:
        ConfigurationError: It is something else; the message says what.
    """
    pairs = (
        ("another account", base.account, account),
        ("other filters", _words(base.filters), _words(filters)),
    )
    for what, theirs, ours in pairs:
        if theirs != ours:
            raise ConfigurationError(
                f"{base.target} holds an export of {what} ({theirs}; this is {ours}{_why(what)}): "
                "nothing can be added to it; export all of it anew with incremental=False"
            )


def _why(what: str) -> str:
    """Return what may have happened, where a person could not tell."""
    is_account = what == "another account"
    return "; a new key counts as one, unless the account has a name" if is_account else ""


def _words(filters: Filters) -> str:
    if filters.by_inbox:
        which = "each inbox by itself"
    else:
        which = f"inboxes {', '.join(filters.inbox_ids)}" if filters.inbox_ids else "all inboxes"
    return f"{which}, status {filters.stage_status}" if filters.stage_status else which


def require_own_checkpoint(checkpoint: Path, sink: Sink) -> None:
    """Raise if a checkpoint would be in the place of what belongs to the target.

    Raises:
        ConfigurationError: It would.
    """
    if sink.checkpoint is None:
        return
    target = sink.checkpoint.with_name(sink.checkpoint.name.removesuffix(CHECKPOINT))
    suffixes = ("", ".new", ".manifest.json", ".manifest.json.new", LOCK)
    taken = {target.with_name(target.name + suffix).absolute() for suffix in suffixes}
    if {checkpoint.absolute(), checkpoint.resolve()} & taken:
        raise ConfigurationError(
            f"the checkpoint cannot be {checkpoint}: that is the target's; name another file"
        )
