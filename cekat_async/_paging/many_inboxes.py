"""Many inboxes walked at once, or one by many, so many walkers at a time, into one line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from cekat_async._api.messages import PAUSES_ALL
from cekat_async._paging.page_walk import malformed_error
from cekat_async.config import require_inbox_id
from cekat_async.errors import (
    APIStatusError,
    AuthenticationError,
    CekatError,
    ClientClosedError,
    ConfigurationError,
    InboxesFailedError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from uuid import UUID

    from cekat_async._paging.sources import PageSource
    from cekat_async._paging.stream import BoundedQueue
    from cekat_async.models import MalformedRecord
    from cekat_async.pages import ConversationPage, InboxPage

__all__ = ["ManyInboxes", "each_once", "ids_of_all", "require_inbox_ids"]


class ManyInboxes:
    """Walks listings, so many walkers at a time, and puts their pages into a line.

    A walker takes the next inbox, and when there are no more, a part of the listing that has most
    left.

    Args:
        line: Where the pages go.
        listing: Makes the listing of an inbox.
        walkers: How many there are, and so tasks, however many inboxes.
        keep_going: Whether the others go on when an inbox fails.
    """

    def __init__(
        self,
        line: BoundedQueue[ConversationPage],
        listing: Callable[[str | None], PageSource],
        walkers: int,
        *,
        keep_going: bool,
    ) -> None:
        self._line = line
        self._listing = listing
        self._slots = asyncio.Semaphore(walkers)
        self._keep_going = keep_going
        self._group = asyncio.TaskGroup()
        self._open: set[_Inbox] = set()
        self._failures: list[CekatError] = []
        self._is_cut_short = False

    async def walk(self, inbox_ids: AsyncGenerator[str | None, None]) -> None:
        """Walk them all; None is the listing of all conversations.

        Raises:
            InboxesFailedError: Some failed, and the others have been walked to their end.
            CekatError: What the first to fail failed with, where the others are not to go on.
        """
        try:
            async with self._group, aclosing(inbox_ids):
                async for inbox_id in inbox_ids:
                    await self._slots.acquire()
                    inbox = _Inbox(inbox_id, self._listing(inbox_id))
                    self._start(inbox, inbox.listing.begin())
        except BaseExceptionGroup as failed:
            # Those that failed in the moment of being cancelled add nothing to the first.
            raise failed.exceptions[0] from None
        if self._is_cut_short:
            # A group takes a task that somebody else cancelled for one that is done. Its listing
            # was not read to the end, and that must not look like the end.
            raise asyncio.CancelledError
        if self._failures:
            raise _all_that_failed(self._failures)

    def _start(self, inbox: _Inbox, pages: AsyncGenerator[ConversationPage, None]) -> None:
        inbox.walkers += 1
        self._open.add(inbox)
        self._group.create_task(self._walk_part(inbox, pages))

    async def _walk_part(
        self, inbox: _Inbox, pages: AsyncGenerator[ConversationPage, None]
    ) -> None:
        try:
            async with aclosing(pages):
                async for page in pages:
                    await self._share_out()
                    await self._line.put(page)
        except CekatError as error:
            self._fail(inbox, error)
        except asyncio.CancelledError:
            self._is_cut_short = True
            raise
        finally:
            self._slots.release()
            inbox.walkers -= 1
        if not inbox.walkers:
            self._open.remove(inbox)
        await self._share_out()

    async def _share_out(self) -> None:
        """Let walkers that have no inbox take a part of one.

        While an inbox waits for a walker, the slots count as locked, so that it comes first.
        """
        while self._open and not self._slots.locked():
            inbox = max(self._open, key=lambda inbox: inbox.listing.most_left())
            pages = inbox.listing.split()
            if pages is None:
                return
            await self._slots.acquire()
            self._start(inbox, pages)

    def _fail(self, inbox: _Inbox, error: CekatError) -> None:
        error.inbox_id = inbox.id
        if not self._keep_going or _concerns_all(error):
            raise error
        inbox.listing.stop()
        # Without its traceback, whose frames hold pages: ten thousand may fail.
        self._failures.append(error.with_traceback(None))


class _Inbox:
    """An inbox that is being walked, and by how many."""

    def __init__(self, id_: str | None, listing: PageSource) -> None:
        self.id = id_
        self.listing = listing
        self.walkers = 0


def _all_that_failed(errors: Sequence[CekatError]) -> InboxesFailedError:
    count = f"{len(errors):,} inboxes" if len(errors) > 1 else "1 inbox"
    return InboxesFailedError(
        f"{count} failed, all others are complete; the first was: {errors[0]}", errors=errors
    )


def _concerns_all(error: CekatError) -> bool:
    """Whether an error says nothing of the inbox, and each further one would fail in the same way.

    So does a wrong key, a closed client, and a quota that is spent for the day.
    """
    if isinstance(error, APIStatusError) and error.status in PAUSES_ALL:
        return error.resumes_at is not None
    return isinstance(error, (AuthenticationError, ClientClosedError, ConfigurationError))


def require_inbox_ids(
    inbox_ids: Iterable[str | UUID] | AsyncIterable[str | UUID] | None,
) -> Iterable[str | UUID] | AsyncIterable[str | UUID] | None:
    """Return inbox ids that may be iterated, each checked that can be checked before that.

    Raises:
        ConfigurationError: They are one text, or nothing to iterate, or one of them is no text.
    """
    if inbox_ids is None or isinstance(inbox_ids, AsyncIterable):
        return inbox_ids
    if isinstance(inbox_ids, (str, bytes)):
        raise ConfigurationError(
            f"inbox_ids must be several, not one text: write [{inbox_ids!r}], "
            "or None for all inboxes of the account"
        )
    if not isinstance(inbox_ids, Iterable):
        raise ConfigurationError(
            "inbox_ids must be a list, any other iterable of ids, or None for all inboxes of the "
            f"account, not {inbox_ids!r}"
        )
    if isinstance(inbox_ids, (list, tuple, set, frozenset)):
        return tuple(require_inbox_id("each of inbox_ids", inbox_id) for inbox_id in inbox_ids)
    return inbox_ids


async def each_once(
    inbox_ids: Iterable[str | UUID] | AsyncIterable[str | UUID],
) -> AsyncGenerator[str, None]:
    """Yield each id, as text, when it comes for the first time.

    Raises:
        ConfigurationError: What comes is neither text nor a UUID.
    """
    seen = set[str]()
    async with aclosing(_in_turn(inbox_ids)) as found:
        async for given in found:
            inbox_id = require_inbox_id("each of inbox_ids", given)
            if inbox_id not in seen:
                seen.add(inbox_id)
                yield inbox_id


async def _in_turn(
    inbox_ids: Iterable[str | UUID] | AsyncIterable[str | UUID],
) -> AsyncGenerator[str | UUID, None]:
    if not isinstance(inbox_ids, AsyncIterable):
        for inbox_id in inbox_ids:
            yield inbox_id
        return
    try:
        async for inbox_id in inbox_ids:
            yield inbox_id
    finally:
        # A generator of the caller's is closed here and now, not whenever it is collected.
        if (close := getattr(inbox_ids, "aclose", None)) is not None:
            await close()


async def ids_of_all(
    pages: AsyncGenerator[InboxPage, None], on_malformed: Callable[[MalformedRecord], object] | None
) -> AsyncGenerator[str, None]:
    """Yield the id of each inbox of some pages, odd ones included: no more than it is needed.

    Raises:
        MalformedRecordError: One has no readable id, and nobody wants to be told of odd records.
    """
    async with aclosing(pages):
        async for page in pages:
            for inbox_id in (*(inbox.id for inbox in page.items), *_ids_of_odd(page)):
                yield inbox_id
            nameless = tuple(odd for odd in page.malformed_records if odd.id is None)
            rest = msgspec.structs.replace(page, malformed_records=nameless)
            if (error := malformed_error(rest, on_malformed)) is not None:
                raise error


def _ids_of_odd(page: InboxPage) -> Iterable[str]:
    return (odd.id for odd in page.malformed_records if odd.id is not None)
