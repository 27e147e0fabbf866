"""Walks many inboxes at the same time, or one inbox with many walkers, into one queue."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Generic, TypeVar

from cekat_async._api.status import PAUSES_ALL
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

    from cekat_async._paging.prefetch import BoundedQueue
    from cekat_async.pages import ConversationPage, RawPage

__all__ = ["ListingWalk", "ManyInboxes"]

P = TypeVar("P", bound="ConversationPage | RawPage")


class ListingWalk(Generic[P]):
    """A walk of one listing by one walker. Subclasses let several walkers share a walk.

    Args:
        pages: The pages for the first walker. Unless the walk is split, these are all its pages.

    Attributes:
        walkers: The present number of walkers of the walk.
    """

    def __init__(self, pages: AsyncGenerator[P, None]) -> None:
        self.pages = pages
        self.walkers = 0

    def most_left(self) -> float:
        """Return how many pages another walker could share; 0 if adding one would not pay off."""
        return 0

    def split(self) -> AsyncGenerator[P, None] | None:
        """Return pages for another walker, or ``None`` if adding one would not pay off."""
        return None

    def stop(self) -> None:
        """End the walk. The other walkers stop at their next page."""


class ManyInboxes(Generic[P]):
    """Walks listings with a number of walkers, and puts their pages into a queue.

    A walker takes the next inbox. When no inboxes are left, the walker takes a part of the listing
    with the most remaining pages.

    Args:
        queue: The queue that receives the pages.
        walk_inbox: Returns the walk of an inbox.
        walkers: The number of walkers. Each walker is a task. There may be more walkers than
            inboxes, or fewer.
        keep_going: True to continue with the other inboxes if one inbox fails.
    """

    def __init__(
        self,
        queue: BoundedQueue[P],
        walk_inbox: Callable[[str | None], ListingWalk[P]],
        walkers: int,
        *,
        keep_going: bool,
    ) -> None:
        self._queue = queue
        self._walk_inbox = walk_inbox
        self._slots = asyncio.Semaphore(walkers)
        self._keep_going = keep_going
        self._group = asyncio.TaskGroup()
        self._open = set[ListingWalk[P]]()
        self._failures: list[CekatError] = []
        self._is_cut_short = False

    async def walk(self, inbox_ids: AsyncGenerator[str | None, None]) -> None:
        """Walk all inboxes. The id ``None`` stands for the listing of all conversations.

        Raises:
            InboxesFailedError: Some inboxes failed, and ``keep_going`` is true. The others are
                complete.
            CekatError: An inbox failed, and ``keep_going`` is false.
        """
        try:
            async with self._group, aclosing(inbox_ids):
                async for inbox_id in inbox_ids:
                    await self._slots.acquire()
                    walk = self._walk_inbox(inbox_id)
                    self._start(walk, walk.pages)
        except BaseExceptionGroup as failed:
            # Any other failures happened while the first failure cancelled the other inboxes.
            first = failed.exceptions[0]
        else:
            first = None
        if first is not None:
            raise first  # raised here, because the group must not become its context
        if self._is_cut_short:
            # If other code cancels a task of a task group, the group does not report it. Without
            # this error, such a cancellation would look like the end of the listing.
            raise asyncio.CancelledError
        if self._failures:
            raise _inboxes_failed(self._failures)

    def _start(self, walk: ListingWalk[P], pages: AsyncGenerator[P, None]) -> None:
        walk.walkers += 1
        self._open.add(walk)
        self._group.create_task(self._walk_part(walk, pages))

    async def _walk_part(self, walk: ListingWalk[P], pages: AsyncGenerator[P, None]) -> None:
        try:
            async with aclosing(pages):
                async for page in pages:
                    await self._share_out()
                    await self._queue.put(page)
        except CekatError as error:
            self._fail(walk, error)
        except asyncio.CancelledError:
            self._is_cut_short = True
            raise
        finally:
            self._slots.release()
            walk.walkers -= 1
        if not walk.walkers:
            self._open.remove(walk)
        await self._share_out()

    async def _share_out(self) -> None:
        """Let idle walkers take a part of an inbox.

        While an inbox waits for a walker, the semaphore counts as locked, so idle walkers take
        whole inboxes first.
        """
        while self._open and not self._slots.locked():
            walk = max(self._open, key=lambda walk: walk.most_left())
            pages = walk.split()
            if pages is None:
                return
            await self._slots.acquire()
            self._start(walk, pages)

    def _fail(self, walk: ListingWalk[P], error: CekatError) -> None:
        if not self._keep_going or _concerns_all(error):
            raise error
        walk.stop()
        # The traceback is dropped, because its frames keep pages alive and thousands of inboxes may
        # fail.
        self._failures.append(error.with_traceback(None))


def _inboxes_failed(errors: Sequence[CekatError]) -> InboxesFailedError:
    count = f"{len(errors):,} inboxes" if len(errors) > 1 else "1 inbox"
    return InboxesFailedError(
        f"{count} failed, all others are complete; the first error is: {errors[0]}", errors=errors
    )


def _concerns_all(error: CekatError) -> bool:
    """Whether all other inboxes would fail too, for example after a wrong key."""
    if isinstance(error, APIStatusError) and error.status in PAUSES_ALL:
        return error.resumes_at is not None
    return isinstance(error, (AuthenticationError, ClientClosedError, ConfigurationError))
