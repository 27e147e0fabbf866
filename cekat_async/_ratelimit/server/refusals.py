"""Classifies the reason for a 429. Pure.

There are several reasons, and only one of them is a used-up quota.
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

# Seconds. A quota per minute never causes a pause as short as this.
_AT_ONCE = 1.0
# Seconds. A longer pause means that the server has banned the client.
_BAN = 3_600.0
# If a pause is longer than this many windows, the window's quota cannot be the reason.
_LATER = 2
# If at most this fraction of the limit remains, the quota counts as used up, because other clients
# may have used the rest by now.
_LITTLE = 1 / 50
# Refusals are more than a short overload if there are ``_PERSISTENT`` in a row, or ``_OFTEN`` among
# the ``_LATEST`` latest requests.
_PERSISTENT, _OFTEN, _LATEST = 3, 5, 50


class RefusalKind(StrEnum):
    """The reason why the server refused a request.

    Attributes:
        QUOTA: The quota is used up. Only this reason concerns the limit and its window.
        PAUSE: The server asks for a pause, although it reports that requests are left.
        OVERLOAD: The server is busy for a moment. The client may retry immediately.
        BAN: The server asks for a pause of more than an hour, for example because the daily quota
            is used up.
    """

    QUOTA = "quota"
    PAUSE = "pause"
    OVERLOAD = "overload"
    BAN = "ban"


def classify_refusal(
    reported: Sequence[QuotaStatement], asked: float | None, per: float
) -> RefusalKind:
    """Return the reason why the server refused a request.

    Args:
        reported: The reply's statement about each quota.
        asked: The seconds of the reply's ``Retry-After`` header; ``None`` without the header.
        per: The length in seconds of the window for which the server reports ``remaining``.
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
        counts: The number of refusals of each kind.
        latest: The kind of the latest refusal; ``None`` if there was none.
        at: The time of the latest new refusal. :meth:`is_news` defines which refusals are new.
        in_a_row: The number of new refusals since the last granted request.
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
        """Whether a refused request was sent after the last new refusal arrived."""
        if sent <= self.at:
            return False
        self.at = now
        self.in_a_row += 1
        return True

    def note_grant(self, sent: float) -> None:
        """Record that the server granted a request, which was sent at the time ``sent``."""
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
