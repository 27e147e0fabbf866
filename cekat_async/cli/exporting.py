"""The command ``cekat export``: what it is asked for, and all that a person is to see of it."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from cekat_async import TargetError
from cekat_async.cli import show
from cekat_async.cli.exits import ExitCode
from cekat_async.cli.options import is_typed, setting, strength, switch, with_options
from cekat_async.cli.places import checkpoint_of
from cekat_async.cli.progress import Standing, kept_fresh, progress_display
from cekat_async.cli.running import drop_stdout
from cekat_async.cli.summary import count, failures, summary
from cekat_async.export.database import MANIFESTS, DatabaseSink
from cekat_async.export.file_sink import CHECKPOINT
from cekat_async.export.manifest import Filters
from cekat_async.export.plan import filters_of
from cekat_async.export.runner import Export
from cekat_async.export.stdout import StdoutSink
from cekat_async.export.targets import options_of, sink_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cekat_async import CekatClient, OddRecord
    from cekat_async.cli.options import Connection
    from cekat_async.cli.voice import Voice
    from cekat_async.export import Manifest, Records, Sink

__all__ = ["Exporting", "Wanted", "export_options", "wanted"]

F = TypeVar("F", bound="Callable[..., Any]")

_ODD_RECORDS_SAID = 5
_STDOUT = "-"
_TABLE = "conversations"

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    setting(
        "--inbox", metavar="ID", multiple=True, help="Only this inbox; may be given several times."
    ),
    switch("--by-inbox", "Walk each inbox by itself: one that fails ends no other."),
    setting(
        "--status",
        metavar="STATUS",
        help="Only this status: assigned, resolved, pending, open.",
    ),
    setting(
        "--incremental/--full",
        default=False,
        help="Bring what has moved since the last export, or all.  [default: full]",
    ),
    click.option(
        "--restart", is_flag=True, help="Forget what a stopped export has brought, and begin anew."
    ),
    setting(
        "--concurrency",
        type=click.IntRange(min=1),
        default=4,
        show_default=True,
        metavar="N",
        help="Requests under way at once.",
    ),
    setting("--account", metavar="NAME", help="A name for the account, for the manifest."),
    setting(
        "--checkpoint",
        metavar="FILE",
        help="Where to keep what has come until all has.  [default: beside the target]",
    ),
    setting("--table", metavar="NAME", help=f"The table in a database.  [default: {_TABLE}]"),
    switch("--keep-formulas", "In CSV, leave cells as they are that a spreadsheet would run."),
)


def export_options(command: F) -> F:
    """Add the options that the other commands do not have."""
    return with_options(_OPTIONS, command)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be exported, where to, and how."""

    target: str
    filters: Filters
    sink_options: dict[str, Any]
    incremental: bool
    restart: bool
    concurrency: int
    account: str | None
    checkpoint: str | None


def wanted(context: click.Context, **options: Any) -> Wanted:
    """Return what the options of ``cekat export`` come to.

    Raises:
        click.UsageError: One was given that has no say beside the others.
        ConfigurationError: The target is none, or the filters make no sense.
    """
    target = options["target"]
    # Before Arrow is imported: its own allocators keep some ten megabytes more.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    _require_meant(context, target, options)
    names = ("incremental", "restart", "concurrency", "checkpoint")
    return Wanted(
        target=target,
        filters=_filters(context, options),
        sink_options=_sink_options(context, target, options),
        account=_account(context, options["account"]),
        **{name: options[name] for name in names},
    )


def _filters(context: click.Context, options: dict[str, Any]) -> Filters:
    inboxes, by_inbox = options["inbox"], options["by_inbox"]
    if inboxes and by_inbox:
        # The one that was typed means that the other one, of the settings, is not wanted now.
        lead = strength(context, "inbox") - strength(context, "by_inbox")
        inboxes, by_inbox = inboxes if lead >= 0 else (), lead <= 0
    return filters_of(inboxes, options["status"], by_inbox=by_inbox)


def _account(context: click.Context, account: str | None) -> str | None:
    """Return the name of the account; a sandbox has another port and another key each time."""
    if not context.params["sandbox"] or is_typed(context, "account"):
        return account
    return f"sandbox of {context.params['sandbox_size']}"


def _require_meant(context: click.Context, target: str, options: dict[str, Any]) -> None:
    """Refuse what cannot be meant, with a sandbox or with standard output."""
    if context.params["sandbox"] and not is_typed(context, "target"):
        raise click.UsageError(
            "--sandbox needs a TARGET that is typed: that of the settings is for what is real.",
            context,
        )
    if target != _STDOUT:
        return
    if options["incremental"] and is_typed(context, "incremental"):
        raise click.UsageError("--incremental means nothing with -: use --full.", context)
    if options["restart"] and not options["checkpoint"]:
        raise click.UsageError("--restart means nothing with -, without --checkpoint.", context)


def _sink_options(context: click.Context, target: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the sink; those of settings that it does not have are passed over."""
    found: dict[str, Any] = {}
    known = options_of(target)
    if options["table"] is not None and ("table" in known or is_typed(context, "table")):
        found["table"] = options["table"]
    if options["keep_formulas"] and ("defuse" in known or is_typed(context, "keep_formulas")):
        found["defuse"] = False
    return found


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


class Exporting:
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
            if self._asked.target == _STDOUT:
                drop_stdout()
            raise
        return self._say_what_was_done()

    async def _run(self, connection: Connection) -> None:
        asked = self._asked
        alone = _AloneOnScreen() if asked.target == _STDOUT else None
        # Made in any case: it knows which options mean nothing for it.
        sink = sink_for(asked.target, **asked.sink_options)
        self._sink = sink = alone or sink
        async with connection.client(concurrency=asked.concurrency) as client:
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
                    concurrency=asked.concurrency,
                    on_progress=lambda _: display.refresh(),
                    on_odd_record=self._say_odd,
                )

    def _checkpoint(self, sink: Sink) -> str | Path | None:
        """Return where the checkpoint is to be; ``None`` where the sink has the best place."""
        asked = self._asked
        if asked.checkpoint is not None or sink.checkpoint is not None or asked.target == _STDOUT:
            return asked.checkpoint
        return checkpoint_of(sink.target)

    def _say_odd(self, odd: OddRecord) -> None:
        self._odd_records += 1
        if self._odd_records <= _ODD_RECORDS_SAID:
            text = show.odd_record(odd)
        elif self._odd_records == _ODD_RECORDS_SAID + 1:
            text = "there are more odd records: from here they are only counted"
        else:
            return
        self._voice.say(text, event="odd_record", level="warning")

    def _say_what_was_done(self) -> ExitCode:
        assert self._export is not None  # noqa: S101 - for type checkers
        report = self._export.report
        assert report is not None  # noqa: S101
        text = summary(report, self._manifest_in())
        self._voice.show(text, event="summary", manifest=report.manifest)
        for line in failures(report.manifest):
            self._voice.say(line, event="partial", level="error")
        return ExitCode.DONE if report.is_complete else ExitCode.PARTIAL

    def _manifest_in(self) -> str | None:
        sink: object = self._sink
        if isinstance(sink, DatabaseSink):
            return f"in the table {MANIFESTS}"
        beside = self._sink and self._sink.checkpoint
        return f"{str(beside).removesuffix(CHECKPOINT)}.manifest.json" if beside else None

    def say_what_is_left(self) -> None:
        """Say what there is of an export that came to no end, and how to go on."""
        export = self._export
        if export is None or export.report is not None or not export.kept:
            return
        self._voice.say(
            self._left(export),
            event="unfinished",
            level="warning",
            conversations=export.kept,
            checkpoint=None if export.checkpoint is None else str(export.checkpoint),
        )

    def _left(self, export: Export) -> str:
        if export.checkpoint is None:
            return "not finished, and nothing is kept: --checkpoint FILE would keep it"
        kept = count(export.kept, "conversation")
        again = "the same command without --restart" if self._asked.restart else "the same command"
        verb = "is" if export.kept == 1 else "are"
        return f"not finished: {kept} {verb} in {export.checkpoint}; {again} goes on"


def _standing(export: Export, client: CekatClient, sink: Sink) -> Standing:
    return Standing(export.progress(), client.limiter.snapshot(), sink.target)
