"""The reference: the shortest hand-written loop with aiohttp and msgspec."""

from datetime import datetime
from typing import Any

import aiohttp
import msgspec

KEY = "benchmark"


class Label(msgspec.Struct):
    """As on the API's page."""

    id: str
    name: str


class Message(msgspec.Struct):
    """As on the API's page."""

    message: str | None = None
    created_at: datetime | None = None


class Conversation(msgspec.Struct):
    """The record that a programmer writes after reading the API's documentation."""

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


class NextCursor(msgspec.Struct):
    """The two halves of the cursor."""

    cursor_id: str | None
    cursor_ts: str | None


class Metadata(msgspec.Struct):
    """The metadata of a page, which has the cursor."""

    next_cursor: NextCursor


class Page(msgspec.Struct):
    """One page."""

    data: list[Conversation]
    metadata: Metadata


async def by_hand(base_url: str) -> int:
    """Walk with aiohttp and msgspec alone: no retries, no rate limit, no checks, no resuming."""
    decoder, count = msgspec.json.Decoder(Page), 0
    cursor: dict[str, str] = {}
    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        while True:
            query = {"limit": "100", **cursor}
            async with session.get(f"{base_url}/api/conversations", params=query) as response:
                page = decoder.decode(await response.read())
            for conversation in page.data:
                count += conversation.id is not None
            following = page.metadata.next_cursor
            if following.cursor_id is None or following.cursor_ts is None:
                return count
            cursor = {"cursor_id": following.cursor_id, "cursor_ts": following.cursor_ts}
