"""The content that a target has before an export replaces it."""

from __future__ import annotations

from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING

from cekat_async import TargetError, record_id
from cekat_async.export.sinks.base import Lookup
from cekat_async.export.sinks.file_system import translate_os_errors
from cekat_async.export.sinks.files.base import ReplacedSink

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from cekat_async.export.manifest import Manifest
    from cekat_async.export.sinks.base import Sink

__all__ = ["ExistingTarget"]

# The checksum of an empty file, which is also that of a folder without parts.
_CHECKSUM_OF_NOTHING = f"sha256:{sha256().hexdigest()}"


class ExistingTarget:
    """The content of a target.

    Args:
        sink: The sink of the target. It is open.
        last: The manifest of the last export to the target; ``None`` if there is none.
        check: A function that is called repeatedly while the target is read. It raises an exception
            to stop the reading.
    """

    def __init__(self, sink: Sink, last: Manifest | None, check: Callable[[], None]) -> None:
        self._sink = sink
        self.last = last
        self._check = check

    @property
    def is_replaced(self) -> bool:
        """Whether an export replaces the target, instead of merging into it."""
        return self._sink.stored() is not None

    @cached_property
    def is_unchanged(self) -> bool:
        """Whether the target is unchanged since the last export. The first call reads all of it."""
        if self.last is None:
            return False
        try:
            self._sink.verify(self.last)
        except TargetError:
            return False
        return True

    def count(self) -> int | None:
        """Return how many records are in the target; ``None`` if this is unknown."""
        return self.last.conversations if self.last and self.is_unchanged else None

    def is_empty(self) -> bool:
        """Whether the target contains no data that could be lost."""
        if isinstance(self._sink, ReplacedSink):
            if (count := self.count()) is not None:
                return count == 0
            # Another program may have changed the target, so its records may be unreadable.
            with translate_os_errors(self._sink.target):
                return self._sink.checksum() in {"", _CHECKSUM_OF_NOTHING}
        return not any(self._sink.stored() or ())

    def holds_any(self, ids: Collection[str]) -> bool:
        """Whether the target contains a conversation with one of these ids."""
        if not ids or not self.is_unchanged:
            return False
        if isinstance(self._sink, Lookup):
            return bool(self._sink.known([*ids]))
        for batch in self._sink.stored() or ():
            self._check()
            if any(record_id(record) in ids for record in batch):
                return True
        return False
