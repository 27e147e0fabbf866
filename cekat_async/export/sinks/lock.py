"""The lock of a target: one export at a time writes it, whatever checkpoint each of them has."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from typing import TYPE_CHECKING, BinaryIO

from cekat_async import TargetBusyError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["LOCK", "TargetLock"]

LOCK = ".cekat.lock"
"""The suffix of a lock's name, after the name of its target.

It is not just ``.lock``: that is the name by which programs lock a file of their own, and one of
them may be the program that runs the export.
"""
_OWNER_ALONE = 0o600


class TargetLock:
    """A lock on a file next to the target, for as long as an export runs.

    The operating system releases it when the process ends, however that happens. The file is
    removed with the lock; after a kill it stays, unlocked, until the next export removes it. Where
    a file system has no locks (some network file systems), there is none.

    Args:
        path: The file that is locked.
        target: The target, for the message of an error.
    """

    def __init__(self, path: Path, target: str) -> None:
        self._path = path
        self._target = target
        self._file: BinaryIO | None = None

    @contextlib.contextmanager
    def kept(self) -> Generator[None, None, None]:
        """Take the lock and keep it afterwards, unless what is done under it first fails.

        Raises:
            TargetBusyError: Another export has it.
            OSError: The file cannot be opened.
        """
        self._take()
        try:
            yield
        except BaseException:
            self.release()
            raise

    def _take(self) -> None:
        while self._file is None:
            file = self._open()
            if not _try_lock(file.fileno()):
                file.close()
                raise TargetBusyError(
                    f"another export is writing {self._target}: run this one again when that one "
                    "has ended"
                )
            if _has_name(file.fileno(), self._path):
                self._file = file
            else:  # the export that had it removed it in this moment
                file.close()

    def release(self) -> None:
        """Release the lock and remove the file; do nothing without the lock. It raises nothing."""
        file, self._file = self._file, None
        if file is None:
            return
        # Removed while it is locked: an export that has opened it in the meantime notices.
        with contextlib.suppress(OSError):
            self._path.unlink()
        file.close()
        if sys.platform == "win32":  # where an open file is not removed
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _open(self) -> BinaryIO:
        # Never through a link, and no file of another kind: it is removed in the end.
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        file = os.fdopen(os.open(self._path, flags, _OWNER_ALONE), "r+b", buffering=0)
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise OSError(errno.EINVAL, "it is not a regular file", str(self._path))
        return file


def _try_lock(file: int) -> bool:
    """Lock a file without waiting; return whether nobody else has it locked."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the latter on Windows
        return False
    except OSError:  # the file system has no locks
        return True
    return True


def _has_name(file: int, path: Path) -> bool:
    """Return whether a path still leads to an open file."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file), path.stat(follow_symlinks=False))
    return False
