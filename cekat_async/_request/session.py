"""The aiohttp session of a client: its own, opened at the first request, or the caller's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

from cekat_async._ratelimit.event_loop import EventLoopGuard
from cekat_async._request.connections import Connector, IdleConnections
from cekat_async._request.timeouts import closed_error
from cekat_async.errors import ClientClosedError, ConfigurationError

if TYPE_CHECKING:
    from aiohttp import ClientMiddlewareType

__all__ = ["SessionOwner"]


class SessionOwner:
    """Opens and closes the client's own session, or uses the caller's session.

    The client's own session opens at the first request, in the event loop that is running then. The
    caller's session is never closed here.

    Args:
        session: The caller's session; ``None`` for the client's own session.
        connections: The most connections of the client's own session.

    Attributes:
        is_own: True if the session is the client's own.
        is_closed: True if the owner was closed. It then refuses requests.
        idle: The state of the session's idle connections.
    """

    def __init__(self, session: aiohttp.ClientSession | None, connections: int) -> None:
        if session is not None:
            _check_session(session)
        self._session = session
        self._connections = connections
        self._event_loop = EventLoopGuard("client")
        self.is_own = session is None
        self.is_closed = False
        # A caller's session may have idle connections left from other requests of the caller.
        self.idle = IdleConnections(may_exist=session is not None)

    @property
    def is_open(self) -> bool:
        """Whether the client's own session is open and must be closed."""
        return self.is_own and self._session is not None and not self.is_closed

    @property
    def middlewares(self) -> tuple[ClientMiddlewareType, ...]:
        """The middlewares of the caller's session (a private attribute of aiohttp)."""
        return () if self.is_own else getattr(self._session, "_middlewares", ())

    def require_usable(self) -> None:
        """Check that requests can be sent in the running event loop. The first check sets the loop.

        Raises:
            ClientClosedError: The client, or the caller's session, is closed.
            ConfigurationError: The client is in use in another event loop.
        """
        if self.is_closed:
            raise closed_error()
        self._event_loop.check()
        if self._session is not None and self._session.closed:
            raise ClientClosedError("the session given to the client is closed")

    def open(self) -> aiohttp.ClientSession:
        """Return the session."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=Connector(limit=self._connections),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def close(self) -> None:
        """Close the client's own session. After this, requests are refused."""
        self.is_closed = True
        if self.is_own and self._session is not None:
            await self._session.close()


def _check_session(session: aiohttp.ClientSession) -> None:
    if not isinstance(session, aiohttp.ClientSession):
        raise ConfigurationError(f"session must be an aiohttp.ClientSession, not {session!r}")
    if session.auth is not None:
        raise ConfigurationError(
            "the session has its own auth, which would replace the API key: remove auth= from it"
        )
