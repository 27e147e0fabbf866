"""The sandbox: a real HTTP server on loopback that speaks the API."""

from __future__ import annotations

import asyncio
import math
import shlex
import time
from typing import TYPE_CHECKING, Final

from cekat_async.sandbox.api.routes import Api
from cekat_async.sandbox.behaviour.live import LiveEvents
from cekat_async.sandbox.data.dataset import Dataset
from cekat_async.sandbox.http.connections import Connections, stop_listening
from cekat_async.sandbox.http.handler import Handler, HandlerOptions
from cekat_async.sandbox.http.loop_thread import LoopThread
from cekat_async.sandbox.log import Log
from cekat_async.sandbox.options import Dialect, Live, Quota
from cekat_async.sandbox.validation import require_integer, require_number, require_positive

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, Self

    from cekat_async.sandbox.behaviour.faults import Fault, Faults
    from cekat_async.sandbox.data.given import SupportsToDict

_DEFAULT_KEY: Final = "sandbox.not-a-real-key.0000000000000000000000000000000000000000000000"
_MAX_CONVERSATIONS: Final = 100_000_000
_MAX_INBOXES: Final = 1_000_000
_MAX_PORT: Final = 65_535


class Sandbox:
    """A server that behaves like the real API, with made-up data that follows from a seed.

    Use it once: with ``async with`` it runs in your event loop, with ``with`` in a thread of its
    own. You can read its data and its log at any time: before it runs, while it runs, and
    afterwards. Its methods may be called from any thread. They take effect before they return.

    Args:
        conversations: How many conversations there are at the start. With 0, there are only those
            that you add.
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
        self._lock = self._handler.lock
        self._host, self._port = host, port
        self._connections: Connections | None = None
        self._socket: asyncio.Server | None = None
        self._base_url: str | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: LoopThread | None = None

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
            raise RuntimeError("a sandbox runs only once: make another one")
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

    @property
    def base_url(self) -> str:
        """The server's address without a slash at the end, ``http://127.0.0.1:54321``.

        Raises:
            RuntimeError: The sandbox has not been started.
        """
        if self._base_url is None:
            raise RuntimeError("the sandbox has not been started: use `async with` or `with`")
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
        with self._lock:
            return self._dataset.record(self._get_number(id_))

    def count(self, inbox_id: str | None = None, stage_status: str | None = None) -> int:
        """Return how many conversations match now; 0 for an unknown inbox or status."""
        with self._lock:
            if inbox_id is None:
                return self._listing.count(None, stage_status)
            inbox = self._dataset.account.inbox_numbers.get(inbox_id)
            return 0 if inbox is None else self._listing.count(inbox, stage_status)

    def fail_next(self, *faults: Fault) -> None:
        """Apply these faults to the next requests, in order, before any random ones.

        The quota counts these requests too. If it refuses one, its 429 is sent, damaged by a fault
        that only damages replies (``delay``, ``truncate``, ``trickle``, ``drop_mid_body``). Other
        faults are sent instead. ``FaultInjector`` has a method for each common fault.
        """
        with self._lock:
            self._handler.script.extend(faults)

    def exhaust_daily_quota(self, seconds: float) -> None:
        """Refuse every request for ``seconds``, as after a used-up daily quota.

        The 429 has the code ``DAILY_LIMIT_EXCEEDED`` and says when the server accepts requests
        again, in the headers of the quota. Without a quota, it has only ``Retry-After``.

        Raises:
            ValueError: ``seconds`` is not a positive number.
        """
        require_positive("seconds", seconds)
        with self._lock:
            self._handler.exhaust_day(self._get_time() + seconds)

    def clear_faults(self) -> None:
        """Forget the faults of ``fail_next`` that are left, and end a used-up daily quota."""
        with self._lock:
            self._handler.script.clear()
            self._handler.exhaust_day(-math.inf)

    def take(self, requests: int) -> int:
        """Use up quota, as other clients of the same address would; return how much was left."""
        require_integer("requests", requests)
        with self._lock:
            state = self._handler.take(self._get_time(), requests)
        return requests if state is None else state.granted

    def forbid(self, *inbox_ids: str) -> None:
        """Reply with a 403 to requests for the conversations of these inboxes.

        Listings without ``inbox_id`` still contain them. Without arguments, every inbox is
        allowed again.
        """
        with self._lock:
            if not inbox_ids:
                self._api.forbidden.clear()
            self._api.forbidden.update(inbox_ids)

    def add(
        self,
        conversation: Mapping[str, Any] | SupportsToDict | None = None,
        /,
        **fields: Any,
    ) -> str:
        """Add a conversation, and return its id.

        The listing is ordered by time of last activity. That is the time of the last message or of
        creation, whichever is later. Without both, the conversation is the most recently active
        one. An ``inbox_id`` that the account does not have adds an inbox, named ``inbox_name``.

        Args:
            conversation: A whole conversation in the API's own form: a mapping, or a record with
                ``to_dict()``. It is sent as it is, with an id if it has none. By default, fields
                that are not given are made up, and the status is ``pending``.
            **fields: Fields of the conversation, by their names in the API. They may have any JSON
                value and any name.

        Raises:
            ValueError: There is such a conversation already, ``id`` is not a text, there is no
                inbox for it, or something is not JSON.
        """
        with self._lock:
            return self._dataset.add(conversation, fields)

    def update(self, id_: str, /, **fields: Any) -> None:
        """Replace fields of a conversation.

        A new ``last_message`` is an activity: the conversation moves to the time of that message,
        or becomes the most recently active one if the message has no ``created_at``. Other fields
        do not change its position. Use ``touch`` to move it to the front.

        Args:
            id_: The id of any conversation, added or made up.
            **fields: The new values, by their names in the API. Other fields stay as they are.

        Raises:
            KeyError: There is no such conversation.
            ValueError: ``id`` is among the fields, or something is not JSON.
        """
        with self._lock:
            self._dataset.update(self._get_number(id_), fields)

    def assign(self, id_: str, agent: str | None) -> None:
        """Let an agent handle a conversation: it is ``assigned``, and not resolved any more.

        Its position does not change.

        Args:
            id_: The id of any conversation, added or made up.
            agent: The agent's name, with the same id each time. ``None`` takes the conversation
                away from its agent: it is ``pending``.

        Raises:
            KeyError: There is no such conversation.
        """
        with self._lock:
            self._dataset.assign(self._get_number(id_), agent)

    def touch(self, id_: str) -> None:
        """Give a conversation a message, so that it becomes the most recently active one.

        Raises:
            KeyError: There is no such conversation.
        """
        with self._lock:
            self._listing.touch(self._get_number(id_))

    def create(self) -> str:
        """Create a conversation, which is the newest, and return its id.

        Raises:
            ValueError: There is no inbox for it.
        """
        with self._lock:
            return self._listing.get_sort_key(self._listing.create())[1]

    def resolve(self, id_: str) -> None:
        """Resolve a conversation without changing its position.

        Raises:
            KeyError: There is no such conversation.
        """
        with self._lock:
            self._listing.resolve(self._get_number(id_))

    def delete(self, id_: str) -> None:
        """Remove a conversation.

        Raises:
            KeyError: There is no such conversation.
        """
        with self._lock:
            self._listing.delete(self._get_number(id_))

    def _get_number(self, id_: str) -> int:
        number = self._listing.find(id_)
        if number is None:
            raise KeyError(f"the sandbox has no conversation {id_!r}")
        return number

    def _get_time(self) -> float:
        """Return the time of the event loop that the sandbox runs in, or will run in."""
        # Before it runs, the clock is that of asyncio's own loops.
        return self._loop.time() if self._loop else time.monotonic()


def _check_key(api_key: str | None) -> str:
    if api_key is None:
        return _DEFAULT_KEY
    if not api_key or not all("!" <= letter <= "~" for letter in api_key):
        raise ValueError("api_key must be printable ASCII without spaces")
    return api_key
