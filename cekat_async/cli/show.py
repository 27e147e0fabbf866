"""What a person sees: tables on a terminal, progress, the closing summary."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, Self

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from cekat_async import Conversation, Inbox, OddRecord
    from cekat_async.export import ExportProgress, ExportReport

__all__ = [
    "Bar",
    "Lines",
    "ProgressDisplay",
    "conversation_table",
    "inbox_table",
    "odd_record",
    "one_line",
    "print_table",
    "progress_display",
    "sandbox_banner",
    "say",
    "say_plainly",
    "summary",
]

_SECONDS_BETWEEN_LINES = 5.0
_now = time.monotonic


def say(console: Console, text: str) -> None:
    """Print one line for a person, under the command's name."""
    say_plainly(console, f"cekat: {one_line(text)}")


def say_plainly(console: Console, text: str) -> None:
    """Print text as it is: nothing in it is markup, and long lines are the terminal's to wrap."""
    console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)


def one_line(text: str) -> str:
    """Return text that strangers may have written as one line without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


class ProgressDisplay(Protocol):
    """Shows the progress of an export while it is entered."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def update(self, progress: ExportProgress) -> None:
        """Show how far the export has come."""


def progress_display(console: Console) -> ProgressDisplay:
    """Return a moving line for a terminal, and plain lines for a log."""
    # Both have to agree: rich also takes a file for a terminal if the environment says so
    # (FORCE_COLOR), and a terminal may be one that cannot move its cursor (TERM=dumb).
    moves = console.is_interactive and console.file.isatty()
    return Bar(console) if moves else Lines(console)


class Bar:
    """One moving line. The API does not say how many there are, so that it has no end."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("asking for the first page", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def update(self, progress: ExportProgress) -> None:
        """Change the line."""
        self._progress.update(self._task, description=_standing(progress))


class Lines:
    """A line now and then, for a log."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def update(self, progress: ExportProgress) -> None:
        """Print a line, if the last one is some seconds old."""
        now = _now()
        if now >= self._next:
            self._next = now + _SECONDS_BETWEEN_LINES
            say_plainly(self._console, _standing(progress))


def _standing(progress: ExportProgress) -> str:
    done = _count(progress.conversations, "conversation")
    # A speed of the first moment means nothing.
    pace = f", {_pace(progress, '/min', 'the quota')}" if progress.seconds >= 1 else ""
    retries = f", {_count(progress.retries, 'retry', 'retries')}" if progress.retries else ""
    return f"{done}{pace}{retries}"


def _pace(progress: ExportProgress, unit: str, quota: str) -> str:
    share = progress.quota_share
    used = "" if share is None else f", {share:.0%} of {quota}"
    return f"{progress.per_minute:,.0f}{unit}{used}"


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def summary(report: ExportReport) -> str:
    """Return the closing lines of an export."""
    rate = report.rate_limit
    quota = f"the quota of {rate.requests:,} in {rate.per:g} s" if rate else ""
    counts = (
        _count(report.pages, "page"),
        _count(report.requests, "request"),
        _count(report.retries, "retry", "retries"),
    )
    lines = [
        f"{one_line(report.target)}: {_count(report.conversations, 'conversation')}, complete",
        ", ".join(counts),
        f"{report.seconds:.1f} s, {_pace(report, ' conversations/min', quota)}",
    ]
    if report.odd_records:
        lines.append(
            f"odd records: {report.odd_records:,}, written like the others, "
            "but not as the API documents them"
        )
    return "\n".join(lines)


def odd_record(odd: OddRecord) -> str:
    """Return which record is odd, and where, and why."""
    which = "a record without an id" if odd.id is None else f"record {odd.id}"
    return f"{which} is odd at {odd.field}: {odd.reason}"


def conversation_table(conversations: Iterable[Conversation]) -> Table:
    """Return a table as wide as the terminal; the message takes what the others leave."""
    table = _table()
    table.add_column("contact", no_wrap=True, max_width=20)
    table.add_column("channel", no_wrap=True, max_width=9)
    table.add_column("status", no_wrap=True, max_width=8)
    table.add_column("last message", no_wrap=True, ratio=1)
    table.add_column("at (UTC)", no_wrap=True)
    for conversation in conversations:
        preview = conversation.last_message
        table.add_row(
            _cell(conversation.contact_name or conversation.contact_phone),
            _cell(conversation.platform_type),
            _cell(conversation.stage_status),
            _cell(preview.message if preview else None),
            _cell(_moment(preview.created_at) if preview else None),
        )
    return table


def _moment(moment: datetime | None) -> str | None:
    return f"{moment.astimezone(UTC):%m-%d %H:%M}" if moment else None


def inbox_table(inboxes: Iterable[Inbox]) -> Table:
    """Return a table as wide as the terminal. Ids are whole: one copies them from here."""
    table = _table()
    table.add_column("name", no_wrap=True, ratio=1)
    table.add_column("channel", no_wrap=True, max_width=9)
    table.add_column("status", no_wrap=True, max_width=8)
    table.add_column("id", overflow="fold")
    for inbox in inboxes:
        table.add_row(_cell(inbox.name), _cell(inbox.type), _cell(inbox.status), _cell(inbox.id))
    return table


def _table() -> Table:
    return Table(box=None, pad_edge=False, header_style="bold", expand=True)


def _cell(value: str | None) -> Text:
    """Return a cell of text that strangers wrote: no markup, no control characters, one line."""
    return Text(one_line(value or ""))


def print_table(table: Table) -> None:
    """Print a table to standard output."""
    Console().print(table)


def sandbox_banner(base_url: str, api_key: str, curl: str) -> str:
    """Return what to do with a sandbox that is up."""
    return f"""The sandbox is up; Ctrl-C ends it.

  export CEKAT_BASE_URL={base_url}
  export CEKAT_API_KEY={api_key}

  {curl}

"""
