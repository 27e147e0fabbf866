"""Writes the records of the checkpoint to the target, with a manifest that describes them."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from cekat_async import DecodeError, decode_conversation, record_id
from cekat_async.export.checks import is_same_selection, require_carriable, require_not_emptied
from cekat_async.export.manifest import Manifest, Partition

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from cekat_async.export.checkpoint import Checkpoint, Job, RecordKey
    from cekat_async.export.checks import Policy
    from cekat_async.export.existing_target import ExistingTarget
    from cekat_async.export.sinks.base import Sink

__all__ = ["FetchedRecords", "MergedRecords", "Publication"]

_log = logging.getLogger("cekat_async")

_NOT_LISTED = "the account does not list this inbox any more"


class FetchedRecords:
    """The records of a checkpoint. It yields the latest version of each conversation.

    Before each batch is yielded, ``on_batch`` is called with the number of records in it. If
    ``on_batch`` raises an exception, the iteration ends.
    """

    def __init__(self, checkpoint: Checkpoint, count: int, on_batch: Callable[[int], None]) -> None:
        self._checkpoint = checkpoint
        self._count = count
        self._on_batch = on_batch

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[list[bytes]]:
        for batch in self._checkpoint.latest():
            self._on_batch(len(batch))
            yield batch


class MergedRecords(FetchedRecords):
    """The old records that a target keeps, followed by the fetched records.

    A fetched record replaces the old record with the same id. The target does not keep old records
    of inboxes in ``walked``. These inboxes were walked to the end, so a record that was not fetched
    again no longer exists. Old records are read twice. The first pass counts them, and calls
    ``on_compared`` with the number of records in each batch. The second pass yields them, and calls
    ``on_batch`` with 0 whenever a batch has been read.

    Attributes:
        counts: The number of old records that are kept, by inbox id. Records without a readable
            inbox id are counted under ``None``.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        count: int,
        on_batch: Callable[[int], None],
        sink: Sink,
        walked: Collection[str | None],
        on_compared: Callable[[int], None],
    ) -> None:
        super().__init__(checkpoint, count, on_batch)
        self._sink = sink
        self._walked = walked
        checkpoint.index_keys()
        self.counts = Counter[str | None]()
        for batch in self._old(on_compared):
            self.counts.update(map(_read_inbox_id, batch))

    def __len__(self) -> int:
        return super().__len__() + self.counts.total()

    def __iter__(self) -> Iterator[list[bytes]]:
        for batch in self._old(lambda _: self._on_batch(0)):
            self._on_batch(len(batch))
            yield batch
        yield from super().__iter__()

    def _old(self, on_read: Callable[[int], None]) -> Iterator[list[bytes]]:
        for batch in self._sink.stored() or ():
            on_read(len(batch))
            keyed = [(_read_key(record), record) for record in batch]
            fetched = self._checkpoint.known([key for key, _ in keyed])
            old = [record for key, record in keyed if key not in fetched]
            if kept := [record for record in old if _read_inbox_id(record) not in self._walked]:
                yield kept


def _read_key(record: bytes) -> RecordKey:
    id_ = record_id(record)
    return record if id_ is None else id_


class _OnlyInbox(msgspec.Struct):
    inbox_id: str | None = None


_ONLY_INBOX = msgspec.json.Decoder(_OnlyInbox)


def _read_inbox_id(record: bytes) -> str | None:
    """Return the inbox id of a record, or ``None`` if it has no readable inbox id."""
    # A malformed record cannot be decoded as a conversation, but it may have a readable inbox id.
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _ONLY_INBOX.decode(record).inbox_id
    with suppress(DecodeError):
        return decode_conversation(record).inbox_id
    return None


class Publication:
    """Writes a finished checkpoint to a sink, if the policy allows it.

    Old records are compared with the fetched records in batches. After each batch, ``on_compared``
    is called with the number of records in it. Later, ``on_batch`` is called with the number of
    records in each batch that the sink receives.

    Attributes:
        size: The number of records that the sink receives; ``None`` until it is known.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        sink: Sink,
        existing: ExistingTarget,
        policy: Policy,
        on_batch: Callable[[int], None],
        on_compared: Callable[[int], None],
    ) -> None:
        self._checkpoint = checkpoint
        self._sink = sink
        self._existing = existing
        self._policy = policy
        self._on_batch = on_batch
        self._on_compared = on_compared
        self.size: int | None = None

    def run(self, job: Job) -> Manifest:
        """Write all records to the sink, and return the manifest that the sink stored.

        Raises:
            ReplacementRefusedError: The target would lose records. Nothing was changed.
        """
        repeats = self._checkpoint.find_repeats()
        counts = self._checkpoint.counts()
        partitions = [*self._checkpoint.partitions().values(), *self._find_unlisted(job)]
        records = self._select_records(job, counts.fetched - repeats, partitions)
        self.size = len(records)
        partitions = [*self._describe_carried(job, partitions, records)]
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
            **msgspec.structs.asdict(counts),
        )
        return self._sink.publish(records, manifest)

    def _find_unlisted(self, job: Job) -> Iterator[Partition]:
        """Yield a failed partition for each inbox that the account no longer lists.

        The inbox may have been removed, or the key may have lost access to it by mistake. The
        target keeps the records of this inbox until an export with ``replace``.
        """
        last = self._existing.last
        if last is None or not job.filters.by_inbox or not last.filters.by_inbox:
            return
        if self._policy.replace or not self._existing.is_replaced:
            return
        walked = self._checkpoint.partitions()
        for one in last.partitions:
            if one.inbox_id not in walked:
                yield Partition(inbox_id=one.inbox_id, position=one.position, error=_NOT_LISTED)

    def _select_records(
        self, job: Job, count: int, partitions: Collection[Partition]
    ) -> FetchedRecords:
        """Return all records that the sink will write to the target.

        Raises:
            ReplacementRefusedError: The target would lose records, and the policy does not allow
                this.
        """
        fetched = FetchedRecords(self._checkpoint, count, self._on_batch)
        failed = [one for one in partitions if one.error is not None]
        if job.adds_to is None:
            return self._replace(job, fetched, partitions, failed)
        return self._merge(count, ()) if self._existing.is_replaced else fetched

    def _replace(
        self,
        job: Job,
        fetched: FetchedRecords,
        partitions: Collection[Partition],
        failed: Collection[Partition],
    ) -> FetchedRecords:
        if len(fetched) and not failed:
            return fetched
        if not self._existing.is_replaced:
            self._warn_if_empty(fetched)
            return fetched
        if self._existing.is_empty():
            return fetched
        records = fetched
        if failed and not self._policy.replace:
            require_carriable(self._existing, self._sink.target, failed)
            walked = {one.inbox_id for one in partitions if one.error is None}
            records = self._merge(len(fetched), walked)
        if not len(records):
            require_not_emptied(self._existing, self._sink.target, job.filters, self._policy)
        return records

    def _warn_if_empty(self, fetched: FetchedRecords) -> None:
        if not len(fetched) and self._existing.last and self._existing.last.conversations:
            _log.warning(
                "no conversation was found, but the last export to %s had %d: they are kept",
                *(self._sink.target, self._existing.last.conversations),
            )

    def _merge(self, count: int, walked: Collection[str | None]) -> MergedRecords:
        return MergedRecords(
            self._checkpoint, count, self._on_batch, self._sink, walked, self._on_compared
        )

    def _describe_carried(
        self, job: Job, partitions: Collection[Partition], records: FetchedRecords
    ) -> Iterator[Partition]:
        """Yield the partitions. Add the number and age of the old records to failed partitions."""
        last = self._existing.last
        counts = records.counts if isinstance(records, MergedRecords) else None
        for one in partitions:
            if one.error is None or last is None:
                yield one
                continue
            carried, as_of = 0, None
            if counts is not None:
                carried = counts[one.inbox_id]
                as_of = (_find_age(one.inbox_id, last) or last.began) if carried else None
            elif is_same_selection(last.filters, job.filters) and not self._existing.is_replaced:
                as_of = _find_age(one.inbox_id, last)
            if carried or one.error != _NOT_LISTED:
                yield msgspec.structs.replace(one, carried=carried, as_of=as_of)


def _find_age(inbox_id: str | None, last: Manifest) -> datetime | None:
    """Return the start time of the last export with the whole inbox; ``None`` if unknown."""
    for one in last.partitions:
        if one.inbox_id == inbox_id:
            return one.as_of or (last.began if one.error is None else None)
    return None
