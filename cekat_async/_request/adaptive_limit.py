"""How many requests the server lets be under way at once, found by trying. Pure.

A server that allows fewer at once than the client is configured for refuses requests although quota
is left. The limit then falls below the number at which a request was refused. It rises again by one
after some rounds without a refusal, where a round is as many successes as the limit. If the server
refuses that too, the number of rounds before the next attempt doubles.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

__all__ = ["AdaptiveLimit", "Departure"]

# Rounds without a refusal before the limit rises by one: the fewest, and the most.
_FEWEST_ROUNDS = 2
_MOST_ROUNDS = 32
# If this many requests succeeded since the last refusal with at least as many under way, then their
# number is not the reason for a refusal.
_PROOF = 10


class Departure(NamedTuple):
    """A request when it was sent: its number, and how many were then under way with it."""

    number: int
    in_flight: int


class AdaptiveLimit:
    """Lowers and raises a limit of requests under way at once.

    Args:
        most: The limit to begin with. It never rises above that.

    Attributes:
        now: The present limit, from 1 to ``most``.
    """

    def __init__(self, most: int) -> None:
        self.now = self.most = most
        self._last = Departure(0, 0)
        # A reply to a request that was sent earlier is about the limit of that time.
        self._changed_after = 0
        self._successes = 0
        self._successes_by_number: Counter[int] = Counter()
        self._rounds = self._rounds_after_refusal = _FEWEST_ROUNDS

    def depart(self, in_flight: int) -> Departure:
        """Record that a request is sent, with so many under way, itself included."""
        self._last = Departure(self._last.number + 1, in_flight)
        return self._last

    def succeed(self, departure: Departure) -> None:
        """Record that a request was answered."""
        self._successes_by_number[departure.in_flight] += 1
        if self.now < self.most and departure.number > self._changed_after:
            self._successes += 1
            if self._successes >= self._rounds * self.now:
                self._raise()

    def refuse(self, departure: Departure) -> None:
        """Record that a request was refused because there were too many at once."""
        if departure.number <= self._changed_after:
            return  # the limit has fallen for this set of requests already
        proof = sum(
            count
            for number, count in self._successes_by_number.items()
            if number >= departure.in_flight
        )
        self._successes = 0
        self._successes_by_number.clear()
        lower = max(1, departure.in_flight - 1)
        if proof < _PROOF and lower < self.now:
            self._lower(lower)

    def _lower(self, limit: int) -> None:
        self._rounds_after_refusal = min(2 * self._rounds_after_refusal, _MOST_ROUNDS)
        self._change(limit, self._rounds_after_refusal)

    def _raise(self) -> None:
        if self._rounds == _FEWEST_ROUNDS:
            # The last change was a rise too, and nothing was refused: the server allows more now.
            self._rounds_after_refusal = _FEWEST_ROUNDS
        self._change(self.now + 1, _FEWEST_ROUNDS)

    def _change(self, limit: int, rounds: int) -> None:
        self.now, self._rounds = limit, rounds
        self._successes, self._changed_after = 0, self._last.number
