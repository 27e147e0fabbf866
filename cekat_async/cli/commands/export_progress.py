"""Shows the progress of an export: as a moving line, as a line every few seconds, or as JSON."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cekat_async.cli.formatting import format_duration, format_rate, pluralize
from cekat_async.cli.reporter import LONGEST_LINE
from cekat_async.cli.streams import can_encode
from cekat_async.redaction import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from cekat_async import LimiterSnapshot
    from cekat_async.cli.reporter import Reporter
    from cekat_async.export import ExportProgress

    TakeSnapshot = Callable[[], "Snapshot"]

__all__ = ["Snapshot", "get_speed_fields", "is_speed_meaningful", "make_display", "shown"]

_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_REFRESHES = 0.25
# Shorter waits are not shown, because the client's pacing waits between any two requests.
_SHORTEST_WAIT = 1.0
# The speed is not meaningful until a run has lasted this long.
_MEANINGFUL_SECONDS = 10.0
# The client's pacing lets the client run slightly ahead of the quota.
_TOLERANCE = 1.05
# The width of the moving line without its text: the spinner and the elapsed time.
_FRAME = len("* ") + len(" 10:00:00")
_PAGE = 100
# Descriptions for the values of ``LimiterSnapshot.waits_for`` that need an explanation.
_WAITS = {"others": "others on this address"}
_now = time.monotonic


class Snapshot(NamedTuple):
    """The progress of an export, its limiter and its target at one moment."""

    progress: ExportProgress
    limiter: LimiterSnapshot
    target: str


def make_display(reporter: Reporter, take_snapshot: TakeSnapshot) -> ProgressBar | ProgressLog:
    """Return a moving line for a terminal, and plain lines or JSON for a log.

    Only ``refresh`` takes a snapshot, so snapshots are taken in the thread of the event loop.
    """
    kind = ProgressBar if reporter.has_screen else ProgressLog
    return kind(reporter, take_snapshot)


@contextmanager
def shown(display: ProgressBar | ProgressLog) -> Generator[None, None, None]:
    """Show a display and refresh it several times a second while the body of ``with`` runs."""
    display.start()
    task = asyncio.create_task(_refresh_forever(display))
    try:
        yield
    finally:
        task.cancel()
        display.stop()


async def _refresh_forever(display: ProgressBar | ProgressLog) -> None:
    while True:
        display.refresh()
        await asyncio.sleep(_SECONDS_BETWEEN_REFRESHES)


class ProgressBar:
    """The progress as one moving line."""

    def __init__(self, reporter: Reporter, take_snapshot: TakeSnapshot) -> None:
        self._console = reporter.console
        self._take_snapshot = take_snapshot
        self._progress = Progress(
            SpinnerColumn("dots" if can_encode(reporter.console.encoding, "⠋") else "line"),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=reporter.console,
            transient=True,
        )
        self._task = self._progress.add_task("asking for the first page", total=None)

    def start(self) -> None:
        """Draw the line."""
        self._progress.start()

    def stop(self) -> None:
        """Remove the line. Any thread may call this, even several times."""
        self._progress.stop()

    def refresh(self) -> None:
        """Update the line."""
        # rich draws in another thread, which must not read the limiter.
        text = _describe(self._take_snapshot(), self._console.width - _FRAME)
        self._progress.update(self._task, description=text)


class ProgressLog:
    """The progress as a line every few seconds, for a log."""

    def __init__(self, reporter: Reporter, take_snapshot: TakeSnapshot) -> None:
        self._reporter = reporter
        self._take_snapshot = take_snapshot
        self._next = -math.inf
        self._last_pages: int = 0

    def start(self) -> None:
        """No-op: the first refresh writes a line."""

    def stop(self) -> None:
        """No-op: a log does not occupy the screen."""

    def refresh(self) -> None:
        """Write a line if there is progress and the last line is a few seconds old."""
        if (now := _now()) < self._next:
            return
        snapshot = self._take_snapshot()
        pages, published = snapshot.progress.pages, snapshot.progress.published
        # The limiter logs a pause only once, but readers of the JSON want to see how long it still
        # lasts.
        is_news = pages != self._last_pages or (
            self._reporter.as_json and _describe_wait(snapshot.limiter)[0]
        )
        # Some steps of publishing have no counts, so write a line anyway: it shows that the export
        # runs.
        if is_news or published is not None:
            self._last_pages, self._next = pages, now + _SECONDS_BETWEEN_LINES
            fields = _get_fields(snapshot)
            self._reporter.report_block(_describe(snapshot), event="progress", **fields)


def is_speed_meaningful(progress: ExportProgress) -> bool:
    """Return whether the speed and the share of the quota are meaningful.

    They are not meaningful in the first seconds of a run, or while an initial burst dominates. For
    example, if the server allows 300 requests at once, the client may begin with a burst of 300.
    """
    is_burst = progress.limit is not None and progress.requests > progress.earned * _TOLERANCE
    return progress.seconds >= _MEANINGFUL_SECONDS and not is_burst


def get_speed_fields(progress: ExportProgress) -> dict[str, Any]:
    """Return the speed of a run as fields for a log in JSON, even if it is not meaningful."""
    return {"per_minute": round(progress.per_minute, 1), "quota_share": progress.quota_share}


def _get_fields(snapshot: Snapshot) -> dict[str, Any]:
    progress, limiter, _ = snapshot
    waits = bool(_describe_wait(limiter)[0])
    return msgspec.structs.asdict(progress) | {
        **get_speed_fields(progress),
        "seconds_left": _estimate_seconds_left(snapshot),
        "waiting": limiter.next_in if waits else 0.0,
        "waiting_for": (limiter.pause_reason or _get_cause(limiter)) if waits else None,
    }


def _describe(snapshot: Snapshot, width: float = math.inf) -> str:
    """Return the progress as text, in the longest form that fits into a width."""
    is_publishing = snapshot.progress.published is not None
    wordings = _describe_publishing(snapshot) if is_publishing else _describe_fetching(snapshot)
    return next((text for text in wordings if len(text) <= width), wordings[-1])


def _describe_publishing(snapshot: Snapshot) -> list[str]:
    progress, target = snapshot.progress, one_line(snapshot.target, LONGEST_LINE)
    if progress.to_publish is None:
        if progress.compared:
            compared = f"comparing with {progress.compared:,} old conversations"
            return [f"{compared} of {target}", compared]
        return [f"preparing to write to {target}", "preparing to write"]
    if progress.published == progress.to_publish:
        return [f"finishing {target}", "finishing"]
    written = f"writing {progress.published:,} of {progress.to_publish:,} conversations"
    return [f"{written} to {target}", written]


def _describe_fetching(snapshot: Snapshot) -> list[str]:
    progress = snapshot.progress
    done, left = _describe_done(progress), _describe_left(snapshot)
    wait, reason = _describe_wait(snapshot.limiter)
    speed, share = _describe_speed(progress)
    retries = pluralize(progress.retries, "retry", "retries") if progress.retries else ""
    wordings = (
        (done, speed, share, left, retries, wait + reason),
        (done, speed, share, left, wait + reason),
        (done, speed, share, left, wait),
        (done, share, left, wait),
        (done, speed, left, wait),
        (done, left, wait),
        (done, wait),
    )
    return [", ".join(filter(None, parts)) for parts in wordings]


def _describe_done(progress: ExportProgress) -> str:
    if not progress.pages:
        return "asking for the first page"
    # The text says "records" because a conversation that moves is fetched and counted again.
    expected = progress.expected
    # If there are already more records than in the last export, the total is unknown.
    if expected is not None and expected >= progress.conversations:
        return f"{progress.conversations:,} of about {expected:,} records"
    return pluralize(progress.conversations, "record")


def _describe_left(snapshot: Snapshot) -> str:
    left = _estimate_seconds_left(snapshot)
    return f"{format_duration(left)} left" if left and snapshot.progress.seconds >= 1 else ""


def _estimate_seconds_left(snapshot: Snapshot) -> float | None:
    """Return how many more seconds the export will take, or ``None`` if that is unknown.

    The estimate includes the current pause. The speed of an initial burst does not last, so the
    estimate also considers how fast the server grants the quota.
    """
    progress, limiter, _ = snapshot
    left = progress.seconds_left
    if not left or progress.expected is None:
        return left
    if math.isfinite(limiter.paused_for):
        left += limiter.paused_for
    if limiter.limit is None or limiter.remaining is None:
        return left
    requests = (progress.expected - progress.conversations) / _PAGE - limiter.remaining
    return max(left, limiter.paused_for + requests * limiter.per / limiter.limit)


def _describe_speed(progress: ExportProgress) -> tuple[str, str]:
    """Return the speed and the share of the quota as texts, which are empty if not meaningful."""
    if not is_speed_meaningful(progress):
        return "", ""
    share = progress.quota_share
    used = "" if share is None else f"{share:.0%} of the quota"
    return f"{progress.per_minute:,.0f}/min", used


def _describe_wait(limiter: LimiterSnapshot) -> tuple[str, str]:
    """Return the next request's wait and its reason as texts, which are empty for a short wait."""
    waits = limiter.paused_for > 0 or limiter.waiting > 0
    if not waits or not _SHORTEST_WAIT <= limiter.next_in < math.inf:
        return "", ""
    has_rate = limiter.limit and limiter.waits_for not in _WAITS
    rate = f" ({format_rate(limiter.limit or 0, limiter.per)})" if has_rate else ""
    cause = f" for {_get_cause(limiter)}{rate}"
    reason = f": {limiter.pause_reason}" if limiter.pause_reason else cause
    return f"waiting {format_duration(limiter.next_in)}", reason


def _get_cause(limiter: LimiterSnapshot) -> str:
    return _WAITS.get(limiter.waits_for, "the quota")
