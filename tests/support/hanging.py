"""Lets tests of requests that hang run without real waiting."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from support.clock import skip, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from cekat_async.sandbox import Sandbox


@asynccontextmanager
async def hangs_skipped(sandbox: Sandbox, seconds: float) -> AsyncGenerator[None]:
    """Advance the loop's clock by ``seconds`` each time a request to the sandbox hangs."""

    def hangs() -> int:
        return sum(seen.fault == "hang" for seen in sandbox.log.requests)

    async def watch() -> None:
        for skipped in itertools.count():
            await until(lambda: hangs() > skipped)  # noqa: B023 - awaited before the next one
            skip(seconds)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait([watching])
