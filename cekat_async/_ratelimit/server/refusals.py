"""Why a server answered with a 429. Pure.

There are several reasons, and only one of them says something about the quota.
"""

from __future__ import annotations

import math
from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cekat_async._ratelimit.server.headers import QuotaStatement

__all__ = ["RefusalHistory", "RefusalKind", "classify_refusal"]

# Seconds. A shorter pause cannot be about a quota that is counted per minute.
_AT_ONCE = 1.0
# Seconds. A longer pause means that the server has banned the client.
_BAN = 3_600.0
# A pause of more than this many windows cannot be about the window's quota.
_LATER = 2
# A remainder of up to this part of the limit counts as nothing: others may have used it by now.
_LITTLE = 1 / 50
# This many refusals in a row, or this many among the latest requests, are no passing overload.
_PERSISTENT, _OFTEN, _LATEST = 3, 5, 50


class RefusalKind(StrEnum):
    """Why a request was refused.

    Attributes:
        QUOTA: The quota is used up. It concerns the limit and its window.
        PAUSE: The server asks for a pause, although it reports that requests are left.
        OVERLOAD: The server is busy at this moment: the client may retry at once.
        BAN: The server asks for a pause of more than an hour, such as after the daily quota.
    """

    QUOTA = "quota"
    PAUSE = "pause"
    OVERLOAD = "overload"
    BAN = "ban"


def classify_refusal(
    reported: Sequence[QuotaStatement], asked: float | None, per: float
) -> RefusalKind:
    """Return why a request was refused.

    Args:
        reported: The reply's statement about each quota.
        asked: The seconds of its ``Retry-After``; ``None`` without one.
        per: Seconds of the window that the statements are about.
    """
    if (asked or 0.0) > _BAN or any(one.is_long and one.remaining == 0 for one in reported):
        return RefusalKind.BAN
    known = [one for one in reported if one.remaining is not None]
    if any(map(_is_used_up, known)) and (asked or 0.0) <= _LATER * per + _AT_ONCE:
        return RefusalKind.QUOTA
    if asked is not None and asked < _AT_ONCE:
        return RefusalKind.OVERLOAD
    if not known:
        return RefusalKind.QUOTA
    return RefusalKind.OVERLOAD if asked is None else RefusalKind.PAUSE


def _is_used_up(one: QuotaStatement) -> bool:
    return (one.remaining or 0) <= _LITTLE * (one.limit or 0)


class RefusalHistory:
    """The refusals so far.

    Attributes:
        counts: How many there were of each kind.
        latest: The kind of the latest; ``None`` if there was none.
        at: When the latest refusal arrived that showed something new.
        in_a_row: Refusals in a row, each of a request that was sent after the one before.
    """

    def __init__(self) -> None:
        self.counts = dict.fromkeys(RefusalKind, 0)
        self.latest: RefusalKind | None = None
        self.at = -math.inf
        self.in_a_row = 0
        self._latest: deque[bool] = deque(maxlen=_LATEST)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def add(self, kind: RefusalKind) -> None:
        self.counts[kind] += 1
        self.latest = kind
        self._latest.append(True)

    def is_news(self, sent: float, now: float) -> bool:
        """Whether a refusal is new: its request was sent after the last new refusal arrived."""
        if sent <= self.at:
            return False
        self.at = now
        self.in_a_row += 1
        return True

    def note_grant(self, sent: float) -> None:
        """Record that a request which was sent at that time was granted."""
        self._latest.append(False)
        if sent > self.at:
            self.in_a_row = 0

    @property
    def are_persistent(self) -> bool:
        """Whether several requests in a row were refused."""
        return self.in_a_row >= _PERSISTENT

    @property
    def are_frequent(self) -> bool:
        """Whether many of the latest requests were refused."""
        return sum(self._latest) >= _OFTEN
