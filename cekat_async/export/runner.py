"""The export itself: walk, write, finish."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from cekat_async.export.report import ExportProgress, ExportReport
from cekat_async.export.sink import Sink, sink_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from cekat_async import CekatClient, ConversationPage, OddRecord, StageStatus

__all__ = ["export_conversations"]


async def export_conversations(
    client: CekatClient,
    target: str | os.PathLike[str] | Sink,
    *,
    limit: int = 100,
    inbox_id: str | None = None,
    stage_status: StageStatus | str | None = None,
    on_progress: Callable[[ExportProgress], object] | None = None,
    on_odd_record: Callable[[OddRecord], object] | None = None,
) -> ExportReport:
    """Write every conversation to ``target`` and return what was done.

    The memory it takes does not grow with the number of conversations.

    Args:
        client: An open client. Others may use it meanwhile, and share its pace.
        target: A file name that ends in ``.jsonl``, or a :class:`Sink` of your own.
        limit: Results per page.
        inbox_id: Only this inbox.
        stage_status: Only this status.
        on_progress: Called after each page.
        on_odd_record: Called with each record that does not have the documented shape. It is
            written and counted all the same.

    Raises:
        ConfigurationError: An argument is wrong, before anything was asked or written.
        TargetError: The target cannot be written.
        CekatError: A request failed. The target is left unfinished, and does not look finished.
    """
    sink = sink_for(target) if isinstance(target, (str, os.PathLike)) else target
    tally = _Tally(client, on_odd_record)
    pages = client.conversations.pages(
        limit=limit, inbox_id=inbox_id, stage_status=stage_status, on_odd_record=tally.odd
    )
    try:
        await sink.open()
        async with aclosing(pages):
            async for page in pages:
                await sink.write(page)
                tally.count(page)
                if on_progress is not None:
                    on_progress(tally.progress())
        await sink.finish()
    except BaseException:
        # Whatever it was, a cancellation too: the file is closed before it goes on its way.
        await sink.abort()
        raise
    return ExportReport(target=sink.target, **msgspec.structs.asdict(tally.progress()))


class _Tally:
    """Counts what an export does."""

    def __init__(
        self, client: CekatClient, on_odd_record: Callable[[OddRecord], object] | None
    ) -> None:
        self._client = client
        self._on_odd_record = on_odd_record
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._requests_before = client.traffic.requests
        self._retries_before = client.traffic.retries
        self._limiter_before = client.limiter.snapshot()
        self._conversations = 0
        self._pages = 0
        self._odd_records = 0

    def odd(self, record: OddRecord) -> None:
        self._odd_records += 1
        if self._on_odd_record is not None:
            self._on_odd_record(record)

    def count(self, page: ConversationPage) -> None:
        self._pages += 1
        self._conversations += len(page.items) + len(page.odd_records)

    def progress(self) -> ExportProgress:
        limiter, before = self._client.limiter.snapshot(), self._limiter_before
        return ExportProgress(
            conversations=self._conversations,
            pages=self._pages,
            requests=self._client.traffic.requests - self._requests_before,
            retries=self._client.traffic.retries - self._retries_before,
            refused=limiter.refused - before.refused,
            seconds=self._clock() - self._began,
            odd_records=self._odd_records,
            limit=limiter.limit,
            per=limiter.per,
            # Without a pace both are infinite, and their difference is no number.
            earned=0.0 if limiter.limit is None else limiter.earned - before.earned,
        )
