"""The connection of a command: its server, API key and rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click
import msgspec

from cekat_async import ConfigurationError, RateLimit, RetryPolicy
from cekat_async.cli.api_key import KeySource, find_key_source
from cekat_async.cli.formatting import format_option
from cekat_async.cli.options import (
    file_name,
    log_format_option,
    number,
    option,
    rate_limit_option,
    setting,
    settings_options,
    share_option,
    switch,
    text,
    verbose_option,
)
from cekat_async.cli.parameter_types import OptionGroup
from cekat_async.cli.settings import get_settings, is_from_file, is_typed
from cekat_async.config import DEFAULT_BASE_URL, is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CONNECTION_NAMES", "Connection", "build_connection", "connection_options"]


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """The server that a command connects to, with the API key and the rate."""

    key: KeySource
    base_url: str | None
    rate_limit: RateLimit | None
    share: float
    wait: bool
    attempts: int
    allow_http: bool
    sandbox: bool
    sandbox_size: int


CONNECTION_NAMES = ("api_key_file", *(n for n in Connection.__struct_fields__ if n != "key"))
"""The names of the arguments of :func:`build_connection`."""

connection_options: tuple[Callable[[Any], Any], ...] = (
    *settings_options,
    option(
        "--api-key-file",
        group=OptionGroup.CONNECTION,
        **file_name("Private file that contains the key.  [default: $CEKAT_API_KEY]"),
    ),
    setting("--base-url", group=OptionGroup.CONNECTION, **text("URL", "The API's host.")),
    rate_limit_option(
        "Send at most N requests in SECONDS. auto follows the server, off is unlimited.",
        group=OptionGroup.CONNECTION,
        envvar="CEKAT_RATE_LIMIT",
    ),
    share_option,
    switch(
        "--wait",
        "Wait for a used-up quota however long it takes, even until tomorrow.",
        group=OptionGroup.CONNECTION,
    ),
    setting(
        "--attempts",
        group=OptionGroup.CONNECTION,
        **number(1, RetryPolicy().attempts),
        help="Attempts for each request before giving up.",
    ),
    switch(
        "--allow-http",
        "Allow an http:// URL, which sends the key unencrypted.",
        group=OptionGroup.CONNECTION,
    ),
    option(
        "--sandbox",
        group=OptionGroup.SANDBOX,
        is_flag=True,
        help="Use the built-in sandbox: no key, no network.",
    ),
    option(
        "--sandbox-size",
        group=OptionGroup.SANDBOX,
        **number(0, 5000),
        help="Conversations in the sandbox.",
    ),
    log_format_option,
    verbose_option,
)


def build_connection(api_key_file: str | None, **options: Any) -> Connection:
    """Return the connection that the options of the current command describe.

    Raises:
        click.UsageError: An option has no effect in combination with the other options.
        ConfigurationError: A setting is invalid or unsafe.
    """
    context = click.get_current_context()
    unused = {"base_url", "allow_http", "api_key_file"} if options["sandbox"] else {"sandbox_size"}
    for name in sorted(unused):
        if is_typed(context, name):
            without = "with" if options["sandbox"] else "without"
            raise click.UsageError(
                f"{format_option(name)} has no effect {without} --sandbox: leave it out.", context
            )
    for name in ("wait", "share"):
        # The longest pause and the share are parts of a rate limit, and have no effect without one.
        if options[name] and options["rate_limit"] is None and is_typed(context, name):
            raise click.UsageError(
                f"{format_option(name)} has no effect with --rate-limit off: leave it out.",
                context,
            )
    if options["sandbox"]:
        return Connection(key=KeySource(), **options)
    return Connection(key=_find_key(context, api_key_file, options["base_url"]), **options)


def _find_key(context: click.Context, file: str | None, base_url: str | None) -> KeySource:
    settings = get_settings(context)
    if is_from_file(context, "base_url") and settings.is_found_here and not _is_trusted(base_url):
        # Without this check, a settings file in a downloaded folder could send the key to another
        # host.
        raise ConfigurationError(
            f"{settings.file} would send the key to another host (base_url). If you trust this "
            f"file, pass --config {settings.file}"
        )
    key = find_key_source(file, settings, is_profile_typed=is_typed(context, "profile"))
    context.obj.key_source = str(key)
    return key


def _is_trusted(base_url: str | None) -> bool:
    """Return whether a URL is the API's own, or is on this machine."""
    host = urlsplit(base_url or "").hostname
    return base_url == DEFAULT_BASE_URL or (host is not None and is_loopback(host))
