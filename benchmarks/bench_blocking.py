"""The longest time for which one response blocks the event loop, in CPU time of the loop's thread.

During that time, all other tasks, deadlines and cancellations wait. A hostile or broken server can
send
anything: 256 MiB in a few compressed bytes, an error without an end, or a record that is nested a
    million levels deep. The client limits the size of a response, and processes it in steps.

Each kind of response is an entry of ``RESPONSES`` in ``blocking_bodies.py``. The client reads it
with ``page()``, ``pages()``, ``raw_pages()`` and ``get()``. The rival is the obvious loop:
aiohttp's ``read()``, and then ``json.loads`` of the whole body.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import threading
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench_hold import Probe
from blocking_bodies import KEY, MIB, RESPONSES, Response
from suite import (
    Claim,
    Metric,
    Result,
    Sample,
    Samples,
    argument_parser,
    fresh,
    interleaved,
    show,
    spread,
    values,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator

    from cekat_async import CekatClient

_NAIVE = "aiohttp + json"
_LONGEST, _MEMORY = "longest of {}", "memory of {}"


async def page(cekat: CekatClient) -> None:
    """Request one page."""
    await cekat.conversations.page(on_malformed=_ignore)


async def pages(cekat: CekatClient) -> None:
    """Walk all pages. There is only one."""
    async for _ in cekat.conversations.list(on_malformed=_ignore).pages():
        pass


async def raw_pages(cekat: CekatClient) -> None:
    """Walk all pages without decoding any record."""
    async for _ in cekat.conversations.list().raw_pages():
        pass


async def get(cekat: CekatClient) -> None:
    """Request the same path as plain JSON."""
    await cekat.get("/api/conversations")


def _ignore(_: object) -> None:
    """Ignore a malformed record."""


async def ours(read: Callable[[CekatClient], Awaitable[None]], base_url: str) -> None:
    """Read the response with the client."""
    from cekat_async import CekatClient, CekatError, RetryPolicy  # noqa: PLC0415

    once = RetryPolicy(attempts=1)
    async with CekatClient(KEY, base_url=base_url, rate_limit=None, retry=once) as cekat:
        with suppress(CekatError):
            await read(cekat)


async def naive(base_url: str) -> None:
    """Read the response with aiohttp and decode it."""
    import aiohttp  # noqa: PLC0415

    timeout = aiohttp.ClientTimeout(total=5)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        with suppress(aiohttp.ClientError, TimeoutError, ValueError, RecursionError):
            async with session.get(f"{base_url}/api/conversations?limit=100") as response:
                json.loads(await response.read())


_OURS: dict[str, Callable[[str], Awaitable[None]]] = {
    "page()": partial(ours, page),
    "pages()": partial(ours, pages),
    "raw_pages()": partial(ours, raw_pages),
    "get()": partial(ours, get),
}
_RIVALS = _OURS | {_NAIVE: naive}
_METRICS = [
    *(Metric(key=_LONGEST.format(name), heading=name, digits=0) for name in _RIVALS),
    *(Metric(key=_MEMORY.format(name), heading=f"MiB, {name}") for name in ("page()", _NAIVE)),
]
_NOTES = [
    "Times are how long the response blocks the event loop at most, in ms of CPU time.",
    "MiB is how much the process grew at its peak.",
]


def measure(rival: str, base_url: str) -> Sample:
    """Make one call. Return the longest block of the loop, and the memory that the call took."""
    # The rival would fill the machine's memory. 2 GiB are enough to show that.
    resource.setrlimit(resource.RLIMIT_AS, (2048 * MIB, 2048 * MIB))
    probe = Probe()

    async def call() -> int:
        # Imports and the first connection are not measured.
        with suppress(Exception):
            await _RIVALS[rival](f"{base_url}/small")
        probe.take()
        before = _peak()
        with suppress(MemoryError):
            await _RIVALS[rival](base_url)
        return before

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(probe)) as runner:
        before = runner.run(call())
    return {_LONGEST: 1000 * probe.take()[1], _MEMORY: (_peak() - before) / MIB}


def _peak() -> int:
    """Return the peak memory of this process, in bytes."""
    with suppress(OSError):
        # This is more exact than getrusage, which includes the memory of the parent process.
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def served(response: Response) -> Generator[str]:
    """Serve a response in a thread, and an empty page at ``/small``. Yield the server's address."""
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


def measured(name: str, rounds: int) -> list[Sample]:
    """Measure one kind of response. Return the figures of all rivals for each round."""
    with served(RESPONSES[name]()) as base_url:
        cases = {
            rival: partial(fresh, measure, rival=rival, base_url=base_url) for rival in _RIVALS
        }
        found = interleaved(cases, rounds)
    return [
        {
            key.format(rival): found[rival][number][key]
            for rival in found
            for key in (_LONGEST, _MEMORY)
        }
        for number in range(rounds)
    ]


def result(names: list[str], rounds: int, at_most: float) -> Result:
    """Measure some kinds of responses."""
    samples: Samples = {}
    for name in names:
        print(name, file=sys.stderr)
        try:
            samples[name] = measured(name, rounds)
        except ImportError as missing:
            print(f"{name} is skipped: {missing.name} is not installed", file=sys.stderr)
    return Result(
        title=f"the longest block, {len(samples)} kinds of responses, rounds: {rounds}",
        metrics=_METRICS,
        samples=samples,
        claims=[_claim(rival, samples, at_most) for rival in _OURS],
        notes=_NOTES,
    )


def _claim(rival: str, samples: Samples, at_most: float) -> Claim:
    """Return the target of one rival.

    Its values are the longest blocks among all responses, one for each round.
    """
    key = _LONGEST.format(rival)
    longest = [max(s[key] for s in of_round) for of_round in zip(*samples.values(), strict=True)]
    return Claim(what=f"longest block of {rival}, CPU", values=longest, wanted=at_most, unit="ms")


def too_long(found: Result, at_most: float) -> list[str]:
    """Return the responses whose median block of the client's loop is longer than a limit."""
    keys = [_LONGEST.format(rival) for rival in _OURS]
    return [
        name
        for name in found.samples
        if any(spread(values(found, name, key)).median > at_most for key in keys)
    ]


def main() -> None:
    """Measure and print. Fail if a response blocked the loop for too long."""
    parser = argument_parser(__doc__, rounds=3)
    parser.add_argument("responses", nargs="*", metavar="RESPONSE", help="; ".join(RESPONSES))
    parser.add_argument(
        "--at-most", type=float, default=100.0, metavar="MS", help="fail above this"
    )
    options = parser.parse_args()
    if unknown := {*options.responses} - {*RESPONSES}:
        parser.error(f"no such response: {'; '.join(sorted(unknown))}")
    found = result(options.responses or [*RESPONSES], options.rounds, options.at_most)
    show([found], as_json=options.json)
    if missed := too_long(found, options.at_most):
        sys.exit(f"longer than {options.at_most:g} ms: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
