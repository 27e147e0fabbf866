"""Checks from the pages of a listing whether the listing is in the order of last activity.

The time of the last activity is known only for the last record of a page: it is the timestamp of
the page's cursor. A record is active when it is created and when it gets a message, so the record's
own timestamps are never later than its last activity. Therefore, if a listing is in descending
order of activity, no record of a page is later than the cursor that led to the page. In ascending
order, no record is later than the page's own cursor.

A timestamp without a time zone is read as UTC. The resulting error is a multiple of a quarter of an
hour, because all zones differ from UTC by such multiples. The records show how large the error can
be.
"""

from __future__ import annotations

from math import inf, isnan, nan
from typing import TYPE_CHECKING, NamedTuple

from cekat_async._paging.constructed_cursors import (
    ZONE_STEP,
    get_resolution,
    has_zone,
    parse_cursor_ts,
    to_microseconds,
)
from cekat_async.models import MalformedRecord
from cekat_async.models.raw_json import fits_at_once
from cekat_async.models.record_times import NO_TIMES, get_times, read_times
from cekat_async.pages import RawPage, iter_records

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cekat_async.models.record_times import RecordTimes
    from cekat_async.pages import ConversationPage
    from cekat_async.positions import Cursor

__all__ = ["CLOCK_DIFFERENCE", "ActivityOrder", "PageTimes", "get_page_times"]

_SECOND = 1_000_000
_HOUR = 3600 * _SECOND
# The largest differences between a time zone and UTC.
_MOST_AHEAD = 14 * _HOUR
_MOST_BEHIND = 12 * _HOUR
# The time zones of Indonesia, where the API may be hosted. Its date filters use the first zone.
_LOCAL_ZONES = (7 * _HOUR, 8 * _HOUR, 9 * _HOUR)
CLOCK_DIFFERENCE = _SECOND
"""The largest difference between the clocks of two of the server's machines, in microseconds."""


class PageTimes(NamedTuple):
    """The times in a page's records and cursors.

    Attributes:
        records: The timestamps of the page's records, in order.
        before: The cursor that led to the page. ``None`` for the first page, or if the cursor must
            not be compared with the records.
        after: The cursor on the page. ``None`` on the last page.
    """

    records: Sequence[RecordTimes]
    before: Cursor | None
    after: Cursor | None

    @property
    def activities(self) -> list[datetime]:
        """For each record with timestamps, one time at which it was certainly active."""
        found = (record.activity for record in self.records)
        return [time for time in found if time is not None]

    @property
    def newest(self) -> float:
        """The latest activity in microseconds since 1970; minus infinity without records."""
        newest = max(self.activities, default=None)
        return -inf if newest is None else to_microseconds(newest)


def get_page_times(page: ConversationPage | RawPage, before: Cursor | None) -> PageTimes:
    """Return the times of a page. ``before`` is the cursor that led to it."""
    records = _get_record_times(page)
    is_end = not records and page.next_cursor == before
    return PageTimes(records, before, None if is_end else page.next_cursor)


def _get_record_times(page: ConversationPage | RawPage) -> list[RecordTimes]:
    if isinstance(page, RawPage):
        # The times of a large page are not read, because this could block the event loop for too
        # long.
        reads = fits_at_once(page.body)
        return [read_times(raw) if reads else NO_TIMES for raw in page.raw]
    if not page.malformed_records:
        return [get_times(item) for item in page.items]
    return [
        NO_TIMES if isinstance(record, MalformedRecord) else get_times(record)
        for record in iter_records(page)
    ]


class ActivityOrder:
    """The order of a listing, as far as the pages of one walk show it.

    Attributes:
        direction: -1 if the cursors go back in time, 1 if they go forward, 0 until two cursors
            differ.
        doubt: The reason why the listing is not in descending order of activity. ``None`` if no
            page contradicts this order.
    """

    def __init__(self) -> None:
        self.direction = 0
        self.doubt: str | None = None
        self._is_checked = False
        self._is_sorted = True
        # ``_by_creation`` counts the pages whose cursor is the creation time of their last record,
        # although that record got a message later. ``_by_activity`` counts the pages with any other
        # cursor.
        self._by_creation = 0
        self._by_activity = 0
        self._has_zones = True
        # In each order (-1 descending, 1 ascending), no record may be later than a certain cursor.
        # The value is the largest time by which a record was later than that cursor.
        self._excess: dict[int, float] = {-1: -inf, 1: -inf}

    @property
    def is_trusted(self) -> bool:
        """Whether the pages show descending order of activity, and no page contradicts it."""
        looks_created = self._by_creation and not self._by_activity
        return self._is_checked and self.direction < 0 and not (self.doubt or looks_created)

    def note(self, page: PageTimes) -> None:
        """Compare a page's records with its cursors."""
        cursors = [cursor for cursor in (page.before, page.after) if cursor]
        times = [_parse(cursor) for cursor in cursors]
        if any(map(isnan, times)):
            self._give_up("the time of a cursor cannot be read")
            return
        self._has_zones &= all(has_zone(cursor.cursor_ts) for cursor in cursors)
        if len(times) == 2:  # noqa: PLR2004 - before and after
            self._note_direction(*times)
        self._note_excess(page)
        self._note_creation(page)

    def list_spans(self, page: PageTimes) -> list[tuple[float, float]]:
        """Return the time spans that may contain the last activities of a page's records.

        There is one span for each direction that the listing may have. The result is empty if its
        cursors are in no order.
        """
        if not self._is_sorted:
            return []
        directions = (self.direction,) if self.direction else (-1, 1)
        return [self._get_span(page, direction) for direction in directions]

    def _get_span(self, page: PageTimes, direction: int) -> tuple[float, float]:
        newest, oldest = page.before, page.after
        if direction > 0:
            newest, oldest = oldest, newest
        ahead, behind = self._get_zone(self._excess[direction])
        return (
            -inf if oldest is None else _parse(oldest) - ahead,
            # The server may have truncated further digits of the timestamp.
            inf if newest is None else _parse(newest) + get_resolution(newest.cursor_ts) + behind,
        )

    def _get_zone(self, excess: float) -> tuple[float, float]:
        """Return how far cursors may be ahead of UTC, and how far behind it."""
        if self._has_zones:
            return 0, 0
        if excess > _MOST_BEHIND + CLOCK_DIFFERENCE:  # more than any zone explains
            return _MOST_AHEAD, _MOST_BEHIND
        ahead = min(_MOST_AHEAD, CLOCK_DIFFERENCE - excess) // ZONE_STEP * ZONE_STEP
        return ahead, _MOST_BEHIND if excess > CLOCK_DIFFERENCE else 0

    def _note_direction(self, before: float, after: float) -> None:
        direction = (after > before) - (after < before)
        if not direction:
            return
        if self.direction and direction != self.direction:
            self._give_up("its cursors are not in order of time")
        self.direction = direction
        if direction > 0:
            self.doubt = self.doubt or "the oldest conversations are first"

    def _note_excess(self, page: PageTimes) -> None:
        newest = page.newest
        if page.before is not None and newest > -inf:
            self._is_checked = True
            self._excess[-1] = max(self._excess[-1], newest - _parse(page.before))
        if page.after is not None:
            self._excess[1] = max(self._excess[1], newest - _parse(page.after))
        if self._excess[-1] > CLOCK_DIFFERENCE:
            self.doubt = self.doubt or "a conversation is later than the cursor before its page"

    def _note_creation(self, page: PageTimes) -> None:
        last = page.records[-1] if page.records else NO_TIMES
        if page.after is None or last.created_at is None or last.activity is None:
            return
        created, resolution = to_microseconds(last.created_at), get_resolution(page.after.cursor_ts)
        gap = _parse(page.after) - created
        zones = (0,) if self._has_zones else (0, *_LOCAL_ZONES)
        if all(abs(gap - zone) >= resolution for zone in zones):
            self._by_activity += 1
        elif to_microseconds(last.activity) - created > CLOCK_DIFFERENCE:
            self._by_creation += 1

    def _give_up(self, why: str) -> None:
        self._is_sorted = False
        self.doubt = self.doubt or why


def _parse(cursor: Cursor) -> float:
    """Return the time of a cursor, or NaN if it cannot be read."""
    time = parse_cursor_ts(cursor.cursor_ts)
    return nan if time is None else time
