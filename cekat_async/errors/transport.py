"""Errors of requests that got no whole response."""

from __future__ import annotations

from cekat_async.errors.base import CekatError

__all__ = [
    "ConnectTimeoutError",
    "ConnectionDroppedError",
    "NotSentError",
    "ProxyError",
    "ResponseLostError",
    "ResponseTimeoutError",
    "ResponseTooLargeError",
    "TLSError",
    "TransportError",
    "UnknownHostError",
]


class TransportError(CekatError):
    """The client received no whole response."""


class NotSentError(TransportError):
    """The request did not reach the server: unknown host, connection refused, TLS, or proxy."""


class ConnectTimeoutError(NotSentError):
    """The client could not connect within ``Timeout.connect``. The request was not sent."""


class UnknownHostError(NotSentError):
    """DNS does not know the host. The client retries twice, within about two seconds."""


class TLSError(NotSentError):
    """The certificate was rejected, or there is no common version of TLS. Not retried."""


class ProxyError(NotSentError):
    """The proxy refused to connect to the server. Not retried."""


class ResponseLostError(TransportError):
    """The server may have received the request, but no whole response arrived."""


class ConnectionDroppedError(ResponseLostError):
    """The connection was dropped before a response began.

    Attributes:
        was_idle: Whether the connection may be left from an earlier request. The client then
            closes the other idle connections, and retries at once over a new one.
    """

    was_idle: bool = False


class ResponseTimeoutError(ResponseLostError):
    """The server sent nothing for ``Timeout.read``, or took longer than ``Timeout.attempt``."""


class ResponseTooLargeError(ResponseLostError):
    """The response is larger than ``max_page_bytes``. The client did not read all of it."""
