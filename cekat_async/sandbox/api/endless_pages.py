"""Endless pages after the end of a listing, as a broken server may send them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cekat_async.sandbox.data.timeline import NEWEST, format_cursor_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cekat_async.sandbox.data.listing import Row
    from cekat_async.sandbox.options import Dialect

_NAME: Final = "endless"
_DAY: Final = 86_400_000
# So that a listing which advances comes to 2015, where no conversation is older, within 200 pages.
_STEP: Final = 30 * _DAY
_IN_1970: Final = 180 * _DAY
_IN_2200: Final = 84_006 * _DAY


class PagesAfterEnd:
    """Numbers the pages after the end from 1, and makes the cursors that lead to them.

    The cursor contains everything about its page, so this keeps no state.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._times = dialect.endless_times
        self._pages = dialect.endless
        self._direction = 1 if dialect.order == "ascending" else -1

    def number(self, given: Mapping[str, str]) -> int:
        """Return the number of the page that a query asks for; 0 for a page of the listing."""
        name, _, rest = given.get("cursor_id", "").partition("-")
        return int(rest.partition("-")[0]) if name == _NAME else 0

    def first_cursor(self, page: Sequence[Row]) -> dict[str, str]:
        """Return the cursor on the listing's last page: it leads to the first page after it."""
        return self._cursor(1, page[-1][0] if page else NEWEST)

    def next_cursor(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return the cursor on the page that a query asks for."""
        _, _, end = given["cursor_id"].rpartition("-")
        return self._cursor(self.number(given) + 1, int(end))

    def page_shown(self, number: int, pages: int) -> int | None:
        """Return which page of the listing, from 1, is sent as this page; ``None`` for none."""
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
