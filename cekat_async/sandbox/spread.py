"""Which conversation belongs to which inbox: by arithmetic, so that no filter has to scan."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

from .mixing import mix, subkey

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATTERN = 4096
_PATTERN_PER_INBOX = 4


class Spread:
    """A seeded pattern of inboxes that repeats over the conversations; sizes follow Zipf's law.

    Every inbox has at least one conversation as soon as there are as many conversations as
    inboxes. Inbox 0 is the largest.

    Args:
        conversations: how many conversations there are before anything happens.
        inboxes: how many inboxes there are; at least one.
        seed: seed of the sandbox.
    """

    def __init__(self, conversations: int, inboxes: int, seed: int) -> None:
        self._total = conversations
        longest = max(_PATTERN, _PATTERN_PER_INBOX * inboxes)
        # Without conversations the pattern is that of those which may yet appear.
        length = min(conversations or longest, longest) if inboxes else 0
        self._pattern = _pattern(length, inboxes, subkey(seed, "spread"))
        self._places = [array("l") for _ in range(inboxes)]
        for place, inbox in enumerate(self._pattern):
            self._places[inbox].append(place)

    def inbox_of(self, number: int) -> int:
        """Return the inbox of conversation `number`."""
        return self._pattern[number % len(self._pattern)]

    def size(self, inbox: int) -> int:
        """Return how many conversations `inbox` has before anything happens."""
        return self.below(inbox, self._total)

    def below(self, inbox: int, number: int) -> int:
        """Return how many conversations of `inbox` have a number smaller than `number`."""
        rounds, place = divmod(number, len(self._pattern))
        places = self._places[inbox]
        return rounds * len(places) + bisect_left(places, place)

    def member(self, inbox: int, rank: int) -> int:
        """Return the number of the conversation that is the `rank`-th of `inbox`."""
        places = self._places[inbox]
        rounds, place = divmod(rank, len(places))
        return rounds * len(self._pattern) + places[place]

    def upward(self, inbox: int, start: int) -> Iterator[int]:
        """Yield the conversations of `inbox` from `start` on, numbers rising."""
        for rank in range(self.below(inbox, start), self.size(inbox)):
            yield self.member(inbox, rank)

    def downward(self, inbox: int, stop: int) -> Iterator[int]:
        """Yield the conversations of `inbox` below `stop`, numbers falling."""
        for rank in range(self.below(inbox, stop) - 1, -1, -1):
            yield self.member(inbox, rank)


def _pattern(length: int, inboxes: int, key: int) -> array[int]:
    harmonic = sum(1 / (inbox + 1) for inbox in range(inboxes))
    spare = max(0, length - inboxes)
    pattern = list(range(min(inboxes, length)))
    for inbox in range(inboxes):
        pattern += [inbox] * int(spare / (inbox + 1) / harmonic)
    # What rounding down leaves over goes to the smallest, so that the head stays Zipf's.
    pattern += [inboxes - 1 - index % inboxes for index in range(length - len(pattern))]
    order = sorted(range(length), key=lambda place: mix(key, place))
    return array("l", (pattern[place] for place in order))
