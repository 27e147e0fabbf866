"""How a quota speaks in headers."""

from __future__ import annotations

from email.utils import formatdate
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .options import Quota, ResetAs
    from .quota import Standing


def quota_headers(quota: Quota, standing: Standing, wall: float) -> dict[str, str]:
    """Return what every reply says about the quota.

    Args:
        quota: how it is to be said.
        standing: what is to be said.
        wall: now, in seconds since 1970.
    """
    limit, remaining = str(standing.limit), str(standing.remaining)
    match quota.headers:
        case None:
            return {}
        case "x-ratelimit":
            return {
                "X-RateLimit-Limit": limit,
                "X-RateLimit-Remaining": remaining,
                "X-RateLimit-Reset": _reset(quota.reset_as, standing.reset, wall),
            }
        case "ratelimit":
            return {
                "RateLimit-Limit": limit,
                "RateLimit-Remaining": remaining,
                "RateLimit-Reset": str(ceil(standing.reset)),
            }
        case "ratelimit-combined":
            reset = ceil(standing.reset)
            return {
                "RateLimit": f"limit={limit}, remaining={remaining}, reset={reset}",
                "RateLimit-Policy": f"{limit};w={quota.per:g}",
            }


def retry_after(quota: Quota, standing: Standing, wall: float) -> dict[str, str]:
    """Return the `Retry-After` of a refusal; always rounded up, so that obeying it suffices."""
    match quota.retry_after:
        case None:
            return {}
        case "seconds":
            return {"Retry-After": str(ceil(standing.wait))}
        case "fraction":
            return {"Retry-After": f"{ceil(standing.wait * 1000) / 1000:.3f}"}
        case "http-date":
            return {"Retry-After": formatdate(ceil(wall + standing.wait), usegmt=True)}


def _reset(as_: ResetAs, seconds: float, wall: float) -> str:
    match as_:
        case "epoch":
            return str(ceil(wall + seconds))
        case "epoch_ms":
            return str(ceil((wall + seconds) * 1000))
        case "delta":
            return str(ceil(seconds))
