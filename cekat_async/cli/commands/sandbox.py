"""The command ``cekat sandbox``: runs a sandbox of the API until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any

from cekat_async import ConfigurationError
from cekat_async.cli.client_factory import make_sandbox
from cekat_async.cli.streams import write_stdout

if TYPE_CHECKING:
    from cekat_async import RateLimit
    from cekat_async.cli.reporter import Reporter

__all__ = ["run_sandbox"]

_BANNER = """The sandbox is running. Press Ctrl-C to stop it.

  export CEKAT_BASE_URL={base_url}
  export CEKAT_API_KEY={api_key}

  {curl}

"""


async def run_sandbox(reporter: Reporter, rate: RateLimit | None, **options: Any) -> None:
    """Run a sandbox until Ctrl-C or SIGTERM. ``options`` are passed to ``make_sandbox``."""
    async with AsyncExitStack() as stack:
        try:
            sandbox = await stack.enter_async_context(make_sandbox(rate, **options))
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise ConfigurationError(
                f"cannot listen on port {options['port']}: {reason}. To continue, choose another "
                "--port, or leave it out to use any free port"
            ) from None
        banner = _BANNER.format(
            base_url=sandbox.base_url, api_key=sandbox.api_key, curl=sandbox.curl()
        )
        write_stdout([banner.encode()])
        # Ctrl-C is the normal way to stop a sandbox, not an interruption.
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    reporter.report("the sandbox has stopped")
