"""How an export stands, while it runs: a moving line, lines now and then, or JSON."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import msgspec
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cekat_async.cli.paces import has_pace, paces
from cekat_async.cli.spans import per, span
from cekat_async.cli.stdout import has
from cekat_async.cli.voice import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType

    from cekat_async import LimiterSnapshot
    from cekat_async.cli.voice import Voice
    from cekat_async.export import ExportProgress

    Look = Callable[[], "Standing"]

__all__ = ["Bar", "Lines", "ProgressDisplay", "Standing", "kept_fresh", "progress_display"]

_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_LOOKS = 0.25
# Between two requests of an even pace there is a short wait always: that is none to speak of.
_SHORTEST_WAIT = 1.0
# What stands around the text of the moving line: the spinner, and "10:00:00".
_FRAME = len("* ") + len(" 10:00:00")
_PAGE = 100
_now = time.monotonic


class Standing(NamedTuple):
    """How an export stands at a moment."""

    progress: ExportProgress
    limiter: LimiterSnapshot
    target: str


class ProgressDisplay(Protocol):
    """Shows the progress of an export while it is entered."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def refresh(self) -> None:
        """Look at how the export stands, and show it."""

    def leave(self) -> None:
        """Leave the screen to others, from whatever thread."""


def progress_display(voice: Voice, look: Look) -> ProgressDisplay:
    """Return a moving line for a terminal, and plain lines or JSON for a log.

    Args:
        voice: Says it.
        look: Returns how the export stands. It is called by ``refresh`` alone, and so in the
            thread of the event loop.
    """
    console = voice.console
    # Both have to agree: rich also takes a file for a terminal if the environment says so
    # (FORCE_COLOR), and a terminal may be one that cannot move its cursor (TERM=dumb).
    moves = console.is_interactive and console.file.isatty() and not voice.as_json
    return Bar(voice, look) if moves else Lines(voice, look)


@contextmanager
def kept_fresh(display: ProgressDisplay) -> Generator[None, None, None]:
    """Refresh a display several times a second, from the event loop, for as long as this is on."""
    refreshing = asyncio.create_task(_refresh_often(display))
    try:
        yield
    finally:
        refreshing.cancel()


async def _refresh_often(display: ProgressDisplay) -> None:
    while True:
        display.refresh()
        await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)


class Bar:
    """One moving line."""

    def __init__(self, voice: Voice, look: Look) -> None:
        self._console = voice.console
        self._look = look
        self._progress = Progress(
            SpinnerColumn("dots" if has(voice.console.encoding, "⠋") else "line"),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=voice.console,
            transient=True,
        )
        self._task = self._progress.add_task("asking for the first page", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Take the line away."""
        self._progress.stop()

    def refresh(self) -> None:
        """Change the line."""
        # rich draws in a thread of its own, which may not ask the limiter: so it is told.
        text = _wording(self._look(), self._console.width - _FRAME)
        self._progress.update(self._task, description=text)


class Lines:
    """A line now and then, for a log."""

    def __init__(self, voice: Voice, look: Look) -> None:
        self._voice = voice
        self._look = look
        self._next = -math.inf
        self._reporting_malformed: tuple[int, int | None] = (0, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def leave(self) -> None:
        """Do nothing: what was said is in the log."""

    def refresh(self) -> None:
        """Say how it stands, if that is news and the last line is some seconds old."""
        if (now := _now()) < self._next:
            return
        standing = self._look()
        stands = standing.progress.pages, standing.progress.published
        # Of a hold the limiter itself warns, once. Who reads JSON wants to see it last.
        is_news = stands != self._reporting_malformed or (
            self._voice.as_json and _wait(standing.limiter)[0]
        )
        if is_news:
            self._reporting_malformed, self._next = stands, now + _SECONDS_BETWEEN_LINES
            self._voice.show(_wording(standing), event="progress", **_fields(standing))


def _fields(standing: Standing) -> dict[str, Any]:
    """Return what a program may want to know of how an export stands."""
    progress, limiter, _ = standing
    waits = bool(_wait(limiter)[0])
    return msgspec.structs.asdict(progress) | {
        **paces(progress),
        "seconds_left": _seconds_left(standing),
        "waiting": limiter.next_in if waits else 0.0,
        "waiting_for": (limiter.pause_reason or "the quota") if waits else None,
    }


def _wording(standing: Standing, room: float = math.inf) -> str:
    """Return how an export stands, in the fullest wording for which there is room."""
    is_publishing = standing.progress.published is not None
    wordings = _of_publishing(standing) if is_publishing else _of_fetching(standing)
    return next((text for text in wordings if len(text) <= room), wordings[-1])


def _of_publishing(standing: Standing) -> list[str]:
    progress, target = standing.progress, one_line(standing.target)
    if progress.to_publish is None:
        return [f"writing to {target}", "writing"]
    written = f"writing {progress.published:,} of {progress.to_publish:,} conversations"
    return [f"{written} to {target}", written]


def _of_fetching(standing: Standing) -> list[str]:
    progress = standing.progress
    done, left = _done(progress), _left(standing)
    wait, why = _wait(standing.limiter)
    speed, share = _speed_and_share(progress)
    retries = f"{progress.retries:,} {'retry' if progress.retries == 1 else 'retries'}"
    wordings = (
        (done, speed, share, left, retries if progress.retries else "", wait + why),
        (done, speed, share, left, wait + why),
        (done, speed, share, left, wait),
        (done, share, left, wait),
        (done, speed, left, wait),
        (done, left, wait),
        (done, wait),
    )
    return [", ".join(filter(None, parts)) for parts in wordings]


def _done(progress: ExportProgress) -> str:
    if not progress.pages:
        return "asking for the first page"
    # Records, because a conversation that moves is fetched again.
    expected = progress.expected
    # More than there were the last time: then nobody knows any more.
    if expected is not None and expected >= progress.conversations:
        return f"{progress.conversations:,} of about {expected:,} records"
    return f"{progress.conversations:,} record{'s' * (progress.conversations != 1)}"


def _left(standing: Standing) -> str:
    left = _seconds_left(standing)
    return f"{span(left)} left" if left and standing.progress.seconds >= 1 else ""


def _seconds_left(standing: Standing) -> float | None:
    """Return how long it will take still, as far as can be told; else ``None``.

    A pause comes on top of what the speed says. And the speed of the begin, when requests went out
    at once, is not that of the rest: so the quota has a say too.
    """
    progress, limiter, _ = standing
    left = progress.seconds_left
    if not left or progress.expected is None:
        return left
    if math.isfinite(limiter.paused_for):
        left += limiter.paused_for
    if limiter.limit is None or limiter.remaining is None:
        return left
    requests = (progress.expected - progress.conversations) / _PAGE - limiter.remaining
    return max(left, limiter.paused_for + requests * limiter.per / limiter.limit)


def _speed_and_share(progress: ExportProgress) -> tuple[str, str]:
    if not has_pace(progress):
        return "", ""
    share = progress.quota_share
    used = "" if share is None else f"{share:.0%} of the quota"
    return f"{progress.per_minute:,.0f}/min", used


def _wait(limiter: LimiterSnapshot) -> tuple[str, str]:
    """Return how long there is to wait, and what for; nothing if it is not worth a word."""
    waits = limiter.paused_for > 0 or limiter.waiting > 0
    if not waits or not _SHORTEST_WAIT <= limiter.next_in < math.inf:
        return "", ""
    rate = f" ({per(limiter.limit, limiter.per)})" if limiter.limit else ""
    why = f": {limiter.pause_reason}" if limiter.pause_reason else f" for the quota{rate}"
    return f"waiting {span(limiter.next_in)}", why
