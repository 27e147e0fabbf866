"""The commands, each a thin shell around what the package offers in Python."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, aclosing, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console

from cekat_async import CekatError, ConfigurationError, __version__
from cekat_async.cli import show
from cekat_async.cli.exits import ExitCode
from cekat_async.cli.exporting import Exporting, export_options, wanted
from cekat_async.cli.options import (
    CONNECTION_NAMES,
    Connection,
    connection,
    connection_options,
    filter_options,
    make_sandbox,
    rate_limit_option,
    verbose_option,
    wrong_value,
)
from cekat_async.cli.running import log_to, on_a_terminal, run_async, say_failure, write_out
from cekat_async.cli.stderr import optional_stderr
from cekat_async.cli.voice import Voice
from cekat_async.export.record import one_line
from cekat_async.models import Record

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    import msgspec

    from cekat_async import CekatClient, OddRecord, RateLimit
    from cekat_async.models import Page

__all__ = ["app", "run"]

R = TypeVar("R", bound=Record)
T = TypeVar("T")

_ON_A_TERMINAL = 20
_PAGE = 100


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; what goes wrong is said in one line."""
    # Everything for people goes to standard error; standard output carries data alone.
    voice = Voice(Console(stderr=True))
    log_to(voice)
    with optional_stderr():
        return _run(arguments, voice)


def _run(arguments: Sequence[str] | None, voice: Voice) -> int:
    try:
        # Without standalone mode click leaves exiting, and the form of its errors, to us.
        code = app.main(arguments, prog_name="cekat", standalone_mode=False, obj=voice)
        return int(code or ExitCode.DONE)
    except click.UsageError as error:
        _say_misuse(error, voice)
        return ExitCode.USAGE
    except CekatError as error:
        return say_failure(error, voice)
    except click.Abort:
        return ExitCode.INTERRUPTED


def _say_misuse(error: click.UsageError, voice: Voice) -> None:
    path = error.ctx.command_path if error.ctx else "cekat"
    elsewhere = wrong_value(error) if isinstance(error, click.BadParameter) else None
    text = elsewhere or f"{error.format_message()} See '{path} --help'."
    kind = type(error).__name__
    voice.say(text, event="error", level="error", error=kind, exit_code=ExitCode.USAGE)


@click.group(
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    epilog="The API key comes from the environment, CEKAT_API_KEY, or from a private file.",
)
@click.version_option(__version__, message="cekat %(version)s")
@verbose_option
@click.pass_context
def app(context: click.Context, /) -> None:
    """Read the conversations of a Cekat account: whole, paced, and without losing any."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(ExitCode.USAGE)


@app.command(
    short_help="Write all conversations to a file or a database.",
    epilog="Each of them may be set in the environment or in a file, and TARGET too: docs/cli.md.",
)
@click.argument("target", metavar="TARGET", envvar="CEKAT_TARGET")
@export_options
@connection_options
@click.pass_context
def export(context: click.Context, /, **options: Any) -> int:
    """Write every conversation to a file or a database, each once.

    TARGET ends in .jsonl, .jsonl.gz, .jsonl.zst, .csv, .parquet, .sqlite or .duckdb, or it is a
    folder NAME.parquet/, a database postgresql://…, or - for standard output.

    Stopped or killed, the same command goes on. TARGET is there when it is whole.
    """
    voice: Voice = context.obj
    where = {name: options.pop(name) for name in CONNECTION_NAMES}
    job = Exporting(voice, wanted(context, **options))
    code = run_async(job.run(connection(**where)), voice)
    if code not in {ExitCode.DONE, ExitCode.PARTIAL}:
        job.say_what_is_left()
    return code


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
    voice: Voice,
    /,
    inbox_id: str | None,
    stage_status: str | None,
    most: int | None,
    **where: Any,
) -> int:
    """Show conversations: a table on a terminal, JSON Lines as the API sent them in a pipe."""
    which = {"inbox_id": inbox_id, "stage_status": stage_status}
    return run_async(_conversations(voice, connection(**where), most, which), voice)


async def _conversations(
    voice: Voice, connection: Connection, most: int | None, which: dict[str, Any]
) -> None:
    terminal = on_a_terminal()
    async with connection.client() as client:
        if terminal:
            await _tabulate(voice, client, most or _ON_A_TERMINAL, which)
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


async def _tabulate(voice: Voice, client: CekatClient, most: int, which: dict[str, Any]) -> None:
    listing = client.conversations.list(
        # One more than is shown tells whether there are more.
        limit=min(_PAGE, most + 1),
        on_odd_record=_say_odd(voice),
        prefetch=0,
        **which,
    )
    found = await _first(listing, most + 1)
    show.print_table(show.conversation_table(found[:most]))
    if len(found) > most:
        voice.say(f"these are the first {most}: -n N shows more, a pipe gets all")


@app.command(short_help="Show inboxes: a table, or JSON Lines in a pipe.")
@connection_options
@click.pass_obj
def inboxes(voice: Voice, /, **where: Any) -> int:
    """Show the account's inboxes: a table on a terminal, JSON Lines in a pipe."""
    return run_async(_inboxes(voice, connection(**where)), voice)


async def _inboxes(voice: Voice, connection: Connection) -> None:
    terminal = on_a_terminal()
    async with connection.client() as client:
        if not terminal:
            pages = client.inboxes.pages(on_odd_record=_pass)
            # Page numbers shift when an inbox comes or goes: one may be on two pages.
            write_out({_json_line(raw): None async for page in pages for raw in page.raw})
            return
        found = [inbox async for inbox in client.inboxes.list(on_odd_record=_say_odd(voice))]
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
            write_out(_json_line(record) for record in records)
            left = None if left is None else left - len(records)
            if left == 0:
                return


def _json_line(raw: msgspec.Raw) -> bytes:
    """Return a record as a line: exactly as the API sent it, but for its line breaks."""
    return one_line(raw) + b"\n"


def _pass(odd: OddRecord) -> None:
    """Take no notice of an odd record, because its bytes are printed all the same."""


def _say_odd(voice: Voice) -> Callable[[OddRecord], None]:
    def say_odd(odd: OddRecord) -> None:
        voice.say(f"not shown: {show.odd_record(odd)}", event="odd_record", level="warning")

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
def sandbox(voice: Voice, /, rate_limit: RateLimit | None, **options: Any) -> int:
    """Run a sandbox of the API on this machine, until Ctrl-C."""
    return run_async(_sandbox(voice, rate_limit, options), voice)


async def _sandbox(voice: Voice, rate: RateLimit | None, options: dict[str, Any]) -> None:
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
    voice.say("the sandbox has ended")
