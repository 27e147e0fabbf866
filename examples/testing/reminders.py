"""Remind each agent of the customers who wait for an answer."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from cekat_async import RateLimitError

if TYPE_CHECKING:
    from datetime import datetime

    from cekat_async import CekatClient


class TryLaterError(Exception):
    """The reminders cannot be written now.

    Attributes:
        at: The time at which they can be written.
    """

    def __init__(self, at: datetime) -> None:
        super().__init__(f"no requests are left before {at:%Y-%m-%d %H:%M} UTC")
        self.at = at


async def write_reminders(cekat: CekatClient) -> dict[str, list[str]]:
    """Return the names of the customers of each agent whose conversations are open.

    Raises:
        TryLaterError: The daily quota is used up.
    """
    reminders: dict[str, list[str]] = defaultdict(list)
    try:
        async for conversation in cekat.conversations.list(stage_status="assigned"):
            agent = conversation.handled_by_name or "nobody"
            reminders[agent].append(conversation.contact_name or "somebody")
    except RateLimitError as error:
        if error.resumes_at is None:
            raise
        raise TryLaterError(error.resumes_at) from error
    return dict(reminders)
