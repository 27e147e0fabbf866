"""The lock of a target: only one export at a time writes it, even with different checkpoints."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from typing import TYPE_CHECKING, BinaryIO

from cekat_async import TargetBusyError
from cekat_async.export.sinks.file_system import OWNER_ONLY

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

It is not just ``.lock``, because other programs use that suffix for their own locks, perhaps even
the program that runs the export.
"""


class TargetLock:
    """A lock on a file next to the target. An export keeps the lock as long as it runs.

    The operating system releases the lock when the process ends, even if it is killed.
    :meth:`release` also removes the file. After a kill, the unlocked file stays until the next
    export removes it. If the file system has no locks, like some network file systems, nothing is
    locked.
    """

    def __init__(self, path: Path, target: str) -> None:
        self._path = path
        self._target = target
        self._file: BinaryIO | None = None

    @contextlib.contextmanager
    def acquired(self) -> Generator[None, None, None]:
        """Acquire the lock. If the block fails, release it. Otherwise keep it."""
        self._acquire()
        try:
            yield
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Release the lock and remove the file. Without the lock, do nothing. Never raise."""
        file, self._file = self._file, None
        if file is None:
            return
        # Remove the file before unlocking it, so that an export that has just opened the file
        # notices the removal.
        with contextlib.suppress(OSError):
            self._path.unlink()
        file.close()
        if sys.platform == "win32":  # Windows does not remove an open file
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _acquire(self) -> None:
        while self._file is None:
            file = self._open()
            if not _try_lock(file.fileno()):
                file.close()
                raise TargetBusyError(
                    f"another export is writing {self._target}. Run this export again after it has "
                    "finished"
                )
            if _is_open_at(self._path, file.fileno()):
                self._file = file
            else:  # another export removed the file before it was locked
                file.close()

    def _open(self) -> BinaryIO:
        # Do not open a link or a special file, because the file is removed in the end.
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        file = os.fdopen(os.open(self._path, flags, OWNER_ONLY), "r+b", buffering=0)
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise OSError(errno.EINVAL, "it is not a regular file", str(self._path))
        return file


def _try_lock(file: int) -> bool:
    """Try to lock a file without waiting. Return false if another process has locked it."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # Windows raises PermissionError
        return False
    except OSError:  # the file system has no locks
        return True
    return True


def _is_open_at(path: Path, file: int) -> bool:
    """Return whether a path still leads to an open file."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file), path.stat(follow_symlinks=False))
    return False
