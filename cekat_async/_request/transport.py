"""Sends one request and reads the whole reply, with aiohttp.

No error of aiohttp leaves this file: its ``repr`` and ``args`` contain the request's headers, and
with them the key. Our errors are raised outside of the ``except`` block, so that they do not chain
to it.
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

# Bytes to read of an error's body. The API's own errors have a few hundred.
_MAX_ERROR_BODY = 1024 * 1024
# Bytes that aiohttp unpacks in one step. It buffers twice as many before it stops receiving.
_STEP = 64 * 1024
# The errors that aiohttp raises if a connection is lost before the headers of a reply.
_LOST = (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError, aiohttp.ClientConnectionResetError)


class Transport:
    """Moves one request and one reply at a time over the session of a client.

    Args:
        config: The options of the client.
        session: The caller's session; ``None`` for one of the client's own.

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
        """The proxy of the environment that is used, without its user and password."""
        return None if self._proxy is None else str(self._proxy.origin())

    def with_timeout(self, timeout: Timeout) -> Self:
        """Return a transport over the same session, with other time limits."""
        other = copy(self)
        other._set_timeout(timeout)  # noqa: SLF001 - of the same class
        return other

    def require_usable(self) -> None:
        """Check that requests can be sent from here. The first check decides the event loop.

        Raises:
            ClientClosedError: The client, or the caller's session, is closed.
            ConfigurationError: The client is at work in another event loop.
        """
        self.session.require_usable()

    async def exchange(self, request: Request) -> Reply:
        """Send a request and read its reply to the end, whatever its status.

        Raises:
            TransportError: There was no complete reply. The subclass says at which step it failed.
            ClientClosedError: The client, or the caller's session, is closed.
        """
        self.require_usable()
        session = self.session.open()
        failure: Exception
        try:
            async with asyncio.timeout(self._attempt_limit):
                return await self._send_and_read(session, request)
        except TimeoutError as error:  # aiohttp's own timeouts are TimeoutErrors too
            failure = error_from_timeout(error)
        except aiohttp.ClientError as error:
            failure = error_from_aiohttp(error, self._config)
        except ResponseTooLargeError as error:
            # The frames of its traceback hold the response with the headers as received.
            failure = error.with_traceback(None)
        except UnicodeError:
            # What the system's resolver raises for a name that cannot be one.
            failure = invalid_host_error(self._config.base_url)
        except asyncio.CancelledError:
            if not _is_stray_cancellation(session):
                raise
            failure = _closed_under_way()
        if isinstance(failure, ResponseLostError):
            # Whatever happened to that connection may have happened to all of them.
            self.session.idle.suspect()
        raise _closed_under_way() if session.closed else failure

    async def close(self) -> None:
        """Close the session, if it is our own; from now on exchanges are refused."""
        await self.session.close()

    def _set_timeout(self, timeout: Timeout) -> None:
        self._attempt_limit = timeout.attempt
        self._limits = aiohttp.ClientTimeout(
            total=None,  # the attempt has a timeout of its own, around all of this
            # With the look-up of the name. In a pool of our own nobody waits for a connection; in
            # a caller's one may, and that is no failure to connect.
            connect=timeout.connect if self.session.is_own else None,
            sock_connect=timeout.connect,
            sock_read=timeout.read,
        )
        self._options = self._build_options()

    def _build_options(self) -> dict[str, Any]:
        """Return what is the same for each request."""
        return {
            "headers": {
                "Accept": "application/json",
                "User-Agent": f"cekat-async/{__version__} Python/{platform.python_version()}",
            },
            "timeout": self._limits,
            "proxy": self._proxy,
            # None of these is left to the defaults of a caller's session: a redirect could lead
            # the key elsewhere, and an error's body must be read like any other.
            "allow_redirects": False,
            "raise_for_status": False,
            "auto_decompress": True,
            "read_bufsize": _STEP,
        }

    async def _send_and_read(self, session: aiohttp.ClientSession, request: Request) -> Reply:
        # Those of the request replace the session's own.
        middlewares = (self._send_with_key, *self.session.middlewares)
        response = await session.get(
            self._build_url(request), middlewares=middlewares, **self._options
        )
        try:
            body = await self._read_body(response)
        finally:
            # Of a body that was not read to its end, this closes the connection.
            response.release()
        self.session.idle.may_exist = True
        _log.debug("%s answered %d, %d bytes", request.path, response.status, len(body))
        return Reply(response.status, response.headers, body)

    def _build_url(self, request: Request) -> URL:
        query = f"?{request.query}" if request.query else ""
        # Encoded already, and to be sent byte for byte: a cursor is opaque.
        return URL(f"{self._config.base_url}{request.path}{query}", encoded=True)

    async def _send_with_key(
        self, request: ClientRequest, handler: ClientHandlerType
    ) -> ClientResponse:
        """Send a request with the key, once.

        This is a middleware for two reasons. A key that is set here, last of all, overrides a
        ``.netrc``, and appears in no frame of aiohttp's. And aiohttp sends a GET again by itself
        when a reused connection drops, which neither the limiter nor the retry would see: a
        middleware runs inside that loop, and its exception ends it.
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
        """Return the whole body of a page, or the beginning of an error's."""
        is_page = response.status == OK
        limit = self._config.max_page_bytes if is_page else _MAX_ERROR_BODY
        if is_page and (response.content_length or 0) > limit:
            raise _too_large(limit)
        # To its end: otherwise the connection could not be used again.
        body = await _read_up_to(response.content, limit)
        if is_page and len(body) > limit:
            raise _too_large(limit)
        # Some servers put a byte order mark before their JSON, which is none of it.
        return body[:limit].removeprefix(codecs.BOM_UTF8)


async def _read_up_to(content: aiohttp.StreamReader, limit: int) -> bytes:
    """Return a body, or more than ``limit`` bytes of a longer one, a piece in each turn.

    aiohttp unpacks a compressed body as it is read. Without a turn of the loop in between, all of
    it would be one long block.
    """
    body = bytearray()
    while len(body) <= limit and not content.at_eof():
        if body:
            await asyncio.sleep(0)
        body += await content.readany()
    return bytes(body)


def _get_proxy(base_url: str) -> URL | None:
    """Return the environment's proxy for the API's host.

    Looked up once, as aiohttp would look at every request, in a thread. Loopback needs none, and
    the key, which may go there unencrypted, is not to leave the machine in that state.
    """
    url = URL(base_url)
    text = getproxies().get(url.scheme)
    if not text or is_loopback(url.host or "") or proxy_bypass(url.authority):
        return None
    # The URL is not shown: it may hold a password.
    refusal = f"the environment's proxy for {url.scheme} must be an http:// or https:// URL"
    try:
        proxy = URL(text if "://" in text else f"http://{text}")
    except ValueError:
        raise ConfigurationError(refusal) from None
    if proxy.scheme not in {"http", "https"} or not is_host(proxy.raw_host or ""):
        raise ConfigurationError(refusal)
    return proxy


def _is_stray_cancellation(session: aiohttp.ClientSession) -> bool:
    """Whether nobody cancelled the task: aiohttp cancels who waits for a connection at closing."""
    task = asyncio.current_task()
    return session.closed and task is not None and not task.cancelling()


def _closed_under_way() -> ClientClosedError:
    return ClientClosedError("the session was closed while a request was under way")


def _too_large(limit: int) -> ResponseTooLargeError:
    return ResponseTooLargeError(
        f"the page is larger than {limit:,} bytes: ask for fewer records with limit=, or raise "
        "CekatClient(max_page_bytes=…)"
    )
