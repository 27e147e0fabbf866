"""The longest time for which one response keeps the event loop busy, in CPU time of its thread.

A deadline, a cancellation and every other task wait for that long. A hostile or broken server
decides what a response is: 256 MiB in a few compressed bytes, an error without an end, a body in
pieces of one byte. The client bounds its size, and works on it in steps.

Each kind of response is one entry of ``RESPONSES``. The rival is the loop that one writes first:
aiohttp's ``read()``, and ``json.loads`` of all of it.
"""

from __future__ import annotations

import asyncio
import gzip
import importlib
import json
import resource
import sys
import threading
import zlib
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench_hold import Probe
from page_server import make_records
from suite import Claim, Metric, Result, Sample, argument_parser, fresh, interleaved, show, values

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

OURS, NAIVE = "cekat_async", "aiohttp + json"
_MIB = 1024 * 1024
# The default of CekatClient(max_page_bytes=…), and what compressed responses unpack to.
_BOUND, _BOMB = 8 * _MIB, 256 * _MIB
_METRICS = [
    Metric(key="longest", heading="longest, CPU ms", digits=1),
    Metric(key="memory", heading="peak MiB"),
]
_NOTE = (
    "From when the event loop hands out what has happened until it asks again, in CPU time of its "
    "thread. The memory is what the process grew by at its peak."
)


class Response(NamedTuple):
    """A response as it is sent. An endless one repeats its body until the client hangs up."""

    body: bytes
    status: int = 200
    headers: tuple[str, ...] = ()
    is_endless: bool = False


def _page(size: int) -> bytes:
    """Return a page of good records of about ``size`` bytes, and not more."""
    records = make_records("documented", 1000)
    some = b",".join(records)
    count = (size - 200) // (len(some) + 1)
    return b'{"success":true,"data":[%b],"metadata":null}' % b",".join([some] * count)


def _bomb(pack: Callable[[], zlib._Compress]) -> bytes:
    packer = pack()
    block = bytes(_MIB)
    return b"".join([*(packer.compress(block) for _ in range(_BOMB // _MIB)), packer.flush()])


def _packed_by(module: str) -> bytes:
    """Return a bomb of a compressor that has one function for it."""
    return importlib.import_module(module).compress(bytes(_BOMB))


def _chunked(body: bytes, size: int) -> bytes:
    """Return a body in chunks of ``size`` bytes."""
    chunks = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join([*(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks), b"0\r\n\r\n"])


def _encoded(body: bytes, coding: str, status: int = 200) -> Response:
    return Response(body, status, (f"Content-Encoding: {coding}",))


# One row for each. They are made when they are asked for: some take a while. "page" and "page-gzip"
# are at the bound, "page-beyond" is of eight times its size.
RESPONSES: dict[str, Callable[[], Response]] = {
    "page": lambda: Response(_page(_BOUND)),
    "page-gzip": lambda: _encoded(gzip.compress(_page(_BOUND), 1), "gzip"),
    "page-beyond": lambda: Response(_page(8 * _BOUND)),
    "page-one-byte-chunks": lambda: Response(
        _chunked(_page(_MIB), 1), headers=("Transfer-Encoding: chunked",)
    ),
    "page-endless": lambda: Response(_page(_MIB), is_endless=True),
    "gzip-bomb": lambda: _encoded(_bomb(lambda: zlib.compressobj(wbits=31)), "gzip"),
    "deflate-bomb": lambda: _encoded(_bomb(zlib.compressobj), "deflate"),
    "brotli-bomb": lambda: _encoded(_packed_by("brotli"), "br"),
    "zstd-bomb": lambda: _encoded(_packed_by("backports.zstd"), "zstd"),
    "gzip-members": lambda: _encoded(gzip.compress(b"", 1) * 100_000, "gzip"),
    "error-endless": lambda: Response(b"x" * _MIB, 500, is_endless=True),
    "error-gzip-bomb": lambda: _encoded(_bomb(lambda: zlib.compressobj(wbits=31)), "gzip", 500),
}


async def ours(base_url: str) -> None:
    """Ask for the page with the client."""
    from cekat_async import CekatClient, CekatError, RetryPolicy  # noqa: PLC0415

    once = RetryPolicy(attempts=1)
    async with CekatClient("benchmark", base_url=base_url, rate_limit=None, retry=once) as cekat:
        with suppress(CekatError):
            await cekat.conversations.page()


async def naive(base_url: str) -> None:
    """Ask for it with aiohttp, and decode what comes."""
    import aiohttp  # noqa: PLC0415

    timeout = aiohttp.ClientTimeout(total=5)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        with suppress(aiohttp.ClientError, TimeoutError, ValueError):
            async with session.get(f"{base_url}/api/conversations?limit=100") as response:
                json.loads(await response.read())


_RIVALS: dict[str, Callable[[str], Awaitable[None]]] = {OURS: ours, NAIVE: naive}


def measure(rival: str, base_url: str) -> Sample:
    """Make one call, and return for how long it kept the loop busy at the most, and its memory."""
    # The naive loop would fill the memory of the machine: at 2 GiB it has shown what it does.
    resource.setrlimit(resource.RLIMIT_AS, (2048 * _MIB, 2048 * _MIB))
    probe = Probe()

    async def call() -> int:
        # Imports and the first connection are not what is asked for.
        with suppress(Exception):
            await _RIVALS[rival](f"{base_url}/small")
        probe.take()
        before = _peak()
        with suppress(MemoryError):
            await _RIVALS[rival](base_url)
        return before

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(probe)) as runner:
        before = runner.run(call())
    return {"longest": 1000 * probe.take()[1], "memory": (_peak() - before) / _MIB}


def _peak() -> int:
    """Return the most memory that this process has had, in bytes."""
    with suppress(OSError):
        # Where there is this, it is exact: what getrusage says includes that of the parent.
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def served(response: Response) -> Iterator[str]:
    """Serve a response in a thread, and yield the server's address; ``/small`` is an empty page."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    address: list[str] = []

    async def serve() -> None:
        server = await asyncio.start_server(partial(_answer, response), "127.0.0.1", 0)
        address.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        ready.set()

    def run() -> None:
        loop.run_until_complete(serve())
        loop.run_forever()

    threading.Thread(target=run, daemon=True).start()
    ready.wait()
    yield address[0]
    loop.call_soon_threadsafe(loop.stop)


async def _answer(
    response: Response, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    with suppress(OSError, asyncio.IncompleteReadError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            small = Response(b'{"success":true,"data":[]}')
            async for data in _sent(small if head.startswith(b"GET /small") else response):
                writer.write(data)
                await writer.drain()
    writer.close()


async def _sent(response: Response) -> AsyncIterator[bytes]:
    lines = [f"HTTP/1.1 {response.status} Said", "Content-Type: application/json"]
    lines += response.headers
    if not response.is_endless and "Transfer-Encoding: chunked" not in response.headers:
        lines.append(f"Content-Length: {len(response.body)}")
    yield "\r\n".join([*lines, "", ""]).encode()
    yield response.body
    while response.is_endless:
        yield response.body


def results(names: list[str], rounds: int, at_most: float) -> Iterator[Result]:
    """Measure each kind of response."""
    for name in names:
        try:
            response = RESPONSES[name]()
        except ImportError as missing:
            print(f"{name} is left out: {missing.name} is not installed", file=sys.stderr)
            continue
        with served(response) as base_url:
            cases = {
                rival: partial(fresh, measure, rival=rival, base_url=base_url) for rival in _RIVALS
            }
            samples = interleaved(cases, rounds)
        result = Result(title=name, metrics=_METRICS, samples=samples, notes=[_NOTE])
        longest = values(result, OURS, "longest")
        result.claims = [Claim(what=name, values=longest, wanted=at_most, unit="ms")]
        yield result


def main() -> None:
    """Measure and print; fail if a response kept the loop busy for too long."""
    parser = argument_parser(__doc__, rounds=3)
    parser.add_argument("responses", nargs="*", metavar="RESPONSE", help=", ".join(RESPONSES))
    parser.add_argument("--at-most", type=float, default=100.0, metavar="MS", help="fail above it")
    options = parser.parse_args()
    if unknown := {*options.responses} - {*RESPONSES}:
        parser.error(f"no such response: {', '.join(sorted(unknown))}")
    found = [*results(options.responses or [*RESPONSES], options.rounds, options.at_most)]
    show(found, as_json=options.json)
    missed = [result.title for result in found if not all(c.is_met for c in result.claims)]
    if missed:
        sys.exit(f"longer than {options.at_most:g} ms: {', '.join(missed)}")


if __name__ == "__main__":
    main()
