"""The connections of a sandbox: counted, numbered, and closed all at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.web_protocol import RequestHandler

    from .log import Log

_TURNS_TO_ACCEPT: Final = 3


class Connections(web.Server):
    """aiohttp's low-level server, which also knows the number of each connection.

    Args:
        handle: answers a request.
        log: where connections are counted.
    """

    def __init__(
        self, handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], log: Log
    ) -> None:
        # A handler must not outlive its client: one that hangs would do so for ever.
        super().__init__(handle, handler_cancellation=True, access_log=None)
        self._log = log
        self._numbers: dict[RequestHandler, int] = {}
        self._opened = 0
        self._closing = False

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Count a connection that was opened."""
        super().connection_made(handler, transport)
        self._opened += 1
        self._numbers[handler] = self._opened
        self._log.connections += 1
        self._log.open_connections += 1
        # Loops that are not built on selectors may still have had one in their hands.
        if self._closing:
            transport.abort()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Count a connection that was closed, by whichever side."""
        super().connection_lost(handler, exc)
        self._log.open_connections -= 1
        del self._numbers[handler]

    def number(self, handler: RequestHandler) -> int:
        """Return the number of an open connection, counted from 1; 0 for a closed one."""
        return self._numbers.get(handler, 0)

    async def hang_up(self) -> None:
        """Close every connection, cancel what is being answered, and wait until both are done."""
        self._closing = True
        for handler in self.connections:
            if handler.transport is not None:
                handler.transport.abort()
        # Each connection leaves this list when its task has ended.
        while self.connections:  # noqa: ASYNC110  # aiohttp offers no event, and it takes a few turns
            await asyncio.sleep(0)


async def stop_listening(server: asyncio.Server) -> None:
    """Close a listening server without losing a connection that is just being accepted.

    Between asyncio's accepting a connection and building its transport lies one turn of the loop;
    a server closed in that turn leaves the accepted socket open for ever.
    """
    loop = asyncio.get_running_loop()
    # Only loops built on selectors have readers, and only they have the gap.
    with suppress(NotImplementedError):
        for listening in server.sockets:
            loop.remove_reader(listening.fileno())
    for _ in range(_TURNS_TO_ACCEPT):
        await asyncio.sleep(0)
    server.close()
