"""Finds out how many concurrent requests the server allows, by trial. Pure.

A server that allows fewer concurrent requests than the client's ``concurrency`` refuses some
requests even though quota is left. A refusal lowers the limit to one less than the number of
requests in flight. If the server refuses another of these requests, the limit falls by one more.
The limit rises by one after some rounds without a refusal. A round ends when the number of
successful requests has reached the limit. If the server refuses the raised limit, the number of
rounds before the next rise doubles.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

__all__ = ["AdaptiveLimit", "Flight"]

# The fewest and the most rounds without a refusal before the limit rises by one. With five
# concurrent requests of 1.5 s each, the largest number of rounds takes 24 s, and one request in 80
# is refused.
_FEWEST_ROUNDS = 2
_MOST_ROUNDS = 16
# A refusal has another reason if this many requests have succeeded while at least as many requests
# were in flight as now. With this rule, a server that refuses 1 % of requests at random costs only
# 1 % of the throughput.
_PROOF = 20


@dataclass
class Flight:
    """One request in flight.

    Attributes:
        number: The number of the request, in the order of sending.
        in_flight: The number of requests in flight when this request was sent or when its reply
            arrived, whichever is larger. It includes this request.
    """

    number: int
    in_flight: int


class AdaptiveLimit:
    """Lowers and raises the limit of concurrent requests.

    Args:
        most: The initial limit, which is also the highest.

    Attributes:
        now: The present limit, from 1 to ``most``.
    """

    def __init__(self, most: int) -> None:
        self.now = self.most = most
        self._latest = 0
        # The numbers of the last request before the limit changed, and of the last request before
        # it fell.
        self._changed_after = self._lowered_after = 0
        self._successes = 0
        self._successes_with: Counter[int] = Counter()
        self._rounds = self._rounds_after_refusal = _FEWEST_ROUNDS
        # True if the last change was a rise that is not confirmed yet.
        self._is_trial = False

    def depart(self, in_flight: int) -> Flight:
        """Record that a request is sent. ``in_flight`` includes this request."""
        self._latest += 1
        return Flight(self._latest, in_flight)

    def succeed(self, flight: Flight) -> None:
        """Record that a request succeeded."""
        self._successes_with[flight.in_flight] += 1
        if flight.number > self._changed_after:
            self._successes += 1
            if self._successes >= self._rounds * self.now:
                self._raise()

    def refuse(self, flight: Flight) -> None:
        """Record that a request was refused because too many were in flight."""
        if flight.number <= self._lowered_after:
            # This request was in flight together with a request that has already lowered the limit.
            self.now = max(1, self.now - 1)
        elif not self._is_proven(flight.in_flight) and flight.in_flight <= self.now:
            self._lower(max(1, flight.in_flight - 1))
        self._successes = 0
        self._successes_with.clear()

    def _is_proven(self, in_flight: int) -> bool:
        counts = self._successes_with.items()
        return sum(count for number, count in counts if number >= in_flight) >= _PROOF

    def _lower(self, limit: int) -> None:
        self._lowered_after = self._latest
        if self._is_trial:
            self._rounds_after_refusal = min(2 * self._rounds_after_refusal, _MOST_ROUNDS)
        self._is_trial = False
        self._change(limit, self._rounds_after_refusal)

    def _raise(self) -> None:
        if self._is_trial:
            # No refusal followed the last rise, so the server allows more than before.
            self._rounds_after_refusal = _FEWEST_ROUNDS
        self._is_trial = self.now < self.most
        self._change(min(self.now + 1, self.most), _FEWEST_ROUNDS)

    def _change(self, limit: int, rounds: int) -> None:
        self.now, self._rounds = limit, rounds
        self._successes, self._changed_after = 0, self._latest
