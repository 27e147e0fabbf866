"""A fast server with prepared pages: nginx, or a bundled server on a raw asyncio protocol.

Both servers support only the cursor of the API. nginx reads the cursor's id, which is the number of
a page. The bundled server reads the cursor's time: successive pages are one minute apart. Each
listing has its own port. Use ``serving`` to run a server in its own process. The process prints the
ports, and serves until its standard input ends.

With the bundled server, ``move_last`` moves the last pages of a listing to its front, as if their
conversations had changed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import unquote_to_bytes
from urllib.request import urlopen

from child import use_cpu

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

SERVERS = ("auto", "nginx", "raw")
RECORDS = ("documented", "unknown", "two-unknown", "mistyped")
# All pages consist of this many different records, of about 1 kB each.
_MOST_RECORDS = 10_000
# nginx serves files. This many already have 200 MB.
_MOST_FILES = 2_000
_BEGIN = datetime(2026, 4, 10, 9, 51, 19, 885_000, tzinfo=UTC)
_STEP = timedelta(minutes=1)
# The beginning of a record, and the number of digits of its id that are replaced.
_HEAD, _DIGITS = b'{"id":"', 8
_ENOUGH = 1 << 20


class Listing(NamedTuple):
    """The listing of one port: its number of pages, and the number and the kind of their records.

    ``documented`` records are as on the API's documentation page. 15 % of the ``unknown`` records
    have one undocumented field. Each ``two-unknown`` record has two undocumented fields, and each
    ``mistyped`` record has a number as its name. With a ``quota`` (requests per minute), the
    headers of the bundled server report the remaining requests of each key. It refuses no request.
    """

    name: str
    pages: int
    per_page: int = 100
    records: str = "documented"
    quota: int | None = None


class Pages:
    """The bodies of a listing, built when they are requested.

    The bodies repeat a limited number of records, each time with other ids.
    """

    def __init__(self, listing: Listing) -> None:
        self._count = listing.pages
        size = listing.per_page
        records = make_records(listing.records, min(size * listing.pages, _MOST_RECORDS))
        tails = [raw[len(_HEAD) + _DIGITS :] for raw in records]
        self._tails = [tails[i : i + size] for i in range(0, len(tails), size)]
        self.first = 0
        """The number of the first page: below 0 if pages were moved to the front."""

    def __len__(self) -> int:
        return self._count

    def move_last(self, count: int) -> None:
        """Move the last pages to the front, and all others back to their places."""
        self.first = -count

    def body(self, number: int) -> bytes:
        """Return a page. After the last page, pages are empty."""
        end = self._count + self.first
        if number >= end:
            return b'{"success":true,"data":[' + _end(number, 0)
        turn, place = divmod(number % self._count, len(self._tails))
        head = b"%b%08x" % (_HEAD, turn)
        records = (b"," + head).join(self._tails[place])
        return b"".join((b'{"success":true,"data":[', head, records, _end(number + 1, end)))


def make_records(kind: str, count: int) -> list[bytes]:
    """Return the JSON of different conversations."""
    from cekat_async.sandbox import Dialect, Sandbox  # noqa: PLC0415 - rivals import this module too

    sandbox = Sandbox(conversations=count, dialect=Dialect(unknown_fields=False))
    change = _CHANGES[kind]
    return [change(number, raw) for number, (_, raw) in enumerate(sandbox.records())]


def _add_unknown_to_some(number: int, raw: bytes) -> bytes:
    return _with_fields(raw, sla=_SLA) if number % 20 in {3, 10, 17} else raw


def _with_fields(raw: bytes, **fields: object) -> bytes:
    record = json.loads(raw) | fields
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()


_SLA = {"due_at": "2026-04-10T09:51:19.885+00:00", "is_late": False}
_CHANGES: dict[str, Callable[[int, bytes], bytes]] = {
    "documented": lambda _, raw: raw,
    "unknown": _add_unknown_to_some,
    "two-unknown": lambda number, raw: _with_fields(raw, score=number / 10, sla=_SLA),
    "mistyped": lambda _, raw: _with_fields(raw, contact_name=5),
}


def _end(following: int, count: int) -> bytes:
    cursor = '{"cursor_id":null,"cursor_ts":null}'
    if following < count:
        moment = (_BEGIN - following * _STEP).isoformat(timespec="milliseconds")
        cursor = f'{{"cursor_id":"{following}","cursor_ts":"{moment[:23]}"}}'
    return f'],"metadata":{{"next_cursor":{cursor}}}}}'.encode()


class Quota:
    """The headers of a quota that allows each key ``limit`` requests per minute."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._minute = 0
        self._used = Counter[bytes]()

    def headers(self, head: bytes) -> bytes:
        """Count a request, and return the headers of the reply."""
        minute, second = divmod(int(time.time()), 60)
        if minute != self._minute:
            self._minute, self._used = minute, Counter[bytes]()
        key = head.partition(b"Authorization: ")[2].partition(b"\r\n")[0]
        self._used[key] += 1
        return _QUOTA % (self._limit, max(0, self._limit - self._used[key]), 60 - second)


_QUOTA = b"X-RateLimit-Limit: %d\r\nX-RateLimit-Remaining: %d\r\nX-RateLimit-Reset: %d\r\n"


class RawProtocol(asyncio.Protocol):
    """One connection of the bundled server."""

    def __init__(self, pages: Pages, quota: Quota | None) -> None:
        self._pages, self._quota = pages, quota
        self._transport: asyncio.Transport
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport. Enlarge its buffer, so that a whole page is sent in one call."""
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ENOUGH)
        self._transport = cast("asyncio.Transport", transport)  # as of every TCP connection

    def data_received(self, data: bytes) -> None:
        """Answer each request that has arrived completely."""
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            body = self._answer(head)
            more = self._quota.headers(head) if self._quota else b""
            self._transport.write(_REPLY % (more, len(body)) + body)

    def _answer(self, head: bytes) -> bytes:
        if head.startswith(_MOVE):
            self._pages.move_last(int(head.removeprefix(_MOVE).split(None, 1)[0]))
            return b"{}"
        return self._pages.body(_page_asked_for(head, self._pages.first))


_MOVE = b"GET /move-last/"
_REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n"


def _page_asked_for(head: bytes, first: int) -> int:
    """Return the page for the time in a cursor, even if an export has constructed the cursor."""
    _, found, rest = head.partition(b"cursor_ts=")
    if not found:
        return first
    timestamp = unquote_to_bytes(rest.split(b"&", 1)[0].split(None, 1)[0]).decode()
    return max(first, (_BEGIN - datetime.fromisoformat(timestamp).replace(tzinfo=UTC)) // _STEP)


def move_last(base_url: str, pages: int) -> None:
    """Move the last pages of a listing to its front. With 0 pages, move them back."""
    urlopen(f"{base_url}/move-last/{pages}").close()  # noqa: S310 - our own server


async def serve_raw(listings: list[Listing], certificate: str | None = None) -> None:
    """Serve with the bundled server until standard input ends."""
    loop = asyncio.get_running_loop()
    tls = None
    if certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    ports = {}
    for listing in listings:
        quota = Quota(listing.quota) if listing.quota else None
        protocol = partial(RawProtocol, Pages(listing), quota)
        server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=tls, backlog=1000)
        ports[listing.name] = server.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def serve_nginx(listings: list[Listing], program: str) -> None:
    """Serve with nginx, from files, until standard input ends."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ports = dict(zip([one.name for one in listings], _free_ports(len(listings)), strict=True))
        for listing in listings:
            _write_pages(folder / listing.name, Pages(listing))
        (folder / "nginx.conf").write_text(_configuration(folder, ports), encoding="utf-8")
        errors = str(folder / "error.log")
        command = [program, "-p", name, "-e", errors, "-c", str(folder / "nginx.conf")]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as nginx:
            try:
                _wait_for(nginx, ports)
                print(json.dumps(ports), flush=True)
                sys.stdin.read()
            finally:
                nginx.terminate()


def _write_pages(folder: Path, pages: Pages) -> None:
    folder.mkdir()
    for number in range(len(pages)):
        (folder / str(number)).write_bytes(pages.body(number))


def _free_ports(count: int) -> list[int]:
    """Return unused ports. All ports are open at the same time, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _wait_for(nginx: subprocess.Popen[bytes], ports: dict[str, int]) -> None:
    for port in ports.values():
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                if nginx.poll() is not None:
                    sys.exit("nginx ended")
                time.sleep(0.01)


def _configuration(folder: Path, ports: dict[str, int]) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    scratch = "\n".join(f"  {kind}_temp_path {folder}/{kind};" for kind in kinds)
    # If root starts nginx, its workers run as a user that cannot read the folder.
    user = "user root;" if os.geteuid() == 0 else ""
    servers = "".join(
        _SERVER.format(folder=folder, name=name, port=port) for name, port in ports.items()
    )
    return _NGINX.format(folder=folder, scratch=scratch, user=user, servers=servers)


_NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
{user}
events {{ worker_connections 512; }}
http {{
{scratch}
  access_log off;
  default_type application/json;
  sendfile on;
  tcp_nopush on;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  open_file_cache max=8192 inactive=1h;
  open_file_cache_valid 1h;
  map $arg_cursor_id $page {{ "" 0; default $arg_cursor_id; }}
{servers}
}}
"""
_SERVER = """
  server {{
    listen 127.0.0.1:{port};
    location = /api/conversations {{ alias {folder}/{name}/$page; }}
  }}
"""


def nginx_program() -> str | None:
    """Return the path of nginx, if it is installed."""
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def chosen(server: str, listings: list[Listing]) -> str:
    """Return the server to use. ``auto`` is nginx if nginx is installed and there are few pages."""
    if server != "auto":
        return server
    few = sum(listing.pages for listing in listings) <= _MOST_FILES + 100
    return "nginx" if few and nginx_program() else "raw"


@contextmanager
def serving(
    *listings: Listing, server: str = "auto", certificate: str | None = None
) -> Generator[dict[str, str]]:
    """Run a server in its own process, and yield the base URL of each listing.

    With a ``certificate`` (a file with a key and its certificates), the bundled server uses TLS.
    """
    scheme = "https" if certificate else "http"
    command = [sys.executable, __file__, "--server", chosen(server, [*listings])]
    command += ["--certificate", certificate] if certificate else []
    command += [json.dumps(listing) for listing in listings]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            ports = json.loads(_read_line(process) or sys.exit("the server did not start"))
            yield {name: f"{scheme}://127.0.0.1:{port}" for name, port in ports.items()}
        finally:
            if process.stdin:
                process.stdin.close()


def _read_line(process: subprocess.Popen[str]) -> str:
    return process.stdout.readline() if process.stdout else ""


def main() -> None:
    """Serve the given listings. Each argument is a JSON array with the fields of a ``Listing``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", choices=SERVERS, default="auto")
    parser.add_argument(
        "--certificate", metavar="FILE", help="use TLS; only for the bundled server"
    )
    parser.add_argument("listings", nargs="+", help='["name", pages, records of each, kind]')
    options = parser.parse_args()
    listings = [Listing(*json.loads(text)) for text in options.listings]
    use_cpu(last=True)
    if chosen(options.server, listings) == "raw":
        asyncio.run(serve_raw(listings, options.certificate))
        return
    serve_nginx(listings, nginx_program() or sys.exit("nginx is not installed; use --server raw"))


if __name__ == "__main__":
    main()
