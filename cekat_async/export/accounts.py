"""The first requests of an export: they find its inboxes and identify its account."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from cekat_async import (
    BadRequestError,
    CekatError,
    ConfigurationError,
    NotFoundError,
    NotSentError,
    PermissionDeniedError,
)
from cekat_async.export.checks import covers_unchanged, may_pass, start_positions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from cekat_async import CekatClient, Inbox, MalformedRecord, Position
    from cekat_async.export.checkpoint import Checkpoint, Job
    from cekat_async.export.manifest import Filters, Manifest
    from cekat_async.export.opening import OpenedExport
    from cekat_async.export.worker import Worker

__all__ = ["Identity", "find_inboxes", "prepare_export"]

_log = logging.getLogger("cekat_async")

# The export also works without the account's business, so it does not wait long for the reply.
_SECONDS_FOR_BUSINESS = 10.0
# Ids are collected from up to this many listings, because some inboxes may be empty or forbidden.
_MOST_LISTINGS = 3
_MOST_IDS = 300


class Identity(msgspec.Struct, frozen=True):
    """The facts that identify an account.

    The name of the account is not one of these facts, because two accounts may have the same name.

    Attributes:
        key: The fingerprint of the API key. The fingerprint contains the host.
        business_id: The business that the inboxes belong to. Empty if the API does not name it, and
            ``None`` if it was not requested or the request failed.
    """

    key: str
    business_id: str | None = None

    @classmethod
    def from_record(cls, record: Job | Manifest) -> Identity:
        """Return the identity in a checkpoint or a manifest."""
        # Unless the caller named the account, version 0.1 recorded the fingerprint as its name.
        return cls(record.key_fingerprint or record.account, record.business_id)

    def is_same(self, other: Identity) -> bool | None:
        """Return whether both identities belong to the same account; ``None`` if this is uncertain.

        The same key always means the same account. If the keys differ, the businesses are compared,
        provided that both are known.
        """
        if self.key == other.key:
            return True
        if self.business_id and other.business_id:
            return self.business_id == other.business_id
        return None

    def describe_difference(self, other: Identity) -> str:
        """Return a text that says which part of the two fingerprints differs."""
        hashes = {one.key.rpartition("#")[2] for one in (self, other)}
        return "the hosts differ" if len(hashes) == 1 else "the keys differ"


class _AccountRecord(NamedTuple):
    """A checkpoint or a target, which an export may use only if it belongs to the same account.

    Attributes:
        identity: The recorded account.
        find: A blocking function that returns a true value if the checkpoint or the target contains
            a conversation with one of the given ids.
        make_error: A function that takes the reason and returns the error to raise if the accounts
            differ.
    """

    identity: Identity
    find: Callable[[Collection[str]], object]
    make_error: Callable[[str], CekatError]


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
    """Store the job in the checkpoint, with its account, and return the job.

    The function requests the business of the account only if it has not been recorded yet, and if a
    later export can compare it (``is_comparable``).

    Raises:
        CekatError: The checkpoint or the target belongs to another account, or a request failed.
            Nothing was changed.
    """
    filters = opened.job.filters
    if opened.resumes:
        inbox_ids, listed = [*await worker.do(checkpoint.partitions)], None
    else:
        inbox_ids, listed = await find_inboxes(client, filters, on_malformed)
    business_id = listed if listed or opened.business_id is None else opened.business_id
    if business_id is None and is_comparable:
        business_id = await _fetch_business_id(client)
    ours = Identity(client.account, business_id)
    records = await worker.do(_list_records, checkpoint, opened)
    if doubtful := [record for record in records if _is_doubtful(record, ours)]:
        ids = await _fetch_first_ids(client, inbox_ids, opened.job.filters, page_size)
        await worker.do(_require_known, doubtful, records, ids)
    known = [business_id, *(record.identity.business_id for record in records)]
    job = msgspec.structs.replace(
        opened.job,
        account=opened.wanted.account,
        key_fingerprint=ours.key,
        business_id=next(filter(None, known), business_id),
    )
    base = opened.base
    if base and not covers_unchanged(base.filters, job.filters):
        base = None
    positions = start_positions(inbox_ids, base)
    await worker.do(_put_job, checkpoint, opened, job, positions)
    return job


def _list_records(checkpoint: Checkpoint, opened: OpenedExport) -> list[_AccountRecord]:
    """Return the checkpoint, and also the target if its account must be checked."""
    records = list[_AccountRecord]()
    if opened.found:
        theirs = Identity.from_record(opened.found)
        refuse = partial(opened.refuse_checkpoint, checkpoint.path)
        records.append(_AccountRecord(theirs, checkpoint.known, refuse))
    if opened.last and opened.is_target_in_doubt():
        theirs, holds_any = Identity.from_record(opened.last), opened.existing.holds_any
        records.append(_AccountRecord(theirs, holds_any, opened.refuse_target))
    return records


def _is_doubtful(record: _AccountRecord, ours: Identity) -> bool:
    is_same = record.identity.is_same(ours)
    if is_same is False:
        raise record.make_error("the inboxes belong to another business")
    return is_same is None


def _require_known(
    doubtful: Iterable[_AccountRecord], records: Sequence[_AccountRecord], ids: Collection[str]
) -> None:
    """Raise unless the ids prove that each doubtful record belongs to the client's account."""
    for record in doubtful:
        # One of the ids may also be in another record of the same account, which is enough proof.
        same = (one for one in records if one.identity.is_same(record.identity))
        if not any(one.find(ids) for one in same):
            raise record.make_error("none of the newest conversations is in it")


def _put_job(
    checkpoint: Checkpoint, opened: OpenedExport, job: Job, positions: dict[str | None, Position]
) -> None:
    if not opened.resumes:
        if opened.found:  # this export fetches at least the same conversations
            checkpoint.open(restart=True)
        checkpoint.begin(job, positions)
    elif job != opened.job:
        checkpoint.put_job(job)


async def find_inboxes(
    client: CekatClient, filters: Filters, on_malformed: Callable[[MalformedRecord], object]
) -> tuple[list[str | None], str | None]:
    """Return the inboxes that an export walks, and their business.

    If the export walks the listing of all conversations, the only item of the list is ``None``. The
    business is ``None`` if the inboxes were not listed: see :class:`Identity`.

    Raises:
        ConfigurationError: The export should walk all inboxes, but there are none.
    """
    if not filters.by_inbox:
        return [*filters.inbox_ids] or [None], None
    found = list[str | None]()
    inboxes: list[Inbox] = []
    # A malformed record of an inbox may still have an id, and then the export can walk this inbox.
    async with aclosing(client.inboxes.list(on_malformed=lambda _: None).pages()) as pages:
        async for page in pages:
            inboxes += page.items
            found += [id_ for id_ in page.ids if id_ is not None]
            for record in page.malformed_records:
                if record.id is None:
                    on_malformed(record)
    if not found:
        # Without this error, an empty export would replace a complete one.
        raise ConfigurationError("the key has access to no inbox").advise(
            "leave out {option}, or check the key", by_inbox=True
        )
    return found, _get_business_id(inboxes)


def _get_business_id(inboxes: Iterable[Inbox]) -> str:
    """Return the business that the inboxes name, or an empty text if they name none or several."""
    named = {inbox.business_id for inbox in inboxes if inbox.business_id}
    return named.pop() if len(named) == 1 else ""


async def _fetch_business_id(client: CekatClient) -> str | None:
    """Request and return the business of the account.

    Exports work without the business, so most failures are ignored. The result is an empty text if
    the API does not name a business, or if the request failed for good. It is ``None`` if the
    request failed but may succeed later.

    Raises:
        NotSentError: The server cannot be reached, so no other request would succeed either.
    """
    try:
        async with asyncio.timeout(_SECONDS_FOR_BUSINESS):
            page = await client.inboxes.page(on_malformed=lambda _: None)
    except NotSentError:
        raise
    except (CekatError, TimeoutError) as error:
        _log.debug("the business of the account is unknown: %s", type(error).__name__)
        passes = isinstance(error, TimeoutError) or may_pass(error)
        return None if passes else ""
    return _get_business_id(page.items)


async def _fetch_first_ids(
    client: CekatClient, inbox_ids: Sequence[str | None], filters: Filters, page_size: int
) -> set[str]:
    """Return the ids on the first pages of a few listings that the export reads.

    Raises:
        CekatError: A request failed. Inboxes without access are skipped.
    """
    ids = set[str]()
    for inbox_id in inbox_ids[:_MOST_LISTINGS]:
        listing = client.conversations.list(
            page_size=page_size,
            inbox_id=inbox_id,
            stage_status=filters.stage_status,
            since=filters.since_time,
            until=filters.until_time,
            prefetch=0,
            on_malformed=lambda _: None,
        )
        try:
            async with aclosing(listing.pages()) as pages:
                page = await anext(pages, None)
        except (PermissionDeniedError, NotFoundError, BadRequestError):
            if inbox_id is None:
                raise
            continue
        ids.update(id_ for id_ in (page.ids if page else ()) if id_ is not None)
    return {*islice(ids, _MOST_IDS)}
