"""What an export has come to: the closing lines."""

from __future__ import annotations

from datetime import UTC
from itertools import islice
from typing import TYPE_CHECKING

from cekat_async.cli.paces import has_pace
from cekat_async.cli.spans import span
from cekat_async.cli.voice import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cekat_async.export import ExportReport, Manifest, Partition

__all__ = ["count", "failures", "summary"]

_PARTITIONS_SHOWN = 10
_FAILURES_SHOWN = 5
_FIELDS_SHOWN = 5
_COLUMNS = 80
# Shorter durations are shown in seconds.
_SECONDS_SHOWN = 120.0


def summary(report: ExportReport, manifest_in: str | None) -> str:
    """Return the closing lines of an export.

    Args:
        report: What it has done.
        manifest_in: Where its manifest is; ``None`` if it has none.
    """
    manifest = report.manifest
    done = "complete" if manifest.complete else "partial"
    lines = [
        f"{one_line(report.target)}: {count(manifest.conversations, 'conversation')}, {done}",
        _requests(manifest),
        _pace(report),
        *_remarks(manifest),
        *_partitions(manifest.partitions),
    ]
    return "\n".join(lines + ([f"manifest: {one_line(manifest_in)}"] if manifest_in else []))


def failures(manifest: Manifest) -> Iterator[str]:
    """Yield a line for each inbox that failed for good, and for all that are too many."""
    failed = [one for one in manifest.partitions if one.error is not None]
    for one in failed[:_FAILURES_SHOWN]:
        yield f"inbox {one.inbox_id} failed: {one.error}{_kept(one)}"
    if (more := len(failed) - _FAILURES_SHOWN) > 0:
        yield f"and {count(more, 'more inbox', 'more inboxes')} failed: the manifest has all"


def _kept(partition: Partition) -> str:
    """Return how much of a failed inbox the target keeps from an earlier export."""
    if partition.as_of is None:
        return ""
    kept = "what was there is kept"
    if partition.carried:
        verb = "is" if partition.carried == 1 else "are"
        kept = f"{count(partition.carried, 'conversation')} {verb} kept"
    return f"; {kept}, as of {partition.as_of.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def count(number: int, one: str, many: str | None = None) -> str:
    """Return a number of things in words."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _requests(manifest: Manifest) -> str:
    """Return how many requests all runs sent."""
    retries = f" ({count(manifest.retries, 'retry', 'retries')})" if manifest.retries else ""
    return f"{count(manifest.requests, 'request')}{retries}"


def _pace(report: ExportReport) -> str:
    """Return how long the export took, and how fast it was if that is meaningful."""
    manifest = report.manifest
    if manifest.runs > 1:  # Only the last run's quota is known.
        return f"{_duration(manifest.seconds)} in {manifest.runs:,} runs"
    if not has_pace(report):
        return _duration(report.seconds)
    speed = 60 * report.conversations / report.seconds
    return f"{_duration(report.seconds)}, {speed:,.0f} conversations/min{_use_of(report)}"


def _use_of(report: ExportReport) -> str:
    if report.limit is None or report.quota_share is None:
        return ""
    return f", {report.quota_share:.0%} of the quota of {report.limit:,} in {report.per:g} s"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < _SECONDS_SHOWN else span(seconds)


def _remarks(manifest: Manifest) -> Iterator[str]:
    if manifest.incremental:
        yield f"incremental: {count(manifest.fetched - manifest.repeats, 'conversation')} fetched"
    if manifest.waited >= 1:
        yield f"waited {_duration(manifest.waited)} for the quota"
    if manifest.refused:
        yield f"refused {count(manifest.refused, 'time')} (429)"
    if manifest.unknown_fields:
        yield f"unknown fields: {_fields(manifest.unknown_fields)}"
    if manifest.mistyped_fields:
        yield f"mistyped fields: {_fields(manifest.mistyped_fields)}"
    if manifest.malformed_records:
        count_ = f"{manifest.malformed_records:,}"
        yield f"malformed records: {count_}, in tables with only their id and raw"


def _fields(fields: Mapping[str, int]) -> str:
    often = sorted(fields.items(), key=lambda field: (-field[1], field[0]))
    shown = [f"{one_line(name)[:20]} ({number:,})" for name, number in often[:_FIELDS_SHOWN]]
    shown[0] = f"{shown[0][:-1]} record{'s' * (often[0][1] != 1)})"
    more = len(often) - len(shown)
    while len(", ".join(shown)) > _COLUMNS - len("mistyped fields: , and 1,000 more"):
        shown.pop()
        more += 1
    return ", ".join(shown) + (f", and {more:,} more" if more else "")


def _partitions(partitions: tuple[Partition, ...]) -> Iterator[str]:
    """Yield a line for each of several walks, as far as one wants to read."""
    if len(partitions) == 1:
        return
    for one in islice(partitions, _PARTITIONS_SHOWN):
        failed = ", failed" if one.error is not None else ""
        yield one_line(f"inbox {one.inbox_id}: {count(one.records, 'record')} fetched{failed}")
    if (more := len(partitions) - _PARTITIONS_SHOWN) > 0:
        yield f"and {count(more, 'more inbox', 'more inboxes')}: see the manifest"
