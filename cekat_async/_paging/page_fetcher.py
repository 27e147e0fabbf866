"""Holds the query of a listing, and sends the requests for its pages."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from cekat_async._api.requests import Request, encode_query
from cekat_async._paging.cursor_walk import LONGEST_CURSOR
from cekat_async.config import require_count, require_text
from cekat_async.errors import CekatError, ConfigurationError
from cekat_async.positions import Cursor

if TYPE_CHECKING:
    from collections.abc import Callable

    from cekat_async._api.replies import Reply
    from cekat_async._request.pipeline import Pipeline
    from cekat_async.models.steps import Steps
    from cekat_async.pages import ConversationPage, InboxPage, RawPage

__all__ = ["ListQuery", "PageFetcher"]

P = TypeVar("P", bound="ConversationPage | RawPage | InboxPage")

_log = logging.getLogger("cekat_async")


class ListQuery(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The endpoint, filters and page size of a listing.

    Attributes:
        path: The path of the endpoint.
        page_size: The number of records per request, which the API calls ``limit``.
        inbox_id: The ID of the listing's only inbox; ``None`` for all inboxes.
        filters: The other filters, as pairs of a parameter name and a value.
        cursor: The cursor at which the listing begins; ``None`` for its front.

    Raises:
        ConfigurationError: The page size or the cursor is invalid.
    """

    path: str
    page_size: int
    inbox_id: str | None = None
    filters: tuple[tuple[str, str], ...] = ()
    cursor: Cursor | None = None

    def __post_init__(self) -> None:
        require_count("page_size", self.page_size)
        if self.cursor is None:
            return
        if not isinstance(self.cursor, Cursor):
            raise ConfigurationError(f"cursor must be a Cursor or None, not {self.cursor!r}")
        for name, text in msgspec.to_builtins(self.cursor).items():
            if len(require_text(f"cursor.{name}", text)) > LONGEST_CURSOR:
                raise ConfigurationError(
                    f"cursor.{name} has {len(text):,} characters, but a URL can contain at most "
                    f"{LONGEST_CURSOR:,}: pass the cursor of a page"
                )

    def request(self, position: Cursor | int | None) -> Request:
        """Return the request for a page. ``None`` means the front of the listing."""
        pairs = [("limit", str(self.page_size)), *self.filters]
        if self.inbox_id is not None:
            pairs.append(("inbox_id", self.inbox_id))
        if isinstance(position, Cursor):
            pairs += [("cursor_id", position.cursor_id), ("cursor_ts", position.cursor_ts)]
        elif position is not None:
            pairs.append(("page", str(position)))
        return Request(self.path, encode_query(*pairs))

    def __str__(self) -> str:
        """Describe the query without its cursor, because a cursor contains a conversation's id."""
        asked = {"page_size": self.page_size, "inbox_id": self.inbox_id, **dict(self.filters)}
        shown = [f"{name}={value!r}" for name, value in asked.items() if value is not None]
        return f"{self.path} ({', '.join(shown)})"


class PageFetcher(Generic[P]):
    """Fetches the pages of one query. Its errors and warnings name the query."""

    def __init__(
        self, pipeline: Pipeline, query: ListQuery, decode: Callable[[Reply], Steps[P]]
    ) -> None:
        self.query = query
        self._pipeline = pipeline
        self._decode = decode
        self._kept: dict[Cursor | int | None, P] = {}

    def keep(self, position: Cursor | int | None, page: P) -> None:
        """Keep a fetched page. The next :meth:`fetch` of this position returns it."""
        self._kept[position] = page

    async def fetch(self, position: Cursor | int | None) -> P:
        """Return the page at a cursor or with a number. ``None`` means the front of the listing."""
        if position in self._kept:
            return self._kept.pop(position)
        inbox_id = self.query.inbox_id
        try:
            request = self.query.request(position)
            page, details = await self._pipeline.fetch_with_details(request, self._decode, inbox_id)
        except CekatError as error:
            cursor = position if isinstance(position, Cursor) else None
            error.locate(cursor=cursor, inbox_id=inbox_id)
            raise
        if inbox_id is None:  # a page of inboxes has no such id
            return msgspec.structs.replace(page, response=details)
        return msgspec.structs.replace(page, response=details, inbox_id=inbox_id)

    def locate(self, error: CekatError, cursor: Cursor | None = None) -> CekatError:
        """Add the query to an error about a received page, and return the error."""
        error.locate(path=self.query.path, cursor=cursor, inbox_id=self.query.inbox_id)
        return self._pipeline.redact(error)

    def warn(self, text: str) -> None:
        """Log a warning about the listing."""
        _log.warning("%s: %s", self.query, text)
