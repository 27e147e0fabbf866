"""Stores pages in the checkpoint while the next pages are fetched."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from cekat_async import ConversationPage, InboxesFailedError
from cekat_async.export.checkpoint import FetchedPage
from cekat_async.export.checks import may_pass
from cekat_async.export.worker import wait_until_done

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from cekat_async.export.checkpoint import Checkpoint, RecordKey
    from cekat_async.export.manifest import Counts
    from cekat_async.export.progress import ProgressTracker
    from cekat_async.export.report import ExportProgress
    from cekat_async.export.worker import Worker

__all__ = ["Collector"]

# The maximum number of pages that wait for the disk. Several pages wait only if the disk is slower
# than the API.
_MOST_WAITING = 16


class Collector:
    """Stores the pages of an export in its checkpoint, and reports progress after each write.

    Attributes:
        stored: The number of records in the checkpoint.
        failures: The class names of the permanent errors, by inbox id.
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
        self.failures: dict[str | None, str] = {}
        self._stored_before = self.stored

    def count_new(self) -> int:
        """Return how many records this run has stored."""
        return self.stored - self._stored_before

    async def collect(self, pages: AsyncGenerator[ConversationPage, None]) -> None:
        """Store all pages, and also the errors of inboxes that failed permanently.

        Raises:
            InboxesFailedError: Some inboxes failed with an error that may be temporary, or all
                inboxes failed.
            CekatError: A request failed, or the checkpoint cannot be written.
        """
        errors: dict[str | None, str] = {}
        try:
            await self._store_all(pages)
        except InboxesFailedError as error:
            # If all inboxes failed, an empty export must not replace a complete one.
            count = len(await self._worker.do(self._checkpoint.partitions))
            if any(map(may_pass, error.errors)) or len(error.errors) == count:
                raise
            errors = {one.inbox_id: str(one) for one in error.errors}
            self.failures = {one.inbox_id: type(one).__name__ for one in error.errors}
        await self._worker.do(self._checkpoint.put_errors, errors)

    async def _store_all(self, pages: AsyncGenerator[ConversationPage, None]) -> None:
        """Store each page immediately if the disk is idle. Otherwise store pages in batches.

        A cancellation takes effect only after all received pages are stored. After a failure, no
        more pages are stored, because the checkpoint must not have a gap.
        """
        waiting: list[ConversationPage] = []
        storing = asyncio.create_task(self._store(waiting))
        try:
            async with aclosing(pages):
                async for page in pages:
                    waiting.append(page)
                    if storing.done():
                        storing.result()
                        storing = asyncio.create_task(self._store(waiting))
                    if len(waiting) >= _MOST_WAITING:
                        await asyncio.wait([storing])
        finally:
            try:
                await wait_until_done(storing)
            finally:
                storing.result()  # raises the error if storing failed, even after a cancellation

    async def _store(self, waiting: list[ConversationPage]) -> None:
        while waiting:
            batch = waiting.copy()
            waiting.clear()
            self._tracker.count(batch)
            await self._worker.do(self._store_now, batch, self._tracker.totals())
            self._on_progress(self._tracker.progress())

    def _store_now(self, pages: list[ConversationPage], counts: Counts) -> None:
        self._checkpoint.add_pages([_fetched_page(page) for page in pages], counts)
        # The worker thread sets the count, so that it is correct even if the waiting task is
        # cancelled.
        self.stored = counts.fetched


def _fetched_page(page: ConversationPage) -> FetchedPage:
    assert page.position is not None  # noqa: S101 - every page of a tracked walk has one
    return FetchedPage(page.inbox_id, page.json_lines(), _list_keys(page), page.position)


def _list_keys(page: ConversationPage) -> list[RecordKey]:
    if not page.malformed_records:
        return [record.id for record in page]
    return [line if id_ is None else id_ for id_, line in zip(page.ids, page.lines, strict=True)]
