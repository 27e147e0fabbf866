"""The options of the commands, and what those come to that several commands share."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import click
import msgspec
from click.core import ParameterSource

from cekat_async import ConfigurationError, RateLimit, RetryPolicy
from cekat_async.cli.keys import KeySource, key_source
from cekat_async.cli.logs import log_everything
from cekat_async.cli.settings import KEY_NAMES, Settings, read_settings
from cekat_async.cli.texts import text
from cekat_async.cli.voice import Voice
from cekat_async.config import DEFAULT_BASE_URL, is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "CONNECTION_NAMES",
    "ON_A_TERMINAL",
    "Connection",
    "Strength",
    "connection",
    "connection_options",
    "export_options",
    "filter_options",
    "is_typed",
    "rate_limit_option",
    "setting",
    "settings_at_hand",
    "strength",
    "switch",
    "verbose_option",
    "wrong_value",
]

F = TypeVar("F", bound="Callable[..., Any]")

_TABLE = "conversations"

ON_A_TERMINAL = 20
"""How many conversations a table shows, if nobody says."""


def _rate_limit(context: click.Context, param: click.Parameter, value: str) -> RateLimit | None:
    """Read ``300/60``: so many requests in so many seconds; ``300`` means in 60.

    ``auto`` is what the server says, and ``off`` none.
    """
    if value in {"auto", "off"}:
        return RateLimit() if value == "auto" else None
    requests, _, seconds = value.partition("/")
    try:
        return RateLimit(int(requests), float(seconds or 60))
    except ValueError as error:  # a ConfigurationError is one, and says more than Python's own
        reason = str(error) if isinstance(error, ConfigurationError) else f"not {value!r}"
        raise click.BadParameter(
            f"write it like 300/60, or auto, or off ({reason}).", context, param
        ) from None


def rate_limit_option(help_text: str, **more: Any) -> Callable[[F], F]:
    """Return the option for a rate, which the client keeps or a sandbox grants."""
    return click.option(
        "--rate-limit",
        metavar="N/SECONDS",
        callback=_rate_limit,
        default="auto",
        show_default=True,
        help=help_text,
        **more,
    )


class _Switch(click.Option):
    """A switch that can also be turned off, where a file or a variable has turned it on.

    The ``--no-…`` for it is the same for all of them, and so not worth a place in each help.
    """

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        off, self.secondary_opts = self.secondary_opts, []
        try:
            return super().get_help_record(ctx)
        finally:
            self.secondary_opts = off


def setting(name: str, *names: str, **how: Any) -> Callable[[F], F]:
    """Return an option that may also be set in the environment: ``--a-b`` is ``CEKAT_A_B``."""
    variable = "CEKAT_" + name.removeprefix("--").partition("/")[0].replace("-", "_").upper()
    return click.option(name, *names, envvar=variable, **how)


def switch(name: str, help_text: str) -> Callable[[F], F]:
    """Return a setting that is on or off."""
    return setting(f"{name}/--no-{name.removeprefix('--')}", cls=_Switch, help=help_text)


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """Where a command gets its conversations from."""

    key: KeySource
    base_url: str | None
    rate_limit: RateLimit | None
    wait: bool
    attempts: int
    allow_http: bool
    sandbox: bool
    sandbox_size: int


def connection(api_key_file: str | None, **options: Any) -> Connection:
    """Return what the connection options of the command at hand come to.

    Raises:
        click.UsageError: One was given that has no say beside the others.
        ConfigurationError: The settings say what they may not.
    """
    context = click.get_current_context()
    idle = {"base_url", "allow_http", "api_key_file"} if options["sandbox"] else {"sandbox_size"}
    for name in sorted(idle):
        if is_typed(context, name):
            without = "with" if options["sandbox"] else "without"
            raise click.UsageError(f"{_option(name)} means nothing {without} --sandbox.", context)
    if options["wait"] and options["rate_limit"] is None and is_typed(context, "wait"):
        # How long a hold may be is part of a rate limit: without one it cannot be changed.
        raise click.UsageError("--wait means nothing with --rate-limit off.", context)
    key = KeySource() if options["sandbox"] else _key(context, api_key_file, options["base_url"])
    return Connection(key=key, **options)


def _key(context: click.Context, file: str | None, base_url: str | None) -> KeySource:
    settings = settings_at_hand(context)
    is_from_file = strength(context, "base_url") is Strength.FILE
    if is_from_file and settings.is_found_here and not _is_here(base_url):
        # A folder that somebody else has filled would have the key sent to them.
        raise ConfigurationError(
            f"{settings.file}: base_url: for the key to go to another host, name the file: "
            f"--config {settings.file}"
        )
    key = key_source(file, settings, profile_is_typed=is_typed(context, "profile"))
    if (voice := context.find_object(Voice)) is not None:
        voice.key_from = str(key)
    return key


def _is_here(base_url: str | None) -> bool:
    host = urlsplit(base_url or "").hostname
    return base_url == DEFAULT_BASE_URL or (host is not None and is_loopback(host))


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


class Strength(IntEnum):
    """Who said what an option is: the greater outdoes the lesser."""

    NOBODY = 0
    FILE = 1
    ENVIRONMENT = 2
    COMMAND_LINE = 3


_STRENGTHS = {
    ParameterSource.COMMANDLINE: Strength.COMMAND_LINE,
    ParameterSource.ENVIRONMENT: Strength.ENVIRONMENT,
    ParameterSource.DEFAULT_MAP: Strength.FILE,
}


def strength(context: click.Context, name: str) -> Strength:
    """Return who said what an option is."""
    source = context.get_parameter_source(name)
    return Strength.NOBODY if source is None else _STRENGTHS.get(source, Strength.NOBODY)


def is_typed(context: click.Context, name: str) -> bool:
    """Tell whether an option stands on the command line."""
    return strength(context, name) is Strength.COMMAND_LINE


def settings_at_hand(context: click.Context) -> Settings:
    """Return the settings of the file, for the profile that was chosen."""
    settings: Settings = context.meta.get(_SETTINGS, Settings())
    return settings


def wrong_value(error: click.BadParameter) -> str | None:
    """Return what is wrong with a value that was not typed, and where it is from.

    ``None`` if it was: then click's own text says it.
    """
    if error.ctx is None or error.param is None or error.param.name is None:
        return None
    name = error.param.name
    match strength(error.ctx, name):
        case Strength.FILE:
            return f"{settings_at_hand(error.ctx).file}: {name}: {error.message}"
        case Strength.ENVIRONMENT:
            return f"{error.param.envvar}: {error.message}"
        case _:
            return None


def _verbose(context: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001, FBT001 - click's own signature
    if value:
        log_everything()


_SETTINGS = "cekat.settings"
_CHOSEN = "cekat.chosen"


def _choose(context: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Read the settings as soon as it is known which, and before any other option is."""
    chosen: dict[str, str | None] = context.meta.setdefault(_CHOSEN, {})
    chosen[str(param.name)] = value
    if len(chosen) == len(("config", "profile")):
        settings = context.meta[_SETTINGS] = read_settings(chosen["config"], chosen["profile"])
        # Where the key is stands beside the options: each place for it has a rank of its own.
        context.default_map = {
            name: value for name, value in settings.values.items() if name not in KEY_NAMES
        }
    return value


def _log_format(context: click.Context, param: click.Parameter, value: str) -> None:  # noqa: ARG001 - click's own signature
    if (voice := context.find_object(Voice)) is not None:
        voice.as_json = value == "json"


verbose_option = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_verbose,
    help="Say what happens, request by request.",
)
"""Known to the program and to each command: people write it behind either."""

_CONNECTION_OPTIONS = (
    setting(
        "--config",
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=_choose,
        help="Settings, if not in ./cekat.toml or ~/.config/cekat/config.toml.",
    ),
    setting(
        "--profile",
        type=text,
        metavar="NAME",
        is_eager=True,
        expose_value=False,
        callback=_choose,
        help="Which profile of the settings.",
    ),
    click.option(
        "--api-key-file",
        metavar="FILE",
        help="A private file with the key, if not CEKAT_API_KEY's.",
    ),
    setting("--base-url", type=text, metavar="URL", help="The API's host."),
    rate_limit_option(
        "Requests at the most in so many seconds; auto: as the server says; off: any number.",
        envvar="CEKAT_RATE_LIMIT",
    ),
    switch("--wait", "Wait for a spent quota however long it takes, as until tomorrow."),
    setting(
        "--attempts",
        type=click.IntRange(min=1),
        default=RetryPolicy().attempts,
        show_default=True,
        metavar="N",
        help="How often to try a request before giving up.",
    ),
    switch("--allow-http", "Send the key unencrypted, if the URL says so."),
    click.option("--sandbox", is_flag=True, help="Use a built-in sandbox: no key, no network."),
    click.option(
        "--sandbox-size",
        type=click.IntRange(min=0),
        default=5000,
        show_default=True,
        metavar="N",
        help="Conversations in that sandbox.",
    ),
    setting(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        # Right behind the settings, so that all that is wrong with the others is said in it.
        is_eager=True,
        expose_value=False,
        callback=_log_format,
        help="How standard error is written.",
    ),
    verbose_option,
)

CONNECTION_NAMES = ("api_key_file", *(n for n in Connection.__struct_fields__ if n != "key"))
"""What :func:`connection` takes, among the options of a command."""

_FILTER_OPTIONS = (
    click.option("--inbox", "inbox_id", type=text, metavar="ID", help="Only this inbox."),
    click.option(
        "--status",
        "stage_status",
        type=text,
        metavar="STATUS",
        help="Only this status: assigned, resolved, pending, open.",
    ),
)


_EXPORT_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    setting(
        "--inbox",
        type=text,
        metavar="ID",
        multiple=True,
        help="Only this inbox; may be given several times.",
    ),
    switch("--by-inbox", "Walk each inbox by itself: one that fails ends no other."),
    setting(
        "--status",
        type=text,
        metavar="STATUS",
        help="Only this status: assigned, resolved, pending, open.",
    ),
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
    setting(
        "--concurrency",
        type=click.IntRange(min=1),
        default=4,
        show_default=True,
        metavar="N",
        help="Requests under way at once.",
    ),
    setting(
        "--account", type=text, metavar="NAME", help="A name for the account, for people to read."
    ),
    setting(
        "--checkpoint",
        metavar="FILE",
        help="Where to keep what has come until all has.  [default: beside the target]",
    ),
    setting(
        "--table", type=text, metavar="NAME", help=f"The table in a database.  [default: {_TABLE}]"
    ),
    switch("--keep-formulas", "In CSV, leave cells as they are that a spreadsheet would run."),
)


def connection_options(command: F) -> F:
    """Add the options that make a :class:`Connection`, and ``--verbose``."""
    return _with_options(_CONNECTION_OPTIONS, command)


def filter_options(command: F) -> F:
    """Add the options that say which conversations."""
    return _with_options(_FILTER_OPTIONS, command)


def export_options(command: F) -> F:
    """Add the options that the other commands do not have."""
    return _with_options(_EXPORT_OPTIONS, command)


def _with_options(options: tuple[Callable[[F], F], ...], command: F) -> F:
    """Add options to a command, in this order."""
    for option in reversed(options):
        command = option(command)
    return command
