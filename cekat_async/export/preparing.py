"""The first requests of an export: they find the listings, and identify the account."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from cekat_async import ConfigurationError
from cekat_async.export.accounts import (
    AccountRecord,
    Identity,
    fetch_business_id,
    fetch_first_ids,
    get_business_id,
    identify_account,
)
from cekat_async.export.checks import start_positions

if TYPE_CHECKING:
    from collections.abc import Callable

    from cekat_async import CekatClient, Inbox, MalformedRecord, Position
    from cekat_async.export.checkpoint import Checkpoint, Job
    from cekat_async.export.manifest import Filters
    from cekat_async.export.opening import OpenedExport
    from cekat_async.export.worker import Worker

__all__ = ["find_inboxes", "prepare_export"]


async def find_inboxes(
    client: CekatClient, filters: Filters, on_malformed: Callable[[MalformedRecord], object]
) -> tuple[list[str | None], str | None]:
    """Return the inboxes that an export walks, and the business that they belong to.

    The only inbox is ``None`` for the listing of all conversations. The business is ``None`` if the
    inboxes were not listed: see :class:`Identity`.

    Raises:
        ConfigurationError: All inboxes are wanted, and there are none.
    """
    if not filters.by_inbox:
        return [*filters.inbox_ids] or [None], None
    found = list[str | None]()
    inboxes: list[Inbox] = []
    # A malformed record of an inbox that has an id can be walked like any other.
    async with aclosing(client.inboxes.list(on_malformed=lambda _: None).pages()) as pages:
        async for page in pages:
            inboxes += page.items
            found += [id_ for id_ in page.ids if id_ is not None]
            for record in page.malformed_records:
                if record.id is None:
                    on_malformed(record)
    if not found:
        # An empty export would replace one that is complete.
        raise ConfigurationError("there is no inbox that the key may see").advise(
            "leave out {option}, or check the key", by_inbox=True
        )
    return found, get_business_id(inboxes)


async def prepare_export(
    client: CekatClient,
    checkpoint: Checkpoint,
    worker: Worker,
    opened: OpenedExport,
    page_size: int,
    on_malformed: Callable[[MalformedRecord], object],
    *,
    is_comparable: bool,
) -> Job:
    """Store the job in the checkpoint, with the account that it is of, and return it.

    Args:
        client: Lists the inboxes, and fetches the first page if the account is in doubt.
        checkpoint: Stores the job.
        worker: Runs blocking calls.
        opened: The export.
        page_size: Conversations per request.
        on_malformed: Called with an inbox that has no id.
        is_comparable: Whether a later export can read the identity that this one records.

    Raises:
        CekatError: The checkpoint or the target is of another account, or a request failed.
            Nothing was changed.
    """
    filters = opened.job.filters
    if opened.resumes:
        inbox_ids, listed = [*await worker.do(checkpoint.partitions)], None
    else:
        inbox_ids, listed = await find_inboxes(client, filters, on_malformed)
    business_id = listed if listed or opened.business_id is None else opened.business_id
    if business_id is None and is_comparable:
        business_id = await fetch_business_id(client)
    identity = await identify_account(
        Identity(client.account, business_id),
        await worker.do(_find_other_keys, checkpoint, opened),
        partial(fetch_first_ids, client, inbox_ids, filters.stage_status, page_size),
        worker,
    )
    job = msgspec.structs.replace(
        opened.job,
        account=opened.wanted.account,
        key_fingerprint=identity.key,
        business_id=identity.business_id,
    )
    await worker.do(_put_job, checkpoint, opened, job, start_positions(inbox_ids, opened.base))
    return job


def _find_other_keys(checkpoint: Checkpoint, opened: OpenedExport) -> list[AccountRecord]:
    """Return the checkpoint and the target, as far as they record another key."""
    records = list[AccountRecord]()
    if opened.found:
        theirs = Identity.from_record(opened.found)
        if theirs.key != opened.wanted.key_fingerprint:
            refuse = partial(opened.refuse_checkpoint, checkpoint.path)
            records.append(AccountRecord(theirs, checkpoint.has_any, refuse))
    if opened.last and opened.is_target_in_doubt():
        theirs, holds_any = Identity.from_record(opened.last), opened.existing.holds_any
        records.append(AccountRecord(theirs, holds_any, opened.refuse_target))
    return records


def _put_job(
    checkpoint: Checkpoint, opened: OpenedExport, job: Job, positions: dict[str | None, Position]
) -> None:
    if not opened.resumes:
        if opened.found:  # This export fetches everything that it was to fetch.
            checkpoint.open(restart=True)
        checkpoint.begin(job, positions)
    elif job != opened.job:
        checkpoint.put_job(job)
