"""The records that a sink is given: those of an export, and those it adds to."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from cekat_async import DecodeError, decode_conversation, record_id

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from cekat_async.export.checkpoint import Checkpoint, Name
    from cekat_async.export.sinks.base import Sink

__all__ = ["Fresh", "Merged"]


class _OnlyInbox(msgspec.Struct):
    inbox_id: str | None = None


_ONLY_INBOX = msgspec.json.Decoder(_OnlyInbox)


class Fresh:
    """The records of a checkpoint, each conversation as it came last.

    Args:
        checkpoint: Whose.
        count: How many they are.
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


class Merged:
    """The old records of a target that it keeps, and then the fresh ones.

    Args:
        fresh: The records that were fetched. They replace old ones of the same name.
        checkpoint: Knows the names of the fresh records.
        sink: Holds the old records.
        on_batch: As for :class:`Fresh`. While old records are only counted, it is called with 0.
        walked: The inboxes whose old records are left out: they were walked to their end, so that
            a record of theirs that was not fetched again does not exist any more.

    Attributes:
        counts: How many old records are kept, by inbox; ``None`` for those without a readable one.
    """

    def __init__(
        self,
        fresh: Fresh,
        checkpoint: Checkpoint,
        sink: Sink,
        on_batch: Callable[[int], None],
        walked: Collection[str | None] = (),
    ) -> None:
        self._fresh = fresh
        self._checkpoint = checkpoint
        self._sink = sink
        self._on_batch = on_batch
        self._walked = walked
        checkpoint.index_names()
        self.counts = Counter[str | None]()
        for batch in self._old():
            self.counts.update(map(_inbox_of, batch))

    def __len__(self) -> int:
        return len(self._fresh) + self.counts.total()

    def __iter__(self) -> Iterator[list[bytes]]:
        for batch in self._old():
            self._on_batch(len(batch))
            yield batch
        yield from self._fresh

    def _old(self) -> Iterator[list[bytes]]:
        for batch in self._sink.stored() or ():
            self._on_batch(0)
            named = [(_name_of(record), record) for record in batch]
            fetched = self._checkpoint.known([name for name, _ in named])
            old = [record for name, record in named if name not in fetched]
            if kept := [record for record in old if _inbox_of(record) not in self._walked]:
                yield kept


def _name_of(record: bytes) -> Name:
    """Return what a checkpoint knows a record by: its id, or all of it without one."""
    id_ = record_id(record)
    return record if id_ is None else id_


def _inbox_of(record: bytes) -> str | None:
    """Return the inbox id of a record; ``None`` if it has none that can be read."""
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _ONLY_INBOX.decode(record).inbox_id
    with suppress(DecodeError):  # It is slower, and reads records that are broken elsewhere.
        return decode_conversation(record).inbox_id
    return None
