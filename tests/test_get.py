"""``client.get`` reads any endpoint of the API's host, through the pipeline of all requests."""

import asyncio
import json
import math
from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum, StrEnum
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.clock import run_virtual
from support.parts import make_client, make_pipeline
from support.rawserver import RawServer, http
from support.scripted import reply
from yarl import URL

from cekat_async import CekatClient, PageFetched, RateLimit, RequestSent, RetryPolicy, Timeout
from cekat_async._api import any_json
from cekat_async._api.any_json import MOST_VALUES, decode_json
from cekat_async._api.requests import build_request
from cekat_async._ratelimit.limiter import Limiter
from cekat_async.errors import (
    APIStatusError,
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    DeadlineExceededError,
    DecodeError,
    MalformedBodyError,
    NotFoundError,
    ResponseTooLargeError,
    ServerError,
)
from cekat_async.models.json_scanner import MOST_RECORDS
from cekat_async.models.steps import run_steps
from cekat_async.sandbox import Fault

KEY = "kx7/Zq+9==.t0p-S3cret%and~more"


def decode(body: bytes):
    return run_steps(decode_json(reply(body=body)))


# --- its result


async def test_it_returns_the_json_of_the_reply(client):
    """The result is the complete JSON of the reply as Python values."""
    page = await client.conversations.page(limit=3)

    found = await client.get("/api/conversations", params={"limit": 3})

    assert found == json.loads(page.body)
    assert [record["id"] for record in found["data"]] == page.ids


async def test_it_uses_the_pipeline_of_every_request(sandbox):
    """A call is paced, retried, counted and reported, and uses the client's options."""
    events = []
    async with make_client(sandbox, hooks=events.append, rate_limit=RateLimit(600)) as client:
        sandbox.fail_next(Fault.status(503), Fault.truncate(), Fault.drop())
        await client.get("/api/inboxes")

        assert client.traffic.requests == client.limiter.snapshot().sent == 4
        sandbox.fail_next(Fault.status(503))
        with pytest.raises(ServerError):
            await client.with_options(retry=RetryPolicy(attempts=1)).get("/api/inboxes")
    sent = [event for event in events if isinstance(event, RequestSent)]
    [fetched] = [event for event in events if isinstance(event, PageFetched)]
    assert {event.url for event in sent} == {f"{sandbox.base_url}/api/inboxes"}
    assert (fetched.attempts, fetched.records) == (4, 0)


async def test_errors_are_those_of_every_request(sandbox, client):
    """Each status raises its own error, which has the path. A closed client raises an error too."""
    with pytest.raises(NotFoundError) as missing:
        await client.get("/api/agents/7")
    async with CekatClient("wrong", base_url=sandbox.base_url) as stranger:
        with pytest.raises(AuthenticationError):
            await stranger.get("/api/inboxes")
    with pytest.raises(ClientClosedError):
        await stranger.get("/api/inboxes")

    assert missing.value.path == "/api/agents/7"


def test_a_refusal_in_a_reply_is_an_error():
    """A 200 with ``"success": false`` raises the error in its body, and redacts the key."""
    body = b'{"success":false,"status_code":418,"error":{"message":"no a-made-up-key"}}'
    pipeline, _ = make_pipeline([reply(body=body)])

    with pytest.raises(APIStatusError, match=r"no \*\*\*") as caught:
        run_virtual(pipeline.fetch(build_request("/api/things"), decode_json))

    assert caught.value.status == 418


@pytest.mark.parametrize("status", [201, 204, 301, 304])
def test_any_other_status_is_an_error(status):
    """Any status except 200 raises an error."""
    pipeline, _ = make_pipeline([reply(status, b"")])

    with pytest.raises(APIStatusError) as caught:
        run_virtual(pipeline.fetch(build_request("/api/things"), decode_json))

    assert caught.value.status == status


async def test_limits_are_those_of_every_request():
    """The client's deadline and its maximum body size apply to ``get``."""
    async with (
        RawServer(lambda head: None if b"/slow" in head else http(b"1" * 999)) as server,
        make_client(server, max_page_bytes=500) as client,
    ):
        with pytest.raises(DeadlineExceededError):
            await client.with_options(timeout=Timeout(deadline=0.05)).get("/slow")
        with pytest.raises(ResponseTooLargeError):
            await client.get("/large")


# --- where it goes


GOOD_PATHS = {
    "/": "/",
    "/api/agents": "/api/agents",
    "/api/agents/": "/api/agents/",
    "/api/agents/a1b2.c3~d-e_f": "/api/agents/a1b2.c3~d-e_f",
    "/api/v1.0/...": "/api/v1.0/...",
    "/api/tags/two words": "/api/tags/two%20words",
    "/api/tags/two%20words": "/api/tags/two%20words",
    "/api/tags/café": "/api/tags/caf%C3%A9",
    "/api/tags/%E9": "/api/tags/%E9",
    "/api/tags/a;b=1,2": "/api/tags/a;b=1,2",
    '/api/tags/<"a">|^`{b}[c]': "/api/tags/%3C%22a%22%3E%7C%5E%60%7Bb%7D%5Bc%5D",
    "/@evil.test/": "/@evil.test/",
    "/https://evil.test/": "/https://evil.test/",
    "/api/100%25": "/api/100%25",
    "/api/a%3Fb%23c": "/api/a%3Fb%23c",
}
BAD_PATHS = [
    "",
    " ",
    "api/agents",
    "//evil.test/api",
    "///evil.test/api",
    "https://evil.test/api",
    "HTTPS://user:pass@evil.test",
    "\\\\evil.test\\api",
    "/\\evil.test",
    "/api\\..\\x",
    "/api/%5c%5Cevil",
    "/..",
    "/../x",
    "/api/../x",
    "/api/..",
    "/api/./x",
    "/api/%2e%2e/x",
    "/api/%2E./x",
    "/api/.%2e",
    "/api/%252e%252e/x",
    "/api/%25252e%25252e/x",
    "/api/..;/x",
    "/api/..;a=1/x",
    "/api/..%3b/x",
    "/%2fevil.test",
    "/api/%2F../x",
    "/api%2fagents",
    "/api/%252fagents",
    "/api/agents?limit=1",
    "/api/agents#top",
    "/api/agents\r\nX-Evil: 1",
    "/api/agents\n",
    "/api/agents\t",
    "/api/agents\0",
    "/api/agents\x7f",
    "/api/agents%0d%0aX-Evil:1",
    "/api/agents%00",
    "/api/agents%250a",
    "/api/\u2028agents",
    "/api/\u200bagents",
    "/api/100%",
    "/api/%zz",
    "/api/\ud83d",
    None,
    7,
    b"/api/agents",
    ["/api"],
]


@pytest.mark.parametrize("path", GOOD_PATHS)
def test_paths_are_sent_as_they_are_meant(path):
    """Characters that a URL cannot contain are escaped, and existing escapes are kept."""
    assert build_request(path).path == GOOD_PATHS[path]


@pytest.mark.parametrize("path", BAD_PATHS, ids=repr)
async def test_paths_that_could_lead_elsewhere_are_refused(path):
    """A path that could lead to another host or endpoint is refused before any request.

    The error does not quote it.
    """
    async with RawServer(lambda _: http()) as server, make_client(server) as client:
        with pytest.raises(ConfigurationError, match="path") as caught:
            await client.get(path)
        assert server.connections == 0
        assert client.traffic.requests == 0

    assert "evil" not in str(caught.value)


PIECES = ["/", "//", "\\", ".", "..", "%2e", "%2E", "%2f", "%5c", "%25", "%", "@", ":", "?", "#",
          "\r\n", "\t", ";", "evil.test", "api", "é", " ", "%00", "\ud83d"]  # fmt: skip


@given(path=st.one_of(st.lists(st.sampled_from(PIECES), max_size=8).map("".join), st.text()))
@example(path="//evil.test")
@example(path="/api/%252e%252e/%2525")
def test_no_path_leaves_the_host(path):
    """The URL of any accepted path is on the client's host and below its prefix."""
    base = "https://api.test:8443/gateway"
    try:
        request = build_request(path)
    except ConfigurationError:
        return
    url = base + request.path

    assert request.path.isascii()
    assert request.path.isprintable()
    assert " " not in request.path
    for normalized in (URL(url, encoded=True), URL(url), URL(unquote(url))):
        assert (normalized.scheme, normalized.host, normalized.port) == ("https", "api.test", 8443)
        assert normalized.path.startswith("/gateway/")
        assert not normalized.query_string or "?" in unquote(request.path)
    assert unquote(request.path) == unquote(path)
    assert urlsplit(url).path == f"/gateway{request.path}"


async def test_the_checked_url_is_sent():
    """The request is for the client's host, and has path and query on a single line."""
    async with RawServer(lambda _: http(b"{}")) as server:
        async with CekatClient(KEY, base_url=f"{server.base_url}/gateway") as client:
            await client.get("/api/tags/a b%2Cc", params={"q": "x&y=z/é+ ", "n&m": 1})
        [head] = server.heads

    line, *headers = head.decode().split("\r\n")
    assert line == "GET /gateway/api/tags/a%20b%2Cc?q=x%26y%3Dz%2F%C3%A9%2B%20&n%26m=1 HTTP/1.1"
    assert f"Host: 127.0.0.1:{server.port}" in headers


@pytest.mark.parametrize("path", ["/api/a-made-up-key/1", "/api/%61%2Dmade-up-key"])
async def test_a_path_with_the_key_is_refused(path):
    """A path that contains the key in any escaped form is refused, because paths are logged."""
    async with CekatClient("a-made-up-key", base_url="http://127.0.0.1:1") as client:
        with pytest.raises(ConfigurationError, match="contains the API key") as caught:
            await client.get(path)

    assert "made-up" not in str(caught.value)


# --- the query


class Plain(str, Enum):  # noqa: UP042 - which is what it is about
    """An enum of strings, in the form that was used before ``StrEnum``."""

    RED = "red"


class Size(int, Enum):
    """An enum of whole numbers, in the form that was used before ``IntEnum``."""

    BIG = 50


class Newer(StrEnum):
    """An enum of strings."""

    BLUE = "blue"


@pytest.mark.parametrize(
    "params,sent",
    [
        (None, []),
        ({}, []),
        ([], []),
        ({"q": "a b&c=d"}, [("q", "a b&c=d")]),
        ({"q": ""}, [("q", "")]),
        ({"q": " "}, [("q", " ")]),
        ({"a": 1, "b": 2.5, "c": -3, "d": 10**30}, [("a", "1"), ("b", "2.5"), ("c", "-3"),
                                                   ("d", str(10**30))]),
        ({"a": True, "b": False}, [("a", "true"), ("b", "false")]),
        ({"a": None, "b": [None, 1, None]}, [("b", "1")]),
        ({"a": ["x", "y"], "b": (1, 2), "c": []}, [("a", "x"), ("a", "y"), ("b", "1"), ("b", "2")]),
        ([("a", 1), ["b", 2], ("a", 3)], [("a", "1"), ("b", "2"), ("a", "3")]),
        (iter([("a", range(2))]), [("a", "0"), ("a", "1")]),
        ({"a": UUID(int=5)}, [("a", "00000000-0000-0000-0000-000000000005")]),
        ({"a": date(2026, 11, 1)}, [("a", "2026-11-01")]),
        (
            {"a": datetime(2026, 11, 1, 9, tzinfo=timezone(timedelta(hours=7)))},
            [("a", "2026-11-01T09:00:00+07:00")],
        ),
        ({"a": Plain.RED, "b": Newer.BLUE}, [("a", "red"), ("b", "blue")]),
        ({"a": Size.BIG}, [("a", "50")]),
        ({"n m&": "é"}, [("n m&", "é")]),
    ],
    ids=repr,
)  # fmt: skip
def test_params_are_sent_as_text(params, sent):
    """Each value is sent as text in the API's form, and its special characters are escaped."""
    query = build_request("/api/things", params).query

    assert parse_qsl(query, keep_blank_values=True) == sent


@pytest.mark.parametrize(
    "params",
    [
        "a=1",
        b"a=1",
        7,
        {"a": b"bytes"},
        {"a": {"b": 1}},
        {"a": [[1]]},
        {"a": object()},
        {"a": math.nan},
        {"a": math.inf},
        {"a": datetime(2026, 11, 1)},  # noqa: DTZ001 - it has no zone
        {"a": "\ud83d"},
        pytest.param({"a": 10**5000}, id="digits"),
        {"": 1},
        {7: 1},
        {None: 1},
        [("a",)],
        [("a", 1, 2)],
        ["ab"],
    ],
    ids=repr,
)
def test_params_that_cannot_be_sent_are_refused(params):
    """A value that cannot be sent unchanged is refused before the request."""
    with pytest.raises(ConfigurationError, match="params"):
        build_request("/api/things", params)


# --- the reply


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)  # fmt: skip


@given(value=JSON, indent=st.sampled_from([None, 1]), at_once=st.sampled_from([5, 30, 10**9]))
def test_any_json_is_read(value, indent, at_once):
    """JSON is decoded to the same values as with Python's parser, in one step or in many."""
    body = json.dumps(value, indent=indent).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(any_json, "fits_at_once", lambda raw: len(raw) <= at_once)
        patch.setattr(any_json, "_DEEPEST", 99)
        if isinstance(value, dict) and value.get("success") is False:
            return

        assert decode(body) == json.loads(body)


@given(value=JSON, data=st.data())
def test_json_that_is_cut_short_is_no_json(value, data):
    """A truncated reply raises a retryable error, whether it is decoded in one step or in many."""
    body = json.dumps([value]).encode()
    end = data.draw(st.integers(0, len(body) - 1))
    with pytest.MonkeyPatch.context() as patch:
        limit = data.draw(st.sampled_from([5, 10**9]))
        patch.setattr(any_json, "fits_at_once", lambda raw: len(raw) <= limit)
        patch.setattr(any_json, "_DEEPEST", 99)

        with pytest.raises(MalformedBodyError, match="not complete JSON"):
            decode(body[:end])


@pytest.mark.parametrize(
    "body,value",
    [
        (rb'{"a":"\ud83d!"}', {"a": "\ufffd!"}),
        (b'{"a":"\xff"}', {"a": "\ufffd"}),
        (b'{"a":"b\nc"}', {"a": "bc"}),
        (b"[1e999, -1e999]", ["1e999", "-1e999"]),
        (b"[Infinity, 1e999, 5]", [math.inf, "1e999", 5]),
        (b'{"a":%s}' % (b"9" * 5000), {"a": "9" * 5000}),
        (b"[Infinity, %s]" % (b"9" * 5000), [math.inf, "9" * 5000]),
        (b' \r\n{"a": 1}\n', {"a": 1}),
        (b'"text"', "text"),
        (b"null", None),
        (b"[]", []),
        (b'{"a":1,"a":2}', {"a": 2}),
    ],
    ids=range(12),
)
@pytest.mark.parametrize("at_once", [3, 10**9])
def test_values_beyond_json_or_python_are_read(body, value, at_once, monkeypatch):
    """Invalid text, numbers too large for a float, and common JSON extensions are decoded."""
    monkeypatch.setattr(any_json, "fits_at_once", lambda raw: len(raw) <= at_once)

    assert decode(body) == value


def test_nan_is_read():
    """A bare NaN, which Python writes by default, is decoded as a float."""
    found = decode(b'{"a":NaN,"b":[1]}')

    assert math.isnan(found["a"])
    assert found["b"] == [1]


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"<html>", b"{", b"[1,]", b'{"a":1}}', b"[1] [2]", b"[1]x", b"tru", b'"a', b"1 2"],
)
@pytest.mark.parametrize("at_once", [0, 10**9])
def test_invalid_json_is_retried(body, at_once, monkeypatch):
    """Invalid JSON raises a retryable error that does not quote the body."""
    monkeypatch.setattr(any_json, "fits_at_once", lambda raw: len(raw) <= at_once)
    pipeline, transport = make_pipeline([reply(body=body), reply(body=b"{}")])

    with pytest.raises(MalformedBodyError, match="the reply is not complete JSON") as caught:
        decode(body)
    assert run_virtual(pipeline.fetch(build_request("/api/things"), decode_json)) == {}
    assert "html" not in caught.value.message
    assert len(transport.requests) == 2


TOO_MUCH = {
    "values": b'{"data":[' + b"1," * MOST_VALUES + b"1]}",
    "elements": b'{"data":[' + b"1," * (MOST_RECORDS + 200_000) + b"1]}",
    "members": b"{" + b",".join(b'"%d":1' % n for n in range(MOST_RECORDS + 10_000)) + b"}",
    "levels": b"[" * 200_000 + b"]" * 200_000,
    "a few levels of too much": b'{"a":' * 9 + b'"' + b"x" * 2_200_000 + b'"' + b"}" * 9,
}


@pytest.mark.parametrize("body", TOO_MUCH.values(), ids=TOO_MUCH)
def test_replies_that_would_block_the_event_loop_are_refused(body):
    """A reply with too many or too deeply nested values raises an error that is not retried."""
    pipeline, transport = make_pipeline([reply(body=body)])

    with pytest.raises(DecodeError, match=r"cannot be decoded: .*\. Ask for less"):
        run_virtual(pipeline.fetch(build_request("/api/things"), decode_json))

    assert len(transport.requests) == 1


def test_other_tasks_have_turns_while_a_large_reply_is_decoded():
    """A large list or object is decoded in steps, and other tasks run between the steps."""
    record = b'{"id":"%s"}' % (b"x" * 100)
    listed = b'{"data":[' + b",".join([record] * 30_000) + b"]}"
    members = b"{" + b",".join(b'"%d":%s' % (n, record) for n in range(30_000)) + b"}"
    pipeline, _ = make_pipeline(
        [reply(body=listed), reply(body=members)], limiter=Limiter(RateLimit(600))
    )

    async def main() -> None:
        for body, count in ((listed, lambda found: len(found["data"])), (members, len)):
            call = asyncio.create_task(pipeline.fetch(build_request("/api/things"), decode_json))
            turns = 0
            while not call.done():
                turns += 1
                await asyncio.sleep(0)
            assert count(await call) == 30_000
            assert turns > len(body) / 200_000

    run_virtual(main())


async def test_the_key_in_a_reply_is_data():
    """Errors that quote a reply redact the key."""
    async with RawServer(lambda _: http(b"<html>" + KEY.encode())) as server:
        once = RetryPolicy(attempts=1)
        async with CekatClient(KEY, base_url=server.base_url, retry=once) as client:
            with pytest.raises(MalformedBodyError) as caught:
                await client.get("/api/things")

    assert KEY not in repr(vars(caught.value)) + str(caught.value)
    assert caught.value.raw == b"<html>***"


def test_dates_are_dates():
    """A time with a zone is sent with its offset, so that the moment is unambiguous."""
    query = build_request("/x", {"since": datetime(2026, 1, 2, tzinfo=UTC)}).query

    assert query == "since=2026-01-02T00%3A00%3A00%2B00%3A00"
