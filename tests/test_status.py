"""Requests and replies as values: the sent query, and the meaning of a reply."""

import json
import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.effort import EFFORT
from support.scripted import reply

from cekat_async._api.dates import parse_retry_after
from cekat_async._api.replies import Reply
from cekat_async._api.requests import Request, encode_query
from cekat_async._api.status import error_from_reply, get_error_class
from cekat_async.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    RateLimitError,
    ServerError,
)

SENDABLE = st.text(st.characters(exclude_categories=["Cs"]))

# Header bytes as aiohttp returns them: a byte that is not UTF-8 is a lone surrogate.
HEADER = st.binary(max_size=40).map(lambda raw: raw.decode(errors="surrogateescape"))

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


# --- requests


NAMES = st.sampled_from(["limit", "inbox_id", "stage_status", "cursor_id", "cursor_ts"])


@given(pairs=st.lists(st.tuples(NAMES, SENDABLE), min_size=1))
@settings(max_examples=40 * EFFORT)
def test_query_arrives_byte_for_byte(pairs: list[tuple[str, str]]) -> None:
    """A standard parser reads the query in its original order."""
    query = urlsplit(f"/api/conversations?{encode_query(*pairs)}").query

    assert pairs == parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict")


@given(value=SENDABLE)
@settings(max_examples=100 * EFFORT)
def test_query_means_the_same_to_all_parsers(value: str) -> None:
    """For any parser, the query means the same.

    It does not matter whether a parser reads `+` as a space, or `;` as `&`.
    """
    query = encode_query(("cursor_ts", value))
    name, _, sent = query.partition("=")

    assert (name, value) == ("cursor_ts", unquote(sent, errors="strict"))
    assert query.isascii()
    assert not set(sent) & set(" +&;=#?/:\"'<>[]\\^`{|}")


@pytest.mark.parametrize(
    "value,sent",
    [
        ("2026-04-10T09:51:19.885", "2026-04-10T09%3A51%3A19.885"),
        ("2026-04-10T09:51:19+00:00", "2026-04-10T09%3A51%3A19%2B00%3A00"),
        ("a b", "a%20b"),
        ("%2B", "%252B"),
        ("a&cursor_id=b", "a%26cursor_id%3Db"),
        ("a#b", "a%23b"),
        ("é\N{GRINNING FACE}", "%C3%A9%F0%9F%98%80"),
        ("\r\nHost: evil", "%0D%0AHost%3A%20evil"),
        ("aZ09-._~", "aZ09-._~"),
    ],
)
def test_query_encoding(value: str, sent: str) -> None:
    """Every reserved character is percent-encoded exactly once."""
    assert f"cursor_ts={sent}" == encode_query(("cursor_ts", value))


def test_no_query() -> None:
    """Without parameters, there is no query."""
    assert not encode_query()


# --- replies


def test_reply_repr_hides_the_body() -> None:
    """The repr of a reply has its status and its size, but no data and no headers."""
    shown = repr(reply(200, b"x" * 1234, Set_Cookie="s"))

    assert shown == "<Reply 200, 1,234 bytes>"


@pytest.mark.parametrize(
    "status,name",
    [
        (400, "BadRequestError"),
        (401, "AuthenticationError"),
        (403, "PermissionDeniedError"),
        (404, "NotFoundError"),
        (422, "BadRequestError"),
        (429, "RateLimitError"),
        (500, "ServerError"),
        (503, "ServerError"),
        (599, "ServerError"),
        (301, "APIStatusError"),
        (402, "APIStatusError"),
        (499, "APIStatusError"),
        (600, "APIStatusError"),
        (204, "APIStatusError"),
        (0, "APIStatusError"),
    ],
)
def test_status_to_class(status: int, name: str) -> None:
    """Each HTTP status has its own error class, or else the plain APIStatusError."""
    assert name == get_error_class(status).__name__
    error = error_from_reply(reply(status))
    assert (type(error).__name__, error.status) == (name, status)


def test_401_of_the_api() -> None:
    """The API's own 401 is parsed as documented."""
    body = b'{"success":false,"status_code":401,"error":{"message":"Not authenticated"}}'

    error = error_from_reply(reply(401, body))

    assert type(error) is AuthenticationError
    assert str(error).startswith("Not authenticated (HTTP 401): ")
    assert (error.status, error.code, error.details, error.body) == (401, None, (), body)


def test_validation_error_of_the_api() -> None:
    """The API's validation error has its code, its message and its details."""
    details = [{"field": "inbox_id", "message": "must be a UUID"}]
    body = {"error": {"code": "VALIDATION_ERROR", "message": "Bad input", "details": details}}

    error = error_from_reply(reply(400, json.dumps(body | {"success": False}).encode()))

    assert type(error) is BadRequestError
    assert str(error) == "Bad input (HTTP 400, VALIDATION_ERROR, inbox_id: must be a UUID)"
    assert error.details == tuple(details)


@pytest.mark.parametrize(
    "body,message",
    [
        (b'{"error":{"message":"here"},"message":"not here"}', "here"),
        (b'{"error":"as text"}', "as text"),
        (b'{"message":"at the top"}', "at the top"),
        (b'{"error":{"code":"X"},"message":"at the top"}', "at the top"),
        (b'{"error":{"message":" "},"message":"at the top"}', "at the top"),
        (b'{"error":{"message":7},"message":"at the top"}', "at the top"),
        (b'{"error":{"message":"two\\nlines\\u0000 \\u2028and\\tmore"}}', "two lines and more"),
        (b"", "Bad Request: no content type, 0 bytes, no reason given"),
        (b"<html>", "Bad Request: no content type, 6 bytes, no reason given"),
        (b"[1]", "Bad Request: no content type, 3 bytes, no reason given"),
        (b"{}", "Bad Request: no content type, 2 bytes, no reason given"),
        (b'{"error":null}', "Bad Request: no content type, 14 bytes, no reason given"),
        (b'{"error":[1]}', "Bad Request: no content type, 13 bytes, no reason given"),
        (b"\xff", "Bad Request: no content type, 1 bytes, no reason given"),
        (b'{"message":"\xff"}', "Bad Request: no content type, 15 bytes, no reason given"),
        (b"[" * 100_000, "Bad Request: no content type, 100,000 bytes, no reason given"),
    ],
)
def test_message(body: bytes, message: str) -> None:
    """The message is the server's own, anywhere in the body, and is on one line."""
    assert message == error_from_reply(reply(400, body)).message


def test_message_of_a_gateway() -> None:
    """A gateway's HTML is not repeated.

    Instead, the message has the type and the length of the body.
    """
    error = error_from_reply(reply(502, b"<html>" * 100, Content_Type="text/html; charset=utf-8"))

    assert type(error) is ServerError
    assert error.message == "Bad Gateway: text/html; charset=utf-8, 600 bytes, no reason given"


def test_message_of_an_unknown_status() -> None:
    """A status without an HTTP phrase is named by its number."""
    error = error_from_reply(reply(599))

    assert type(error) is ServerError
    assert error.message == "Status 599: no content type, 11 bytes, no reason given"


def test_long_messages_and_bodies_are_cut() -> None:
    """A message is cut to 500 characters, a stored body to 2,000 bytes, a request id to 200."""
    body = json.dumps({"message": "long " * 1000}).encode()

    error = error_from_reply(reply(400, body, X_Request_Id="r" * 1000))

    assert len(error.message) == 500
    assert body[:2000] == error.body
    assert error.request_id == "r" * 199 + "…"


@pytest.mark.parametrize(
    "details,kept",
    [
        ([{"field": "a"}, 1, None, "x", [2]], ({"field": "a"},)),
        ({"field": "a"}, ()),
        ("text", ()),
        (None, ()),
    ],
)
def test_details(details: object, kept: tuple) -> None:
    """Details that are not objects are ignored."""
    body = json.dumps({"error": {"details": details}}).encode()

    assert kept == error_from_reply(reply(422, body)).details


@pytest.mark.parametrize("code", [7, None, ["X"], {}])
def test_code_is_text(code: object) -> None:
    """A code of another type is ignored."""
    assert error_from_reply(reply(400, json.dumps({"error": {"code": code}}).encode())).code is None


@pytest.mark.parametrize(
    "inner,status,kind",
    [
        (401, 401, AuthenticationError),
        (404, 404, NotFoundError),
        (429, 429, RateLimitError),
        (503, 503, ServerError),
        (200, 200, APIStatusError),
        (True, 200, APIStatusError),
        ("401", 200, APIStatusError),
        (10**40, 200, APIStatusError),
        (None, 200, APIStatusError),
        (401.0, 200, APIStatusError),
    ],
)
def test_refusal_of_a_200(inner: object, status: int, kind: type) -> None:
    """A 200 may have an error in its body.

    If that error has a valid status, the error of that status is raised.
    """
    error = error_from_reply(
        reply(200, json.dumps({"success": False, "status_code": inner}).encode())
    )

    assert (status, kind) == (error.status, type(error))
    assert error.message == 'the API says "success": false and gives no reason'


def test_status_of_the_reply_counts() -> None:
    """If the reply itself has an error status, the status in its body is ignored."""
    assert error_from_reply(reply(503, b'{"status_code":401}')).status == 503


@pytest.mark.parametrize(
    "location,where",
    [
        ("https://evil.example/x?token=1", "to evil.example"),
        ("//evil.example", "to evil.example"),
        ("https://user:pw@evil.example:8443/", "to evil.example:8443"),
        ("/login", "elsewhere on the same host"),
        ("", "elsewhere on the same host"),
        ("http://[", "elsewhere on the same host"),
        ("https://a\u2100b/", "elsewhere on the same host"),
    ],
)
def test_redirects(location: str, where: str) -> None:
    """A redirect is an error that names the target's host and no other part of the URL."""
    error = error_from_reply(reply(302, b"", Location=location))

    assert type(error) is APIStatusError
    assert error.message == (
        f"the server redirects {where}; redirects are not followed: set base_url to the API"
    )


@pytest.mark.parametrize(
    "headers,request_id",
    [
        ({}, None),
        ({"X_Request_Id": "r-1"}, "r-1"),
        ({"x_request_id": "r-1", "CF_Ray": "c-1"}, "r-1"),
        ({"CF_Ray": "c-1"}, "c-1"),
        ({"X_Request_Id": ""}, None),
        ({"X_Request_Id": "a\x1b[31m\udcffb"}, r"a [31m\xffb"),
    ],
)
def test_request_id(headers: dict, request_id: str | None) -> None:
    """The request id of the server or the gateway is kept as printable text."""
    assert request_id == error_from_reply(reply(500, **headers)).request_id


@given(
    status=st.integers(-1, 1000) | st.integers(),
    body=st.binary() | JSON.map(lambda value: json.dumps(value).encode()),
    headers=st.dictionaries(
        st.sampled_from(
            ["Retry-After", "Date", "Location", "Content-Type", "X-Request-Id", "CF-Ray"]
        ),
        HEADER,
    ),
)
@settings(max_examples=30 * EFFORT)
def test_any_refusal_can_be_printed(status: int, body: bytes, headers: dict[str, str]) -> None:
    """The error of any reply can be printed on one line."""
    error = error_from_reply(Reply(status, headers, body))

    assert error.status == status or (status == 200 and error.status in range(400, 600))
    assert error.message.isprintable()
    str(error).encode()


@given(
    envelope=st.fixed_dictionaries(
        {},
        optional={
            "success": JSON,
            "status_code": JSON | st.integers(390, 610),
            "message": JSON,
            "error": JSON
            | st.fixed_dictionaries(
                {}, optional=dict.fromkeys(["code", "message", "details"], JSON)
            ),
        },
    )
)
@settings(max_examples=20 * EFFORT)
def test_refusal_never_raises(envelope: dict) -> None:
    """Any error envelope becomes one of our errors and has a message."""
    for status in (200, 302, 400, 429, 599):
        error = error_from_reply(reply(status, json.dumps(envelope).encode()))

        assert isinstance(error, APIStatusError)
        assert error.message
        assert error.code is None or isinstance(error.code, str)
        assert all(isinstance(part, dict) for part in error.details)
        assert get_error_class(error.status) is type(error)


# --- Retry-After


NOW = datetime(2026, 4, 10, 9, 0, 0, tzinfo=UTC)


def http_date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


@pytest.mark.parametrize(
    "said,seconds",
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("86400", 86400.0),
        ("-0", None),
        ("1_000", None),
        ("\u0661\u0662", None),
        ("1e3", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("-inf", None),
        ("", None),
        (" ", None),
        ("soon", None),
        ("7 seconds", None),
        ("7, 8", None),
        ("0x10", None),
    ],
)
def test_retry_after_in_seconds(said: str, seconds: float | None) -> None:
    """A number of seconds in Retry-After may have a fraction. An invalid value is ignored."""
    assert seconds == parse_retry_after({"Retry-After": said})


def test_retry_after_missing() -> None:
    """Without Retry-After, a reply has no time for a retry."""
    assert parse_retry_after({}) is None


def test_retry_after_header_in_any_case() -> None:
    """The names of headers are looked up in any case."""
    assert parse_retry_after(reply(429, retry_after="3").headers) == 3.0
    assert error_from_reply(reply(429, RETRY_AFTER="3")).retry_after == 3.0


@given(seconds=st.integers(0, 10**6), skew=st.integers(-(10**8), 10**8))
@settings(max_examples=20 * EFFORT)
def test_retry_after_as_a_date(seconds: int, skew: int) -> None:
    """A date is compared with the Date of the same reply, so the server's clock may be wrong."""
    now = NOW + timedelta(seconds=skew)
    headers = {
        "Retry-After": http_date(now + timedelta(seconds=seconds)),
        "Date": http_date(now),
    }

    assert seconds == parse_retry_after(headers)


def test_retry_after_date_in_the_past() -> None:
    """A date in the past means a wait of 0."""
    headers = {"Retry-After": http_date(NOW - timedelta(hours=1)), "Date": http_date(NOW)}

    assert parse_retry_after(headers) == 0.0


def test_retry_after_date_with_minus_zero_zone() -> None:
    """Python reads a date in the zone `-0000` as one without a zone, but it is UTC."""
    headers = {"Retry-After": "Fri, 10 Apr 2026 09:01:00 -0000", "Date": http_date(NOW)}

    assert parse_retry_after(headers) == 60.0


@pytest.mark.parametrize("headers", [{}, {"Date": "yesterday"}, {"Date": ""}])
def test_retry_after_date_without_date(headers: dict[str, str]) -> None:
    """If the reply has no readable Date, a date is compared with our own clock."""
    end = datetime.now(UTC) + timedelta(seconds=100)

    seconds = parse_retry_after({"Retry-After": http_date(end), **headers})

    assert 90 < seconds <= 100


DATES = """Wed, 21 Oct 2015 07:28:00 GMT +0000 -0000 +9999 -2400 EST 9999 10000 7.28 : - , ( " 24:00
    99:99:99 Feb 30 68 0 -5 +99999999999 \N{ARABIC-INDIC DIGIT THREE}"""
DATE_LIKE = st.lists(st.sampled_from(DATES.split()), max_size=8).map(" ".join)


@given(said=st.text() | HEADER | DATE_LIKE | st.floats().map(str), date=HEADER | DATE_LIKE)
@settings(max_examples=40 * EFFORT)
def test_retry_after_of_any_text(said: str, date: str) -> None:
    """For any text and Date, Retry-After raises no error.

    The result is None, or it is finite and at least 0.
    """
    seconds = parse_retry_after({"Retry-After": said, "Date": date})

    assert seconds is None or (math.isfinite(seconds) and seconds >= 0)


def test_values_are_frozen() -> None:
    """A request and a reply are immutable."""
    for value in (Request("/p"), reply()):
        for name in value.__struct_fields__:
            with pytest.raises(AttributeError):
                setattr(value, name, None)
    assert isinstance(Request("/p"), msgspec.Struct)
