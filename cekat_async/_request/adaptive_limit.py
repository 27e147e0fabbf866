"""How many concurrent requests the server allows, found by trial. Pure.

A server that allows fewer than the client's ``concurrency`` refuses requests although quota is
left. Each refused request of those in flight together lowers the limit by one. The limit rises by
one after some rounds without a refusal, where a round has as many successes as the limit. If the
server refuses the raised limit, the number of rounds before the next rise doubles.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

__all__ = ["AdaptiveLimit", "Flight"]

# The fewest and the most rounds without a refusal before the limit rises by one. With five
# concurrent requests of 1.5 s each, the most take 24 s, and one request in 80 is refused.
_FEWEST_ROUNDS = 2
_MOST_ROUNDS = 16
# If this many requests have succeeded with at least as many in flight, then their number is not the
# reason for a refusal. A server that refuses 1 % at random therefore costs only 1 %.
_PROOF = 20


@dataclass
class Flight:
    """One request in flight.

    Attributes:
        number: Its number, in the order of sending.
        under_way: Requests in flight, itself included: when it was sent or when its reply arrived,
            whichever is more.
    """

    number: int
    under_way: int


class AdaptiveLimit:
    """Lowers and raises the limit of concurrent requests.

    Args:
        most: The limit to begin with. It never rises above that.

    Attributes:
        now: The present limit, from 1 to ``most``.
    """

    def __init__(self, most: int) -> None:
        self.now = self.most = most
        self._latest = 0
        # The latest requests that were sent before the limit changed, and before it was lowered.
        self._changed_after = self._lowered_after = 0
        self._successes = 0
        self._successes_with: Counter[int] = Counter()
        self._rounds = self._rounds_after_refusal = _FEWEST_ROUNDS
        # Whether the last change was a rise that is not confirmed yet.
        self._is_trial = False

    def depart(self, under_way: int) -> Flight:
        """Record that a request is sent; ``under_way`` counts this one, too."""
        self._latest += 1
        return Flight(self._latest, under_way)

    def succeed(self, flight: Flight) -> None:
        """Record that a request was answered."""
        self._successes_with[flight.under_way] += 1
        if flight.number > self._changed_after:
            self._successes += 1
            if self._successes >= self._rounds * self.now:
                self._raise()

    def refuse(self, flight: Flight) -> None:
        """Record that a request was refused because there were too many at once."""
        if flight.number <= self._lowered_after:
            # It was in flight together with the request that already lowered the limit.
            self.now = max(1, self.now - 1)
        elif not self._is_proven(flight.under_way) and flight.under_way <= self.now:
            self._lower(max(1, flight.under_way - 1))
        self._successes = 0
        self._successes_with.clear()

    def _is_proven(self, under_way: int) -> bool:
        counts = self._successes_with.items()
        return sum(count for number, count in counts if number >= under_way) >= _PROOF

    def _lower(self, limit: int) -> None:
        self._lowered_after = self._latest
        if self._is_trial:
            self._rounds_after_refusal = min(2 * self._rounds_after_refusal, _MOST_ROUNDS)
        self._is_trial = False
        self._change(limit, self._rounds_after_refusal)

    def _raise(self) -> None:
        if self._is_trial:
            # The last rise was not refused: the server allows more than it did.
            self._rounds_after_refusal = _FEWEST_ROUNDS
        self._is_trial = self.now < self.most
        self._change(min(self.now + 1, self.most), _FEWEST_ROUNDS)

    def _change(self, limit: int, rounds: int) -> None:
        self.now, self._rounds = limit, rounds
        self._successes, self._changed_after = 0, self._latest
