"""The command ``cekat export``: runs the export, and reports its progress and its result."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING

import msgspec

from cekat_async import TargetError
from cekat_async.cli.client_factory import open_client
from cekat_async.cli.commands.export_metrics import ExportCounts, ExportMetrics
from cekat_async.cli.commands.export_progress import Snapshot, get_speed_fields, make_display, shown
from cekat_async.cli.commands.export_request import STDOUT
from cekat_async.cli.commands.export_summary import describe_failures, summarize
from cekat_async.cli.event_loop import run_async
from cekat_async.cli.exit_codes import ExitCode
from cekat_async.cli.formatting import describe_malformed, pluralize
from cekat_async.cli.paths import get_checkpoint_path
from cekat_async.cli.streams import discard_stdout
from cekat_async.export.runner import Export
from cekat_async.export.sinks.base import CHECKPOINT
from cekat_async.export.sinks.databases.base import DatabaseSink
from cekat_async.export.sinks.databases.tables import MANIFESTS
from cekat_async.export.sinks.files.stdout import StdoutSink
from cekat_async.export.sinks.registry import sink_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cekat_async import MalformedRecord
    from cekat_async.cli.commands.export_request import ExportRequest
    from cekat_async.cli.connection import Connection
    from cekat_async.cli.reporter import Reporter
    from cekat_async.export import Manifest, Records, Sink

__all__ = ["run_export"]

_MALFORMED_REPORTED = 5


def run_export(reporter: Reporter, request: ExportRequest, connection: Connection) -> ExitCode:
    """Run an export, report its result, and return the exit code."""
    command = _ExportCommand(reporter, request)
    code = ExitCode.FAULT
    try:
        code = run_async(command.run(connection), reporter)
    finally:
        command.end_metrics(code)
    if code not in {ExitCode.DONE, ExitCode.PARTIAL}:
        command.report_unfinished(code)
    return code


class _ScreenAwareStdoutSink(StdoutSink):
    """Writes to standard output, after stopping a progress line on the same terminal."""

    def __init__(self) -> None:
        super().__init__()
        self.before_publish: Callable[[], None] | None = None

    def publish(self, records: Records, manifest: Manifest) -> Manifest:
        if self.before_publish is not None:
            self.before_publish()
        return super().publish(records, manifest)


class _ExportCommand:
    """One export, with its progress, metrics and reports."""

    def __init__(self, reporter: Reporter, request: ExportRequest) -> None:
        self._reporter = reporter
        self._request = request
        self._sink: Sink | None = None
        self._export: Export | None = None
        self._counts = ExportCounts()
        self._metrics: ExportMetrics | None = None
        self._malformed = 0

    async def run(self, connection: Connection) -> ExitCode:
        try:
            await self._run(connection)
        except asyncio.CancelledError:
            # If the target is already published, the export has succeeded, even if closing is
            # interrupted.
            if self._export is None or self._export.report is None:
                raise
        except TargetError:
            if self._request.target == STDOUT:
                discard_stdout()
            raise
        return self._report_done()

    async def _run(self, connection: Connection) -> None:
        request = self._request
        stdout = _ScreenAwareStdoutSink() if request.target == STDOUT else None
        self._sink = sink = stdout or sink_for(request.target, **request.sink_options)
        # Create the metrics before reading the API key, so that they include the exit code of a
        # missing key.
        self._metrics = metrics = self._make_metrics(sink)
        async with open_client(
            connection,
            concurrency=request.run_options["concurrency"],
            hooks=self._counts if request.metrics_file else (),
        ) as client:
            self._export = export = Export(
                client,
                sink,
                filters=request.filters,
                account=request.account,
                checkpoint=self._find_checkpoint(sink),
            )
            display = make_display(
                self._reporter,
                lambda: Snapshot(export.progress(), client.limiter.snapshot(), sink.target),
            )
            if stdout:
                stdout.before_publish = display.stop
            async with metrics.written(export) if metrics else nullcontext():
                with shown(display):
                    await export.run(
                        **request.run_options,
                        on_progress=lambda _: display.refresh(),
                        on_malformed=self._report_malformed,
                    )

    def _make_metrics(self, sink: Sink) -> ExportMetrics | None:
        """Return the metrics of the run, or ``None`` without ``--metrics-file``."""
        if (path := self._request.metrics_file) is None:
            return None
        labels = {"target": sink.target}
        if self._request.account is not None:
            labels["account"] = self._request.account
        return ExportMetrics(self._reporter, path, self._counts, labels)

    def end_metrics(self, code: ExitCode) -> None:
        """Write the metrics file for the last time, if the run got far enough to have one."""
        if self._metrics is not None:
            self._metrics.end(code)

    def _find_checkpoint(self, sink: Sink) -> str | Path | None:
        """Return the path of the checkpoint, or ``None`` for the sink's default."""
        request = self._request
        if request.checkpoint is not None or sink.checkpoint or request.target == STDOUT:
            return request.checkpoint
        return get_checkpoint_path(sink.target, CHECKPOINT)

    def _report_malformed(self, record: MalformedRecord) -> None:
        self._malformed += 1
        if self._malformed <= _MALFORMED_REPORTED:
            text = describe_malformed(record)
        elif self._malformed == _MALFORMED_REPORTED + 1:
            text = "there are more malformed records: from now on they are only counted"
        else:
            return
        self._reporter.report(text, event="malformed", level="warning")

    def _report_done(self) -> ExitCode:
        report = self._export.report if self._export else None
        assert report is not None  # noqa: S101 - for type checkers
        text = summarize(report, self._describe_manifest())
        fields = msgspec.structs.asdict(report) | get_speed_fields(report)
        # Use the same form as in the manifest's file, because msgspec alone cannot encode its
        # positions.
        fields["manifest"] = msgspec.json.decode(report.manifest.to_json())
        self._reporter.report_block(text, event="summary", **fields)
        for line in describe_failures(report.manifest):
            self._reporter.report(line, event="partial", level="error")
        return ExitCode.DONE if report.is_complete else ExitCode.PARTIAL

    def _describe_manifest(self) -> str | None:
        sink: object = self._sink
        if isinstance(sink, DatabaseSink):
            return f"in the table {MANIFESTS}"
        checkpoint = self._sink and self._sink.checkpoint
        return f"{str(checkpoint).removesuffix(CHECKPOINT)}.manifest.json" if checkpoint else None

    def report_unfinished(self, code: ExitCode) -> None:
        """Report how many conversations an unfinished export has fetched, and how to resume it."""
        export = self._export
        if export is None or export.report is not None or not export.kept:
            return
        conversations = export.kept_conversations()
        self._reporter.report(
            self._describe_unfinished(export, conversations, code),
            event="unfinished",
            level="warning",
            conversations=conversations,
            records=export.kept,
            checkpoint=None if export.checkpoint is None else str(export.checkpoint),
        )

    def _describe_unfinished(
        self, export: Export, conversations: int | None, code: ExitCode
    ) -> str:
        if export.checkpoint is None:
            return "not finished, and nothing is saved. Use --checkpoint FILE to be able to resume"
        number = export.kept if conversations is None else conversations
        kept = pluralize(number, "record" if conversations is None else "conversation")
        where = f"{kept} {'is' if number == 1 else 'are'} in {export.checkpoint}"
        if code is ExitCode.REPLACEMENT_REFUSED:
            return f"nothing was written, but nothing is lost: {where}"
        restarts = self._request.run_options["restart"]
        again = "the same command without --restart" if restarts else "the same command again"
        return f"not finished: {where}. To resume, run {again}"
