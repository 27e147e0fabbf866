"""The resource ``client.inboxes``. Its listing uses page numbers instead of cursors."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from cekat_async._api.decoding import InboxPageDecoder
from cekat_async._paging.page_errors import malformed_error
from cekat_async._paging.page_fetcher import ListQuery, PageFetcher
from cekat_async._paging.page_number_walk import walk_inboxes
from cekat_async.config import require_count
from cekat_async.models import Inbox
from cekat_async.resources.listing import Listing, Source, takes_page_size

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from cekat_async._request.pipeline import Pipeline
    from cekat_async.models import MalformedRecord
    from cekat_async.pages import InboxPage

__all__ = ["Inboxes"]

_PATH = "/api/inboxes"


class Inboxes:
    """The inboxes of the account (``GET /api/inboxes``), as ``client.inboxes``."""

    def __init__(self, pipeline: Pipeline, decoder: InboxPageDecoder | None = None) -> None:
        self._pipeline = pipeline
        self._decoder = decoder or InboxPageDecoder()

    async def page(
        self,
        *,
        page: int = 1,
        limit: int = 100,
        on_malformed: Callable[[MalformedRecord], object] | None = None,
    ) -> InboxPage:
        """Return one page of inboxes, with one request and its retries.

        Args:
            page: The number of the page, from 1. Default 1.
            limit: The most records on the page. Default 100.
            on_malformed: A function that receives each malformed record of the page. Without this
                function, a malformed record raises a :class:`~cekat_async.MalformedRecordError`.

        Raises:
            ConfigurationError: ``page`` or ``limit`` is not a whole number above 0.
            MalformedRecordError: A record is malformed. The error's ``page`` has the other records.
            CekatError: The request failed.

        Examples:
            >>> page = await cekat.inboxes.page(limit=5)
            >>> len(page), page.total_items
            (5, 8)
        """
        query = ListQuery(path=_PATH, page_size=require_count("limit", limit))
        source = _InboxSource(self._pipeline, query, self._decoder, on_malformed)
        return await source.page(require_count("page", page))

    @takes_page_size
    def list(
        self,
        *,
        page_size: int = 100,
        on_malformed: Callable[[MalformedRecord], object] | None = None,
    ) -> Listing[Inbox, InboxPage]:
        """Return a listing that yields each inbox once. It sends no request until you read it.

        Args:
            page_size: The number of records per request. Default 100.
            on_malformed: A function that receives each malformed record when the caller gets its
                page. Without this function, a malformed record raises a
                :class:`~cekat_async.MalformedRecordError` after the other records of its page.

        Raises:
            ConfigurationError: ``page_size`` is not a whole number above 0.

        Examples:
            >>> inboxes = await cekat.inboxes.list().collect()
            >>> len(inboxes)
            8
        """
        query = ListQuery(path=_PATH, page_size=page_size)

        def build_source(pipeline: Pipeline) -> _InboxSource:
            return _InboxSource(pipeline, query, self._decoder, on_malformed)

        return Listing(self._pipeline, _PATH, build_source)


class _InboxSource(Source["InboxPage"]):
    record_type = Inbox

    def __init__(
        self,
        pipeline: Pipeline,
        query: ListQuery,
        decoder: InboxPageDecoder,
        on_malformed: Callable[[MalformedRecord], object] | None,
    ) -> None:
        self._pipeline = pipeline
        self._query = query
        self._decoder = decoder
        self._on_malformed = on_malformed

    async def page(self, number: int) -> InboxPage:
        page = await self._fetch(number)
        if error := malformed_error(page, self._on_malformed):
            raise self._fetcher(number).locate(error)
        return page

    def pages(self) -> AsyncGenerator[InboxPage, None]:
        return walk_inboxes(self._fetch, self._on_malformed, self._fetcher(1).locate)

    def __repr__(self) -> str:
        return repr(self._query)

    async def _fetch(self, number: int) -> InboxPage:
        return await self._fetcher(number).fetch(number)

    def _fetcher(self, number: int) -> PageFetcher[InboxPage]:
        decode = partial(self._decoder.decode, number=number)
        return PageFetcher(self._pipeline, self._query, decode)
