"""Renders inboxes as JSON, and assigns conversations to them."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

import msgspec

from cekat_async.sandbox.data import texts
from cekat_async.sandbox.data.draws import pick
from cekat_async.sandbox.data.ids import Ids
from cekat_async.sandbox.data.timeline import FORMATTERS, NEWEST
from cekat_async.sandbox.seeded_hash import derive_key, hash_number

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATTERN = 4096
_PATTERN_PER_INBOX = 4


class InboxRenderer:
    """Renders the inboxes with the given ids."""

    def __init__(self, ids: list[str], seed: int) -> None:
        self._ids = ids
        self._seed = seed
        self._key = derive_key(seed, "inboxes")
        self._format_time = FORMATTERS["micro"]
        # The name and the platform of each inbox that was added after the start.
        self._given: dict[int, tuple[str, str]] = {}

    def add(self, number: int, name: str | None, platform: str | None) -> None:
        """Add an inbox. If the name or the platform is ``None``, the seed determines it."""
        usual = get_inbox_name(self._seed, number), get_platform(number)
        self._given[number] = name or usual[0], platform or usual[1]

    def describe(self, number: int) -> tuple[str, str]:
        """Return the name and the platform of an inbox."""
        usual = get_inbox_name(self._seed, number), get_platform(number)
        return self._given.get(number, usual)

    def render(self, number: int) -> bytes:
        """Return an inbox as JSON in UTF-8, in the form that the API uses."""
        bits = hash_number(self._key, number)
        name, platform = self.describe(number)
        is_closed = number and number not in self._given and bits % 11 == 0
        scripted, staffed = bits % 5 > 0, bits % 3 > 0
        return msgspec.json.encode(
            {
                "id": self._ids[number],
                "name": name,
                "type": platform,
                "status": "inactive" if is_closed else "active",
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
    """Return the display name of inbox ``number``. No two inboxes have the same name."""
    name, city = pick(texts.INBOX_NAMES, number), pick(texts.CITIES, seed + number)
    return f"{name} {city}" if number < len(texts.INBOX_NAMES) else f"{name} {city} {number}"


class InboxDistribution:
    """Assigns inboxes by a seeded pattern that repeats. The sizes of inboxes follow Zipf's law.

    No inbox is empty if there are at least as many conversations as inboxes. Inbox 0 is the
    largest. All results are computed, so filters do not have to scan the conversations.
    """

    def __init__(self, conversations: int, inboxes: int, seed: int) -> None:
        self._total = conversations
        longest = max(_PATTERN, _PATTERN_PER_INBOX * inboxes)
        # Even an empty account needs a pattern, for conversations that are created later.
        length = min(conversations or longest, longest) if inboxes else 0
        self._pattern = _build_pattern(length, inboxes, derive_key(seed, "spread"))
        self._places = [array("l") for _ in range(inboxes)]
        for place, inbox in enumerate(self._pattern):
            self._places[inbox].append(place)

    def get_inbox(self, number: int) -> int:
        """Return the inbox of conversation ``number``."""
        # If an account had no inbox at the start, all its conversations are in the first inbox.
        return self._pattern[number % len(self._pattern)] if self._pattern else 0

    def add_inbox(self) -> None:
        """Add an inbox without conversations."""
        self._places.append(array("l"))

    def size(self, inbox: int) -> int:
        """Return the number of conversations that ``inbox`` has at the start."""
        return self.count_below(inbox, self._total)

    def count_below(self, inbox: int, number: int) -> int:
        """Return how many conversations in ``inbox`` have a number less than ``number``."""
        places = self._places[inbox]
        if not places:
            return 0
        rounds, place = divmod(number, len(self._pattern))
        return rounds * len(places) + bisect_left(places, place)

    def ascending(self, inbox: int, start: int) -> Iterator[int]:
        """Yield the numbers of the conversations in ``inbox``, from ``start`` upwards."""
        for rank in range(self.count_below(inbox, start), self.size(inbox)):
            yield self._get_conversation(inbox, rank)

    def descending(self, inbox: int, stop: int) -> Iterator[int]:
        """Yield the numbers of the conversations in ``inbox``, from ``stop - 1`` downwards."""
        for rank in range(self.count_below(inbox, stop) - 1, -1, -1):
            yield self._get_conversation(inbox, rank)

    def _get_conversation(self, inbox: int, rank: int) -> int:
        places = self._places[inbox]
        rounds, place = divmod(rank, len(places))
        return rounds * len(self._pattern) + places[place]


def _build_pattern(length: int, inboxes: int, key: int) -> array[int]:
    harmonic = sum(1 / (inbox + 1) for inbox in range(inboxes))
    spare = max(0, length - inboxes)
    pattern = list(range(min(inboxes, length)))
    for inbox in range(inboxes):
        pattern += [inbox] * int(spare / (inbox + 1) / harmonic)
    # Rounding down leaves some places of the pattern unused. The smallest inboxes get them.
    pattern += [inboxes - 1 - index % inboxes for index in range(length - len(pattern))]
    order = sorted(range(length), key=lambda place: hash_number(key, place))
    return array("l", (pattern[place] for place in order))
