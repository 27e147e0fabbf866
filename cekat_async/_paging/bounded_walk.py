"""Walks along cursors, and reads only the pages of a time range."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Generic, TypeVar

from cekat_async._paging.activity_order import get_page_times
from cekat_async._paging.cursor_walk import CursorWalk, advance_walk
from cekat_async._paging.hash_set import HashSet, hash_name
from cekat_async._paging.start_search import find_start
from cekat_async.pages import ConversationPage, RawPage, only, record_names

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from cekat_async._paging.page_fetcher import PageFetcher
    from cekat_async._paging.time_bounds import TimeBounds
    from cekat_async.errors import CekatError
    from cekat_async.positions import Cursor

__all__ = ["walk_range"]

P = TypeVar("P", ConversationPage, RawPage)


async def walk_range(
    fetcher: PageFetcher[P], get_error: Callable[[P], CekatError | None], bounds: TimeBounds
) -> AsyncGenerator[P, None]:
    """Yield one page after another, without the records that are certainly outside a time range.

    If all records of a page are outside the range, the page is not yielded. ``get_error`` returns
    the error to raise after a page, or ``None``.
    """
    reader = _RangeReader(fetcher, bounds)
    walk = CursorWalk(await reader.begin())
    while not walk.done:
        page = await fetcher.fetch(walk.cursor)
        part = reader.reduce(page, walk.cursor)
        if part is None:
            walk = CursorWalk(fetcher.query.cursor)
            continue
        error = get_error(part)
        if part.raw or not page.raw:
            yield part
        if error is not None:
            raise fetcher.locate(error, walk.cursor)
        if reader.is_done:
            return
        advance_walk(walk, fetcher, page)


class _RangeReader(Generic[P]):
    """Removes records that are certainly outside a time range from the pages of a walk.

    Attributes:
        is_done: True if no record after the latest page is in the range.
    """

    def __init__(self, fetcher: PageFetcher[P], bounds: TimeBounds) -> None:
        self._fetcher: PageFetcher[P] = fetcher
        self._bounds = bounds
        self.is_done = False
        # Names are needed only if the walk may start again. Only a walk with `until` may start
        # again.
        self._seen = HashSet() if isfinite(bounds.until) else None

    async def begin(self) -> Cursor | None:
        """Return the cursor at which the walk begins, or ``None`` for the front of the listing."""
        if (given := self._fetcher.query.cursor) is not None:
            self._warn(self._bounds.begin_at(given))
            return given
        if not isfinite(self._bounds.until):
            return None
        return await find_start(self._fetcher, self._bounds)

    def reduce(self, page: P, before: Cursor | None) -> P | None:
        """Return the wanted part of a page, or ``None`` if the walk has to start again."""
        times = get_page_times(page, before)
        if warning := self._bounds.note(times):
            self._warn(warning)
            if self._bounds.has_skipped:
                return None
        self.is_done = self._bounds.ends_after(times)
        wanted = self._bounds.select(times)
        if self._seen is not None:
            seen = self._seen
            wanted = [
                is_wanted and seen.add(hash_name(name))
                for is_wanted, name in zip(wanted, record_names(page), strict=True)
            ]
        return only(page, wanted)

    def _warn(self, warning: str | None) -> None:
        if warning:
            self._fetcher.warn(warning)
