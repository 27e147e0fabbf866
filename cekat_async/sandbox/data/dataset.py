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
    """An account and its records; ``cache`` is how many rendered conversations are kept."""

    def __init__(
        self, conversations: int, inboxes: int, seed: int, dialect: Dialect, cache: int
    ) -> None:
        self.account = Account(conversations, inboxes, seed, dialect)
        self.listing = Listing(self.account, seed, dialect.order)
        self.inboxes = InboxRenderer(self.account.inbox_ids, seed)
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
