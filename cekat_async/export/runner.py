"""The export itself: walk, keep, publish."""

from __future__ import annotations

import logging
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cekat_async import ConversationPage, InboxesFailedError
from cekat_async.config import require_count, require_switch, require_text
from cekat_async.export.beginning import Beginning
from cekat_async.export.checkpoint import Checkpoint, Fetched, Job, count_conversations
from cekat_async.export.held import Held
from cekat_async.export.opening import Opened, open_export
from cekat_async.export.plan import (
    Policy,
    filters_of,
    is_same_selection,
    may_pass,
    require_own_checkpoint,
)
from cekat_async.export.publishing import Publication
from cekat_async.export.report import ExportProgress, ExportReport
from cekat_async.export.saver import Saver
from cekat_async.export.sinks.registry import sink_for
from cekat_async.export.tally import Tally
from cekat_async.export.worker import Worker
from cekat_async.redaction import readable
from cekat_async.resources.arguments import takes_page_size

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence
    from typing import Any
    from uuid import UUID

    from cekat_async import (
        CekatClient,
        CekatError,
        Conversation,
        Listing,
        MalformedRecord,
        StageStatus,
    )
    from cekat_async.export.checkpoint import Totals
    from cekat_async.export.manifest import Filters, Manifest
    from cekat_async.export.sinks.base import Sink

__all__ = ["Export", "export_conversations"]

_log = logging.getLogger("cekat_async")

# Pages that may wait for the disk: more than one only where the API is faster than that.
_MOST_WAITING = 16


@takes_page_size
async def export_conversations(  # noqa: PLR0913 - one door with many switches, all optional
    client: CekatClient,
    target: str | os.PathLike[str] | Sink,
    *,
    inbox_ids: Iterable[str | UUID] = (),
    by_inbox: bool = False,
    stage_status: StageStatus | str | None = None,
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
    """Bring every conversation to ``target``, each once, and return what was done.

    Until all have come they are in a checkpoint, a file beside the target. Stopped or killed at any
    moment, the same call goes on from there. The target is written at the end, and is visible when
    it is whole. What moves in the account meanwhile is followed: every conversation that was there
    when the export began, and still is, is in the target, as it was then or later. The memory that
    it takes does not grow with their number.

    Args:
        client: An open client. Others may use it meanwhile, and share its pace.
        target: A file name (``.jsonl``, ``.jsonl.gz``, ``.jsonl.zst``, ``.csv``, ``.parquet``,
            ``.sqlite``, ``.duckdb``), a folder (``….parquet/``), a database (``postgresql://…``),
            ``-`` for standard output, or a :class:`Sink` of your own.
        inbox_ids: Only these inboxes, each walked by itself: ids as text, or as
            :class:`uuid.UUID`.
        by_inbox: Walk each inbox of the account by itself, so that one that fails does not end the
            others. Conversations of an inbox that the account does not list are not in it.
        stage_status: Only this status.
        incremental: Bring only what has moved since the last export to this target began, and
            merge it into what is there. Where there was none, bring everything.
        restart: Forget what an unfinished export has brought.
        replace: Replace the target even if it holds an export of another account or with other
            filters. Nothing is carried over from it, even if some inboxes failed. It has no effect
            on a database, which is never replaced.
        allow_empty: Let an export that finds no conversation replace a target that holds some.
        page_size: Conversations per request.
        concurrency: How many requests are under way at once. The default is enough for the
            documented quota unless an answer takes longer than 0.8 seconds. With 1, records come
            in the order of the listing, but those that came again behind all others.
        account: A name for the account, for people who read the manifest. Default: its host, and
            a few digits that follow from the key. The account is recognized without it.
        checkpoint: Where to keep what has come until the export is whole. Default: beside the
            target. Where there is no such place (a database elsewhere, standard output, most sinks
            of your own) the default is a temporary file, from which no other run can go on.
        on_progress: Called whenever more is durable.
        on_malformed: Called with each record that does not have the documented shape. It is
            exported and counted all the same.

    Raises:
        ConfigurationError: An argument is wrong, before anything was asked or written.
        CheckpointError: There is a checkpoint, and it is of another export.
        TargetBusyError: Another export is writing the target, or has the checkpoint.
        ReplacementRefusedError: The target would be replaced by something that may be worse. It
            is unchanged, and what was fetched is in the checkpoint. The error's ``option`` is the
            argument that allows it.
        TargetError: The target or the checkpoint cannot be written.
        InboxesFailedError: Some inboxes failed in a way that passes: the same call goes on.
        CekatError: A request failed; the same call goes on.
    """
    export = Export(
        client,
        target,
        filters=filters_of(inbox_ids, stage_status, by_inbox=by_inbox),
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


def _tell_nobody(_: object) -> None:
    """Take no notice."""


class Export:
    """One export: what :func:`export_conversations` runs, once.

    Attributes:
        report: What was done, from the moment on when the target is whole; until then ``None``.
        kept: How many records are in the checkpoint. A conversation that was fetched again counts
            again.
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
        self.kept = 0
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
        self._tally: Tally | None = None
        self._on_progress: Callable[[ExportProgress], object] = _tell_nobody

    def progress(self) -> ExportProgress:
        """Return how far it has come, as of now: also while it waits, and while it publishes."""
        return self._tally.progress() if self._tally else ExportProgress()

    @property
    def checkpoint(self) -> Path | None:
        """The file that another run can go on from; ``None`` if there is none, or nothing in it."""
        return self._checkpoint.path if self._is_lasting and self.kept and not self.report else None

    def kept_conversations(self) -> int | None:
        """Return how many different conversations are in the checkpoint.

        Call it after :meth:`run` has ended, because it opens the checkpoint. ``None`` if there is
        no checkpoint, or if counting takes too long. It blocks for at most some seconds.
        """
        return None if self.checkpoint is None else count_conversations(self.checkpoint)

    async def run(
        self,
        *,
        incremental: bool = False,
        restart: bool = False,
        replace: bool = False,
        allow_empty: bool = False,
        page_size: int = 100,
        concurrency: int = 4,
        on_progress: Callable[[ExportProgress], object] | None = None,
        on_malformed: Callable[[MalformedRecord], object] | None = None,
    ) -> ExportReport:
        """Bring everything to the target; the arguments are those of the function."""
        self._on_progress = on_progress or _tell_nobody
        told = on_malformed or _tell_nobody
        try:
            # Where they are used it would be too late: something has been written by then.
            require_count("page_size", page_size)
            require_count("concurrency", concurrency)
            policy = Policy(
                incremental=incremental,
                restart=restart,
                replace=require_switch("replace", replace),
                allow_empty=require_switch("allow_empty", allow_empty),
            )
            tally = self._tally = Tally(self._client)
            opened = await self._worker.do(self._open, policy)
            beginning = Beginning(self._client, self._checkpoint, self._worker, opened)
            job = await beginning.run(
                self._account, page_size, told, is_comparable=self._is_lasting or bool(opened.last)
            )
            await self._resume(tally, opened)
            async with tally.looking():
                await self._collect(tally, page_size, concurrency, told)
                await self._publish(tally, opened, job)
        finally:
            try:
                await self._worker.do(self._close)
            finally:
                # Also when it was in this very moment that it was cancelled.
                self._worker.end()
        assert self.report is not None  # noqa: S101 - for type checkers
        return self.report

    def _open(self, policy: Policy) -> Opened:
        wanted = Job(
            account=self._account,
            key_fingerprint=self._client.account,
            target=self._name_of_target(),
            filters=self._filters,
            began=datetime.now(UTC),
        )
        check = self._worker.check
        return open_export(self._checkpoint, self._sink, wanted, policy, check)

    def _name_of_target(self) -> str:
        """Return what a checkpoint knows the target by, from whatever folder it is called."""
        beside = self._sink.checkpoint
        if beside is None:
            return self._sink.target
        # One that stands beside its target goes with it, wherever both are moved.
        is_beside = self._checkpoint.path.absolute() == beside.absolute()
        return readable(beside.name if is_beside else str(beside.absolute()))

    async def _resume(self, tally: Tally, opened: Opened) -> None:
        """Let the counting go on where earlier runs have left it."""
        before = await self._worker.do(self._checkpoint.totals)
        self.kept = before.records
        last = opened.last
        is_same = last and is_same_selection(last.filters, self._filters) and not opened.base
        tally.resume(before, last.conversations if last and is_same else None)

    async def _collect(
        self,
        tally: Tally,
        page_size: int,
        concurrency: int,
        on_malformed: Callable[[MalformedRecord], object],
    ) -> None:
        """Walk all listings to their ends, and keep what comes."""
        stands = await self._worker.do(self._checkpoint.stands)
        listing = self._listing(stands, concurrency, page_size=page_size, on_malformed=on_malformed)
        pages = listing.tracked_pages(
            {inbox_id: stand.position.again() for inbox_id, stand in stands.items()}
        )
        failed: Sequence[CekatError] = ()
        try:
            await self._keep_all(tally, pages)
        except InboxesFailedError as error:
            # Nothing at all is no export: it would take the place of one that is whole.
            if any(map(may_pass, error.errors)) or len(error.errors) == len(stands):
                raise
            failed = error.errors
        await self._worker.do(self._note_failures, failed)

    def _listing(
        self, inbox_ids: Collection[str | None], walkers: int, **options: Any
    ) -> Listing[Conversation, ConversationPage]:
        """Return all conversations of the account, or those of some inboxes."""
        options |= {"segments": walkers, "stage_status": self._filters.stage_status}
        wanted = [inbox_id for inbox_id in inbox_ids if inbox_id is not None]
        if not wanted:
            return self._client.conversations.list(**options)
        return self._client.conversations.across(
            wanted, concurrency=walkers, keep_going=len(wanted) > 1, **options
        )

    async def _keep_all(self, tally: Tally, pages: AsyncGenerator[ConversationPage, None]) -> None:
        saver = Saver[ConversationPage](lambda batch: self._keep(tally, batch), _MOST_WAITING)
        try:
            async with aclosing(pages):
                async for page in pages:
                    await saver.put(page)
        finally:
            await saver.end()

    async def _keep(self, tally: Tally, batch: list[ConversationPage]) -> None:
        for page in batch:
            tally.count(page)
        await self._worker.do(self._keep_now, batch, tally.totals())
        self._on_progress(tally.progress())

    def _keep_now(self, pages: list[ConversationPage], totals: Totals) -> None:
        self._checkpoint.keep([_fetched(page) for page in pages], totals)
        # Here, where it is so although who waits for it is cancelled.
        self.kept = totals.records

    def _note_failures(self, failed: Sequence[CekatError]) -> None:
        errors = {error.inbox_id: str(error) for error in failed}
        for inbox_id, stand in self._checkpoint.stands().items():
            if stand.error != errors.get(inbox_id):
                self._checkpoint.fail(inbox_id, errors.get(inbox_id))

    async def _publish(self, tally: Tally, opened: Opened, job: Job) -> None:
        """Give all records to the sink, and let go of the checkpoint when it has them."""
        await self._worker.do(self._checkpoint.put_totals, tally.totals())
        # Hours may have passed since the target was looked at.
        held = Held(self._sink, opened.last, self._worker.check)

        def note_batch(count: int) -> None:
            self._worker.check()
            tally.published, tally.to_publish = (tally.published or 0) + count, publication.size

        publication = Publication(self._checkpoint, self._sink, held, opened.policy, note_batch)
        published: list[Manifest] = []

        def work() -> None:
            published.append(publication.run(job))
            self._checkpoint.close(done=True)

        try:
            await self._worker.do(work)
        finally:
            # Who was cancelled meanwhile can tell whether it was too late.
            for manifest in published:
                self.report = _report(tally.progress(), manifest, self._sink.target)

    def _close(self) -> None:
        self._sink.close()
        self._checkpoint.close()


def _report(progress: ExportProgress, manifest: Manifest, target: str) -> ExportReport:
    _log.debug(
        "%d pages brought %d records, %d of them again, in %d requests",
        *(manifest.pages, manifest.fetched, manifest.repeats, manifest.requests),
    )
    facts = msgspec.structs.asdict(progress)
    facts["conversations"] = manifest.fetched - manifest.repeats
    return ExportReport(target=target, manifest=manifest, **facts)


def _fetched(page: ConversationPage) -> Fetched:
    lines = page.lines
    names = [line if id_ is None else id_ for id_, line in zip(page.ids, lines, strict=True)]
    assert page.position is not None  # noqa: S101 - every page of a tracked walk has one
    return Fetched(page.inbox_id, lines, names, page.position)
