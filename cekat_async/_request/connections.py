"""Prevents the client from reusing idle connections that are dead or have received data.

aiohttp keeps connections open after a reply and reuses them. Before it reuses a connection, aiohttp
checks only whether the operating system knows that the connection is closed. This check is not
enough in two cases. After a failover, every idle connection is dead, but the system notices this
only when data is sent. If data arrives on an idle connection, aiohttp would treat this data as the
reply to the next request.
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
    """The connection pool of a client's own session. It skips connections with unexpected data."""

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109 - aiohttp's own name
    ) -> Connection:
        """Return a connection on which no data has arrived since the last reply."""
        connection = await super().connect(req, traces, timeout)
        # The loop is bounded, because no connection passes the check if a server always sends data
        # first.
        left = self.limit
        while left and _has_received(connection):
            left -= 1
            connection.close()
            connection = await super().connect(req, traces, timeout)
        return connection


def _has_received(connection: Connection) -> bool:
    return connection.protocol is not None and connection.protocol.should_close


class IdleConnections:
    """The state of a session's idle connections to the API's host.

    Args:
        may_exist: True if idle connections may exist before the first request, as in a caller's
            session.

    Attributes:
        may_exist: True if the next request may reuse an idle connection.
    """

    def __init__(self, *, may_exist: bool) -> None:
        self.may_exist = may_exist
        self._are_suspect = False

    def suspect(self) -> None:
        """Distrust all idle connections, because a reply was lost."""
        self._are_suspect = True

    async def close_if_suspect(
        self, session: ClientSession, request: ClientRequest, limits: ClientTimeout
    ) -> None:
        """Close the connections that were idle when a reply was lost, and open a new one.

        Connections to other hosts, and connections in use, stay open.
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
    except TimeoutError as error:  # the same error as in aiohttp's own code
        raise aiohttp.ConnectionTimeoutError(str(error)) from None


def _build_reuse_trace(session: ClientSession, reuses: list[Any]) -> Trace:
    """Return a trace that records each connection taken from the pool."""

    async def note(_session: ClientSession, _context: SimpleNamespace, what: Any) -> None:
        reuses.append(what)

    config = aiohttp.TraceConfig()
    config.on_connection_reuseconn.append(note)
    config.freeze()
    return Trace(session, config, SimpleNamespace())
