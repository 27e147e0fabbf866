"""One request out, one whole reply in. The one file that knows aiohttp.

aiohttp's errors end here: their ``repr`` and ``args`` hold the request's headers, and with them
the key, so ours are raised outside of the ``except`` that caught them and do not chain to them.
"""

from __future__ import annotations

import asyncio
import logging
import platform
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from cekat_async._version import __version__
from cekat_async._wire import Reply, Request
from cekat_async.errors import (
    ClientClosedError,
    ConfigurationError,
    ConnectTimeoutError,
    NotSentError,
    ResponseLostError,
    ResponseTimeoutError,
    ResponseTooLargeError,
    TransportError,
)

if TYPE_CHECKING:
    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

    from cekat_async.config import ClientConfig

__all__ = ["MAX_BODY", "Transport"]

_log = logging.getLogger("cekat_async")

MAX_BODY = 64 * 1024 * 1024
"""Bytes of an answer at the most, decompressed. A page of 100 has about 100 thousand."""


class _ConnectionLostError(aiohttp.ClientConnectionError):
    """A lost connection under a name for which aiohttp does not send the request again."""


async def _without_resend(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Keep aiohttp from sending a GET again by itself when a reused connection drops.

    It would do so behind the limiter's and the retry's back. A middleware runs inside of that
    loop, and what it raises decides.
    """
    try:
        return await handler(request)
    except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError):
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        lost = _ConnectionLostError(str(error) or type(error).__name__)
    raise lost


class Transport:
    """Moves one request and one reply at a time over a session, its own or the caller's.

    A session of its own opens with the first exchange, in the event loop of that moment.
    """

    def __init__(
        self,
        config: ClientConfig,
        session: aiohttp.ClientSession | None = None,
        *,
        max_body: int = MAX_BODY,
    ) -> None:
        self._config = config
        self._session = session
        self._owns_session = session is None
        if session is not None:
            _check_session(session)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._max_body = max_body
        self._headers = _headers(config)
        self._proxy = _proxy(config.base_url) if config.trust_env and session is None else None
        self._timeout = aiohttp.ClientTimeout(
            total=None,  # it would also count what asyncio.timeout counts below, and costs more
            sock_connect=config.timeout.connect,
            sock_read=config.timeout.read,
        )

    @property
    def is_closed(self) -> bool:
        """Whether it was closed; exchanges are refused then."""
        return self._closed

    @property
    def is_open(self) -> bool:
        """Whether there is something left to close."""
        return self._owns_session and self._session is not None and not self._closed

    async def exchange(self, request: Request) -> Reply:
        """Send a request and read its reply to the end, whatever its status.

        Raises:
            TransportError: It did not come to a whole reply; the subclass says how far it came.
            ClientClosedError: The client, or the caller's session, is closed.
        """
        session = self._opened()
        failure: Exception
        try:
            async with asyncio.timeout(self._config.timeout.attempt):
                return await self._exchange(session, request)
        except TimeoutError as error:  # aiohttp's own timeouts are TimeoutErrors too
            failure = _timeout_error(error)
        except aiohttp.ClientError as error:
            failure = self._translated(error)
        except RuntimeError:
            # aiohttp has no class of its own for "Session is closed".
            if not session.closed:
                raise
            failure = ClientClosedError("the session was closed while a request was under way")
        raise failure

    async def close(self) -> None:
        """Close the session, if it is our own; from now on exchanges are refused."""
        self._closed = True
        if self._owns_session and self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ClientClosedError("the client is closed: make a new one")
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop:
            raise ConfigurationError(
                "the client belongs to another event loop: make one client in each loop"
            )
        if self._session is None:
            self._session = self._new_session()
        if self._session.closed:
            raise ClientClosedError("the session given to the client is closed")
        return self._session

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._config.concurrency),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def _exchange(self, session: aiohttp.ClientSession, request: Request) -> Reply:
        async with session.get(
            # Encoded already: to be sent byte for byte.
            URL(self._config.base_url + request.target, encoded=True),
            headers=self._headers,
            timeout=self._timeout,
            proxy=self._proxy,
            # Neither of these is left to the defaults of a caller's session: a redirect could lead
            # the key elsewhere, and an error's body must be read like any other.
            allow_redirects=False,
            raise_for_status=False,
            auto_decompress=True,
            middlewares=(_without_resend, *getattr(session, "_middlewares", ())),
        ) as response:
            body = await self._body(response)
        if response.status != HTTPStatus.OK:
            body = self._config.api_key.redact(body)
        _log.debug("%s answered %d, %d bytes", request.path, response.status, len(body))
        return Reply(response.status, response.headers, body)

    async def _body(self, response: ClientResponse) -> bytes:
        """Read the body to its end, so that its connection can be used again."""
        if (response.content_length or 0) > self._max_body:
            raise _too_large(self._max_body)
        chunks, size = list[bytes](), 0
        while chunk := await response.content.readany():
            chunks.append(chunk)
            size += len(chunk)
            if size > self._max_body:
                raise _too_large(self._max_body)
        return b"".join(chunks)

    def _translated(self, error: aiohttp.ClientError) -> TransportError:
        reason = self._config.api_key.redact_text(_reason(error))
        if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError)):
            return NotSentError(f"cannot reach {self._config.base_url}: {reason}")
        return ResponseLostError(f"the connection was lost before the whole answer: {reason}")


def _check_session(session: aiohttp.ClientSession) -> None:
    if not isinstance(session, aiohttp.ClientSession):
        raise ConfigurationError(f"session must be an aiohttp.ClientSession, not {session!r}")
    if session.auth is not None:
        raise ConfigurationError(
            "the session has an auth of its own, which would replace the API key: leave it away"
        )


def _headers(config: ClientConfig) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {config.api_key.reveal()}",
        "Accept": "application/json",
        "User-Agent": f"cekat-async/{__version__} Python/{platform.python_version()}",
    }


def _proxy(base_url: str) -> str | None:
    """Return the environment's proxy for the API's host.

    Looked up once, as aiohttp would look at every request, in a thread.
    """
    url = URL(base_url)
    if proxy_bypass(url.authority):
        return None
    return getproxies().get(url.scheme)


def _timeout_error(error: TimeoutError) -> TransportError:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return ConnectTimeoutError("no connection in time (Timeout.connect)")
    if isinstance(error, aiohttp.SocketTimeoutError):
        return ResponseTimeoutError("the server fell silent (Timeout.read)")
    return ResponseTimeoutError("no whole answer in time (Timeout.attempt)")


def _too_large(limit: int) -> ResponseTooLargeError:
    return ResponseTooLargeError(f"the answer is larger than {limit:,} bytes")


def _reason(error: aiohttp.ClientError) -> str:
    """Say what went wrong, without the request that an aiohttp error repeats."""
    if isinstance(error, aiohttp.ClientResponseError):
        return f"{type(error).__name__}: {error.message}"
    return str(error) or type(error).__name__
