"""The commands: what may be typed, and what it comes to.

What a command does is imported when it begins, so that help and the word on a misuse come at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cekat_async import CekatError, __version__
from cekat_async.cli.exits import ExitCode, say_failure
from cekat_async.cli.logs import log_to
from cekat_async.cli.options import (
    CONNECTION_NAMES,
    ON_A_TERMINAL,
    connection,
    connection_options,
    export_options,
    filter_options,
    rate_limit_option,
    verbose_option,
    wrong_value,
)
from cekat_async.cli.stderr import optional_stderr
from cekat_async.cli.stdout import lenient_stdout
from cekat_async.cli.texts import target
from cekat_async.cli.voice import Voice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cekat_async import RateLimit

__all__ = ["app", "run"]


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; what goes wrong is said in one line."""
    # Everything for people goes to standard error; standard output carries data alone.
    voice = Voice()
    log_to(voice)
    with optional_stderr(), lenient_stdout():
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
@click.argument("target", type=target, metavar="TARGET", envvar="CEKAT_TARGET")
@export_options
@connection_options
@click.pass_context
def export(context: click.Context, /, **options: Any) -> int:
    """Write every conversation to a file or a database, each once.

    TARGET ends in .jsonl, .jsonl.gz, .jsonl.zst, .csv, .parquet, .sqlite or .duckdb, or it is a
    folder NAME.parquet/, a database postgresql://…, or - for standard output.

    Stopped or killed, the same command goes on. TARGET is there when it is whole.
    """
    from cekat_async.cli.wanted import wanted  # noqa: PLC0415 - see above

    where = {name: options.pop(name) for name in CONNECTION_NAMES}
    asked, source = wanted(context, **options), connection(**where)

    from cekat_async.cli.exporting import export_to_the_end  # noqa: PLC0415 - see above

    return export_to_the_end(context.obj, asked, source)


@app.command(short_help="Show conversations: a table, or JSON Lines in a pipe.")
@filter_options
@click.option(
    "-n",
    "--max",
    "most",
    type=click.IntRange(min=1),
    metavar="N",
    show_default=f"{ON_A_TERMINAL} on a terminal, all in a pipe",
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
    source = connection(**where)

    from cekat_async.cli.listing import list_conversations  # noqa: PLC0415 - see above

    return list_conversations(voice, source, most, which)


@app.command(short_help="Show inboxes: a table, or JSON Lines in a pipe.")
@connection_options
@click.pass_obj
def inboxes(voice: Voice, /, **where: Any) -> int:
    """Show the account's inboxes: a table on a terminal, JSON Lines in a pipe."""
    source = connection(**where)

    from cekat_async.cli.listing import list_inboxes  # noqa: PLC0415 - see above

    return list_inboxes(voice, source)


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
    from cekat_async.cli.sandboxing import run_sandbox  # noqa: PLC0415 - see above

    return run_sandbox(voice, rate_limit, options)
