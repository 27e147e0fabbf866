"""What became of a request, as far as the quota is concerned. Pure."""

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
    """What the reply to a request says.

    Attributes:
        reported: What it reports of each quota.
        granted: Whether the request succeeded. One that failed may not have been counted.
        refusal: Why it was refused for being too much; ``None`` if it was not.
        asked: Seconds without requests that a refusal asks for; ``None`` if it does not say.
    """

    reported: tuple[QuotaStatement, ...] = ()
    granted: bool = True
    refusal: RefusalKind | None = None
    asked: float | None = None

    @property
    def short(self) -> list[QuotaStatement]:
        """What it reports of quotas that concern the pace, and not the day."""
        return [one for one in self.reported if not one.is_long]

    def get_reset(self, default: float) -> float:
        """Return the seconds until a used-up quota is available again, if that is reported."""
        resets = (one.reset for one in self.reported if one.reset is not None and not one.remaining)
        return max(resets, default=default)


def read_outcome(reply: Reply, per: float, *, trusts_headers: bool = True) -> Outcome:
    """Return what a reply says.

    Args:
        reply: The reply.
        per: The seconds that the server's window is assumed to be long.
        trusts_headers: Whether its rate-limit headers are read. ``Retry-After`` always is.
    """
    reported = parse_rate_limit_headers(reply.headers) if trusts_headers else ()
    if reply.status != TOO_MANY_REQUESTS:
        return Outcome(reported, granted=reply.status == OK)
    asked = parse_retry_after(reply.headers)
    refusal = classify_refusal(reported, asked, per)
    return Outcome(reported, granted=False, refusal=refusal, asked=asked)
