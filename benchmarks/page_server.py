"""A server that is no bottleneck: prepared pages over a raw asyncio protocol.

It answers each GET with the page that the number in ``cursor_id`` names, and knows nothing else of
HTTP. Run it in a process of its own; it prints its port and serves until its standard input ends.
"""

import argparse
import asyncio
import sys

from cekat_async.sandbox import Dialect, Sandbox

PER_PAGE = 100


def pages(count: int, *, unknown_fields: bool) -> list[bytes]:
    """Return whole replies: ``count`` pages of a hundred conversations, some 1 kB each."""
    dialect = Dialect(unknown_fields=unknown_fields)
    sandbox = Sandbox(conversations=PER_PAGE * min(count, 100), dialect=dialect)
    records = [raw for _, raw in sandbox.records()]
    hundreds = [records[i : i + PER_PAGE] for i in range(0, len(records), PER_PAGE)]
    return [_reply(hundreds[n % len(hundreds)], n + 1, count) for n in range(count)]


def _reply(records: list[bytes], following: int, count: int) -> bytes:
    cursor = b'{"cursor_id":null,"cursor_ts":null}'
    if following < count:
        cursor = b'{"cursor_id":"%d","cursor_ts":"2026-04-10T09:51:19.885"}' % following
    body = b'{"success":true,"data":[%s],"metadata":{"next_cursor":%s}}' % (
        b",".join(records),
        cursor,
    )
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


class PageServer(asyncio.Protocol):
    """One connection."""

    def __init__(self, replies: list[bytes]) -> None:
        self._replies = replies
        self._transport: asyncio.WriteTransport | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to answer."""
        self._transport = transport  # type: ignore[assignment] - a TCP one, which can be written to

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            self._transport.write(self._replies[_page_asked_for(head)])


def _page_asked_for(head: bytes) -> int:
    _, found, rest = head.partition(b"cursor_id=")
    return int(rest.split(b"&")[0].split()[0]) if found else 0


async def serve(count: int, *, unknown_fields: bool) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    replies = pages(count, unknown_fields=unknown_fields)
    server = await loop.create_server(lambda: PageServer(replies), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--unknown-fields", action="store_true")
    options = parser.parse_args()
    asyncio.run(serve(options.pages, unknown_fields=options.unknown_fields))
