"""A request as a value, and how its query is encoded."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

__all__ = ["Request", "encode_query"]


class Request(msgspec.Struct, frozen=True):
    """One GET of the API: a path and its query, both as they are sent."""

    path: str
    query: str = ""


def encode_query(*pairs: tuple[str, str]) -> str:
    """Return names and values as a query, in order, every reserved character percent-encoded.

    A cursor is opaque (API.md): the server must read exactly what it sent, so a ``+`` must not
    arrive as a space, and nothing may be encoded twice.
    """
    return "&".join([f"{name}={_encode(value)}" for name, value in pairs])


# What becomes of each ASCII character. A table takes half the instructions of quote().
_ENCODED = {code: quote(chr(code), safe="") for code in range(128)}


def _encode(value: str) -> str:
    return value.translate(_ENCODED) if value.isascii() else quote(value, safe="")
