"""What this client has sent: how much of any window its own requests can take up. Pure."""

from __future__ import annotations

import math
from collections import deque

__all__ = ["Permit", "SentLog"]


class Permit:
    """One request that may go out, from its grant until it is settled.

    Attributes:
        sent: When it was granted; the server cannot have counted it sooner.
        room: How much the server had said to be left then; infinite where it had not said.
        before: Requests that had gone out by then and stood in no window any more.
    """

    __slots__ = ("before", "room", "sent")

    def __init__(self, sent: float, room: float = math.inf, before: int = 0) -> None:
        self.sent = sent
        self.room = room
        self.before = before


class SentLog:
    """The requests of the last period: how many are under way, and when the others were counted.

    The server counts a request somewhere between its departure and its reply, so that a place in
    its window is certain to be free one period after the *reply*. It is so a little sooner: the
    reply that began that period, and the request that takes the place, both need their time. Half
    of the quickest exchange so far is taken off for that. No jitter, however large, then puts more
    into a window than is counted here, unless two ways together are that much quicker than any
    exchange was.

    Attributes:
        opened: Requests that went out so far.
        under_way: Those of them that are not settled yet.
        aged: How many places have come free so far.
    """

    def __init__(self) -> None:
        self.opened = 0
        self.under_way = 0
        self.aged = 0
        self._counted: deque[float] = deque()
        self._quickest = math.inf

    @property
    def has_counted(self) -> bool:
        """Whether any request of the last period is settled."""
        return bool(self._counted)

    def open(self) -> None:
        """Write down a request that goes out."""
        self.opened += 1
        self.under_way += 1

    def close(self, now: float, *, sent: bool = True) -> None:
        """Write down that a request is over; one that was never sent took no place."""
        self.under_way -= 1
        if sent:
            self._counted.append(now)

    def time(self, seconds: float) -> None:
        """Learn how long an exchange took."""
        self._quickest = min(self._quickest, seconds)

    def spent(self, now: float, per: float) -> int:
        """Return how many requests a window of ``per`` seconds that ends now may hold."""
        counted, held = self._counted, self._held(per)
        while counted and counted[0] + held <= now:
            counted.popleft()
            self.aged += 1
        return len(counted) + self.under_way

    def next_free(self, per: float) -> float:
        """Return when the next place comes free; infinite if a reply has to come first."""
        return self._counted[0] + self._held(per) if self._counted else math.inf

    def _held(self, per: float) -> float:
        # Before the first reply nothing is known; and the quickest of slow ones proves little.
        return per if self._quickest == math.inf else per - min(self._quickest, per / 10) / 2
