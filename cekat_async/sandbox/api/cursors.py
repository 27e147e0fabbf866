"""Issues cursors, and finds the position that a received cursor stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cekat_async.sandbox.api.parameters import InvalidParameterError
from cekat_async.sandbox.data.timeline import format_cursor_time, parse_cursor_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cekat_async.sandbox.data.listing import Listing, SortKey
    from cekat_async.sandbox.options import MadeUpCursors

_FIELDS: Final = ("cursor_id", "cursor_ts")


class Cursors:
    """Issues and reads cursors. ``made_up`` is the reaction to cursors that it never issued."""

    def __init__(self, listing: Listing, made_up: MadeUpCursors) -> None:
        self._listing = listing
        self._made_up = made_up
        # Each cursor takes about 250 bytes, so cursors are stored only for dialects that need them.
        self._issued: set[tuple[str, str]] = set()

    def issue(self, key: SortKey) -> dict[str, str]:
        """Return the cursor for the page that begins after a sort key."""
        ts, id_ = key
        cursor = (id_, format_cursor_time(ts))
        if self._made_up in {"ignore", "reject"}:
            self._issued.add(cursor)
        return dict(zip(_FIELDS, cursor, strict=True))

    def read(self, given: Mapping[str, str]) -> SortKey | None:
        """Return the sort key that the cursor in a query stands for; ``None`` for the first page.

        Raises:
            InvalidParameterError: The cursor is incomplete, or the dialect does not accept it.
        """
        missing = [field for field in _FIELDS if field not in given]
        if len(missing) == len(_FIELDS):
            return None
        if missing:
            raise InvalidParameterError(missing[0], "cursor_id and cursor_ts belong together")
        id_, ts = given["cursor_id"], given["cursor_ts"]
        if self._made_up == "by_id":
            return self._find_current_key(id_)
        if self._made_up == "honour" or (id_, ts) in self._issued:
            return _parse_key(id_, ts)
        if self._made_up == "ignore":
            return None
        raise InvalidParameterError("cursor_id", "cursor_id is not a cursor of this listing")

    def _find_current_key(self, id_: str) -> SortKey:
        number = self._listing.find(id_)
        if number is None:
            raise InvalidParameterError("cursor_id", "cursor_id must be the id of a conversation")
        return self._listing.get_sort_key(number)


def _parse_key(id_: str, ts: str) -> SortKey:
    """Return the sort key in a cursor. A made-up cursor may stand for a place between two rows."""
    micro = parse_cursor_time(ts)
    if micro is None:
        raise InvalidParameterError("cursor_ts", "cursor_ts must be a timestamp")
    # The times of rows are whole milliseconds. For a time between two milliseconds, the id does not
    # matter.
    return (-(-micro // 1000), "") if micro % 1000 else (micro // 1000, id_)
