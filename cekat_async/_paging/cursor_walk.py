"""Walks along cursors, and checks that the walk makes progress."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from cekat_async._paging.constructed_cursors import parse_cursor_ts, to_microseconds
from cekat_async._paging.hash_set import HashSet
from cekat_async.errors import PaginationError
from cekat_async.pages import record_names
from cekat_async.redaction import quoted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from cekat_async._paging.page_fetcher import PageFetcher
    from cekat_async.errors import CekatError
    from cekat_async.pages import ConversationPage, RawPage
    from cekat_async.positions import Cursor

__all__ = [
    "LONGEST_CURSOR",
    "MOST_IDLE_PAGES",
    "CursorWalk",
    "advance_walk",
    "endless_walk_error",
    "walk_pages",
]

P = TypeVar("P", bound="ConversationPage | RawPage")

# A walk ends with an error after this many consecutive pages without progress.
MOST_IDLE_PAGES = 50
# If the rest of a sparse listing may take more requests than this, the client logs a warning.
_MANY_REQUESTS = 100_000
# Servers and proxies accept URLs of about 8,000 characters, and percent-encoding makes some
# characters three times as long.
LONGEST_CURSOR = 4_096


class CursorWalk:
    """The state of a walk along cursors. Request the page at ``cursor`` until the walk is ``done``.

    The walk ends at the page that the server marks as the last. It ends with an error if a cursor
    is repeated, if the same pages are repeated, or if many empty pages do not advance through the
    listing.

    Args:
        start: The cursor at which the walk begins; ``None`` for the front of the listing.
    """

    def __init__(self, start: Cursor | None = None) -> None:
        self.cursor = start
        self.done = False
        # A walk of ten million conversations remembers 100,000 cursors and 100,000 pages, in about
        # 1.5 MB. The chance that two cursors of such a walk have the same hash is 1 in 3 billion.
        # Hashes of pages are shorter, because one page that seems to be repeated is not an error.
        self._cursors = HashSet()
        self._cursors.add(hash(start))
        self._pages = HashSet(width=4)
        self._repeated_pages = 0  # in a row
        self._empty_pages = _EmptyPages()

    def advance(self, next_cursor: Cursor | None, names: Sequence[str | bytes]) -> None:
        """Update the state after a page.

        An empty page is the end of the listing if it contains the cursor with which it was
        requested, because the next request would return the same page again.

        Args:
            next_cursor: The cursor on the page.
            names: The ids of the page's records, in order. A record without an id is named by its
                bytes.

        Raises:
            PaginationError: The walk would never end, or the new cursor cannot be sent.
        """
        if next_cursor is None or (not names and next_cursor == self.cursor):
            self.done = True
            return
        if _get_length(next_cursor) > LONGEST_CURSOR:
            raise PaginationError(
                f"the server sent a cursor of {_get_length(next_cursor):,} characters, but a URL "
                f"can contain at most {LONGEST_CURSOR:,}: the walk cannot continue"
            ).locate(cursor=self.cursor)
        if not self._cursors.add(hash(next_cursor)):
            shown = _describe(next_cursor)
            raise endless_walk_error(
                f"the server sent a cursor for the second time ({shown})", next_cursor
            )
        self._require_progress(next_cursor, names)
        self.cursor = next_cursor

    def take_warning(self) -> str | None:
        """Return a warning to log about the walk, or ``None``. Return each warning only once."""
        return self._empty_pages.take_warning()

    def _require_progress(self, next_cursor: Cursor, names: Sequence[str | bytes]) -> None:
        # Only a page with new records ends a run of idle pages. Otherwise, a server that alternates
        # between empty and repeated pages would keep the walk running forever.
        if not names:
            self._empty_pages.note(next_cursor)
            if self._empty_pages.idle >= MOST_IDLE_PAGES:
                raise endless_walk_error(
                    f"the server sent {MOST_IDLE_PAGES} empty pages whose cursors do not advance "
                    f"(the last is {_describe(next_cursor)})",
                    next_cursor,
                )
        elif self._pages.add(hash(tuple(names))):
            self._repeated_pages = 0
            self._empty_pages.restart(next_cursor)
        else:
            self._repeated_pages += 1
            if self._repeated_pages >= MOST_IDLE_PAGES:
                raise endless_walk_error(
                    f"the server sent {MOST_IDLE_PAGES} pages in a row that it had sent before, "
                    f"with new cursors (the last is {_describe(next_cursor)})",
                    next_cursor,
                )


class _EmptyPages:
    """Measures whether the cursors of consecutive empty pages advance in time, and how fast.

    A correct listing can have thousands of empty pages in a row if the server filters a page after
    reading it. The cursors of these empty pages advance in the direction of the listing.

    Attributes:
        idle: The number of empty pages whose cursor did not advance.
    """

    def __init__(self) -> None:
        self.idle = 0
        self._direction = 0  # -1 back in time, 1 forward, 0 until two cursors differ
        # The cursor of the page before the run. The cursor is parsed only when its time is needed.
        self._page_cursor: Cursor | None = None
        # The farthest cursor, and the cursor at which the run began, in microseconds since 1970.
        self._farthest: int | None = None
        self._begin: int | None = None
        self._pages = 0
        self._warning: str | None = None
        self._is_warned = False

    def restart(self, cursor: Cursor) -> None:
        """Begin a new run after a page with records. ``cursor`` is the cursor on that page."""
        self._pages = self.idle = 0
        self._page_cursor = cursor
        if not self._direction:
            self._begin_at(cursor)

    def note(self, cursor: Cursor) -> None:
        """Count an empty page. ``cursor`` is the cursor on that page."""
        if self._page_cursor is not None:
            self._begin_at(self._page_cursor)
        time = _parse_time(cursor)
        self._learn_direction(time)
        self._pages += 1
        if time is None or not self._advances(time):
            self.idle += 1
            return
        self._begin = time if self._begin is None else self._begin
        self._farthest = time
        self._forecast(time)

    def take_warning(self) -> str | None:
        """Return the warning, or ``None`` if there is none or it was already returned."""
        warning, self._warning = self._warning, None
        return warning

    def _begin_at(self, cursor: Cursor) -> None:
        time = _parse_time(cursor)
        self._learn_direction(time)
        self._farthest = self._begin = time
        self._page_cursor = None

    def _learn_direction(self, time: int | None) -> None:
        if not self._direction and time is not None and self._farthest is not None:
            self._direction = (time > self._farthest) - (time < self._farthest)

    def _advances(self, time: int) -> bool:
        return self._farthest is None or (time - self._farthest) * self._direction > 0

    def _forecast(self, time: int) -> None:
        """Prepare a warning if the rest of the listing may take too many requests."""
        if self._is_warned or self._pages < MOST_IDLE_PAGES or self._begin is None:
            return
        covered = abs(time - self._begin)
        rest = time - _EARLIEST if self._direction < 0 else _now() - time
        if covered and rest * self._pages > _MANY_REQUESTS * covered:
            self._is_warned = True
            self._warning = (
                f"{self._pages} pages in a row are empty; at this rate the rest of the listing may "
                f"take more than {_MANY_REQUESTS:,} requests. Stop the walk if that is too many"
            )


# No conversation is older than the API, and a cursor without a zone may be hours ahead of UTC.
_EARLIEST = to_microseconds(datetime(2015, 1, 1, tzinfo=UTC))
_DAY = 24 * 3600 * 1_000_000


def _now() -> int:
    return to_microseconds(datetime.now(UTC))


def _parse_time(cursor: Cursor) -> int | None:
    """Return a cursor's time, or ``None`` if it is unreadable or impossible for a conversation."""
    time = parse_cursor_ts(cursor.cursor_ts)
    return None if time is None or not _EARLIEST <= time <= _now() + _DAY else time


def _get_length(cursor: Cursor) -> int:
    return max(len(cursor.cursor_id), len(cursor.cursor_ts))


def _describe(cursor: Cursor) -> str:
    return quoted(f"{cursor.cursor_ts}, {cursor.cursor_id}")


def endless_walk_error(what: str, cursor: Cursor | None = None) -> PaginationError:
    """Return the error for a walk that would never end."""
    return PaginationError(
        f"{what}: the walk would never end. Report this to the API's support"
    ).locate(cursor=cursor)


async def walk_pages(
    fetcher: PageFetcher[P], get_error: Callable[[P], CekatError | None]
) -> AsyncGenerator[P, None]:
    """Yield one page after another, beginning at the cursor of the query.

    ``get_error`` returns the error to raise after a page, or ``None``.
    """
    walk = CursorWalk(fetcher.query.cursor)
    while not walk.done:
        page = await fetcher.fetch(walk.cursor)
        error = get_error(page)
        yield page
        if error is not None:
            raise fetcher.locate(error, walk.cursor)
        advance_walk(walk, fetcher, page)


def advance_walk(
    walk: CursorWalk, fetcher: PageFetcher[P], page: ConversationPage | RawPage
) -> None:
    """Update a walk after a page. The errors and warnings of the walk name the query."""
    try:
        walk.advance(page.next_cursor, record_names(page))
    except PaginationError as endless:
        raise fetcher.locate(endless) from None
    if warning := walk.take_warning():
        fetcher.warn(warning)
