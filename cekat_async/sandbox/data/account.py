"""The account: the ids, timestamps, inboxes and statuses of its conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from cekat_async.sandbox.data.ids import Ids
from cekat_async.sandbox.data.inboxes import InboxDistribution
from cekat_async.sandbox.data.timeline import Timeline
from cekat_async.sandbox.seeded_hash import derive_key, hash_number

if TYPE_CHECKING:
    from cekat_async.sandbox.options import Dialect

STATUSES: Final = ("assigned", "resolved", "pending", "open")
_STATUS_WEIGHTS: Final = ("assigned",) * 9 + ("resolved",) * 7 + ("pending",) * 3 + ("open",)


class Change(msgspec.Struct, frozen=True):
    """All changes to a conversation since the start. Times are in milliseconds since 1970.

    Attributes:
        created: The time at which the conversation was created, if it did not exist at the start.
        active: The time at which it last received a message.
        messages: The number of messages that it received.
        resolved: The time at which it was resolved.
        status: The status, if a test set it; ``""`` for a status for which the API has no filter.
        inbox: The number of the inbox, if a test set it; ``NO_INBOX`` for none.
    """

    created: int | None = None
    active: int | None = None
    messages: int = 0
    resolved: int | None = None
    status: str | None = None
    inbox: int | None = None


NO_INBOX: Final = -1
UNCHANGED: Final = Change()


class Account:
    """The ids, timestamps, inboxes and statuses of conversations. They are computed, not stored.

    Attributes:
        size: The number of conversations at the start.
        ids: The ids of the conversations.
        timeline: The timestamps that determine the order of the listing.
        distribution: The assignment of conversations to inboxes.
        inbox_ids: The ids of the inboxes, by number.
        inbox_numbers: The numbers of the inboxes, by id.
    """

    def __init__(self, conversations: int, inboxes: int, seed: int, dialect: Dialect) -> None:
        self.size = conversations
        self.ids = Ids(seed, "conversation", tie=dialect.tie)
        self.timeline = Timeline(seed, self.ids, dialect, conversations)
        self.distribution = InboxDistribution(conversations, inboxes, seed)
        ids = Ids(seed, "inbox")
        self.inbox_ids = [ids.encode(number) for number in range(inboxes)]
        self.inbox_numbers = {id_: number for number, id_ in enumerate(self.inbox_ids)}
        self._status_key = derive_key(seed, "status")

    def add_inbox(self, id_: str) -> int:
        """Add an inbox without conversations, and return its number."""
        number = self.inbox_numbers[id_] = len(self.inbox_ids)
        self.inbox_ids.append(id_)
        self.distribution.add_inbox()
        return number

    def get_inbox(self, number: int, change: Change = UNCHANGED) -> int:
        """Return the number of a conversation's inbox."""
        return self.distribution.get_inbox(number) if change.inbox is None else change.inbox

    def status(self, number: int, change: Change = UNCHANGED) -> str:
        """Return the ``stage_status`` of a conversation."""
        if change.status is not None:
            return change.status
        if change.resolved is not None:
            return "resolved"
        if change.created is not None:
            return "pending"
        return _STATUS_WEIGHTS[hash_number(self._status_key, number) % len(_STATUS_WEIGHTS)]
