"""What an export is to do: which listings it walks, from where, and whether it may go on."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from cekat_async import CheckpointError, ConfigurationError, Position
from cekat_async.export.manifest import Filters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cekat_async import CekatClient, OddRecord, StageStatus
    from cekat_async.export.checkpoint import Job
    from cekat_async.export.manifest import Manifest

__all__ = ["filters_of", "inboxes_of", "positions_of", "require_same_export", "require_same_kind"]


def filters_of(
    inbox_ids: Iterable[str], stage_status: StageStatus | str | None, *, by_inbox: bool
) -> Filters:
    """Return checked filters.

    Raises:
        ConfigurationError: They make no sense; the message says what to write instead.
    """
    if isinstance(inbox_ids, str):
        raise ConfigurationError(f"inbox_ids must be several, not one text: write [{inbox_ids!r}]")
    wanted = tuple(dict.fromkeys(inbox_ids))  # each once, in their order
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
    """Return whose listings are to be walked; ``None`` stands for that of all conversations."""
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
        ("another kind of export", _kind(found), _kind(wanted)),
        ("an export that adds to what is no longer there", found.adds_to, wanted.adds_to),
    )
    for what, theirs, ours in pairs:
        if theirs != ours:
            raise CheckpointError(
                f"the checkpoint {where} belongs to {what} ({theirs}; this is {ours}): "
                "finish that one as it was begun, or begin anew with restart=True"
            )


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
                f"{base.target} holds an export of {what} ({theirs}; this is {ours}): nothing can "
                "be added to it; export all of it anew with incremental=False"
            )


def _kind(job: Job) -> str:
    return "a whole one" if job.adds_to is None else "an incremental one"


def _words(filters: Filters) -> str:
    if filters.by_inbox:
        which = "each inbox by itself"
    else:
        which = f"inboxes {', '.join(filters.inbox_ids)}" if filters.inbox_ids else "all inboxes"
    return f"{which}, status {filters.stage_status}" if filters.stage_status else which
