"""The sandbox: a real HTTP server on loopback that speaks the API."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING, Final

from cekat_async.sandbox.api.routes import Api
from cekat_async.sandbox.behaviour.faults import Fault
from cekat_async.sandbox.behaviour.live import LiveEvents
from cekat_async.sandbox.data.dataset import Dataset
from cekat_async.sandbox.editable_account import EditableAccount
from cekat_async.sandbox.http.handler import Handler, HandlerOptions
from cekat_async.sandbox.log import Log
from cekat_async.sandbox.loopback_server import LoopbackServer
from cekat_async.sandbox.options import Dialect, Live, Quota
from cekat_async.sandbox.validation import require_integer, require_number, require_positive

if TYPE_CHECKING:
    from cekat_async.sandbox.behaviour.faults import Faults

_DEFAULT_KEY: Final = "sandbox.not-a-real-key.0000000000000000000000000000000000000000000000"
_MAX_CONVERSATIONS: Final = 100_000_000
_MAX_INBOXES: Final = 1_000_000
_MAX_PORT: Final = 65_535


class Sandbox(EditableAccount, LoopbackServer):
    """A real HTTP server on loopback that behaves like the API, with generated data.

    You can run a sandbox once. With ``async with``, it runs in your event loop. With ``with``, it
    runs in its own thread. You can read its data and its log at any time, even before and after it
    runs. You can call its methods from any thread, and each takes effect before it returns.

    Args:
        conversations: The number of conversations at the start. With 0, there are only those that
            you add. Default 5,000.
        inboxes: The number of inboxes. It must be at least 1 if there are conversations. Default 8.
        seed: The seed of the data. The same seed gives the same bytes. Default 1.
        api_key: The key that clients must send. Default ``None``: a fixed key that is not real.
        quota: The number of requests that the server grants. ``None`` means no limit. Default: 300
            in 60 seconds.
        faults: The probabilities of random faults. Default ``None``: no faults.
        live: The changes in the account after each page. Default ``None``: no changes.
        dialect: The behaviour that the API's documentation does not define.
        latency: The seconds from the arrival of a request to its reply. Default 0. The reply shows
            the account as it is when the request arrives. Live changes happen at that moment, too,
            even if the client does not wait for the reply.
        cache: The number of rendered conversations to keep in memory, so that reading them again is
            faster. The most recently used ones are kept. Each takes about 1.4 kB (56 MB for
            40,000). Default 0.
        host: The address to listen on. Default ``"127.0.0.1"``.
        port: The port to listen on. Default 0: any free port.

    Attributes:
        api_key: The key that clients must send.
        log: All requests that the server has received.

    Raises:
        ValueError: An option is invalid.

    Examples:
        >>> async with Sandbox(conversations=20, quota=None) as server:
        ...     async with CekatClient(server.api_key, base_url=server.base_url) as client:
        ...         page = await client.conversations.page()
        >>> len(page), len(server.log.requests)
        (20, 1)
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
        log = Log()
        dataset = Dataset(conversations, inboxes, seed, dialect, cache)
        self._api = Api(dataset, LiveEvents(live or Live(), dataset.listing), dialect)
        options = HandlerOptions(self.api_key, quota, faults, latency, dialect.compress, seed)
        handler = Handler(self._api, log, options)
        EditableAccount.__init__(self, dataset, handler.lock)
        LoopbackServer.__init__(self, handler, log, host, port)

    def curl(self, query: str = "limit=5") -> str:
        """Return a shell command (``curl``) that requests conversations from the running sandbox.

        Args:
            query: The query of the request. Default ``"limit=5"``.

        Raises:
            RuntimeError: The sandbox has not been started.

        Examples:
            >>> sandbox.curl().split()[0]
            'curl'
        """
        url = f"{self.base_url}/api/conversations?{query}"
        return shlex.join(["curl", "-H", f"Authorization: Bearer {self.api_key}", url])

    def fail_next(self, *faults: Fault) -> None:
        """Apply these faults to the next requests, in order, before any random faults.

        The quota counts these requests, too. If the quota is used up, a fault that delays or
        damages replies (``delay``, ``truncate``, ``trickle``, ``drop_mid_body``) is applied to the
        429. Any other fault replaces the 429. :class:`FaultInjector` has a method for each common
        fault.

        Args:
            *faults: The faults, one for each request.

        Raises:
            ValueError: An argument is not a :class:`Fault`.

        Examples:
            >>> sandbox.fail_next(Fault.status(503), Fault.drop())
            >>> page = await cekat.conversations.page()
            >>> page.response.attempts
            3
        """
        _check_faults(faults)
        with self._lock:
            self._handler.script.extend(faults)

    def exhaust_daily_quota(self, seconds: float) -> None:
        """Reply to every request with a 429 for some time, as if the daily quota were used up.

        The 429 has the code ``DAILY_LIMIT_EXCEEDED``. Its rate-limit headers say when the server
        accepts requests again. If the sandbox has no quota, the 429 has only ``Retry-After``.

        Args:
            seconds: The time until the server accepts requests again.

        Raises:
            ValueError: ``seconds`` is not a positive number.

        Examples:
            >>> sandbox.exhaust_daily_quota(3600)
            >>> try:
            ...     page = await cekat.conversations.page()
            ... except RateLimitError as error:
            ...     print(error.code)
            DAILY_LIMIT_EXCEEDED
        """
        require_positive("seconds", seconds)
        with self._lock:
            self._handler.exhaust_day(self._get_time() + seconds)

    def clear_faults(self) -> None:
        """Remove the remaining faults of ``fail_next``, and grant the daily quota again.

        Examples:
            >>> sandbox.fail_next(Fault.hang())
            >>> sandbox.clear_faults()
        """
        with self._lock:
            self._handler.script.clear()
            self._handler.exhaust_day(-math.inf)

    def take(self, requests: int) -> int:
        """Take requests from the quota, as other clients do, and return how many were granted.

        Args:
            requests: The number of requests to take.

        Raises:
            ValueError: ``requests`` is not a whole number of at least 0.

        Examples:
            >>> Sandbox(quota=Quota(300)).take(1000)
            300
        """
        require_integer("requests", requests)
        with self._lock:
            state = self._handler.take(self._get_time(), requests)
        return requests if state is None else state.granted

    def forbid(self, *inbox_ids: str) -> None:
        """Reply with a 403 to requests for the conversations of these inboxes.

        Listings without ``inbox_id`` still contain their conversations.

        Args:
            *inbox_ids: The ids of the inboxes. If you pass no id, all inboxes are allowed again.

        Examples:
            >>> sandbox.forbid(sandbox.inbox_ids[0])
            >>> try:
            ...     page = await cekat.conversations.page(inbox_id=sandbox.inbox_ids[0])
            ... except PermissionDeniedError as error:
            ...     print(error.status)
            403
        """
        with self._lock:
            if not inbox_ids:
                self._api.forbidden.clear()
            self._api.forbidden.update(inbox_ids)


def _check_faults(faults: tuple[object, ...]) -> None:
    if wrong := [fault for fault in faults if not isinstance(fault, Fault)]:
        raise ValueError(f"a fault must be a Fault such as Fault.status(503), not {wrong[0]!r}")


def _check_key(api_key: str | None) -> str:
    if api_key is None:
        return _DEFAULT_KEY
    if not api_key or not all("!" <= letter <= "~" for letter in api_key):
        raise ValueError("api_key must be printable ASCII without spaces")
    return api_key
