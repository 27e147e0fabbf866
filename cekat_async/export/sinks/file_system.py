"""Files next to a target: their names, private creation, rights, and syncing to the disk."""

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

# Each read or write lets other threads run, but too briefly for most of them. Few large ones are
# better than many small ones.
CHUNK = 1 << 20


def require_file_name(name: str) -> None:
    """Raise ConfigurationError if no file on this system can have a name, in any folder."""
    if "\0" in name:
        raise ConfigurationError(f"no file can be called {name!r}: a name has no NUL in it")
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        raise ConfigurationError(
            f"the name {readable(name)!a} cannot be used here: this locale encodes file names as "
            f"{sys.getfilesystemencoding()}; set one that has all characters, as LC_ALL=C.UTF-8"
        ) from None


def add_suffix(path: Path, suffix: str) -> Path:
    """Return the path of a file next to another one: its name and a suffix."""
    return path.with_name(path.name + suffix)


def require_file_place(path: Path, target: str) -> None:
    """Raise an OSError unless a file can be written, or replaced, at a path."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder", target)
    if path.exists() and not path.is_file():
        # Replacing a device or a pipe by a file would destroy it.
        raise OSError(errno.EINVAL, "it is not a regular file", target)
    require_folder(path, target)


def require_folder(path: Path, target: str) -> None:
    """Raise FileNotFoundError unless the parent folder of a path exists."""
    if not (folder := path.parent).is_dir():
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {folder}", target)


def resolve_link(path: Path) -> Path:
    """Return the path that a symbolic link leads to; any other path unchanged."""
    if not path.is_symlink():
        return path
    real = Path(os.path.realpath(path))
    if real.is_symlink():  # it leads to itself
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return real


def create_private(path: Path, mode: int = OWNER_ONLY) -> BinaryIO:
    """Create a file that only its owner can read, and open it for writing."""
    # A file or a symbolic link with this name is an error: it is neither opened nor followed.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, mode), "wb", buffering=CHUNK)


@contextlib.contextmanager
def durable_file(path: Path, *, like: Path) -> Generator[BinaryIO, None, None]:
    """Write a new private file, which is on the disk when the block ends.

    It replaces one that an earlier run left. In the end it gets the rights of ``like``.
    """
    path.unlink(missing_ok=True)
    with create_private(path) as file:
        yield file
        copy_rights(like, file.fileno())
        file.flush()
        os.fsync(file.fileno())


def copy_rights(source: Path, file: int) -> None:
    """Copy mode, owner and group of a path to an open file, if the path exists."""
    if sys.platform == "win32" or not source.exists():
        return
    rights = source.stat()
    mode = rights.st_mode & 0o777
    for owner in (rights.st_uid, -1):  # only root may change the owner
        with contextlib.suppress(OSError):
            os.fchown(file, owner, rights.st_gid)
            break
    else:
        # The file stays in another group, whose members must not get these rights.
        mode &= ~stat.S_IRWXG
    with contextlib.suppress(OSError):
        os.fchmod(file, mode)


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk, where the system can open a folder for that.

    A failure is ignored: the files themselves are on the disk.
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
    """Return the SHA-256 of a file, in hexadecimal. ``check`` is called before each chunk."""
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
