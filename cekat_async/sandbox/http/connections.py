"""Counts the connections of a server, gives each a number, and closes all of them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.web_protocol import RequestHandler

    from cekat_async.sandbox.log import Log

_ITERATIONS_TO_ACCEPT: Final = 3


class Connections(web.Server):
    """aiohttp's low-level server, which also gives each connection a number for the handler."""

    def __init__(
        self, handle: Callable[[web.BaseRequest, int], Awaitable[web.StreamResponse]], log: Log
    ) -> None:
        # Without handler_cancellation, a hanging request would not end when its client disconnects.
        super().__init__(self._answer, handler_cancellation=True, access_log=None)
        self._handle = handle
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
        # Event loops without selectors may accept a connection while the server is closing.
        if self._closing:
            transport.abort()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Count a connection that either side closed."""
        super().connection_lost(handler, exc)
        self._log.open_connections -= 1
        del self._numbers[handler]

    async def close_all(self) -> None:
        """Close all connections, cancel their requests, and wait until everything has ended."""
        self._closing = True
        for handler in self.connections:
            if handler.transport is not None:
                handler.transport.abort()
        # aiohttp removes a connection from the list when its task has ended.
        while self.connections:  # noqa: ASYNC110 - aiohttp has no event for that
            await asyncio.sleep(0)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self._handle(request, self._numbers.get(request.protocol, 0))


async def stop_listening(server: asyncio.Server) -> None:
    """Close a listening server without leaking a connection that it is just accepting.

    asyncio accepts a connection in one iteration of the loop, and creates its transport in the
    next. If the server is closed in between, the accepted socket stays open.
    """
    loop = asyncio.get_running_loop()
    # Event loops without selectors have no readers. They accept a connection in one step.
    with suppress(NotImplementedError):
        for listening in server.sockets:
            loop.remove_reader(listening.fileno())
    for _ in range(_ITERATIONS_TO_ACCEPT):
        await asyncio.sleep(0)
    server.close()
