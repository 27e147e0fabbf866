"""Endless pages after the end of a listing, like those of a broken server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cekat_async.sandbox.data.timeline import NEWEST, format_cursor_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cekat_async.sandbox.data.listing import Row
    from cekat_async.sandbox.options import Dialect

_NAME: Final = "endless"
_DAY: Final = 86_400_000
# With this step, the timestamps reach 2015 within 200 pages. No real conversation is older than
# that.
_STEP: Final = 30 * _DAY
_IN_1970: Final = 180 * _DAY
_IN_2200: Final = 84_006 * _DAY


class PagesAfterEnd:
    """Assigns numbers from 1 to the pages after the end, and builds the cursors for these pages.

    A cursor contains all information about its page, so the class needs no state.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._times = dialect.endless_times
        self._pages = dialect.endless
        self._direction = 1 if dialect.order == "ascending" else -1

    def number(self, given: Mapping[str, str]) -> int:
        """Return the number of the requested page after the end, or 0 for a page of the listing."""
        name, _, rest = given.get("cursor_id", "").partition("-")
        return int(rest.partition("-")[0]) if name == _NAME else 0

    def first_cursor(self, page: Sequence[Row]) -> dict[str, str]:
        """Return the cursor on the listing's last page, for the first page after the end."""
        return self._cursor(1, page[-1][0] if page else NEWEST)

    def next_cursor(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return the cursor on the requested page, for the page that follows it."""
        _, _, end = given["cursor_id"].rpartition("-")
        return self._cursor(self.number(given) + 1, int(end))

    def page_shown(self, number: int, pages: int) -> int | None:
        """Return which page of the listing (from 1) to repeat; ``None`` for an empty page."""
        if self._pages == "empty":
            return None
        return 1 if self._pages == "repeat" else (number - 1) % max(pages, 1) + 1

    def _cursor(self, number: int, end: int) -> dict[str, str]:
        return {"cursor_id": f"{_NAME}-{number}-{end}", "cursor_ts": self._time(number, end)}

    def _time(self, number: int, end: int) -> str:
        if self._times == "unreadable":
            return f"page {number}"
        begin = {"past": _IN_1970, "future": _IN_2200}.get(self._times, end)
        steps = {"still": 0, "backwards": -number}.get(self._times, number)
        return format_cursor_time(begin + self._direction * steps * _STEP)
