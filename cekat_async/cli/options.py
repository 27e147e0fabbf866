"""Declares the options of the commands, and the environment variables that can set them."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cekat_async import StageStatus
from cekat_async.cli.parameter_types import (
    Option,
    OptionGroup,
    SingleOption,
    Switch,
    complete_file_name,
    parse_file_name,
    parse_moment,
    parse_rate_limit,
    parse_share,
    parse_text,
)
from cekat_async.cli.reporter import log_verbosely
from cekat_async.cli.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "add_options",
    "describe_choice",
    "export_options",
    "file_name",
    "filter_options",
    "log_format_option",
    "number",
    "option",
    "rate_limit_option",
    "setting",
    "settings_options",
    "share_option",
    "switch",
    "text",
    "verbose_option",
]

F = TypeVar("F", bound="Callable[..., Any]")


def option(
    *names: str, group: OptionGroup, cls: type[Option] = Option, **attributes: Any
) -> Callable[[F], F]:
    """Return an option that the help shows under the heading ``group``."""
    return click.option(*names, cls=cls, group=group, **attributes)


def setting(name: str, *, group: OptionGroup, **attributes: Any) -> Callable[[F], F]:
    """Return an option that a variable can set, too: ``CEKAT_A_B`` for ``--a-b``.

    The settings file can also set an option that has such a variable.
    """
    variable = "CEKAT_" + name.removeprefix("--").partition("/")[0].replace("-", "_").upper()
    return option(name, group=group, envvar=variable, **attributes)


def switch(name: str, help_text: str, *, group: OptionGroup) -> Callable[[F], F]:
    """Return a setting that is on or off."""
    names = f"{name}/--no-{name.removeprefix('--')}"
    return setting(names, group=group, cls=Switch, help=help_text)


def text(metavar: str, help_text: str) -> dict[str, Any]:
    """Return the attributes of an option that is text."""
    return {"type": parse_text, "metavar": metavar, "help": help_text}


def file_name(help_text: str) -> dict[str, Any]:
    """Return the attributes of an option that is the name of a file."""
    return {
        "type": parse_file_name,
        "metavar": "FILE",
        "shell_complete": complete_file_name,
        "help": help_text,
    }


def number(minimum: int, default: int) -> dict[str, Any]:
    """Return the attributes of an option that is a whole number."""
    kind = click.IntRange(min=minimum)
    return {"type": kind, "default": default, "show_default": True, "metavar": "N"}


def rate_limit_option(help_text: str, *, group: OptionGroup, **attributes: Any) -> Callable[[F], F]:
    """Return the option for a rate: the limit of the client, or the quota of a sandbox."""
    return option(
        "--rate-limit",
        group=group,
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


def describe_choice(context: click.Context, group: OptionGroup) -> str:
    """Return the options of a group that have a value, as a user types them: ``--status open``."""
    chosen = (
        f"{one.opts[0]} {shlex.quote(str(context.params[str(one.name)]))}"
        for one in context.command.params
        if isinstance(one, Option) and one.group is group and context.params[str(one.name)]
    )
    return " ".join(chosen)


def _complete_status(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    return [one.value for one in StageStatus if one.value.startswith(incomplete)]


def _set_log_format(context: click.Context, param: click.Parameter, value: str) -> None:  # noqa: ARG001 - click's own signature
    context.obj.as_json = value == "json"


def _set_verbosity(context: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001, FBT001 - click's own signature
    if value:
        log_verbosely()


settings_options = (
    setting(
        "--config",
        group=OptionGroup.SETTINGS,
        is_eager=True,
        expose_value=False,
        callback=load_settings,
        **file_name("Settings file.  [default: ./cekat.toml or ~/.config/cekat/config.toml]"),
    ),
    setting(
        "--profile",
        group=OptionGroup.SETTINGS,
        is_eager=True,
        expose_value=False,
        callback=load_settings,
        **text("NAME", "Profile of the settings file."),
    ),
)
log_format_option = setting(
    "--log-format",
    group=OptionGroup.LOGGING,
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    # Process this option right after the settings, so that errors in other options use its format.
    is_eager=True,
    expose_value=False,
    callback=_set_log_format,
    help="Format of messages on standard error.",
)

share_option = setting(
    "--share",
    group=OptionGroup.CONNECTION,
    type=parse_share,
    metavar="PART",
    default="1",
    show_default=True,
    help="Use this part of the quota, such as 0.5.",
)
verbose_option = option(
    "-v",
    "--verbose",
    group=OptionGroup.LOGGING,
    is_flag=True,
    expose_value=False,
    callback=_set_verbosity,
    help="Log every request.",
)
"""The option ``-v``. Users type it before or after a command, so it is declared in both places."""

_STATUS = {
    **text("STATUS", "Only this status: assigned, resolved, pending, open."),
    "shell_complete": _complete_status,
}

_SINCE: dict[str, Any] = {
    "type": parse_moment,
    "metavar": "TIME",
    "help": "Only what was active since TIME (3d, 2026-11-01, or a full time), and up to a page of "
    "older ones.",
}
_UNTIL = _SINCE | {"help": "Only what was last active until TIME."}

filter_options = (
    option(
        "--inbox",
        "inbox_id",
        group=OptionGroup.WHAT_TO_LIST,
        cls=SingleOption,
        **text("ID", "Only this inbox."),
    ),
    option("--status", "stage_status", group=OptionGroup.WHAT_TO_LIST, cls=SingleOption, **_STATUS),
    option("--since", group=OptionGroup.WHAT_TO_LIST, cls=SingleOption, **_SINCE),
    option("--until", group=OptionGroup.WHAT_TO_LIST, cls=SingleOption, **_UNTIL),
)
export_options = (
    setting(
        "--inbox",
        group=OptionGroup.WHAT_TO_EXPORT,
        multiple=True,
        **text("ID", "Only this inbox. Can be repeated."),
    ),
    switch(
        "--by-inbox",
        "Read each inbox separately, so that a failed inbox does not stop the others.",
        group=OptionGroup.WHAT_TO_EXPORT,
    ),
    setting("--status", group=OptionGroup.WHAT_TO_EXPORT, cls=SingleOption, **_STATUS),
    setting("--since", group=OptionGroup.WHAT_TO_EXPORT, cls=SingleOption, **_SINCE),
    setting("--until", group=OptionGroup.WHAT_TO_EXPORT, cls=SingleOption, **_UNTIL),
    setting(
        "--incremental/--full",
        group=OptionGroup.WHAT_TO_EXPORT,
        default=False,
        help="Fetch what changed since the last export, or everything.  [default: full]",
    ),
    option(
        "--restart",
        group=OptionGroup.RESUMING,
        is_flag=True,
        help="Discard the checkpoint of a stopped export, and start over.",
    ),
    option(
        "--replace",
        group=OptionGroup.HOW_TO_WRITE,
        is_flag=True,
        help="Replace the target even if it was exported with other filters or from another "
        "account.",
    ),
    switch(
        "--allow-empty",
        "Replace the target even if the export finds nothing.",
        group=OptionGroup.HOW_TO_WRITE,
    ),
    setting(
        "--concurrency",
        group=OptionGroup.CONNECTION,
        **number(1, 4),
        help="Concurrent requests.",
    ),
    setting(
        "--account",
        group=OptionGroup.HOW_TO_WRITE,
        **text("NAME", "A readable name for the account."),
    ),
    setting(
        "--checkpoint",
        group=OptionGroup.RESUMING,
        **file_name("File that keeps the progress of the export.  [default: next to the target]"),
    ),
    setting(
        "--table",
        group=OptionGroup.HOW_TO_WRITE,
        **text("NAME", "Table of the database.  [default: conversations]"),
    ),
    switch(
        "--keep-formulas",
        "In CSV, keep cells unchanged that a spreadsheet would run as formulas.",
        group=OptionGroup.HOW_TO_WRITE,
    ),
    setting(
        "--metrics-file",
        group=OptionGroup.LOGGING,
        **file_name("Write metrics of the run to FILE, for Prometheus."),
    ),
)
