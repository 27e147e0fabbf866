"""The loops of a walk by one walker, and where a walk along page numbers is."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar

import msgspec

from cekat_async._paging.cursor_walk import MOST_IDLE_PAGES, CursorWalk, endless_walk_error
from cekat_async.errors import MalformedRecordError, PaginationError
from cekat_async.pages import record_names
from cekat_async.redaction import quoted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from cekat_async._paging.page_fetcher import PageFetcher
    from cekat_async.errors import CekatError
    from cekat_async.models import MalformedRecord
    from cekat_async.pages import ConversationPage, InboxPage, RawPage

__all__ = [
    "PageWalk",
    "cursor_error",
    "ignore_malformed",
    "malformed_error",
    "page_error",
    "report_malformed",
    "walk_inboxes",
    "walk_pages",
]

P = TypeVar("P", bound="ConversationPage | RawPage")


class PageWalk:
    """Where a walk along page numbers is. Ask with ``number`` until it is ``done``.

    It ends where the server's count of pages *and* its count of items both say so, or at a page
    that brings nothing new and is the last by the server's count of pages. Neither count is enough
    by itself: the API's own sample has a wrong one (API.md).

    Attributes:
        number: The page to request next, from 1.
        error: The error to raise after the page that :meth:`advance` has returned.
    """

    def __init__(self) -> None:
        self.number = 1
        self.done = False
        self.error: PaginationError | None = None
        self._seen: set[str | bytes] = set()
        self._idle = 0

    def advance(self, page: InboxPage) -> InboxPage:
        """Move on after a page, and return it without the inboxes that were there before.

        Page numbers shift when an inbox is added or removed while the walk is under way.
        """
        items = tuple(inbox for inbox in page.items if self._is_new(inbox.id))
        malformed = tuple(one for one in page.malformed_records if self._is_new(one.id or one.raw))
        self.number += 1
        self._idle = 0 if items or malformed else self._idle + 1
        if self._idle >= MOST_IDLE_PAGES and self._claims_more(page):
            self.error = endless_walk_error(
                f"the server counts {page.total_pages:,} pages, but {MOST_IDLE_PAGES} pages in a "
                "row brought nothing new"
            )
        self.done = self._is_complete(page) or (self._idle > 0 and not self._claims_more(page))
        return msgspec.structs.replace(page, items=items, malformed_records=malformed)

    def _is_new(self, name: str | bytes) -> bool:
        if name in self._seen:
            return False
        self._seen.add(name)
        return True

    def _claims_more(self, page: InboxPage) -> bool:
        """Whether the server says that there are more pages.

        A page without anything new need not be the last: enough inboxes may have been added before
        it to move all new ones to the next page.
        """
        if page.total_pages is None or self.number > page.total_pages:
            return False
        # An empty page is the last if all items have been received: then it is the count of pages
        # that is wrong.
        return not page.is_empty or page.total_items is None or len(self._seen) < page.total_items

    def _is_complete(self, page: InboxPage) -> bool:
        if page.total_pages is None or page.total_items is None:
            return False
        # With more items than it counts, the server is wrong about the pages as well.
        return self.number > page.total_pages and len(self._seen) == page.total_items


def malformed_error(
    page: ConversationPage | InboxPage, on_malformed: Callable[[MalformedRecord], object] | None
) -> MalformedRecordError | None:
    """Report a page's malformed records to the caller's function, or return the error to raise."""
    if not page.malformed_records:
        return None
    if on_malformed is not None:
        for record in page.malformed_records:
            on_malformed(record)
        return None
    first, *others = page.malformed_records
    more = f" (and {len(others)} more of this page)" if others else ""
    id_ = None if first.id is None else quoted(first.id)
    return MalformedRecordError(
        f"record {first.index} of the page, id {id_}, is malformed at "
        f"{first.field}: {first.reason}{more}",
        records=page.malformed_records,
        page=page,
    )


def cursor_error(page: ConversationPage | RawPage) -> PaginationError | None:
    """Return the error to raise after a page whose cursor cannot be used."""
    if page.cursor_error is None:
        return None
    # The rest of the body is not the account's data, and may echo the key.
    records = b'{"data":[%s]}' % b",".join(bytes(raw) for raw in page.raw)
    return PaginationError(
        f"the server sent a cursor that cannot be used: {page.cursor_error}. The records of its "
        "page are complete; what comes after them is not known",
        page=msgspec.structs.replace(page, body=records),
    )


def page_error(
    page: ConversationPage, on_malformed: Callable[[MalformedRecord], object] | None
) -> CekatError | None:
    """Return the error to raise after a page, of its malformed records or of its cursor."""
    return malformed_error(page, on_malformed) or cursor_error(page)


def ignore_malformed(_: MalformedRecord) -> None:
    """Ignore a malformed record, because another function reports it later."""


async def report_malformed(
    pages: AsyncGenerator[ConversationPage, None], on_malformed: Callable[[MalformedRecord], object]
) -> AsyncGenerator[ConversationPage, None]:
    """Yield pages that were fetched ahead, and report malformed records with their page."""
    async with aclosing(pages):
        async for page in pages:
            malformed_error(page, on_malformed)
            yield page


async def walk_pages(
    fetcher: PageFetcher[P], get_error: Callable[[P], CekatError | None]
) -> AsyncGenerator[P, None]:
    """Yield page after page, from the cursor of the query.

    ``get_error`` returns the error to raise after a page.
    """
    walk = CursorWalk(fetcher.query.cursor)
    while not walk.done:
        page = await fetcher.fetch(walk.cursor)
        error = get_error(page)
        yield page
        if error is not None:
            raise fetcher.locate(error, walk.cursor)
        try:
            walk.advance(page.next_cursor, record_names(page))
        except PaginationError as endless:
            raise fetcher.locate(endless) from None
        if warning := walk.take_warning():
            fetcher.warn(warning)


async def walk_inboxes(
    fetch: Callable[[int], Awaitable[InboxPage]],
    on_malformed: Callable[[MalformedRecord], object] | None,
    locate: Callable[[CekatError], CekatError],
) -> AsyncGenerator[InboxPage, None]:
    """Yield page after page, each inbox once. ``locate`` completes an error of the walk itself."""
    walk = PageWalk()
    while not walk.done:
        page = walk.advance(await fetch(walk.number))
        error = malformed_error(page, on_malformed) or walk.error
        yield page
        if error is not None:
            raise locate(error)
