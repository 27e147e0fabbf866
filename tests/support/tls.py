"""TLS servers with their own certificates, and trust settings for clients."""

# trustme's annotations name types of pyOpenSSL, which is not a dependency of the tests.
# pyright: reportUnknownMemberType=false

import socket
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

import aiohttp
import trustme

from .rawserver import http

AUTHORITY = trustme.CA()


def server_context(host: str = "127.0.0.1", **certificate: Any) -> ssl.SSLContext:
    """Return a server's SSL context with a certificate for ``host``."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert(host, **certificate).configure_cert(context)
    return context


def client_context() -> ssl.SSLContext:
    """Return a client's SSL context that trusts the certificates of these servers."""
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def trusting_session(trust: ssl.SSLContext | aiohttp.Fingerprint) -> aiohttp.ClientSession:
    """Return a session whose connections use ``trust``, for a client to use."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust))


class TLSServer:
    """Serves one connection after another, and answers with an empty page.

    The server uses blocking sockets, because they send a TLS alert with the reason if the server
    refuses a client. An asyncio server would close the connection without an alert.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"https://127.0.0.1:{self._listening.getsockname()[1]}"
        self.connections = 0

    def serve(self) -> None:
        """Accept and answer connections until the server is closed."""
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self.connections += 1
                with suppress(OSError), connection:
                    self._answer(connection)

    def close(self) -> None:
        """Stop listening, which makes ``serve`` return."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        wrapped = self._context.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        )
        with wrapped:
            try:
                wrapped.do_handshake()
            except ssl.SSLError:
                # If unread bytes remain, the close sends a reset, which can discard the alert.
                while socket.socket.recv(wrapped, 65536):
                    pass
                return
            if wrapped.recv(65536):  # the head of a request, or nothing if the client disconnected
                wrapped.sendall(http(Connection="close"))


@contextmanager
def tls_server(context: ssl.SSLContext) -> Generator[TLSServer]:
    """Run a server in a thread until the ``with`` block ends."""
    server = TLSServer(context)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()
