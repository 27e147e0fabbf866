"""The file of a checkpoint: a SQLite database that only one process can open at a time."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec

from cekat_async import CheckpointError, DecodeError, TargetBusyError, TargetError
from cekat_async.export.sinks.base import CHECKPOINT, Stopped
from cekat_async.export.sinks.file_system import create_private, require_file_name

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["FORMAT", "CheckpointFile"]

FORMAT = 1
# The errors that a damaged file may raise. A TypeError means that a value has the wrong type.
_BROKEN = (sqlite3.DatabaseError, msgspec.DecodeError, DecodeError, UnicodeError, TypeError)
_APPLICATION = 0x43454B41  # "CEKA": it distinguishes our files from other databases


class CheckpointFile:
    """A SQLite database that is locked while it is open: see :class:`Checkpoint`."""

    def __init__(self, path: Path | None) -> None:
        self._folder = None if path else _make_temporary_folder()
        if path is not None:
            require_file_name(str(path))
        self.path = path or Path(self._folder.name if self._folder else "", "checkpoint")
        self._database: sqlite3.Connection | None = None

    def open(self, *, restart: bool = False) -> bool:
        """Lock the file, and return whether it contains an export. See :meth:`Checkpoint.open`."""
        has_export = self._open(restart=restart)
        if self._folder is not None and os.name == "posix":
            # Without a name, the file disappears when the process ends, even if it is killed.
            with self.reading() as database:
                database.execute("PRAGMA journal_mode = MEMORY")
            self._remove_folder()
        return has_export

    def _open(self, *, restart: bool) -> bool:
        with self.translate_errors():
            if not (folder := self.path.parent).is_dir():
                why = f"there is no folder {folder}"
                raise FileNotFoundError(errno.ENOENT, why, str(self.path))
            _create(self.path)
            if not restart and not os.access(self.path, os.W_OK):
                # SQLite would open the file read-only, and no lock would protect it.
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.path))
        try:
            with self.translate_errors():
                if self._database is None:
                    self._connect()
                if not restart:
                    return self._has_export()
        except CheckpointError:
            if not restart:
                raise
        self._empty()
        return False

    def _connect(self) -> None:
        found = self.path.stat()
        self._database = sqlite3.connect(
            self.path, timeout=0, isolation_level=None, check_same_thread=False
        )
        # A page of conversations has about 100 kB. With SQLite's default page size, reading or
        # writing such a page would take 25 system calls. A file that is not empty keeps its page
        # size.
        self._database.execute("PRAGMA page_size = 16384")
        self._database.execute("PRAGMA synchronous = FULL")
        # In this mode, SQLite keeps its lock until the file is closed.
        self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._database.execute("BEGIN EXCLUSIVE")
        self._database.execute("COMMIT")
        if not self.path.exists() or not os.path.samestat(found, self.path.stat()):
            # Another process removed the locked file from its folder, so another export could
            # create a new file and lock that.
            raise TargetBusyError(
                f"another export has just finished with {self.path}. Run this export again"
            )

    def _has_export(self) -> bool:
        if not self.get_value("SELECT count(*) FROM sqlite_master"):
            self._keep_journal()
            return False
        if self.get_value("PRAGMA application_id") != _APPLICATION:
            raise CheckpointError(f"{self.path} is not a checkpoint: move it away")
        if (version := self.get_value("PRAGMA user_version")) != FORMAT:
            raise CheckpointError(
                f"{self.path} is of another version of cekat_async (format {version}, this one "
                f"writes {FORMAT})"
            ).advise("continue with that version, or start over with {option}", restart=True)
        self._keep_journal()
        return True

    def _empty(self) -> None:
        """If the file is a checkpoint, replace it with a new and empty one."""
        is_ours = self.path.name.endswith(CHECKPOINT) or self._folder or self._is_checkpoint()
        self._get_database().close()
        if not is_ours:
            raise CheckpointError(
                f"{self.path} is not a checkpoint, so it was not removed. Move it away, or choose "
                "another file"
            )
        with self.translate_errors():
            self._remove()
            _create(self.path)
            self._connect()
            self._keep_journal()

    def _is_checkpoint(self) -> bool:
        """Return whether the file is empty, or a checkpoint that any version wrote."""
        with contextlib.suppress(sqlite3.Error, TargetError):
            is_blank = not self.get_value("SELECT count(*) FROM sqlite_master")
            return is_blank or bool(self.get_value("PRAGMA application_id") == _APPLICATION)
        return False

    def _keep_journal(self) -> None:
        """Keep the journal file between writes."""
        # Do this only in a checkpoint, because the setting would also stay in another program's
        # database.
        self._get_database().execute("PRAGMA journal_mode = TRUNCATE")

    def mark(self) -> None:
        """Mark the file as a checkpoint of this version."""
        database = self._get_database()
        database.execute(f"PRAGMA application_id = {_APPLICATION}")
        database.execute(f"PRAGMA user_version = {FORMAT}")

    def get_value(self, query: str) -> Any:
        """Return the first column of the first row of a query."""
        row = self._get_database().execute(query).fetchone()
        if row is None:
            raise sqlite3.DatabaseError("a row is missing")
        return row[0]

    def sort(self, statement: str) -> None:
        """Execute a sorting statement outside of a transaction.

        SQLite uses a temporary file for data that does not fit into its cache. If there is no
        folder for temporary files, for example in a container with a read-only root, SQLite sorts
        in memory instead. This takes 80 MB for a million keys.
        """
        database = self._get_database()
        try:
            database.execute(statement)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_IOERR_GETTEMPPATH:
                raise
            database.execute("PRAGMA temp_store = MEMORY")
            database.execute(statement)

    @contextlib.contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        """Yield the open database, and translate its errors."""
        with self.translate_errors():
            yield self._get_database()

    @contextlib.contextmanager
    def writing(self) -> Generator[sqlite3.Connection, None, None]:
        """Yield the database in a transaction that is committed durably, or rolled back."""
        with self.reading() as database:
            database.execute("BEGIN")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
                raise

    def interrupt(self) -> None:
        """End the running statement with :class:`Stopped`. Another thread may call this method."""
        if (database := self._database) is not None:
            with contextlib.suppress(sqlite3.Error):  # the database may have been closed already
                database.interrupt()

    def close(self, *, remove: bool) -> None:
        """Close and unlock the file. A temporary file is removed even if ``remove`` is false."""
        if self._database is not None:
            if remove:
                # Remove the file while it is still locked, so that no other export opens it in
                # between.
                self._remove()
            self._database.close()
            self._database = None
        self._remove_folder()

    def _remove_folder(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _remove(self) -> None:
        for end in ("", "-journal", "-wal"):
            with contextlib.suppress(OSError):
                self.path.with_name(f"{self.path.name}{end}").unlink()

    def _get_database(self) -> sqlite3.Connection:
        if self._database is None:
            raise TargetError(f"the checkpoint {self.path} is not open")
        return self._database

    @contextlib.contextmanager
    def translate_errors(self) -> Generator[None, None, None]:
        """Translate errors of the file into the package's own errors."""
        try:
            yield
        except OSError as error:
            where = error.filename or self.path
            raise TargetError(f"cannot write {where}: {error.strerror or error}") from error
        except (sqlite3.OperationalError, sqlite3.ProgrammingError) as error:
            # Only a cancellation interrupts a statement, so that is no failure of the file.
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
                raise Stopped from error
            raise self._make_operation_error(error) from error
        except _BROKEN as error:
            raise self._make_broken_error(error) from error

    def _make_broken_error(self, error: Exception) -> CheckpointError:
        why = " ".join(str(error).split())  # SQLite's message may quote statements of several lines
        return CheckpointError(f"the checkpoint {self.path} is broken ({why})").advise(
            "start over with {option}", restart=True
        )

    def _make_operation_error(self, error: sqlite3.Error) -> TargetError | CheckpointError:
        if "locked" in str(error):
            return TargetBusyError(
                f"another export is using the checkpoint {self.path}. Run this export again after "
                "it has finished, or choose another checkpoint"
            )
        if "no such" in str(error):
            return self._make_broken_error(error)
        return TargetError(f"cannot write {self.path}: {error}")


def _make_temporary_folder() -> TemporaryDirectory[str]:
    try:
        return TemporaryDirectory(prefix="cekat-export-", ignore_cleanup_errors=True)
    except OSError as error:
        raise TargetError(f"cannot make a temporary checkpoint ({error.strerror or error})").advise(
            "set TMPDIR to a folder that can be written, or pass {option}", checkpoint="…"
        ) from error


def _create(path: Path) -> None:
    """Create a file that only its owner can read and write, unless it exists already."""
    # An existing file is not opened here: closing it again would release the lock of another export
    # in this process.
    with contextlib.suppress(FileExistsError):
        create_private(path).close()
