"""Defines status codes, and builds the error for a reply."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from cekat_async._api.dates import parse_retry_after
from cekat_async._api.replies import MOST_READ
from cekat_async.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
)
from cekat_async.models.json_scanner import UNDECODABLE
from cekat_async.models.response_details import get_request_id
from cekat_async.redaction import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cekat_async._api.replies import Reply
    from cekat_async.models.raw_json import JsonValue

__all__ = [
    "OK",
    "PAUSES_ALL",
    "SERVICE_UNAVAILABLE",
    "TOO_MANY_REQUESTS",
    "error_from_reply",
    "get_error_class",
]

# These are plain numbers, because each lookup of an enum member takes 0.3 µs on Python 3.11.
OK = HTTPStatus.OK.value
TOO_MANY_REQUESTS = HTTPStatus.TOO_MANY_REQUESTS.value
SERVICE_UNAVAILABLE = HTTPStatus.SERVICE_UNAVAILABLE.value
# A pause after one of these statuses concerns all requests, not only the refused request.
PAUSES_ALL = frozenset({TOO_MANY_REQUESTS, SERVICE_UNAVAILABLE})

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ERROR_CLASSES: Mapping[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    422: BadRequestError,
    429: RateLimitError,
}

_MESSAGE_LIMIT = 500
_BODY_LIMIT = 2_000
_CODE_LIMIT = 100
_HOST_LIMIT = 300


def get_error_class(status: int) -> type[APIStatusError]:
    """Return the class of the error for an HTTP status."""
    fallback = ServerError if status in range(500, 600) else APIStatusError
    return _ERROR_CLASSES.get(status, fallback)


def error_from_reply(reply: Reply) -> APIStatusError:
    """Return the error for a reply with a status other than 200, or with ``success: false``."""
    envelope = _mapping(_json(reply.body[:MOST_READ]))
    error = _mapping(envelope.get("error"))
    status = _get_status(reply, envelope)
    failure = get_error_class(status)(
        _get_message(reply, envelope, error)[:_MESSAGE_LIMIT],
        status=status,
        code=_line(error.get("code"), _CODE_LIMIT) or None,
        details=[part for part in _sequence(error.get("details")) if isinstance(part, dict)],
        body=reply.body[:_BODY_LIMIT],
    )
    failure.retry_after = parse_retry_after(reply.headers)
    failure.request_id = get_request_id(reply.headers)
    return failure


def _get_status(reply: Reply, envelope: Mapping[str, Any]) -> int:
    # A reply with status 200 can contain "success": false (docs/api.md#errors). If so, the status
    # in the body is used.
    inner = envelope.get("status_code")
    if reply.status == OK and isinstance(inner, int) and inner in range(400, 600):
        return inner
    return reply.status


def _get_message(reply: Reply, envelope: Mapping[str, Any], error: Mapping[str, Any]) -> str:
    for value in (error.get("message"), envelope.get("error"), envelope.get("message")):
        if message := _line(value, _MESSAGE_LIMIT):
            return message
    if reply.status in _REDIRECTS:
        return _describe_redirect(reply)
    if reply.status == OK:
        return 'the API says "success": false and gives no reason'
    kind = one_line(reply.headers.get("Content-Type", "no content type"), _MESSAGE_LIMIT)
    size = len(reply.body) if reply.size is None else reply.size
    return f"{_get_phrase(reply.status)}: {kind}, {size:,} bytes, no reason given"


def _describe_redirect(reply: Reply) -> str:
    """Describe a redirect by its host only. The rest of its URL could contain secrets."""
    try:
        host = urlsplit(reply.headers.get("Location", "")).netloc.rpartition("@")[2]
    except ValueError:  # the text is not a URL
        host = ""
    where = f"to {one_line(host, _HOST_LIMIT)}" if host else "elsewhere on the same host"
    return f"the server redirects {where}; redirects are not followed: set base_url to the API"


def _get_phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"


def _json(body: bytes) -> JsonValue:
    try:
        value: JsonValue = msgspec.json.decode(body)
    except UNDECODABLE:
        return None
    return value


def _mapping(value: JsonValue) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _sequence(value: JsonValue) -> Sequence[JsonValue]:
    return value if isinstance(value, list) else ()


def _line(value: JsonValue, at_most: int) -> str:
    """Return a string in the body as one line, or an empty string for any other value."""
    return one_line(value, at_most) if isinstance(value, str) else ""
