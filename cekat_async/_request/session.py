"""aiohttp's session of a client: opened with the first request, unless it is the caller's own."""

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
    """Opens and closes the session of a client. It uses a caller's session, and never closes it.

    A session of the client's own opens with the first request, in the event loop of that moment.

    Args:
        session: The caller's session; ``None`` for one of the client's own.
        connections: How many connections a session of its own may have.

    Attributes:
        is_own: Whether the session is the client's own.
        is_closed: Whether it was closed; requests are refused then.
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
        # In a caller's session there may be some, from its own requests.
        self.idle = IdleConnections(may_exist=session is not None)

    @property
    def is_open(self) -> bool:
        """Whether there is something left to close."""
        return self.is_own and self._session is not None and not self.is_closed

    @property
    def middlewares(self) -> tuple[ClientMiddlewareType, ...]:
        """The middlewares of the caller's session, which are not public."""
        return () if self.is_own else getattr(self._session, "_middlewares", ())

    def require_usable(self) -> None:
        """Check that requests can be sent from here. The first check decides the event loop.

        Raises:
            ClientClosedError: The client, or the caller's session, is closed.
            ConfigurationError: The client is at work in another event loop.
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
        """Close the session, if it is the client's own. From now on requests are refused."""
        self.is_closed = True
        if self.is_own and self._session is not None:
            await self._session.close()


def _check_session(session: aiohttp.ClientSession) -> None:
    if not isinstance(session, aiohttp.ClientSession):
        raise ConfigurationError(f"session must be an aiohttp.ClientSession, not {session!r}")
    if session.auth is not None:
        raise ConfigurationError(
            "the session has an auth of its own, where the API wants the key: leave it away"
        )
