"""A reply as a value, and how much of it is read."""

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
"""The headers that an error is built from."""

MOST_READ = 64 * 1024
"""Bytes of a body that an error is built from. The API's own errors are far shorter."""


# A server may send any number of headers, and redacting takes time.
_MOST_OF_HEADERS = 32 * 1024
# The first are for the server's own use. A server that echoes the request sends the others.
_HIDDEN = frozenset({"set-cookie", "set-cookie2", "cookie", "authorization", "proxy-authorization"})


class Reply(msgspec.Struct, frozen=True):
    """One whole reply, or the beginning of one. ``headers`` ignore case.

    ``size`` is the number of bytes of body that were received, if ``body`` is only their beginning.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    size: int | None = None

    def __repr__(self) -> str:
        # A body holds customers' data, and a repr ends up in logs.
        return f"<Reply {self.status}, {len(self.body):,} bytes>"


def redact_headers(headers: Mapping[str, str], key: Secret) -> Headers:
    """Return the headers that users may see: without cookies, and without the key."""
    # All at once: to redact them one by one adds 2 % to the instructions of a page
    # (bench_instructions.py). No header has a line break in it.
    text = "\n".join(chain.from_iterable(headers.items()))
    if len(text) > _MOST_OF_HEADERS:
        text = text[:_MOST_OF_HEADERS].rpartition("\n")[0]
    parts = readable(key.redact_text(text)).split("\n")
    names = [name.lower() for name in parts[::2]]
    # The last name has no value if that was cut off.
    shown = Headers(zip(names, parts[1::2], strict=False))
    if len(shown) < len(names):
        shown = _join_repeated(names, parts[1::2])
    for name in _HIDDEN.intersection(shown):
        del shown[name]
    return shown


def _join_repeated(names: list[str], values: list[str]) -> Headers:
    shown = Headers()
    for name, value in zip(names, values, strict=False):
        shown[name] = f"{shown[name]}, {value}" if name in shown else value
    return shown
