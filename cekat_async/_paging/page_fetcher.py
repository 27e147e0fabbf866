"""One page of a query, fetched; and errors and warnings that say which query they are about."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from cekat_async.errors import CekatError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cekat_async._api.replies import Reply
    from cekat_async._paging.list_query import ListQuery
    from cekat_async._request.pipeline import Pipeline
    from cekat_async.models.steps import Steps
    from cekat_async.pages import ConversationPage, RawPage
    from cekat_async.positions import Cursor

__all__ = ["PageFetcher"]

P = TypeVar("P", bound="ConversationPage | RawPage")

_log = logging.getLogger("cekat_async")


class PageFetcher(Generic[P]):
    """Fetches the pages of one query.

    Args:
        pipeline: Sends the requests.
        query: What to ask for.
        decode: Decodes a reply to a page, in steps.
    """

    def __init__(
        self, pipeline: Pipeline, query: ListQuery, decode: Callable[[Reply], Steps[P]]
    ) -> None:
        self.query = query
        self._pipeline = pipeline
        self._decode = decode

    async def fetch(self, cursor: Cursor | None) -> P:
        """Return the page at a cursor; ``None`` is the front."""
        inbox_id = self.query.inbox_id
        try:
            page = await self._pipeline.fetch(self.query.request(cursor), self._decode)
        except CekatError as error:
            error.locate(cursor=cursor, inbox_id=inbox_id)
            raise
        return page if inbox_id is None else msgspec.structs.replace(page, inbox_id=inbox_id)

    def locate(self, error: CekatError, cursor: Cursor | None = None) -> CekatError:
        """Record on an error of the walk where it happened, redact it, and return it.

        Args:
            error: An error that no request raised: about a page that has arrived.
            cursor: The cursor of that page.
        """
        error.attempts = max(error.attempts, 1)
        error.locate(path=self.query.path, cursor=cursor, inbox_id=self.query.inbox_id)
        return self._pipeline.redact(error)

    def warn(self, text: str) -> None:
        """Log a warning about the listing."""
        _log.warning("%s: %s", self.query, text)
