"""The sandbox: a real HTTP server on loopback that speaks the API."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING, Final

from cekat_async.sandbox.api.routes import Api
from cekat_async.sandbox.behaviour.live import LiveEvents
from cekat_async.sandbox.data.dataset import Dataset
from cekat_async.sandbox.http.connections import Connections, stop_listening
from cekat_async.sandbox.http.handler import Handler, HandlerOptions
from cekat_async.sandbox.log import Log
from cekat_async.sandbox.options import Dialect, Live, Quota
from cekat_async.sandbox.validation import require_integer, require_number

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from cekat_async.sandbox.behaviour.faults import Fault, Faults

_DEFAULT_KEY: Final = "sandbox.not-a-real-key.0000000000000000000000000000000000000000000000"
_MAX_CONVERSATIONS: Final = 100_000_000
_MAX_INBOXES: Final = 1_000_000
_MAX_PORT: Final = 65_535


class Sandbox:
    """A server that behaves like the real API, with made-up data that follows from a seed.

    Use it once, as an async context manager. You can read its data and its log at any time: before
    it runs, while it runs, and afterwards.

    Args:
        conversations: How many conversations there are at the start.
        inboxes: How many inboxes there are; at least one when there are conversations.
        seed: Seed of the data; the same seed gives the same bytes.
        api_key: The key that clients must send; ``None`` for a fixed, made-up one.
        quota: How many requests are granted; ``None`` for no limit.
        faults: Random faults; ``None`` for none.
        live: What changes in the account between pages; ``None`` for nothing.
        dialect: How the server behaves where the documentation is silent.
        latency: Seconds from the arrival of a request to its reply, including the time to make it.
            The reply shows the account at the arrival. Live events happen at the arrival too,
            even if the client does not wait for the reply.
        cache: How many rendered conversations are kept, the most recently used ones, so that
            reading them again is faster: about 1.4 kB each, 56 MB for 40,000. 0 keeps none.
        host: The address to listen on.
        port: The port to listen on; 0 for any free one.

    Raises:
        ValueError: An option is invalid.
    """

    def __init__(  # noqa: PLR0913 - every option is optional
        self,
        conversations: int = 5000,
        inboxes: int = 8,
        seed: int = 1,
        *,
        api_key: str | None = None,
        quota: Quota | None = Quota(),  # noqa: B008 - frozen
        faults: Faults | None = None,
        live: Live | None = None,
        dialect: Dialect = Dialect(),  # noqa: B008 - frozen
        latency: float = 0.0,
        cache: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        require_integer("conversations", conversations, maximum=_MAX_CONVERSATIONS)
        require_integer("inboxes", inboxes, minimum=1 if conversations else 0, maximum=_MAX_INBOXES)
        require_integer("seed", seed, minimum=-(1 << 63))
        require_number("latency", latency)
        require_integer("cache", cache)
        require_integer("port", port, maximum=_MAX_PORT)
        self.api_key = _check_key(api_key)
        self.log = Log()
        self._dataset = Dataset(conversations, inboxes, seed, dialect, cache)
        self._listing = self._dataset.listing
        events = LiveEvents(live or Live(), self._listing)
        self._api = Api(self._dataset, events, dialect)
        options = HandlerOptions(self.api_key, quota, faults, latency, dialect.compress, seed)
        self._handler = Handler(self._api, self.log, options)
        self._host, self._port = host, port
        self._connections: Connections | None = None
        self._socket: asyncio.Server | None = None
        self._base_url: str | None = None

    async def __aenter__(self) -> Self:
        if self._connections is not None:
            raise RuntimeError("a sandbox runs only once: make another one")
        self._connections = Connections(self._handler.handle, self.log)
        loop = asyncio.get_running_loop()
        self._socket = await loop.create_server(self._connections, self._host, self._port)
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._base_url = f"http://{host}:{self._socket.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._socket is not None and self._connections is not None:
            await stop_listening(self._socket)
            await self._connections.close_all()
            await self._socket.wait_closed()

    @property
    def base_url(self) -> str:
        """The server's address without a slash at the end, ``http://127.0.0.1:54321``.

        Raises:
            RuntimeError: The sandbox has not been started.
        """
        if self._base_url is None:
            raise RuntimeError("the sandbox has not been started: use `async with`")
        return self._base_url

    @property
    def inbox_ids(self) -> list[str]:
        """The ids of all inboxes, in listing order."""
        return list(self._dataset.account.inbox_ids)

    def curl(self, query: str = "limit=5") -> str:
        """Return a shell command that requests conversations from the running sandbox."""
        url = f"{self.base_url}/api/conversations?{query}"
        return shlex.join(["curl", "-H", f"Authorization: Bearer {self.api_key}", url])

    def inbox_records(self) -> Iterator[tuple[str, bytes]]:
        """Yield the id and the JSON of every inbox, in listing order."""
        for number, id_ in enumerate(self._dataset.account.inbox_ids):
            yield id_, self._dataset.inboxes.render(number)

    def records(self) -> Iterator[tuple[str, bytes]]:
        """Yield the id and the JSON of every conversation as it is now, byte for byte.

        They are in listing order and rendered one at a time. Do not change conversations in the
        meantime.
        """
        for row in self._listing.rows():
            yield row[1], self._dataset.render(row)

    def record(self, id_: str) -> bytes:
        """Return the JSON of one conversation as it is now.

        Raises:
            KeyError: There is no such conversation (any more).
        """
        return self._dataset.record(self._get_number(id_))

    def count(self, inbox_id: str | None = None, stage_status: str | None = None) -> int:
        """Return how many conversations match now; 0 for an unknown inbox or status."""
        if inbox_id is None:
            return self._listing.count(None, stage_status)
        inbox = self._dataset.account.inbox_numbers.get(inbox_id)
        return 0 if inbox is None else self._listing.count(inbox, stage_status)

    def fail_next(self, *faults: Fault) -> None:
        """Apply these faults to the next requests, in order, before any random ones.

        The quota counts these requests too. If it refuses one, its 429 is sent, damaged by a fault
        that only damages replies (``delay``, ``truncate``, ``trickle``, ``drop_mid_body``). Other
        faults are sent instead.
        """
        self._handler.script.extend(faults)

    def take(self, requests: int) -> int:
        """Use up quota, as other clients of the same address would; return how much was left."""
        require_integer("requests", requests)
        state = self._handler.take(requests)
        return requests if state is None else state.granted

    def forbid(self, *inbox_ids: str) -> None:
        """Reply with a 403 to requests for the conversations of these inboxes.

        Listings without ``inbox_id`` still contain them. Without arguments, every inbox is
        allowed again.
        """
        if not inbox_ids:
            self._api.forbidden.clear()
        self._api.forbidden.update(inbox_ids)

    def touch(self, id_: str) -> None:
        """Give a conversation a message, so that it becomes the most recently active one.

        Raises:
            KeyError: There is no such conversation.
        """
        self._listing.touch(self._get_number(id_))

    def create(self) -> str:
        """Create a conversation, which is the newest, and return its id.

        Raises:
            ValueError: There is no inbox for it.
        """
        return self._dataset.account.ids.encode(self._listing.create())

    def resolve(self, id_: str) -> None:
        """Resolve a conversation without changing its position.

        Raises:
            KeyError: There is no such conversation.
        """
        self._listing.resolve(self._get_number(id_))

    def delete(self, id_: str) -> None:
        """Remove a conversation.

        Raises:
            KeyError: There is no such conversation.
        """
        self._listing.delete(self._get_number(id_))

    def _get_number(self, id_: str) -> int:
        number = self._listing.find(id_)
        if number is None:
            raise KeyError(id_)
        return number


def _check_key(api_key: str | None) -> str:
    if api_key is None:
        return _DEFAULT_KEY
    if not api_key or not all("!" <= letter <= "~" for letter in api_key):
        raise ValueError("api_key must be printable ASCII without spaces")
    return api_key
