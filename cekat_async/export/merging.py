"""The records that a sink is given: those of an export, and those it adds to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cekat_async import record_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cekat_async.export.checkpoint import Checkpoint, Name
    from cekat_async.export.sink import Sink

__all__ = ["Fresh", "Merged"]


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
    """What a target holds, but for what has come anew; and then that.

    Args:
        fresh: What has come anew.
        checkpoint: Knows which that is.
        sink: Holds the rest.
        on_batch: As for :class:`Fresh`.
    """

    def __init__(
        self, fresh: Fresh, checkpoint: Checkpoint, sink: Sink, on_batch: Callable[[int], None]
    ) -> None:
        self._fresh = fresh
        self._checkpoint = checkpoint
        self._sink = sink
        self._on_batch = on_batch
        checkpoint.index_names()
        # Nobody has counted how many of the old ones stay.
        self._count = len(fresh) + sum(len(batch) for batch in self._old())

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[list[bytes]]:
        for batch in self._old():
            self._on_batch(len(batch))
            yield batch
        yield from self._fresh

    def _old(self) -> Iterator[list[bytes]]:
        stored: Iterable[list[bytes]] | None = self._sink.stored()
        for batch in stored or ():
            self._on_batch(0)
            named = [(_name_of(record), record) for record in batch]
            known = self._checkpoint.known([name for name, _ in named])
            if kept := [record for name, record in named if name not in known]:
                yield kept


def _name_of(record: bytes) -> Name:
    """Return what a checkpoint knows a record by: its id, or all of it without one."""
    id_ = record_id(record)
    return record if id_ is None else id_
