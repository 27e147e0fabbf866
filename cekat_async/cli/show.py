"""What a person sees: tables on a terminal, progress, the closing summary."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, Self

import msgspec
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from cekat_async.cli.spans import per, span
from cekat_async.export import ExportProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from types import TracebackType

    from cekat_async import Conversation, Inbox, LimiterSnapshot, OddRecord
    from cekat_async.export import ExportReport

    Look = Callable[[], LimiterSnapshot]

__all__ = [
    "Bar",
    "Lines",
    "ProgressDisplay",
    "conversation_table",
    "inbox_table",
    "kept_fresh",
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
_SECONDS_BETWEEN_LOOKS = 0.25
# Between two requests of an even pace there is a short wait always: that is none to speak of.
_SHORTEST_WAIT = 1.0
# What stands around the text of the moving line: the spinner, and "10:00:00".
_FRAME = len("* ") + len(" 10:00:00")
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

    def refresh(self) -> None:
        """Show how long it has to wait: while it does, there is no progress to tell it."""


def progress_display(console: Console, look: Look) -> ProgressDisplay:
    """Return a moving line for a terminal, and plain lines for a log.

    Args:
        console: Where it is shown.
        look: Returns how the limiter stands. It is called by ``update`` and ``refresh`` alone, and
            so in the thread of the event loop that the limiter belongs to.
    """
    # Both have to agree: rich also takes a file for a terminal if the environment says so
    # (FORCE_COLOR), and a terminal may be one that cannot move its cursor (TERM=dumb).
    moves = console.is_interactive and console.file.isatty()
    return Bar(console, look) if moves else Lines(console, look)


@contextmanager
def kept_fresh(display: ProgressDisplay) -> Generator[None, None, None]:
    """Refresh a display several times a second, from the event loop, for as long as this is on."""
    refreshing = asyncio.create_task(_refresh_often(display))
    try:
        yield
    finally:
        refreshing.cancel()


async def _refresh_often(display: ProgressDisplay) -> None:
    while True:
        display.refresh()
        await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)


class Bar:
    """One moving line. The API does not say how many there are, so that it has no end."""

    def __init__(self, console: Console, look: Look) -> None:
        self._console = console
        self._look = look
        self._latest, self._told = ExportProgress(), (0.0, 0.0)
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
        self._latest, self._told = progress, (_now(), self._look().earned)
        self.refresh()

    def refresh(self) -> None:
        """Change what the line says of the wait, and of the pace that it costs."""
        # rich draws in a thread of its own, which may not ask the limiter: so it is told.
        limiter, room = self._look(), self._console.width - _FRAME
        text = _standing(self._as_of_now(limiter), limiter, room)
        self._progress.update(self._task, description=text)

    def _as_of_now(self, limiter: LimiterSnapshot) -> ExportProgress:
        latest, (told_at, earned_then) = self._latest, self._told
        if not latest.pages:
            return latest
        return msgspec.structs.replace(
            latest,
            seconds=latest.seconds + _now() - told_at,
            earned=latest.earned + (limiter.earned - earned_then if limiter.limit else 0.0),
        )


class Lines:
    """A line now and then, for a log."""

    def __init__(self, console: Console, look: Look) -> None:
        self._console = console
        self._look = look
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
            say_plainly(self._console, _standing(progress, self._look()))

    def refresh(self) -> None:
        """Print nothing: of a hold the limiter itself warns, once."""


def _standing(progress: ExportProgress, limiter: LimiterSnapshot, room: float = math.inf) -> str:
    """Return how an export stands, in the fullest wording for which there is room."""
    wordings = _wordings(progress, *_wait(limiter))
    return next((text for text in wordings if len(text) <= room), wordings[-1])


def _wordings(progress: ExportProgress, wait: str, why: str) -> list[str]:
    done = _count(progress.conversations, "conversation")
    if not progress.pages:
        done = "asking for the first page"
    # A speed of the first moment means nothing.
    speed, share = _speed_and_share(progress) if progress.seconds >= 1 else ("", "")
    retries = _count(progress.retries, "retry", "retries") if progress.retries else ""
    wordings = (
        (done, speed, share, retries, wait + why),
        (done, speed, share, wait + why),
        (done, speed, share, wait),
        (done, share, wait),
        (done, wait),
    )
    return [", ".join(filter(None, parts)) for parts in wordings]


def _speed_and_share(progress: ExportProgress) -> tuple[str, str]:
    share = progress.quota_share
    used = "" if share is None else f"{share:.0%} of the quota"
    return f"{progress.per_minute:,.0f}/min", used


def _wait(limiter: LimiterSnapshot) -> tuple[str, str]:
    """Return how long there is to wait, and what for; nothing if it is not worth a word."""
    waits = limiter.held_for > 0 or limiter.waiting > 0
    if not waits or not _SHORTEST_WAIT <= limiter.next_in < math.inf:
        return "", ""
    rate = f" ({per(limiter.limit, limiter.per)})" if limiter.limit else ""
    why = f": {limiter.why_held}" if limiter.why_held else f" for the quota{rate}"
    return f"waiting {span(limiter.next_in)}", why


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def summary(report: ExportReport) -> str:
    """Return the closing lines of an export."""
    counts = (
        _count(report.pages, "page"),
        _count(report.requests, "request"),
        _count(report.retries, "retry", "retries"),
    )
    lines = [
        f"{one_line(report.target)}: {_count(report.conversations, 'conversation')}, complete",
        ", ".join(counts),
        f"{report.seconds:.1f} s, {report.per_minute:,.0f} conversations/min{_use_of(report)}",
    ]
    if report.refused:
        lines.append(f"refused {_count(report.refused, 'time')} (429)")
    if report.odd_records:
        lines.append(
            f"odd records: {report.odd_records:,}, written like the others, "
            "but not as the API documents them"
        )
    return "\n".join(lines)


def _use_of(report: ExportReport) -> str:
    if report.limit is None or report.quota_share is None:
        return ""
    return f", {report.quota_share:.0%} of the quota of {report.limit:,} in {report.per:g} s"


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
