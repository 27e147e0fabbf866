"""A conversation with its labels, message previews and status."""

# Annotations are not postponed, because msgspec reads them when it creates a struct.

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
    """The status of a conversation. Each member is equal to its string.

    An unknown status is kept unchanged, as a member that is not in the class.

    Attributes:
        ASSIGNED: ``"assigned"``
        RESOLVED: ``"resolved"``
        PENDING: ``"pending"``
        OPEN: ``"open"``. This status is not documented, but live accounts send it
            (docs/api.md#conversations).

    Examples:
        >>> StageStatus.ASSIGNED == "assigned"
        True
        >>> StageStatus("snoozed").is_known
        False
    """

    ASSIGNED = "assigned"
    RESOLVED = "resolved"
    PENDING = "pending"
    OPEN = "open"


def describe_unknown_status(status: str) -> str | None:
    """Return a sentence about a status that the package does not know, or ``None``.

    If a known status is similar, the sentence suggests it. An unknown status is not an error,
    because the API adds new statuses without notice.
    """
    if StageStatus(status).is_known:
        return None
    from difflib import get_close_matches  # noqa: PLC0415 - only a typing error needs it

    known = [one.value for one in StageStatus]
    close = get_close_matches(status.strip().lower(), known, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"the known ones are {', '.join(known)}"
    return f"unknown status {str(status)!r}: {hint}"


class Label(Record, frozen=True, kw_only=True):
    """A label on a conversation.

    Attributes:
        id: The id of the label.
        name: The name of the label.
        color: The color. This field is not documented, but live accounts send it
            (docs/api.md#conversations).
    """

    _rare = frozenset({"id", "name", "color"})

    id: str | None = None
    name: str | None = None
    color: str | None = None


class MessagePreview(Record, frozen=True, kw_only=True):
    """The first or the last message of a conversation, as the listing shows it.

    Attributes:
        message: The text of the message.
        created_at: The time at which the message was sent.
    """

    _rare = frozenset({"message", "created_at"})
    _shown = ("created_at",)

    message: str | None = None
    created_at: Timestamp | None = None


if TYPE_CHECKING:
    _Labels: TypeAlias = tuple[Label, ...]
    _FreeForm: TypeAlias = dict[str, Any]
else:
    # The API may send null for labels and additional data. A record then has an empty collection,
    # so that code can loop over the collection without a check.
    _Labels = tuple[Label, ...] | None
    _FreeForm = dict[str, Any] | None


class Conversation(IdentifiedRecord, frozen=True, kw_only=True):
    """One conversation of an inbox. Only ``id`` is always present.

    Attributes:
        inbox_id: The id of the inbox.
        contact_id: The id of the contact.
        contact_name: The name of the contact.
        contact_phone: The phone number of the contact, as digits without a ``+``.
        platform_type: The channel, such as ``"whatsapp"``.
        inbox_name: The name of the inbox.
        stage_status: The status, such as ``"assigned"``.
        handled_by_id: The id of the agent who handles the conversation.
        handled_by_name: The name of that agent.
        notes: The notes on the conversation.
        labels: The labels. Empty if there are none.
        last_message: The last message.
        first_message: The first message. In the API's own sample, it has no ``created_at``.
        additional_data: An object whose keys the account chooses. Empty if there is none.
        created_at: The time at which the conversation was created.
        resolved_at: The time at which the conversation was resolved.
        resolved_by_id: The id of the agent who resolved the conversation.
        resolved_by_name: The name of that agent.
        pipeline: Any JSON value. Not documented, but live accounts send it
            (docs/api.md#conversations).
        collaborators: Any JSON value. Not documented, but live accounts send it.
        last_message_by_human: Any JSON value. Not documented, but live accounts send it.
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
        # Both may be None here, although the declared types exclude None.
        if self.labels is None:
            msgspec.structs.force_setattr(self, "labels", ())  # type: ignore[unreachable]
        if self.additional_data is None:
            msgspec.structs.force_setattr(self, "additional_data", {})  # type: ignore[unreachable]


def decode_conversation(raw: bytes | str | msgspec.Raw) -> Conversation:
    """Return one conversation from its JSON. A shortcut for :meth:`Conversation.from_json`.

    Args:
        raw: The JSON of the conversation, such as a line of an export or an element of
            ``page.raw``.

    Raises:
        DecodeError: The conversation is malformed: not JSON, not an object, or without a readable
            id.

    Examples:
        >>> decode_conversation('{"id": "c1", "contact_name": "Siti"}').contact_name
        'Siti'
    """
    return Conversation.from_json(raw)
