"""A conversation, and what is in it: labels, message previews, its status."""

# No postponed annotations: msgspec reads them when a struct is made.

from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from cekat_async.models.base import IdentifiedRecord, Record
from cekat_async.models.fields import OpenEnum, PlatformType, Timestamp

__all__ = [
    "Conversation",
    "Label",
    "MessagePreview",
    "StageStatus",
    "decode_conversation",
    "describe_unknown_status",
]


class StageStatus(OpenEnum):
    """The stage of a conversation. ``StageStatus.ASSIGNED == "assigned"``.

    An unknown status is kept unchanged: ``StageStatus("snoozed") == "snoozed"``.
    """

    ASSIGNED = "assigned"
    RESOLVED = "resolved"
    PENDING = "pending"
    # Not documented, but observed: docs/api.md#conversations.
    OPEN = "open"


def describe_unknown_status(status: str) -> str | None:
    """Return a sentence about a status that the package does not know, or ``None``.

    The sentence suggests the known status that is spelled most similarly, if there is one. An
    unknown status is no error, because new ones appear without notice.
    """
    if StageStatus(status).is_known:
        return None
    from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it

    known = [one.value for one in StageStatus]
    close = get_close_matches(status.strip().lower(), known, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"the known ones are {', '.join(known)}"
    return f"unknown status {str(status)!r}: {hint}"


class Label(Record, frozen=True, kw_only=True):
    """A label on a conversation. ``color`` is not on the API's page, but sent by live accounts."""

    _rare = frozenset({"id", "name", "color"})

    id: str | None = None
    name: str | None = None
    color: str | None = None


class MessagePreview(Record, frozen=True, kw_only=True):
    """The first or the last message of a conversation, as the listing shows it."""

    _rare = frozenset({"message", "created_at"})
    _shown = ("created_at",)

    message: str | None = None
    created_at: Timestamp | None = None


if TYPE_CHECKING:
    _Labels: TypeAlias = tuple[Label, ...]
    _FreeForm: TypeAlias = dict[str, Any]
else:
    # On the wire both may be null. In a record they are empty then, so that nobody has to ask
    # before looping over them.
    _Labels = tuple[Label, ...] | None
    _FreeForm = dict[str, Any] | None


class Conversation(IdentifiedRecord, frozen=True, kw_only=True):
    """One conversation of an inbox. Only ``id`` is always there.

    Hashed by its ``id``. A phone number is digits without a ``+``.

    ``pipeline``, ``collaborators`` and ``last_message_by_human`` are not on the API's page, but
    sent by live accounts (docs/api.md#conversations). Nothing promises their shape, so that they
    may be anything.
    """

    _rare = frozenset({"pipeline", "collaborators", "last_message_by_human"})
    _shown = ("id", "platform_type", "stage_status")

    inbox_id: str | None = None
    contact_id: str | None = None
    contact_name: str | None = None
    contact_phone: str | None = None
    platform_type: PlatformType | None = None
    inbox_name: str | None = None
    stage_status: StageStatus | None = None
    handled_by_id: str | None = None
    handled_by_name: str | None = None
    notes: str | None = None
    labels: _Labels = ()
    last_message: MessagePreview | None = None
    first_message: MessagePreview | None = None
    additional_data: _FreeForm = msgspec.field(default_factory=dict)  # pyright: ignore[reportUnknownVariableType]
    created_at: Timestamp | None = None
    resolved_at: Timestamp | None = None
    resolved_by_id: str | None = None
    resolved_by_name: str | None = None
    pipeline: Any = None
    collaborators: Any = None
    last_message_by_human: Any = None

    def __post_init__(self) -> None:
        # The types above keep it from type checkers that these may be None.
        if self.labels is None:
            msgspec.structs.force_setattr(self, "labels", ())  # type: ignore[unreachable]
        if self.additional_data is None:
            msgspec.structs.force_setattr(self, "additional_data", {})  # type: ignore[unreachable]


def decode_conversation(raw: bytes | str | msgspec.Raw) -> Conversation:
    """Return one conversation from its JSON. Short for :meth:`Conversation.from_json`."""
    return Conversation.from_json(raw)
