"""Requests and replies as values, and the error that a reply with a status means.

Nothing here does I/O: status, headers and bytes come in, a value or one of our errors goes out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from cekat_async.errors import APIStatusError, status_error_class

__all__ = [
    "HEADERS_READ",
    "MOST_READ",
    "OK",
    "PAUSES_ALL",
    "SERVICE_UNAVAILABLE",
    "TOO_MANY_REQUESTS",
    "Reply",
    "Request",
    "encoded",
    "http_date",
    "refusal",
    "retry_after",
]

HEADERS_READ = (
    "Content-Type",
    "Date",
    "Location",
    "Retry-After",
    "X-Request-Id",
    "CF-Ray",
)
"""What an error is made of, beside the body."""

# As plain numbers: each look at a member of the enum costs 0.3 µs on Python 3.11.
OK = HTTPStatus.OK.value
TOO_MANY_REQUESTS = HTTPStatus.TOO_MANY_REQUESTS.value
SERVICE_UNAVAILABLE = HTTPStatus.SERVICE_UNAVAILABLE.value
# What these ask for is a pause of all requests, and not of the refused one alone.
PAUSES_ALL = frozenset({TOO_MANY_REQUESTS, SERVICE_UNAVAILABLE})

_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]*)?")
_MONTHS = (" ", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = {name: f"{number:02}" for number, name in enumerate(_MONTHS)}
_SHRINKING = 4
_MESSAGE_LIMIT = 500
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BODY_LIMIT = 2_000
_CODE_LIMIT = 100
_REQUEST_ID_LIMIT = 200
_HOST_LIMIT = 300


class Request(msgspec.Struct, frozen=True):
    """One GET of the API: a path and its query, both as they go on the wire."""

    path: str
    query: str = ""


def encoded(*pairs: tuple[str, str]) -> str:
    """Return names and values as a query, in order, every reserved character percent-encoded.

    A cursor is opaque (API.md): what the server reads must be what it sent, so that a ``+`` must
    not arrive as a blank, nor anything be encoded twice.
    """
    return "&".join([f"{name}={quote(value, safe='')}" for name, value in pairs])


class Reply(msgspec.Struct, frozen=True):
    """One whole reply, or the beginning of one. ``headers`` are looked up in any case.

    ``size`` is how many bytes of body were received, if ``body`` is only the beginning of them.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    size: int | None = None

    def __repr__(self) -> str:
        # A body is customers' data; a repr ends up in logs.
        return f"<Reply {self.status}, {len(self.body):,} bytes>"


MOST_READ = 64 * 1024
"""Bytes at the beginning of a body that an error is made of. The API's errors are far shorter."""


def refusal(reply: Reply) -> APIStatusError:
    """Return the error that a reply means: another status than 200, or ``success: false``."""
    envelope = _mapping(_json(reply.body[:MOST_READ]))
    error = _mapping(envelope.get("error"))
    status = _status(reply, envelope)
    failure = status_error_class(status)(
        _message(reply, envelope, error)[:_MESSAGE_LIMIT],
        status=status,
        code=_one_line(_text(error.get("code")) or "", _CODE_LIMIT) or None,
        details=[part for part in _sequence(error.get("details")) if isinstance(part, Mapping)],
        body=reply.body[:_BODY_LIMIT],
    )
    failure.retry_after = retry_after(reply.headers)
    failure.request_id = _request_id(reply.headers)
    return failure


def _request_id(headers: Mapping[str, str]) -> str | None:
    said = headers.get("X-Request-Id") or headers.get("CF-Ray") or ""
    return _one_line(said, _REQUEST_ID_LIMIT) or None


def _status(reply: Reply, envelope: Mapping[str, Any]) -> int:
    # A 200 can say "success": false (API.md, ?); the body's own status is the better one then.
    inner = envelope.get("status_code")
    if reply.status == OK and isinstance(inner, int) and inner in range(400, 600):
        return inner
    return reply.status


def _message(reply: Reply, envelope: Mapping[str, Any], error: Mapping[str, Any]) -> str:
    for said in (error.get("message"), envelope.get("error"), envelope.get("message")):
        if message := _one_line(_text(said) or "", _MESSAGE_LIMIT):
            return message
    if reply.status in _REDIRECTS:
        return _redirect_message(reply)
    if reply.status == OK:
        return 'the API says "success": false and gives no reason'
    kind = _one_line(reply.headers.get("Content-Type", "no content type"), _MESSAGE_LIMIT)
    size = len(reply.body) if reply.size is None else reply.size
    return f"{_phrase(reply.status)}: {kind}, {size:,} bytes, no reason given"


def _redirect_message(reply: Reply) -> str:
    """Say where a redirect leads, by host only: the rest could repeat what was asked."""
    try:
        host = urlsplit(reply.headers.get("Location", "")).netloc.rpartition("@")[2]
    except ValueError:  # it leads nowhere
        host = ""
    where = f"to {_one_line(host, _HOST_LIMIT)}" if host else "elsewhere on the same host"
    return f"the server redirects {where}; redirects are not followed: set base_url to the API"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"


def _one_line(text: str, most: int) -> str:
    """Return the beginning of a text as one printable line of at most ``most`` characters."""
    # Cut first: to clean a text of megabytes takes seconds. White space may shrink it.
    text = text[: most * _SHRINKING]
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:most]


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds a reply's ``Retry-After`` asks to wait, or ``None``.

    It may be seconds, with a fraction or without, or an HTTP date, which is read against the
    reply's own ``Date`` (the clocks of two machines differ). What is none of these, negative or
    not finite counts as not said.
    """
    said = headers.get("Retry-After", "").strip()
    # Not whatever float() reads: it also takes 1_000, other alphabets' digits, and infinity.
    if not _SECONDS.fullmatch(said):
        return _seconds_until(said, headers.get("Date")) if said else None
    seconds = float(said)
    return seconds if math.isfinite(seconds) else None


def _seconds_until(date: str, now: str | None) -> float | None:
    end = http_date(date)
    if end is None:
        return None
    begin = http_date(now or "") or datetime.now(UTC)
    return max(0.0, (end - begin).total_seconds())


def http_date(text: str) -> datetime | None:
    """Return the moment of an HTTP date in any of its forms, or ``None``."""
    if moment := _preferred_date(text):
        return moment
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _preferred_date(text: str) -> datetime | None:
    """Read a date of the form that servers are to write, three times as fast as the library."""
    if text[25:] != " GMT":  # Fri, 10 Apr 2026 09:51:19 GMT
        return None
    month = _MONTH.get(text[8:11], "")
    try:
        return datetime.fromisoformat(f"{text[12:16]}-{month}-{text[5:7]}T{text[17:25]}+00:00")
    except ValueError:
        return None
