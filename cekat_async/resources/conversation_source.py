"""Reads the pages of conversations: decoded, raw or tracked, with one walker or several."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

from cekat_async._api.decoding import decode_raw_page
from cekat_async._paging.bounded_walk import walk_range
from cekat_async._paging.cursor_walk import walk_pages
from cekat_async._paging.many_inboxes import ListingWalk, ManyInboxes
from cekat_async._paging.page_errors import (
    cursor_error,
    ignore_malformed,
    page_error,
    report_malformed,
)
from cekat_async._paging.page_fetcher import PageFetcher
from cekat_async._paging.prefetch import prefetched
from cekat_async._paging.time_bounds import TimeBounds
from cekat_async._parallel.deduplication import EachOnce
from cekat_async._parallel.source import ParallelSource
from cekat_async._parallel.walk import ParallelWalk
from cekat_async.config import require_inbox_id
from cekat_async.errors import ConfigurationError
from cekat_async.models import Conversation
from cekat_async.pages import ConversationPage, RawPage
from cekat_async.positions import Position
from cekat_async.resources.listing import K, Source
from cekat_async.resources.time_range import TimeRange

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from cekat_async._api.replies import Reply
    from cekat_async._paging.page_fetcher import ListQuery
    from cekat_async._paging.prefetch import BoundedQueue
    from cekat_async._request.pipeline import Pipeline
    from cekat_async.errors import CekatError
    from cekat_async.models import MalformedRecord
    from cekat_async.models.steps import Steps
    from cekat_async.resources.inbox_selection import ManyInboxIds, OneListing
    from cekat_async.resources.time_range import ResolvedRange

__all__ = ["ConversationSource", "Walkers"]

P = TypeVar("P", ConversationPage, RawPage)

# A few conversations may have a time in the future, and are then always the newest. A probe must
# read more conversations than these few, but fewer than a page has.
_PAGES_PER_PROBE = 10


class Walkers(NamedTuple):
    """The number of walkers that read the listings, and how far ahead they read.

    Attributes:
        at_once: The number of walkers.
        segments: The number of walkers that may read the same listing.
        ahead: The number of pages that the walkers may prefetch.
        keep_going: True to read the other listings to their end if one fails.
    """

    at_once: int
    segments: int
    ahead: int
    keep_going: bool = False


class ConversationSource(Source["ConversationPage"]):
    """The pages of the selected listings, within a time range.

    ``on_malformed`` receives each malformed record when the caller gets its page.
    """

    record_type = Conversation

    def __init__(
        self,
        pipeline: Pipeline,
        query: ListQuery,
        decode: Callable[[Reply], Steps[ConversationPage]],
        selection: OneListing | ManyInboxIds,
        walkers: Walkers,
        on_malformed: Callable[[MalformedRecord], object] | None,
        time_range: TimeRange = TimeRange(),  # noqa: B008 - it cannot be changed
    ) -> None:
        self._pipeline = pipeline
        self._query = query
        self._decode = decode
        self._selection = selection
        self._walkers = walkers
        self._on_malformed = on_malformed
        self._range = time_range
        # Walkers prefetch, so they leave malformed records to `_report`.
        self._on_malformed_ahead = None if on_malformed is None else ignore_malformed

    def pages(self) -> AsyncGenerator[ConversationPage, None]:
        """Return all pages. Some are prefetched."""
        return self._walk_decoded(self._walkers)

    def pages_on_demand(self) -> AsyncGenerator[ConversationPage, None]:
        """Return the pages in order, without prefetching."""
        return self._walk_decoded(self._walkers._replace(at_once=1, segments=1, ahead=0))

    def raw_pages(self) -> AsyncGenerator[RawPage, None]:
        """Return all pages undecoded."""
        if self._walkers.segments > 1:
            raise ConfigurationError(
                "raw_pages() does not work with segments, because they need decoded pages: leave "
                "out segments, or use pages() and page.raw"
            )

        resolved = self._range.resolve()

        def walk_raw(inbox_id: str | None) -> ListingWalk[RawPage]:
            fetcher = self._fetcher(inbox_id, decode_raw_page)
            return _walk_serially(fetcher, cursor_error, resolved)

        return self._stream(walk_raw, self._walkers)

    def tracked_pages(
        self, positions: Mapping[K, Position]
    ) -> AsyncGenerator[ConversationPage, None]:
        """Return pages with resume positions."""
        if self._query.cursor is not None:
            raise ConfigurationError("tracked_pages() begins at positions: leave out cursor")
        known = _require_positions(positions, self._selection)
        resolved = self._range.resolve()

        def walk_tracked(inbox_id: str | None) -> ListingWalk[ConversationPage]:
            fetcher = self._fetcher(inbox_id, self._decode)
            position = known.get(inbox_id, Position())
            bounds = _build_bounds(resolved)
            walk = ParallelWalk(position, self._walkers.segments, fetcher.warn, bounds=bounds)
            return self._share(walk, fetcher, walk.tracked)

        return self._report(self._stream(walk_tracked, self._walkers))

    def __repr__(self) -> str:
        return f"{self._query!r}{self._selection}{self._range}"

    def _walk_decoded(self, walkers: Walkers) -> AsyncGenerator[ConversationPage, None]:
        walk_inbox = partial(self._walk_inbox, walkers.segments, self._range.resolve())
        return self._report(self._stream(walk_inbox, walkers))

    def _report(
        self, pages: AsyncGenerator[ConversationPage, None]
    ) -> AsyncGenerator[ConversationPage, None]:
        return pages if self._on_malformed is None else report_malformed(pages, self._on_malformed)

    def _stream(
        self, walk_inbox: Callable[[str | None], ListingWalk[P]], walkers: Walkers
    ) -> AsyncGenerator[P, None]:
        async def walk_all(queue: BoundedQueue[P]) -> None:
            inboxes = ManyInboxes(queue, walk_inbox, walkers.at_once, keep_going=walkers.keep_going)
            await inboxes.walk(self._selection.ids())

        return prefetched(walk_all, walkers.ahead)

    def _walk_inbox(
        self, segments: int, resolved: ResolvedRange, inbox_id: str | None
    ) -> ListingWalk[ConversationPage]:
        fetcher = self._fetcher(inbox_id, self._decode)
        if segments == 1:
            get_error = partial(page_error, on_malformed=self._on_malformed_ahead)
            return _walk_serially(fetcher, get_error, resolved)
        bounds = _build_bounds(resolved)
        walk = ParallelWalk(Position(), segments, fetcher.warn, self._query.cursor, bounds)
        return self._share(walk, fetcher, EachOnce(walk).reduce)

    def _share(
        self,
        walk: ParallelWalk,
        fetcher: PageFetcher[ConversationPage],
        finish: Callable[[ConversationPage], ConversationPage | None],
    ) -> ListingWalk[ConversationPage]:
        probe_size = -(-self._query.page_size // _PAGES_PER_PROBE)
        probing = msgspec.structs.replace(fetcher.query, page_size=probe_size)
        prober = PageFetcher(self._pipeline, probing, self._decode)
        return ParallelSource(fetcher, prober, walk, finish, self._on_malformed_ahead)

    def _fetcher(self, inbox_id: str | None, decode: Callable[[Reply], Steps[P]]) -> PageFetcher[P]:
        query = msgspec.structs.replace(self._query, inbox_id=inbox_id)
        return PageFetcher(self._pipeline, query, decode)


def _walk_serially(
    fetcher: PageFetcher[P], get_error: Callable[[P], CekatError | None], resolved: ResolvedRange
) -> ListingWalk[P]:
    bounds = _build_bounds(resolved)
    if bounds is None:
        return ListingWalk(walk_pages(fetcher, get_error))
    return ListingWalk(walk_range(fetcher, get_error, bounds))


def _build_bounds(resolved: ResolvedRange) -> TimeBounds | None:
    """Return new bounds for the walk of one listing, or ``None`` if both ends are open."""
    since, until = resolved
    if since is None and until is None:
        return None
    return TimeBounds(since, until)


def _require_positions(
    positions: Mapping[K, Position], selection: OneListing | ManyInboxIds
) -> dict[str | None, Position]:
    """Return the positions by inbox id, with each id as text."""
    checked: dict[str | None, Position] = {}
    for key, position in positions.items():
        inbox_id = None if key is None else require_inbox_id("each inbox of positions", key)
        if inbox_id in checked:
            raise ConfigurationError(f"positions names inbox {inbox_id} twice: leave one out")
        if not isinstance(position, Position):
            raise ConfigurationError(
                f"positions must have a Position for each inbox, not {position!r}"
            )
        selection.require_key(inbox_id)
        checked[inbox_id] = position
    return checked
