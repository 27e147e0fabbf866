"""The API itself: from a path and a query to a reply. No network, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import msgspec

from .timeline import read_cursor, spell_cursor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .listing import Place, Row
    from .options import Dialect
    from .world import World

DEFAULT_LIMIT: Final = 10
_LONGEST_NUMBER: Final = 18
_NO_CURSOR: Final[dict[str, str | None]] = {"cursor_id": None, "cursor_ts": None}
_JSON: Final = MappingProxyType({"Content-Type": "application/json; charset=utf-8"})


class Reply(msgspec.Struct, frozen=True):
    """A status, a body and headers."""

    status: int
    body: bytes
    headers: Mapping[str, str] = _JSON

    def adding(self, headers: Mapping[str, str]) -> Reply:
        """Return the same reply with more headers."""
        return Reply(self.status, self.body, {**self.headers, **headers})


class _InvalidError(Exception):
    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Api:
    """Answers requests that carry the right key.

    Args:
        world: what is served.
        dialect: how to answer where the documentation is silent.
    """

    def __init__(self, world: World, dialect: Dialect) -> None:
        self._world = world
        self._dialect = dialect
        self._routes = {"/api/conversations": self._conversations, "/api/inboxes": self._inboxes}

    def answer(self, method: str, path: str, query: str) -> Reply:
        """Return the reply to a request; `query` is as it came over the wire.

        Of a parameter that is given twice the first counts, and unknown ones are ignored.
        """
        route = self._routes.get(path)
        if route is None:
            return error(404, "NOT_FOUND", "Not found")
        if method != "GET":
            refusal = error(405, "METHOD_NOT_ALLOWED", "Method not allowed")
            return refusal.adding({"Allow": "GET"})
        given = dict(reversed(parse_qsl(query, keep_blank_values=True, errors="replace")))
        try:
            return route(given)
        except _InvalidError as invalid:
            return _invalid(invalid.field, str(invalid))

    def _conversations(self, given: Mapping[str, str]) -> Reply:
        limit = self._limit(given)
        after = _place(given)
        rows = self._page(given, after, limit)
        page, more = rows[:limit], len(rows) > limit
        bodies = [self._world.render(id_, number) for _, id_, number in page]
        reply = _listed(bodies, self._metadata(page, given, more=more))
        self._world.events.after_page()
        return reply

    def _page(self, given: Mapping[str, str], after: Place | None, limit: int) -> list[Row]:
        """Return the rows of a page, and one more if there is one."""
        inbox_id = given.get("inbox_id")
        inbox = None if inbox_id is None else self._world.account.inbox_numbers.get(inbox_id)
        if inbox_id is not None and inbox is None:
            return []
        rows = self._world.listing.rows(after, inbox=inbox, status=given.get("stage_status"))
        return [row for row, _ in zip(rows, range(limit + 1), strict=False)]

    def _metadata(self, page: list[Row], given: Mapping[str, str], *, more: bool) -> dict[str, Any]:
        end = self._dialect.end
        if page and (more or end in {"empty_page", "echo"}):
            ts, id_, _ = page[-1]
            cursor = {"cursor_id": id_, "cursor_ts": spell_cursor(ts)}
            return {"metadata": {"next_cursor": cursor}}
        if end == "echo" and "cursor_id" in given:
            asked = {name: given[name] for name in ("cursor_id", "cursor_ts")}
            return {"metadata": {"next_cursor": asked}}
        ends: dict[str, dict[str, Any]] = {
            "null_cursor": {"metadata": {"next_cursor": None}},
            "missing_cursor": {"metadata": {}},
            "null_metadata": {"metadata": None},
            "missing_metadata": {},
        }
        return ends.get(end, {"metadata": {"next_cursor": _NO_CURSOR}})

    def _inboxes(self, given: Mapping[str, str]) -> Reply:
        limit = self._limit(given)
        page = _number(given, "page", 1)
        total = len(self._world.inboxes)
        shown = range(total)[(page - 1) * limit : page * limit]
        bodies = [self._world.inboxes.render(number) for number in shown]
        pagination = {
            "total_page": -(-total // limit),
            "total_items": total,
            "current_page": page,
        }
        return _listed(bodies, {"metadata": {"pagination": pagination}})

    def _limit(self, given: Mapping[str, str]) -> int:
        most = self._dialect.max_limit
        limit = _number(given, "limit", min(DEFAULT_LIMIT, most))
        if limit > most and self._dialect.over_limit == "reject":
            raise _InvalidError("limit", f"limit must not be greater than {most}")
        return min(limit, most)


def error(status: int, code: str, message: str, details: Iterable[Any] = ()) -> Reply:
    """Return the API's error envelope."""
    shown = list(details)
    problem = {"code": code, "message": message} | ({"details": shown} if shown else {})
    return Reply(status, msgspec.json.encode({"success": False, "error": problem}))


def not_authenticated() -> Reply:
    """Return the reply to a request without the right key."""
    body = {"success": False, "status_code": 401, "error": {"message": "Not authenticated"}}
    return Reply(401, msgspec.json.encode(body))


def _invalid(field: str, message: str) -> Reply:
    details = [{"field": field, "message": message}]
    return error(400, "VALIDATION_ERROR", "Invalid request parameters", details)


def _listed(bodies: Iterable[bytes], rest: Mapping[str, Any]) -> Reply:
    tail = msgspec.json.encode(rest)[1:]
    data = b'{"success":true,"data":[' + b",".join(bodies) + b"]"
    return Reply(200, data + (b"," if rest else b"") + tail)


def _number(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER and int(text)):
        raise _InvalidError(name, f"{name} must be a positive integer")
    return int(text)


def _place(given: Mapping[str, str]) -> Place | None:
    """Return the place a cursor points to; made-up ones point between rows."""
    id_, ts = given.get("cursor_id"), given.get("cursor_ts")
    if id_ is None and ts is None:
        return None
    if id_ is None or ts is None:
        missing = "cursor_id" if id_ is None else "cursor_ts"
        raise _InvalidError(missing, "cursor_id and cursor_ts belong together")
    micro = read_cursor(ts)
    if micro is None:
        raise _InvalidError("cursor_ts", "cursor_ts must be a timestamp")
    # Rows stand on whole milliseconds: between two of them, any id would mean the same place.
    return (-(-micro // 1000), "") if micro % 1000 else (micro // 1000, id_)
