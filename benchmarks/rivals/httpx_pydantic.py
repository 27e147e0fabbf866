"""httpx and pydantic: a typed client from the best-known libraries."""

from datetime import datetime
from typing import Any

import httpx
from pydantic import BaseModel

KEY = "benchmark"


class Label(BaseModel):
    """As on the API's page."""

    id: str
    name: str


class Message(BaseModel):
    """As on the API's page."""

    message: str | None = None
    created_at: datetime | None = None


class Conversation(BaseModel):
    """The same fields as in the record of the hand-written loop."""

    id: str
    inbox_id: str
    contact_id: str
    contact_name: str | None
    contact_phone: str | None
    platform_type: str
    inbox_name: str | None
    stage_status: str
    created_at: datetime
    handled_by_id: str | None = None
    handled_by_name: str | None = None
    notes: str | None = None
    labels: list[Label] | None = None
    last_message: Message | None = None
    first_message: Message | None = None
    additional_data: dict[str, Any] | None = None
    resolved_at: datetime | None = None
    resolved_by_id: str | None = None
    resolved_by_name: str | None = None


class NextCursor(BaseModel):
    """The two halves of the cursor."""

    cursor_id: str | None
    cursor_ts: str | None


class Metadata(BaseModel):
    """The metadata of a page, which has the cursor."""

    next_cursor: NextCursor


class Page(BaseModel):
    """One page."""

    data: list[Conversation]
    metadata: Metadata


async def walk(base_url: str) -> int:
    """Walk with ``model_validate_json``."""
    count = 0
    cursor: dict[str, str | None] = {}
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=base_url, headers=headers) as client:
        while True:
            response = await client.get("/api/conversations", params={"limit": "100", **cursor})
            page = Page.model_validate_json(response.content)
            for conversation in page.data:
                count += conversation.id is not None
            following = page.metadata.next_cursor
            if following.cursor_id is None:
                return count
            cursor = {"cursor_id": following.cursor_id, "cursor_ts": following.cursor_ts}
