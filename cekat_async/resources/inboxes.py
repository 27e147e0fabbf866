"""The inboxes of an account, whose listing counts pages instead of handing out cursors."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from cekat_async._api.decoding import decode_inbox_page
from cekat_async._api.requests import Request, encode_query
from cekat_async._paging.page_walk import iter_items, malformed_error, walk_inboxes
from cekat_async.config import require_count

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from cekat_async._request.pipeline import Pipeline
    from cekat_async.models import Inbox, MalformedRecord
    from cekat_async.pages import InboxPage

__all__ = ["Inboxes"]

_PATH = "/api/inboxes"


class Inboxes:
    """``GET /api/inboxes`` (API.md). Reached as ``client.inboxes``."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._label = partial(pipeline.labelled, path=_PATH)

    async def page(
        self,
        *,
        page: int = 1,
        limit: int = 100,
        on_malformed: Callable[[MalformedRecord], object] | None = None,
    ) -> InboxPage:
        """Return one page, with one request (and its retries).

        Args:
            page: Its number, from 1.
            limit: Results per page.
            on_malformed: As for conversations; without it an odd record raises.

        Raises:
            ConfigurationError: ``page`` or ``limit`` is not a whole number above 0.
            CekatError: The request failed.
        """
        found = await self._fetch(require_count("limit", limit), require_count("page", page))
        if error := malformed_error(found, on_malformed):
            raise self._label(error)
        return found

    def pages(
        self, *, limit: int = 100, on_malformed: Callable[[MalformedRecord], object] | None = None
    ) -> AsyncGenerator[InboxPage, None]:
        """Yield page after page until the server has no more, each inbox once.

        Raises:
            ConfigurationError: ``limit`` is not a whole number above 0.
            CekatError: A request failed.
        """
        fetch = partial(self._fetch, require_count("limit", limit))
        return walk_inboxes(fetch, on_malformed, self._label)

    def list(
        self, *, limit: int = 100, on_malformed: Callable[[MalformedRecord], object] | None = None
    ) -> AsyncGenerator[Inbox, None]:
        """Yield each inbox of the account once.

        Raises:
            ConfigurationError: ``limit`` is not a whole number above 0.
            CekatError: A request failed.
        """
        return iter_items(self.pages(limit=limit, on_malformed=on_malformed))

    async def _fetch(self, limit: int, number: int) -> InboxPage:
        request = Request(_PATH, encode_query(("page", str(number)), ("limit", str(limit))))
        return await self._pipeline.fetch(request, partial(decode_inbox_page, number=number))
