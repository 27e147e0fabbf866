"""Opens the client or the sandbox that the options of a command describe."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from cekat_async import CekatClient, ConfigurationError, RetryPolicy, Timeout

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from cekat_async import RateLimit
    from cekat_async.cli.connection import Connection
    from cekat_async.sandbox import Sandbox

__all__ = ["make_sandbox", "open_client"]


@asynccontextmanager
async def open_client(connection: Connection, **options: Any) -> AsyncGenerator[CekatClient, None]:
    """Open a client for the API, or for a sandbox that runs as long as the client is open."""
    options = _get_client_options(connection) | options
    if connection.sandbox:
        async with (
            make_sandbox(connection.rate_limit, conversations=connection.sandbox_size) as sandbox,
            CekatClient(sandbox.api_key, base_url=sandbox.base_url, **options) as client,
        ):
            yield client
        return
    async with CekatClient(
        connection.key.read(),
        base_url=connection.base_url,
        allow_http=connection.allow_http,
        # Users expect a command-line program to use the proxy in the environment.
        trust_env=True,
        **options,
    ) as client:
        yield client


def make_sandbox(
    rate: RateLimit | None,
    *,
    conversations: int,
    inboxes: int = 8,
    seed: int = 1,
    port: int = 0,
    live: bool = False,
) -> Sandbox:
    """Return a sandbox that grants the given rate, or by default the documented rate.

    With ``live``, about two conversations change after each page, so that the next
    incremental export has something to fetch.

    Raises:
        ConfigurationError: The sandbox cannot have this size.
    """
    from cekat_async.sandbox import Live, Quota, Sandbox  # noqa: PLC0415 - a whole web server

    quota = Quota() if rate else None
    if rate is not None and rate.requests is not None:
        # A reset time in whole seconds would be too coarse for a window of a few seconds.
        quota = Quota(rate.requests, per=rate.per, reset_as="epoch_ms")
    changes = Live(messages=1.5, created=0.25, resolved=0.25) if live else None
    try:
        return Sandbox(conversations, inboxes, seed, port=port, quota=quota, live=changes)
    except ValueError as error:
        raise ConfigurationError(f"no such sandbox: {error}") from error


def _get_client_options(connection: Connection) -> dict[str, Any]:
    rate, timeout = connection.rate_limit, Timeout()
    rate = rate and msgspec.structs.replace(rate, share=connection.share)
    if connection.wait:
        # A pause may be longer than the time limit of a request, so remove both limits.
        timeout = msgspec.structs.replace(timeout, request=None)
        rate = rate and msgspec.structs.replace(rate, longest_hold=None)
    retry = RetryPolicy(attempts=connection.attempts)
    return {"rate_limit": rate, "timeout": timeout, "retry": retry}
