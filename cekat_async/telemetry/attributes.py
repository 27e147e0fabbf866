"""The names of attributes, and pure functions that build the attributes of a request.

Names that do not begin with ``cekat.`` are from OpenTelemetry's semantic conventions for HTTP.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CANCELLED",
    "ERROR_TYPE",
    "METHOD",
    "RESEND_COUNT",
    "STATUS",
    "URL",
    "URL_TEMPLATE",
    "build_request_attributes",
    "get_template",
    "select_server",
]

METHOD = "http.request.method"
RESEND_COUNT = "http.request.resend_count"
STATUS = "http.response.status_code"
ERROR_TYPE = "error.type"
URL = "url.full"
URL_TEMPLATE = "url.template"
_ADDRESS = "server.address"
_PORT = "server.port"

CANCELLED = "CancelledError"
"""The error of a cancelled operation, for example after ``break``, which is not a failure."""

_PORTS = {"https": 443, "http": 80}
_PREFIX = re.compile(r"api|v\d{1,3}")
_WORD = re.compile(r"[a-z][a-z_-]{0,31}")


@lru_cache(maxsize=256)
def get_template(path: str) -> str:
    """Return a path, with ``{id}`` in place of each part that may be an id, a name or a number.

    After ``/api`` and a version, names and ids are assumed to alternate: ``/name/id/name/id``.
    """
    segments = path.strip("/").split("/")
    start = next((n for n, one in enumerate(segments) if not _PREFIX.fullmatch(one)), len(segments))
    return "".join(
        f"/{one}" if n < start or ((n - start) % 2 == 0 and _WORD.fullmatch(one)) else "/{id}"
        for n, one in enumerate(segments)
    )


@lru_cache(maxsize=256)
def build_request_attributes(method: str, url: str, path: str) -> Mapping[str, str | int]:
    """Return the attributes for all attempts of a call. The result is cached: do not change it.

    Args:
        method: The HTTP method.
        url: The URL without its query: scheme, host, port and path.
        path: The path of the endpoint, which is the end of ``url``.
    """
    parts, template = urlsplit(url), get_template(path)
    return {
        METHOD: method,
        _ADDRESS: parts.hostname or "",
        _PORT: parts.port or _PORTS.get(parts.scheme, 0),
        URL: url.removesuffix(path) + template,
        URL_TEMPLATE: template,
    }


def select_server(attributes: Mapping[str, str | int]) -> dict[str, str | int]:
    """Return those attributes of a request that the client's measurements also have."""
    return {
        name: attributes[name] for name in (_ADDRESS, _PORT, URL_TEMPLATE) if name in attributes
    }
