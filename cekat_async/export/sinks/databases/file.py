"""The base class of the sinks for SQLite and DuckDB, whose databases are files."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from cekat_async import TargetError
from cekat_async.export.sinks.base import CHECKPOINT
from cekat_async.export.sinks.databases.base import DatabaseSink
from cekat_async.export.sinks.databases.tables import TABLE, describe_table, get_file_suffix
from cekat_async.export.sinks.file_system import (
    add_suffix,
    copy_rights,
    require_file_name,
    require_file_place,
    resolve_link,
    sync_folder,
    translate_os_errors,
)
from cekat_async.export.sinks.lock import LOCK, TargetLock
from cekat_async.redaction import readable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from cekat_async.export.manifest import Manifest
    from cekat_async.export.sinks.base import Interruptible, Records
    from cekat_async.export.sinks.databases.base import Connection

__all__ = ["DatabaseFileSink"]

_NO_DATABASE = re.compile("is not a (valid DuckDB )?database")


class DatabaseFileSink(DatabaseSink):
    """A table in a database that is one file.

    A new database is written next to the target, as ``PATH.new``. When it is complete, verified and
    on the disk, it is renamed to the target's name. If there is a database already, the sink merges
    the export into it in place, in one transaction. In both cases, the target is a single file in
    the end: everything in the database's log is also in the file itself.

    The file is open only while it is read or written, so other programs can use it in between.
    While the export runs, it locks ``PATH.cekat.lock``, so that only one export at a time writes
    the file, even if two exports write different tables. Until the export is complete, its
    checkpoint is ``PATH.checkpoint``, or ``PATH.TABLE.checkpoint`` if the table does not have the
    default name.

    Args:
        path: The file. If the file does not exist or is empty, the sink creates a database that
            only its owner can read (mode 0600). If the path is a symbolic link, the sink uses the
            file that it leads to.
        table: The table's name.

    Attributes:
        path: The absolute path of the file, with symbolic links resolved.
    """

    companions: ClassVar[Sequence[str]]
    """The suffixes of the files that the database keeps next to its own file during a write."""
    error: type[Exception]
    """The base class of the database's own errors."""

    def __init__(self, path: str | os.PathLike[str], *, table: str = TABLE) -> None:
        super().__init__(table)
        require_file_name(str(path))
        self.target = readable(f"{Path(path)}{describe_table(table)}")
        with translate_os_errors(self.target):
            # Make the path absolute, because the program may change its working folder.
            self.path = resolve_link(Path(path)).absolute()
        self.checkpoint: Path | None = add_suffix(
            self.path, f"{get_file_suffix(table)}{CHECKPOINT}"
        )
        self._new = add_suffix(self.path, ".new")
        self._lock = TargetLock(add_suffix(self.path, LOCK), str(Path(path)))
        # The connection in use; ``None`` if its statements must not be interrupted.
        self._running: Interruptible | None = None

    @abstractmethod
    def connect(self, path: Path) -> AbstractContextManager[Connection]:
        """Open a database file."""

    @abstractmethod
    def create(self, path: Path) -> None:
        """Create an empty database that only its owner can read."""

    @abstractmethod
    def flush_log(self, opened: Connection) -> None:
        """Write all committed data from the database's log into its file."""

    @abstractmethod
    def find_damage(self, opened: Connection) -> str | None:
        """Read the whole database, and return a description of its damage, or ``None``."""

    def divide(self, opened: Connection, records: Records) -> Iterable[list[bytes]]:  # noqa: ARG002 - for databases that need it
        """Return the batches to write into a new database. A subclass may commit between them."""
        return records

    def connection(self) -> AbstractContextManager[Connection]:
        """Open the target."""
        return self.connect(self.path)

    @contextlib.contextmanager
    def translate_errors(self) -> Generator[None, None, None]:
        """Raise :class:`~cekat_async.TargetError` instead of the database's own errors."""
        try:
            yield
        except self.error as error:
            reason = str(error).partition("\n")[0]
            if _NO_DATABASE.search(reason):
                raise TargetError(
                    f"{self.target} is not a database of this kind ({reason}): move it away, or "
                    "choose another target"
                ) from error
            raise TargetError(f"cannot write {self.target}: {reason}") from error

    def open(self) -> None:
        """Check that an export can be written. Do not create a missing database."""
        with translate_os_errors(self.target):
            require_file_place(self.path, self.target)
            with self._lock.acquired():
                self._require_no_orphaned_log()
                self._check_writable()

    def manifest(self) -> Manifest | None:
        """Return the manifest of the last export into the table."""
        return super().manifest() if self._has_database() else None

    def publish(self, records: Records, manifest: Manifest) -> Manifest:
        """Merge all records into the table and store the manifest, in one transaction."""
        if self._has_database():
            self._publish_in_place(records, manifest)
        else:
            with self._removed_after_failure():
                self._publish_new(records, manifest)
        return manifest

    def interrupt(self) -> None:
        """End the running statement with an error, unless the export is already committed."""
        if (running := self._running) is not None:
            with contextlib.suppress(self.error):  # the connection may have been closed already
                running.interrupt()

    def close(self) -> None:
        """Release the lock of the target."""
        self._lock.release()

    def _check_writable(self) -> None:
        self._remove_new()
        if self._has_database():
            with self.connection() as opened:
                self.check_writable(opened)
            return
        with self._removed_after_failure(), self._create_new() as opened:
            self.check_writable(opened)
        self._remove_new()

    def _publish_in_place(self, records: Records, manifest: Manifest) -> None:
        with self.connection() as opened:
            # Do not interrupt the connection after the commit, because the export is then complete.
            with self._interruptible(opened):
                self.merge(opened, records, manifest)
            with self.translate_errors():
                self.flush_log(opened)
        with self.connection() as opened:
            self._require_manifest(opened, manifest)

    def _publish_new(self, records: Records, manifest: Manifest) -> None:
        with self._create_new() as opened, self._interruptible(opened):
            self.merge(opened, self.divide(opened, records), manifest)
            with self.translate_errors():
                count = self.count(opened)
                self.flush_log(opened)
        self._require_one_file()
        with self.connect(self._new) as opened, self._interruptible(opened):
            self._require_manifest(opened, manifest)
            self._require_undamaged(opened, count)
        self._require_one_file()  # checked again after the verification, which may write a log
        with translate_os_errors(self.target):
            self._take_name()

    @contextlib.contextmanager
    def _interruptible(self, opened: Connection) -> Generator[None, None, None]:
        self._running = cast("Interruptible", opened)
        try:
            yield
        finally:
            self._running = None

    @contextlib.contextmanager
    def _create_new(self) -> Generator[Connection, None, None]:
        """Create a new database next to the target. Replace the file that an earlier run left."""
        with translate_os_errors(self.target):
            self._remove_new()
            with self.translate_errors():
                self.create(self._new)
        with self.connect(self._new) as opened:
            yield opened

    def _take_name(self) -> None:
        """Sync the new database to the disk, and rename it to the target's name."""
        with self._new.open("r+b") as file:
            copy_rights(self.path, file.fileno())
            os.fsync(file.fileno())
        self._new.replace(self.path)
        sync_folder(self.path.parent)

    def _require_manifest(self, opened: Connection, manifest: Manifest) -> None:
        with self.translate_errors():
            if self.read_manifest(opened) != manifest:
                raise self._build_mismatch("another manifest")

    def _require_undamaged(self, opened: Connection, count: int) -> None:
        with self.translate_errors():
            found, damage = self.count(opened), self.find_damage(opened)
        if found != count:
            raise self._build_mismatch(f"{found:,} rows instead of {count:,}")
        if damage is not None:
            raise self._build_mismatch(damage)

    def _require_one_file(self) -> None:
        for path in self._list_companions(self._new):
            if path.exists():
                raise self._build_mismatch(f"a part of it is still in {path.name}")

    def _build_mismatch(self, found: str) -> TargetError:
        return TargetError(
            f"{self.target} was written, but reading it gives another result ({found}): check the "
            "disk and run the export again"
        )

    def _has_database(self) -> bool:
        return self.path.exists() and self.path.stat().st_size > 0

    def _require_no_orphaned_log(self) -> None:
        """Refuse a log without its database, because it would be applied to the new database."""
        if self._has_database():
            return
        for path in self._list_companions(self.path):
            if path.is_file() and path.stat().st_size:
                reason = f"{path} belongs to a database that no longer exists: move it away"
                raise FileExistsError(errno.EEXIST, reason, self.target)

    def _list_companions(self, path: Path) -> Iterator[Path]:
        return (add_suffix(path, suffix) for suffix in self.companions)

    def _remove_new(self) -> None:
        self._new.unlink(missing_ok=True)
        for path in self._list_companions(self._new):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _removed_after_failure(self) -> Generator[None, None, None]:
        try:
            yield
        except BaseException:
            # Ignore an error of the removal, because the first error shows what is wrong.
            with contextlib.suppress(OSError):
                self._remove_new()
            raise
