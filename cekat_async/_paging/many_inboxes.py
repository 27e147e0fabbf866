"""Many inboxes walked at once, or one inbox by many walkers, into one queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from cekat_async._api.status import PAUSES_ALL
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

    from cekat_async._paging.prefetch import BoundedQueue
    from cekat_async._paging.walks import SplittableWalk
    from cekat_async.models import MalformedRecord
    from cekat_async.pages import ConversationPage, InboxPage, RawPage

__all__ = ["ManyInboxes", "each_once", "iter_inbox_ids", "require_inbox_ids"]

P = TypeVar("P", bound="ConversationPage | RawPage")


class ManyInboxes(Generic[P]):
    """Walks listings with a number of walkers, and puts their pages into a queue.

    A walker takes the next inbox. When there are no more, it takes a part of the listing that has
    the most pages left.

    Args:
        queue: Where the pages go.
        walk_inbox: Returns the walk of an inbox.
        walkers: How many walkers there are, and so tasks, however many inboxes.
        keep_going: Whether the other inboxes are walked on when one fails.
    """

    def __init__(
        self,
        queue: BoundedQueue[P],
        walk_inbox: Callable[[str | None], SplittableWalk[P]],
        walkers: int,
        *,
        keep_going: bool,
    ) -> None:
        self._queue = queue
        self._walk_inbox = walk_inbox
        self._slots = asyncio.Semaphore(walkers)
        self._keep_going = keep_going
        self._group = asyncio.TaskGroup()
        self._open: set[_Inbox[P]] = set()
        self._failures: list[CekatError] = []
        self._is_cut_short = False

    async def walk(self, inbox_ids: AsyncGenerator[str | None, None]) -> None:
        """Walk all inboxes; ``None`` is the listing of all conversations.

        Raises:
            InboxesFailedError: With ``keep_going``: some failed, and the others are complete.
            CekatError: Without it: the error of the first inbox that failed.
        """
        try:
            async with self._group, aclosing(inbox_ids):
                async for inbox_id in inbox_ids:
                    await self._slots.acquire()
                    inbox = _Inbox(inbox_id, self._walk_inbox(inbox_id))
                    self._start(inbox, inbox.walk.begin())
        except BaseExceptionGroup as failed:
            # The others failed while they were being cancelled because of the first.
            first = failed.exceptions[0]
        else:
            first = None
        if first is not None:
            raise first  # here, so that the group does not become its context
        if self._is_cut_short:
            # Somebody else cancelled one of the tasks, which a group does not report. That must not
            # look like the end of the listing.
            raise asyncio.CancelledError
        if self._failures:
            raise _inboxes_failed(self._failures)

    def _start(self, inbox: _Inbox[P], pages: AsyncGenerator[P, None]) -> None:
        inbox.walkers += 1
        self._open.add(inbox)
        self._group.create_task(self._walk_part(inbox, pages))

    async def _walk_part(self, inbox: _Inbox[P], pages: AsyncGenerator[P, None]) -> None:
        try:
            async with aclosing(pages):
                async for page in pages:
                    await self._share_out()
                    await self._queue.put(page)
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

        While an inbox waits for a walker, the slots count as locked, so that inboxes go first.
        """
        while self._open and not self._slots.locked():
            inbox = max(self._open, key=lambda inbox: inbox.walk.most_left())
            pages = inbox.walk.split()
            if pages is None:
                return
            await self._slots.acquire()
            self._start(inbox, pages)

    def _fail(self, inbox: _Inbox[P], error: CekatError) -> None:
        error.locate(inbox_id=inbox.id)
        if not self._keep_going or _concerns_all(error):
            raise error
        inbox.walk.stop()
        # Without its traceback, whose frames hold pages: ten thousand may fail.
        self._failures.append(error.with_traceback(None))


class _Inbox(Generic[P]):
    """An inbox that is being walked, and the number of its walkers."""

    def __init__(self, id_: str | None, walk: SplittableWalk[P]) -> None:
        self.id = id_
        self.walk = walk
        self.walkers = 0


def _inboxes_failed(errors: Sequence[CekatError]) -> InboxesFailedError:
    count = f"{len(errors):,} inboxes" if len(errors) > 1 else "1 inbox"
    return InboxesFailedError(
        f"{count} failed, all others are complete; the first was: {errors[0]}", errors=errors
    )


def _concerns_all(error: CekatError) -> bool:
    """Whether every other inbox would fail in the same way.

    So they would with a wrong key, a closed client, or a daily quota that is used up.
    """
    if isinstance(error, APIStatusError) and error.status in PAUSES_ALL:
        return error.resumes_at is not None
    return isinstance(error, (AuthenticationError, ClientClosedError, ConfigurationError))


def require_inbox_ids(
    inbox_ids: Iterable[str | UUID] | AsyncIterable[str | UUID] | None,
) -> Iterable[str | UUID] | AsyncIterable[str | UUID] | None:
    """Return inbox ids as given, except that a collection becomes a tuple of texts.

    Raises:
        ConfigurationError: They are one text or cannot be iterated, or a collection has an id that
            is neither text nor a UUID.
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
    """Yield each id once, as text.

    Raises:
        ConfigurationError: An id is neither text nor a UUID.
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
        # Close a generator of the caller's now, and not whenever it is collected.
        if (close := getattr(inbox_ids, "aclose", None)) is not None:
            await close()


async def iter_inbox_ids(
    pages: AsyncGenerator[InboxPage, None], on_malformed: Callable[[MalformedRecord], object] | None
) -> AsyncGenerator[str, None]:
    """Yield the id of each inbox of some pages, fetching no page before it is needed.

    A malformed inbox with an id is one of them.

    Raises:
        MalformedRecordError: An inbox has no readable id, and ``on_malformed`` is ``None``.
    """
    async with aclosing(pages):
        async for page in pages:
            malformed_ids = [one.id for one in page.malformed_records if one.id is not None]
            for inbox_id in (*(inbox.id for inbox in page.items), *malformed_ids):
                yield inbox_id
            nameless = tuple(one for one in page.malformed_records if one.id is None)
            rest = msgspec.structs.replace(page, malformed_records=nameless)
            if (error := malformed_error(rest, on_malformed)) is not None:
                raise error
