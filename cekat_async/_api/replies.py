"""Represents a reply as a value, and limits how much of a reply is read."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from cekat_async.models.response_details import Headers
from cekat_async.redaction import readable

if TYPE_CHECKING:
    from cekat_async.redaction import Secret

__all__ = ["HEADERS_READ", "MOST_READ", "Reply", "redact_headers"]

HEADERS_READ = ("Content-Type", "Date", "Location", "Retry-After", "X-Request-Id", "CF-Ray")
"""The reply headers that are used to build errors."""

MOST_READ = 64 * 1024
"""The most bytes of a body that are used to build an error. The API's errors are far shorter."""


# The most bytes of headers that are shown. A server may send any number of headers, and redacting
# takes time.
_MOST_OF_HEADERS = 32 * 1024
# Cookies are for the server's own use. The other headers occur if a server echoes the request.
_HIDDEN = frozenset({"set-cookie", "set-cookie2", "cookie", "authorization", "proxy-authorization"})


class Reply(msgspec.Struct, frozen=True):
    """One reply, complete or truncated. The names of ``headers`` are case-insensitive.

    If ``body`` is only the beginning of the body, ``size`` is the number of bytes received.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    size: int | None = None

    def __repr__(self) -> str:
        # A body contains customers' data, and a repr may end up in logs.
        return f"<Reply {self.status}, {len(self.body):,} bytes>"


def redact_headers(headers: Mapping[str, str], key: Secret) -> Headers:
    """Return the headers that users may see, without cookies and without the key."""
    # All headers are joined into one text and redacted together. Redacting them one by one would
    # add 2 % to the CPU instructions of a page (bench_instructions.py). No header contains a line
    # break.
    text = "\n".join(chain.from_iterable(headers.items()))
    if len(text) > _MOST_OF_HEADERS:
        text = text[:_MOST_OF_HEADERS].rpartition("\n")[0]
    parts = readable(key.redact_text(text)).split("\n")
    names = [name.lower() for name in parts[::2]]
    # If the text was truncated, the last name may have no value.
    shown = dict(zip(names, parts[1::2], strict=False))
    if len(shown) < len(names):
        shown = _join_repeated(names, parts[1::2])
    for name in _HIDDEN.intersection(shown):
        del shown[name]
    return Headers(shown)


def _join_repeated(names: list[str], values: list[str]) -> dict[str, str]:
    shown: dict[str, str] = {}
    for name, value in zip(names, values, strict=False):
        shown[name] = f"{shown[name]}, {value}" if name in shown else value
    return shown
