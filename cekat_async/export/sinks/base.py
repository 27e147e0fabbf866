"""The interface of every sink: a target that gets its records once all are fetched."""

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
    """The export was cancelled: raised in the thread to end the running job.

    Like a cancellation it is no Exception, so that nobody handles it as a failure.
    """


class Records(Protocol):
    """The records of an export: each conversation once, in its latest version.

    It can be iterated any number of times, and yields batches, so that memory stays small. Each
    record is JSON exactly as the API sent it, without line breaks. The iteration raises when the
    export is stopped: let that exception pass, and clean up.
    """

    def __iter__(self) -> Iterator[list[bytes]]:
        """Return an iterator over batches of records (about a page each)."""
        ...

    def __len__(self) -> int:
        """Return the number of records."""
        ...


class Sink(Protocol):
    """The target of an export, which is written in one step, when all records are fetched.

    Until then the records are in the export's checkpoint. If the process ends during
    :meth:`publish`, another process calls it again with the same records.

    The methods are called in a separate thread, one after the other, and may block. ``open`` is
    called first and ``close`` last, even after an error. Each raises
    :class:`~cekat_async.TargetError` if the target fails.
    """

    target: str
    """Where the records are after the export, for people and for the manifest.

    It contains no password.
    """

    checkpoint: Path | None
    """The best place for the checkpoint: next to the target. ``None`` if there is none."""

    def open(self) -> None:
        """Check that the target can be written, before the first request is sent.

        Until :meth:`close`, no other export should be able to open the same target.

        Raises:
            TargetBusyError: Another export has opened it.
        """
        ...

    def manifest(self) -> Manifest | None:
        """Return the manifest of the last export into the target, or ``None``.

        Raises:
            ReplacementRefusedError: The manifest cannot be read, so the content of the target is
                unknown. An export with ``replace`` continues as if there were no manifest.
        """
        ...

    def verify(self, manifest: Manifest) -> None:
        """Check that the target is what that export left, before anything is added to it.

        Raises:
            TargetError: Something else changed it.
        """
        ...

    def stored(self) -> Iterable[list[bytes]] | None:
        """Return all records in the target, so that an incremental export can add to them.

        ``None`` if :meth:`publish` leaves existing records in place and replaces them by id. A
        target that returns records is replaced by an export, and is therefore protected: see
        :class:`~cekat_async.ReplacementRefusedError`.
        """
        ...

    def publish(self, records: Records, manifest: Manifest) -> Manifest:
        """Write all records, and make them visible in one step when the last one is on the disk.

        A reader sees either the old content or all of the new content.

        Returns:
            The manifest as it was stored, with the target's checksum if it has one.
        """
        ...

    def close(self) -> None:
        """Release everything, also after a failure. It raises nothing."""
        ...


@runtime_checkable
class Lookup(Protocol):
    """An optional method of a sink that can look up records by id.

    An export calls it when the API key has changed: an id that the target knows proves that the
    account is still the same. Without it an export reads what :meth:`Sink.stored` returns.
    """

    def known(self, ids: Sequence[str]) -> set[str]:
        """Return the ids for which the target has a record."""
        ...


@runtime_checkable
class Interruptible(Protocol):
    """An optional method of a sink that ends its long steps when the export is stopped.

    Between two batches of records an export stops by itself. A sink needs this if something else
    that it does may take more than a second or two, such as a checksum of its whole target.
    """

    def interrupt(self) -> None:
        """Make the running method raise anything soon. Do nothing if it cannot be interrupted.

        It is called in another thread, several times a second until the method has ended. It
        raises nothing.
        """
        ...


def parse_manifest(text: bytes | str) -> Manifest | None:
    """Return a stored manifest; ``None`` if this version cannot read it."""
    try:
        manifest = Manifest.from_json(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return manifest if manifest.format == FORMAT else None
