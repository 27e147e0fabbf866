"""From the API to the checkpoint: pages are stored while the next ones are being fetched."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Generic, TypeVar

from cekat_async import ConversationPage, InboxesFailedError
from cekat_async.export.checkpoint import FetchedPage
from cekat_async.export.checks import may_pass
from cekat_async.export.worker import wait_until_done

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from cekat_async import CekatError
    from cekat_async.export.checkpoint import Checkpoint
    from cekat_async.export.manifest import Counts
    from cekat_async.export.progress import ProgressTracker
    from cekat_async.export.report import ExportProgress
    from cekat_async.export.worker import Worker

__all__ = ["Collector", "Saver"]

T = TypeVar("T")

# Pages that may wait for the disk. More than one waits only if the API is faster than the disk.
_MOST_WAITING = 16


class Collector:
    """Stores the pages of an export in its checkpoint.

    Args:
        checkpoint: Where the pages are stored.
        worker: Runs blocking calls.
        tracker: Counts the pages.
        on_progress: Called whenever more pages are durable.

    Attributes:
        stored: How many records are in the checkpoint.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        worker: Worker,
        tracker: ProgressTracker,
        on_progress: Callable[[ExportProgress], object],
    ) -> None:
        self._checkpoint = checkpoint
        self._worker = worker
        self._tracker = tracker
        self._on_progress = on_progress
        self.stored = tracker.totals().fetched

    async def collect(self, pages: AsyncGenerator[ConversationPage, None]) -> None:
        """Store all pages, and the errors of inboxes that failed permanently.

        Raises:
            InboxesFailedError: Some inboxes failed in a way that may pass, or all of them failed.
            CekatError: A request failed, or the checkpoint cannot be written.
        """
        failed: Sequence[CekatError] = ()
        try:
            await self._store_all(pages)
        except InboxesFailedError as error:
            # An export without any inbox is none: it would replace one that is complete.
            count = len(await self._worker.do(self._checkpoint.partitions))
            if any(map(may_pass, error.errors)) or len(error.errors) == count:
                raise
            failed = error.errors
        await self._worker.do(self._put_errors, failed)

    async def _store_all(self, pages: AsyncGenerator[ConversationPage, None]) -> None:
        saver = Saver[ConversationPage](self._store, _MOST_WAITING)
        try:
            async with aclosing(pages):
                async for page in pages:
                    await saver.put(page)
        finally:
            await saver.end()

    async def _store(self, batch: list[ConversationPage]) -> None:
        for page in batch:
            self._tracker.count(page)
        await self._worker.do(self._store_now, batch, self._tracker.totals())
        self._on_progress(self._tracker.progress())

    def _store_now(self, pages: list[ConversationPage], counts: Counts) -> None:
        self._checkpoint.add_pages([_fetched_page(page) for page in pages], counts)
        # Here, so that it is right even if the task that waits for this is cancelled.
        self.stored = counts.fetched

    def _put_errors(self, failed: Sequence[CekatError]) -> None:
        errors = {error.inbox_id: str(error) for error in failed}
        for inbox_id, partition in self._checkpoint.partitions().items():
            if partition.error != errors.get(inbox_id):
                self._checkpoint.put_error(inbox_id, errors.get(inbox_id))


def _fetched_page(page: ConversationPage) -> FetchedPage:
    lines = page.lines
    keys = [line if id_ is None else id_ for id_, line in zip(page.ids, lines, strict=True)]
    assert page.position is not None  # noqa: S101 - every page of a tracked walk has one
    return FetchedPage(page.inbox_id, lines, keys, page.position)


class Saver(Generic[T]):
    """Saves items in order: each one at once if nothing is being saved, otherwise in batches.

    Args:
        save: Makes a batch durable.
        most: `put` blocks while this many items are waiting.
    """

    def __init__(self, save: Callable[[list[T]], Awaitable[None]], most: int) -> None:
        self._save = save
        self._most = most
        self._waiting: list[T] = []
        self._saving: asyncio.Task[None] | None = None

    async def put(self, item: T) -> None:
        """Add an item to be saved, and raise the error of an earlier save."""
        self._waiting.append(item)
        if self._saving is None or self._saving.done():
            if self._saving is not None:
                # A failed task stays here, so that nothing is ever saved after a gap.
                self._saving.result()
            self._saving = asyncio.create_task(self._save_all())
        if len(self._waiting) >= self._most:
            await asyncio.wait([self._saving])

    async def end(self) -> None:
        """Return when everything is saved; a cancellation takes effect only then.

        After a failure nothing more is saved, and the failure is raised.
        """
        if self._saving is None:
            return
        try:
            await wait_until_done(self._saving)
        finally:
            self._saving.result()  # A failure is raised even after a cancellation.

    async def _save_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            await self._save(batch)
