"""An inbox of the account."""

# No postponed annotations: msgspec reads them when a struct is made.

from cekat_async.models.base import IdentifiedRecord
from cekat_async.models.fields import PlatformType, Timestamp

__all__ = ["Inbox"]


class Inbox(IdentifiedRecord, frozen=True, kw_only=True):
    """An inbox of the account: a channel that conversations arrive through.

    Only ``id`` is always there (docs/api.md#inboxes). Hashed by its ``id``.
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
