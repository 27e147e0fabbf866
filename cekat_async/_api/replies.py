"""A reply as a value, and how much of it is read."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

__all__ = ["HEADERS_READ", "MOST_READ", "Reply"]

HEADERS_READ = ("Content-Type", "Date", "Location", "Retry-After", "X-Request-Id", "CF-Ray")
"""The headers that an error is built from."""

MOST_READ = 64 * 1024
"""Bytes of a body that an error is built from. The API's own errors are far shorter."""


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
