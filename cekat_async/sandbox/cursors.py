"""Cursors: handing them out, and what those mean that come in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .parameters import InvalidError
from .timeline import read_cursor, spell_cursor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .listing import Listing, Place
    from .options import MadeUpCursors

_FIELDS: Final = ("cursor_id", "cursor_ts")


class Cursors:
    """Hands out cursors and reads them, in the way of a dialect.

    Args:
        listing: what cursors point into.
        made_up: how a cursor is taken that was never handed out.
    """

    def __init__(self, listing: Listing, made_up: MadeUpCursors) -> None:
        self._listing = listing
        self._made_up = made_up
        # About 250 bytes for each different cursor, and only where it matters who made one up.
        self._issued: set[tuple[str, str]] = set()

    def issue(self, place: Place) -> dict[str, str]:
        """Return the cursor that points behind a place."""
        ts, id_ = place
        cursor = (id_, spell_cursor(ts))
        if self._made_up in {"ignore", "reject"}:
            self._issued.add(cursor)
        return dict(zip(_FIELDS, cursor, strict=True))

    def read(self, given: Mapping[str, str]) -> Place | None:
        """Return the place that a query's cursor points to, or `None` for the front.

        Raises:
            InvalidError: it is half a cursor, or none that this server takes.
        """
        missing = [field for field in _FIELDS if field not in given]
        if len(missing) == len(_FIELDS):
            return None
        if missing:
            raise InvalidError(missing[0], "cursor_id and cursor_ts belong together")
        return self._place(given["cursor_id"], given["cursor_ts"])

    def _place(self, id_: str, ts: str) -> Place | None:
        if self._made_up == "by_id":
            return self._place_now(id_)
        if self._made_up == "honour" or (id_, ts) in self._issued:
            return _between_rows(id_, ts)
        if self._made_up == "ignore":
            return None
        raise InvalidError("cursor_id", "cursor_id is not a cursor of this listing")

    def _place_now(self, id_: str) -> Place:
        number = self._listing.find(id_)
        if number is None:
            raise InvalidError("cursor_id", "cursor_id must be the id of a conversation")
        return self._listing.place(number)


def _between_rows(id_: str, ts: str) -> Place:
    """Return the place a cursor says; made-up ones point between rows."""
    micro = read_cursor(ts)
    if micro is None:
        raise InvalidError("cursor_ts", "cursor_ts must be a timestamp")
    # Rows stand on whole milliseconds: between two of them, any id would mean the same place.
    return (-(-micro // 1000), "") if micro % 1000 else (micro // 1000, id_)
