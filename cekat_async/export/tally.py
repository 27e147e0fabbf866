"""Counts what an export does: this run of it, and all runs together."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from cekat_async.export.checkpoint import Totals
from cekat_async.export.report import ExportProgress

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from cekat_async import CekatClient, ConversationPage

__all__ = ["Tally"]

_SECONDS_BETWEEN_LOOKS = 0.25


class Tally:
    """Counts what an export does.

    Args:
        client: Whose requests are counted, from now on.

    Attributes:
        published: Conversations that the sink has been given; ``None`` before that.
        to_publish: How many it is given in all; ``None`` until that is known.
    """

    def __init__(self, client: CekatClient) -> None:
        self._client = client
        self._before = Totals()
        self._expected: int | None = None
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._requests_before = client.traffic.requests
        self._retries_before = client.traffic.retries
        self._limiter_before = client.limiter.snapshot()
        self._pages = 0
        self._records = 0
        self._odd_records = 0
        self._unknown = Counter[str]()
        self._mistyped = Counter[str]()
        self._waited = 0.0
        self.published: int | None = None
        self.to_publish: int | None = None

    def resume(self, before: Totals, expected: int | None) -> None:
        """Go on from what earlier runs have come to, in all probably so many conversations."""
        self._before, self._expected = before, expected
        self._pages = before.pages
        self._records = before.records
        self._odd_records = before.malformed_records
        self._unknown = Counter(before.unknown_fields)
        self._mistyped = Counter(before.mistyped_fields)

    def count(self, page: ConversationPage) -> None:
        """Count a page, whose counts are then kept together with it."""
        self._pages += 1
        self._records += len(page.items) + len(page.malformed_records)
        self._odd_records += len(page.malformed_records)
        self._unknown.update(page.unknown_fields)
        self._mistyped.update(page.mistyped_fields)

    @asynccontextmanager
    async def looking(self) -> AsyncGenerator[None, None]:
        """Look at the limiter now and then, to know how long it lets everybody wait."""
        task = asyncio.create_task(self._look())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _look(self) -> None:
        then = self._clock()
        while True:
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
            limiter, now = self._client.limiter.snapshot(), self._clock()
            if limiter.waiting and not limiter.in_flight:
                self._waited += now - then
            then = now

    def totals(self) -> Totals:
        """Return what all runs have come to."""
        before, now = self._before, self.progress()
        return Totals(
            runs=before.runs + 1,
            pages=self._pages,
            records=self._records,
            malformed_records=self._odd_records,
            unknown_fields=dict(self._unknown),
            mistyped_fields=dict(self._mistyped),
            requests=before.requests + now.requests,
            retries=before.retries + now.retries,
            refused=before.refused + now.refused,
            seconds=before.seconds + now.seconds,
            waited=before.waited + now.waited,
        )

    def progress(self) -> ExportProgress:
        """Return how far this run has come."""
        limiter, before = self._client.limiter.snapshot(), self._limiter_before
        return ExportProgress(
            conversations=self._records,
            pages=self._pages,
            resumed=self._before.records,
            expected=self._expected,
            requests=self._client.traffic.requests - self._requests_before,
            retries=self._client.traffic.retries - self._retries_before,
            refused=limiter.refused - before.refused,
            seconds=self._clock() - self._began,
            waited=self._waited,
            malformed_records=self._odd_records,
            limit=limiter.limit,
            per=limiter.per,
            # Without a pace both are infinite, and their difference is no number.
            earned=0.0 if limiter.limit is None else limiter.earned - before.earned,
            published=self.published,
            to_publish=self.to_publish,
        )
