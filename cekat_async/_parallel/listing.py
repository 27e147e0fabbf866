"""Listings that are walked by one walker, or by several at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cekat_async._paging.page_walk import cursor_error, malformed_error
from cekat_async.errors import CekatError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from cekat_async._parallel.segment import Segment
    from cekat_async._parallel.walk import SegmentedWalk
    from cekat_async.models import MalformedRecord
    from cekat_async.pages import ConversationPage
    from cekat_async.positions import Cursor

    Fetch = Callable[[Cursor | None], Awaitable[ConversationPage]]

__all__ = ["InSegments", "Listing", "Serially"]


class Listing(Protocol):
    """What can be walked. Whoever walks a part of it yields that part's pages."""

    def begin(self) -> AsyncGenerator[ConversationPage, None]:
        """Return the first part: all of it, as long as nobody takes another."""
        ...

    def most_left(self) -> float:
        """Return how many pages another walker would take a part of; 0 if it is not worth it."""
        ...

    def split(self) -> AsyncGenerator[ConversationPage, None] | None:
        """Return a part for another walker, if it is worth it."""
        ...

    def stop(self) -> None:
        """Let all parts end at their next page."""
        ...


class Serially:
    """A listing that has one part."""

    def __init__(self, pages: AsyncGenerator[ConversationPage, None]) -> None:
        self._pages = pages

    def begin(self) -> AsyncGenerator[ConversationPage, None]:
        """Return all of it."""
        return self._pages

    def most_left(self) -> float:
        """Return that nothing is left for others."""
        return 0

    def split(self) -> None:
        """Return no other part."""

    def stop(self) -> None:
        """Do nothing: there is no other part to be stopped."""


class InSegments:
    """A listing that is walked in segments.

    Args:
        fetch: Returns the page behind a cursor.
        probe: Does so with a few conversations.
        walk: Says what to fetch next.
        on_malformed: As for a single walk.
        label: Writes on the walk's own errors which request they are about.
    """

    def __init__(
        self,
        fetch: Fetch,
        probe: Fetch,
        walk: SegmentedWalk,
        on_malformed: Callable[[MalformedRecord], object] | None,
        label: Callable[[CekatError], CekatError],
    ) -> None:
        self._fetch = fetch
        self._probe = probe
        self._walk = walk
        self._on_odd_record = on_malformed
        self._label = label

    def begin(self) -> AsyncGenerator[ConversationPage, None]:
        """Return the pages from the front on, up to the next part."""
        return self._pages(self._walk.begin())

    def split(self) -> AsyncGenerator[ConversationPage, None] | None:
        """Return the pages of another part."""
        segment = self._walk.split()
        return None if segment is None else self._pages(segment)

    def most_left(self) -> float:
        """Return how many pages another part would be taken from."""
        return self._walk.most_left()

    def stop(self) -> None:
        """Let all segments end at their next page."""
        self._walk.stop()

    async def _pages(self, segment: Segment | None) -> AsyncGenerator[ConversationPage, None]:
        while segment is not None:
            if segment.is_over:
                segment = self._walk.follow_up()
                continue
            fetched = await self._fetched(segment)
            cursor = self._walk.head_cursor
            page = None if fetched is None else self._walk.advance(segment, fetched)
            if page is not None:
                error = malformed_error(page, self._on_odd_record)
                yield page
                if error is not None:
                    error.cursor = cursor
                    raise self._label(error)
            if segment.error is not None:
                raise self._label(segment.error)

    async def _fetched(self, segment: Segment) -> ConversationPage | None:
        fetch = self._probe if segment.is_probe else self._fetch
        try:
            return _usable(await fetch(segment.walk.cursor))
        except CekatError as error:
            if self._walk.excuses(segment, error):
                return None
            error.cursor = self._walk.head_cursor
            raise


def _usable(page: ConversationPage) -> ConversationPage:
    # Before the walk moves: it would take a page without a cursor for the end of the listing.
    if (error := cursor_error(page)) is not None:
        raise error
    return page
