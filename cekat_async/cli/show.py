"""What a person sees: tables on a terminal, progress, the closing summary."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, Self

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from cekat_async import Conversation, Inbox
    from cekat_async.export import ExportProgress, ExportReport

__all__ = [
    "Bar",
    "Lines",
    "ProgressDisplay",
    "conversation_table",
    "inbox_table",
    "print_table",
    "progress_display",
    "sandbox_banner",
    "summary",
]

_SECONDS_BETWEEN_LINES = 5.0


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
    return Bar(console) if console.is_terminal else Lines(console)


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
        now = asyncio.get_running_loop().time()
        if now >= self._next:
            self._next = now + _SECONDS_BETWEEN_LINES
            self._console.print(_standing(progress), markup=False, highlight=False)


def _standing(progress: ExportProgress) -> str:
    retries = f", {_count(progress.retries, 'retry', 'retries')}" if progress.retries else ""
    done = f"{_count(progress.conversations, 'conversation')}, {_count(progress.pages, 'page')}"
    if progress.seconds < 1:
        return done  # a speed of the first moment means nothing
    return f"{done}, {progress.per_minute:,.0f}/min{_quota(progress)}{retries}"


def _quota(progress: ExportProgress) -> str:
    share = progress.quota_share
    return "" if share is None else f", {share:.0%} of the quota"


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def summary(report: ExportReport) -> str:
    """Return the closing lines of an export."""
    rate = report.rate_limit
    quota = f"{_quota(report)} ({rate.requests:,} in {rate.per:g} s)" if rate else ""
    lines = [
        f"{report.target}: {_count(report.conversations, 'conversation')}, complete",
        ", ".join(
            (
                _count(report.pages, "page"),
                _count(report.requests, "request"),
                _count(report.retries, "retry", "retries"),
            )
        ),
        f"{report.seconds:.1f} s, {report.per_minute:,.0f} conversations/min{quota}",
    ]
    if report.odd_records:
        lines.append(
            f"{_count(report.odd_records, 'record')} not as the API documents them: "
            "in the file, but a reader may stumble over them"
        )
    return "\n".join(lines)


def conversation_table(conversations: Iterable[Conversation]) -> Table:
    """Return a table that fits 80 columns."""
    table = _table("contact", "channel", "status", "last message", "at (UTC)")
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
    """Return a table that fits 80 columns. Ids are whole: they are what one copies from here."""
    table = _table("name", "channel", "status", "id")
    for inbox in inboxes:
        table.add_row(_cell(inbox.name), _cell(inbox.type), _cell(inbox.status), _cell(inbox.id))
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        whole = heading in {"id", "at (UTC)"}
        table.add_column(heading, no_wrap=True, overflow="fold" if whole else "ellipsis")
    return table


def _cell(value: str | None) -> Text:
    """Return a cell of text that strangers wrote: no markup, no control characters, one line."""
    text = "".join(c if c.isprintable() else " " for c in value or "")
    return Text(" ".join(text.split()))


def print_table(table: Table) -> None:
    """Print a table to standard output."""
    Console().print(table)


def sandbox_banner(base_url: str, api_key: str) -> str:
    """Return what to do with a sandbox that is up."""
    return f"""The sandbox is up; Ctrl-C ends it.

  export CEKAT_BASE_URL={base_url}
  export CEKAT_API_KEY={api_key}

  curl -H 'Authorization: Bearer {api_key}' '{base_url}/api/conversations?limit=5'
"""
