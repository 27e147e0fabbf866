"""A small HTTP server that sends any bytes, for replies that a normal server would not send."""

import asyncio
import gzip
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Self


class Cut(Exception):  # noqa: N818 - it is a kind of reply, and not an error
    """Raised by an ``answer`` function to send these bytes and close the connection."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__(data)
        self.data = data


def http(body: bytes = b'{"data":[]}', status: int = 200, **headers: str) -> bytes:
    """Return a complete reply with these headers.

    Underscores in a header's name become dashes. The value ``""`` omits a header.
    """
    named = {"Content_Length": str(len(body)), "Content_Type": "application/json"} | headers
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in named.items() if value]
    return "\r\n".join([f"HTTP/1.1 {status} Said", *lines, "", ""]).encode() + body


def zipped(body: bytes, keep: float = 1.0) -> bytes:
    """Return a reply with a compressed body that is cut off after the fraction ``keep``."""
    packed = gzip.compress(body)
    return http(packed[: int(len(packed) * keep)], Content_Encoding="gzip")


class RawServer:
    """Answers each request with the bytes that ``answer`` returns for the request's head.

    If ``answer`` returns None, the server never replies. A connection stays open unless
    ``answer`` raises :class:`Cut`.
    """

    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self.answer = answer
        self._tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._dead: set[asyncio.Task[None]] = set()
        self._mute: set[asyncio.Task[None]] = set()
        self.heads: list[bytes] = []
        # While the gate is cleared, no reply is sent.
        self.gate = asyncio.Event()
        self.gate.set()
        self.connections = 0
        self.resets = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        return len(self._tasks)

    def fail_over(self, *, silently: bool = False) -> None:
        """Answer the next request on each open connection with a reset, or never answer it.

        A machine that takes over another machine's address does the same, because it does not
        know the other machine's connections. A client notices only when it sends a request.
        """
        (self._mute if silently else self._dead).update(self._tasks)

    async def say(self, data: bytes) -> None:
        """Send unrequested bytes on all connections, and wait until they have arrived."""
        for writer in self._tasks.values():
            writer.write(data)
            await writer.drain()
        await asyncio.sleep(0.01)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks[task] = writer
        self.connections += 1
        try:
            # This task is cancelled when the server ends, and clients may disconnect at any time.
            with suppress(asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
                while await self._answer_next(reader, writer):
                    pass
        finally:
            del self._tasks[task]
            if task in self._dead:
                linger = struct.pack("ii", 1, 0)  # makes the close send a reset
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, linger
                )
            writer.transport.abort()

    async def _answer_next(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        if asyncio.current_task() in self._dead:
            self.resets += 1
            return False
        if asyncio.current_task() in self._mute:
            await reader.read()
            return False
        self.heads.append(head)
        await self.gate.wait()
        try:
            data = self.answer(head)
        except Cut as cut:
            writer.write(cut.data)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            return False
        if data is None:
            await reader.read()
            return False
        writer.write(data)
        await writer.drain()
        return True
