"""The first requests of an export: they find the listings, and identify the account."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from cekat_async import ConfigurationError
from cekat_async.export.accounts import (
    Claim,
    Identity,
    ask_business_id,
    front_ids,
    get_business_id,
    recognize,
)
from cekat_async.export.plan import positions_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from cekat_async import CekatClient, Inbox, MalformedRecord, Position
    from cekat_async.export.checkpoint import Checkpoint, Job
    from cekat_async.export.manifest import Filters
    from cekat_async.export.opening import Opened
    from cekat_async.export.worker import Worker

__all__ = ["Beginning", "Listings", "inboxes_of"]


class Listings(NamedTuple):
    """The listings that an export walks.

    Attributes:
        inbox_ids: The inboxes; ``None`` is the listing of all conversations.
        business_id: The business that the inboxes belong to: see :class:`Identity`.
    """

    inbox_ids: list[str | None]
    business_id: str | None = None


async def inboxes_of(
    client: CekatClient, filters: Filters, on_malformed: Callable[[MalformedRecord], object]
) -> Listings:
    """Return the listings that are to be walked.

    Raises:
        ConfigurationError: All inboxes are wanted, and there are none.
    """
    if not filters.by_inbox:
        return Listings([*filters.inbox_ids] or [None])
    found = list[str | None]()
    inboxes: list[Inbox] = []
    # An odd one that has an id can be walked like any other.
    async with aclosing(client.inboxes.list(on_malformed=lambda _: None).pages()) as pages:
        async for page in pages:
            inboxes += page.items
            found += [inbox.id for inbox in page.items]
            found += [odd.id for odd in page.malformed_records if odd.id is not None]
            for odd in page.malformed_records:
                if odd.id is None:
                    on_malformed(odd)
    if not found:
        # Nothing is no export: it would take the place of one that is whole.
        raise ConfigurationError("there is no inbox that the key may see").advise(
            "leave out {option}, or check the key", by_inbox=True
        )
    return Listings(found, get_business_id(inboxes))


class Beginning:
    """Begins or resumes an export.

    Args:
        client: Lists the inboxes, and fetches the first page if the account is in doubt.
        checkpoint: Stores the job.
        worker: Runs blocking calls.
        opened: The export.
    """

    def __init__(
        self, client: CekatClient, checkpoint: Checkpoint, worker: Worker, opened: Opened
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
            inbox_ids, listed = [*await self._worker.do(self._checkpoint.stands)], None
        else:
            inbox_ids, listed = await inboxes_of(self._client, filters, on_malformed)
        business_id = await self._business_id(listed, is_comparable=is_comparable)
        identity = await recognize(
            Identity(self._client.account, business_id),
            await self._worker.do(self._claims, account),
            partial(front_ids, self._client, inbox_ids, filters.stage_status, page_size),
        )
        job = msgspec.structs.replace(
            self._opened.job,
            account=account,
            key_fingerprint=identity.key,
            business_id=identity.business_id,
        )
        positions = positions_of(inbox_ids, self._opened.base)
        await self._worker.do(self._put, job, positions)
        return job

    async def _business_id(self, listed: str | None, *, is_comparable: bool) -> str | None:
        """Return the business of the account. Ask the API only if it is not recorded."""
        recorded = self._opened.business_id(self._client.account)
        known = listed if listed or recorded is None else recorded
        if known is None and is_comparable:
            return await ask_business_id(self._client)
        return known

    def _claims(self, account: str) -> list[Claim]:
        """Return the checkpoint and the target, as far as they record another key."""
        opened, key, claims = self._opened, self._client.account, list[Claim]()
        if opened.found and (theirs := Identity.recorded_in(opened.found)).key != key:
            refuse = partial(opened.refuse_checkpoint, self._checkpoint.path, account)
            claims.append(Claim(theirs, self._in_worker(self._checkpoint.has_any), refuse))
        if opened.last and opened.depends_on_target(key):
            theirs, holds_any = Identity.recorded_in(opened.last), opened.held.holds_any
            refuse = partial(opened.refuse_target, account)
            claims.append(Claim(theirs, self._in_worker(holds_any), refuse))
        return claims

    def _in_worker(
        self, holds_any: Callable[[Collection[str]], bool]
    ) -> Callable[[Collection[str]], Awaitable[bool]]:
        async def holds_any_now(ids: Collection[str]) -> bool:
            return await self._worker.do(holds_any, ids)

        return holds_any_now

    def _put(self, job: Job, positions: dict[str | None, Position]) -> None:
        if not self._opened.resumes:
            if self._opened.found:  # This export fetches everything that it was to fetch.
                self._checkpoint.open(restart=True)
            self._checkpoint.begin(job, positions)
        elif job != self._opened.job:
            self._checkpoint.put_job(job)
