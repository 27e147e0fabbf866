"""Sends one request and reads the whole reply, with aiohttp.

aiohttp's errors never leave this file, because their ``repr`` and ``args`` contain the request's
headers, and therefore the key. Our errors are raised outside of the ``except`` block, so that they
do not chain to aiohttp's errors.
"""

from __future__ import annotations

import asyncio
import codecs
import logging
import platform
from copy import copy
from typing import TYPE_CHECKING, Any, Self
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from cekat_async._api.replies import Reply
from cekat_async._api.status import OK
from cekat_async._request.aiohttp_errors import (
    ConnectionLostError,
    error_from_aiohttp,
    error_from_timeout,
    invalid_host_error,
)
from cekat_async._request.session import SessionOwner
from cekat_async._version import __version__
from cekat_async.config import is_host, is_loopback
from cekat_async.errors import (
    ClientClosedError,
    ConfigurationError,
    ResponseLostError,
    ResponseTooLargeError,
)

if TYPE_CHECKING:
    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

    from cekat_async._api.requests import Request
    from cekat_async._request.client_config import ClientConfig
    from cekat_async.config import Timeout

__all__ = ["Transport"]

_log = logging.getLogger("cekat_async")

# The most bytes that are read of an error's body. The API's own errors have a few hundred bytes.
_MAX_ERROR_BODY = 1024 * 1024
# The number of bytes that aiohttp unpacks in one step. aiohttp buffers twice as many bytes before
# it stops receiving.
_STEP = 64 * 1024
# aiohttp's errors for a connection that is lost before the headers of the reply arrive.
_LOST = (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError, aiohttp.ClientConnectionResetError)


class Transport:
    """Sends requests and reads replies, with the session of a client.

    Args:
        config: The options of the client.
        session: The caller's session; ``None`` for the client's own session.

    Attributes:
        session: The owner of the session.
    """

    def __init__(self, config: ClientConfig, session: aiohttp.ClientSession | None = None) -> None:
        self.session = SessionOwner(session, config.concurrency)
        self._config = config
        uses_proxy = config.trust_env and session is None
        self._proxy = _get_proxy(config.base_url) if uses_proxy else None
        self._set_timeout(config.timeout)

    @property
    def proxy(self) -> str | None:
        """The URL of the environment's proxy, without user and password."""
        return None if self._proxy is None else str(self._proxy.origin())

    def with_timeout(self, timeout: Timeout) -> Self:
        """Return a transport with the same session and other time limits."""
        other = copy(self)
        other._set_timeout(timeout)  # noqa: SLF001 - of the same class
        return other

    def require_usable(self) -> None:
        """Check that requests can be sent in the running event loop. The first check sets the loop.

        Raises:
            ClientClosedError: The client, or the caller's session, is closed.
            ConfigurationError: The client is in use in another event loop.
        """
        self.session.require_usable()

    async def exchange(self, request: Request) -> Reply:
        """Send a request, and read the whole reply, whatever its status is.

        Raises:
            TransportError: No complete reply arrived. The subclass names the step that failed.
            ClientClosedError: The client, or the caller's session, is closed.
        """
        self.require_usable()
        session = self.session.open()
        failure: Exception
        try:
            async with asyncio.timeout(self._attempt_limit):
                return await self._send_and_read(session, request)
        except TimeoutError as error:  # also covers aiohttp's own timeouts
            failure = error_from_timeout(error)
        except aiohttp.ClientError as error:
            failure = error_from_aiohttp(error, self._config)
        except ResponseTooLargeError as error:
            # The traceback's frames contain the response, whose headers are not redacted.
            failure = error.with_traceback(None)
        except UnicodeError:
            # The system's resolver raises this error for a text that cannot be a host name.
            failure = invalid_host_error(self._config.base_url)
        except asyncio.CancelledError:
            if not _is_stray_cancellation(session):
                raise
            failure = _closed_during_request()
        if isinstance(failure, ResponseLostError):
            # All idle connections may have been lost for the same reason.
            self.session.idle.suspect()
        raise _closed_during_request() if session.closed else failure

    async def close(self) -> None:
        """Close the session if it is the client's own. After this, exchanges are refused."""
        await self.session.close()

    def _set_timeout(self, timeout: Timeout) -> None:
        self._attempt_limit = timeout.attempt
        self._limits = aiohttp.ClientTimeout(
            total=None,  # Timeout.attempt limits the whole exchange
            # This limit includes the DNS lookup. In a caller's session, it would also include the
            # wait for a free connection, which is not a failure to connect.
            connect=timeout.connect if self.session.is_own else None,
            sock_connect=timeout.connect,
            sock_read=timeout.read,
        )
        self._options = self._build_options()

    def _build_options(self) -> dict[str, Any]:
        """Return the options that are the same for each request."""
        return {
            "headers": {
                "Accept": "application/json",
                "User-Agent": f"cekat-async/{__version__} Python/{platform.python_version()}",
            },
            "timeout": self._limits,
            "proxy": self._proxy,
            # These options override the defaults of a caller's session: a redirect could send the
            # key to another host, and the body of an error must be read like any other body.
            "allow_redirects": False,
            "raise_for_status": False,
            "auto_decompress": True,
            "read_bufsize": _STEP,
        }

    async def _send_and_read(self, session: aiohttp.ClientSession, request: Request) -> Reply:
        # The middlewares of a request replace those of the session, so this list contains both.
        middlewares = (self._send_with_key, *self.session.middlewares)
        response = await session.get(
            self._build_url(request), middlewares=middlewares, **self._options
        )
        try:
            body = await self._read_body(response)
        finally:
            # This call closes the connection if the body was not read to its end.
            response.release()
        self.session.idle.may_exist = True
        _log.debug("%s answered %d, %d bytes", request.path, response.status, len(body))
        return Reply(response.status, response.headers, body)

    def _build_url(self, request: Request) -> URL:
        query = f"?{request.query}" if request.query else ""
        # The query is already encoded, and must be sent unchanged, because a cursor is opaque.
        return URL(f"{self._config.base_url}{request.path}{query}", encoded=True)

    async def _send_with_key(
        self, request: ClientRequest, handler: ClientHandlerType
    ) -> ClientResponse:
        """Send a request with the key, once.

        This method is a middleware for two reasons. First, a middleware runs last, so the key
        overrides a ``.netrc`` and appears in none of aiohttp's frames. Second, if a reused
        connection drops, aiohttp resends a GET in a loop, without the limiter and the retry policy.
        A middleware runs inside that loop, and its exception ends the loop.
        """
        request.headers["Authorization"] = f"Bearer {self._config.api_key.reveal()}"
        idle = self.session.idle
        await idle.close_if_suspect(self.session.open(), request, self._limits)
        was_idle = idle.may_exist
        try:
            return await handler(request)
        except (aiohttp.ClientConnectorError, TimeoutError):
            raise
        except _LOST as error:
            lost = ConnectionLostError(error, was_idle=was_idle)
        raise lost

    async def _read_body(self, response: ClientResponse) -> bytes:
        """Return the whole body of a page, or the beginning of an error's body."""
        is_page = response.status == OK
        limit = self._config.max_page_bytes if is_page else _MAX_ERROR_BODY
        if is_page and (response.content_length or 0) > limit:
            raise _too_large(limit)
        # Read the body to its end, because otherwise the connection could not be reused.
        body = await _read_up_to(response.content, limit)
        if is_page and len(body) > limit:
            raise _too_large(limit)
        # Some servers send a byte order mark before the JSON.
        return body[:limit].removeprefix(codecs.BOM_UTF8)


async def _read_up_to(content: aiohttp.StreamReader, limit: int) -> bytes:
    """Return a body. If the body exceeds ``limit`` bytes, return slightly more than ``limit``.

    aiohttp unpacks a compressed body while it is being read. The event loop runs after each piece,
    because unpacking the whole body would block the loop.
    """
    body = bytearray()
    while len(body) <= limit and not content.at_eof():
        if body:
            await asyncio.sleep(0)
        body += await content.readany()
    return bytes(body)


def _get_proxy(base_url: str) -> URL | None:
    """Return the environment's proxy for the API's host, or ``None``.

    aiohttp would look up the proxy for every request, in a thread. Loopback addresses never use a
    proxy. The client may use these addresses without TLS, and a proxy would then send the
    unencrypted key out of the machine.
    """
    url = URL(base_url)
    text = getproxies().get(url.scheme)
    if not text or is_loopback(url.host or "") or proxy_bypass(url.authority):
        return None
    # The message does not show the URL, because the URL may contain a password.
    refusal = f"the environment's proxy for {url.scheme} must be an http:// or https:// URL"
    try:
        proxy = URL(text if "://" in text else f"http://{text}")
    except ValueError:
        raise ConfigurationError(refusal) from None
    if proxy.scheme not in {"http", "https"} or not is_host(proxy.raw_host or ""):
        raise ConfigurationError(refusal)
    return proxy


def _is_stray_cancellation(session: aiohttp.ClientSession) -> bool:
    """Whether aiohttp raised the cancellation because the session was closed during a wait."""
    task = asyncio.current_task()
    return session.closed and task is not None and not task.cancelling()


def _closed_during_request() -> ClientClosedError:
    return ClientClosedError("the session was closed during a request")


def _too_large(limit: int) -> ResponseTooLargeError:
    return ResponseTooLargeError(
        f"the page is larger than {limit:,} bytes: ask for fewer records with limit=, or raise "
        "CekatClient(max_page_bytes=…)"
    )
