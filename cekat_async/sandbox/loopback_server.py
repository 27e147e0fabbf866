"""Starts and stops the HTTP server of a sandbox: in an event loop, or in its own thread."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from cekat_async.sandbox.http.connections import Connections, stop_listening
from cekat_async.sandbox.http.loop_thread import LoopThread

if TYPE_CHECKING:
    from typing import Self

    from cekat_async.sandbox.http.handler import Handler
    from cekat_async.sandbox.log import Log


class LoopbackServer:
    """The server of a sandbox. It can run only once."""

    def __init__(self, handler: Handler, log: Log, host: str, port: int) -> None:
        self.log = log
        self._handler = handler
        self._host, self._port = host, port
        self._connections: Connections | None = None
        self._socket: asyncio.Server | None = None
        self._base_url: str | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: LoopThread | None = None

    @property
    def base_url(self) -> str:
        """The server's address without a slash at the end, such as ``http://127.0.0.1:54321``.

        Raises:
            RuntimeError: The sandbox has not been started.
        """
        if self._base_url is None:
            raise RuntimeError("the sandbox has not been started: use `async with` or `with`")
        return self._base_url

    def __enter__(self) -> Self:
        thread = LoopThread("cekat-sandbox")
        try:
            thread.run(self.__aenter__())
        except BaseException:
            thread.stop()
            raise
        self._thread = thread
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            try:
                self._thread.run(self.__aexit__())
            finally:
                self._thread.stop()

    async def __aenter__(self) -> Self:
        if self._connections is not None:
            raise RuntimeError("a sandbox runs only once: create another one")
        self._connections = Connections(self._handler.handle, self.log)
        self._loop = loop = asyncio.get_running_loop()
        self._socket = await loop.create_server(self._connections, self._host, self._port)
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._base_url = f"http://{host}:{self._socket.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._socket is not None and self._connections is not None:
            await stop_listening(self._socket)
            await self._connections.close_all()
            await self._socket.wait_closed()

    def _get_time(self) -> float:
        """Return the time of the event loop in which the sandbox runs or will run."""
        # Before the sandbox runs, use the clock of asyncio's own event loops.
        return self._loop.time() if self._loop else time.monotonic()
