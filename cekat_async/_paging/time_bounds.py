"""Bounds a walk to a time range: where the walk ends, and which records it skips."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from cekat_async._paging.activity_order import ActivityOrder
from cekat_async._paging.constructed_cursors import (
    get_resolution,
    parse_cursor_ts,
    to_microseconds,
)

if TYPE_CHECKING:
    from datetime import datetime

    from cekat_async._paging.activity_order import PageTimes
    from cekat_async.models.record_times import RecordTimes
    from cekat_async.positions import Cursor

__all__ = ["TimeBounds"]


class TimeBounds:
    """Limits a walk to the records that were last active in a time range.

    Call :meth:`note` with each page before the other methods. The walk misses no record of the
    range, for these reasons:

    - If the listing is in descending order of activity, the walk ends after a page whose cursor is
      older than ``since``. Every record after this page was last active before ``since``. The order
      counts as known under three conditions: the cursors of two pages have gone back in time, the
      records of a page have been compared with the cursor that led to the page, and no page
      contradicts the order.
    - A record is skipped if its timestamp is later than ``until``, or if a following record on the
      same page has such a timestamp. All records of a page are skipped if the cursor at its end is
      later than ``until``. In descending order, all these records were last active after ``until``.
      Until the order is known, a record is skipped only because of its own timestamp.
    - If a page contradicts the order, the bounds are lifted. The walk reads the listing to its end.
      If it skipped records because of ``until``, it starts again from the front. The walk then
      keeps every record that has no timestamp, or a timestamp in the range. If the cursors are in
      time order in either direction, the walk also keeps all records of each page that may have
      records of the range.

    Args:
        since: The beginning of the range; ``None`` for no bound.
        until: The end of the range; ``None`` for no bound.

    Attributes:
        since: The beginning of the range in microseconds since 1970; minus infinity for no bound.
        until: The end of the range in microseconds since 1970; infinity for no bound.
        is_lifted: True if the bounds are lifted, so the walk has to read the listing to its end.
        has_skipped: True if the walk skipped records that it needs once the bounds are lifted.
    """

    def __init__(self, since: datetime | None, until: datetime | None) -> None:
        self.since: float = -inf if since is None else to_microseconds(since)
        self.until: float = inf if until is None else to_microseconds(until)
        self.is_lifted = False
        self.has_skipped = False
        self._order = ActivityOrder()

    def begin_at(self, cursor: Cursor) -> str | None:
        """Record that the walk begins at the caller's cursor. Return a warning to log, or ``None``.

        Only a walk with lifted bounds continues after a cursor older than ``since``. So a walk that
        is resumed at such a cursor has to read the rest of the listing too.
        """
        return self.lift("it begins at a cursor before since") if self._is_past(cursor) else None

    def note(self, page: PageTimes) -> str | None:
        """Check the order with a page. If the page lifts the bounds, return the warning to log."""
        self._order.note(page)
        doubt = self._order.doubt
        return None if self.is_lifted or doubt is None else self.lift(doubt)

    def lift(self, why: str) -> str:
        """Lift the bounds. Return the warning to log."""
        self.is_lifted = True
        return (
            f"since and until cannot shorten this walk, because {why}. The walk reads the listing "
            "to its end, and keeps every conversation that may be in the range"
        )

    def ends_after(self, page: PageTimes) -> bool:
        """Whether every record after a page was last active before ``since``."""
        if self.is_lifted or page.after is None or not self._order.is_trusted:
            return False
        return self._is_past(page.after)

    def select(self, page: PageTimes) -> list[bool]:
        """Return, for each record of a page, whether the record is wanted."""
        spans = self._order.list_spans(page)
        is_near = any(begin <= self.until and end >= self.since for begin, end in spans)
        if self.is_lifted:
            return [is_near or self._may_be_in_range(times) for times in page.records]
        is_later = all(begin > self.until for begin, _ in spans)
        later = self._find_later(page)
        self.has_skipped |= is_later or any(later)
        # A record without timestamps is kept, because it may be in the range.
        return [
            not after and (is_near or (not is_later and self._may_be_in_range(times)))
            for times, after in zip(page.records, later, strict=True)
        ]

    def _is_past(self, cursor: Cursor) -> bool:
        time = parse_cursor_ts(cursor.cursor_ts)
        return time is not None and time + get_resolution(cursor.cursor_ts) <= self.since

    def _may_be_in_range(self, times: RecordTimes) -> bool:
        known = [to_microseconds(time) for time in times.known]
        return not known or any(self.since <= time <= self.until for time in known)

    def _find_later(self, page: PageTimes) -> list[bool]:
        """Return, for each record of a page, whether it was certainly active after ``until``."""
        if self.until == inf:
            return [False] * len(page.records)
        # A record's timestamp may have more digits than a cursor's, and would then seem later.
        cursor = page.after or page.before
        latest = self.until + (get_resolution(cursor.cursor_ts) if cursor else 1)
        later = [
            times.activity is not None and to_microseconds(times.activity) >= latest
            for times in page.records
        ]
        if self._order.direction < 0 and any(later):
            last = len(later) - later[::-1].index(True)
            return [True] * last + later[last:]
        return later
