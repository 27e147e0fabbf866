"""The made-up account before and after changes: who is where, when and in which state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from .ids import Ids
from .mixing import mix, subkey
from .spread import Spread
from .timeline import Timeline

if TYPE_CHECKING:
    from .options import Dialect

STATUSES: Final = ("assigned", "resolved", "pending", "open")
_STATUS_BY_CHANCE: Final = ("assigned",) * 9 + ("resolved",) * 7 + ("pending",) * 3 + ("open",)


class Change(msgspec.Struct, frozen=True):
    """What has happened to a conversation since the sandbox was built; times as in the timeline.

    Attributes:
        created: when it appeared, for those that were not there from the beginning.
        active: when it last got a message.
        messages: how many messages it got.
        resolved: when it was resolved.
    """

    created: int | None = None
    active: int | None = None
    messages: int = 0
    resolved: int | None = None


UNCHANGED: Final = Change()


class Account:
    """What the listing has to know of the data; all of it computed, none of it held.

    Args:
        conversations: how many conversations there are before anything happens.
        inboxes: how many inboxes there are.
        seed: seed of everything.
        dialect: how the data is ordered.

    Attributes:
        size: how many conversations there are before anything happens.
        ids: their ids.
        timeline: the timestamps that the listing goes by.
        spread: which inbox they belong to.
        inbox_ids: the ids of the inboxes, by number.
        inbox_numbers: their numbers, by id.
    """

    def __init__(self, conversations: int, inboxes: int, seed: int, dialect: Dialect) -> None:
        self.size = conversations
        self.ids = Ids(seed, "conversation", tie=dialect.tie)
        self.timeline = Timeline(
            seed,
            self.ids,
            tie=dialect.tie,
            density=dialect.density,
            conversations=conversations,
        )
        self.spread = Spread(conversations, inboxes, seed)
        ids = Ids(seed, "inbox")
        self.inbox_ids = [ids.of(number) for number in range(inboxes)]
        self.inbox_numbers = {id_: number for number, id_ in enumerate(self.inbox_ids)}
        self._status_key = subkey(seed, "status")

    def status(self, number: int, change: Change = UNCHANGED) -> str:
        """Return the `stage_status` of a conversation."""
        if change.resolved is not None:
            return "resolved"
        if change.created is not None:
            return "pending"
        return _STATUS_BY_CHANCE[mix(self._status_key, number) % len(_STATUS_BY_CHANCE)]
