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

__all__ = ["ExportSetup", "find_inboxes"]


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


class ExportSetup:
    """Begins or resumes an export.

    Args:
        client: Lists the inboxes, and fetches the first page if the account is in doubt.
        checkpoint: Stores the job.
        worker: Runs blocking calls.
        opened: The export.
    """

    def __init__(
        self, client: CekatClient, checkpoint: Checkpoint, worker: Worker, opened: OpenedExport
    ) -> None:
        self._client = client
        self._checkpoint = checkpoint
        self._worker = worker
        self._opened = opened

    async def run(
        self,
        account: str,
        page_size: int,
        on_malformed: Callable[[MalformedRecord], object],
        *,
        is_comparable: bool,
    ) -> Job:
        """Store the job in the checkpoint, and return it.

        Args:
            account: The name of the account, for people.
            page_size: Conversations per request.
            on_malformed: Called with an inbox that has no id.
            is_comparable: Whether a later export can read the identity that this one records.

        Raises:
            CekatError: The checkpoint or the target is of another account, or a request failed.
                Nothing was changed.
        """
        filters = self._opened.job.filters
        if self._opened.resumes:
            inbox_ids, listed = [*await self._worker.do(self._checkpoint.partitions)], None
        else:
            inbox_ids, listed = await find_inboxes(self._client, filters, on_malformed)
        business_id = await self._business_id(listed, is_comparable=is_comparable)
        identity = await identify_account(
            Identity(self._client.account, business_id),
            await self._worker.do(self._account_records, account),
            partial(fetch_first_ids, self._client, inbox_ids, filters.stage_status, page_size),
            self._worker,
        )
        job = msgspec.structs.replace(
            self._opened.job,
            account=account,
            key_fingerprint=identity.key,
            business_id=identity.business_id,
        )
        positions = start_positions(inbox_ids, self._opened.base)
        await self._worker.do(self._put, job, positions)
        return job

    async def _business_id(self, listed: str | None, *, is_comparable: bool) -> str | None:
        """Return the business of the account. Ask the API only if it is not recorded."""
        recorded = self._opened.business_id(self._client.account)
        known = listed if listed or recorded is None else recorded
        if known is None and is_comparable:
            return await fetch_business_id(self._client)
        return known

    def _account_records(self, account: str) -> list[AccountRecord]:
        """Return the checkpoint and the target, as far as they record another key."""
        opened, key, records = self._opened, self._client.account, list[AccountRecord]()
        if opened.found and (theirs := Identity.from_record(opened.found)).key != key:
            refuse = partial(opened.refuse_checkpoint, self._checkpoint.path, account)
            records.append(AccountRecord(theirs, self._checkpoint.has_any, refuse))
        if opened.last and opened.depends_on_target(key):
            theirs, holds_any = Identity.from_record(opened.last), opened.existing.holds_any
            refuse = partial(opened.refuse_target, account)
            records.append(AccountRecord(theirs, holds_any, refuse))
        return records

    def _put(self, job: Job, positions: dict[str | None, Position]) -> None:
        if not self._opened.resumes:
            if self._opened.found:  # This export fetches everything that it was to fetch.
                self._checkpoint.open(restart=True)
            self._checkpoint.begin(job, positions)
        elif job != self._opened.job:
            self._checkpoint.put_job(job)
