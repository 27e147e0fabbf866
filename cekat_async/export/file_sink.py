"""What all targets have in common that are one file: its name, its rights, and its manifest."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import msgspec

from cekat_async import ReplacementRefusedError, TargetError
from cekat_async.export.lock import LOCK, TargetLock
from cekat_async.export.manifest import FORMAT, Manifest
from cekat_async.export.names import require_name
from cekat_async.redaction import readable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from cekat_async.export.sink import Records

__all__ = [
    "CHECKPOINT",
    "CHUNK",
    "OWNER_ALONE",
    "FileSink",
    "Hashed",
    "Output",
    "ReplacedSink",
    "beside",
    "followed",
    "next_of",
    "open_alone",
    "put_manifest",
    "require_file_place",
    "require_folder_of",
    "settle_manifest",
    "sync_folder",
    "take_rights",
    "translate_os_errors",
]

OWNER_ALONE = 0o600
CHECKPOINT = ".checkpoint"
"""What the name of a checkpoint ends in, behind that of its target."""

# Each time that a file is read or written other threads are let in, and so briefly that most of
# them miss it and wait anew: it is better done seldom.
CHUNK = 1 << 20


class Output(Protocol):
    """A file to write to, from its begin to its end."""

    def write(self, data: bytes | memoryview, /) -> int:
        """Write all of some bytes."""
        ...


class ReplacedSink(ABC):
    """A target that each export makes anew, with a manifest beside it that has its checksum.

    Args:
        path: The target. A symbolic link stays one: what it leads to is replaced, and all that
            stands beside the target stands beside that.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        require_name(str(path))
        self.target = readable(str(path))
        with translate_os_errors(self.target):
            # Looked up once: what it leads to later is not what was asked for.
            self._real = followed(Path(path))
        if self._real.name in {"", ".."}:
            raise TargetError(f"{self.target} has no name that a new one could take: name it")
        self.checkpoint: Path | None = beside(self._real, CHECKPOINT)
        self._new = beside(self._real, ".new")
        self._manifest = beside(self._real, ".manifest.json")
        self._lock = TargetLock(beside(self._real, LOCK), self.target)

    @abstractmethod
    def checksum(self) -> str:
        """Return the checksum of the target as it is; empty if it is not there."""

    def manifest(self) -> Manifest | None:
        """Return the manifest that stands beside the target.

        Raises:
            ReplacementRefusedError: It is damaged, or a newer version wrote it.
        """
        with translate_os_errors(self.target):
            if not (self._real.exists() and self._manifest.exists()):
                return None
            if manifest := _manifest_in(self._manifest):
                return manifest
        raise ReplacementRefusedError(
            f"{self.target} cannot be compared with this export, because its manifest "
            f"{self._manifest.name} is damaged, or a newer version wrote it"
        ).advise("choose another target, or pass {option}", replace=True)

    def verify(self, manifest: Manifest) -> None:
        """Make sure that the target has the checksum that its manifest says."""
        with translate_os_errors(self.target):
            if manifest.checksum == self.checksum():
                return
        raise TargetError(
            f"nothing can be added to {self.target}: it is not what the last export left (its "
            "checksum is another one than in its manifest)"
        ).advise("export all of it anew with {option}", incremental=False)

    def close(self) -> None:
        """Release the lock of the target."""
        self._lock.release()


class FileSink(ReplacedSink):
    """A target that is one file, made anew by each export.

    It is written beside the target, as ``TARGET.new``, and takes its name when it is whole and on
    the disk. Beside it stands the manifest, ``TARGET.manifest.json``, and until the export is
    whole its checkpoint, ``TARGET.checkpoint``.

    Conversations are nobody else's business: new files are for their owner alone (mode 0600). A
    target that exists keeps its mode, and its owner and group where the system allows it; where it
    does not keep the group, the group loses its rights.

    Args:
        path: The file. A symbolic link stays one: the file it leads to is replaced, and all that
            stands beside the target stands beside that.
    """

    @abstractmethod
    def write(self, records: Records, output: Output) -> None:
        """Write a whole file of records."""

    @abstractmethod
    def read(self, file: BinaryIO) -> Iterator[list[bytes]]:
        """Return the records of a whole file, batch by batch, as they were given to ``write``."""

    def open(self) -> None:
        """Make sure that the file can be written."""
        with translate_os_errors(self.target):
            require_file_place(self._real, self.target)
            with self._lock.kept():
                self.prepare()

    def prepare(self) -> None:
        """Make sure that the file can be written, and put in order what a crash left."""
        open_alone(self._new).close()
        self._new.unlink()
        settle_manifest(self._manifest, self.checksum)

    def stored(self) -> Iterator[list[bytes]]:
        """Return the records that the file holds."""
        with translate_os_errors(self.target), self._real.open("rb", buffering=CHUNK) as file:
            yield from self.read(file)

    def publish(self, records: Records, manifest: Manifest) -> Manifest:
        """Write the file beside the target, and let it take its name."""
        with translate_os_errors(self.target):
            try:
                with open_alone(self._new) as file:
                    output = Hashed(file)
                    self.write(records, output)
                    take_rights(file.fileno(), self._real)
                    file.flush()
                    os.fsync(file.fileno())
                manifest = msgspec.structs.replace(manifest, checksum=output.checksum)
                put_manifest(self._manifest, manifest, like=self._real)
                self._new.replace(self._real)
                # Before the manifest takes its place: the old one is wanted for the old target.
                sync_folder(self._real.parent)
                next_of(self._manifest).replace(self._manifest)
                sync_folder(self._real.parent)
            except BaseException:
                for path in (self._new, next_of(self._manifest)):
                    # It is the first error that says what is wrong.
                    with contextlib.suppress(OSError):
                        path.unlink(missing_ok=True)
                raise
        return manifest

    def checksum(self) -> str:
        """Return the SHA-256 of the file, as a manifest has it."""
        return _checksum_of(self._real) if self._real.exists() else ""


class Hashed:
    """An output that counts its checksum."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, data: bytes | memoryview, /) -> int:
        """Write and count all of some bytes."""
        self._hash.update(data)
        return self._file.write(data)

    @property
    def digest(self) -> str:
        """The SHA-256 of what was written, in hexadecimal."""
        return self._hash.hexdigest()

    @property
    def checksum(self) -> str:
        """The same as a manifest holds it."""
        return f"sha256:{self.digest}"


def beside(path: Path, suffix: str) -> Path:
    """Return the path of what belongs to a file."""
    return path.with_name(path.name + suffix)


def require_file_place(path: Path, target: str) -> None:
    """Raise unless a target that is one file can be at a path.

    Raises:
        OSError: Something else is there, or there is no folder for it.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder", target)
    if path.exists() and not path.is_file():
        # A device or a pipe would be gone, with a file in its place.
        raise OSError(errno.EINVAL, "it is not a regular file", target)
    require_folder_of(path, target)


def require_folder_of(path: Path, target: str) -> None:
    """Raise unless the folder of a target exists.

    Raises:
        FileNotFoundError: It does not.
    """
    if not (folder := path.parent).is_dir():
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {folder}", target)


def next_of(manifest: Path) -> Path:
    """Return where a manifest is until its target has taken its name."""
    return beside(manifest, ".new")


def put_manifest(path: Path, manifest: Manifest, *, like: Path) -> None:
    """Write a manifest next to its place, with the rights of another file.

    It is on the disk before the target takes its name. After a crash it says whose the target is.
    """
    with open_alone(next_of(path)) as file:
        file.write(manifest.to_json())
        take_rights(file.fileno(), like)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def settle_manifest(path: Path, checksum: Callable[[], str]) -> None:
    """Put a manifest in its place that a crash left beside it, if it belongs to the target.

    Left there it would be lost when the next one is written, and the target be one without.
    """
    new = next_of(path)
    if not new.exists():
        return
    if (manifest := _manifest_in(new)) and manifest.checksum == checksum():
        new.replace(path)
    else:
        new.unlink()


def _manifest_in(path: Path) -> Manifest | None:
    """Return the manifest in a file; None if there is none that this version can read."""
    try:
        manifest = Manifest.from_json(path.read_bytes())
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return manifest if manifest.format == FORMAT else None


def _checksum_of(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


@contextlib.contextmanager
def translate_os_errors(target: str) -> Generator[None, None, None]:
    """Tell of what the system refuses as the package's own error."""
    try:
        yield
    except OSError as error:
        where = error.filename or target
        raise TargetError(f"cannot write {where}: {error.strerror or error}") from error


def followed(path: Path) -> Path:
    """Return what a symbolic link leads to, and any other path as it was given."""
    if not path.is_symlink():
        return path
    real = Path(os.path.realpath(path))
    if real.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return real


def open_alone(path: Path) -> BinaryIO:
    """Open an empty file for its owner alone, in place of what an earlier run left."""
    # Never through a link: what one leads to would be emptied in its place.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, flags, OWNER_ALONE), "wb", buffering=CHUNK)


def take_rights(file: int, path: Path) -> None:
    """Give a file the mode, owner and group of the one whose place it takes, if there is one."""
    if sys.platform == "win32" or not path.exists():
        return
    old = path.stat()
    mode = old.st_mode & 0o777
    if not _take_group(file, old):
        # Other people are in the file's own group: the old one's rights are not for them.
        mode &= ~stat.S_IRWXG
    with contextlib.suppress(OSError):
        os.fchmod(file, mode)


def _take_group(file: int, old: os.stat_result) -> bool:
    """Give a file another one's owner and group, or its group alone; whether it has that now."""
    if sys.platform == "win32":
        return False
    for owner in (old.st_uid, -1):  # to give files away is for root
        with contextlib.suppress(OSError):
            os.fchown(file, owner, old.st_gid)
            return True
    return False


def sync_folder(folder: Path) -> None:
    """Bring a new name to the disk, where the system lets one open a folder for that.

    Where it does not, the target is there all the same, and its content is on the disk.
    """
    if not hasattr(os, "O_DIRECTORY"):
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
