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
from cekat_async.export.plan import may_pass

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

    from cekat_async import CekatClient, Inbox, StageStatus
    from cekat_async.export.checkpoint import Job
    from cekat_async.export.manifest import Manifest

__all__ = [
    "Claim",
    "Identity",
    "ask_business_id",
    "front_ids",
    "get_business_id",
    "recognize",
]

_log = logging.getLogger("cekat_async")

# The export works without an answer, so it does not wait long for one.
_SECONDS_FOR_BUSINESS = 10.0
# Some inboxes may be empty, or closed to the key.
_MOST_FRONTS = 3
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
    def recorded_in(cls, record: Job | Manifest) -> Identity:
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


class Claim(NamedTuple):
    """A checkpoint or a target that an export may use only if it is of the same account.

    Attributes:
        identity: The account that it records.
        holds_any: Returns whether it holds a conversation with one of the given ids.
        refusal: Returns the error for another account, given the reason.
    """

    identity: Identity
    holds_any: Callable[[Collection[str]], Awaitable[bool]]
    refusal: Callable[[str], CekatError]


async def recognize(
    ours: Identity,
    claims: Sequence[Claim],
    ask_front_ids: Callable[[], Awaitable[Collection[str]]],
) -> Identity:
    """Return our identity, completed from the claims, if all of them are of our account.

    Args:
        ours: The account that the client asks.
        claims: The checkpoint and the target, if they record another key.
        ask_front_ids: Returns the ids of the first page. It is called only if the identities
            alone do not decide.

    Raises:
        CekatError: A claim is of another account, or nothing shows that it is of ours.
    """
    doubtful = [claim for claim in claims if _is_doubtful(claim, ours)]
    if doubtful:
        await _require_known(claims, doubtful, await ask_front_ids())
    known = [ours.business_id, *(claim.identity.business_id for claim in claims)]
    return Identity(ours.key, next(filter(None, known), ours.business_id))


def _is_doubtful(claim: Claim, ours: Identity) -> bool:
    is_same = claim.identity.is_same(ours)
    if is_same is False:
        raise claim.refusal("the inboxes belong to another business")
    return is_same is None


async def _require_known(
    claims: Sequence[Claim], doubtful: Sequence[Claim], ids: Collection[str]
) -> None:
    """Raise unless the ids of the first page show that each doubtful claim is of our account."""
    for claim in doubtful:
        # Ids in a claim of the same account prove this one as well.
        witnesses = [one for one in claims if one.identity.is_same(claim.identity)]
        for witness in witnesses:
            if await witness.holds_any(ids):
                break
        else:
            raise claim.refusal("none of the newest conversations is in it")


def get_business_id(inboxes: Iterable[Inbox]) -> str:
    """Return the business that all inboxes belong to; empty if they name none or several."""
    named = {inbox.business_id for inbox in inboxes if inbox.business_id}
    return named.pop() if len(named) == 1 else ""


async def ask_business_id(client: CekatClient) -> str | None:
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


async def front_ids(
    client: CekatClient,
    inbox_ids: Sequence[str | None],
    stage_status: StageStatus | str | None,
    page_size: int,
) -> set[str]:
    """Return the ids on the first page of a few listings.

    Args:
        client: Sends the requests.
        inbox_ids: The listings of the export; ``None`` is that of all conversations.
        stage_status: The status that the export is limited to.
        page_size: Conversations per request.

    Raises:
        CekatError: A request failed. Inboxes that the key may not see are skipped.
    """
    ids = set[str]()
    for inbox_id in inbox_ids[:_MOST_FRONTS]:
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
