"""The log of a sandbox: the requests that it received, their times, and the connections."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus

_HARMLESS = frozenset({None, "delay", "slow", "trickle"})
# The parameters whose values are shown. Other values, such as those of cursors, may be private.
_SHOWN = frozenset({"limit", "page", "inbox_id", "stage_status"})


@dataclass(slots=True)
class SeenRequest:
    """A request that the sandbox received, and its outcome. The key is never recorded.

    ``str()`` returns one line without private values: ``GET /api/inboxes?page=1: 200``.

    Attributes:
        time: The time of its arrival, in seconds on the event loop's clock.
        method: The method, such as ``GET``.
        path: The path as the client sent it, without the query.
        query: The percent-encoded query as the client sent it. It may be empty.
        connection: The number of its connection, from 1.
        user_agent: The ``User-Agent`` header, or ``None``.
        accept_encoding: The ``Accept-Encoding`` header, or ``None``.
        authorized: Whether the request had the right key.
        status: The status of its reply. ``None`` before the reply, and for requests that get no
            reply.
        fault: The name of its fault, or ``None``.
    """

    time: float
    method: str
    path: str
    query: str
    connection: int
    user_agent: str | None
    accept_encoding: str | None
    authorized: bool
    status: int | None = None
    fault: str | None = None

    def __str__(self) -> str:
        query = "&".join(_mask_value(parameter) for parameter in self.query.split("&"))
        target = f"{self.path}?{query}" if self.query else self.path
        fault = f" (fault: {self.fault})" if self.fault else ""
        return f"{self.method} {target}: {self.status or 'no reply'}{fault}"


def _mask_value(parameter: str) -> str:
    name = parameter.partition("=")[0]
    return parameter if name in _SHOWN else f"{name}=***"


@dataclass(slots=True)
class Log:
    """Everything that a sandbox has received since it was started, or since ``clear()``.

    Attributes:
        requests: All requests, in the order of arrival.
        connections: The number of connections that were opened, including dropped ones.
        open_connections: The number of connections that are open now.
    """

    requests: list[SeenRequest] = field(default_factory=list[SeenRequest])
    connections: int = 0
    open_connections: int = 0

    @property
    def served(self) -> int:
        """The number of requests that got a 200 with a complete and undamaged body."""
        return sum(
            seen.status == HTTPStatus.OK and seen.fault in _HARMLESS for seen in self.requests
        )

    @property
    def refused(self) -> int:
        """The number of requests that got a 429, from the quota or from a fault."""
        return sum(seen.status == HTTPStatus.TOO_MANY_REQUESTS for seen in self.requests)

    def most_in_any(self, seconds: float) -> int:
        """Return the largest number of requests that arrived in any window of a given length.

        Args:
            seconds: The length of the window. The end of a window is not part of it.

        Examples:
            >>> conversations = await cekat.conversations.list().collect()
            >>> sandbox.log.most_in_any(60)
            3
        """
        most = first = 0
        for last, seen in enumerate(self.requests):
            while seen.time - self.requests[first].time >= seconds:
                first += 1
            most = max(most, last - first + 1)
        return most

    def clear(self) -> None:
        """Remove all requests, and count only the connections that are open now.

        Examples:
            >>> page = await cekat.conversations.page()
            >>> sandbox.log.clear()
            >>> len(sandbox.log.requests)
            0
        """
        self.requests.clear()
        self.connections = self.open_connections
