"""The commands, each a thin shell around what the package offers in Python."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, aclosing, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console

from cekat_async import ConfigurationError, __version__
from cekat_async.cli import show
from cekat_async.cli.exits import ExitCode
from cekat_async.cli.options import (
    Connection,
    connection,
    connection_options,
    filter_options,
    make_sandbox,
    rate_limit_option,
    verbose_option,
)
from cekat_async.cli.running import log_to, on_a_terminal, run_async, write_out
from cekat_async.cli.stderr import optional_stderr
from cekat_async.export import (
    ExportProgress,
    ExportReport,
    Sink,
    export_conversations,
    json_line,
    sink_for,
)
from cekat_async.models import Record

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from cekat_async import CekatClient, ConversationPage, OddRecord, RateLimit
    from cekat_async.models import Page

__all__ = ["app", "run"]

R = TypeVar("R", bound=Record)
T = TypeVar("T")

_ON_A_TERMINAL = 20
_ODD_RECORDS_SAID = 5
_PAGE = 100


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; what goes wrong is said in one line."""
    # Everything for people goes to standard error; standard output carries data alone.
    console = Console(stderr=True)
    log_to(console)
    with optional_stderr():
        return _run(arguments, console)


def _run(arguments: Sequence[str] | None, console: Console) -> int:
    try:
        # Without standalone mode click leaves exiting, and the form of its errors, to us.
        code = app.main(arguments, prog_name="cekat", standalone_mode=False, obj=console)
        return int(code or ExitCode.DONE)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "cekat"
        click.echo(f"cekat: {error.format_message()} See '{path} --help'.", err=True)
        return ExitCode.USAGE
    except click.Abort:
        return ExitCode.INTERRUPTED


@click.group(
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    epilog="The API key comes from the environment: CEKAT_API_KEY.",
)
@click.version_option(__version__, message="cekat %(version)s")
@verbose_option
@click.pass_context
def app(context: click.Context, /) -> None:
    """Read the conversations of a Cekat account: whole, paced, and without losing any."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(ExitCode.USAGE)


@app.command(short_help="Write all conversations to a file.")
@click.argument("target", metavar="TARGET.jsonl")
@filter_options
@connection_options
@click.pass_obj
def export(
    console: Console, /, target: str, inbox_id: str | None, stage_status: str | None, **where: Any
) -> int:
    """Write every conversation to a file, one a line, exactly as the API sent it.

    The file takes its name when it is whole; until then it is TARGET.jsonl.partial.
    """
    job = _Export(console, target)
    code = run_async(job.run(connection(**where), inbox_id, stage_status), console)
    if code is not ExitCode.DONE:
        job.say_what_is_left()
    return code


class _Export:
    """An export with all that a person is to see of it."""

    def __init__(self, console: Console, target: str) -> None:
        self._console = console
        self._target = target
        self._sink: Sink | None = None
        self._progress = ExportProgress()
        self._report: ExportReport | None = None
        self._odd_records = 0

    async def run(
        self, connection: Connection, inbox_id: str | None, stage_status: str | None
    ) -> None:
        which = {"inbox_id": inbox_id, "stage_status": stage_status}
        try:
            await self._export(connection, which)
        except asyncio.CancelledError:
            # The target is there: what comes now, while the client closes, comes too late.
            if self._report is None:
                raise
        if self._report is not None:
            show.say_plainly(self._console, show.summary(self._report))

    async def _export(self, connection: Connection, which: dict[str, Any]) -> None:
        self._sink = sink = _CarriedThrough(sink_for(self._target))
        async with connection.client() as client:
            display = show.progress_display(self._console, client.limiter.snapshot)
            with display, show.kept_fresh(display):
                self._report = await export_conversations(
                    client,
                    sink,
                    on_progress=lambda progress: self._show(display, progress),
                    on_odd_record=self._say_odd,
                    **which,
                )

    def _say_odd(self, odd: OddRecord) -> None:
        self._odd_records += 1
        if self._odd_records <= _ODD_RECORDS_SAID:
            show.say(self._console, show.odd_record(odd))
        elif self._odd_records == _ODD_RECORDS_SAID + 1:
            show.say(self._console, "there are more odd records: from here they are only counted")

    def _show(self, display: show.ProgressDisplay, progress: ExportProgress) -> None:
        self._progress = progress
        display.update(progress)

    def say_what_is_left(self) -> None:
        if self._sink is not None and self._sink.unfinished:
            done = f"the first {self._progress.conversations:,} conversations"
            show.say(self._console, f"not finished: {done} are in {self._sink.unfinished}")


class _CarriedThrough:
    """A sink that, once it has begun to finish, finishes: then the export is done.

    Whether there is a new target is then what the exit code says. A command has nothing else to do
    that a cancellation should end; elsewhere swallowing one would not be right.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.target = sink.target

    @property
    def unfinished(self) -> str | None:
        return self._sink.unfinished

    async def open(self) -> None:
        await self._sink.open()

    async def write(self, page: ConversationPage) -> None:
        await self._sink.write(page)

    async def finish(self) -> None:
        await asyncio.sleep(0)  # what was cancelled before this still stops here
        finishing = asyncio.ensure_future(self._sink.finish())
        while not finishing.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([finishing])
        finishing.result()

    async def abort(self) -> None:
        await self._sink.abort()


@app.command(short_help="Show conversations: a table, or JSON Lines in a pipe.")
@filter_options
@click.option(
    "-n",
    "--max",
    "most",
    type=click.IntRange(min=1),
    metavar="N",
    show_default=f"{_ON_A_TERMINAL} on a terminal, all in a pipe",
    help="At most so many.",
)
@connection_options
@click.pass_obj
def conversations(
    console: Console,
    /,
    inbox_id: str | None,
    stage_status: str | None,
    most: int | None,
    **where: Any,
) -> int:
    """Show conversations: a table on a terminal, JSON Lines as the API sent them in a pipe."""
    which = {"inbox_id": inbox_id, "stage_status": stage_status}
    return run_async(_conversations(console, connection(**where), most, which), console)


async def _conversations(
    console: Console, connection: Connection, most: int | None, which: dict[str, Any]
) -> None:
    terminal = on_a_terminal()
    async with connection.client() as client:
        if terminal:
            await _tabulate(console, client, most or _ON_A_TERMINAL, which)
            return
        # A limit is at most a page, whatever one asks for.
        limit = min(_PAGE, most or _PAGE)
        pages = client.conversations.pages(
            # What is fetched ahead of a page that is the last would cost quota for nothing.
            limit=limit,
            on_odd_record=_pass,
            prefetch=0 if most else 1,
            **which,
        )
        await _print_lines(pages, most)


async def _tabulate(
    console: Console, client: CekatClient, most: int, which: dict[str, Any]
) -> None:
    listing = client.conversations.list(
        # One more than is shown tells whether there are more.
        limit=min(_PAGE, most + 1),
        on_odd_record=_say_odd(console),
        prefetch=0,
        **which,
    )
    found = await _first(listing, most + 1)
    show.print_table(show.conversation_table(found[:most]))
    if len(found) > most:
        show.say(console, f"these are the first {most}: -n N shows more, a pipe gets all")


@app.command(short_help="Show inboxes: a table, or JSON Lines in a pipe.")
@connection_options
@click.pass_obj
def inboxes(console: Console, /, **where: Any) -> int:
    """Show the account's inboxes: a table on a terminal, JSON Lines in a pipe."""
    return run_async(_inboxes(console, connection(**where)), console)


async def _inboxes(console: Console, connection: Connection) -> None:
    terminal = on_a_terminal()
    async with connection.client() as client:
        if not terminal:
            pages = client.inboxes.pages(on_odd_record=_pass)
            # Page numbers shift when an inbox comes or goes: one may be on two pages.
            write_out({json_line(raw): None async for page in pages for raw in page.raw})
            return
        found = [inbox async for inbox in client.inboxes.list(on_odd_record=_say_odd(console))]
    show.print_table(show.inbox_table(found))


async def _first(listing: AsyncGenerator[T, None], most: int) -> list[T]:
    found = list[T]()
    async with aclosing(listing):
        async for item in listing:
            found.append(item)
            if len(found) == most:
                break
    return found


async def _print_lines(pages: AsyncGenerator[Page[R], None], most: int | None) -> None:
    """Print records as the API sent them; odd ones too, since nobody has to understand them."""
    left = most
    async with aclosing(pages):
        async for page in pages:
            records = page.raw[:left]
            write_out(json_line(record) for record in records)
            left = None if left is None else left - len(records)
            if left == 0:
                return


def _pass(odd: OddRecord) -> None:
    """Take no notice of an odd record, because its bytes are printed all the same."""


def _say_odd(console: Console) -> Callable[[OddRecord], None]:
    def say_odd(odd: OddRecord) -> None:
        show.say(console, f"not shown: {show.odd_record(odd)}")

    return say_odd


@app.command(short_help="Run a sandbox of the API on this machine.")
@click.option(
    "--conversations",
    type=click.IntRange(min=0),
    default=5000,
    show_default=True,
    metavar="N",
    help="How many there are.",
)
@click.option(
    "--inboxes",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    metavar="N",
    help="How many they are spread over.",
)
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    help="The same seed, the same data.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="any that is free",
    metavar="N",
    help="Where it listens, on 127.0.0.1.",
)
@rate_limit_option("The quota it grants; auto: 300 in 60 s; off: any number.")
@verbose_option
@click.pass_obj
def sandbox(console: Console, /, rate_limit: RateLimit | None, **options: Any) -> int:
    """Run a sandbox of the API on this machine, until Ctrl-C."""
    return run_async(_sandbox(console, rate_limit, options), console)


async def _sandbox(console: Console, rate: RateLimit | None, options: dict[str, Any]) -> None:
    async with AsyncExitStack() as stack:
        try:
            server = await stack.enter_async_context(make_sandbox(rate, **options))
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise ConfigurationError(f"cannot listen at port {options['port']}: {reason}") from None
        write_out([show.sandbox_banner(server.base_url, server.api_key, server.curl()).encode()])
        # Ctrl-C is not what stops a sandbox in the middle, it is how one ends.
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    show.say(console, "the sandbox has ended")
