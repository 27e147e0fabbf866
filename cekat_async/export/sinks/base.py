"""The interface of a sink: a target that is written when all records are fetched."""

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
    """The export was cancelled. It is raised in the thread to end the running job.

    Like a cancellation, it is not an ``Exception``, so that no code handles it as a failure.
    """


class Records(Protocol):
    """The records of an export: each conversation once, in its latest version.

    You can iterate over it any number of times. It yields batches, so that memory stays small. Each
    record is JSON exactly as the API sent it, without line breaks. If the export is stopped, the
    iteration raises an exception. Clean up, and do not catch it.

    Examples:
        >>> def write(records: Records, file) -> None:
        ...     for batch in records:
        ...         file.write(b"".join(batch))
    """

    def __iter__(self) -> Iterator[list[bytes]]:
        """Return an iterator over batches of records, each of about a page."""
        ...

    def __len__(self) -> int:
        """Return the number of records."""
        ...


class Sink(Protocol):
    """A target of an export. It is written in one step, when all records are fetched.

    Until then the records are in the export's checkpoint. If the process ends during
    :meth:`publish`, another process calls it again with the same records.

    The export calls the methods in a separate thread, one after the other. They may block. ``open``
    is called first, and ``close`` last, even after an error. Each method raises
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
    """The file for the checkpoint: next to the target. ``None`` if there is no such place."""

    def open(self) -> None:
        """Check that the target can be written. It is called before the first request.

        Until :meth:`close`, no other export should be able to open the same target.

        Raises:
            TargetBusyError: Another export has opened it.
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
        """Check that nothing has changed the target since the last export.

        It is called before an incremental export adds to the target.

        Args:
            manifest: The manifest of the last export.

        Raises:
            TargetError: Something has changed the target.
        """
        ...

    def stored(self) -> Iterable[list[bytes]] | None:
        """Return all records in the target, or ``None``.

        Return records if :meth:`publish` replaces the whole target. An incremental export then
        adds to these records, and :class:`~cekat_async.ReplacementRefusedError` protects them.
        Return ``None`` if :meth:`publish` keeps existing records and replaces them by id.
        """
        ...

    def publish(self, records: Records, manifest: Manifest) -> Manifest:
        """Write all records. Make them visible in one step when the last one is on the disk.

        A reader must see either the old content or all of the new content.

        Args:
            records: The records.
            manifest: The manifest to store with them.

        Returns:
            The manifest as it was stored, with the target's checksum if it has one.
        """
        ...

    def close(self) -> None:
        """Release everything, also after a failure. It must not raise."""
        ...


@runtime_checkable
class Lookup(Protocol):
    """An optional method of a sink that can look up records by id.

    An export calls it when the API key has changed. If the target has an id of the account, the
    account is still the same. Without this method, an export reads what :meth:`Sink.stored`
    returns.

    Examples:
        >>> class TableSink:
        ...     rows = {"c1": b'{"id":"c1"}'}
        ...     def known(self, ids):
        ...         return self.rows.keys() & ids
        >>> isinstance(TableSink(), Lookup)
        True
    """

    def known(self, ids: Sequence[str]) -> set[str]:
        """Return the ids for which the target has a record.

        Args:
            ids: Ids of the account.
        """
        ...


@runtime_checkable
class Interruptible(Protocol):
    """An optional method of a sink that ends its long steps when the export is stopped.

    An export stops by itself between two batches of records. A sink needs this method if another
    step may take longer than one or two seconds, such as the checksum of its whole target.

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

        It is called in another thread, several times a second until the method has ended. It must
        not raise.
        """
        ...


def parse_manifest(text: bytes | str) -> Manifest | None:
    """Return a stored manifest. ``None`` if this version cannot read it."""
    try:
        manifest = Manifest.from_json(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return manifest if manifest.format == FORMAT else None
