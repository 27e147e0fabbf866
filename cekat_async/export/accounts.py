"""Which account an export is of, and whether two exports are of the same account."""

from __future__ import annotations

import asyncio
import logging
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from cekat_async import (
    BadRequestError,
    CekatError,
    NotFoundError,
    NotSentError,
    PermissionDeniedError,
)
from cekat_async.export.checks import may_pass

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

    from cekat_async import CekatClient, Inbox, StageStatus
    from cekat_async.export.checkpoint import Job
    from cekat_async.export.manifest import Manifest
    from cekat_async.export.worker import Worker

__all__ = [
    "AccountRecord",
    "Identity",
    "fetch_business_id",
    "fetch_first_ids",
    "get_business_id",
    "identify_account",
]

_log = logging.getLogger("cekat_async")

# The export works without an answer, so it does not wait long for one.
_SECONDS_FOR_BUSINESS = 10.0
# Some inboxes may be empty, or closed to the key.
_MOST_LISTINGS = 3
_MOST_IDS = 300


class Identity(msgspec.Struct, frozen=True):
    """The facts that identify an account.

    Its name is not one of them, because two accounts may be given the same name.

    Attributes:
        key: The fingerprint of the key, which contains the host.
        business_id: The business that the inboxes belong to. Empty if the API does not say, and
            ``None`` if it was not asked or did not answer.
    """

    key: str
    business_id: str | None = None

    @classmethod
    def from_record(cls, record: Job | Manifest) -> Identity:
        """Return the identity that a checkpoint or a manifest has."""
        # Version 0.1 recorded the fingerprint as the account, unless that had a name.
        return cls(record.key_fingerprint or record.account, record.business_id)

    def is_same(self, other: Identity) -> bool | None:
        """Whether both are the same account; ``None`` if these facts do not show it.

        The same key always means the same account. With different keys the business of the inboxes
        decides, if both sides know it.
        """
        if self.key == other.key:
            return True
        if self.business_id and other.business_id:
            return self.business_id == other.business_id
        return None


class AccountRecord(NamedTuple):
    """A checkpoint or a target that an export may use only if it is of the same account.

    Attributes:
        identity: The account that it records.
        holds_any: Returns whether it holds a conversation with one of the given ids. It blocks.
        make_error: Returns the error for another account, given the reason.
    """

    identity: Identity
    holds_any: Callable[[Collection[str]], bool]
    make_error: Callable[[str], CekatError]


async def identify_account(
    ours: Identity,
    records: Sequence[AccountRecord],
    fetch_ids: Callable[[], Awaitable[Collection[str]]],
    worker: Worker,
) -> Identity:
    """Return our identity, completed from the records, if all of them are of our account.

    Args:
        ours: The account of the client's key.
        records: The checkpoint and the target, if they record another key.
        fetch_ids: Returns the ids of the first page. It is called only if the identities alone do
            not decide.
        worker: Runs blocking calls.

    Raises:
        CekatError: A record is of another account, or nothing shows that it is of ours.
    """
    doubtful = [record for record in records if _is_doubtful(record, ours)]
    ids = await fetch_ids() if doubtful else ()
    for record in doubtful:
        if not await worker.do(_is_known, record, records, ids):
            raise record.make_error("none of the newest conversations is in it")
    known = [ours.business_id, *(record.identity.business_id for record in records)]
    return Identity(ours.key, next(filter(None, known), ours.business_id))


def _is_doubtful(record: AccountRecord, ours: Identity) -> bool:
    is_same = record.identity.is_same(ours)
    if is_same is False:
        raise record.make_error("the inboxes belong to another business")
    return is_same is None


def _is_known(
    record: AccountRecord, records: Sequence[AccountRecord], ids: Collection[str]
) -> bool:
    """Whether a record holds one of some ids, or another record of the same account does."""
    same = (one for one in records if one.identity.is_same(record.identity))
    return any(one.holds_any(ids) for one in same)


def get_business_id(inboxes: Iterable[Inbox]) -> str:
    """Return the business that all inboxes belong to; empty if they name none or several."""
    named = {inbox.business_id for inbox in inboxes if inbox.business_id}
    return named.pop() if len(named) == 1 else ""


async def fetch_business_id(client: CekatClient) -> str | None:
    """Return the business of the account, with one request.

    Exports work without it, so a failed request is no error. The result is empty if the API does
    not say, and ``None`` if the request may succeed later.

    Raises:
        NotSentError: The server cannot be reached, so no other request would succeed either.
    """
    try:
        async with asyncio.timeout(_SECONDS_FOR_BUSINESS):
            page = await client.inboxes.page(on_malformed=lambda _: None)
    except NotSentError:
        raise
    except (CekatError, TimeoutError) as error:
        _log.debug("the business of the account is not known: %s", error)
        passes = isinstance(error, TimeoutError) or may_pass(error)
        return None if passes else ""
    return get_business_id(page.items)


async def fetch_first_ids(
    client: CekatClient,
    inbox_ids: Sequence[str | None],
    stage_status: StageStatus | str | None,
    page_size: int,
) -> set[str]:
    """Return the ids on the first page of a few of an export's listings.

    Raises:
        CekatError: A request failed. Inboxes that the key may not see are skipped.
    """
    ids = set[str]()
    for inbox_id in inbox_ids[:_MOST_LISTINGS]:
        try:
            page = await client.conversations.page(
                limit=page_size,
                inbox_id=inbox_id,
                stage_status=stage_status,
                on_malformed=lambda _: None,
            )
        except (PermissionDeniedError, NotFoundError, BadRequestError):
            if inbox_id is None:
                raise
            continue
        ids.update(id_ for id_ in page.ids if id_ is not None)
    return {*islice(ids, _MOST_IDS)}
