"""The options that several commands share, and the client they lead to."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec
from click.core import ParameterSource

from cekat_async import CekatClient, ConfigurationError, RateLimit, RetryPolicy, Timeout
from cekat_async.cli.running import log_everything
from cekat_async.sandbox import Quota, Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

__all__ = [
    "Connection",
    "connection",
    "connection_options",
    "filter_options",
    "make_sandbox",
    "rate_limit_option",
    "verbose_option",
]

F = TypeVar("F", bound="Callable[..., Any]")


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


def rate_limit_option(help_text: str) -> Callable[[F], F]:
    """Return the option for a rate, which the client keeps or a sandbox grants."""
    return click.option(
        "--rate-limit",
        metavar="N/SECONDS",
        callback=_rate_limit,
        default="auto",
        show_default=True,
        help=help_text,
    )


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """Where a command gets its conversations from."""

    base_url: str | None
    rate_limit: RateLimit | None
    wait: bool
    attempts: int
    allow_http: bool
    sandbox: bool
    sandbox_size: int

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[CekatClient, None]:
        """Open the client: of the API, or of a sandbox that is up for as long."""
        if self.sandbox:
            async with self._sandboxed() as client:
                yield client
            return
        async with CekatClient(
            base_url=self.base_url,
            allow_http=self.allow_http,
            # On a command line the environment's proxy is what one expects.
            trust_env=True,
            **self._manners(),
        ) as client:
            yield client

    @asynccontextmanager
    async def _sandboxed(self) -> AsyncGenerator[CekatClient, None]:
        async with (
            make_sandbox(self.rate_limit, conversations=self.sandbox_size) as sandbox,
            CekatClient(sandbox.api_key, base_url=sandbox.base_url, **self._manners()) as client,
        ):
            yield client

    def _manners(self) -> dict[str, Any]:
        """Return the client's options that hold for whichever server it asks."""
        rate, timeout = self.rate_limit, Timeout()
        if self.wait:
            # A hold may outlast the patience for any answer, so that both have to go.
            timeout = msgspec.structs.replace(timeout, deadline=None)
            rate = rate and msgspec.structs.replace(rate, longest_hold=None)
        retry = RetryPolicy(attempts=self.attempts)
        return {"rate_limit": rate, "timeout": timeout, "retry": retry}


def connection(**options: Any) -> Connection:
    """Return what the connection options of the command at hand come to.

    Raises:
        click.UsageError: One was given that has no say beside the others.
    """
    context = click.get_current_context()
    given = [name for name in options if _is_given(context, name)]
    idle = {"base_url", "allow_http"} if options["sandbox"] else {"sandbox_size"}
    for name in given:
        if name in idle:
            option = "--" + name.replace("_", "-")
            without = "with" if options["sandbox"] else "without"
            raise click.UsageError(f"{option} means nothing {without} --sandbox.", context)
    if options["wait"] and options["rate_limit"] is None:
        # How long a hold may be is part of a rate limit: without one it cannot be changed.
        raise click.UsageError("--wait means nothing with --rate-limit off.", context)
    return Connection(**options)


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def make_sandbox(
    rate: RateLimit | None, *, conversations: int, inboxes: int = 8, seed: int = 1, port: int = 0
) -> Sandbox:
    """Return a sandbox that grants a rate; the documented one where that is the server's to say.

    Raises:
        ConfigurationError: It cannot be as large as was asked for.
    """
    try:
        return Sandbox(conversations, inboxes, seed, port=port, quota=_quota(rate))
    except ValueError as error:
        raise ConfigurationError(f"no such sandbox: {error}") from error


def _quota(rate: RateLimit | None) -> Quota | None:
    if rate is None or rate.requests is None:
        return Quota() if rate else None
    # Whole seconds would be too coarse for a window of a few.
    return Quota(rate.requests, per=rate.per, reset_as="epoch_ms")


def _verbose(context: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001, FBT001 - click's own signature
    if value:
        log_everything()


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
    click.option("--base-url", metavar="URL", help="The API's host, if not CEKAT_BASE_URL's."),
    rate_limit_option(
        "Requests at the most in so many seconds; auto: as the server says; off: any number."
    ),
    click.option(
        "--wait",
        is_flag=True,
        help="Wait for a spent quota however long it takes, as until tomorrow.",
    ),
    click.option(
        "--attempts",
        type=click.IntRange(min=1),
        default=RetryPolicy().attempts,
        show_default=True,
        metavar="N",
        help="How often to try a request before giving up.",
    ),
    click.option(
        "--allow-http", is_flag=True, help="Send the key unencrypted, if the URL says so."
    ),
    click.option("--sandbox", is_flag=True, help="Use a built-in sandbox: no key, no network."),
    click.option(
        "--sandbox-size",
        type=click.IntRange(min=0),
        default=5000,
        show_default=True,
        metavar="N",
        help="Conversations in that sandbox.",
    ),
    verbose_option,
)

_FILTER_OPTIONS = (
    click.option("--inbox", "inbox_id", metavar="ID", help="Only this inbox."),
    click.option(
        "--status",
        "stage_status",
        metavar="STATUS",
        help="Only this status: assigned, resolved, pending, open.",
    ),
)


def connection_options(command: F) -> F:
    """Add the options that make a :class:`Connection`, and ``--verbose``."""
    return _with(_CONNECTION_OPTIONS, command)


def filter_options(command: F) -> F:
    """Add the options that say which conversations."""
    return _with(_FILTER_OPTIONS, command)


def _with(options: tuple[Callable[[F], F], ...], command: F) -> F:
    for option in reversed(options):
        command = option(command)
    return command
