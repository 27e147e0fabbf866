"""Errors of requests that received no complete response."""

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
    """The client received no complete response."""


class NotSentError(TransportError):
    """The request did not reach the server: unknown host, connection refused, TLS, or proxy."""


class ConnectTimeoutError(NotSentError):
    """The client could not connect within ``Timeout.connect``. The request was not sent."""


class UnknownHostError(NotSentError):
    """DNS does not know the host. The client retried twice within about two seconds."""


class TLSError(NotSentError):
    """The certificate was rejected, or there is no common TLS version. There is no retry."""


class ProxyError(NotSentError):
    """The proxy refused to connect to the server. There is no retry."""


class ResponseLostError(TransportError):
    """The server may have received the request, but no complete response arrived."""


class ConnectionDroppedError(ResponseLostError):
    """The connection was dropped before a response began.

    Attributes:
        was_idle: True if the connection may have been open since an earlier request. If so, the
            client closes the other idle connections, and retries immediately over a new connection.
    """

    was_idle: bool = False


class ResponseTimeoutError(ResponseLostError):
    """The server sent nothing for ``Timeout.read``, or took longer than ``Timeout.attempt``."""


class ResponseTooLargeError(ResponseLostError):
    """The response is larger than ``max_page_bytes``. The client did not read all of it."""
