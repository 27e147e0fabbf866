"""The base classes of sinks whose target each export replaces: a file, or a folder."""

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

# Records that are handed out at once.
BATCH = 100
# Nothing can stop a sync. One of a whole file of gigabytes could take minutes.
_UNSYNCED = 64 << 20


class ReplacedSink(ABC):
    """A target that each export replaces, with a manifest next to it that has its checksum.

    The new target is written next to the old one, as ``TARGET.new``. It takes the target's name
    when it is complete and on the disk. Until the export is complete, its checkpoint is
    ``TARGET.checkpoint``.

    Args:
        path: The target. A symbolic link stays one: the file or folder it leads to is replaced,
            and everything next to the target is next to that.

    Attributes:
        path: The target, with symbolic links resolved.
        new: Where the new target is written.
        rights_source: The file whose rights new files get.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        require_file_name(str(path))
        self.target = readable(str(path))
        with translate_os_errors(self.target):
            # Resolved once: the link may lead to another place later.
            self.path = resolve_link(Path(path))
        if self.path.name in {"", ".."}:
            raise TargetError(f"{self.target} has no name that a new one could take: name it")
        self.checkpoint: Path | None = add_suffix(self.path, CHECKPOINT)
        self.new = add_suffix(self.path, ".new")
        self.rights_source = self.path
        self._manifest = ManifestFile(self.path)
        self._lock = TargetLock(add_suffix(self.path, LOCK), self.target)
        self._interrupted = threading.Event()

    @abstractmethod
    def check_replaceable(self) -> None:
        """Raise unless a new target can be written and can replace the present one."""

    @abstractmethod
    def write_new(self, records: Records) -> str:
        """Write the new target to the disk, and return its checksum."""

    @abstractmethod
    def take_name(self) -> None:
        """Let the new target take the target's name."""

    @abstractmethod
    def remove_new(self) -> None:
        """Remove the new target, if there is one."""

    @abstractmethod
    def checksum(self) -> str:
        """Return the checksum of the target; empty if there is none."""

    def recover(self) -> None:  # noqa: B027 - only some targets need it
        """Finish, or take back, a replacement that a kill interrupted."""

    def remove_old(self) -> None:  # noqa: B027 - only some targets need it
        """Remove the old target, after the new one has taken its name on the disk."""

    def check_place(self) -> None:
        """Raise unless there can be a target at the path. Nothing is created or read."""
        require_folder(self.path, self.target)

    def open(self) -> None:
        """Check that the target can be replaced, and recover from a kill."""
        self._interrupted.clear()
        with translate_os_errors(self.target):
            self.check_place()  # before its lock: that file would be next to something else
            with self._lock.acquired():
                if self._manifest.new.exists():
                    self.recover()
                    # The next export would overwrite it, and the target would have no manifest.
                    self._manifest.recover(self.checksum)
                self.check_replaceable()

    def manifest(self) -> Manifest | None:
        """Return the manifest next to the target.

        Raises:
            ReplacementRefusedError: It is damaged, or a newer version wrote it.
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
        """Check that the target has the checksum in its manifest."""
        with translate_os_errors(self.target):
            if manifest.checksum == self.checksum():
                return
        raise TargetError(
            f"nothing can be added to {self.target}: it is not what the last export left (its "
            "checksum is another one than in its manifest)"
        ).advise("export everything again with {option}", incremental=False)

    def publish(self, records: Records, manifest: Manifest) -> Manifest:
        """Write the new target, and let it replace the old one."""
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
            # Last: until then the next export knows that a replacement was interrupted.
            self._manifest.replace()
        return manifest

    def interrupt(self) -> None:
        """Make a checksum that is being computed raise."""
        self._interrupted.set()

    def check(self) -> None:
        """Raise if the export was stopped."""
        if self._interrupted.is_set():
            raise Stopped

    def close(self) -> None:
        """Release the lock of the target."""
        self._lock.release()

    def _remove_new(self) -> None:
        """Remove the new target and its manifest. Errors are ignored: another one is raised."""
        for remove in (self.remove_new, self._manifest.remove_new):
            with contextlib.suppress(OSError, TargetError):
                remove()


class FileSink(ReplacedSink):
    """A target that is one file.

    New files are readable by their owner only (mode 0600). If there is a target already, the new
    one gets its mode, and its owner and group if the system allows that. If the group cannot be
    kept, it loses its rights.
    """

    @abstractmethod
    def write(self, records: Records, output: Output) -> None:
        """Write a whole file of records."""

    @abstractmethod
    def read(self, file: BinaryIO) -> Iterator[bytes]:
        """Return the records of a whole file, as they were given to ``write``."""

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
        """Replace the file by the new one."""
        self.new.replace(self.path)

    def remove_new(self) -> None:
        """Remove the new file, if there is one."""
        self.new.unlink(missing_ok=True)

    def checksum(self) -> str:
        """Return the SHA-256 of the file, as in a manifest."""
        return f"sha256:{hash_file(self.path, self.check)}" if self.path.exists() else ""


class Output:
    """A file that is written from its beginning to its end, and the hash of its content."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._unsynced = 0

    def write(self, data: bytes | memoryview, /) -> None:
        """Write all of some bytes."""
        self._hash.update(data)
        self._file.write(data)
        self._unsynced += len(data)
        if self._unsynced >= _UNSYNCED:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._unsynced = 0

    @property
    def digest(self) -> str:
        """The SHA-256 of everything that was written, in hexadecimal."""
        return self._hash.hexdigest()


def batched(records: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Return records in batches of about a page."""
    iterator = iter(records)
    while batch := list(islice(iterator, BATCH)):
        yield batch
