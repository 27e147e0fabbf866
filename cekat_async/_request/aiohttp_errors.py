"""Translates aiohttp's errors into ours.

The ``repr`` and the ``args`` of aiohttp's errors contain the request's headers, and therefore the
key. So our errors do not chain to aiohttp's errors. Our errors also repeat nothing that a server
sent, because a server may echo the key.
"""

# aiohttp computes the base classes of its TLS errors, so a type checker cannot see their
# attributes.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import os
import re
import socket
import ssl
from typing import TYPE_CHECKING

import aiohttp

from cekat_async.errors import (
    CekatError,
    ConfigurationError,
    ConnectionDroppedError,
    ConnectTimeoutError,
    NotSentError,
    ProxyError,
    ResponseLostError,
    ResponseTimeoutError,
    TLSError,
    TransportError,
    UnknownHostError,
)

if TYPE_CHECKING:
    from cekat_async._request.client_config import ClientConfig

__all__ = ["ConnectionLostError", "error_from_aiohttp", "error_from_timeout", "invalid_host_error"]


class ConnectionLostError(aiohttp.ClientConnectionError):
    """The connection was lost before the reply arrived.

    aiohttp resends a request after some of its own errors, but not after this error.

    Args:
        error: The error that aiohttp raised.
        was_idle: True if the connection may have been open since an earlier request.
    """

    def __init__(self, error: aiohttp.ClientError, *, was_idle: bool) -> None:
        # If a reply was cut short, aiohttp's message contains the received headers.
        is_cut = isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(
            error.message, str
        )
        super().__init__("its head was cut short" if is_cut else str(error))
        self.was_idle = was_idle and not is_cut
        # With TLS 1.3, a server rejects a client certificate only after the handshake.
        self.alert = _certificate_alert(error.__cause__)


def _certificate_alert(error: BaseException | None) -> str | None:
    reason = str(error.reason or "") if isinstance(error, ssl.SSLError) else ""
    return _spaced(reason) if _ABOUT_CERTIFICATES.search(reason) else None


_ABOUT_CERTIFICATES = re.compile("ALERT.*(CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)")


def error_from_timeout(error: TimeoutError) -> TransportError:
    """Return our error for a timeout in aiohttp, or for a timeout of the whole attempt."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return ConnectTimeoutError("no connection in time (Timeout.connect)")
    if isinstance(error, aiohttp.SocketTimeoutError):
        return ResponseTimeoutError("the server stopped sending (Timeout.read)")
    return ResponseTimeoutError("no complete reply in time (Timeout.attempt)")


def invalid_host_error(base_url: str) -> ConfigurationError:
    """Return the error for a host name that no resolver can look up."""
    return ConfigurationError(f"base_url {base_url!r}, or the proxy's URL, has no valid host")


def error_from_aiohttp(error: aiohttp.ClientError, config: ClientConfig) -> CekatError:
    """Return our error for an error of aiohttp."""
    if isinstance(error, aiohttp.InvalidURL):
        return invalid_host_error(config.base_url)
    # If a proxy refuses the connection, the error contains the proxy's text, which may contain
    # anything.
    reason = config.api_key.redact_text(_get_reason(error))
    if isinstance(error, ConnectionLostError):
        return _lost(error, config.base_url, reason)
    if isinstance(error, _NEVER_SENT):
        return _not_sent(error, config.base_url, reason)
    return ResponseLostError(f"the connection was lost before the complete reply: {reason}")


def _lost(error: ConnectionLostError, base_url: str, reason: str) -> TransportError:
    if error.alert is not None:
        return _no_tls(base_url, error.alert)
    dropped = ConnectionDroppedError(f"the connection was lost before the reply: {reason}")
    dropped.was_idle = error.was_idle
    return dropped


def _no_tls(base_url: str, reason: str) -> TLSError:
    return _advised(
        f"no TLS connection to {base_url}: {reason}. Check the scheme and the port of base_url",
        "if the server asks for a client certificate, pass a session= whose connector has one",
    )


def _advised(message: str, advice: str) -> TLSError:
    error = TLSError(message)
    # The advice is not in the message, because the command line has no session.
    error.advice = advice
    return error


_NEVER_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ServerFingerprintMismatch,
)

_PRIVATE_CA = (
    "if the API is behind a proxy or gateway with a certificate of its own, pass a session= whose "
    "connector trusts it"
)


def _not_sent(error: aiohttp.ClientError, base_url: str, reason: str) -> NotSentError:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _advised(
            f"the certificate of {base_url} was rejected: {reason}. Check base_url, and this "
            "machine's clock and CA certificates",
            _PRIVATE_CA,
        )
    if isinstance(error, aiohttp.ServerFingerprintMismatch):
        return TLSError(
            f"the certificate of {base_url} does not have the fingerprint that session= requires: "
            "check the fingerprint with the operator of the server"
        )
    if isinstance(error, aiohttp.ClientConnectorSSLError) and not _was_cut_off(error):
        return _no_tls(base_url, reason)
    if isinstance(error, aiohttp.ClientConnectorDNSError) and _is_unknown(error.os_error):
        return UnknownHostError(
            f"cannot reach {base_url}: there is no host named {error.host!r}. Check base_url, "
            "and whether this machine has a network"
        )
    if isinstance(error, aiohttp.ClientHttpProxyError) and _is_final(error.status):
        return ProxyError(
            f"the proxy refuses to connect to {base_url}: {error.status} {reason}. Check the "
            "proxy's address, user and password"
        )
    return NotSentError(f"cannot reach {base_url}: {reason}")


def _was_cut_off(error: aiohttp.ClientConnectorSSLError) -> bool:
    """Whether the connection was lost during the handshake, for example by a server restart."""
    said = error.os_error
    early = (ssl.SSLEOFError, ssl.SSLSyscallError, ssl.SSLZeroReturnError)
    return isinstance(said, early) or getattr(said, "reason", "") == "TLSV1_ALERT_INTERNAL_ERROR"


_UNKNOWN = {getattr(socket, name, None) for name in ("EAI_NONAME", "EAI_NODATA")}
_UNKNOWN_TO_ARES = {(1,), (4,)}  # ARES_ENODATA and ARES_ENOTFOUND, as the first argument


def _is_unknown(error: OSError) -> bool:
    """Whether the name service replied that the host does not exist, rather than failing."""
    if isinstance(error, socket.gaierror):
        return error.errno in _UNKNOWN
    # If aiodns is installed, aiohttp wraps its error in an error without a number.
    cause = error.__cause__
    return cause is not None and cause.args[:1] in _UNKNOWN_TO_ARES


_MAY_PASS_LATER = {408, 425, 429}


def _is_final(status: int) -> bool:
    """Whether a proxy that replied with this status would reply to a retry in the same way."""
    return status in range(400, 500) and status not in _MAY_PASS_LATER


# In aiohttp's messages, the text after this mark quotes data from the server.
_QUOTED_BYTES = re.compile(r"\bb['\"]")


def _get_reason(error: aiohttp.ClientError) -> str:
    """Describe the failure in one line, without data that the client or the server sent."""
    text = error.message if isinstance(error, aiohttp.ClientResponseError) else _get_text(error)
    said, *_ = _QUOTED_BYTES.split(" ".join(text.split()), maxsplit=1)
    return said.rstrip(" :.") or type(error).__name__


def _get_text(error: aiohttp.ClientError) -> str:
    """Return the text of an error. For an operating system error, return the system's text."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(getattr(error.certificate_error, "verify_message", error.certificate_error))
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return _spaced(str(getattr(error.os_error, "reason", None) or error.os_error))
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        reason = _get_system_text(error.os_error)
        host = f"[{error.host}]" if ":" in error.host else error.host  # as in a URL
        return f"the proxy {host}:{error.port} cannot be reached: {reason}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return _get_system_text(error.os_error)
    return str(error)


def _get_system_text(error: OSError) -> str:
    """Return the text of an operating system error."""
    if isinstance(error, socket.gaierror) or not error.errno:
        text = str(error.strerror or error)
    else:
        text = os.strerror(error.errno)
    # asyncio gives no reason if a connection is closed while it is being opened.
    return text.lower() if text not in {"", "None"} else "the connection was closed at once"


def _spaced(reason: str) -> str:
    """Return OpenSSL's error name as separate words."""
    return reason.replace("_", " ").lower()
