"""The generic client of the openai package, as an example of generated SDKs.

Like such SDKs, it builds records without validating them. Their timestamps are ``datetime``
objects.
"""

from datetime import datetime
from typing import Any, Generic, TypeVar

from openai import AsyncOpenAI, BaseModel
from openai._base_client import BaseAsyncPage, BasePage, PageInfo

KEY = "benchmark"

_T = TypeVar("_T")


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


class CursorPage(BaseAsyncPage[_T], BasePage[_T], Generic[_T]):
    """One page, which knows the parameters of the next one."""

    data: list[_T]
    metadata: Metadata

    def _get_page_items(self) -> list[_T]:
        return self.data

    def next_page_info(self) -> PageInfo | None:
        """Return the parameters of the next page if there is one."""
        following = self.metadata.next_cursor
        if following.cursor_id is None:
            return None
        return PageInfo(params={"cursor_id": following.cursor_id, "cursor_ts": following.cursor_ts})


async def walk(base_url: str) -> int:
    """Walk with ``get_api_list``."""
    count = 0
    async with AsyncOpenAI(api_key=KEY, base_url=base_url) as client:
        async for conversation in client.get_api_list(
            "/api/conversations",
            model=Conversation,
            page=CursorPage[Conversation],
            options={"params": {"limit": "100"}},
        ):
            count += conversation.id is not None
    return count
