"""Which account an export is of, and whether two exports are of the same account."""

from __future__ import annotations

import asyncio
import logging
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from cekat_async import (
    APIStatusError,
    BadRequestError,
    CekatError,
    DeadlineExceededError,
    MalformedBodyError,
    NotFoundError,
    NotSentError,
    PaginationError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    TransportError,
)

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
    "may_pass",
    "recognize",
]

_log = logging.getLogger("cekat_async")

# The question is optional: it must not hold up an export.
_SECONDS_FOR_BUSINESS = 10.0
# Some inboxes may be empty or closed to the key. More than these are not asked.
_MOST_FRONTS = 3
_MOST_IDS = 300
# Another run may succeed where these were raised. Anything else is a failure for good.
_PASSING = (
    TransportError,
    ServerError,
    DeadlineExceededError,
    RateLimitError,
    MalformedBodyError,  # for instance an HTML page that says that the API is down
    PaginationError,  # for instance because more moves than can be read
)
_PASSING_STATUS = {408, 425}


class Identity(msgspec.Struct, frozen=True):
    """What tells one account from another.

    Its name is no part of it: two accounts may be given the same name.

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
        """Whether both are the same account. ``None`` if that cannot be told from this.

        The same key is always the same account. Different keys are the same account if their
        inboxes belong to the same business, and different accounts if they do not.
        """
        if self.key == other.key:
            return True
        if self.business_id and other.business_id:
            return self.business_id == other.business_id
        return None


class Claim(NamedTuple):
    """Something that an export may only use if it is of the same account.

    Attributes:
        identity: The account that it is of.
        holds_any: Finds out whether it holds a conversation with one of some ids.
        refusal: Makes the error to raise if it is of another account, from the reason.
    """

    identity: Identity
    holds_any: Callable[[Collection[str]], Awaitable[bool]]
    refusal: Callable[[str], CekatError]


async def recognize(
    ours: Identity,
    claims: Sequence[Claim],
    ask_front_ids: Callable[[], Awaitable[Collection[str]]],
) -> Identity:
    """Return our identity, with what is known about the same account from earlier exports.

    Raises:
        CekatError: Something is of another account, or nothing shows that it is of the same one.
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
    """Raise unless the first page of the listing shows that each claim is of our account."""
    for claim in doubtful:
        # What is of the same account as the claim can show it as well.
        witnesses = [one for one in claims if one.identity.is_same(claim.identity)]
        for witness in witnesses:
            if await witness.holds_any(ids):
                break
        else:
            raise claim.refusal("none of the newest conversations is in it")


def get_business_id(inboxes: Iterable[Inbox]) -> str:
    """Return the business that all inboxes belong to; empty if they name none, or several."""
    named = {inbox.business_id for inbox in inboxes if inbox.business_id}
    return named.pop() if len(named) == 1 else ""


async def ask_business_id(client: CekatClient) -> str | None:
    """Return the business of the account, with one request.

    A failure is no error, because exports work without it: the result is empty if the API will
    not say, and ``None`` if it may say so later.

    Raises:
        NotSentError: The server cannot be reached, and so nothing else can be asked either.
    """
    try:
        async with asyncio.timeout(_SECONDS_FOR_BUSINESS):
            page = await client.inboxes.page(on_odd_record=lambda _: None)
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
    limit: int,
) -> set[str]:
    """Return the ids of the first page of a few listings.

    Raises:
        CekatError: A request failed. Inboxes that are closed to the key are passed over.
    """
    ids = set[str]()
    for inbox_id in inbox_ids[:_MOST_FRONTS]:
        try:
            page = await client.conversations.page(
                limit=limit,
                inbox_id=inbox_id,
                stage_status=stage_status,
                on_odd_record=lambda _: None,
            )
        except (PermissionDeniedError, NotFoundError, BadRequestError):
            if inbox_id is None:
                raise
            continue
        ids.update(id_ for id_ in page.ids if id_ is not None)
    return {*islice(ids, _MOST_IDS)}


def may_pass(error: CekatError) -> bool:
    """Whether another run may succeed where an error was raised."""
    is_passing_status = isinstance(error, APIStatusError) and error.status in _PASSING_STATUS
    return isinstance(error, _PASSING) or is_passing_status
