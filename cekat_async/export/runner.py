"""The export: open, set up, collect, publish."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cekat_async import Position
from cekat_async.config import require_count, require_text
from cekat_async.export.accounts import prepare_export
from cekat_async.export.checkpoint import Checkpoint, Job, count_conversations
from cekat_async.export.checks import Policy, build_filters, require_own_checkpoint
from cekat_async.export.collecting import Collector
from cekat_async.export.event_emitter import EventEmitter
from cekat_async.export.existing_target import ExistingTarget
from cekat_async.export.opening import OpenedExport, name_target, open_export
from cekat_async.export.progress import ProgressTracker
from cekat_async.export.publishing import Publication
from cekat_async.export.report import ExportProgress, ExportReport, build_report
from cekat_async.export.sinks.base import Interruptible
from cekat_async.export.sinks.registry import sink_for
from cekat_async.export.worker import Worker, report_until_done
from cekat_async.resources.listing import takes_page_size

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Callable, Iterable
    from datetime import timedelta
    from typing import Any
    from uuid import UUID

    from cekat_async import CekatClient, ConversationPage, MalformedRecord, StageStatus
    from cekat_async.export.manifest import Filters, Manifest
    from cekat_async.export.sinks.base import Sink

__all__ = ["Export", "export_conversations"]


@takes_page_size
async def export_conversations(  # noqa: PLR0913 - one function with many options
    client: CekatClient,
    target: str | os.PathLike[str] | Sink,
    *,
    inbox_ids: Iterable[str | UUID] = (),
    by_inbox: bool = False,
    stage_status: StageStatus | str | None = None,
    since: datetime | timedelta | None = None,
    until: datetime | timedelta | None = None,
    incremental: bool = False,
    restart: bool = False,
    replace: bool = False,
    allow_empty: bool = False,
    page_size: int = 100,
    concurrency: int = 4,
    account: str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    on_progress: Callable[[ExportProgress], object] | None = None,
    on_malformed: Callable[[MalformedRecord], object] | None = None,
) -> ExportReport:
    """Export each conversation exactly once to ``target``, and return a report.

    The fetched records are stored in a checkpoint, a file next to the target. If the export is
    stopped or killed, run the same call again: it resumes from its checkpoint. The target appears
    at the end, when it is complete. It contains every conversation that existed when the export
    began and still exists, whatever changes in the meantime. Memory use does not grow with the
    number of conversations.

    Args:
        client: An open client. Other tasks may use the client at the same time, and share its rate.
        target: A file name (``.jsonl``, ``.jsonl.gz``, ``.jsonl.zst``, ``.csv``, ``.parquet``,
            ``.sqlite``, ``.duckdb``), a folder (``….parquet/``), a database (``postgresql://…``),
            ``-`` for standard output, or your own :class:`Sink`.
        inbox_ids: The ids of the inboxes to export, as text or as :class:`uuid.UUID`. Each inbox is
            a separate walk. Default: all conversations of the account.
        by_inbox: Whether to walk each inbox of the account separately, so that one failing inbox
            does not stop the others. The export then has no conversations of inboxes that the
            account does not list. Default ``False``.
        stage_status: Export only conversations with this status. Default: any status.
        since: Export only conversations whose last activity was at this moment or later. Pass a
            datetime with a time zone, or a timedelta before the export began. Up to a page of older
            conversations may be included. If the listing is not in order of activity, the export
            includes more of them and logs a warning.
        until: Export only conversations whose last activity was at this moment or earlier. Same
            forms as ``since``.
        incremental: Whether to fetch only what has changed since the last export to this target
            began, and to merge it into the target. The first run fetches all. Default ``False``.
        restart: Whether to discard the records of an unfinished export. Default ``False``.
        replace: Whether to replace a target that contains an export of another account or with
            other filters. The export then keeps no old conversations, even if some inboxes fail.
            The option has no effect on databases, which are never replaced. Default ``False``.
        allow_empty: Whether an export without conversations may replace a target that has some.
            Default ``False``.
        page_size: The number of conversations per request. Default 100, the API's maximum.
        concurrency: The maximum number of requests in progress at once. The default, 4, uses the
            whole quota unless a response takes longer than 0.8 seconds. With 1, records are in the
            order of the listing, and records that were fetched again are last.
        account: A name for the account in the manifest. Default: the API's host and a fingerprint
            of the key. The export does not need the name to recognize the account.
        checkpoint: The file for the fetched records. Default: next to the target. For a database on
            a server, for standard output, and for most custom sinks, the default is a temporary
            file, from which no other run can resume.
        on_progress: A function that is called with an :class:`ExportProgress` whenever more records
            have been stored, and several times a second while the export writes the target.
        on_malformed: A function that is called with each malformed record. The export also writes
            and counts this record.

    Raises:
        ConfigurationError: An argument is wrong. Nothing was requested or written.
        CheckpointError: The checkpoint belongs to another export, or is broken.
        TargetBusyError: Another export uses the target or the checkpoint.
        ReplacementRefusedError: The new content of the target might be worse than the old content.
            The target is unchanged, and the checkpoint has the fetched records. The error's
            ``option`` is the argument that allows the replacement.
        TargetError: The target or the checkpoint cannot be written.
        InboxesFailedError: Some inboxes failed, and may succeed later. The same call resumes.
        CekatError: A request failed. The same call resumes the export.

    Examples:
        >>> report = await export_conversations(cekat, "conversations.jsonl", incremental=True)
        >>> report.conversations, report.is_complete
        (250, True)
    """
    export = Export(
        client,
        target,
        filters=build_filters(inbox_ids, stage_status, by_inbox=by_inbox, since=since, until=until),
        account=account,
        checkpoint=checkpoint,
    )
    return await export.run(
        incremental=incremental,
        restart=restart,
        replace=replace,
        allow_empty=allow_empty,
        page_size=page_size,
        concurrency=concurrency,
        on_progress=on_progress,
        on_malformed=on_malformed,
    )


def _ignore(_: object) -> None:
    """Ignore a report."""


class Export:
    """One export, which :func:`export_conversations` runs once.

    Attributes:
        report: The result. ``None`` until the target is complete.
    """

    def __init__(
        self,
        client: CekatClient,
        target: str | os.PathLike[str] | Sink,
        *,
        filters: Filters,
        account: str | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> None:
        self.report: ExportReport | None = None
        self._client = client
        self._sink: Sink = sink_for(target)
        self._filters = filters
        self._account = client.account if account is None else require_text("account", account)
        path = self._sink.checkpoint if checkpoint is None else Path(checkpoint)
        self._is_lasting = path is not None
        self._checkpoint = Checkpoint(path)
        if checkpoint is not None:
            require_own_checkpoint(Path(checkpoint), self._sink)
        self._worker = Worker()
        self._events = EventEmitter(client)
        self._tracker: ProgressTracker | None = None
        self._collector: Collector | None = None

    def progress(self) -> ExportProgress:
        """Return the current progress. This also works while the export waits or publishes."""
        return self._tracker.progress() if self._tracker else ExportProgress()

    @property
    def kept(self) -> int:
        """The number of records in the checkpoint. A record that was fetched twice counts twice."""
        return self._collector.stored if self._collector else 0

    @property
    def checkpoint(self) -> Path | None:
        """The checkpoint that another run can resume from. ``None`` if it is temporary or empty."""
        return self._checkpoint.path if self._is_lasting and self.kept and not self.report else None

    def kept_conversations(self) -> int | None:
        """Return how many different conversations are in the checkpoint.

        Return ``None`` if there is no checkpoint, or if counting takes too long. The method blocks
        for up to a few seconds. Call it only after :meth:`run` has ended.
        """
        return None if self.checkpoint is None else count_conversations(self.checkpoint)

    async def run(
        self,
        *,
        page_size: int = 100,
        concurrency: int = 4,
        on_progress: Callable[[ExportProgress], object] | None = None,
        on_malformed: Callable[[MalformedRecord], object] | None = None,
        **policy: bool,
    ) -> ExportReport:
        """Run the export with the arguments of :func:`export_conversations`."""
        on_progress, on_malformed = on_progress or _ignore, on_malformed or _ignore
        try:
            # Check the page size now, before anything is written.
            require_count("page_size", page_size)
            require_count("concurrency", concurrency)
            checked = Policy(**policy)
            with self._events.export(self._filters, checked, lambda: self.report):
                await self._run_steps(checked, page_size, concurrency, on_progress, on_malformed)
        finally:
            try:
                await self._worker.do(self._close)
            finally:
                # End the thread even if the export was cancelled while closing.
                self._worker.end()
        assert self.report is not None  # noqa: S101 - for type checkers
        return self.report

    async def _run_steps(
        self,
        policy: Policy,
        page_size: int,
        concurrency: int,
        on_progress: Callable[[ExportProgress], object],
        on_malformed: Callable[[MalformedRecord], object],
    ) -> None:
        tracker = self._tracker = ProgressTracker(self._client)
        opened = await self._worker.do_interruptibly(
            lambda: self._open(policy), self._interrupt_sink
        )
        job = await prepare_export(
            self._client,
            self._checkpoint,
            self._worker,
            opened,
            page_size,
            on_malformed,
            is_comparable=self._is_lasting or bool(opened.last),
        )
        tracker.resume(await self._worker.do(self._checkpoint.counts), opened.expected)
        async with tracker.watch_limiter():
            collector = self._collector = Collector(
                self._checkpoint, self._worker, tracker, on_progress
            )
            with self._events.step("collect", collector.count_new):
                pages = await self._open_walks(job.filters, page_size, concurrency, on_malformed)
                await collector.collect(pages)
                partitions = await self._worker.do(self._checkpoint.partitions)
                self._events.end_partitions(partitions.values(), collector.failures)
            with self._events.step("publish", lambda: tracker.published or 0):
                await self._publish(tracker, opened, job, on_progress)

    def _open(self, policy: Policy) -> OpenedExport:
        began = datetime.now(UTC)
        wanted = Job(
            account=self._account,
            key_fingerprint=self._client.account,
            target=name_target(self._checkpoint.path, self._sink),
            filters=self._filters.resolve(began),
            began=began,
        )
        check = self._worker.check
        return open_export(self._checkpoint, self._sink, wanted, policy, check)

    async def _open_walks(
        self,
        filters: Filters,
        page_size: int,
        concurrency: int,
        on_malformed: Callable[[MalformedRecord], object],
    ) -> AsyncGenerator[ConversationPage, None]:
        """Return the pages of all listings, starting from the positions in the checkpoint."""
        partitions = await self._worker.do(self._checkpoint.partitions)
        positions = {key: (one.position or Position()).again() for key, one in partitions.items()}
        options: dict[str, Any] = {
            "page_size": page_size,
            "stage_status": filters.stage_status,
            "since": filters.since_time,
            "until": filters.until_time,
            "segments": concurrency,
            "on_malformed": on_malformed,
        }
        inbox_ids = [inbox_id for inbox_id in positions if inbox_id is not None]
        if not inbox_ids:
            listing = self._client.conversations.list(**options)
        else:
            listing = self._client.conversations.across(
                inbox_ids, concurrency=concurrency, keep_going=len(inbox_ids) > 1, **options
            )
        return self._events.watch(listing.tracked_pages(positions), positions)

    async def _publish(
        self,
        tracker: ProgressTracker,
        opened: OpenedExport,
        job: Job,
        on_progress: Callable[[ExportProgress], object],
    ) -> None:
        """Write all records to the sink, and then remove the checkpoint."""
        await self._worker.do(self._checkpoint.put_counts, tracker.totals())
        tracker.published = 0
        # Read the target again, because hours may have passed since it was opened.
        existing = ExistingTarget(self._sink, opened.last, self._worker.check)

        def note_batch(count: int) -> None:
            self._worker.check()
            tracker.published = (tracker.published or 0) + count
            tracker.to_publish = publication.size

        def note_compared(count: int) -> None:
            self._worker.check()
            tracker.compared += count

        publication = Publication(
            self._checkpoint, self._sink, existing, opened.policy, note_batch, note_compared
        )
        published: list[Manifest] = []

        def work() -> None:
            published.append(publication.run(job))
            self._checkpoint.close(done=True)

        publishing = asyncio.create_task(self._worker.do_interruptibly(work, self._interrupt))
        try:
            await report_until_done(publishing, lambda: on_progress(tracker.progress()))
        finally:
            # Report the result even if a cancellation arrived after publishing.
            for manifest in published:
                self.report = build_report(tracker.progress(), manifest, self._sink.target)

    def _interrupt(self) -> None:
        self._checkpoint.interrupt()
        self._interrupt_sink()

    def _interrupt_sink(self) -> None:
        if isinstance(self._sink, Interruptible):
            self._sink.interrupt()

    def _close(self) -> None:
        self._sink.close()
        self._checkpoint.close()
