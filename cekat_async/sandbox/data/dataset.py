"""The dataset of a sandbox: the account, the order of its conversations, and their JSON."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from cekat_async.sandbox.data.account import NO_INBOX, UNCHANGED, Account, Change
from cekat_async.sandbox.data.conversations import ConversationRenderer
from cekat_async.sandbox.data.given import (
    Given,
    build_assignment,
    read_creation,
    read_fields,
    read_id,
    read_message_time,
)
from cekat_async.sandbox.data.inboxes import InboxRenderer
from cekat_async.sandbox.data.listing import Listing
from cekat_async.sandbox.data.timeline import FORMATTERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cekat_async.sandbox.data.given import Fields, SupportsToDict
    from cekat_async.sandbox.data.listing import Row
    from cekat_async.sandbox.options import Dialect


class Dataset:
    """An account and its records. ``cache`` is the number of rendered conversations to keep."""

    def __init__(
        self, conversations: int, inboxes: int, seed: int, dialect: Dialect, cache: int
    ) -> None:
        self.account = Account(conversations, inboxes, seed, dialect)
        self.listing = Listing(self.account, seed, dialect.order)
        self.inboxes = InboxRenderer(self.account.inbox_ids, seed)
        self._seed = seed
        self._format_time = FORMATTERS[dialect.timestamps]
        self._given: dict[int, Given] = {}
        render = ConversationRenderer(self.account, self.inboxes, seed, dialect).render
        # The result depends only on the arguments, so a cached record is never outdated.
        self._render = lru_cache(maxsize=cache)(render) if cache else render

    def render(self, row: Row) -> bytes:
        """Return the current JSON of a row in the listing."""
        change = self.listing.change(row[2])
        given = self._given.get(row[2])
        if given is None:
            return self._compute(row, change)
        return given.render(change, lambda: self._compute(row, change), self._format_time)

    def _compute(self, row: Row, change: Change) -> bytes:
        """Return the JSON that the seed and the changes determine for a row."""
        ts, id_, number = row
        # The timestamp of an unchanged row is still the initial one.
        at = ts if change is UNCHANGED else self.account.timeline.get_time(number)
        return self._render(id_, number, at, change)

    def record(self, number: int) -> bytes:
        """Return the current JSON of an existing conversation."""
        return self.render((*self.listing.get_sort_key(number), number))

    def add(
        self, conversation: Mapping[str, Any] | SupportsToDict | None, fields: Mapping[str, Any]
    ) -> str:
        """Add a conversation, and return its id. See ``Sandbox.add``."""
        is_whole = conversation is not None
        given = (read_fields(conversation) if conversation is not None else {}) | read_fields(
            fields
        )
        id_ = read_id(given)
        if id_ is not None and self.listing.find(id_) is not None:
            raise ValueError(f"there is a conversation {id_!r} already: use update()")
        if "inbox_id" not in given and not is_whole and not self.listing.can_grow:
            raise ValueError("a conversation needs an inbox, and there is none: pass inbox_id")
        number = self.listing.add(self._build_change(given, is_whole=is_whole), id_)
        key = self.listing.get_sort_key(number)
        base = {"id": key[1]} if is_whole else msgspec.json.decode(self.record(number))
        self._give(number, base | given)
        return key[1]

    def update(self, number: int, fields: Mapping[str, Any]) -> None:
        """Replace fields of a conversation. See ``Sandbox.update``."""
        given = read_fields(fields)
        if "id" in given:
            raise ValueError("the id of a conversation cannot be changed")
        record = msgspec.json.decode(self.record(number)) | given
        before = self.listing.change(number)
        # Keep the status and the position, because a new time of creation would change both.
        kept: dict[str, Any] = {"status": self.account.status(number, before)}
        if before.active is None:
            kept["active"] = self.listing.get_sort_key(number)[0]
        self.listing.update(number, **kept | self._find_changes(given))
        self._give(number, record)

    def assign(self, number: int, agent: str | None) -> None:
        """Assign a conversation to an agent, or to no agent."""
        self.update(number, build_assignment(agent, self._seed))

    def _give(self, number: int, record: Fields) -> None:
        self._given[number] = Given(msgspec.json.encode(record), self.listing.change(number))

    def _build_change(self, given: Fields, *, is_whole: bool) -> Change:
        """Return the changes of a new conversation. If ``is_whole``, all its fields were given."""
        changes: dict[str, Any] = {"status": "", "inbox": NO_INBOX} if is_whole else {}
        changes |= self._find_changes(given)
        known = [changes[name] for name in ("created", "active") if name in changes]
        times = known or [self.listing.tick()]
        return Change(**changes | {"created": times[0], "active": max(times)})

    def _find_changes(self, given: Fields) -> dict[str, Any]:
        """Return the attributes of a ``Change`` that follow from the given fields."""
        changes: dict[str, Any] = {}
        if "stage_status" in given:
            status = given["stage_status"]
            changes["status"] = status if isinstance(status, str) else ""
        if "inbox_id" in given:
            changes["inbox"] = self._find_inbox(given)
        if (created := read_creation(given)) is not None:
            changes["created"] = created
        if given.get("last_message"):
            at = read_message_time(given)
            changes["active"] = self.listing.tick() if at is None else at
        return changes

    def _find_inbox(self, given: Fields) -> int:
        """Return the number of the given inbox. An unknown inbox is added."""
        id_ = given["inbox_id"]
        if not isinstance(id_, str):
            return NO_INBOX
        number = self.account.inbox_numbers.get(id_)
        if number is None:
            number = self.account.add_inbox(id_)
            name, platform = given.get("inbox_name"), given.get("platform_type")
            self.inboxes.add(number, _text(name), _text(platform))
        return number


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
