"""The records that a sink receives: those of an export, and older ones that the target keeps."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

from cekat_async import DecodeError, decode_conversation, record_id

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from cekat_async.export.checkpoint import Checkpoint, RecordKey
    from cekat_async.export.sinks.base import Sink

__all__ = ["FetchedRecords", "MergedRecords", "SinkRecords"]


class FetchedRecords:
    """The records of a checkpoint, each conversation in its latest version.

    Args:
        checkpoint: Holds the records.
        count: How many there are.
        on_batch: Called with the number of records of each batch before it is handed out; what it
            raises ends the iteration.
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


class MergedRecords:
    """The old records that a target keeps, and then the fetched ones.

    Args:
        fetched: The records that were fetched. They replace old ones with the same key.
        checkpoint: Knows the keys of the fetched records.
        sink: Holds the old records.
        on_batch: As for :class:`FetchedRecords`. While old records are only counted, it is called
            with 0.
        walked: The inboxes whose old records are left out. They were walked to the end, so a
            record of theirs that was not fetched again does not exist any more.

    Attributes:
        counts: How many old records are kept, by inbox; ``None`` for those without a readable one.
    """

    def __init__(
        self,
        fetched: FetchedRecords,
        checkpoint: Checkpoint,
        sink: Sink,
        on_batch: Callable[[int], None],
        walked: Collection[str | None] = (),
    ) -> None:
        self._fetched = fetched
        self._checkpoint = checkpoint
        self._sink = sink
        self._on_batch = on_batch
        self._walked = walked
        checkpoint.index_keys()
        self.counts = Counter[str | None]()
        for batch in self._old():
            self.counts.update(map(_read_inbox_id, batch))

    def __len__(self) -> int:
        return len(self._fetched) + self.counts.total()

    def __iter__(self) -> Iterator[list[bytes]]:
        for batch in self._old():
            self._on_batch(len(batch))
            yield batch
        yield from self._fetched

    def _old(self) -> Iterator[list[bytes]]:
        for batch in self._sink.stored() or ():
            self._on_batch(0)
            keyed = [(_read_key(record), record) for record in batch]
            fetched = self._checkpoint.known([key for key, _ in keyed])
            old = [record for key, record in keyed if key not in fetched]
            if kept := [record for record in old if _read_inbox_id(record) not in self._walked]:
                yield kept


SinkRecords: TypeAlias = FetchedRecords | MergedRecords


def _read_key(record: bytes) -> RecordKey:
    id_ = record_id(record)
    return record if id_ is None else id_


def _read_inbox_id(record: bytes) -> str | None:
    """Return the inbox id of a record; ``None`` if it has none that can be read."""
    with suppress(DecodeError):
        return decode_conversation(record).inbox_id
    return None
