"""Which listings of conversations are read: one, or those of many inboxes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING

from cekat_async._paging.many_inboxes import each_once, require_inbox_ids
from cekat_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
    from uuid import UUID

__all__ = ["ManyInboxIds", "OneListing"]


class OneListing:
    """One listing.

    Args:
        inbox_id: The inbox; ``None`` is the whole account.
    """

    def __init__(self, inbox_id: str | None) -> None:
        self._inbox_id = inbox_id

    async def ids(self) -> AsyncGenerator[str | None, None]:
        """Yield the inbox id of the listing."""
        yield self._inbox_id

    def require_key(self, inbox_id: str | None) -> None:
        """Raise if a position is of another listing."""
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
        inbox_ids: Their ids; ``None`` for all inboxes of the account.
        find_all: Yields the ids of all inboxes of the account.
    """

    def __init__(
        self,
        inbox_ids: Iterable[str | UUID] | AsyncIterable[str | UUID] | None,
        find_all: Callable[[], AsyncGenerator[str, None]],
    ) -> None:
        self._inbox_ids = require_inbox_ids(inbox_ids)
        self._find_all = find_all
        self._is_used_up = False

    async def ids(self) -> AsyncGenerator[str | None, None]:
        """Yield each id once.

        Raises:
            ConfigurationError: An earlier walk has read the ids from an iterator.
        """
        if self._is_used_up:
            raise ConfigurationError(
                "inbox_ids is an iterator, which can be read once only: pass a list to across()"
            )
        self._is_used_up = isinstance(self._inbox_ids, (Iterator, AsyncIterator))
        found = each_once(self._find_all() if self._inbox_ids is None else self._inbox_ids)
        async with aclosing(found):
            async for inbox_id in found:
                yield inbox_id

    def require_key(self, inbox_id: str | None) -> None:
        """Raise if a position is of no inbox, or of one that is not in a collection of ids."""
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
