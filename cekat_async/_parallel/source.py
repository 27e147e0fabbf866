"""The loop of each walker of a parallel walk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cekat_async._paging.many_inboxes import ListingWalk
from cekat_async._paging.page_errors import cursor_error, malformed_error
from cekat_async._paging.start_search import find_start
from cekat_async.errors import CekatError, PaginationError
from cekat_async.positions import Stage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from cekat_async._paging.page_fetcher import PageFetcher
    from cekat_async._parallel.segment import Segment
    from cekat_async._parallel.walk import ParallelWalk
    from cekat_async.models import MalformedRecord
    from cekat_async.pages import ConversationPage

    Fetcher = PageFetcher[ConversationPage]

__all__ = ["ParallelSource"]


class ParallelSource(ListingWalk["ConversationPage"]):
    """The pages of a parallel walk.

    Args:
        fetcher: Fetches the page after a cursor.
        prober: Fetches fewer records per request, for probes.
        walk: Decides what to fetch next.
        finish: Returns the page to yield for a page of the walk, or ``None`` to yield no page.
        on_malformed: Receives each malformed record. With ``None``, the walk raises an error after
            the first page with a malformed record.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        prober: Fetcher,
        walk: ParallelWalk,
        finish: Callable[[ConversationPage], ConversationPage | None],
        on_malformed: Callable[[MalformedRecord], object] | None,
    ) -> None:
        super().__init__(self._walk_part(None))
        self._fetcher = fetcher
        self._prober = prober
        self._walk = walk
        self._finish = finish
        self._on_malformed = on_malformed

    def split(self) -> AsyncGenerator[ConversationPage, None] | None:
        """Return the pages of another segment, or ``None`` if adding a walker would not pay off."""
        segment = self._walk.split()
        return None if segment is None else self._walk_part(segment)

    def most_left(self) -> float:
        """Return how many pages another walker could share; 0 if adding one would not pay off."""
        return self._walk.most_left()

    def stop(self) -> None:
        """End the walk. All walkers stop at their next page."""
        self._walk.stop()

    async def _walk_part(self, segment: Segment | None) -> AsyncGenerator[ConversationPage, None]:
        if segment is None and (bounds := self._walk.late_bounds) is not None:
            start = await find_start(self._fetcher, bounds)
            if start is not None:
                self._walk.begin_at(start)
        while (segment := self._next(segment)) is not None:
            fetched = await self._fetched(segment)
            if fetched is None:
                continue
            cursor = self._walk.head_cursor
            page, error = self._advance(segment, fetched)
            if page is not None:
                error = malformed_error(page, self._on_malformed) or error
                yield page
            if error is not None:
                raise self._fetcher.locate(error, cursor)

    def _next(self, segment: Segment | None) -> Segment | None:
        try:
            return self._walk.next(segment)
        except PaginationError as error:
            raise self._fetcher.locate(error) from None

    async def _fetched(self, segment: Segment) -> ConversationPage | None:
        fetcher = self._prober if segment.stage is Stage.PROBE else self._fetcher
        try:
            return await fetcher.fetch(segment.walk.cursor)
        except CekatError as error:
            if self._walk.excuses(segment, error):
                return None
            error.cursor = self._walk.head_cursor
            raise

    def _advance(
        self, segment: Segment, fetched: ConversationPage
    ) -> tuple[ConversationPage | None, CekatError | None]:
        """Return the page to yield, and the error to raise after it."""
        error = cursor_error(fetched)
        if error is None:
            page = self._walk.advance(segment, fetched)
            return None if page is None else self._finish(page), segment.error
        if self._walk.excuses(segment, error):
            return None, None
        # The walk does not advance past this page, because it would mistake the missing cursor for
        # the end of the listing.
        error.cursor = self._walk.head_cursor
        return self._finish(fetched), error
