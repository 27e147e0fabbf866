"""One exchange over real sockets: bodies, timeouts, failures, sessions, proxies."""

import asyncio
import gc
import gzip
import itertools
import json
import socket
import threading
import tracemalloc
import warnings
import zlib

import aiohttp
import pytest
from support.clock import skip, until
from support.parts import make_config
from support.rawserver import Cut, RawServer, http, zipped

from cekat_async import CekatClient, RetryPolicy, Timeout
from cekat_async._api.replies import Reply
from cekat_async._api.requests import Request
from cekat_async._request.transport import Transport
from cekat_async.errors import (
    CekatError,
    ClientClosedError,
    ConfigurationError,
    ConnectionDroppedError,
    ConnectTimeoutError,
    NotSentError,
    PermissionDeniedError,
    ProxyError,
    ResponseLostError,
    ResponseTimeoutError,
    ResponseTooLargeError,
    ServerError,
)
from cekat_async.sandbox import Dialect, Fault, Sandbox

REQUEST = Request("/api/conversations", "limit=100")
ONCE = RetryPolicy(attempts=1)
QUICK = RetryPolicy(backoff=0.001)


async def exchange(base_url: str, **options) -> Reply:
    """Run one exchange with its own transport."""
    session = options.pop("session", None)
    transport = Transport(make_config(base_url=base_url, **options), session)
    try:
        return await transport.exchange(REQUEST)
    finally:
        await transport.close()


async def failure(base_url: str, **options) -> CekatError:
    """Return the error of an exchange. It must not keep a reference to any error of aiohttp."""
    with pytest.raises(CekatError) as caught:
        await exchange(base_url, **options)
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert not [part for part in error.args if isinstance(part, BaseException)]
    assert "\n" not in str(error)
    return error


# Bodies


async def test_a_reply_is_status_headers_and_the_whole_body():
    """An exchange returns the status, the headers and the complete body."""
    body = bytes(range(256)) * 1000
    async with RawServer(lambda _: http(body, 203, X_Thing="yes")) as server:
        reply = await exchange(server.base_url)

    assert (reply.status, reply.headers["x-thing"], reply.body) == (203, "yes", body)


async def test_the_headers_of_a_request():
    """A request has the key, the package's name and version, and the accepted encodings."""
    async with RawServer(lambda _: http()) as server:
        await exchange(server.base_url + "/gateway", api_key="the-key")

    line, *headers = server.heads[0].decode().splitlines()
    named = dict(header.split(": ", 1) for header in headers if header)
    assert line == "GET /gateway/api/conversations?limit=100 HTTP/1.1"
    assert named["Authorization"] == "Bearer the-key"
    assert named["Accept"] == "application/json"
    assert named["User-Agent"].startswith("cekat-async/")
    assert "gzip" in named["Accept-Encoding"]


async def test_bodies_of_errors_are_read_to_their_end():
    """After ten large error bodies in a row there is one connection, which is reused."""
    answers = itertools.cycle([http(b"x" * 300_000, status) for status in (500, 404, 429, 302)])
    async with RawServer(lambda _: next(answers)) as server:
        transport = Transport(make_config(base_url=server.base_url))
        for _ in range(10):
            assert len((await transport.exchange(REQUEST)).body) == 300_000
        await transport.close()

    assert len(server.heads) == 10
    assert server.connections == 1


async def test_a_byte_order_mark_is_no_part_of_the_body():
    """A byte order mark before the JSON is removed."""
    async with RawServer(lambda _: http(b'\xef\xbb\xbf{"data":[]}')) as server:
        reply = await exchange(server.base_url)

    assert reply.body == b'{"data":[]}'


@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw deflate"])
async def test_compressed_bodies_are_unpacked(coding):
    """Bodies in gzip or deflate, with or without a zlib header, are decompressed."""
    body = b'{"data": "' + b"abc" * 10_000 + b'"}'
    packed = {"gzip": gzip.compress(body), "deflate": zlib.compress(body)}.get(coding)
    raw = packed or zlib.compress(body, wbits=-15)
    answer = http(raw, Content_Encoding=coding.split()[-1])
    async with RawServer(lambda _: answer) as server:
        reply = await exchange(server.base_url)

    assert reply.body == body


async def test_a_body_in_chunks_is_put_together():
    """A chunked body without an announced length is complete."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (n, b"a" * n) for n in (1, 5000, 17)) + b"0\r\n\r\n"
    answer = http(chunks, Content_Length="", Transfer_Encoding="chunked")
    async with RawServer(lambda _: answer) as server:
        reply = await exchange(server.base_url)

    assert reply.body == b"a" * 5018


@pytest.mark.parametrize(
    "answer",
    [
        http(b"x" * 100_001),
        http(b"%x\r\n%s\r\n0\r\n\r\n" % (100_001, b"x" * 100_001), Content_Length="",
             Transfer_Encoding="chunked"),
        zipped(b"x" * 100_001),
    ],
    ids=["announced", "unannounced", "packed"],
)  # fmt: skip
async def test_a_body_beyond_the_bound_is_refused(answer):
    """A body above the limit is refused, announced or not, compressed or not."""
    async with RawServer(lambda _: answer) as server:
        error = await failure(server.base_url, max_page_bytes=100_000)

    assert type(error) is ResponseTooLargeError
    assert "larger than 100,000 bytes" in str(error)


@pytest.mark.parametrize("answer", [http(b"x" * 100_000), zipped(b"x" * 100_000)])
async def test_a_body_at_the_bound_is_taken(answer):
    """A body with exactly the maximum size is accepted."""
    async with RawServer(lambda _: answer) as server:
        reply = await exchange(server.base_url, max_page_bytes=100_000)

    assert len(reply.body) == 100_000


def packed(body: bytes, coding: str) -> bytes:
    """Return a reply with a compressed body."""
    if coding == "gzip":
        data = gzip.compress(body)
    elif coding == "deflate":
        data = zlib.compress(body)
    elif coding == "br":
        data = pytest.importorskip("brotli").compress(body, quality=1)
    else:
        data = pytest.importorskip("backports.zstd").compress(body)
    return http(data, Content_Encoding=coding)


CODINGS = ["gzip", "deflate", "br", "zstd"]


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("status", [200, 500])
async def test_a_packed_bomb_does_not_fill_the_memory(coding, status):
    """If a small body decompresses to a huge one, the client stops at the limit."""
    answer = packed(bytes(24_000_000), coding).replace(b" 200 ", b" %d " % status, 1)
    async with RawServer(lambda _: answer) as server:
        gc.collect()
        tracemalloc.start()
        try:
            if status == 200:
                error = await failure(server.base_url, max_page_bytes=2_000_000)
                assert type(error) is ResponseTooLargeError
            else:
                assert len((await exchange(server.base_url)).body) == 1024 * 1024
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak < 8_000_000


@pytest.mark.parametrize("coding", CODINGS)
async def test_other_tasks_run_while_a_body_is_unpacked(coding):
    """Decompression runs in steps, so that other tasks can run in between."""
    answer, turns = packed(bytes(4 * 1024 * 1024), coding), 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with RawServer(lambda _: answer) as server:
        transport = Transport(make_config(base_url=server.base_url))
        await transport.exchange(REQUEST)  # the time of connecting does not count
        counting = asyncio.create_task(count())
        turns = 0
        await transport.exchange(REQUEST)
        counting.cancel()
        await transport.close()

    assert turns > 15


async def test_the_beginning_of_an_endless_error_is_read():
    """The client reads a mebibyte of an error's body, and not the rest."""
    endless = http(b"x" * 3_000_000, 500, Content_Length=str(10**12))
    async with RawServer(lambda _: endless) as server:
        transport = Transport(make_config(base_url=server.base_url, max_page_bytes=1000))
        replies = [await transport.exchange(REQUEST) for _ in range(2)]
        await transport.close()

    assert [reply.status for reply in replies] == [500, 500]
    assert [len(reply.body) for reply in replies] == [1024 * 1024] * 2
    assert server.connections == 2


async def test_a_large_error_keeps_its_class():
    """An error that is larger than the limit of a page keeps its status and class."""
    body = json.dumps({"error": {"message": "no", "code": "NO"}, "more": "x" * 9_000_000}).encode()
    async with (
        RawServer(lambda _: http(body, 403)) as server,
        CekatClient("key", base_url=server.base_url, rate_limit=None) as client,
    ):
        with pytest.raises(PermissionDeniedError) as caught:
            await client.conversations.page()

    assert (caught.value.status, caught.value.attempts) == (403, 1)


# Timeouts


async def test_no_connection_in_time(monkeypatch):
    """After Timeout.connect, the error says that the server is unreachable.

    The request is reported as unsent.
    """

    async def never(*_: object) -> None:
        await asyncio.get_running_loop().create_future()

    async with RawServer(lambda _: http()) as server:
        monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", never, raising=False)
        timeout = Timeout(connect=0.01)
        error = await failure(server.base_url, timeout=timeout)
        monkeypatch.undo()

    assert type(error) is ConnectTimeoutError
    assert isinstance(error, NotSentError)
    assert "Timeout.connect" in str(error)
    assert not server.heads


async def test_a_slow_look_up_of_the_name_was_never_sent(monkeypatch):
    """A slow DNS lookup is reported as a failed connection and not as a lost response."""

    async def never(*_, **__):
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never, raising=False)
    error = await failure("https://api.example", timeout=Timeout(connect=0.01, attempt=5.0))

    assert type(error) is ConnectTimeoutError


async def test_silence_is_reported():
    """If a server sends nothing for Timeout.read, the error says that it is silent."""
    async with RawServer(lambda _: None) as server:
        error = await failure(server.base_url, timeout=Timeout(read=0.02))

    assert type(error) is ResponseTimeoutError
    assert "Timeout.read" in str(error)


async def test_silence_in_mid_body_is_reported():
    """If a server stops in the middle of a body, the error also says that it is silent."""
    async with RawServer(lambda _: http(b"{}", Content_Length="100")) as server:
        error = await failure(server.base_url, timeout=Timeout(read=0.02))

    assert type(error) is ResponseTimeoutError
    assert "Timeout.read" in str(error)


async def test_a_trickle_does_not_outlive_the_attempt():
    """If a server sends single bytes, the client gives up after Timeout.attempt."""
    async with Sandbox(conversations=10, quota=None) as sandbox:
        sandbox.fail_next(Fault.trickle(0.005))
        timeout = Timeout(read=5, attempt=0.05)
        error = await failure(sandbox.base_url, api_key=sandbox.api_key, timeout=timeout)

    assert type(error) is ResponseTimeoutError
    assert "Timeout.attempt" in str(error)


async def test_after_a_timeout_the_next_request_gets_its_own_answer():
    """A late reply is never used for the next request."""
    answers = iter([None, http(b'{"data": "second"}')])
    async with RawServer(lambda _: next(answers)) as server:
        transport = Transport(make_config(base_url=server.base_url, timeout=Timeout(read=30.0)))
        exchanging = asyncio.create_task(transport.exchange(REQUEST))
        await until(lambda: server.heads)
        skip(31.0)
        with pytest.raises(ResponseTimeoutError):
            await exchanging
        assert (await transport.exchange(REQUEST)).body == b'{"data": "second"}'
        await transport.close()

    assert server.connections == 2


@pytest.mark.parametrize(
    "begun", [b"", b"HTTP/1.1 200 OK\r\n", http(b"{}", Content_Length="100")],
    ids=["nothing", "half a head", "half a body"],
)  # fmt: skip
async def test_after_a_cancellation_the_next_request_gets_its_own_answer(begun):
    """The reply to a cancelled request is never used for another one."""
    second = http(b'{"data": "second"}')
    answers = iter([begun, second])
    async with RawServer(lambda _: next(answers)) as server:
        transport = Transport(make_config(base_url=server.base_url))
        call = asyncio.create_task(transport.exchange(REQUEST))
        await until(lambda: server.heads)
        await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await server.say(http(b'{"data": "first"}'))
        assert (await transport.exchange(REQUEST)).body == b'{"data": "second"}'
        await transport.close()

    assert server.connections == 2


HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"


@pytest.mark.parametrize(
    "first",
    [http(b'{"data": "first"}') + http(b'{"data": "stray"}'), HINTS + http(b'{"data": "first"}')],
    ids=["two answers", "an announced answer"],
)
async def test_each_request_has_one_answer(first):
    """A second reply is not used for the next request.

    An informational reply is not used as a reply at all.
    """
    answers = iter([first, http(b'{"data": "second"}')])
    async with RawServer(lambda _: next(answers)) as server:
        transport = Transport(make_config(base_url=server.base_url))
        bodies = [(await transport.exchange(REQUEST)).body for _ in range(2)]
        await transport.close()

    assert bodies == [b'{"data": "first"}', b'{"data": "second"}']


# Failures


async def test_a_refused_connection():
    """If nothing listens at the address, nothing is sent, and the error names the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        error = await failure(f"http://127.0.0.1:{port}")

    assert type(error) is NotSentError
    assert f"cannot reach http://127.0.0.1:{port}: connection refused" in str(error)


def cut(data: bytes):
    """Return a reply that sends ``data`` and closes the connection."""

    def answer(_: bytes) -> bytes:
        raise Cut(data)

    return answer


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX-Hush: hush\r\nContent-",
        http(b"x" * 50, Content_Length="100"),
        http(b"5\r\nhello\r\n", Content_Length="", Transfer_Encoding="chunked"),
        http(b"zz\r\nhello\r\n", Content_Length="", Transfer_Encoding="chunked"),
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 2000 Fine\r\n\r\n",
        http(b"{}", Content_Length="many"),
        http(X_Long="x" * 20_000),
        http(b"this is not packed", Content_Encoding="gzip"),
        http(b"this is not packed", Content_Encoding="deflate"),
        http(b"this is not packed", Content_Encoding="br"),
    ],
    ids=[
        "nothing", "half a head", "half a body", "half its chunks", "bad chunks", "no HTTP",
        "bad status", "bad length", "long header", "bad gzip", "bad deflate", "unasked brotli",
    ],
)  # fmt: skip
async def test_a_lost_or_damaged_reply(data):
    """A truncated or garbled reply is reported as a lost response, on one line."""
    async with RawServer(cut(data)) as server:
        error = await failure(server.base_url)

    before = "reply: " if type(error) is ConnectionDroppedError else "complete reply: "
    assert str(error).startswith(f"the connection was lost before the {before}")
    assert type(error) is (ResponseLostError if b"\r\n\r\n" in data else ConnectionDroppedError)
    # The server's bytes may be anything, so the error does not repeat them.
    assert "b'" not in str(error)
    assert "hush" not in str(error)


async def test_a_truncated_compressed_body_is_retried():
    """If a complete reply has a truncated gzip body, the client notices that and retries."""
    whole = json.dumps({"data": [{"id": "1"}]}).encode()
    answers = iter([zipped(whole, 0.3), zipped(whole, 0.5), zipped(whole)])
    async with (
        RawServer(lambda _: next(answers)) as server,
        CekatClient("key", base_url=server.base_url, rate_limit=None, retry=QUICK) as client,
    ):
        page = await client.conversations.page()

    assert [conversation.id for conversation in page] == ["1"]
    assert client.traffic.retries == 2


@pytest.mark.parametrize("session", ["own", "given"])
async def test_aiohttp_sends_nothing_again_by_itself(session):
    """If each reused connection drops, the server receives exactly the requests that we count."""
    seen = itertools.count()

    def answer(_: bytes) -> bytes:
        if next(seen) % 2:
            raise Cut
        return http(json.dumps({"data": []}).encode())

    async with (
        RawServer(answer) as server,
        aiohttp.ClientSession() as given,
        CekatClient(
            "key",
            base_url=server.base_url,
            rate_limit=None,
            retry=QUICK,
            session=given if session == "given" else None,
        ) as client,
    ):
        for _ in range(10):
            await client.conversations.page()

    assert client.traffic.retries == 9
    assert len(server.heads) == client.traffic.requests == 19


async def test_plain_aiohttp_does_send_again():
    """A plain session sends a dropped GET twice by itself. Our sessions prevent that."""
    seen = itertools.count()

    def answer(_: bytes) -> bytes:
        if next(seen) == 1:
            raise Cut
        return http()

    async with RawServer(answer) as server, aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.get(server.base_url) as response:
                await response.read()

    assert len(server.heads) == 3


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["same host", "other host"])
async def test_redirects_are_not_followed(status, where):
    """A redirect to any host raises an error that says so.

    No other host gets the key.
    """
    async with RawServer(lambda _: http()) as other:
        location = "/elsewhere" if where == "same host" else f"{other.base_url}/api?x=1"
        answer = http(b"", status, Location=location)
        async with (
            RawServer(lambda _: answer) as server,
            CekatClient("key", base_url=server.base_url, rate_limit=None) as client,
        ):
            with pytest.raises(CekatError, match="redirects are not followed") as caught:
                await client.conversations.page()

    assert caught.value.status == status
    assert (f"127.0.0.1:{other.port}" in str(caught.value)) == (where == "other host")
    assert len(server.heads) == 1
    assert not other.heads


# Sessions


async def test_a_given_session_is_used_as_it_is():
    """A caller's session keeps its headers, connector, cookies and middlewares, and stays open."""
    passed: list[str] = []

    async def middleware(request, handler):
        passed.append(str(request.url))
        request.headers["X-From-Middleware"] = "yes"
        return await handler(request)

    connector = aiohttp.TCPConnector(limit=1)
    async with (
        RawServer(lambda _: http(Set_Cookie="seen=yes")) as server,
        aiohttp.ClientSession(
            connector=connector,
            headers={"X-Mine": "yes", "Authorization": "Basic bWluZQ=="},
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            middlewares=(middleware,),
        ) as session,
    ):
        async with CekatClient("key", base_url=server.base_url, session=session) as client:
            await client.conversations.page()
            await client.conversations.page()
        assert not session.closed
        async with session.get(server.base_url) as response:
            assert response.status == 200

    first, second, _ = (head.decode() for head in server.heads)
    assert "X-Mine: yes" in first
    assert "X-From-Middleware: yes" in first
    assert "Authorization: Bearer key" in first
    assert "Basic" not in first
    assert "Cookie: seen=yes" in second
    assert len(passed) == 3
    assert server.connections == 1


async def test_a_given_sessions_defaults_do_not_change_the_reply():
    """A session's ``raise_for_status``, total timeout and lack of decompression have no effect."""
    async with (
        Sandbox(conversations=300, quota=None, dialect=Dialect(compress="gzip")) as sandbox,
        aiohttp.ClientSession(
            raise_for_status=True,
            timeout=aiohttp.ClientTimeout(total=0.000_001),
            auto_decompress=False,
        ) as session,
        CekatClient(
            sandbox.api_key,
            base_url=sandbox.base_url,
            rate_limit=None,
            retry=ONCE,
            session=session,
        ) as client,
    ):
        assert len(await client.conversations.page()) == 100
        sandbox.fail_next(Fault.status(403))
        with pytest.raises(PermissionDeniedError) as caught:
            await client.conversations.page()

    assert caught.value.code == "HTTP_403"


async def test_a_session_with_auth_of_its_own_is_refused():
    """The constructor refuses a session whose auth would replace the key."""
    # aiohttp deprecates the ``auth`` parameter and warns about it.
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        session = aiohttp.ClientSession(auth=aiohttp.BasicAuth("me", "secret"))
    async with session:
        with pytest.raises(ConfigurationError, match="its own auth"):
            CekatClient("key", session=session)


def test_something_else_than_a_session_is_refused():
    """The constructor refuses an object that is not a session."""
    with pytest.raises(ConfigurationError, match=r"must be an aiohttp\.ClientSession"):
        CekatClient("key", session="session")


async def test_a_netrc_does_not_replace_the_key(tmp_path, monkeypatch):
    """If a ``.netrc`` has a password for the host, the client still sends the key."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with (
        RawServer(lambda _: http()) as server,
        aiohttp.ClientSession(trust_env=True) as session,
        CekatClient("key", base_url=server.base_url, session=session) as client,
    ):
        await client.conversations.page()

    assert b"Authorization: Bearer key\r\n" in server.heads[0]


async def test_a_closed_session_is_reported():
    """If a caller's session is closed, before or between requests, an error says so."""
    async with (
        RawServer(lambda _: http()) as server,
        aiohttp.ClientSession() as session,
        CekatClient("key", base_url=server.base_url, session=session) as client,
    ):
        await client.conversations.page()
        await session.close()
        with pytest.raises(ClientClosedError, match="session given to the client is closed"):
            await client.conversations.page()

    assert len(server.heads) == 1


@pytest.mark.parametrize("session", ["own", "given"])
async def test_closing_fails_running_requests(session):
    """If the client or its session closes, requests fail immediately.

    That includes requests in flight and those in the pool's queue.
    """
    connector = aiohttp.TCPConnector(limit=1)
    async with (
        RawServer(lambda _: None) as server,
        aiohttp.ClientSession(connector=connector) as given,
    ):
        client = CekatClient(
            "key",
            base_url=server.base_url,
            rate_limit=None,  # otherwise only one request is sent before the first reply
            session=given if session == "given" else None,
        )
        calls = [asyncio.create_task(client.conversations.page()) for _ in range(4)]
        sent = 1 if session == "given" else 4
        await until(lambda: len(server.heads) == sent)
        await (given.close() if session == "given" else client.aclose())
        results = await asyncio.gather(*calls, return_exceptions=True)
        await client.aclose()

    assert [type(result) for result in results] == [ClientClosedError] * 4
    assert client.traffic.retries == 0


async def test_a_cancellation_that_is_meant_is_no_closed_session():
    """If a caller is cancelled while the session closes, the cancellation is raised."""
    async with RawServer(lambda _: None) as server, aiohttp.ClientSession() as session:
        transport = Transport(make_config(base_url=server.base_url), session)
        call = asyncio.create_task(transport.exchange(REQUEST))
        await until(lambda: server.heads)
        call.cancel()
        await session.close()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_an_unknown_error_of_a_middleware_is_raised():
    """An error of a caller's own middleware is raised unchanged."""

    class MineError(Exception):
        pass

    async def middleware(request, handler):
        raise MineError

    async with aiohttp.ClientSession(middlewares=(middleware,)) as session:
        with pytest.raises(MineError):
            await exchange("http://127.0.0.1:1", session=session)


# Proxies


@pytest.mark.parametrize("spelling", ["http://127.0.0.1:{}", "127.0.0.1:{}"])
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy"])
async def test_the_environments_proxy_is_used_when_asked_for(monkeypatch, spelling, name):
    """With ``trust_env``, requests use the proxy of the environment."""
    async with RawServer(lambda _: http(b'{"data":[{"id":"1"}]}')) as proxy:
        monkeypatch.setenv(name, spelling.format(proxy.port))
        async with CekatClient(
            "key", base_url="http://api.test", trust_env=True, allow_http=True, rate_limit=None
        ) as client:
            assert len(await client.conversations.page()) == 1
            assert client.proxy == proxy.base_url
            assert client.base_url == "http://api.test"

    assert proxy.heads[0].startswith(b"GET http://api.test/api/conversations?limit=100 HTTP/1.1")


async def test_the_proxy_of_a_client_has_no_password(monkeypatch):
    """``client.proxy`` is the proxy of the requests, without its user and password."""
    monkeypatch.setenv("HTTPS_PROXY", "http://ada:S3cret@proxy.test:3128/path")
    async with (
        CekatClient("key", trust_env=True) as through,
        CekatClient("key") as directly,
        CekatClient("key", base_url="http://127.0.0.1:1", trust_env=True) as here,
    ):
        assert [client.proxy for client in (through, directly, here)] == [
            "http://proxy.test:3128",
            None,
            None,
        ]


async def test_a_tunnel_shows_the_proxy_no_key():
    """For https, the environment's proxy opens a tunnel and does not get the key."""
    async with RawServer(lambda _: http(b"", 407)) as proxy:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HTTPS_PROXY", proxy.base_url)
            error = await failure("https://api.test", trust_env=True)

    assert type(error) is ProxyError
    assert proxy.heads[0].startswith(b"CONNECT api.test:443 HTTP/1.1")
    assert b"Authorization" not in proxy.heads[0]


@pytest.mark.parametrize("unproxied", ["api.invalid", "*", ".invalid", "other.test,api.invalid:80"])
async def test_no_proxy_is_honoured(monkeypatch, unproxied):
    """Hosts in ``NO_PROXY`` are contacted directly."""
    async with RawServer(lambda _: http()) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url)
        monkeypatch.setenv("NO_PROXY", unproxied)
        error = await failure("http://api.invalid", trust_env=True)

    assert isinstance(error, NotSentError)
    assert not proxy.heads


async def test_the_environments_proxy_is_ignored_unasked(monkeypatch):
    """Without ``trust_env``, the environment's proxy is ignored."""
    async with RawServer(lambda _: http()) as server, RawServer(lambda _: http()) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url)
        error = await failure("http://api.invalid")
        await exchange(server.base_url)

    assert isinstance(error, NotSentError)
    assert not proxy.heads


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
async def test_loopback_is_never_asked_through_a_proxy(monkeypatch, host):
    """Requests to this machine are unencrypted and never go through a proxy."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        async with RawServer(lambda _: http()) as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.base_url)
            error = await failure(f"http://{host}:{free.getsockname()[1]}", trust_env=True)

    assert type(error) is NotSentError
    assert not proxy.heads


async def test_a_given_session_decides_on_its_proxy_itself(monkeypatch):
    """``trust_env`` applies to the client's own session.

    A caller's session uses its own settings.
    """
    async with RawServer(lambda _: http()) as proxy, aiohttp.ClientSession() as session:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url)
        error = await failure("http://api.invalid", trust_env=True, session=session)

    assert isinstance(error, NotSentError)
    assert not proxy.heads


@pytest.mark.parametrize(
    "proxy", ["socks5://127.0.0.1:1080", "http:///x", "http://[", "::::", "http://127.1:3128"]
)
def test_a_proxy_that_cannot_be_used_is_refused(monkeypatch, proxy):
    """The constructor refuses a proxy of another kind, and the error does not show its URL."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)

    with pytest.raises(ConfigurationError, match="proxy for https must be") as caught:
        CekatClient("key", trust_env=True)
    assert proxy not in str(caught.value)


# Loops


async def test_two_clients_in_one_loop_do_not_disturb_each_other():
    """The failures, the pauses and the close of one client do not affect another client."""
    async with RawServer(lambda _: http(b"", 500)) as bad, RawServer(lambda _: http()) as good:
        ill = CekatClient("key-1", base_url=bad.base_url, retry=ONCE)
        well = CekatClient("key-2", base_url=good.base_url)
        with pytest.raises(ServerError):
            await ill.conversations.page()
        await well.conversations.page()
        await ill.aclose()
        await well.conversations.page()
        await well.aclose()

    assert b"key-1" in bad.heads[0]
    assert b"key-2" in good.heads[0]


def test_two_loops_in_two_threads_do_not_disturb_each_other():
    """Clients in the event loops of several threads each get the replies to their own requests."""
    results: list[int] = []

    async def main() -> None:
        async with (
            Sandbox(conversations=500, quota=None) as sandbox,
            CekatClient(sandbox.api_key, base_url=sandbox.base_url, rate_limit=None) as client,
        ):
            results.append(len([c async for c in client.conversations.list(page_size=20)]))

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results == [500] * 3


def test_a_client_of_an_earlier_loop_says_so():
    """In a second ``asyncio.run``, a client's error says that it belongs to the first."""

    async def first() -> CekatClient:
        async with RawServer(lambda _: http()) as server, aiohttp.ClientSession() as session:
            client = CekatClient("key", base_url=server.base_url, session=session)
            await client.conversations.page()
            return client

    async def second(client: CekatClient) -> None:
        with pytest.raises(ConfigurationError, match="belongs to another event loop"):
            await client.conversations.page()

    asyncio.run(second(asyncio.run(first())))


def test_a_client_at_work_in_another_loop_says_so():
    """If a client is used from a second loop, an error says what to do instead."""
    ready, over = threading.Event(), threading.Event()
    clients: list[CekatClient] = []

    async def first() -> None:
        async with (
            RawServer(lambda _: http()) as server,
            CekatClient("key", base_url=server.base_url) as client,
        ):
            await client.conversations.page()
            clients.append(client)
            ready.set()
            await asyncio.to_thread(over.wait)

    async def second() -> None:
        with pytest.raises(ConfigurationError, match="make one client in each loop") as caught:
            await clients[0].conversations.page()
        assert caught.value.attempts == 0

    thread = threading.Thread(target=asyncio.run, args=(first(),))
    thread.start()
    try:
        assert ready.wait(300)
        asyncio.run(second())
    finally:
        over.set()
        thread.join()


def test_a_transport_needs_no_loop_to_be_made():
    """A client can be created without an event loop, and opens nothing until it is used."""
    transport = Transport(make_config())

    assert not transport.session.is_open
    assert not transport.session.is_closed


async def test_a_closed_transport_sends_nothing():
    """After a transport is closed, it refuses each exchange without connecting."""
    async with RawServer(lambda _: http()) as server:
        transport = Transport(make_config(base_url=server.base_url))
        await transport.close()
        with pytest.raises(ClientClosedError, match="the client is closed"):
            await transport.exchange(REQUEST)
        assert server.connections == 0


async def test_each_attempt_has_the_whole_timeout():
    """After an attempt that timed out, the next attempt has the complete timeout."""
    answers = iter([None, http()])
    async with (
        RawServer(lambda _: next(answers)) as server,
        CekatClient(
            "key",
            base_url=server.base_url,
            rate_limit=None,
            timeout=Timeout(connect=30.0, read=30.0, attempt=45.0),
            retry=QUICK,
        ) as client,
    ):
        asking = asyncio.create_task(client.conversations.page())
        await until(lambda: server.heads)
        skip(31.0)
        await asking

    assert client.traffic.requests == 2
