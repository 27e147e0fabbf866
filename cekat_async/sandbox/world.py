"""All that a sandbox serves, in one place: the data, its order, and what happens to it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from .account import UNCHANGED, Account
from .inboxes import Inboxes
from .listing import Listing
from .live import Events
from .records import Records

if TYPE_CHECKING:
    from .listing import Row
    from .options import Dialect, Live


class World:
    """The made-up account with everything that belongs to it.

    Args:
        conversations: how many conversations there are at the start.
        inboxes: how many inboxes there are.
        seed: seed of the data.
        dialect: how the data is spelled and ordered.
        live: what happens after each page.
        cache: how many rendered conversations are kept, the latest used ones; 0 for none.

    Attributes:
        account: who is where, when and in which state.
        listing: the order of the conversations, and their changes.
        inboxes: the inboxes' JSON.
        events: what happens after each page.
    """

    def __init__(
        self,
        conversations: int,
        inboxes: int,
        seed: int,
        dialect: Dialect,
        live: Live,
        *,
        cache: int = 0,
    ) -> None:
        self.account = Account(conversations, inboxes, seed, dialect)
        self.listing = Listing(self.account, seed, dialect.order)
        self.inboxes = Inboxes(self.account, seed)
        self.events = Events(live, self.listing)
        render = Records(self.account, seed, dialect).render
        # A record follows from nothing but what it is asked for with: none is ever out of date.
        self._render = lru_cache(maxsize=cache)(render) if cache else render

    def render(self, row: Row) -> bytes:
        """Return the conversation of a row of the listing, as the server would send it now."""
        ts, id_, number = row
        change = self.listing.change(number)
        # A row that nothing has happened to stands where it stood in the beginning.
        at = ts if change is UNCHANGED else self.account.timeline.at(number)
        return self._render(id_, number, at, change)

    def record(self, number: int) -> bytes:
        """Return an existing conversation, given its number, as the server would send it now."""
        return self.render((*self.listing.place(number), number))
