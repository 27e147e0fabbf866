"""Declares the commands and their arguments.

Each command imports what it needs when it runs, so that help and usage errors are fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cekat_async import CekatError, __version__
from cekat_async.cli.commands.listing_options import (
    agent_option,
    columns_option,
    json_option,
    maximum_option,
)
from cekat_async.cli.connection import CONNECTION_NAMES, build_connection, connection_options
from cekat_async.cli.exit_codes import ExitCode, report_error
from cekat_async.cli.options import (
    add_options,
    describe_choice,
    export_options,
    filter_options,
    number,
    option,
    rate_limit_option,
    verbose_option,
)
from cekat_async.cli.parameter_types import (
    GroupedCommand,
    OptionGroup,
    complete_file_name,
    parse_target,
)
from cekat_async.cli.reporter import Reporter, log_to
from cekat_async.cli.settings import describe_bad_value, describe_settings, is_typed
from cekat_async.cli.streams import lenient_stdout, optional_stderr
from cekat_async.resources.time_range import parse_bound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cekat_async import RateLimit
    from cekat_async.cli.commands.listing_columns import ShownColumn

__all__ = ["app", "run"]


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, report an error in one line, and return the exit code."""
    reporter = Reporter()
    log_to(reporter)
    with optional_stderr(), lenient_stdout():
        try:
            # With standalone mode off, click neither exits nor prints errors.
            code = app.main(arguments, prog_name="cekat", standalone_mode=False, obj=reporter)
            return int(code or ExitCode.DONE)
        except click.UsageError as error:
            _report_usage_error(error, reporter)
            return ExitCode.USAGE
        except CekatError as error:
            return report_error(error, reporter)
        except click.Abort:
            return ExitCode.INTERRUPTED


def _report_usage_error(error: click.UsageError, reporter: Reporter) -> None:
    path = error.ctx.command_path if error.ctx else "cekat"
    not_typed = describe_bad_value(error) if isinstance(error, click.BadParameter) else None
    text = not_typed or f"{error.format_message()} See '{path} --help'."
    kind = type(error).__name__
    reporter.report(text, event="error", level="error", error=kind, exit_code=ExitCode.USAGE)


@click.group(
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    epilog="The API key comes from the environment, CEKAT_API_KEY, or from a private file.",
)
@click.version_option(__version__, message="cekat %(version)s")
@verbose_option
@click.pass_context
def app(context: click.Context, /) -> None:
    """Read and export the conversations of a Cekat account."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(ExitCode.USAGE)


@app.command(
    cls=GroupedCommand,
    short_help="Export all conversations to a file or a database.",
    epilog="You can also set TARGET and most options in the environment or in a settings file.",
)
@click.argument(
    "target",
    type=parse_target,
    metavar="TARGET",
    envvar="CEKAT_TARGET",
    shell_complete=complete_file_name,
)
@add_options(export_options)
@add_options(connection_options)
@click.pass_context
def export(context: click.Context, /, **options: Any) -> int:
    """Export every conversation exactly once, to a file or a database.

    TARGET ends in .jsonl, .jsonl.gz, .jsonl.zst, .csv, .parquet, .sqlite or .duckdb, or it is a
    folder NAME.parquet/, a database postgresql://…, or - for standard output.

    If an export is stopped or killed, run the same command again: it resumes. TARGET appears only
    when it is complete.
    """
    from cekat_async.cli.commands.export_request import build_export_request  # noqa: PLC0415

    server = {name: options.pop(name) for name in CONNECTION_NAMES}
    request = build_export_request(context, **options)
    connection = build_connection(**server)

    # This import is slow, so the arguments are checked first.
    from cekat_async.cli.commands.export import run_export  # noqa: PLC0415

    return run_export(context.obj, request, connection)


@app.command(cls=GroupedCommand, short_help="Show conversations: a table, or JSON Lines in a pipe.")
@add_options(filter_options)
@agent_option
@maximum_option
@columns_option("conversation")
@json_option
@add_options(connection_options)
@click.pass_context
def conversations(
    context: click.Context,
    /,
    inbox_id: str | None,
    stage_status: str | None,
    agent: str | None,
    since: str | None,
    until: str | None,
    maximum: int | None,
    columns: Sequence[ShownColumn] | None,
    as_json: bool,  # noqa: FBT001 - click passes it by name
    **server: Any,
) -> int:
    """Show conversations: a table on a terminal, JSON Lines as the API sent them in a pipe."""
    _require_one_form(context)
    connection = build_connection(**server)

    from cekat_async.cli.commands.listings import View, list_conversations  # noqa: PLC0415
    from cekat_async.cli.event_loop import run_async  # noqa: PLC0415

    filters = {
        "inbox_id": inbox_id,
        "stage_status": stage_status,
        "since": since and parse_bound(since),
        "until": until and parse_bound(until),
    }
    view = View(
        columns, as_json, maximum, agent, describe_choice(context, OptionGroup.WHAT_TO_LIST)
    )
    return run_async(list_conversations(context.obj, connection, view, filters), context.obj)


@app.command(cls=GroupedCommand, short_help="Show inboxes: a table, or JSON Lines in a pipe.")
@columns_option("inbox")
@json_option
@add_options(connection_options)
@click.pass_context
def inboxes(
    context: click.Context,
    /,
    columns: Sequence[ShownColumn] | None,
    as_json: bool,  # noqa: FBT001 - click passes it by name
    **server: Any,
) -> int:
    """Show the account's inboxes: a table on a terminal, JSON Lines in a pipe."""
    _require_one_form(context)
    connection = build_connection(**server)

    from cekat_async.cli.commands.listings import View, list_inboxes  # noqa: PLC0415
    from cekat_async.cli.event_loop import run_async  # noqa: PLC0415

    view = View(columns, as_json)
    return run_async(list_inboxes(context.obj, connection, view), context.obj)


def _require_one_form(context: click.Context) -> None:
    if context.params["as_json"] and context.params["columns"]:
        raise click.UsageError("Use either --json or --columns, not both.", context)


@app.command(cls=GroupedCommand, short_help="Check the key, network, clock and quota.")
@add_options(connection_options)
@click.pass_context
def doctor(context: click.Context, /, **server: Any) -> int:
    """Check everything that a request needs. Each line shows what works, or what to do.

    Sends one request, and does not retry unless you pass --attempts. Never shows the key.
    """
    # Unlike other commands, do not retry, because retries would delay the diagnosis.
    if not is_typed(context, "attempts"):
        server["attempts"] = 1
    connection = build_connection(**server)

    from cekat_async.cli.commands.doctor.diagnosis import diagnose  # noqa: PLC0415
    from cekat_async.cli.event_loop import run_async  # noqa: PLC0415

    settings = describe_settings(context)
    return run_async(diagnose(context.obj, connection, settings), context.obj)


@app.command(cls=GroupedCommand, short_help="Run a sandbox of the API on this machine.")
@option(
    "--conversations",
    group=OptionGroup.SANDBOX,
    **number(0, 5000),
    help="Number of conversations.",
)
@option(
    "--inboxes",
    group=OptionGroup.SANDBOX,
    **number(1, 8),
    help="Number of inboxes.",
)
@option(
    "--seed",
    group=OptionGroup.SANDBOX,
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    help="Seed of the data. The same seed gives the same data.",
)
@option(
    "--port",
    group=OptionGroup.SANDBOX,
    type=click.IntRange(0, 65535),
    default=0,
    show_default="any free port",
    metavar="N",
    help="Port on 127.0.0.1.",
)
@option(
    "--live",
    group=OptionGroup.SANDBOX,
    is_flag=True,
    help="Change conversations after each page that is read.",
)
@rate_limit_option(
    "Quota to grant. auto is 300 in 60 s, off is unlimited.", group=OptionGroup.SANDBOX
)
@verbose_option
@click.pass_obj
def sandbox(reporter: Reporter, /, rate_limit: RateLimit | None, **options: Any) -> int:
    """Run a sandbox of the API on this machine until you press Ctrl-C."""
    from cekat_async.cli.commands.sandbox import run_sandbox  # noqa: PLC0415
    from cekat_async.cli.event_loop import run_async  # noqa: PLC0415

    return run_async(run_sandbox(reporter, rate_limit, **options), reporter)
