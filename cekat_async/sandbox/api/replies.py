"""The replies of the API: pages of records, and errors."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

PAGE_START: Final = b'{"success":true,"data":['
_JSON: Final = MappingProxyType({"Content-Type": "application/json; charset=utf-8"})


class Reply(msgspec.Struct, frozen=True):
    """A reply: its status, body and headers."""

    status: int
    body: bytes
    headers: Mapping[str, str] = _JSON

    def with_headers(self, headers: Mapping[str, str]) -> Reply:
        """Return the same reply with more headers."""
        return Reply(self.status, self.body, {**self.headers, **headers})


def build_page(records: Iterable[bytes], rest: Mapping[str, Any]) -> Reply:
    """Return the reply for a page. Its body has the records in JSON, then the other fields."""
    tail = msgspec.json.encode(rest)[1:]
    data = PAGE_START + b",".join(records) + b"]"
    return Reply(200, data + (b"," if rest else b"") + tail)


def build_error(status: int, code: str, message: str, details: Iterable[Any] = ()) -> Reply:
    """Return a reply with the API's error envelope."""
    shown = list(details)
    problem = {"code": code, "message": message} | ({"details": shown} if shown else {})
    return Reply(status, msgspec.json.encode({"success": False, "error": problem}))


def build_invalid(field: str, message: str) -> Reply:
    """Return the reply to a request with an invalid parameter."""
    details = [{"field": field, "message": message}]
    return build_error(400, "VALIDATION_ERROR", "Invalid request parameters", details)


def build_unauthenticated() -> Reply:
    """Return the reply to a request without a valid key."""
    body = {"success": False, "status_code": 401, "error": {"message": "Not authenticated"}}
    return Reply(401, msgspec.json.encode(body))
