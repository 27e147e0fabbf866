"""Walks: where one stands, when it is over, and the async loop that drives it.

The states are pure and know no network; the drivers beside them await a ``fetch`` they are given.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar

import msgspec

from cekat_async.errors import OddRecordError, PaginationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from cekat_async.errors import CekatError
    from cekat_async.models import (
        Conversation,
        ConversationPage,
        Cursor,
        Inbox,
        InboxPage,
        OddRecord,
        Page,
        RawPage,
    )

__all__ = [
    "CursorWalk",
    "PageWalk",
    "cursor_error",
    "items_of",
    "let_pass",
    "odd_record_error",
    "page_error",
    "told_in_time",
    "told_later",
    "walk_inboxes",
    "walk_pages",
]

R = TypeVar("R", "Conversation", "Inbox")
P = TypeVar("P", bound="ConversationPage | RawPage")


class CursorWalk:
    """Where a walk along cursors stands. Ask with ``cursor`` until it is ``done``."""

    def __init__(self, start: Cursor | None = None) -> None:
        self.cursor = start
        self.done = False
        # 64-bit hashes instead of the strings: a walk of ten million conversations remembers its
        # 100,000 cursors in some 8 MB, and two of them collide once in 3 billion such walks.
        self._seen = {hash(start)}

    def is_new(self, cursor: Cursor) -> bool:
        """Whether the walk has not come by a cursor yet."""
        return hash(cursor) not in self._seen

    def advance(self, next_cursor: Cursor | None, *, page_is_empty: bool) -> None:
        """Move on behind a page.

        An empty page that repeats the cursor it was asked with is the end: there is nothing
        behind it, whoever asks again.

        Raises:
            PaginationError: The cursor was there before, at any distance.
        """
        if next_cursor is None or (page_is_empty and next_cursor == self.cursor):
            self.done = True
            return
        if not self.is_new(next_cursor):
            raise _repeated(next_cursor)
        self._seen.add(hash(next_cursor))
        self.cursor = next_cursor


def _repeated(cursor: Cursor) -> PaginationError:
    error = PaginationError(
        f"the server sent a cursor for the second time ({cursor.cursor_ts}, {cursor.cursor_id}): "
        "the walk would never end"
    )
    error.cursor = cursor
    return error


_STALE_PAGES = 10


class PageWalk:
    """Where a walk along page numbers stands. Ask with ``number`` until it is ``done``.

    It ends at an empty page, where pages bring nothing new, or where the server's count of pages
    *and* its count of items both say so: of the two, the API's own sample has one wrong (API.md).
    """

    def __init__(self) -> None:
        self.number = 1
        self.done = False
        self._seen: set[str | bytes] = set()
        self._stale = 0

    def advance(self, page: InboxPage) -> InboxPage:
        """Move on behind a page, and return it without the inboxes that were there before.

        Page numbers shift when an inbox is added or removed while the walk is under way.
        """
        fresh = tuple(inbox for inbox in page.items if self._is_new(inbox.id))
        fresh_odd = tuple(odd for odd in page.odd_records if self._is_new(odd.id or odd.raw))
        self.number += 1
        self._stale = 0 if fresh or fresh_odd else self._stale + 1
        self.done = self._is_complete(page) or self._leads_nowhere(page)
        return msgspec.structs.replace(page, items=fresh, odd_records=fresh_odd)

    def _is_new(self, name: str | bytes) -> bool:
        if name in self._seen:
            return False
        self._seen.add(name)
        return True

    def _leads_nowhere(self, page: InboxPage) -> bool:
        if not self._stale:
            return False
        # Nothing new on a page may also mean that so many inboxes came before it meanwhile: where
        # the server counts more pages it is worth going on, but not for ever.
        is_last = page.total_pages is None or self.number > page.total_pages
        return page.is_empty or is_last or self._stale >= _STALE_PAGES

    def _is_complete(self, page: InboxPage) -> bool:
        if page.total_pages is None or page.total_items is None:
            return False
        # With more items than it counts, the server is wrong about the pages as well.
        return self.number > page.total_pages and len(self._seen) == page.total_items


def odd_record_error(
    page: ConversationPage | InboxPage, on_odd_record: Callable[[OddRecord], object] | None
) -> OddRecordError | None:
    """Hand a page's odd records to the caller's function, or return the error to raise."""
    if not page.odd_records:
        return None
    if on_odd_record is not None:
        for record in page.odd_records:
            on_odd_record(record)
        return None
    first, *others = page.odd_records
    more = f" (and {len(others)} more of this page)" if others else ""
    return OddRecordError(
        f"record {first.index} of the page, id {first.id}, is odd at {first.field}: "
        f"{first.reason}{more}",
        records=page.odd_records,
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
    page: ConversationPage, on_odd_record: Callable[[OddRecord], object] | None
) -> CekatError | None:
    """Return the error to raise after a page; hand its odd records to the caller's function."""
    return odd_record_error(page, on_odd_record) or cursor_error(page)


def told_later(
    on_odd_record: Callable[[OddRecord], object] | None,
) -> Callable[[OddRecord], object] | None:
    """Return what a walk ahead of its caller does with odd records: see :func:`told_in_time`.

    Where nobody wants to be told of them, they end the walk, there as elsewhere.
    """
    return None if on_odd_record is None else let_pass


def let_pass(_: OddRecord) -> None:
    """Take no notice of an odd record yet."""


def told_in_time(
    pages: AsyncGenerator[ConversationPage, None],
    on_odd_record: Callable[[OddRecord], object] | None,
) -> AsyncGenerator[ConversationPage, None]:
    """Yield pages that were walked ahead, and tell of odd records when the caller gets theirs."""
    return pages if on_odd_record is None else _told(pages, on_odd_record)


async def _told(
    pages: AsyncGenerator[ConversationPage, None], on_odd_record: Callable[[OddRecord], object]
) -> AsyncGenerator[ConversationPage, None]:
    async with aclosing(pages):
        async for page in pages:
            odd_record_error(page, on_odd_record)
            yield page


def _as_it_is(error: CekatError) -> CekatError:
    return error


async def walk_pages(
    fetch: Callable[[Cursor | None], Awaitable[P]],
    walk: CursorWalk,
    error_of: Callable[[P], CekatError | None],
    label: Callable[[CekatError], CekatError] = _as_it_is,
) -> AsyncGenerator[P, None]:
    """Yield page after page. An error surfaces behind the pages and records that came before it.

    Args:
        fetch: Returns the page behind a cursor.
        walk: Where to begin, and what has come.
        error_of: Says what is to be raised behind a page.
        label: Writes on the walk's own errors which request they are about.
    """
    while not walk.done:
        page = await fetch(walk.cursor)
        error = error_of(page)
        yield page
        if error is not None:
            error.cursor = walk.cursor
            raise label(error)
        try:
            walk.advance(page.next_cursor, page_is_empty=page.is_empty)
        except PaginationError as repeated:
            raise label(repeated) from None


async def walk_inboxes(
    fetch: Callable[[int], Awaitable[InboxPage]],
    on_odd_record: Callable[[OddRecord], object] | None,
    label: Callable[[CekatError], CekatError] = _as_it_is,
) -> AsyncGenerator[InboxPage, None]:
    """Yield page after page, each inbox once; ``label`` as for conversations."""
    walk = PageWalk()
    while not walk.done:
        page = walk.advance(await fetch(walk.number))
        error = odd_record_error(page, on_odd_record)
        yield page
        if error is not None:
            raise label(error)


async def items_of(pages: AsyncGenerator[Page[R], None]) -> AsyncGenerator[R, None]:
    """Yield record after record of some pages, and close them when it is closed."""
    async with aclosing(pages):
        async for page in pages:
            for item in page.items:
                yield item
