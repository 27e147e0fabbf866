"""The inboxes of the made-up account."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from . import texts
from .chances import pick
from .ids import Ids
from .mixing import mix, subkey
from .timeline import NEWEST, speller

if TYPE_CHECKING:
    from .account import Account


class Inboxes:
    """Renders the inboxes of an account.

    Args:
        account: whose inboxes.
        seed: seed of the texts.
    """

    def __init__(self, account: Account, seed: int) -> None:
        self._ids = account.inbox_ids
        self._seed = seed
        self._key = subkey(seed, "inboxes")
        self._spell = speller("micro")

    def __len__(self) -> int:
        return len(self._ids)

    def render(self, number: int) -> bytes:
        """Return an inbox as the server sends it, in UTF-8 JSON."""
        chance = mix(self._key, number)
        name, platform = inbox_name(self._seed, number), inbox_platform(number)
        scripted, staffed = chance % 5 > 0, chance % 3 > 0
        return msgspec.json.encode(
            {
                "id": self._ids[number],
                "name": name,
                "type": platform,
                "status": "inactive" if number and chance % 11 == 0 else "active",
                "flow_id": Ids(self._seed, "flow").of(number) if scripted else None,
                "flow_mode": scripted,
                "flow_name": f"Alur {name}" if scripted else None,
                "ai_agent_id": Ids(self._seed, "ai").of(number % 5) if staffed else None,
                "ai_agent_name": f"Asisten {number % 5 + 1} 🤖" if staffed else None,
                "auto_reassign": bool(chance & 64),
                "phone_number": f"62810{chance % 10**8:08d}" if platform == "whatsapp" else None,
                "business_id": Ids(self._seed, "business").of(0),
                "created_at": self._spell(NEWEST - 10**10 - chance % 10**10),
            }
        )


def inbox_platform(number: int) -> str:
    """Return the platform of inbox `number`."""
    return pick(texts.PLATFORMS, number)


def inbox_name(seed: int, number: int) -> str:
    """Return the display name of inbox `number`; no two are the same."""
    name, city = pick(texts.INBOX_NAMES, number), pick(texts.CITIES, seed + number)
    return f"{name} {city}" if number < len(texts.INBOX_NAMES) else f"{name} {city} {number}"
