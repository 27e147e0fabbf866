"""The base classes of sinks for files and folders. Each export replaces the target."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from abc import ABC, abstractmethod
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from cekat_async import ReplacementRefusedError, TargetError
from cekat_async.export.sinks.base import CHECKPOINT, Stopped
from cekat_async.export.sinks.file_system import (
    CHUNK,
    add_suffix,
    create_private,
    durable_file,
    hash_file,
    require_file_name,
    require_file_place,
    require_folder,
    resolve_link,
    sync_folder,
    translate_os_errors,
)
from cekat_async.export.sinks.files.manifest_file import ManifestFile
from cekat_async.export.sinks.lock import LOCK, TargetLock
from cekat_async.redaction import readable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cekat_async.export.manifest import Manifest
    from cekat_async.export.sinks.base import Records

__all__ = ["BATCH", "FileSink", "Output", "ReplacedSink", "batched"]

# The number of records in a batch.
BATCH = 100
# The number of bytes after which data is synced to the disk. A sync cannot be interrupted, and
# syncing gigabytes in one step could take minutes.
_UNSYNCED = 64 << 20


class ReplacedSink(ABC):
    """A target that each export replaces. The manifest next to the target contains its checksum.

    The new target is written next to the old one, as ``TARGET.new``. When the new target is
    complete and on the disk, it is renamed to the target's name. Until the export is complete, its
    checkpoint is ``TARGET.checkpoint``.

    Args:
        path: The target. If it is a symbolic link, the export replaces the file or folder that the
            link leads to, and writes the manifest and all other files next to that.

    Attributes:
        path: The path of the target, with symbolic links resolved.
        new: The path of the new target while it is written.
        rights_source: The file whose access rights are copied to new files.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        require_file_name(str(path))
        self.target = readable(str(path))
        with translate_os_errors(self.target):
            # Resolve the link only once, because it may lead to another place later.
            self.path = resolve_link(Path(path))
        if self.path.name in {"", ".."}:
            raise TargetError(f"{self.target} has no file name: add a name")
        self.checkpoint: Path | None = add_suffix(self.path, CHECKPOINT)
        self.new = add_suffix(self.path, ".new")
        self.rights_source = self.path
        self._manifest = ManifestFile(self.path)
        self._lock = TargetLock(add_suffix(self.path, LOCK), self.target)
        self._interrupted = threading.Event()

    @abstractmethod
    def check_replaceable(self) -> None:
        """Raise unless a new target can be written, and can then replace the present target."""

    @abstractmethod
    def write_new(self, records: Records) -> str:
        """Write the new target to the disk, and return its checksum."""

    @abstractmethod
    def take_name(self) -> None:
        """Rename the new target to the target's name."""

    @abstractmethod
    def remove_new(self) -> None:
        """Remove the new target, if there is one."""

    @abstractmethod
    def checksum(self) -> str:
        """Return the checksum of the target, or an empty text if there is no target."""

    def recover(self) -> None:  # noqa: B027 - only some targets need it
        """Finish or undo a replacement that a kill interrupted."""

    def remove_old(self) -> None:  # noqa: B027 - only some targets need it
        """Remove the old target after the new target has taken its name."""

    def check_place(self) -> None:
        """Raise unless there can be a target at the path. Nothing is created or read."""
        require_folder(self.path, self.target)

    def open(self) -> None:
        """Check that the target can be replaced, and recover from a kill."""
        self._interrupted.clear()
        with translate_os_errors(self.target):
            self.check_place()  # first, because the lock creates a file next to the target
            with self._lock.acquired():
                if self._manifest.new.exists():
                    self.recover()
                    # Without this, the next export would overwrite the new manifest, and the target
                    # would have no manifest.
                    self._manifest.recover(self.checksum)
                self.check_replaceable()

    def manifest(self) -> Manifest | None:
        """Return the manifest next to the target.

        Raises:
            ReplacementRefusedError: The manifest is damaged, or a newer version wrote it.
        """
        with translate_os_errors(self.target):
            if not (self.path.exists() and self._manifest.path.exists()):
                return None
            if manifest := self._manifest.read():
                return manifest
        raise ReplacementRefusedError(
            f"{self.target} cannot be compared with this export, because its manifest "
            f"{self._manifest.path.name} is damaged, or a newer version wrote it"
        ).advise("choose another target, or pass {option}", replace=True)

    def verify(self, manifest: Manifest) -> None:
        """Check that the target has the checksum that its manifest contains."""
        with translate_os_errors(self.target):
            if manifest.checksum == self.checksum():
                return
        raise TargetError(
            f"nothing can be added to {self.target}: it was changed after the last export (its "
            "checksum is not the one in its manifest)"
        ).advise("export everything again with {option}", incremental=False)

    def publish(self, records: Records, manifest: Manifest) -> Manifest:
        """Write the new target, and replace the old target with it."""
        with translate_os_errors(self.target):
            try:
                checksum = self.write_new(records)
                manifest = msgspec.structs.replace(manifest, checksum=checksum)
                self._manifest.write_new(manifest, like=self.rights_source)
                self.take_name()
            except BaseException:
                self._remove_new()
                raise
            sync_folder(self.path.parent)
            self.remove_old()
            # Do this last, so that the next export notices the unfinished replacement after a kill.
            self._manifest.replace()
        return manifest

    def interrupt(self) -> None:
        """If a checksum is being computed, stop the computation with an exception."""
        self._interrupted.set()

    def check(self) -> None:
        """Raise if the export was stopped."""
        if self._interrupted.is_set():
            raise Stopped

    def close(self) -> None:
        """Release the lock of the target."""
        self._lock.release()

    def _remove_new(self) -> None:
        """Remove the new target and its manifest. Ignore errors, to keep an earlier one."""
        for remove in (self.remove_new, self._manifest.remove_new):
            with contextlib.suppress(OSError, TargetError):
                remove()


class FileSink(ReplacedSink):
    """A target that is one file.

    New files are readable only by their owner (mode 0600). If there is a target already, the new
    target gets the same mode. It also gets the same owner and group, if the system allows that. If
    it cannot get the same group, it gives no rights to its group.
    """

    @abstractmethod
    def write(self, records: Records, output: Output) -> None:
        """Write a whole file of records."""

    @abstractmethod
    def read(self, file: BinaryIO) -> Iterator[bytes]:
        """Return the records of a whole file, as ``write`` received them."""

    def check_place(self) -> None:
        """Raise unless there can be a file at the path."""
        require_file_place(self.path, self.target)

    def check_replaceable(self) -> None:
        """Raise unless a new file can be written next to the path."""
        self.remove_new()
        create_private(self.new).close()
        self.new.unlink()

    def stored(self) -> Iterator[list[bytes]]:
        """Return the records of the file."""
        with translate_os_errors(self.target), self.path.open("rb", buffering=CHUNK) as file:
            yield from batched(self.read(file))

    def write_new(self, records: Records) -> str:
        """Write the new file."""
        with durable_file(self.new, like=self.rights_source) as file:
            output = Output(file)
            self.write(records, output)
        return f"sha256:{output.digest}"

    def take_name(self) -> None:
        """Replace the old file with the new file."""
        self.new.replace(self.path)

    def remove_new(self) -> None:
        """Remove the new file, if there is one."""
        self.new.unlink(missing_ok=True)

    def checksum(self) -> str:
        """Return the SHA-256 of the file, in the format of a manifest."""
        return f"sha256:{hash_file(self.path, self.check)}" if self.path.exists() else ""


class Output:
    """A file that is written from beginning to end. It also computes the hash of its content."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._unsynced = 0

    def write(self, data: bytes | memoryview, /) -> None:
        """Write all bytes of ``data``."""
        self._hash.update(data)
        self._file.write(data)
        self._unsynced += len(data)
        if self._unsynced >= _UNSYNCED:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._unsynced = 0

    @property
    def digest(self) -> str:
        """The SHA-256 of everything that was written so far, in hexadecimal."""
        return self._hash.hexdigest()


def batched(records: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Return records in batches that are about as large as a page."""
    iterator = iter(records)
    while batch := list(islice(iterator, BATCH)):
        yield batch
