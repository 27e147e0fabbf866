"""Walks along page numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from cekat_async._paging.cursor_walk import MOST_IDLE_PAGES, endless_walk_error
from cekat_async._paging.page_errors import malformed_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from cekat_async.errors import CekatError, PaginationError
    from cekat_async.models import MalformedRecord
    from cekat_async.pages import InboxPage

__all__ = ["PageNumberWalk", "walk_inboxes"]


class PageNumberWalk:
    """The state of a walk along page numbers. Request page ``number`` until the walk is ``done``.

    The walk ends when it has reached both of the server's totals: the number of pages *and* the
    number of items. The walk also ends at a page without new inboxes if that is the last page by
    the server's number of pages. One total alone is not enough, because one of the totals is wrong
    in the API's own sample (docs/api.md#inboxes).

    Attributes:
        number: The number of the next page to request, from 1.
        error: The error to raise after the page that :meth:`advance` returned.
    """

    def __init__(self) -> None:
        self.number = 1
        self.done = False
        self.error: PaginationError | None = None
        self._seen: set[str | bytes] = set()
        self._idle = 0

    def advance(self, page: InboxPage) -> InboxPage:
        """Update the state after a page. Return the page without inboxes that were seen before.

        Pages shift when an inbox is added or removed during the walk.
        """
        items = tuple(inbox for inbox in page.items if self._is_new(inbox.id))
        malformed = tuple(one for one in page.malformed_records if self._is_new(one.id or one.raw))
        self.number += 1
        self._idle = 0 if items or malformed else self._idle + 1
        if self._idle >= MOST_IDLE_PAGES and self._claims_more(page):
            self.error = endless_walk_error(
                f"the server counts {page.total_pages:,} pages, but {MOST_IDLE_PAGES} pages in a "
                "row had no new inboxes"
            )
        self.done = self._is_complete(page) or (self._idle > 0 and not self._claims_more(page))
        return msgspec.structs.replace(page, items=items, malformed_records=malformed)

    def _is_new(self, name: str | bytes) -> bool:
        if name in self._seen:
            return False
        self._seen.add(name)
        return True

    def _claims_more(self, page: InboxPage) -> bool:
        """Whether the server's totals show that there are more pages.

        A page without new inboxes is not always the last page. If enough inboxes were added before
        it during the walk, all unseen inboxes have moved to the next page.
        """
        if page.total_pages is None or self.number > page.total_pages:
            return False
        # If all items have been received, an empty page is the last page. In this case, the total
        # number of pages is wrong.
        return not page.is_empty or page.total_items is None or len(self._seen) < page.total_items

    def _is_complete(self, page: InboxPage) -> bool:
        if page.total_pages is None or page.total_items is None:
            return False
        # If more items arrived than the server counts, the number of pages is not trusted either.
        return self.number > page.total_pages and len(self._seen) == page.total_items


async def walk_inboxes(
    fetch: Callable[[int], Awaitable[InboxPage]],
    on_malformed: Callable[[MalformedRecord], object] | None,
    locate: Callable[[CekatError], CekatError],
) -> AsyncGenerator[InboxPage, None]:
    """Yield one page after another, with each inbox only once.

    ``locate`` adds the query to the walk's own errors.
    """
    walk = PageNumberWalk()
    while not walk.done:
        page = walk.advance(await fetch(walk.number))
        error = malformed_error(page, on_malformed) or walk.error
        yield page
        if error is not None:
            raise locate(error)
