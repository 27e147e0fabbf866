"""The endpoints: they convert a method, a path and a query to a reply."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from cekat_async.sandbox.api.cursors import Cursors
from cekat_async.sandbox.api.endless_pages import PagesAfterEnd
from cekat_async.sandbox.api.parameters import InvalidParameterError, parse_positive, parse_query
from cekat_async.sandbox.api.replies import build_error, build_invalid, build_page

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cekat_async.sandbox.api.replies import Reply
    from cekat_async.sandbox.behaviour.live import LiveEvents
    from cekat_async.sandbox.data.dataset import Dataset
    from cekat_async.sandbox.data.listing import Row, SortKey
    from cekat_async.sandbox.options import Dialect

DEFAULT_LIMIT: Final = 10
_NO_CURSOR: Final[dict[str, str | None]] = {"cursor_id": None, "cursor_ts": None}


class Api:
    """Builds the replies to requests with a valid key.

    Attributes:
        forbidden: The ids of the inboxes whose conversations the key may not list.
    """

    def __init__(self, dataset: Dataset, events: LiveEvents, dialect: Dialect) -> None:
        self._dataset = dataset
        self._events = events
        self._dialect = dialect
        self._cursors = Cursors(dataset.listing, dialect.made_up_cursors)
        self._endless = None if dialect.endless is None else PagesAfterEnd(dialect)
        self.forbidden: set[str] = set()
        self._routes = {"/api/conversations": self._conversations, "/api/inboxes": self._inboxes}

    def answer(self, method: str, path: str, query: str) -> Reply:
        """Return the reply to a request. ``query`` must be percent-encoded."""
        route = self._routes.get(path)
        if route is None:
            return build_error(404, "NOT_FOUND", "Not found")
        if method != "GET":
            refusal = build_error(405, "METHOD_NOT_ALLOWED", "Method not allowed")
            return refusal.with_headers({"Allow": "GET"})
        try:
            return route(parse_query(query))
        except InvalidParameterError as invalid:
            return build_invalid(invalid.field, str(invalid))

    def _conversations(self, given: Mapping[str, str]) -> Reply:
        if given.get("inbox_id") in self.forbidden:
            return build_error(403, "FORBIDDEN", "The key may not see this inbox")
        limit = self._limit(given)
        page, rest = self._page_after_the_end(given, limit) or self._page(given, limit)
        reply = build_page([self._dataset.render(row) for row in page], rest)
        self._events.after_page()
        return reply

    def _page(self, given: Mapping[str, str], limit: int) -> tuple[list[Row], dict[str, Any]]:
        """Return the rows of a page, and the other fields of its reply."""
        after = self._cursors.read(given)
        rows = list(islice(self._rows(given, after), limit + 1))
        page, more = rows[:limit], len(rows) > limit
        if self._endless is not None and not more:
            return page, {"metadata": {"next_cursor": self._endless.first_cursor(page)}}
        return page, self._metadata(page, None if after is None else given, more=more)

    def _page_after_the_end(
        self, given: Mapping[str, str], limit: int
    ) -> tuple[list[Row], dict[str, Any]] | None:
        """Return the rows and fields of a page after the end, or ``None`` for any other page."""
        if self._endless is None or not (number := self._endless.number(given)):
            return None
        rows = list(self._rows(given))
        shown = self._endless.page_shown(number, -(-len(rows) // limit))
        page = [] if shown is None else rows[(shown - 1) * limit : shown * limit]
        return page, {"metadata": {"next_cursor": self._endless.next_cursor(given)}}

    def _rows(self, given: Mapping[str, str], after: SortKey | None = None) -> Iterator[Row]:
        """Yield the rows that a query selects, starting after a sort key."""
        inbox_id = given.get("inbox_id")
        inbox = None if inbox_id is None else self._dataset.account.inbox_numbers.get(inbox_id)
        if inbox_id is not None and inbox is None:
            return iter(())
        return self._dataset.listing.rows(after, inbox=inbox, status=given.get("stage_status"))

    def _metadata(
        self, page: list[Row], requested: Mapping[str, str] | None, *, more: bool
    ) -> dict[str, Any]:
        """Return the other fields of a reply. ``requested`` has the cursor of the request."""
        end = self._dialect.end
        if page and (more or end in {"empty_page", "echo"}):
            return {"metadata": {"next_cursor": self._cursors.issue(page[-1][:2])}}
        if end == "echo" and requested is not None:
            echo = {name: requested[name] for name in _NO_CURSOR}
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
        page = parse_positive(given, "page", 1)
        total = len(self._dataset.account.inbox_ids)
        pages = -(-total // limit)
        pagination = {"total_page": pages, "total_items": total, "current_page": page}
        shown: int | None = page
        if self._endless is not None:
            pagination |= {"total_page": max(pages, page) + 1, "total_items": total + 1}
            shown = page if page <= pages else self._endless.page_shown(page - pages, pages)
        numbers = () if shown is None else range(total)[(shown - 1) * limit : shown * limit]
        inboxes = [self._dataset.inboxes.render(number) for number in numbers]
        return build_page(inboxes, {"metadata": {"pagination": pagination}})

    def _limit(self, given: Mapping[str, str]) -> int:
        most = self._dialect.max_limit
        limit = parse_positive(given, "limit", min(DEFAULT_LIMIT, most))
        if limit > most and self._dialect.over_limit == "reject":
            raise InvalidParameterError("limit", f"limit must not be greater than {most}")
        return min(limit, most)
