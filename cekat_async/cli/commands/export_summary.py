"""The summary of an export, which is its last message."""

from __future__ import annotations

from datetime import UTC
from itertools import islice
from typing import TYPE_CHECKING

from cekat_async.cli.commands.export_progress import is_speed_meaningful
from cekat_async.cli.formatting import format_duration, pluralize
from cekat_async.cli.reporter import LONGEST_LINE
from cekat_async.redaction import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cekat_async.export import ExportReport, Manifest, Partition

__all__ = ["describe_failures", "summarize"]

_PARTITIONS_SHOWN = 10
_FAILURES_SHOWN = 5
_FIELDS_SHOWN = 5
_COLUMNS = 80
# Shorter durations are shown in seconds.
_SECONDS_SHOWN = 120.0


def summarize(report: ExportReport, manifest_name: str | None) -> str:
    """Return the lines of an export's summary. If there is a manifest, the last line names it."""
    manifest = report.manifest
    done = "complete" if manifest.complete else "partial"
    retries = f" ({pluralize(manifest.retries, 'retry', 'retries')})" if manifest.retries else ""
    target = one_line(report.target, LONGEST_LINE)
    lines = [
        f"{target}: {pluralize(manifest.conversations, 'conversation')}, {done}",
        f"{pluralize(manifest.requests, 'request')}{retries}",
        _describe_speed(report),
        *_describe_rest(manifest),
        *_describe_partitions(manifest.partitions),
    ]
    if manifest_name:
        lines.append(f"manifest: {one_line(manifest_name, LONGEST_LINE)}")
    return "\n".join(lines)


def describe_failures(manifest: Manifest) -> Iterator[str]:
    """Yield a line for each of up to five inboxes that failed permanently, and one for the rest."""
    failed = [one for one in manifest.partitions if one.error is not None]
    for one in failed[:_FAILURES_SHOWN]:
        yield f"inbox {one.inbox_id} failed: {one.error}{_describe_kept(one)}"
    if (more := len(failed) - _FAILURES_SHOWN) > 0:
        yield f"and {pluralize(more, 'more inbox', 'more inboxes')} failed: the manifest has all"


def _describe_kept(partition: Partition) -> str:
    """Describe which old conversations of a failed inbox the target keeps."""
    if partition.as_of is None:
        return ""
    kept = "its earlier conversations are kept"
    if partition.carried:
        verb = "is" if partition.carried == 1 else "are"
        kept = f"{pluralize(partition.carried, 'conversation')} {verb} kept"
    return f"; {kept}, as of {partition.as_of.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _describe_speed(report: ExportReport) -> str:
    manifest = report.manifest
    if manifest.runs > 1:  # only the quota of the last run is known
        return f"{_format_seconds(manifest.seconds)} in {manifest.runs:,} runs"
    duration = _format_seconds(report.seconds)
    if not is_speed_meaningful(report):
        return duration
    speed = f"{duration}, {60 * report.conversations / report.seconds:,.0f} conversations/min"
    if report.limit is None or report.quota_share is None:
        return speed
    return f"{speed}, {report.quota_share:.0%} of the quota of {report.limit:,} in {report.per:g} s"


def _format_seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < _SECONDS_SHOWN else format_duration(seconds)


def _describe_rest(manifest: Manifest) -> Iterator[str]:
    if manifest.incremental:
        fetched = manifest.fetched - manifest.repeats
        yield f"incremental: {pluralize(fetched, 'conversation')} fetched"
    if manifest.waited >= 1:
        yield f"waited {_format_seconds(manifest.waited)} for the quota"
    if manifest.refused:
        yield f"refused {pluralize(manifest.refused, 'time')} (429)"
    if manifest.unknown_fields:
        yield f"unknown fields: {_describe_fields(manifest.unknown_fields)}"
    if manifest.mistyped_fields:
        yield f"mistyped fields: {_describe_fields(manifest.mistyped_fields)}"
    if manifest.malformed_records:
        number = f"{manifest.malformed_records:,}"
        yield f"malformed records: {number}, in tables with only their id and raw"


def _describe_fields(fields: Mapping[str, int]) -> str:
    often = sorted(fields.items(), key=lambda field: (-field[1], field[0]))
    # The server chooses the names of unknown fields, so shorten and clean them.
    names = {name: one_line(name, LONGEST_LINE)[:20] for name, _ in often[:_FIELDS_SHOWN]}
    shown = [f"{name} ({fields[field]:,})" for field, name in names.items()]
    shown[0] = f"{shown[0][:-1]} record{'s' * (often[0][1] != 1)})"
    more = len(often) - len(shown)
    while len(", ".join(shown)) > _COLUMNS - len("mistyped fields: , and 1,000 more"):
        shown.pop()
        more += 1
    return ", ".join(shown) + (f", and {more:,} more" if more else "")


def _describe_partitions(partitions: tuple[Partition, ...]) -> Iterator[str]:
    if len(partitions) == 1:
        return
    for one in islice(partitions, _PARTITIONS_SHOWN):
        failed = ", failed" if one.error is not None else ""
        yield one_line(
            f"inbox {one.inbox_id}: {pluralize(one.records, 'record')} fetched{failed}",
            LONGEST_LINE,
        )
    if (more := len(partitions) - _PARTITIONS_SHOWN) > 0:
        yield f"and {pluralize(more, 'more inbox', 'more inboxes')}: see the manifest"
