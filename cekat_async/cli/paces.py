"""The speed of a run, and whether it is meaningful."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cekat_async.export import ExportProgress

__all__ = ["has_pace", "paces"]

_A_FEW_SECONDS = 10.0
# Even pacing runs a little ahead of the quota.
_TOLERANCE = 1.05


def has_pace(progress: ExportProgress) -> bool:
    """Whether speed and share of the quota are meaningful.

    They are not for a run of a few seconds, nor while a burst at the beginning decides them: a
    server with 300 requests left lets the client send all of them at once.
    """
    is_burst = progress.limit is not None and progress.requests > progress.earned * _TOLERANCE
    return progress.seconds >= _A_FEW_SECONDS and not is_burst


def paces(progress: ExportProgress) -> dict[str, Any]:
    """Return the speed of a run for a program, whether it is meaningful or not."""
    return {
        "per_minute": round(progress.per_minute, 1),
        "quota_share": progress.quota_share,
    }
