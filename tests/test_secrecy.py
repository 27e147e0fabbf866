"""The key is in no output, whatever fails and whatever a server sends back."""

import asyncio
import base64
import gc
import json
import logging
import math
import pickle
import re
import traceback
import warnings
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import aiohttp
import pytest
from support.clock import until
from support.parts import collect
from support.rawserver import Cut, RawServer, http

from cekat_async import CekatClient, Cursor, HookEvent, RetryPolicy, Timeout
from cekat_async._request.transport import Transport
from cekat_async.errors import CekatError, ConfigurationError, RateLimitError

KEY = "kx7/Zq+9==.t0p-S3cret%and~more"
FORMS = {
    "plain": KEY,
    "base64": base64.b64encode(KEY.encode()).decode().rstrip("="),
    "base64 of the header": base64.b64encode(f"Bearer {KEY}".encode()).decode().rstrip("="),
    "URL-safe base64": base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("="),
    "percent-encoded": quote(KEY, safe=""),
    "percent-encoded but for slashes": quote(KEY),
    "form-encoded": quote_plus(KEY),
    "its first half": KEY[:15],
    "its second half": KEY[15:],
}
TWICE = RetryPolicy(attempts=2, backoff=0.001)
FAST = Timeout(connect=0.5, read=0.05, attempt=0.5)


def assert_secret(text: str) -> None:
    """Fail if the key is in a text, in any of its forms."""
    for name, form in FORMS.items():
        # The text itself is not shown, because the output of a failing test must not have the key
        # either.
        assert form not in text, f"the key shows, {name}"


def chain(error: BaseException) -> list[BaseException]:
    """Return an error with all its causes and contexts."""
    found: list[BaseException] = []
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is not None and one not in found:
            found.append(one)
            left += [one.__cause__, one.__context__]
    return found


def spilled(error: BaseException) -> str:
    """Return everything that may show an error: a log, a report, a pickle, or a debugger."""
    parts: list[str] = []
    for one in chain(error):
        shown = traceback.TracebackException.from_exception(one, capture_locals=True)
        parts += [repr(one), str(one), repr(one.args), *shown.format()]
        parts += [f"{name}={value!r}" for name, value in vars(one).items()]
        parts += [repr(getattr(one, name, None)) for name in dir(one)]
        if isinstance(one, CekatError):
            parts += [pickle.dumps(one).decode("latin-1"), pickle.dumps(one, 0).decode("latin-1")]
    return "\n".join(parts)


class EveryRecord(logging.Handler):
    """Formats the records of every logger, down to DEBUG, with tracebacks."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))
        self.lines.append(repr(vars(record)))


@pytest.fixture(autouse=True)
def _all_logs():
    """Check everything that is logged during a test."""
    handler, root = EveryRecord(), logging.getLogger()
    named = [logging.getLogger(name) for name in ("cekat_async", "aiohttp.client", "asyncio")]
    levels = [(logger, logger.level) for logger in (root, *named)]
    for logger, _ in levels:
        logger.setLevel(logging.DEBUG)
    root.addHandler(handler)
    yield
    root.removeHandler(handler)
    for logger, level in levels:
        logger.setLevel(level)
    assert_secret("\n".join(handler.lines))


async def failures(server: RawServer, **options) -> list[BaseException]:
    """Return the errors of all uses of a client whose server sends nothing valid."""
    asyncio.get_running_loop().set_debug(True)
    found: list[BaseException] = []
    bounds = {"rate_limit": None, "retry": TWICE, "timeout": FAST, "max_page_bytes": 10_000}
    events: list[HookEvent] = []
    options = bounds | options
    async with CekatClient(KEY, base_url=server.base_url, hooks=events.append, **options) as client:
        for use in (client.conversations.page, client.inboxes.page):
            with pytest.raises(CekatError) as caught:
                await use()
            found.append(caught.value)
        with pytest.raises(CekatError) as caught:
            await collect(client.conversations.list())
        found.append(caught.value)
        try:
            await client.get("/api/conversations")
        except CekatError as error:  # JSON of any kind is no error
            found.append(error)
    assert_secret(repr(events))
    return found


def authorization(head: bytes) -> bytes:
    """Return the Authorization header of a request."""
    found = re.search(rb"(?im)^authorization: (.*)\r$", head)
    assert found
    return found[1]


def text(head: bytes) -> str:
    return authorization(head).decode()


def in_json(status: int) -> Callable[[bytes], bytes]:
    """Echo the key in every place of the API's error envelope."""

    def answer(head: bytes) -> bytes:
        echo = text(head)
        error = {"message": f"bad {echo}", "code": echo, "details": [{"field": echo, echo: 1}]}
        return http(json.dumps({"success": False, "status_code": 418, "error": error}).encode(),
                    status)  # fmt: skip

    return answer


def in_escaped_json(status: int) -> Callable[[bytes], bytes]:
    """Echo the key in JSON, from a server that escapes the special characters of HTML."""

    def answer(head: bytes) -> bytes:
        echo = "".join(c if c.isalnum() else f"\\u{ord(c):04x}" for c in text(head))
        body = (
            '{"success":false,"error":{"message":"KEY","code":"KEY","details":[{"field":"KEY"}]}}'
        )
        return http(body.replace("KEY", echo).encode(), status)

    return answer


def in_header(status: int, name: str, form: str = "{}", body: bytes = b"") -> Callable:
    """Echo the key in a header."""

    def answer(head: bytes) -> bytes:
        return http(body, status, **{name: form.format(text(head))})

    return answer


def in_bytes(template: bytes) -> Callable:
    """Echo the key in a reply that is not HTTP or is truncated."""

    def answer(head: bytes) -> bytes:
        raise Cut(template.replace(b"KEY", authorization(head)))

    return answer


def in_body(template: bytes, status: int = 200, **headers: str) -> Callable:
    """Echo the key in a body."""

    def answer(head: bytes) -> bytes:
        return http(template.replace(b"KEY", authorization(head)), status, **headers)

    return answer


STATUSES = (200, 201, 301, 400, 401, 403, 404, 418, 422, 429, 500, 502, 503, 599)
HOSTILE = {
    **{f"{status} in JSON": in_json(status) for status in STATUSES},
    **{f"{status} in escaped JSON": in_escaped_json(status) for status in (200, 401, 500)},
    **{
        f"{status} in HTML": in_body(b"<html>KEY</html>", status, Content_Type="text/html")
        for status in STATUSES
    },
    **{
        f"{status} in {name}": in_header(status, name)
        for status in (200, 401, 429, 500)
        for name in ("X_Request_Id", "CF_Ray", "Content_Type", "Retry_After", "Date", "X_Other")
    },
    "a redirect to it": in_header(302, "Location", "https://{}/"),
    "a redirect with it": in_header(302, "Location", "https://{}@example.test/?k={}#{}"),
    "a relative redirect": in_header(307, "Location", "/{}"),
    "a broken redirect": in_header(307, "Location", "https://[{}"),
    "too large": in_header(200, "X_Other", body=b"x" * 10_001),
    "too large an error": in_header(500, "X_Request_Id", body=b"x" * 10_001),
    "cut JSON": in_body(b'{"data": [{"id": "KEY'),
    "another shape": in_body(b'{"data": {"KEY": "KEY"}, "KEY": 1}'),
    "another type": in_body(b'"KEY"'),
    "half a cursor": in_body(
        b'{"data": [], "KEY": 1, "metadata": {"next_cursor": {"cursor_id": "KEY"}}}'
    ),
    "bad UTF-8": in_body(b'{"data": "KEY\xff'),
    "no HTTP": in_bytes(b"KEY\r\n\r\n"),
    "a bad status": in_bytes(b"HTTP/1.1 KEY KEY\r\n\r\n"),
    "a bad header": in_bytes(b"HTTP/1.1 200 OK\r\nKEY\r\n\r\n"),
    "a bad length": in_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: KEY\r\n\r\n"),
    "a bad chunk": in_bytes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nKEY\r\nKEY"),
    "a long header": in_bytes(b"HTTP/1.1 200 OK\r\nX-Long: KEY" + b"x" * 20_000 + b"\r\n\r\n"),
    "a long line": in_bytes(b"HTTP/1.1 200 KEY" + b"x" * 20_000 + b"\r\n\r\n"),
    "a bad coding": in_bytes(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nX: KEY\r\nContent-Length: 3\r\n\r\nKEY"
    ),
    "half a body": in_bytes(b"HTTP/1.1 200 OK\r\nX-E: KEY\r\nContent-Length: 99\r\n\r\nKEY"),
    "half a head": in_bytes(b"HTTP/1.1 200 OK\r\nX-Echo: KEY"),
    "a drop": in_bytes(b""),
    "silence": lambda head: None,
    "silence in the body": lambda head: http(authorization(head), Content_Length="999"),
}


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_server_gets_the_key_into_no_error(answer):
    """If a server echoes the key, it is in no error, pickle, traceback or log."""
    if answer is HOSTILE["half a cursor"]:
        # The listing of inboxes has no cursors.
        half = answer

        def answer(head: bytes) -> bytes:
            return half(head) if b"conversations" in head else http(b"KEY")

    async with RawServer(answer) as server:
        for error in await failures(server):
            assert_secret(spilled(error))


async def test_no_transport_failure_shows_the_key(monkeypatch):
    """No error has the key if a host refuses, is unknown, is slow or does not encrypt."""
    async with RawServer(lambda _: http()) as server:
        addresses = (
            "http://127.0.0.1:1",
            "https://nowhere.invalid",
            f"https://127.0.0.1:{server.port}",
        )
        for base_url in addresses:
            async with CekatClient(
                KEY, base_url=base_url, retry=TWICE, timeout=Timeout(connect=0.05)
            ) as client:
                with pytest.raises(CekatError) as caught:
                    await client.conversations.page()
                assert_secret(spilled(caught.value))


async def test_a_proxys_refusal_does_not_show_the_key(monkeypatch):
    """For https, a proxy does not get the key, and its messages do not show it."""
    async with RawServer(lambda _: http(KEY.encode(), 407, Proxy_Authenticate=KEY)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.base_url)
        async with CekatClient(
            KEY, base_url="https://api.test", trust_env=True, retry=TWICE
        ) as client:
            with pytest.raises(CekatError) as caught:
                await client.conversations.page()
            assert_secret(spilled(caught.value))
    assert_secret(b"".join(proxy.heads).decode())


async def test_a_call_ended_from_outside_does_not_show_the_key():
    """After a deadline, a pause, a cancellation or a close, no traceback has the key."""
    async with RawServer(lambda _: None) as server:
        async with CekatClient(
            KEY, base_url=server.base_url, timeout=Timeout(deadline=0.05)
        ) as client:
            with pytest.raises(CekatError) as deadline:
                await client.conversations.page()
            assert_secret(spilled(deadline.value))

        client = CekatClient(KEY, base_url=server.base_url, rate_limit=None)
        task = asyncio.create_task(client.conversations.page())
        other = asyncio.create_task(client.conversations.page())
        await until(lambda: len(server.heads) >= 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await task
        assert_secret(spilled(cancelled.value))
        await client.aclose()
        with pytest.raises(CekatError) as closed:
            await other
        assert_secret(spilled(closed.value))

    spent = http(b"", 429, Retry_After="9999")
    async with (
        RawServer(lambda _: spent) as server,
        CekatClient(KEY, base_url=server.base_url) as client,
    ):
        for _ in range(2):
            with pytest.raises(RateLimitError) as held:
                await client.conversations.page()
            assert_secret(spilled(held.value))


async def test_a_middlewares_own_error_does_not_show_the_key():
    """The traceback of a middleware's error has no frame with the key."""

    async def before(request, handler):
        raise LookupError("before")

    async def after(request, handler):
        await handler(request)
        raise LookupError("after")

    async with RawServer(lambda _: http()) as server:
        for middleware in (before, after):
            async with (
                aiohttp.ClientSession(middlewares=(middleware,)) as session,
                CekatClient(KEY, base_url=server.base_url, session=session) as client,
            ):
                with pytest.raises(LookupError) as caught:
                    await client.conversations.page()
                assert_secret(spilled(caught.value))


def everything(thing: object, depth: int = 5) -> list[str]:
    """Return the ``repr`` of an object, of its attributes, of their attributes, and so on."""
    shown = [repr(thing), f"{thing}", format(thing)]
    if depth and type(thing).__module__.startswith("cekat_async"):
        names = {name for name in dir(thing) if not name.startswith("__")} - {"reveal", "_value"}
        for name in names:
            shown += [name, *everything(getattr(thing, name), depth - 1)]
    return shown


async def test_nothing_of_a_client_shows_the_key(sandbox):
    """No repr of a client, its parts or its options has the key. None of them can be pickled."""
    async with CekatClient(KEY, base_url=sandbox.base_url, retry=TWICE) as client:
        with pytest.raises(CekatError):
            await client.conversations.page()
        assert_secret("\n".join(everything(client)))
        assert_secret("\n".join(everything(client._config)))
        assert_secret(repr(vars(client)) + repr(vars(client._transport)))
        for part in (client, client._config, client._transport, client._config.api_key):
            with pytest.raises((TypeError, AttributeError)):
                pickle.dumps(part)


async def test_the_warning_of_an_unclosed_client_does_not_show_the_key(sandbox):
    """The warning names the address of the client and not its key."""
    client = CekatClient(KEY, base_url=sandbox.base_url, retry=TWICE)
    with pytest.raises(CekatError):
        await client.conversations.page()
    session = client._transport.session.open()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del client
        gc.collect()
    await session.close()

    assert len(caught) == 1
    assert_secret(str(caught[0]) + repr(caught[0].source))


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": KEY + "\n"},
        {"api_key": KEY + "ü"},
        {"api_key": f" {KEY}"},
        {"api_key": KEY.encode()},
        {"api_key": [KEY]},
        {"api_key": KEY, "concurrency": 0},
        {"api_key": KEY, "base_url": "http://example.test"},
        {"api_key": KEY, "timeout": 3},
    ],
    ids=range(8),
)
def test_a_refused_option_does_not_show_the_key(options):
    """An error of the constructor does not repeat the key, although the key is an argument."""
    with pytest.raises(ConfigurationError) as caught:
        CekatClient(**options)

    assert_secret(str(caught.value) + repr(caught.value) + repr(vars(caught.value)))


async def test_the_key_goes_to_the_configured_host_only():
    """After a redirect, an error or a retry, only the configured host has received the key."""
    async with RawServer(lambda _: http()) as other:
        where = iter(
            [
                http(b"", 302, Location=other.base_url),
                http(b"", 503, Location=other.base_url, Retry_After="0"),
                http(b"", 200, Location=other.base_url, Refresh=f"0; url={other.base_url}",
                     Link=f"<{other.base_url}>; rel=next", Content_Location=other.base_url),
                http(b'{"data": []}', 200, Content_Location=other.base_url),
            ]
        )  # fmt: skip
        async with (
            RawServer(lambda _: next(where)) as server,
            CekatClient(KEY, base_url=server.base_url, retry=RetryPolicy(backoff=0.001)) as client,
        ):
            with pytest.raises(CekatError):
                await client.conversations.page()
            await client.conversations.page()

    assert len(server.heads) == 4
    assert not other.connections


def test_the_key_is_not_sent_unencrypted_unasked():
    """Without an explicit option, plain HTTP to another machine is refused."""
    with pytest.raises(ConfigurationError, match="allow_http=True"):
        CekatClient(KEY, base_url="http://api.example.test")

    CekatClient(KEY, base_url="http://api.example.test", allow_http=True)
    CekatClient(KEY, base_url="http://localhost:8080")


def test_the_echo_tests_would_notice():
    """The check finds the key in an error that has it."""
    with pytest.raises(AssertionError, match="the key shows, plain"):
        assert_secret(spilled(CekatError(f"no such key: {KEY}")))
    assert Transport.__repr__ is object.__repr__


@pytest.mark.parametrize(
    "page",
    [
        {"data": [{"id": "1"}], "metadata": {"next_cursor": {"cursor_id": KEY, "cursor_ts": "t"}}},
        {"data": [{"id": KEY, "notes": math.nan}], "metadata": None},
    ],
    ids=["a repeated cursor", "a malformed record"],
)
async def test_what_a_walk_quotes_does_not_show_the_key(page):
    """An error of a walk quotes a cursor or an id, but not an echo of the key in it."""
    async with (
        RawServer(lambda _: http(json.dumps(page).encode())) as server,
        CekatClient(KEY, base_url=server.base_url, rate_limit=None) as client,
    ):
        with pytest.raises(CekatError) as caught:
            await collect(client.conversations.list(cursor=Cursor("a", "b")))

    assert_secret(str(caught.value) + repr(caught.value))
    assert (caught.value.path, caught.value.attempts) == ("/api/conversations", 1)
