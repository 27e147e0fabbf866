"""Selects the listings of conversations that a walk reads: one listing, or many inboxes."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from cekat_async._paging.page_errors import malformed_error
from cekat_async.config import require_inbox_id
from cekat_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from uuid import UUID

    from cekat_async.models import MalformedRecord
    from cekat_async.pages import InboxPage

    InboxIds = Iterable[str | UUID] | AsyncIterable[str | UUID]

__all__ = ["ManyInboxIds", "OneListing", "iter_inbox_ids"]


class OneListing:
    """The listing of one inbox, or of the whole account if ``inbox_id`` is ``None``."""

    def __init__(self, inbox_id: str | None) -> None:
        self._inbox_id = inbox_id

    async def ids(self) -> AsyncGenerator[str | None, None]:
        """Yield the id of the inbox, or ``None`` for the whole account."""
        yield self._inbox_id

    def require_key(self, inbox_id: str | None) -> None:
        """Raise an error if a position belongs to another listing."""
        if inbox_id != self._inbox_id:
            raise ConfigurationError(
                f"positions has the key {inbox_id!r}, but the key of this listing is "
                f"{self._inbox_id!r}: use that one, or read several inboxes with across([…])"
            )

    def __str__(self) -> str:
        return ""


class ManyInboxIds:
    """The listings of many inboxes.

    Args:
        inbox_ids: The ids of the inboxes. ``None`` for all inboxes of the account.
        find_all: Yields the ids of all inboxes of the account.
    """

    def __init__(
        self, inbox_ids: InboxIds | None, find_all: Callable[[], AsyncGenerator[str, None]]
    ) -> None:
        self._inbox_ids = inbox_ids if inbox_ids is None else _require_inbox_ids(inbox_ids)
        self._find_all = find_all
        self._is_used_up = False

    async def ids(self) -> AsyncGenerator[str | None, None]:
        """Yield each id only once.

        Raises:
            ConfigurationError: The ids come from an iterator that an earlier walk has used, or an
                id is neither text nor a UUID.
        """
        if self._is_used_up:
            raise ConfigurationError(
                "inbox_ids is an iterator, which can be read only once: pass a list to across()"
            )
        self._is_used_up = isinstance(self._inbox_ids, (Iterator, AsyncIterator))
        seen = set[str]()
        given = self._find_all() if self._inbox_ids is None else self._inbox_ids
        async with aclosing(_iterate(given)) as found:
            async for id_ in found:
                inbox_id = require_inbox_id("each of inbox_ids", id_)
                if inbox_id not in seen:
                    seen.add(inbox_id)
                    yield inbox_id

    def require_key(self, inbox_id: str | None) -> None:
        """Raise an error if a position belongs to no inbox, or to an inbox that is not selected."""
        if inbox_id is None:
            raise ConfigurationError(
                "positions has the key None, which is the whole account: use list(), or the ids "
                "of the inboxes as keys"
            )
        if isinstance(self._inbox_ids, tuple) and inbox_id not in self._inbox_ids:
            raise ConfigurationError(
                f"positions has the key {inbox_id!r}, which is not among inbox_ids: add it there, "
                "or leave its position out"
            )

    def __str__(self) -> str:
        if self._inbox_ids is None:
            return " across all inboxes"
        count = f"{len(self._inbox_ids):,} " if isinstance(self._inbox_ids, tuple) else ""
        return f" across {count}inboxes"


def _require_inbox_ids(inbox_ids: InboxIds) -> InboxIds:
    """Return the inbox ids. A collection becomes a tuple of strings."""
    if isinstance(inbox_ids, (str, bytes)):
        raise ConfigurationError(
            f"inbox_ids must be a list, not one text: write [{inbox_ids!r}], "
            "or None for all inboxes of the account"
        )
    if not isinstance(inbox_ids, (Iterable, AsyncIterable)):
        raise ConfigurationError(
            "inbox_ids must be a list, any other iterable of ids, or None for all inboxes of the "
            f"account, not {inbox_ids!r}"
        )
    if isinstance(inbox_ids, (list, tuple, set, frozenset)):
        return tuple(require_inbox_id("each of inbox_ids", inbox_id) for inbox_id in inbox_ids)
    return inbox_ids


async def _iterate(inbox_ids: InboxIds) -> AsyncGenerator[str | UUID, None]:
    if not isinstance(inbox_ids, AsyncIterable):
        for inbox_id in inbox_ids:
            yield inbox_id
        return
    try:
        async for inbox_id in inbox_ids:
            yield inbox_id
    finally:
        # Close the caller's generator now, not when it is garbage collected.
        if (close := getattr(inbox_ids, "aclose", None)) is not None:
            await close()


async def iter_inbox_ids(
    pages: AsyncGenerator[InboxPage, None], on_malformed: Callable[[MalformedRecord], object] | None
) -> AsyncGenerator[str, None]:
    """Yield the id of each inbox on some pages, including malformed inboxes that have an id."""
    async with aclosing(pages):
        async for page in pages:
            malformed_ids = [one.id for one in page.malformed_records if one.id is not None]
            for inbox_id in (*(inbox.id for inbox in page.items), *malformed_ids):
                yield inbox_id
            nameless = tuple(one for one in page.malformed_records if one.id is None)
            rest = msgspec.structs.replace(page, malformed_records=nameless)
            if (error := malformed_error(rest, on_malformed)) is not None:
                raise error
