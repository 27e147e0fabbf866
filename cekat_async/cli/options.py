"""The options of the commands, and where their values come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from cekat_async.cli.parameter_types import (
    SingleOption,
    Switch,
    parse_file_name,
    parse_rate_limit,
    parse_share,
    parse_text,
)
from cekat_async.cli.reporter import log_verbosely
from cekat_async.cli.settings import KEY_NAMES, Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "DEFAULT_ROWS",
    "add_options",
    "describe_bad_value",
    "export_options",
    "filter_options",
    "get_precedence",
    "get_settings",
    "is_from_file",
    "is_typed",
    "log_format_option",
    "number",
    "rate_limit_option",
    "setting",
    "settings_options",
    "share_option",
    "switch",
    "text",
    "verbose_option",
]

F = TypeVar("F", bound="Callable[..., Any]")

_META_SETTINGS = "cekat.settings"
_META_CHOICE = "cekat.choice"

DEFAULT_ROWS = 20
"""How many conversations a table shows without ``-n``."""


def setting(name: str, **attributes: Any) -> Callable[[F], F]:
    """Return an option that can also be set in the environment: ``--a-b`` is ``CEKAT_A_B``.

    An option with such a variable is also a key of the settings file.
    """
    variable = "CEKAT_" + name.removeprefix("--").partition("/")[0].replace("-", "_").upper()
    return click.option(name, envvar=variable, **attributes)


def switch(name: str, help_text: str) -> Callable[[F], F]:
    """Return a setting that is on or off."""
    return setting(f"{name}/--no-{name.removeprefix('--')}", cls=Switch, help=help_text)


def text(metavar: str, help_text: str) -> dict[str, Any]:
    """Return the attributes of an option that is text."""
    return {"type": parse_text, "metavar": metavar, "help": help_text}


def number(minimum: int, default: int) -> dict[str, Any]:
    """Return the attributes of an option that is a whole number."""
    kind = click.IntRange(min=minimum)
    return {"type": kind, "default": default, "show_default": True, "metavar": "N"}


def rate_limit_option(help_text: str, **attributes: Any) -> Callable[[F], F]:
    """Return the option for a rate, which the client keeps or a sandbox grants."""
    return click.option(
        "--rate-limit",
        type=parse_rate_limit,
        metavar="N/SECONDS",
        default="auto",
        show_default=True,
        help=help_text,
        **attributes,
    )


def add_options(options: Sequence[Callable[[Any], Any]]) -> Callable[[F], F]:
    """Return a decorator that adds options to a command, in this order."""

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


# From the weakest to the strongest.
_SOURCES = (ParameterSource.DEFAULT_MAP, ParameterSource.ENVIRONMENT, ParameterSource.COMMANDLINE)


def get_precedence(context: click.Context, name: str) -> int:
    """Return a number that is greater the stronger the source of an option's value is."""
    source = context.get_parameter_source(name)
    return _SOURCES.index(source) + 1 if source in _SOURCES else 0


def is_typed(context: click.Context, name: str) -> bool:
    """Whether an option is on the command line."""
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def is_from_file(context: click.Context, name: str) -> bool:
    """Whether the value of an option is from the settings file."""
    return context.get_parameter_source(name) is ParameterSource.DEFAULT_MAP


def describe_bad_value(error: click.BadParameter) -> str | None:
    """Return what is wrong with a value from a file or variable, and where it is.

    ``None`` for a value that was typed: click's own text names its option.
    """
    if error.ctx is None or error.param is None or error.param.name is None:
        return None
    name = error.param.name
    if is_from_file(error.ctx, name):
        return f"{get_settings(error.ctx).file}: {name}: {error.message}"
    is_from_variable = error.ctx.get_parameter_source(name) is ParameterSource.ENVIRONMENT
    return f"{error.param.envvar}: {error.message}" if is_from_variable else None


def get_settings(context: click.Context) -> Settings:
    """Return the settings of the file, for the chosen profile."""
    settings: Settings = context.meta.get(_META_SETTINGS, Settings())
    return settings


def _load_settings(context: click.Context, param: click.Parameter, value: str | None) -> None:
    """Read the settings once the file and the profile are known, before any other option."""
    choice: dict[str, str | None] = context.meta.setdefault(_META_CHOICE, {})
    choice[str(param.name)] = value
    if len(choice) < len(settings_options):
        return
    parameters = _find_settable(context.find_root().command)
    settings = read_settings(choice["config"], choice["profile"], parameters)
    context.meta[_META_SETTINGS] = settings
    # The places of a key have an order of precedence of their own: see api_key.py.
    context.default_map = {
        name: value for name, value in settings.values.items() if name not in KEY_NAMES
    }


def _find_settable(program: click.Command) -> dict[str, click.Parameter]:
    """Return the parameters of all commands that a settings file may set, by their names."""
    commands = program.commands.values() if isinstance(program, click.Group) else [program]
    return {
        str(parameter.name): parameter
        for command in commands
        for parameter in command.params
        if parameter.envvar and parameter.name not in {"config", "profile"}
    }


def _set_log_format(context: click.Context, param: click.Parameter, value: str) -> None:  # noqa: ARG001 - click's own signature
    context.obj.as_json = value == "json"


def _set_verbosity(context: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001, FBT001 - click's own signature
    if value:
        log_verbosely()


settings_options = (
    setting(
        "--config",
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=_load_settings,
        help="Settings, if not in ./cekat.toml or ~/.config/cekat/config.toml.",
    ),
    setting(
        "--profile",
        is_eager=True,
        expose_value=False,
        callback=_load_settings,
        **text("NAME", "Which profile of the settings."),
    ),
)
log_format_option = setting(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    # Processed right after the settings, so that errors in other options are logged in it.
    is_eager=True,
    expose_value=False,
    callback=_set_log_format,
    help="How standard error is written.",
)

share_option = setting(
    "--share",
    type=parse_share,
    metavar="PART",
    default="1",
    show_default=True,
    help="Use this part of what the server grants, such as 0.5.",
)
verbose_option = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_set_verbosity,
    help="Say what happens, request by request.",
)
"""An option of the program and of each command, because people type it before or after one."""

_STATUS = text("STATUS", "Only this status: assigned, resolved, pending, open.")

filter_options = (
    click.option("--inbox", "inbox_id", cls=SingleOption, **text("ID", "Only this inbox.")),
    click.option("--status", "stage_status", cls=SingleOption, **_STATUS),
)
export_options = (
    setting("--inbox", multiple=True, **text("ID", "Only this inbox; may be given several times.")),
    switch("--by-inbox", "Walk each inbox by itself: one that fails ends no other."),
    setting("--status", cls=SingleOption, **_STATUS),
    setting(
        "--incremental/--full",
        default=False,
        help="Bring what has moved since the last export, or all.  [default: full]",
    ),
    click.option(
        "--restart", is_flag=True, help="Forget what a stopped export has brought, and begin anew."
    ),
    click.option(
        "--replace",
        is_flag=True,
        help="Replace the target although it is of other filters or of another account.",
    ),
    switch("--allow-empty", "Let an export that finds nothing empty the target."),
    setting("--concurrency", **number(1, 4), help="Requests under way at once."),
    setting("--account", **text("NAME", "A name for the account, for people to read.")),
    setting(
        "--checkpoint",
        type=parse_file_name,
        metavar="FILE",
        help="Where to keep what has come until all has.  [default: beside the target]",
    ),
    setting(
        "--metrics-file",
        type=parse_file_name,
        metavar="FILE",
        help="Write metrics of the run here, for Prometheus.",
    ),
    setting("--table", **text("NAME", "The table in a database.  [default: conversations]")),
    switch("--keep-formulas", "In CSV, leave cells as they are that a spreadsheet would run."),
)
