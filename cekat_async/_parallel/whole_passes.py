"""Repeated passes over a listing that is not in time order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cekat_async._parallel.catch_up import changes_too_fast
from cekat_async._parallel.hash_set import HashSet
from cekat_async._parallel.segment import Segment

if TYPE_CHECKING:
    from cekat_async._parallel.segment import PageSummary
    from cekat_async.positions import Cursor

__all__ = ["WholePasses"]

# Each costs as many requests as the listing has pages.
_MOST_PASSES = 5
# A listing shows within this many pages that it is not in time order. Until then all names are
# remembered.
_TRIAL_PAGES = 20


class WholePasses:
    """Reads a listing again, from its start to its end, until that finds nothing new.

    Nobody knows where records arrive in such a listing, so only another pass can find them.

    Args:
        start: Where each pass begins.
        is_active: Whether the listing is known not to be in time order.

    Attributes:
        is_active: The same.
    """

    def __init__(self, start: Cursor | None, *, is_active: bool) -> None:
        self.is_active = is_active
        self._start = start
        # What an earlier process has seen is not known: so the first pass counts as new.
        self._found_new = is_active
        self._passes = 0
        self._pages = 0
        self._seen = HashSet()

    def activate(self) -> None:
        """Begin, after the pages that have been noted."""
        self.is_active = self._found_new = True

    def note_page(self, page: PageSummary) -> None:
        """Note a page. Its names are remembered where that can matter, since it takes memory."""
        self._pages += 1
        if self.is_active or self._pages <= _TRIAL_PAGES:
            is_new = [self._seen.add(name) for name in page.names]
            self._found_new |= any(is_new)
        elif self._pages == _TRIAL_PAGES + 1:
            self._seen = HashSet()

    def next(self) -> Segment | None:
        """Return another pass, if the one before found something new.

        Raises:
            PaginationError: Each of the most passes that are made found something new.
        """
        if not self._found_new:
            return None
        self._found_new = False
        self._passes += 1
        if self._passes > _MOST_PASSES:
            raise changes_too_fast(f"{_MOST_PASSES} passes over all of it")
        return Segment(self._start)
