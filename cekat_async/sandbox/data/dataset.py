"""The dataset of a sandbox: the account, the order of its conversations, and their JSON."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from cekat_async.sandbox.data.account import UNCHANGED, Account
from cekat_async.sandbox.data.conversations import ConversationRenderer
from cekat_async.sandbox.data.inboxes import InboxRenderer
from cekat_async.sandbox.data.listing import Listing

if TYPE_CHECKING:
    from cekat_async.sandbox.data.listing import Row
    from cekat_async.sandbox.options import Dialect


class Dataset:
    """An account and the records it contains.

    Args:
        conversations: How many conversations there are at the start.
        inboxes: How many inboxes there are.
        seed: Seed of the data.
        dialect: How the data is formatted and ordered.
        cache: How many rendered conversations are kept, the most recently used ones; 0 for none.

    Attributes:
        account: Ids, timestamps, inboxes and statuses.
        listing: The order of the conversations, and their changes.
        inboxes: Makes the JSON of inboxes.
    """

    def __init__(
        self, conversations: int, inboxes: int, seed: int, dialect: Dialect, *, cache: int = 0
    ) -> None:
        self.account = Account(conversations, inboxes, seed, dialect)
        self.listing = Listing(self.account, seed, dialect.order)
        self.inboxes = InboxRenderer(self.account, seed)
        render = ConversationRenderer(self.account, seed, dialect).render
        # The arguments alone decide the result, so a cached record is never out of date.
        self._render = lru_cache(maxsize=cache)(render) if cache else render

    def render(self, row: Row) -> bytes:
        """Return the JSON of a row of the listing as it is now."""
        ts, id_, number = row
        change = self.listing.change(number)
        # An unchanged row still has its initial timestamp.
        at = ts if change is UNCHANGED else self.account.timeline.get_time(number)
        return self._render(id_, number, at, change)

    def record(self, number: int) -> bytes:
        """Return the JSON of an existing conversation as it is now."""
        return self.render((*self.listing.get_sort_key(number), number))
