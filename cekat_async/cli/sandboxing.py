"""A sandbox of the API: beside a command, or as one."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any

from cekat_async import ConfigurationError
from cekat_async.cli.running import run_async, write_out
from cekat_async.sandbox import Quota, Sandbox

if TYPE_CHECKING:
    from cekat_async import RateLimit
    from cekat_async.cli.exits import ExitCode
    from cekat_async.cli.voice import Voice

__all__ = ["make_sandbox", "run_sandbox"]

_BANNER = """The sandbox is up; Ctrl-C ends it.

  export CEKAT_BASE_URL={base_url}
  export CEKAT_API_KEY={api_key}

  {curl}

"""


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


def run_sandbox(voice: Voice, rate: RateLimit | None, options: dict[str, Any]) -> ExitCode:
    """Run a sandbox until Ctrl-C or SIGTERM.

    Args:
        voice: Says that it has ended.
        rate: What it grants.
        options: Those of :func:`make_sandbox`.
    """
    return run_async(_run(voice, rate, options), voice)


async def _run(voice: Voice, rate: RateLimit | None, options: dict[str, Any]) -> None:
    async with AsyncExitStack() as stack:
        try:
            sandbox = await stack.enter_async_context(make_sandbox(rate, **options))
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise ConfigurationError(f"cannot listen at port {options['port']}: {reason}") from None
        write_out([_banner(sandbox).encode()])
        # Ctrl-C is not what stops a sandbox in the middle, it is how one ends.
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    voice.say("the sandbox has ended")


def _banner(sandbox: Sandbox) -> str:
    """Return what to do with a sandbox that is up."""
    return _BANNER.format(base_url=sandbox.base_url, api_key=sandbox.api_key, curl=sandbox.curl())
