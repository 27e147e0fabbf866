"""The records that a sink is given: those of an export, and those it adds to."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from cekat_async import DecodeError, decode_conversation, record_id

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from cekat_async.export.checkpoint import Checkpoint, Name
    from cekat_async.export.sink import Sink

__all__ = ["Carried", "Fresh", "Merged"]


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
        self._count = len(fresh) + self._count_old()

    def _count_old(self) -> int:
        return sum(len(batch) for batch in self._old())

    def _stays(self, record: bytes) -> bool:  # noqa: ARG002 - a subclass looks at it
        return True

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
            fresh = [record for name, record in named if name not in known]
            if kept := [record for record in fresh if self._stays(record)]:
                yield kept


class Carried(Merged):
    """The fetched records, and the old ones of inboxes that could not be fetched again.

    Args:
        fresh: The records that were fetched.
        checkpoint: As for :class:`Merged`.
        sink: As for :class:`Merged`.
        on_batch: As for :class:`Fresh`.
        walked: The inboxes that were walked to their end. An old record of theirs that was not
            fetched again does not exist any more, and is left out. An old record without a
            readable inbox is kept.

    Attributes:
        counts: How many old records are kept, by inbox.
    """

    def __init__(
        self,
        fresh: Fresh,
        checkpoint: Checkpoint,
        sink: Sink,
        on_batch: Callable[[int], None],
        walked: Collection[str | None],
    ) -> None:
        self._walked = walked
        self.counts = Counter[str | None]()
        super().__init__(fresh, checkpoint, sink, on_batch)

    def _count_old(self) -> int:
        for batch in self._old():
            self.counts.update(map(_inbox_of, batch))
        return self.counts.total()

    def _stays(self, record: bytes) -> bool:
        return _inbox_of(record) not in self._walked


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
