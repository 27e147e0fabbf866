"""The commands, each a thin shell around what the package offers in Python."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console

from cekat_async import RateLimit, __version__
from cekat_async.cli import show
from cekat_async.cli.exits import ExitCode
from cekat_async.cli.options import (
    Connection,
    connection_options,
    filter_options,
    rate_limit_option,
    sandbox_quota,
)
from cekat_async.cli.running import log_to, run_async, say
from cekat_async.export import ExportProgress, Sink, export_conversations, json_line, sink_for
from cekat_async.models import Record
from cekat_async.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from cekat_async import OddRecord
    from cekat_async.models import Page

__all__ = ["app", "run"]

R = TypeVar("R", bound=Record)
T = TypeVar("T")

_ON_A_TERMINAL = 20
_PAGE = 100


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; what goes wrong is said in one line."""
    try:
        # Without standalone mode click leaves exiting, and the form of its errors, to us.
        return int(app.main(arguments, prog_name="cekat", standalone_mode=False) or ExitCode.DONE)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "cekat"
        click.echo(f"cekat: {error.format_message()} See '{path} --help'.", err=True)
        return ExitCode.USAGE
    except click.Abort:
        return ExitCode.INTERRUPTED


@click.group(epilog="The API key comes from the environment: CEKAT_API_KEY.")
@click.version_option(__version__, message="cekat %(version)s")
@click.option("-v", "--verbose", is_flag=True, help="Say what happens, request by request.")
@click.pass_context
def app(context: click.Context, *, verbose: bool) -> None:
    """Read the conversations of a Cekat account: whole, paced, and without losing any."""
    # Everything for people goes to standard error; standard output carries data alone.
    context.obj = Console(stderr=True)
    log_to(context.obj, verbose=verbose)


@app.command()
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
    command = _export(console, target, inbox_id, stage_status, Connection(**where))
    return run_async(command, console)


async def _export(
    console: Console,
    target: str,
    inbox_id: str | None,
    stage_status: str | None,
    connection: Connection,
) -> None:
    sink = sink_for(target)
    last = ExportProgress()

    def on_progress(progress: ExportProgress) -> None:
        nonlocal last
        last = progress
        display.update(progress)

    try:
        async with connection.client() as client:
            with show.progress_display(console) as display:
                report = await export_conversations(
                    client,
                    sink,
                    inbox_id=inbox_id,
                    stage_status=stage_status,
                    on_progress=on_progress,
                )
    except BaseException:
        _say_unfinished(console, sink, last)
        raise
    console.print(show.summary(report), markup=False, highlight=False, soft_wrap=True)


def _say_unfinished(console: Console, sink: Sink, last: ExportProgress) -> None:
    if last.conversations and sink.unfinished:
        say(console, f"not finished: {last.conversations:,} conversations are in {sink.unfinished}")


@app.command()
@filter_options
@click.option(
    "-n",
    "--max",
    "most",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"At most so many.  [default: {_ON_A_TERMINAL} on a terminal, all in a pipe]",
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
    listing = _conversations(console, inbox_id, stage_status, most, Connection(**where))
    return run_async(listing, console)


async def _conversations(
    console: Console,
    inbox_id: str | None,
    stage_status: str | None,
    most: int | None,
    connection: Connection,
) -> None:
    if not sys.stdout.isatty():
        async with connection.client() as client:
            await _print_lines(
                client.conversations.pages(
                    inbox_id=inbox_id, stage_status=stage_status, on_odd_record=_pass
                ),
                most,
            )
        return
    most = most or _ON_A_TERMINAL
    async with connection.client() as client:
        listing = client.conversations.list(
            # One more than is shown tells whether there are more.
            limit=min(_PAGE, most + 1),
            inbox_id=inbox_id,
            stage_status=stage_status,
            on_odd_record=_say_odd(console),
        )
        found = await _first(listing, most + 1)
    show.print_table(show.conversation_table(found[:most]))
    if len(found) > most:
        say(console, f"these are the first {most}: -n N shows more, a pipe gets all")


@app.command()
@connection_options
@click.pass_obj
def inboxes(console: Console, /, **where: Any) -> int:
    """Show the account's inboxes: a table on a terminal, JSON Lines in a pipe."""
    return run_async(_inboxes(console, Connection(**where)), console)


async def _inboxes(console: Console, connection: Connection) -> None:
    async with connection.client() as client:
        if not sys.stdout.isatty():
            await _print_lines(client.inboxes.pages(on_odd_record=_pass), None)
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
            sys.stdout.buffer.writelines(json_line(record) for record in records)
            sys.stdout.buffer.flush()
            left = None if left is None else left - len(records)
            if left == 0:
                return


def _pass(odd: OddRecord) -> None:
    """Take no notice of an odd record, because its bytes are printed all the same."""


def _say_odd(console: Console) -> Callable[[OddRecord], None]:
    def say_odd(odd: OddRecord) -> None:
        say(console, f"not shown: record {odd.id} is odd at {odd.field}: {odd.reason}")

    return say_odd


@app.command()
@click.option("--conversations", "size", type=click.IntRange(min=0), default=5000, metavar="N")
@click.option("--inboxes", "inbox_count", type=click.IntRange(min=1), default=8, metavar="N")
@click.option("--seed", type=int, default=1, metavar="N", help="The same seed, the same data.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0: any that is free.")
@rate_limit_option("The quota; off: none.")
@click.pass_obj
def sandbox(
    console: Console,
    /,
    size: int,
    inbox_count: int,
    seed: int,
    port: int,
    rate_limit: RateLimit | None,
) -> int:
    """Run a sandbox of the API on this machine, until Ctrl-C."""
    quota = sandbox_quota(rate_limit)
    server = Sandbox(size, inbox_count, seed, port=port, quota=quota)
    ended = run_async(_sandbox(server), console)
    return ExitCode.DONE if ended in {ExitCode.INTERRUPTED, ExitCode.TERMINATED} else ended


async def _sandbox(server: Sandbox) -> None:
    async with server:
        click.echo(show.sandbox_banner(server.base_url, server.api_key))
        await asyncio.Event().wait()
