"""The live mode: changes in the account while a client reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cekat_async.sandbox.seeded_hash import derive_key, hash_fraction, hash_number

if TYPE_CHECKING:
    from collections.abc import Callable

    from cekat_async.sandbox.data.listing import Listing
    from cekat_async.sandbox.options import Live


class LiveEvents:
    """Changes conversations after each page. The same seed gives the same changes."""

    def __init__(self, live: Live, listing: Listing) -> None:
        self._live = live
        self._listing = listing
        self._key = derive_key(live.seed, "live")
        self._drawn = 0

    def after_page(self) -> None:
        """Make the changes between two pages."""
        for _ in range(self._draw_count(self._live.messages)):
            self._change_one(self._listing.touch)
        created = self._draw_count(self._live.created)
        for _ in range(created if self._listing.can_grow else 0):
            self._listing.create()
        for _ in range(self._draw_count(self._live.resolved)):
            self._change_one(self._listing.resolve)

    def _draw_count(self, expected: float) -> int:
        """Round ``expected`` up or down at random, so that the average of all results is exact."""
        whole = int(expected)
        self._drawn += 1
        return whole + (hash_fraction(self._key, self._drawn) < expected - whole)

    def _change_one(self, change: Callable[[int], None]) -> None:
        self._drawn += 1
        number = self._listing.nth(hash_number(self._key, self._drawn))
        if number is not None:
            change(number)
