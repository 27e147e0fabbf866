"""What an export has come to: the closing lines."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

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
        _counts(manifest),
        _pace(report),
        *_remarks(manifest),
        *_partitions(manifest.partitions),
    ]
    return "\n".join(lines + ([f"manifest: {one_line(manifest_in)}"] if manifest_in else []))


def failures(manifest: Manifest) -> Iterator[str]:
    """Yield a line for each inbox that failed for good, and for all that are too many."""
    failed = [one for one in manifest.partitions if one.error is not None]
    for one in failed[:_FAILURES_SHOWN]:
        yield f"inbox {one.inbox_id} failed: {one.error}"
    if (more := len(failed) - _FAILURES_SHOWN) > 0:
        yield f"and {count(more, 'more inbox', 'more inboxes')} failed: the manifest has all"


def count(number: int, one: str, many: str | None = None) -> str:
    """Return a number of things in words."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _counts(manifest: Manifest) -> str:
    """Return what it took, over all runs."""
    counts = [
        count(manifest.pages, "page"),
        count(manifest.requests, "request"),
        count(manifest.retries, "retry", "retries"),
    ]
    return ", ".join(counts + [f"{manifest.runs:,} runs"] * (manifest.runs > 1))


def _pace(report: ExportReport) -> str:
    run = "this run: " if report.manifest.runs > 1 else ""
    # Nothing came in a run that had only to publish; and what came twice was counted twice.
    speed = f", {report.per_minute:,.0f} conversations/min" if report.per_minute > 0 else ""
    return f"{run}{report.seconds:.1f} s{speed}{_use_of(report)}"


def _use_of(report: ExportReport) -> str:
    if report.limit is None or report.quota_share is None:
        return ""
    return f", {report.quota_share:.0%} of the quota of {report.limit:,} in {report.per:g} s"


def _remarks(manifest: Manifest) -> Iterator[str]:
    if manifest.incremental:
        yield f"incremental: {count(manifest.fetched - manifest.repeats, 'conversation')} fetched"
    if manifest.waited >= 1:
        yield f"waited {span(manifest.waited)} for the quota"
    if manifest.refused:
        yield f"refused {count(manifest.refused, 'time')} (429)"
    if manifest.repeats:
        yield f"{count(manifest.repeats, 'repeat')}: of each conversation the last one counts"
    if manifest.unknown_fields:
        yield f"unknown fields: {_fields(manifest.unknown_fields)}"
    if manifest.mistyped_fields:
        yield f"mistyped fields: {_fields(manifest.mistyped_fields)}"
    if manifest.odd_records:
        yield f"malformed records: {manifest.odd_records:,}, in tables with only their id and raw"


def _fields(fields: Mapping[str, int]) -> str:
    often = sorted(fields.items(), key=lambda field: (-field[1], field[0]))
    shown = [f"{one_line(name)[:20]} ({number:,})" for name, number in often[:_FIELDS_SHOWN]]
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
        done = f"{count(one.records, 'record')}, {count(one.pages, 'page')}"
        yield one_line(f"inbox {one.inbox_id}: {done}{', failed' if one.error else ''}")
    if (more := len(partitions) - _PARTITIONS_SHOWN) > 0:
        yield f"and {count(more, 'more inbox', 'more inboxes')}: see the manifest"
