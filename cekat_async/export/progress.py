"""Counts the records, pages and requests of an export, for its progress and its report."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from cekat_async.export.manifest import Counts
from cekat_async.export.report import ExportProgress
from cekat_async.pages import count_extra_fields

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection

    from cekat_async import CekatClient, ConversationPage

__all__ = ["ProgressTracker"]

_SECONDS_BETWEEN_LOOKS = 0.25


class ProgressTracker:
    """Counts the records, pages and requests of an export.

    Args:
        client: The client. Only the requests that it sends from now on are counted.

    Attributes:
        compared: The number of old conversations in the target that were compared with new ones.
        published: The number of conversations that the sink has received; ``None`` while fetching.
        to_publish: The number of conversations that the sink will receive; ``None`` until known.
    """

    def __init__(self, client: CekatClient) -> None:
        self._client = client
        self._earlier = Counts()
        self._pages = Counts(runs=1)
        self._expected: int | None = None
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._requests_before = client.traffic.requests
        self._retries_before = client.traffic.retries
        self._limiter_before = client.limiter.snapshot()
        self._waited = 0.0
        self.compared = 0
        self.published: int | None = None
        self.to_publish: int | None = None

    def resume(self, earlier: Counts, expected: int | None) -> None:
        """Continue from the counts of earlier runs. ``expected`` is the estimated total."""
        self._earlier, self._expected = earlier, expected

    def count(self, pages: Collection[ConversationPage]) -> None:
        """Count pages that are about to be stored."""
        malformed_records = sum(len(page.malformed_records) for page in pages)
        extra = count_extra_fields(chain.from_iterable(pages))
        self._pages += Counts(
            pages=len(pages),
            fetched=sum(map(len, pages)) + malformed_records,
            malformed_records=malformed_records,
            unknown_fields=extra.unknown,
            mistyped_fields=extra.mistyped,
        )

    @asynccontextmanager
    async def watch_limiter(self) -> AsyncGenerator[None, None]:
        """Measure in the background for how long the limiter delays all requests."""
        task = asyncio.create_task(self._watch_limiter())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _watch_limiter(self) -> None:
        then = self._clock()
        while True:
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
            limiter, now = self._client.limiter.snapshot(), self._clock()
            if limiter.waiting and not limiter.in_flight:
                self._waited += now - then
            then = now

    def totals(self) -> Counts:
        """Return the counts of all runs of the export together."""
        return self._earlier + self._this_run()

    def _this_run(self) -> Counts:
        return self._pages + Counts(
            requests=self._client.traffic.requests - self._requests_before,
            retries=self._client.traffic.retries - self._retries_before,
            refused=self._client.limiter.snapshot().refused - self._limiter_before.refused,
            seconds=self._clock() - self._began,
            waited=self._waited,
        )

    def progress(self) -> ExportProgress:
        """Return the progress of this run."""
        limiter, before = self._client.limiter.snapshot(), self._limiter_before
        counts = self._earlier.without_requests() + self._this_run()
        return ExportProgress(
            **msgspec.structs.asdict(counts),
            conversations=counts.fetched,
            resumed=self._earlier.fetched,
            expected=self._expected,
            limit=limiter.limit,
            per=limiter.per,
            # Without a rate limit, both values are infinite, and their difference would be NaN.
            earned=0.0 if limiter.limit is None else limiter.earned - before.earned,
            compared=self.compared,
            published=self.published,
            to_publish=self.to_publish,
        )
