"""From the checkpoint to the target: which records, and what the manifest says of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from cekat_async.export.manifest import Manifest, Partition
from cekat_async.export.merging import Fresh, Merged

if TYPE_CHECKING:
    from collections.abc import Callable

    from cekat_async.export.checkpoint import Checkpoint, Job, Stand, Totals
    from cekat_async.export.sink import Sink

__all__ = ["publish"]


def publish(
    checkpoint: Checkpoint, sink: Sink, job: Job, on_batch: Callable[[int], None]
) -> Manifest:
    """Give a sink all that a checkpoint has, and return the manifest that it stored.

    Args:
        checkpoint: Has all that was to be brought.
        sink: Gets each conversation once, as it came last.
        job: What the export was to do.
        on_batch: Called with the number of records of each batch that the sink takes.
    """
    repeats = checkpoint.settle()
    totals = checkpoint.totals()
    fresh = Fresh(checkpoint, totals.records - repeats, on_batch)
    merges_itself = job.adds_to is None or sink.stored() is None
    records = fresh if merges_itself else Merged(fresh, checkpoint, sink, on_batch)
    manifest = Manifest(
        version=job.version,
        account=job.account,
        target=sink.target,
        filters=job.filters,
        incremental=job.adds_to is not None,
        complete=all(stand.error is None for stand in checkpoint.stands().values()),
        began=job.began,
        ended=datetime.now(UTC),
        conversations=len(records),
        repeats=repeats,
        partitions=tuple(
            _partition(inbox_id, stand) for inbox_id, stand in checkpoint.stands().items()
        ),
        **_counts(totals),
    )
    return sink.publish(records, manifest)


def _counts(totals: Totals) -> dict[str, Any]:
    """Return what manifest and totals have in common."""
    counts = msgspec.structs.asdict(totals)
    return {"fetched": counts.pop("records"), **counts}


def _partition(inbox_id: str | None, stand: Stand) -> Partition:
    return Partition(
        inbox_id=inbox_id,
        records=stand.records,
        pages=stand.pages,
        position=stand.position,
        error=stand.error,
    )
