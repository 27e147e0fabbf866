"""The sandbox: a real HTTP server on loopback that speaks the API."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING, Final

from . import checks
from .api import Api
from .connections import Connections, stop_listening
from .gate import Gate, GateOptions
from .log import Log
from .options import Dialect, Live, Quota
from .world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from aiohttp import web

    from .faults import Fault, Faults

DEFAULT_KEY: Final = "sandbox.not-a-real-key.0000000000000000000000000000000000000000000000"
_MOST_CONVERSATIONS: Final = 100_000_000
_MOST_INBOXES: Final = 1_000_000
_MOST_PORT: Final = 65_535


class Sandbox:
    """A server that behaves like the real API, with made-up data that follows from a seed.

    Use it as an async context manager, once. The data and the log can be asked before, while and
    after it runs.

    Args:
        conversations: how many conversations there are at the start.
        inboxes: how many inboxes there are; at least one when there are conversations.
        seed: seed of the data; the same seed gives the same bytes.
        api_key: the key that clients must send; `None` for a fixed one that is obviously none.
        quota: how many requests are granted; `None` for any number.
        faults: what goes wrong by chance; `None` for nothing.
        live: what happens in the account between pages; `None` for nothing.
        dialect: how the server behaves where the documentation is silent.
        latency: seconds from a request's arrival to its answer; making the answer is part of them,
            unless that alone takes longer. The answer says how things stood at the arrival, and
            what is live happens right then, whether or not the client waits for the answer.
        cache: how many conversations are kept as they were sent, the latest used ones, so that a
            walk over the same ones costs less the next time: about 1.4 kB for each, 56 MB for
            40,000. 0 keeps none.
        host: the address to listen on.
        port: the port to listen on; 0 for any free one.

    Raises:
        ValueError: an option makes no sense.
    """

    def __init__(  # noqa: PLR0913  # one door with many switches, all of them optional
        self,
        conversations: int = 5000,
        inboxes: int = 8,
        seed: int = 1,
        *,
        api_key: str | None = None,
        quota: Quota | None = Quota(),  # noqa: B008  # frozen
        faults: Faults | None = None,
        live: Live | None = None,
        dialect: Dialect = Dialect(),  # noqa: B008  # frozen
        latency: float = 0.0,
        cache: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        _check(conversations, inboxes, seed, latency, port)
        checks.whole("cache", cache)
        self.api_key = _key(api_key)
        self.log = Log()
        self._world = World(conversations, inboxes, seed, dialect, live or Live(), cache=cache)
        self._listing = self._world.listing
        options = GateOptions(self.api_key, quota, faults, latency, dialect.compress, seed)
        self._api = Api(self._world, dialect)
        self._gate = Gate(self._api, self.log, options)
        self._host, self._port = host, port
        self._connections: Connections | None = None
        self._socket: asyncio.Server | None = None
        self._base_url: str | None = None

    async def __aenter__(self) -> Self:
        if self._connections is not None:
            raise RuntimeError("a sandbox runs once: make another one")
        self._connections = Connections(self._handle, self.log)
        loop = asyncio.get_running_loop()
        self._socket = await loop.create_server(self._connections, self._host, self._port)
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._base_url = f"http://{host}:{self._socket.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._socket is not None and self._connections is not None:
            await stop_listening(self._socket)
            await self._connections.hang_up()
            await self._socket.wait_closed()

    @property
    def base_url(self) -> str:
        """The server's address without a slash at the end, `http://127.0.0.1:54321`.

        Raises:
            RuntimeError: the sandbox has not been started.
        """
        if self._base_url is None:
            raise RuntimeError("the sandbox has not been started: use `async with`")
        return self._base_url

    @property
    def inbox_ids(self) -> list[str]:
        """The ids of all inboxes, in the order of their listing."""
        return list(self._world.account.inbox_ids)

    def curl(self, query: str = "limit=5") -> str:
        """Return a command line that asks the running sandbox for conversations."""
        url = f"{self.base_url}/api/conversations?{query}"
        return shlex.join(["curl", "-H", f"Authorization: Bearer {self.api_key}", url])

    def inbox_records(self) -> Iterator[tuple[str, bytes]]:
        """Yield the id and the JSON of every inbox, in the order of the listing."""
        for number, id_ in enumerate(self._world.account.inbox_ids):
            yield id_, self._world.inboxes.render(number)

    def records(self) -> Iterator[tuple[str, bytes]]:
        """Yield the id and the JSON of every conversation as it is now, byte for byte.

        They come in the order of the listing and are made one at a time; conversations must not
        change meanwhile.
        """
        for row in self._listing.rows():
            yield row[1], self._world.render(row)

    def record(self, id_: str) -> bytes:
        """Return the JSON of one conversation as it is now.

        Raises:
            KeyError: there is no such conversation (any more).
        """
        return self._world.record(self._number(id_))

    def count(self, inbox_id: str | None = None, stage_status: str | None = None) -> int:
        """Return how many conversations match now; 0 for an unknown inbox or status."""
        if inbox_id is None:
            return self._listing.count(None, stage_status)
        inbox = self._world.account.inbox_numbers.get(inbox_id)
        return 0 if inbox is None else self._listing.count(inbox, stage_status)

    def fail_next(self, *faults: Fault) -> None:
        """Let the next requests meet these faults, in order, before any random ones.

        The quota counts these requests too. Faults that only damage a reply (`delay`, `truncate`,
        `trickle`, `drop_mid_body`) and `ok` do so to its 429 as well.
        """
        self._gate.script.extend(faults)

    def take(self, requests: int) -> int:
        """Use up quota as strangers behind the same address would; return how much there was."""
        checks.whole("requests", requests)
        standing = self._gate.take(requests)
        return requests if standing is None else standing.granted

    def forbid(self, *inbox_ids: str) -> None:
        """Answer with a 403 whoever asks for the conversations of these inboxes by their id.

        Their conversations stay in the listing of all. Without an id, nothing is forbidden any
        more.
        """
        if not inbox_ids:
            self._api.forbidden.clear()
        self._api.forbidden.update(inbox_ids)

    def touch(self, id_: str) -> None:
        """Give a conversation a message, so that it becomes the most recently active one.

        Raises:
            KeyError: there is no such conversation.
        """
        self._listing.touch(self._number(id_))

    def create(self) -> str:
        """Let a new conversation appear as the newest, and return its id.

        Raises:
            ValueError: there is no inbox it could appear in.
        """
        return self._world.account.ids.of(self._listing.create())

    def resolve(self, id_: str) -> None:
        """Resolve a conversation without changing its place.

        Raises:
            KeyError: there is no such conversation.
        """
        self._listing.resolve(self._number(id_))

    def delete(self, id_: str) -> None:
        """Remove a conversation.

        Raises:
            KeyError: there is no such conversation.
        """
        self._listing.delete(self._number(id_))

    def _number(self, id_: str) -> int:
        number = self._listing.find(id_)
        if number is None:
            raise KeyError(id_)
        return number

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connections = self._connections
        number = 0 if connections is None else connections.number(request.protocol)
        return await self._gate.handle(request, number)


def _check(conversations: int, inboxes: int, seed: int, latency: float, port: int) -> None:
    checks.whole("conversations", conversations, most=_MOST_CONVERSATIONS)
    checks.whole("inboxes", inboxes, least=1 if conversations else 0, most=_MOST_INBOXES)
    checks.whole("seed", seed, least=-(1 << 63))
    checks.number("latency", latency)
    checks.whole("port", port, most=_MOST_PORT)


def _key(api_key: str | None) -> str:
    if api_key is None:
        return DEFAULT_KEY
    if not api_key or not all("!" <= letter <= "~" for letter in api_key):
        raise ValueError("api_key must be printable ASCII without spaces")
    return api_key
