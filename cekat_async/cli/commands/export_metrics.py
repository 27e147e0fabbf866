"""The metrics of an export job, for monitoring. They are computed from events."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from cekat_async import ReplyReceived, RequestFailed, RequestSent, RetryScheduled
from cekat_async.cli.commands.metrics_file import Gauge, MetricsFile
from cekat_async.cli.exit_codes import ExitCode
from cekat_async.export import CatchUpBegun, ExportProgress, ExportStepBegun, PartitionEnded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping
    from pathlib import Path

    from cekat_async import HookEvent
    from cekat_async.cli.reporter import Reporter
    from cekat_async.export.runner import Export

__all__ = ["ExportCounts", "ExportMetrics"]

_SECONDS_BETWEEN_WRITES = 15.0
_TOO_MANY_REQUESTS = 429
_WAIT_REASONS = ("quota", "pause", "backoff", "concurrency")
_EXIT_CODE = "cekat_export_last_exit_code"
_SUCCESS = "cekat_export_last_success_timestamp_seconds"


class ExportCounts:
    """A hook that counts the requests, retries and waits of an export.

    Attributes:
        requests: The number of attempts, by status; ``"none"`` for attempts without a reply.
        retries: The number of retries.
        waited: The total time that calls waited, in seconds, by reason.
        partitions: The number of partitions that ended, by state: ``"complete"`` or ``"failed"``.
        catch_up_passes: The number of catch-up passes.
        begun: An event that is set when the export has locked its target and its checkpoint.
    """

    def __init__(self) -> None:
        self.requests = Counter[str]()
        self.retries = 0
        self.waited: dict[str, float] = dict.fromkeys(_WAIT_REASONS, 0.0)
        self.partitions = Counter(complete=0, failed=0)
        self.catch_up_passes = 0
        self.begun = asyncio.Event()

    @property
    def refusals(self) -> int:
        """The number of attempts with status 429."""
        return self.requests.get(str(_TOO_MANY_REQUESTS), 0)

    def __call__(self, event: HookEvent) -> None:
        """Count an event."""
        if isinstance(event, RequestSent | ExportStepBegun):
            # The first event of an export shows that it has its locks.
            self.begun.set()
        match event:
            case RequestSent(waited=waited):
                for reason, seconds in waited.items():
                    self.waited[reason] = self.waited.get(reason, 0.0) + seconds
            case ReplyReceived(status=status):
                self.requests[str(status)] += 1
            case RequestFailed():
                self.requests["none"] += 1
            case RetryScheduled():
                self.retries += 1
            case PartitionEnded(error=error):
                self.partitions["failed" if error else "complete"] += 1
            case CatchUpBegun():
                self.catch_up_passes += 1
            case _:
                pass


class ExportMetrics:
    """Writes the metrics of one run of an export to a file.

    The file is written when the export has locked its target, then every 15 seconds, and when the
    run ends. If another export has locked the target, the file belongs to that export, so this run
    does not write it. If the file cannot be written, a message reports this once, and the export
    continues.

    Args:
        reporter: The reporter for the message that the file cannot be written.
        path: The file.
        counts: The hook that counts the events of the export's client.
        labels: The labels that all metrics have.
    """

    def __init__(
        self,
        reporter: Reporter,
        path: Path,
        counts: ExportCounts,
        labels: Mapping[str, str],
    ) -> None:
        self._reporter = reporter
        self._path = path
        self._file = MetricsFile(path, labels)
        self._counts = counts
        self._progress = ExportProgress()
        self._began = time.time()
        self._last = {
            name: value
            for name in (_EXIT_CODE, _SUCCESS)
            if (value := self._file.read(name)) is not None
        }
        self._has_failed = False

    @asynccontextmanager
    async def written(self, export: Export) -> AsyncGenerator[None, None]:
        """Write the file regularly while the body of the ``with`` statement runs an export."""
        task = asyncio.create_task(self._write_regularly(export))
        try:
            yield
        finally:
            # Read the progress now, because it can be read only while the event loop runs.
            self._progress = export.progress()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def end(self, code: ExitCode) -> None:
        """Write the file for the last time, with the exit code of the run."""
        if code is ExitCode.TARGET_BUSY:
            return
        self._last[_EXIT_CODE] = float(code)
        if code is ExitCode.DONE:
            self._last[_SUCCESS] = time.time()
        self._write(self._file.render(self._list_gauges(is_running=False)))

    async def _write_regularly(self, export: Export) -> None:
        await self._counts.begun.wait()
        while True:
            self._progress = export.progress()
            text = self._file.render(self._list_gauges(is_running=True))
            # A slow disk must not block the event loop.
            await asyncio.to_thread(self._write, text)
            await asyncio.sleep(_SECONDS_BETWEEN_WRITES)

    def _write(self, text: str) -> None:
        try:
            self._file.write(text)
        except OSError as error:
            if not self._has_failed:
                self._reporter.report(
                    f"cannot write the metrics to {self._path}: {error.strerror or error}",
                    event="warning",
                    level="warning",
                )
            self._has_failed = True

    def _list_gauges(self, *, is_running: bool) -> Iterator[Gauge]:
        for name, text, value in self._list_numbers(is_running=is_running):
            if value is not None:
                yield Gauge(f"cekat_export_{name}", text, {"": value})
        counts = self._counts
        for name, text, values, label in (
            ("requests", "Requests of the run, by status.", dict(counts.requests), "status"),
            ("waited_seconds", "Seconds that requests waited.", counts.waited, "reason"),
            ("partitions", "Partitions that have ended.", dict(counts.partitions), "state"),
        ):
            yield Gauge(f"cekat_export_{name}", text, values, label)

    def _list_numbers(self, *, is_running: bool) -> Iterator[tuple[str, str, float | None]]:
        """Yield the name, the description and the value of each metric without a label."""
        counts, progress = self._counts, self._progress
        yield "running", "Whether the export is running.", int(is_running)
        yield "start_timestamp_seconds", "When the run began.", self._began
        yield "duration_seconds", "Duration of the run so far.", time.time() - self._began
        yield "retries", "Retries of the run.", counts.retries
        yield "refusals", "Requests of the run that got status 429.", counts.refusals
        yield "catch_up_passes", "Catch-up passes of the run.", counts.catch_up_passes
        yield "pages", "Pages that were fetched, over all runs.", progress.pages
        yield "records", "Records that were fetched, over all runs.", progress.fetched
        yield "malformed_records", "Malformed records among them.", progress.malformed_records
        yield "published_records", "Records that the target received.", progress.published or 0
        yield "quota_share_ratio", "The part of the quota that was used.", progress.quota_share
        yield "last_exit_code", "Exit code of the last run that ended.", self._last.get(_EXIT_CODE)
        yield (
            "last_success_timestamp_seconds",
            "When a run last ended with exit code 0.",
            self._last.get(_SUCCESS),
        )
