"""What the sandbox saw: requests, their times, and connections."""

from __future__ import annotations

from dataclasses import dataclass, field

_HARMLESS = frozenset({None, "delay", "slow", "trickle"})


@dataclass(slots=True)
class SeenRequest:
    """One request, as it arrived and what became of it. The key is never kept.

    Attributes:
        time: when it arrived, in seconds on the event loop's clock.
        method: `GET` and its like.
        path: the path as it came over the wire, without the query.
        query: the query as it came over the wire, not decoded; empty without one.
        connection: number of the connection it came on, counted from 1.
        user_agent: the `User-Agent` header, or `None`.
        accept_encoding: the `Accept-Encoding` header, or `None`.
        authorized: whether it carried the right key.
        status: the status it was answered with; `None` while it is being answered and for
            requests that never got one.
        fault: name of the fault it met, or `None`.
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


@dataclass(slots=True)
class Log:
    """All that a sandbox saw since it was started or since `clear()`.

    Attributes:
        requests: every request, in the order of arrival.
        connections: how many connections were opened, those included that were dropped.
        open_connections: how many are open now.
    """

    requests: list[SeenRequest] = field(default_factory=list[SeenRequest])
    connections: int = 0
    open_connections: int = 0

    @property
    def served(self) -> int:
        """How many requests got a whole and undamaged 200."""
        return sum(seen.status == 200 and seen.fault in _HARMLESS for seen in self.requests)  # noqa: PLR2004  # the status is its own name

    @property
    def refused(self) -> int:
        """How many requests got a 429, from the quota or from a fault."""
        return sum(seen.status == 429 for seen in self.requests)  # noqa: PLR2004  # the status is its own name

    def most_in_any(self, seconds: float) -> int:
        """Return the largest number of requests that arrived in any `seconds` (half-open)."""
        most = first = 0
        for last, seen in enumerate(self.requests):
            while seen.time - self.requests[first].time >= seconds:
                first += 1
            most = max(most, last - first + 1)
        return most

    def clear(self) -> None:
        """Forget the requests and the count of connections; open ones stay counted."""
        self.requests.clear()
        self.connections = self.open_connections
