"""The timestamps of a conversation, which give a lower bound for the time of its last activity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from cekat_async.models.conversion import parse_timestamp
from cekat_async.models.json_scanner import UNDECODABLE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cekat_async.models.conversation import Conversation
    from cekat_async.models.raw_json import JsonValue

__all__ = ["NO_TIMES", "RecordTimes", "get_times", "read_times"]


class RecordTimes(NamedTuple):
    """The timestamps of a conversation. A missing timestamp is ``None``."""

    created_at: datetime | None = None
    first_message_at: datetime | None = None
    last_message_at: datetime | None = None
    resolved_at: datetime | None = None

    @property
    def known(self) -> Sequence[datetime]:
        """The timestamps that are not ``None``."""
        return [time for time in self if time is not None]

    @property
    def activity(self) -> datetime | None:
        """A lower bound for the time of the last activity.

        ``resolved_at`` is not used, because it is unknown whether resolving a conversation moves it
        in the listing.
        """
        times = (self.created_at, self.first_message_at, self.last_message_at)
        return max((time for time in times if time is not None), default=None)


NO_TIMES = RecordTimes()


def get_times(conversation: Conversation) -> RecordTimes:
    """Return the timestamps of a conversation."""
    first, last = conversation.first_message, conversation.last_message
    return RecordTimes(
        conversation.created_at,
        first.created_at if first else None,
        last.created_at if last else None,
        conversation.resolved_at,
    )


class _OnlyTimes(msgspec.Struct):
    created_at: Any = None
    first_message: Any = None
    last_message: Any = None
    resolved_at: Any = None


_ONLY_TIMES = msgspec.json.Decoder(_OnlyTimes)


def read_times(raw: bytes | msgspec.Raw) -> RecordTimes:
    """Return the timestamps of a conversation from its JSON, or no timestamps if it is invalid."""
    try:
        found = _ONLY_TIMES.decode(raw)
    except UNDECODABLE:
        return NO_TIMES
    return RecordTimes(
        _parse(found.created_at),
        _parse_created_at(found.first_message),
        _parse_created_at(found.last_message),
        _parse(found.resolved_at),
    )


def _parse_created_at(message: JsonValue) -> datetime | None:
    return _parse(message.get("created_at")) if isinstance(message, dict) else None


def _parse(value: Any) -> datetime | None:
    return parse_timestamp(value) if isinstance(value, str) else None
