"""Inboxes as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from cekat_async.sandbox.data import texts
from cekat_async.sandbox.data.draws import pick
from cekat_async.sandbox.data.ids import Ids
from cekat_async.sandbox.data.timeline import NEWEST, get_time_formatter
from cekat_async.sandbox.seeded_hash import derive_key, hash_number

if TYPE_CHECKING:
    from cekat_async.sandbox.data.account import Account


class InboxRenderer:
    """Renders the inboxes of an account.

    Args:
        account: The account whose inboxes are rendered.
        seed: Seed of the data.
    """

    def __init__(self, account: Account, seed: int) -> None:
        self._ids = account.inbox_ids
        self._seed = seed
        self._key = derive_key(seed, "inboxes")
        self._format_time = get_time_formatter("micro")

    def render(self, number: int) -> bytes:
        """Return an inbox as the server sends it, in UTF-8 JSON."""
        bits = hash_number(self._key, number)
        name, platform = get_inbox_name(self._seed, number), get_platform(number)
        scripted, staffed = bits % 5 > 0, bits % 3 > 0
        return msgspec.json.encode(
            {
                "id": self._ids[number],
                "name": name,
                "type": platform,
                "status": "inactive" if number and bits % 11 == 0 else "active",
                "flow_id": Ids(self._seed, "flow").encode(number) if scripted else None,
                "flow_mode": scripted,
                "flow_name": f"Alur {name}" if scripted else None,
                "ai_agent_id": Ids(self._seed, "ai").encode(number % 5) if staffed else None,
                "ai_agent_name": f"Asisten {number % 5 + 1} 🤖" if staffed else None,
                "auto_reassign": bool(bits & 64),
                "phone_number": f"62810{bits % 10**8:08d}" if platform == "whatsapp" else None,
                "business_id": Ids(self._seed, "business").encode(0),
                "created_at": self._format_time(NEWEST - 10**10 - bits % 10**10),
            }
        )


def get_platform(number: int) -> str:
    """Return the platform of inbox ``number``."""
    return pick(texts.PLATFORMS, number)


def get_inbox_name(seed: int, number: int) -> str:
    """Return the display name of inbox ``number``; no two are the same."""
    name, city = pick(texts.INBOX_NAMES, number), pick(texts.CITIES, seed + number)
    return f"{name} {city}" if number < len(texts.INBOX_NAMES) else f"{name} {city} {number}"
