"""The client that a connection leads to."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from cekat_async import CekatClient, RetryPolicy, Timeout

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from cekat_async.cli.options import Connection

__all__ = ["open_client"]


@asynccontextmanager
async def open_client(connection: Connection, **more: Any) -> AsyncGenerator[CekatClient, None]:
    """Open the client: of the API, or of a sandbox that is up for as long.

    Args:
        connection: Where to, and how.
        **more: Further options of the client.
    """
    options = _manners(connection) | more
    if connection.sandbox:
        async with _sandboxed(connection, options) as client:
            yield client
        return
    async with CekatClient(
        connection.key.read(),
        base_url=connection.base_url,
        allow_http=connection.allow_http,
        # On a command line the environment's proxy is what one expects.
        trust_env=True,
        **options,
    ) as client:
        yield client


@asynccontextmanager
async def _sandboxed(
    connection: Connection, options: dict[str, Any]
) -> AsyncGenerator[CekatClient, None]:
    from cekat_async.cli.sandboxing import make_sandbox  # noqa: PLC0415 - a whole web server

    async with (
        make_sandbox(connection.rate_limit, conversations=connection.sandbox_size) as sandbox,
        CekatClient(sandbox.api_key, base_url=sandbox.base_url, **options) as client,
    ):
        yield client


def _manners(connection: Connection) -> dict[str, Any]:
    """Return the client's options that hold for whichever server it asks."""
    rate, timeout = connection.rate_limit, Timeout()
    if connection.wait:
        # A hold may outlast the patience for any answer, so that both have to go.
        timeout = msgspec.structs.replace(timeout, deadline=None)
        rate = rate and msgspec.structs.replace(rate, longest_hold=None)
    retry = RetryPolicy(attempts=connection.attempts)
    return {"rate_limit": rate, "timeout": timeout, "retry": retry}
