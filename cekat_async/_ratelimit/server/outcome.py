"""Reads from a reply what it shows about the quota. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cekat_async._api.dates import parse_retry_after
from cekat_async._api.status import OK, TOO_MANY_REQUESTS
from cekat_async._ratelimit.server.headers import QuotaStatement, parse_rate_limit_headers
from cekat_async._ratelimit.server.refusals import RefusalKind, classify_refusal

if TYPE_CHECKING:
    from cekat_async._api.replies import Reply

__all__ = ["Outcome", "read_outcome"]


class Outcome(NamedTuple):
    """Everything that a reply shows about the quota.

    Attributes:
        reported: The reply's statement about each quota.
        granted: True if the request succeeded. The server may not have counted a failed request.
        refusal: The reason for a 429; ``None`` for any other status.
        asked: The seconds of the pause that a refusal asks for; ``None`` without a pause.
    """

    reported: tuple[QuotaStatement, ...] = ()
    granted: bool = True
    refusal: RefusalKind | None = None
    asked: float | None = None

    @property
    def short(self) -> list[QuotaStatement]:
        """The statements about quotas whose window is at most an hour."""
        return [one for one in self.reported if not one.is_long]

    def get_reset(self, default: float) -> float:
        """Return the reported seconds until a used-up quota is available again, or ``default``."""
        resets = (one.reset for one in self.reported if one.reset is not None and not one.remaining)
        return max(resets, default=default)


def read_outcome(reply: Reply, per: float, *, trusts_headers: bool = True) -> Outcome:
    """Return the outcome that a reply shows.

    Args:
        reply: The reply.
        per: The assumed length of the server's window in seconds.
        trusts_headers: True to read the rate-limit headers. ``Retry-After`` is always read.
    """
    reported = parse_rate_limit_headers(reply.headers) if trusts_headers else ()
    if reply.status != TOO_MANY_REQUESTS:
        return Outcome(reported, granted=reply.status == OK)
    asked = parse_retry_after(reply.headers)
    refusal = classify_refusal(reported, asked, per)
    return Outcome(reported, granted=False, refusal=refusal, asked=asked)
