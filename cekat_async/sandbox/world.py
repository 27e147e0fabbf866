"""All that a sandbox serves, in one place: the data, its order, and what happens to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .account import Account
from .inboxes import Inboxes
from .listing import Listing
from .live import Events
from .records import Records

if TYPE_CHECKING:
    from .options import Dialect, Live


class World:
    """The made-up account with everything that belongs to it.

    Args:
        conversations: how many conversations there are at the start.
        inboxes: how many inboxes there are.
        seed: seed of the data.
        dialect: how the data is spelled and ordered.
        live: what happens after each page.

    Attributes:
        account: who is where, when and in which state.
        listing: the order of the conversations, and their changes.
        inboxes: the inboxes' JSON.
        events: what happens after each page.
    """

    def __init__(
        self, conversations: int, inboxes: int, seed: int, dialect: Dialect, live: Live
    ) -> None:
        self.account = Account(conversations, inboxes, seed, dialect)
        self.listing = Listing(self.account, seed, dialect.order)
        self.inboxes = Inboxes(self.account, seed)
        self.events = Events(live, self.listing)
        self._records = Records(self.account, seed, dialect)

    def render(self, id_: str, number: int) -> bytes:
        """Return a conversation, given its id and its number, as the server would send it now."""
        return self._records.render(id_, number, self.listing.change(number))
