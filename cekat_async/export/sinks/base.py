"""The interface of a sink, which writes a target when all records are fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

from cekat_async.export.manifest import FORMAT, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

__all__ = ["CHECKPOINT", "Interruptible", "Lookup", "Records", "Sink", "Stopped", "parse_manifest"]

CHECKPOINT = ".checkpoint"
"""The suffix of a checkpoint's name, after the name of its target."""


class Stopped(BaseException):
    """The export was cancelled. The worker thread raises it to end the running job.

    Like a cancellation, it is not an ``Exception``, so that no code handles it as a failure.
    """


class Records(Protocol):
    """The records of an export: the latest version of each conversation.

    You can iterate over the object any number of times. It yields batches, so it needs little
    memory. Each record is JSON exactly as the API sent it, without line breaks. If the export is
    stopped, the iteration raises an exception. A sink may clean up, but it must not suppress this
    exception.

    Examples:
        >>> def write(records: Records, file) -> None:
        ...     for batch in records:
        ...         file.write(b"".join(batch))
    """

    def __iter__(self) -> Iterator[list[bytes]]:
        """Return an iterator over batches of records. A batch is about as large as a page."""
        ...

    def __len__(self) -> int:
        """Return the number of records."""
        ...


class Sink(Protocol):
    """A target of an export. It is written in one step, when all records are fetched.

    Until then, the records are in the export's checkpoint. If the process ends during
    :meth:`publish`, another process calls it again with the same records.

    The export calls the methods in a separate thread, one after the other. The methods may block.
    ``open`` is called first. ``close`` is called last, even after an error. Each method raises
    :class:`~cekat_async.TargetError` if the target fails.

    Examples:
        >>> class ListSink:
        ...     target, checkpoint = "a list", None
        ...     def open(self): self.records = []
        ...     def manifest(self): return None
        ...     def verify(self, manifest): pass
        ...     def stored(self): return None
        ...     def publish(self, records, manifest):
        ...         self.records = [record for batch in records for record in batch]
        ...         return manifest
        ...     def close(self): pass
        >>> sink = ListSink()
        >>> report = await export_conversations(cekat, sink)
        >>> len(sink.records)
        250
    """

    target: str
    """The name of the target, for messages and for the manifest. It must not contain a password."""

    checkpoint: Path | None
    """The path of the checkpoint, next to the target. ``None`` if there is no such place."""

    def open(self) -> None:
        """Check that the target can be written. The export calls this before the first request.

        No other export should be able to open the same target until :meth:`close` is called.

        Raises:
            TargetBusyError: Another export has opened the target.
        """
        ...

    def manifest(self) -> Manifest | None:
        """Return the manifest of the last export to the target, or ``None`` if there was none.

        Raises:
            ReplacementRefusedError: The manifest cannot be read, so the content of the target is
                unknown. An export with ``replace`` continues as if there were no manifest.
        """
        ...

    def verify(self, manifest: Manifest) -> None:
        """Check that the target has not changed since the last export.

        The export calls this before it adds to the target (``incremental``).

        Args:
            manifest: The manifest of the last export.

        Raises:
            TargetError: The target has changed.
        """
        ...

    def stored(self) -> Iterable[list[bytes]] | None:
        """Return all records in the target, or ``None`` if existing records stay in place.

        If :meth:`publish` replaces the whole target, return its records. An incremental export then
        adds to these records, and :class:`~cekat_async.ReplacementRefusedError` protects them.
        If :meth:`publish` keeps existing records and replaces only those with the same id, return
        ``None``.
        """
        ...

    def publish(self, records: Records, manifest: Manifest) -> Manifest:
        """Write all records. Make them visible in one step when all are on the disk.

        A reader must see either the old content or all of the new content.

        Args:
            records: The records.
            manifest: The manifest to store together with the records.

        Returns:
            The manifest as it was stored, with the target's checksum if it has one.
        """
        ...

    def close(self) -> None:
        """Release everything, even after a failure. It must not raise."""
        ...


@runtime_checkable
class Lookup(Protocol):
    """An optional method of a sink that can look up records by id.

    An export calls the method if the API key has changed. If the target contains a record with an
    id of the account, the account is still the same. If the sink lacks this method, the export
    reads the records that :meth:`Sink.stored` returns.

    Examples:
        >>> class TableSink:
        ...     rows = {"c1": b'{"id":"c1"}'}
        ...     def known(self, ids):
        ...         return self.rows.keys() & ids
        >>> isinstance(TableSink(), Lookup)
        True
    """

    def known(self, ids: Sequence[str]) -> set[str]:
        """Return those of the ids for which the target has a record.

        Args:
            ids: Ids of conversations in the account.
        """
        ...


@runtime_checkable
class Interruptible(Protocol):
    """An optional method of a sink, which ends a long step when the export is stopped.

    An export stops by itself between two batches of records. A sink needs this method if any other
    step, such as the checksum of the whole target, may take longer than one or two seconds.

    Examples:
        >>> class SlowSink:
        ...     is_stopped = False
        ...     def interrupt(self):
        ...         self.is_stopped = True  # the running method checks this and raises
        >>> isinstance(SlowSink(), Interruptible)
        True
    """

    def interrupt(self) -> None:
        """Make the running method raise soon. Do nothing if it cannot be interrupted.

        The export calls this in another thread, several times a second until the running method has
        ended. It must not raise.
        """
        ...


def parse_manifest(text: bytes | str) -> Manifest | None:
    """Return a stored manifest, or ``None`` if this version cannot read it."""
    try:
        manifest = Manifest.from_json(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return manifest if manifest.format == FORMAT else None
