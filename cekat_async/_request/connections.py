"""Idle connections: which of them must not be used again.

aiohttp keeps connections open after an answer and uses them again. It asks only whether the system
has noticed that one is closed. That is not enough in two cases: after a failover every idle
connection is dead, and none of them shows it before something is sent; and what arrives on an idle
connection unasked would be taken for the answer to the next request.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.tracing import Trace

if TYPE_CHECKING:
    from aiohttp import ClientRequest, ClientSession, ClientTimeout
    from aiohttp.connector import Connection

__all__ = ["Connector", "IdleConnections"]


class Connector(aiohttp.TCPConnector):
    """The pool of a client's own session. It skips connections on which something has arrived."""

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109 - aiohttp's own name
    ) -> Connection:
        """Return a connection on which nothing was received since the last answer."""
        connection = await super().connect(req, traces, timeout)
        # No more of them can be idle than this; a server that speaks first would never end it.
        left = self.limit
        while left and _has_received(connection):
            left -= 1
            connection.close()
            connection = await super().connect(req, traces, timeout)
        return connection


def _has_received(connection: Connection) -> bool:
    return connection.protocol is not None and connection.protocol.should_close


class IdleConnections:
    """What is known of the idle connections of a session to the API's host.

    Args:
        may_exist: Whether there may be some before the first request, as in a caller's session.

    Attributes:
        may_exist: Whether the next request may go out over a connection that was idle.
    """

    def __init__(self, *, may_exist: bool) -> None:
        self.may_exist = may_exist
        self._are_suspect = False

    def suspect(self) -> None:
        """Trust none of them any more: an answer was lost."""
        self._are_suspect = True

    async def close_if_suspect(
        self, session: ClientSession, request: ClientRequest, limits: ClientTimeout
    ) -> None:
        """Close those that were there when an answer was lost, and leave a new one in the pool.

        Connections to other hosts stay open, and so do those on which requests are under way.
        """
        if not self._are_suspect:
            return
        self._are_suspect = self.may_exist = False
        connector = session.connector
        if connector is None or connector.force_close:
            return
        reuses = list[Any]()
        trace = _build_reuse_trace(session, reuses)
        while True:
            before = len(reuses)
            connection = await _connect(connector, request, trace, limits)
            if len(reuses) == before:
                connection.release()
                return
            connection.close()


async def _connect(
    connector: aiohttp.BaseConnector, request: ClientRequest, trace: Trace, limits: ClientTimeout
) -> Connection:
    try:
        return await connector.connect(request, [trace], limits)
    except TimeoutError as error:  # as aiohttp names it where it connects itself
        raise aiohttp.ConnectionTimeoutError(str(error)) from None


def _build_reuse_trace(session: ClientSession, reuses: list[Any]) -> Trace:
    """Return a trace that notes each connection that was taken from the pool."""

    async def note(_session: ClientSession, _context: SimpleNamespace, what: Any) -> None:
        reuses.append(what)

    config = aiohttp.TraceConfig()
    config.on_connection_reuseconn.append(note)
    config.freeze()
    return Trace(session, config, SimpleNamespace())
