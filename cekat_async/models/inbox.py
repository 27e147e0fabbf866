"""An inbox of the account."""

# Annotations are not postponed, because msgspec reads them when it creates a struct.

from cekat_async.models.base import IdentifiedRecord
from cekat_async.models.fields import PlatformType, Timestamp

__all__ = ["Inbox"]


class Inbox(IdentifiedRecord, frozen=True, kw_only=True):
    """An inbox of the account: a channel through which conversations arrive.

    Only ``id`` is always present (docs/api.md#inboxes).

    Attributes:
        name: The name of the inbox.
        type: The channel, such as ``"whatsapp"``.
        status: ``"active"`` or ``"inactive"``.
        flow_id: The id of the inbox's flow.
        flow_mode: True if flow mode is on.
        flow_name: The name of the flow.
        ai_agent_id: The id of the AI agent.
        ai_agent_name: The name of the AI agent.
        auto_reassign: True if auto-reassign is on.
        phone_number: The phone number of the inbox.
        business_id: The id of the business that the inbox belongs to.
        created_at: The time at which the inbox was created.
    """

    _shown = ("id", "type", "status")

    name: str | None = None
    type: PlatformType | None = None
    status: str | None = None
    flow_id: str | None = None
    flow_mode: bool | None = None
    flow_name: str | None = None
    ai_agent_id: str | None = None
    ai_agent_name: str | None = None
    auto_reassign: bool | None = None
    phone_number: str | None = None
    business_id: str | None = None
    created_at: Timestamp | None = None
