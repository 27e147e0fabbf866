"""Conversations that a test has passed to the sandbox, and their later changes."""

# Conversations are JSON of any shape.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from cekat_async.sandbox.data import texts
from cekat_async.sandbox.data.account import Change
from cekat_async.sandbox.data.ids import Ids, format_uuid
from cekat_async.sandbox.data.timeline import parse_cursor_time

Fields: TypeAlias = dict[str, Any]

_RESOLUTION: Final = ("stage_status", "resolved_at", "resolved_by_id", "resolved_by_name")
_NOT_RESOLVED: Final = dict.fromkeys(_RESOLUTION[1:])


class SupportsToDict(Protocol):
    """A record of a client that can be converted to the API's own form."""

    def to_dict(self) -> Mapping[str, Any]:
        """Return the record in the API's own form."""
        ...


class Given(msgspec.Struct, frozen=True):
    """A conversation whose fields were given instead of computed from the seed.

    Attributes:
        record: The JSON of the conversation when it was given.
        since: The changes up to that time. Only later changes affect the record.
    """

    record: bytes
    since: Change

    def render(
        self, change: Change, compute: Callable[[], bytes], format_time: Callable[[int], str]
    ) -> bytes:
        """Return the JSON after all changes. ``compute`` returns the record for the seed."""
        has_message = change.messages != self.since.messages
        is_resolved = change.resolved != self.since.resolved
        if not has_message and not is_resolved:
            return self.record
        record, computed = msgspec.json.decode(self.record), msgspec.json.decode(compute())
        if has_message and change.active is not None:
            at = {"created_at": format_time(change.active)}
            record["last_message"] = computed["last_message"] | at
        if is_resolved:
            record |= _build_resolution(record, computed)
        return msgspec.json.encode(record)


def _build_resolution(record: Fields, computed: Fields) -> Fields:
    """Return the fields of a resolution by the conversation's own agent, or else by any agent."""
    by = record if record.get("handled_by_id") else computed
    agent = {
        f"{role}_by_{field}": by.get(f"handled_by_{field}")
        for role in ("handled", "resolved")
        for field in ("id", "name")
    }
    return {name: computed[name] for name in _RESOLUTION} | agent


def read_fields(conversation: Mapping[str, Any] | SupportsToDict) -> Fields:
    """Return the fields of a conversation as decoded JSON.

    Raises:
        ValueError: The conversation is not a mapping and has no ``to_dict()``, or it is not JSON.
    """
    given: object = conversation
    if not isinstance(given, Mapping):
        to_dict = getattr(given, "to_dict", None)
        given = to_dict() if callable(to_dict) else None
    if not isinstance(given, Mapping):
        kind = type(conversation).__name__
        raise ValueError(f"a conversation must be a mapping or have to_dict(), not {kind}")  # noqa: TRY004 - one error for every bad option
    try:
        fields: Fields = msgspec.json.decode(msgspec.json.encode(dict(given)))
    except (TypeError, msgspec.MsgspecError, UnicodeError) as error:
        raise ValueError(f"a conversation must be JSON: {error}") from None
    return fields


def read_id(fields: Fields) -> str | None:
    """Return the id among the fields, or ``None`` if there is none.

    Raises:
        ValueError: The id is not text, or is empty.
    """
    if "id" not in fields:
        return None
    id_ = fields["id"]
    if not isinstance(id_, str) or not id_:
        raise ValueError(f"the id of a conversation must be a text that is not empty, not {id_!r}")
    return id_


def read_creation(fields: Fields) -> int | None:
    """Return the time of creation, in milliseconds since 1970; ``None`` if unknown."""
    return _read_time(fields.get("created_at"))


def read_message_time(fields: Fields) -> int | None:
    """Return the time of the last message, in milliseconds since 1970; ``None`` if unknown."""
    message = fields.get("last_message")
    return _read_time(message.get("created_at")) if isinstance(message, dict) else None


def _read_time(text: object) -> int | None:
    micro = parse_cursor_time(text) if isinstance(text, str) else None
    return None if micro is None else micro // 1000


def build_assignment(agent: str | None, seed: int) -> Fields:
    """Return the fields that assign a conversation to an agent. ``None`` means no agent."""
    return _NOT_RESOLVED | {
        "stage_status": "pending" if agent is None else "assigned",
        "handled_by_id": None if agent is None else _find_agent_id(agent, seed),
        "handled_by_name": agent,
    }


def _find_agent_id(agent: str, seed: int) -> str:
    """Return the id of an agent, which is always the same for the same name."""
    if agent in texts.AGENTS:
        return Ids(seed, "agent").encode(texts.AGENTS.index(agent))
    return format_uuid(blake2b(agent.encode(), digest_size=16).digest())
