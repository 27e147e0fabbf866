"""The command ``cekat export`` at work, with all that a person is to see of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from cekat_async import TargetError
from cekat_async.cli import show
from cekat_async.cli.connecting import open_client
from cekat_async.cli.exits import ExitCode
from cekat_async.cli.paces import paces
from cekat_async.cli.places import checkpoint_of
from cekat_async.cli.progress import Standing, kept_fresh, progress_display
from cekat_async.cli.running import drop_stdout, run_async
from cekat_async.cli.summary import count, failures, summary
from cekat_async.cli.wanted import STDOUT
from cekat_async.export.runner import Export
from cekat_async.export.sinks.base import CHECKPOINT
from cekat_async.export.sinks.databases.base import DatabaseSink
from cekat_async.export.sinks.databases.tables import MANIFESTS
from cekat_async.export.sinks.files.stdout import StdoutSink
from cekat_async.export.sinks.registry import sink_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cekat_async import CekatClient, MalformedRecord
    from cekat_async.cli.options import Connection
    from cekat_async.cli.voice import Voice
    from cekat_async.cli.wanted import Wanted
    from cekat_async.export import Manifest, Records, Sink

__all__ = ["export_to_the_end"]

_ODD_RECORDS_SAID = 5


def export_to_the_end(voice: Voice, asked: Wanted, connection: Connection) -> ExitCode:
    """Export what was asked for, and return the exit code for how it ended."""
    job = _Exporting(voice, asked)
    code = run_async(job.run(connection), voice)
    if code not in {ExitCode.DONE, ExitCode.PARTIAL}:
        job.say_what_is_left(code)
    return code


class _AloneOnScreen(StdoutSink):
    """Standard output, which may come to the same terminal as the moving line."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[], None] | None = None

    def publish(self, records: Records, manifest: Manifest) -> Manifest:
        """Write all records, when nothing moves any more."""
        if self.before is not None:
            self.before()
        return super().publish(records, manifest)


class _Exporting:
    """An export with all that a person is to see of it."""

    def __init__(self, voice: Voice, asked: Wanted) -> None:
        self._voice = voice
        self._asked = asked
        self._sink: Sink | None = None
        self._export: Export | None = None
        self._odd_records = 0

    async def run(self, connection: Connection) -> ExitCode:
        """Export, and return the exit code for how it ended; what goes wrong is raised."""
        try:
            await self._run(connection)
        except asyncio.CancelledError:
            # The target is there: what comes now, while the client closes, comes too late.
            if self._export is None or self._export.report is None:
                raise
        except TargetError:
            if self._asked.target == STDOUT:
                drop_stdout()
            raise
        return self._say_what_was_done()

    async def _run(self, connection: Connection) -> None:
        asked = self._asked
        alone = _AloneOnScreen() if asked.target == STDOUT else None
        self._sink = sink = alone or sink_for(asked.target, **asked.sink_options)
        async with open_client(connection, concurrency=asked.concurrency) as client:
            self._export = export = Export(
                client,
                sink,
                filters=asked.filters,
                account=asked.account,
                checkpoint=self._checkpoint(sink),
            )
            display = progress_display(self._voice, lambda: _standing(export, client, sink))
            if alone:
                alone.before = display.leave
            with display, kept_fresh(display):
                await export.run(
                    incremental=asked.incremental,
                    restart=asked.restart,
                    replace=asked.replace,
                    allow_empty=asked.allow_empty,
                    concurrency=asked.concurrency,
                    on_progress=lambda _: display.refresh(),
                    on_malformed=self._say_odd,
                )

    def _checkpoint(self, sink: Sink) -> str | Path | None:
        """Return where the checkpoint is to be; ``None`` where the sink has the best place."""
        asked = self._asked
        if asked.checkpoint is not None or sink.checkpoint is not None or asked.target == STDOUT:
            return asked.checkpoint
        return checkpoint_of(sink.target, CHECKPOINT)

    def _say_odd(self, odd: MalformedRecord) -> None:
        self._odd_records += 1
        if self._odd_records <= _ODD_RECORDS_SAID:
            text = show.odd_record(odd)
        elif self._odd_records == _ODD_RECORDS_SAID + 1:
            text = "there are more malformed records: from here they are only counted"
        else:
            return
        self._voice.say(text, event="odd_record", level="warning")

    def _say_what_was_done(self) -> ExitCode:
        assert self._export is not None  # noqa: S101 - for type checkers
        report = self._export.report
        assert report is not None  # noqa: S101
        text = summary(report, self._manifest_in())
        self._voice.show(text, event="summary", **msgspec.structs.asdict(report) | paces(report))
        for line in failures(report.manifest):
            self._voice.say(line, event="partial", level="error")
        return ExitCode.DONE if report.is_complete else ExitCode.PARTIAL

    def _manifest_in(self) -> str | None:
        sink: object = self._sink
        if isinstance(sink, DatabaseSink):
            return f"in the table {MANIFESTS}"
        beside = self._sink and self._sink.checkpoint
        return f"{str(beside).removesuffix(CHECKPOINT)}.manifest.json" if beside else None

    def say_what_is_left(self, code: ExitCode) -> None:
        """Say what there is of an export that came to no end, and how to go on."""
        export = self._export
        if export is None or export.report is not None or not export.kept:
            return
        conversations = export.kept_conversations()
        self._voice.say(
            self._left(export, conversations, code),
            event="unfinished",
            level="warning",
            conversations=conversations,
            records=export.kept,
            checkpoint=None if export.checkpoint is None else str(export.checkpoint),
        )

    def _left(self, export: Export, conversations: int | None, code: ExitCode) -> str:
        if export.checkpoint is None:
            return "not finished, and nothing is kept: --checkpoint FILE would keep it"
        number = export.kept if conversations is None else conversations
        kept = count(number, "record" if conversations is None else "conversation")
        verb = "is" if number == 1 else "are"
        said = f"{kept} {verb} in {export.checkpoint}"
        if code is ExitCode.REPLACEMENT_REFUSED:
            return f"not written, but not lost: {said}"
        again = "the same command without --restart" if self._asked.restart else "the same command"
        return f"not finished: {said}; {again} goes on"


def _standing(export: Export, client: CekatClient, sink: Sink) -> Standing:
    return Standing(export.progress(), client.limiter.snapshot(), sink.target)
