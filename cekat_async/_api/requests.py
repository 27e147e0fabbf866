"""Represents a request as a value, and checks and encodes its path and query."""

# Callers may pass arguments of any type, and isinstance cannot show what a container holds.
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote, unquote
from uuid import UUID

import msgspec

from cekat_async.config import require_text
from cekat_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Params", "Request", "build_request", "encode_query"]

ParamValue: TypeAlias = str | float | date | UUID | None
ParamValues: TypeAlias = ParamValue | Iterable[ParamValue]
Params: TypeAlias = Mapping[str, ParamValues] | Iterable[tuple[str, ParamValues]]
"""The parameters of a query, as a mapping of names to values or as (name, value) pairs."""

# The characters that a URL allows in a path besides letters and digits.
_IN_PATHS = "/%:@!$&'()*+,;=-._~"
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")


class Request(msgspec.Struct, frozen=True):
    """One GET request, with a path and a query that are already encoded for sending."""

    path: str
    query: str = ""


def build_request(path: str, params: Params | None = None) -> Request:
    """Return the request for a path and parameters that a user passed.

    Raises:
        ConfigurationError: The path could lead to another resource, or a parameter cannot be sent.
    """
    pairs = [] if params is None else [*_iter_pairs(params)]
    return Request(_encode_path(path), encode_query(*pairs))


def _encode_path(path: str) -> str:
    text = require_text("path", path)
    # No message shows the path, because it may be a whole URL with a password.
    if not text.startswith("/") or text.startswith("//"):
        raise ConfigurationError(
            "path must begin with one '/' and contain no host: write it as '/api/agents'"
        )
    if "?" in text or "#" in text:
        raise ConfigurationError("path must not contain '?' or '#': pass the query as params={…}")
    if _BAD_ESCAPE.search(text):
        raise ConfigurationError("path has a '%' without two hexadecimal digits: write it as '%25'")
    _require_harmless(text)
    return quote(text, safe=_IN_PATHS)


def _require_harmless(path: str) -> None:
    """Check that servers and proxies see the same path, no matter how often they decode it."""
    while True:
        if "\\" in path or not path.isprintable():
            raise ConfigurationError("path must not contain a backslash or a control character")
        # Some servers ignore everything after a semicolon.
        if any(part.partition(";")[0] in {".", ".."} for part in path.split("/")):
            raise ConfigurationError("path must not contain '.' or '..' between two slashes")
        decoded = unquote(path, errors="replace")
        if decoded == path:
            return
        if decoded.count("/") != path.count("/"):
            raise ConfigurationError("path must not contain an encoded '/'")
        path = decoded


def _iter_pairs(params: object) -> Iterator[tuple[str, str]]:
    """Yield each name and its value as text, in order. Skip values that are ``None``."""
    for pair in _get_items(params):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:  # noqa: PLR2004 - a pair
            raise ConfigurationError("each of params must be a pair of a name and a value")
        name = require_text("each name of params", pair[0])
        for value in _get_values(pair[1]):
            if value is not None:
                yield _encode(name), _format(name, value)


def _get_items(params: object) -> Iterable[Any]:
    if isinstance(params, Mapping):
        return params.items()
    if isinstance(params, (str, bytes)) or not isinstance(params, Iterable):
        raise ConfigurationError("params must be a dict, or pairs of a name and a value")
    return params


def _get_values(value: object) -> Iterable[object]:
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)):
        return value
    return (value,)


def _format(name: str, value: object) -> str:
    """Return a value as text, in the API's own format."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not isfinite(value):
        raise ConfigurationError(f"params[{name!r}] must be finite")
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ConfigurationError(
            f"params[{name!r}] has no time zone: use datetime.now(UTC), or .astimezone()"
        )
    if isinstance(value, date):
        return value.isoformat()
    if not isinstance(value, (str, int, float, UUID)):
        raise ConfigurationError(
            f"params[{name!r}] must be text, a number, a bool, a date or a UUID, "
            f"not {type(value).__name__}"
        )
    try:
        text = _spell(value)
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            f"params[{name!r}] cannot be sent as UTF-8: {error.reason}"
        ) from None
    except ValueError:
        raise ConfigurationError(f"params[{name!r}] has thousands of digits") from None
    return text


def _spell(value: str | float | UUID) -> str:
    """Return a value as text. For an enum member, plain ``str()`` would return its name."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__repr__(value)
    return float.__repr__(value) if isinstance(value, float) else str(value)


def encode_query(*pairs: tuple[str, str]) -> str:
    """Return names and values as a query string, in order, with reserved characters encoded.

    A cursor is opaque (docs/api.md#cursors), so the server must receive exactly the text that it
    sent. A ``+`` must not arrive as a space, and nothing may be encoded twice. Names are not
    encoded.
    """
    return "&".join([f"{name}={_encode(value)}" for name, value in pairs])


# Each ASCII character and its encoded form. A table needs half as many CPU instructions as quote().
_ENCODED = {code: quote(chr(code), safe="") for code in range(128)}


def _encode(value: str) -> str:
    return value.translate(_ENCODED) if value.isascii() else quote(value, safe="")
