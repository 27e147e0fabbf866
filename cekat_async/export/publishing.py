"""From the checkpoint to the target: which records, and what the manifest says about them."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from cekat_async.export.manifest import Manifest, Partition
from cekat_async.export.merging import Fresh, Merged
from cekat_async.export.plan import is_same_selection, require_carriable, require_not_emptied

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from cekat_async.export.checkpoint import Checkpoint, Job, Totals
    from cekat_async.export.held import Held
    from cekat_async.export.plan import Policy
    from cekat_async.export.sinks.base import Sink

__all__ = ["Publication"]

_log = logging.getLogger("cekat_async")

_NOT_LISTED = "the account does not list this inbox any more"


class Publication:
    """Writes a finished checkpoint to a sink.

    Args:
        checkpoint: The records, all of them fetched.
        sink: Receives each conversation once, in its latest version.
        held: The content of the target so far.
        policy: The options that say what may happen to it.
        on_batch: Called with the number of records in each batch that the sink takes.

    Attributes:
        size: How many records the sink receives; ``None`` until it is known.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        sink: Sink,
        held: Held,
        policy: Policy,
        on_batch: Callable[[int], None],
    ) -> None:
        self._checkpoint = checkpoint
        self._sink = sink
        self._held = held
        self._policy = policy
        self._on_batch = on_batch
        self.size: int | None = None

    def run(self, job: Job) -> Manifest:
        """Write all records, and return the manifest that the sink stored.

        Raises:
            ReplacementRefusedError: The target would lose records. Nothing was changed.
        """
        repeats = self._checkpoint.settle()
        totals = self._checkpoint.totals()
        partitions = [*self._walks(), *self._vanished(job)]
        records = self._records(job, totals.records - repeats, partitions)
        self.size = len(records)
        partitions = [*self._aged(job, partitions, records)]
        manifest = Manifest(
            version=job.version,
            account=job.account,
            key_fingerprint=job.key_fingerprint,
            business_id=job.business_id,
            target=self._sink.target,
            filters=job.filters,
            incremental=job.adds_to is not None,
            complete=all(one.error is None for one in partitions),
            began=job.began,
            ended=datetime.now(UTC),
            conversations=len(records),
            repeats=repeats,
            partitions=tuple(partitions),
            **_counts(totals),
        )
        return self._sink.publish(records, manifest)

    def _walks(self) -> Iterator[Partition]:
        for inbox_id, stand in self._checkpoint.stands().items():
            yield Partition(
                inbox_id=inbox_id,
                records=stand.records,
                pages=stand.pages,
                position=stand.position,
                error=stand.error,
            )

    def _vanished(self, job: Job) -> Iterator[Partition]:
        """Yield a failed partition for each inbox that the account does not list any more.

        The inbox may be gone, or hidden from the key by mistake. The target keeps its records
        until an export with ``replace``.
        """
        last = self._held.last
        if last is None or not job.filters.by_inbox or not last.filters.by_inbox:
            return
        if self._policy.replace or not self._held.is_replaced:
            return
        walked = self._checkpoint.stands()
        for one in last.partitions:
            if one.inbox_id not in walked:
                yield Partition(inbox_id=one.inbox_id, position=one.position, error=_NOT_LISTED)

    def _records(self, job: Job, fetched: int, partitions: Collection[Partition]) -> Fresh | Merged:
        """Return the records that the target is to hold.

        Raises:
            ReplacementRefusedError: It would lose records without the matching option.
        """
        fresh = Fresh(self._checkpoint, fetched, self._on_batch)
        failed = [one for one in partitions if one.error is not None]
        if job.adds_to is None:
            return self._replacement(job, fresh, partitions, failed)
        return self._merged(fresh, ()) if self._held.is_replaced else fresh

    def _replacement(
        self,
        job: Job,
        fresh: Fresh,
        partitions: Collection[Partition],
        failed: Collection[Partition],
    ) -> Fresh | Merged:
        if len(fresh) and not failed:
            return fresh
        if not self._held.is_replaced:
            self._warn_of_nothing(fresh)
            return fresh
        if self._held.is_empty():
            return fresh
        records: Fresh | Merged = fresh
        if failed and not self._policy.replace:
            require_carriable(self._held, self._sink.target, failed)
            records = self._merged(fresh, {one.inbox_id for one in partitions if one.error is None})
        if not len(records):
            require_not_emptied(self._held, self._sink.target, job.filters, self._policy)
        return records

    def _warn_of_nothing(self, fresh: Fresh) -> None:
        if not len(fresh) and self._held.last and self._held.last.conversations:
            _log.warning(
                "no conversation was found, and the last export to %s had %d: what is there stays",
                *(self._sink.target, self._held.last.conversations),
            )

    def _merged(self, fresh: Fresh, walked: Collection[str | None]) -> Merged:
        return Merged(fresh, self._checkpoint, self._sink, self._on_batch, walked)

    def _aged(
        self, job: Job, partitions: Collection[Partition], records: Fresh | Merged
    ) -> Iterator[Partition]:
        """Yield the partitions; those that failed with the number and age of their old records."""
        last = self._held.last
        counts = records.counts if isinstance(records, Merged) else None
        for one in partitions:
            if one.error is None or last is None:
                yield one
                continue
            carried, as_of = 0, None
            if counts is not None:
                carried = counts[one.inbox_id]
                as_of = (_age(one.inbox_id, last) or last.began) if carried else None
            elif is_same_selection(last.filters, job.filters) and not self._held.is_replaced:
                as_of = _age(one.inbox_id, last)
            if carried or one.error != _NOT_LISTED:
                yield msgspec.structs.replace(one, carried=carried, as_of=as_of)


def _age(inbox_id: str | None, last: Manifest) -> datetime | None:
    """Return how old the records of an inbox in the target may be; ``None`` if it has none."""
    for one in last.partitions:
        if one.inbox_id == inbox_id:
            return one.as_of or (last.began if one.error is None else None)
    return None


def _counts(totals: Totals) -> dict[str, Any]:
    """Return what manifest and totals have in common."""
    counts = msgspec.structs.asdict(totals)
    return {"fetched": counts.pop("records"), **counts}
