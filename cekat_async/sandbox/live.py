"""What goes on in the account while it is being read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .mixing import fraction, mix, subkey

if TYPE_CHECKING:
    from collections.abc import Callable

    from .listing import Listing
    from .options import Live


class Events:
    """Lets the events of a `Live` happen, a few after each page; the same ones for the same seed.

    Args:
        live: how many of which are expected.
        listing: the conversations they happen to.
    """

    def __init__(self, live: Live, listing: Listing) -> None:
        self._live = live
        self._listing = listing
        self._key = subkey(live.seed, "live")
        self._drawn = 0

    def after_page(self) -> None:
        """Let happen what happens between two pages."""
        for _ in range(self._times(self._live.messages)):
            self._to_someone(self._listing.touch)
        created = self._times(self._live.created)
        for _ in range(created if self._listing.can_grow else 0):
            self._listing.create()
        for _ in range(self._times(self._live.resolved)):
            self._to_someone(self._listing.resolve)

    def _times(self, expected: float) -> int:
        whole = int(expected)
        self._drawn += 1
        return whole + (fraction(self._key, self._drawn) < expected - whole)

    def _to_someone(self, event: Callable[[int], None]) -> None:
        self._drawn += 1
        number = self._listing.nth(mix(self._key, self._drawn))
        if number is not None:
            event(number)
