"""Files next to a target: how to name them, create them privately, and sync them to the disk."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cekat_async import ConfigurationError, TargetError
from cekat_async.redaction import readable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = [
    "CHUNK",
    "OWNER_ONLY",
    "add_suffix",
    "copy_rights",
    "create_private",
    "durable_file",
    "hash_file",
    "require_file_name",
    "require_file_place",
    "require_folder",
    "resolve_link",
    "sync_folder",
    "translate_os_errors",
]

OWNER_ONLY = 0o600
"""The mode of a file that only its owner can read and write."""

# The size of a read or write. Each operation lets other threads run, but often too briefly, so a
# few large operations are better than many small ones.
CHUNK = 1 << 20


def require_file_name(name: str) -> None:
    """Raise ConfigurationError if no file on this system can have this name, in any folder."""
    if "\0" in name:
        raise ConfigurationError(f"no file can have the name {name!r}: it contains a NUL")
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        raise ConfigurationError(
            f"the name {readable(name)!a} cannot be used, because the locale encodes file names as "
            f"{sys.getfilesystemencoding()}: set a locale with all characters, like LC_ALL=C.UTF-8"
        ) from None


def add_suffix(path: Path, suffix: str) -> Path:
    """Return a path in the same folder, whose name is the given file's name plus a suffix."""
    return path.with_name(path.name + suffix)


def require_file_place(path: Path, target: str) -> None:
    """Raise an OSError unless a file can be created or replaced at a path."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder", target)
    if path.exists() and not path.is_file():
        # Replacing a device or a pipe with a file would destroy it.
        raise OSError(errno.EINVAL, "it is not a regular file", target)
    require_folder(path, target)


def require_folder(path: Path, target: str) -> None:
    """Raise FileNotFoundError unless the parent folder of a path exists."""
    if not (folder := path.parent).is_dir():
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {folder}", target)


def resolve_link(path: Path) -> Path:
    """Return the path that a symbolic link leads to. Return any other path unchanged."""
    if not path.is_symlink():
        return path
    real = Path(os.path.realpath(path))
    if real.is_symlink():  # the link leads to itself
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return real


def create_private(path: Path, mode: int = OWNER_ONLY) -> BinaryIO:
    """Create a file that only its owner can access, and open it for writing."""
    # If a file or a symbolic link has this name already, raise an error instead of opening it.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, mode), "wb", buffering=CHUNK)


@contextlib.contextmanager
def durable_file(path: Path, *, like: Path) -> Generator[BinaryIO, None, None]:
    """Yield a new private file to write to. When the block ends, the file is on the disk.

    The new file replaces a file that an earlier run left. In the end, the new file gets the access
    rights of ``like``.
    """
    path.unlink(missing_ok=True)
    with create_private(path) as file:
        yield file
        copy_rights(like, file.fileno())
        file.flush()
        os.fsync(file.fileno())


def copy_rights(source: Path, file: int) -> None:
    """Copy the mode, owner and group of a path to an open file, if the path exists."""
    if sys.platform == "win32" or not source.exists():
        return
    rights = source.stat()
    mode = rights.st_mode & 0o777
    for owner in (rights.st_uid, -1):  # only root may change the owner
        with contextlib.suppress(OSError):
            os.fchown(file, owner, rights.st_gid)
            break
    else:
        # The file stays in a different group, whose members must not get these rights.
        mode &= ~stat.S_IRWXG
    with contextlib.suppress(OSError):
        os.fchmod(file, mode)


def sync_folder(folder: Path) -> None:
    """Sync the file names in a folder to the disk, if the system supports this.

    A failure is ignored, because the files themselves are already on the disk.
    """
    if not hasattr(os, "O_DIRECTORY"):
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def hash_file(path: Path, check: Callable[[], object]) -> str:
    """Return the SHA-256 of a file in hexadecimal. Call ``check`` before each chunk."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            check()
            digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def translate_os_errors(target: str) -> Generator[None, None, None]:
    """Raise :class:`~cekat_async.TargetError` instead of an :exc:`OSError`."""
    try:
        yield
    except OSError as error:
        where = error.filename or target
        raise TargetError(f"cannot write {where}: {error.strerror or error}") from error
