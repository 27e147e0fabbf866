"""Finds the start of a walk with ``until``: a constructed cursor that is certainly late enough.

The server may ignore a constructed cursor, may read its timestamp in another time zone, or may
round it. So the search tries a cursor that is a little later than ``until``. The walk uses this
cursor only if a record on its page has a timestamp later than ``until``. That record was last
active after ``until``, so every record of the range follows it in the listing. If there is any
doubt, the walk begins at the front.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, TypeVar

from cekat_async._api.log_text import describe_for_log
from cekat_async._paging.activity_order import CLOCK_DIFFERENCE, get_page_times
from cekat_async._paging.constructed_cursors import (
    CursorTimes,
    get_resolution,
    parse_cursor_ts,
    to_microseconds,
)
from cekat_async._paging.page_errors import may_be_about_cursor
from cekat_async.errors import CekatError

if TYPE_CHECKING:
    from cekat_async._paging.activity_order import PageTimes
    from cekat_async._paging.page_fetcher import PageFetcher
    from cekat_async._paging.time_bounds import TimeBounds
    from cekat_async.pages import ConversationPage, RawPage
    from cekat_async.positions import Cursor

__all__ = ["StartSearch", "find_start"]

P = TypeVar("P", bound="ConversationPage | RawPage")

_MOST_TRIES = 6
_LEAST_MARGIN = 60_000_000
# The margin grows by this factor after each cursor that was not late enough.
_WIDER = 4


class StartSearch:
    """Tries constructed cursors. Request the page at ``cursor``, and pass it to ``accepts``.

    Args:
        until: The end of the time range, in microseconds since 1970.
        front: The first page of the listing.

    Attributes:
        cursor: The cursor to try next; ``None`` if the walk has to begin at the front.
        warning: The warning to log if the walk has to begin at the front; ``None`` for no warning.
    """

    def __init__(self, until: float, front: PageTimes) -> None:
        self.cursor: Cursor | None = None
        self.warning: str | None = None
        self._until = until
        self._times = CursorTimes(front.after, order=-1)
        self._end = _parse(front.after)
        self._resolution = get_resolution(front.after.cursor_ts) if front.after else 1
        # The margin covers about half a page, so that a record on the page is later than ``until``.
        # The newest records are not used, because their times may be in the future.
        times = map(to_microseconds, front.activities)
        later = sorted(time for time in times if time > self._end)
        middle = later[len(later) // 2] - self._end if later else 0
        self._margin = max(middle, _LEAST_MARGIN)
        self._tries = 0
        self._try_at(until + self._margin)

    def accepts(self, page: PageTimes) -> bool:
        """Whether the page proves that its cursor is late enough. Otherwise, change ``cursor``."""
        begin, end, newest = _parse(page.before), _parse(page.after), page.newest
        if begin < end <= self._end:
            self.give_up("the server does not honour a constructed cursor")
        elif end > begin or newest - begin > CLOCK_DIFFERENCE:
            self.cursor = None  # the listing has another order, which the walk itself detects
        elif newest > self._until + self._resolution:
            return True
        elif newest == -inf:
            # Perhaps all conversations are newer than this cursor.
            self._try_at((begin + self._end) // 2)
        else:
            self._margin *= _WIDER
            self._try_at(begin + self._until - newest + self._margin)
        return False

    def give_up(self, why: str) -> None:
        """Begin at the front, with a warning."""
        self.cursor = None
        self.warning = f"falling back to a walk from the front: {why}"

    def _try_at(self, time: float) -> None:
        self._tries += 1
        if not time < self._end:
            self.cursor = None
        elif self._tries > _MOST_TRIES:
            self.give_up("no conversation proves where a constructed cursor leads")
        else:
            self.cursor = self._times.cursor_at(int(self._end - time))


def _parse(cursor: Cursor | None) -> float:
    """Return the time of a cursor, or minus infinity without a cursor or a readable time."""
    time = None if cursor is None else parse_cursor_ts(cursor.cursor_ts)
    return -inf if time is None else time


async def find_start(fetcher: PageFetcher[P], bounds: TimeBounds) -> Cursor | None:
    """Return the cursor at which a walk with ``until`` begins; ``None`` for the front.

    The fetcher keeps the pages that the walk will request again.

    Raises:
        CekatError: A request failed.
    """
    front = await fetcher.fetch(None)
    fetcher.keep(None, front)
    search = StartSearch(bounds.until, get_page_times(front, None))
    while search.cursor is not None:
        cursor = search.cursor
        try:
            page = await fetcher.fetch(cursor)
        except CekatError as error:
            if not may_be_about_cursor(error):
                error.cursor = None  # the caller can resume only at the front
                raise
            why = describe_for_log(error)
            search.give_up(f"a request with a constructed cursor failed: {why}")
            break
        if search.accepts(get_page_times(page, cursor)):
            fetcher.keep(cursor, page)
            bounds.has_skipped = True
            return cursor
    if search.warning:
        fetcher.warn(search.warning)
    return None
