"""How fast a run is, and whether it took long enough for that to mean something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cekat_async.export import ExportProgress

__all__ = ["has_pace", "paces"]

_A_FEW_SECONDS = 10.0
# Requests never arrive exactly as the quota is earned.
_TOLERANCE = 1.05


def has_pace(progress: ExportProgress) -> bool:
    """Whether speed and share of the quota say how fast the export is.

    They do not for a few seconds, and not while requests that were free at the beginning decide
    them: a server that has 300 requests left lets all of them go at once.
    """
    is_burst = progress.limit is not None and progress.requests > progress.earned * _TOLERANCE
    return progress.seconds >= _A_FEW_SECONDS and not is_burst


def paces(progress: ExportProgress) -> dict[str, Any]:
    """Return how fast a run is, for a program: whether that means anything is for it to say."""
    return {
        "per_minute": round(progress.per_minute, 1),
        "quota_share": progress.quota_share,
    }
