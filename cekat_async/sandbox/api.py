"""The API itself: from a path and a query to a reply. No network, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import msgspec

from .cursors import Cursors
from .endless import Endless
from .parameters import InvalidError, positive

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .listing import Place, Row
    from .options import Dialect
    from .world import World

DEFAULT_LIMIT: Final = 10
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


class Api:
    """Answers requests that carry the right key.

    Args:
        world: what is served.
        dialect: how to answer where the documentation is silent.

    Attributes:
        forbidden: the ids of inboxes whose conversations the key may not ask for.
    """

    def __init__(self, world: World, dialect: Dialect) -> None:
        self._world = world
        self._dialect = dialect
        self._cursors = Cursors(world.listing, dialect.made_up_cursors)
        self._endless = None if dialect.endless is None else Endless(dialect)
        self.forbidden: set[str] = set()
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
        except InvalidError as invalid:
            return _invalid(invalid.field, str(invalid))

    def _conversations(self, given: Mapping[str, str]) -> Reply:
        if given.get("inbox_id") in self.forbidden:
            return error(403, "FORBIDDEN", "The key may not see this inbox")
        limit = self._limit(given)
        page, metadata = self._page_after_the_end(given, limit) or self._page(given, limit)
        reply = _listed([self._world.render(row) for row in page], metadata)
        self._world.events.after_page()
        return reply

    def _page(self, given: Mapping[str, str], limit: int) -> tuple[list[Row], dict[str, Any]]:
        """Return the rows of a page, and what stands beside them."""
        after = self._cursors.read(given)
        rows = list(islice(self._rows(given, after), limit + 1))
        page, more = rows[:limit], len(rows) > limit
        if self._endless is not None and not more:
            return page, {"metadata": {"next_cursor": self._endless.first_cursor(page)}}
        return page, self._metadata(page, None if after is None else given, more=more)

    def _page_after_the_end(
        self, given: Mapping[str, str], limit: int
    ) -> tuple[list[Row], dict[str, Any]] | None:
        """Return the same for a page that lies after the end, or `None` for one that does not."""
        if self._endless is None or not (number := self._endless.number(given)):
            return None
        rows = list(self._rows(given))
        shown = self._endless.page_shown(number, -(-len(rows) // limit))
        page = [] if shown is None else rows[(shown - 1) * limit : shown * limit]
        return page, {"metadata": {"next_cursor": self._endless.next_cursor(given)}}

    def _rows(self, given: Mapping[str, str], after: Place | None = None) -> Iterator[Row]:
        """Yield the rows that a query asks for, from a place on."""
        inbox_id = given.get("inbox_id")
        inbox = None if inbox_id is None else self._world.account.inbox_numbers.get(inbox_id)
        if inbox_id is not None and inbox is None:
            return iter(())
        return self._world.listing.rows(after, inbox=inbox, status=given.get("stage_status"))

    def _metadata(
        self, page: list[Row], asked: Mapping[str, str] | None, *, more: bool
    ) -> dict[str, Any]:
        """Return what stands beside a page; `asked` has the cursor that led to it, if one did."""
        end = self._dialect.end
        if page and (more or end in {"empty_page", "echo"}):
            return {"metadata": {"next_cursor": self._cursors.issue(page[-1][:2])}}
        if end == "echo" and asked is not None:
            echo = {name: asked[name] for name in ("cursor_id", "cursor_ts")}
            return {"metadata": {"next_cursor": echo}}
        ends: dict[str, dict[str, Any]] = {
            "null_cursor": {"metadata": {"next_cursor": None}},
            "missing_cursor": {"metadata": {}},
            "null_metadata": {"metadata": None},
            "missing_metadata": {},
        }
        return ends.get(end, {"metadata": {"next_cursor": _NO_CURSOR}})

    def _inboxes(self, given: Mapping[str, str]) -> Reply:
        limit = self._limit(given)
        page = positive(given, "page", 1)
        total = len(self._world.inboxes)
        pages = -(-total // limit)
        pagination = {"total_page": pages, "total_items": total, "current_page": page}
        shown: int | None = page
        if self._endless is not None:
            pagination |= {"total_page": max(pages, page) + 1, "total_items": total + 1}
            shown = page if page <= pages else self._endless.page_shown(page - pages, pages)
        numbers = () if shown is None else range(total)[(shown - 1) * limit : shown * limit]
        bodies = [self._world.inboxes.render(number) for number in numbers]
        return _listed(bodies, {"metadata": {"pagination": pagination}})

    def _limit(self, given: Mapping[str, str]) -> int:
        most = self._dialect.max_limit
        limit = positive(given, "limit", min(DEFAULT_LIMIT, most))
        if limit > most and self._dialect.over_limit == "reject":
            raise InvalidError("limit", f"limit must not be greater than {most}")
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
