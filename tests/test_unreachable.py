"""Unreachable servers: the client retries if that may help, and explains the error if not."""

import asyncio
import gc
import socket
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from support.rawserver import RawServer, http
from support.tls import AUTHORITY, client_context, server_context, tls_server, trusting_session

from cekat_async import CekatClient, RetryPolicy
from cekat_async.errors import (
    CekatError,
    ConfigurationError,
    NotSentError,
    ProxyError,
    TLSError,
    UnknownHostError,
)

QUICK = RetryPolicy(attempts=4, backoff=0.001, backoff_max=0.001)
ONCE = RetryPolicy(attempts=1)


async def refusal(base_url, session=None, **options) -> tuple[CekatError, int]:
    """Return the error of a call, and the number of its attempts."""
    options = {"rate_limit": None, "retry": QUICK} | options
    async with CekatClient(
        "a-made-up-key", base_url=base_url, session=session, **options
    ) as client:
        with pytest.raises(CekatError) as caught:
            await client.conversations.page()
    error = caught.value
    assert error.__cause__ is error.__context__ is None
    assert "\n" not in str(error)
    assert "a-made-up-key" not in str(error)
    return error, client.traffic.requests


# Certificates and TLS


async def test_a_certificate_of_an_unknown_authority():
    """An untrusted certificate is not retried, and the error says what to do."""
    with tls_server(server_context()) as server:
        error, attempts = await refusal(server.base_url)

    assert (type(error), attempts, server.connections) == (TLSError, 1, 1)
    assert f"the certificate of {server.base_url} was rejected" in str(error)
    assert "issuer" in str(error) or "self-signed" in str(error)
    assert "Check base_url, and this machine's clock and CA certificates" in str(error)
    assert "pass a session=" in str(error)


async def test_many_clients_share_one_tls_context():
    """The shared context has all CA certificates of the system.

    Clients with their own sessions share it, too.
    """
    with tls_server(server_context()) as server:
        await refusal(server.base_url)
        before = count_tls_contexts()

        clients = [CekatClient("key", base_url=server.base_url, retry=ONCE) for _ in range(5)]
        for client in clients:
            with pytest.raises(TLSError):
                await client.conversations.page()

        assert count_tls_contexts() == before
        for client in clients:
            await client.aclose()


def count_tls_contexts() -> int:
    gc.collect()
    return sum(isinstance(one, ssl.SSLContext) for one in gc.get_objects())


YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@pytest.mark.parametrize(
    "certificate, words",
    [
        ({"host": "other.test"}, "not valid for '127.0.0.1'"),
        ({"not_before": YESTERDAY - timedelta(days=9), "not_after": YESTERDAY}, "expired"),
    ],
    ids=["of another host", "expired"],
)
async def test_a_certificate_that_is_wrong(certificate, words):
    """A certificate that is expired or belongs to another host is not retried."""
    with tls_server(server_context(**certificate)) as server:
        async with trusting_session(client_context()) as session:
            error, attempts = await refusal(server.base_url, session)

    assert (type(error), attempts) == (TLSError, 1)
    assert words in str(error)


async def test_a_certificate_that_is_trusted():
    """If a session trusts the certificate's authority, the same server can be used."""
    with tls_server(server_context()) as server:
        async with (
            trusting_session(client_context()) as session,
            CekatClient("key", base_url=server.base_url, session=session) as client,
        ):
            assert len(await client.conversations.page()) == 0


async def test_another_fingerprint_than_the_one_asked_for():
    """If the certificate does not have the session's fingerprint, the request is not retried."""
    with tls_server(server_context()) as server:
        async with trusting_session(aiohttp.Fingerprint(b"0" * 32)) as session:
            error, attempts = await refusal(server.base_url, session)

    assert (type(error), attempts) == (TLSError, 1)
    assert "fingerprint" in str(error)


async def test_no_common_version_of_tls():
    """If the server has no version of TLS in common with the client, nothing is retried."""
    old, new = server_context(), client_context()
    old.maximum_version, new.minimum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    with tls_server(old) as server:
        async with trusting_session(new) as session:
            error, attempts = await refusal(server.base_url, session)

    assert (type(error), attempts) == (TLSError, 1)
    assert "protocol version" in str(error)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_server_that_asks_for_a_certificate(version):
    """If the server requires a client certificate, the request is not retried."""
    context = server_context()
    context.maximum_version, context.verify_mode = version, ssl.CERT_REQUIRED
    AUTHORITY.configure_trust(context)
    with tls_server(context) as server:
        async with trusting_session(client_context()) as session:
            error, attempts = await refusal(server.base_url, session)

    assert (type(error), attempts) == (TLSError, 1)
    assert "if the server asks for a client certificate" in str(error)


async def test_a_server_that_speaks_no_tls():
    """If a server answers a TLS handshake in plain HTTP, the request is not retried."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(http(b"", 400))
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error, attempts = await refusal(f"https://127.0.0.1:{port}")

    assert (type(error), attempts) == (TLSError, 1)
    assert "Check the scheme and the port of base_url" in str(error)


async def test_a_handshake_that_breaks_off_is_retried():
    """A server that closes the connection in the handshake may be starting, so this is retried."""

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10_000)
        writer.close()

    async with await asyncio.start_server(close, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error, attempts = await refusal(f"https://127.0.0.1:{port}")

    assert (type(error), attempts) == (NotSentError, 4)


# Names


def resolver_that_fails(monkeypatch, error: OSError) -> list[str]:
    """Make each lookup of a name fail, and return the names."""
    names: list[str] = []

    async def fail(host, *_args, **_options):
        names.append(host)
        raise error

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fail, raising=False)
    return names


async def test_a_host_that_does_not_exist(monkeypatch):
    """An unknown name is looked up three times in total, and the error explains the failure."""
    names = resolver_that_fails(monkeypatch, socket.gaierror(socket.EAI_NONAME, "not known"))

    error, attempts = await refusal("https://api.cekat.test", retry=RetryPolicy(backoff=0.001))

    assert (type(error), attempts) == (UnknownHostError, 3)
    assert set(names) == {"api.cekat.test"}
    assert "there is no host named 'api.cekat.test'" in str(error)


async def test_a_name_service_that_does_not_answer(monkeypatch):
    """A temporary failure of the name service is retried like any other failure."""
    resolver_that_fails(monkeypatch, socket.gaierror(socket.EAI_AGAIN, "temporary failure"))

    error, attempts = await refusal("https://api.cekat.test")

    assert (type(error), attempts) == (NotSentError, 4)
    assert "cannot reach https://api.cekat.test: temporary failure" in str(error)


class Resolver(aiohttp.abc.AbstractResolver):
    """Fails like aiohttp's resolver if aiodns is installed."""

    def __init__(self, code: int) -> None:
        self._code = code

    async def resolve(self, *_args, **_options):
        raise OSError(None, "no such name") from Exception(self._code, "no such name")

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "code, kind", [(1, UnknownHostError), (4, UnknownHostError), (11, NotSentError)]
)
async def test_a_resolver_of_another_kind(code, kind):
    """aiodns has its own errors for an unknown host and for a missing answer."""
    connector = aiohttp.TCPConnector(resolver=Resolver(code))
    async with aiohttp.ClientSession(connector=connector) as session:
        error, _ = await refusal("https://api.cekat.test", session)

    assert type(error) is kind
    assert "api.cekat.test" in str(error)


async def test_a_name_that_the_system_cannot_encode(monkeypatch):
    """If the resolver refuses a name, the error says that an option is wrong."""
    resolver_that_fails(monkeypatch, UnicodeError("label empty or too long"))

    error, attempts = await refusal("https://api.cekat.test")

    assert (type(error), attempts) == (ConfigurationError, 1)


# Proxies


@asynccontextmanager
async def proxied(answer: bytes):
    """Run a proxy that answers each tunnel request with ``answer``, and a session for it."""
    async with (
        RawServer(lambda _: answer) as proxy,
        aiohttp.ClientSession(proxy=proxy.base_url) as session,
    ):
        yield proxy, session


@pytest.mark.parametrize("status", [400, 401, 403, 407])
async def test_a_proxy_that_refuses(status):
    """If a proxy needs a password or forbids the host, the request is not retried."""
    async with proxied(http(b"", status)) as (proxy, session):
        error, attempts = await refusal("https://api.cekat.test", session)

    assert (type(error), attempts, len(proxy.heads)) == (ProxyError, 1, 1)
    assert f"the proxy refuses to connect to https://api.cekat.test: {status}" in str(error)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_proxy_that_fails_for_the_moment(status):
    """If a proxy cannot reach the server for the moment, the request is retried."""
    async with proxied(http(b"", status)) as (_, session):
        error, attempts = await refusal("https://api.cekat.test", session)

    assert (type(error), attempts) == (NotSentError, 4)


async def test_a_proxy_that_is_not_there():
    """If a proxy is unreachable, the error names the proxy."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        async with aiohttp.ClientSession(proxy=f"http://127.0.0.1:{port}") as session:
            error, attempts = await refusal("https://api.cekat.test", session)

    assert (type(error), attempts) == (NotSentError, 4)
    assert f"the proxy 127.0.0.1:{port} cannot be reached: connection refused" in str(error)


async def test_a_proxy_whose_host_is_none():
    """If a session's proxy has an invalid host, the error says that an option is wrong."""
    async with aiohttp.ClientSession(proxy="http://127.1:3128") as session:
        error, attempts = await refusal("https://api.cekat.test", session)

    assert (type(error), attempts) == (ConfigurationError, 1)
    assert "the proxy's URL" in str(error)
