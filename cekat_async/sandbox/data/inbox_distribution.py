"""Which inbox each conversation belongs to, computed so that filters need not scan."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

from cekat_async.sandbox.seeded_hash import derive_key, hash_number

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATTERN = 4096
_PATTERN_PER_INBOX = 4


class InboxDistribution:
    """Assigns inboxes by a seeded pattern that repeats; their sizes follow Zipf's law.

    No inbox is empty if there are at least as many conversations as inboxes. Inbox 0 is the
    largest.

    Args:
        conversations: How many conversations there are at the start.
        inboxes: How many inboxes there are.
        seed: Seed of the sandbox.
    """

    def __init__(self, conversations: int, inboxes: int, seed: int) -> None:
        self._total = conversations
        longest = max(_PATTERN, _PATTERN_PER_INBOX * inboxes)
        # An empty account needs a pattern too, for conversations that are created later.
        length = min(conversations or longest, longest) if inboxes else 0
        self._pattern = _build_pattern(length, inboxes, derive_key(seed, "spread"))
        self._places = [array("l") for _ in range(inboxes)]
        for place, inbox in enumerate(self._pattern):
            self._places[inbox].append(place)

    def get_inbox(self, number: int) -> int:
        """Return the inbox of conversation ``number``."""
        return self._pattern[number % len(self._pattern)]

    def size(self, inbox: int) -> int:
        """Return how many conversations ``inbox`` has at the start."""
        return self.count_below(inbox, self._total)

    def count_below(self, inbox: int, number: int) -> int:
        """Return how many conversations of ``inbox`` have a number smaller than ``number``."""
        rounds, place = divmod(number, len(self._pattern))
        places = self._places[inbox]
        return rounds * len(places) + bisect_left(places, place)

    def get_conversation(self, inbox: int, rank: int) -> int:
        """Return the number of the conversation that is the ``rank``-th of ``inbox``."""
        places = self._places[inbox]
        rounds, place = divmod(rank, len(places))
        return rounds * len(self._pattern) + places[place]

    def ascending(self, inbox: int, start: int) -> Iterator[int]:
        """Yield the conversations of ``inbox`` from ``start`` on, in ascending order."""
        for rank in range(self.count_below(inbox, start), self.size(inbox)):
            yield self.get_conversation(inbox, rank)

    def descending(self, inbox: int, stop: int) -> Iterator[int]:
        """Yield the conversations of ``inbox`` below ``stop``, in descending order."""
        for rank in range(self.count_below(inbox, stop) - 1, -1, -1):
            yield self.get_conversation(inbox, rank)


def _build_pattern(length: int, inboxes: int, key: int) -> array[int]:
    harmonic = sum(1 / (inbox + 1) for inbox in range(inboxes))
    spare = max(0, length - inboxes)
    pattern = list(range(min(inboxes, length)))
    for inbox in range(inboxes):
        pattern += [inbox] * int(spare / (inbox + 1) / harmonic)
    # Rounding down leaves some places, which go to the smallest inboxes.
    pattern += [inboxes - 1 - index % inboxes for index in range(length - len(pattern))]
    order = sorted(range(length), key=lambda place: hash_number(key, place))
    return array("l", (pattern[place] for place in order))
