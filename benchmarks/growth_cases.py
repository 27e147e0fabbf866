"""The processes of the growth benchmark: a listing, an export, or an export that is cancelled."""

from __future__ import annotations

import asyncio
import sys
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_hold import Probe
from bench_memory import peak, resident

from cekat_async import CekatClient, Cursor
from cekat_async._paging.cursor_walk import CursorWalk
from cekat_async.export import export_conversations

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from suite import Sample

    from cekat_async.export import ExportProgress, ExportReport

_MEGABYTE = 1_000_000


class Meter:
    """Measures a process while it fetches, and while it publishes.

    Args:
        count: The approximate number of conversations that are fetched.
        probe: The selector of the loop.
        checkpoint: A file whose size is noted; ``None`` for no file.
    """

    def __init__(self, count: int, probe: Probe, checkpoint: Path | None = None) -> None:
        self._count = count
        self._probe = probe
        self._checkpoint = checkpoint
        self._first_tenth = 0
        self._fetched_at = self._reported_at = 0.0
        self._longest: dict[str, tuple[float, float]] = {}
        self._silence = 0.0
        self._size = 0
        probe.take()
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def note_fetched(self, count: int) -> None:
        """Note how many conversations have been fetched by now."""
        if not self._first_tenth and count >= self._count / 10:
            self._first_tenth = resident()
        if self._checkpoint is not None:
            self._size = self._checkpoint.stat().st_size
        self._fetched_at = self._reported_at = time.perf_counter()
        self._note_hold("fetching")

    def note_publishing(self) -> None:
        """Note that the export has reported progress while it publishes."""
        now = time.perf_counter()
        self._silence = max(self._silence, now - self._reported_at)
        self._reported_at = now

    def _note_hold(self, phase: str) -> None:
        longest = self._longest.get(phase, (0.0, 0.0))
        self._longest[phase] = max(longest, self._probe.take(), key=lambda hold: hold[1])

    def sample(self, total: int) -> Sample:
        """Return the figures. Times are divided by ``total`` conversations."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        sample = {
            "time": 1e6 * wall / total,
            "cpu": 1e6 * cpu / total,
            "peak": peak() / _MEGABYTE,
            "growth": max(0, peak() - self._first_tenth) / _MEGABYTE if self._first_tenth else 0.0,
            "hold": 1000 * self._longest["fetching"][1],
        }
        if self._checkpoint is not None:
            self.note_publishing()
            self._note_hold("publishing")
            sample |= {
                "checkpoint": self._size / _MEGABYTE,
                "publishing": time.perf_counter() - self._fetched_at,
                "hold_publishing": 1000 * self._longest["publishing"][1],
                "silence": self._silence,
            }
        return sample


def run(work: Callable[[Probe], Coroutine[Any, Any, Sample]]) -> Sample:
    """Run a coroutine on a loop that has a probe."""
    probe = Probe()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(probe)) as runner:
        return runner.run(work(probe))


def measure_listing(base_url: str, warm_up_url: str, total: int, segments: int) -> Sample:
    """Walk a listing and return the figures."""

    async def work(probe: Probe) -> Sample:
        await _walk(warm_up_url, segments, lambda _: None)
        meter = Meter(total, probe)
        count = await _walk(base_url, segments, meter.note_fetched)
        _require(count, total)
        return meter.sample(total)

    return run(work)


async def _walk(base_url: str, segments: int, note: Callable[[int], None]) -> int:
    count = 0
    async with _client(base_url) as cekat:
        async for page in cekat.conversations.list(segments=segments).pages():
            count += len(page)
            note(count)
    return count


def measure_export(
    base_url: str, warm_up_url: str, total: int, target: str, changed: int = 0
) -> Sample:
    """Export all conversations, or only the changed ones, and return the figures."""
    _leave_out_numpy()

    async def work(probe: Probe) -> Sample:
        path = Path(target)
        await _export(warm_up_url, str(path.with_name(f"warm-up-{path.name}")), lambda _: None)
        meter = Meter(changed or total, probe, Path(f"{target}.checkpoint"))

        def note(progress: ExportProgress) -> None:
            if progress.published is None:
                meter.note_fetched(progress.conversations)
            else:
                meter.note_publishing()

        report = await _export(base_url, target, note, incremental=bool(changed))
        if not changed:
            _require(report.conversations, total)
        return meter.sample(total)

    return run(work)


async def _export(
    base_url: str,
    target: str,
    note: Callable[[ExportProgress], object],
    *,
    incremental: bool = False,
) -> ExportReport:
    async with _client(base_url) as cekat:
        return await export_conversations(cekat, target, on_progress=note, incremental=incremental)


def is_preparing(progress: ExportProgress) -> bool:
    """Return True if nothing is written yet, because records are being sorted or compared."""
    return progress.published == 0


def is_writing(progress: ExportProgress) -> bool:
    """Return True if half of the conversations are written."""
    return progress.to_publish is not None and 2 * (progress.published or 0) >= progress.to_publish


def is_finishing(progress: ExportProgress) -> bool:
    """Return True if all conversations are written, and the target is being checked or synced."""
    return progress.published is not None and progress.published == progress.to_publish


MOMENTS = {"preparing": is_preparing, "writing": is_writing, "finishing": is_finishing}


def measure_stops(base_url: str, target: str, delay: float, *, incremental: bool) -> Sample:
    """Cancel an export at each moment while it publishes. Return the seconds until it ended.

    Each export resumes the previous one. It is cancelled ``delay`` seconds after the moment.
    """
    _leave_out_numpy()

    async def work(_: Probe) -> Sample:
        return {
            moment: await _stop(base_url, target, is_now, delay, incremental=incremental)
            for moment, is_now in MOMENTS.items()
        }

    return run(work)


async def _stop(
    base_url: str,
    target: str,
    is_now: Callable[[ExportProgress], bool],
    delay: float,
    *,
    incremental: bool,
) -> float:
    """Return the number of seconds that an export ran after it was cancelled.

    The number is 0 if the export had already ended.
    """
    reached = asyncio.Event()

    def note(progress: ExportProgress) -> None:
        if is_now(progress):
            reached.set()

    export = asyncio.create_task(_export(base_url, target, note, incremental=incremental))
    waiting = asyncio.create_task(reached.wait())
    await asyncio.wait([export, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    await asyncio.wait([export], timeout=delay)
    cancelled_at, was_over = time.perf_counter(), export.done()
    export.cancel()
    with suppress(asyncio.CancelledError):
        await export
    return 0.0 if was_over else time.perf_counter() - cancelled_at


def measure_remembered(pages: int) -> Sample:
    """Return the bytes that a walk stores for each page, to recognize an endless listing."""
    walk = CursorWalk()
    tracemalloc.start()
    for number in range(pages):
        walk.advance(Cursor(str(number), "t"), [str(number)])
    return {"bytes": tracemalloc.get_traced_memory()[0] / pages}


def _client(base_url: str) -> CekatClient:
    return CekatClient("benchmark", base_url=base_url, rate_limit=None)


def _leave_out_numpy() -> None:
    # If numpy is installed, Arrow imports it. An export never needs it.
    sys.modules["numpy"] = None  # type: ignore[assignment]


def _require(count: int, total: int) -> None:
    if count != total:
        raise SystemExit(f"only {count:,} conversations of {total:,}")
