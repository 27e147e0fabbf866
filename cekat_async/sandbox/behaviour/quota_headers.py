"""Headers that report a quota, and ``Retry-After``."""

from __future__ import annotations

from email.utils import formatdate
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cekat_async.sandbox.behaviour.quota import QuotaState
    from cekat_async.sandbox.options import Quota, ResetAs


def build_quota_headers(quota: Quota, state: QuotaState, wall: float) -> dict[str, str]:
    """Return the headers in which every reply reports the quota.

    Args:
        quota: Which headers there are, and their format.
        state: What they report.
        wall: Now, in seconds since 1970.
    """
    limit, remaining = str(state.limit), str(state.remaining)
    match quota.headers:
        case None:
            return {}
        case "x-ratelimit":
            return {
                "X-RateLimit-Limit": limit,
                "X-RateLimit-Remaining": remaining,
                "X-RateLimit-Reset": _format_reset(quota.reset_as, state.reset, wall),
            }
        case "ratelimit":
            return {
                "RateLimit-Limit": limit,
                "RateLimit-Remaining": remaining,
                "RateLimit-Reset": str(ceil(state.reset)),
            }
        case "ratelimit-combined":
            reset = ceil(state.reset)
            return {
                "RateLimit": f"limit={limit}, remaining={remaining}, reset={reset}",
                "RateLimit-Policy": f"{limit};w={quota.per:g}",
            }


def build_retry_after(quota: Quota, state: QuotaState, wall: float) -> dict[str, str]:
    """Return the ``Retry-After`` of a refusal, rounded up so that obeying it is enough."""
    match quota.retry_after:
        case None:
            return {}
        case "seconds":
            return {"Retry-After": str(ceil(state.wait))}
        case "fraction":
            return {"Retry-After": f"{ceil(state.wait * 1000) / 1000:.3f}"}
        case "http-date":
            return {"Retry-After": formatdate(ceil(wall + state.wait), usegmt=True)}


def _format_reset(form: ResetAs, seconds: float, wall: float) -> str:
    match form:
        case "epoch":
            return str(ceil(wall + seconds))
        case "epoch_ms":
            return str(ceil((wall + seconds) * 1000))
        case "delta":
            return str(ceil(seconds))
