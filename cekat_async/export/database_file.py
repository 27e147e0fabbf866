"""The common part of targets that are a table in a database file: SQLite and DuckDB."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from cekat_async import TargetError
from cekat_async.export.database import TABLE, DatabaseSink, own_suffix, shown
from cekat_async.export.file_sink import (
    CHECKPOINT,
    OWNER_ALONE,
    beside,
    followed,
    require_file_place,
    sync_folder,
    take_rights,
    translate_os_errors,
)
from cekat_async.export.lock import LOCK, TargetLock
from cekat_async.export.names import require_name
from cekat_async.redaction import readable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from contextlib import AbstractContextManager

    from cekat_async.export.database import Connection
    from cekat_async.export.manifest import Manifest
    from cekat_async.export.sink import Records

__all__ = ["DatabaseFileSink", "create_alone"]


class DatabaseFileSink(DatabaseSink):
    """A table in a database that is one file.

    A database that does not exist yet is written next to the target, as ``PATH.new``. It takes the
    target's name when it is complete, verified and on the disk. An existing database is merged
    into in place, in one transaction. In both cases the target is one file in the end: everything
    that the database keeps in a log next to it is in the file itself.

    The file is open only while it is read or written, so that others can use it in the meantime.
    For as long as the export runs, ``PATH.cekat.lock`` is locked: one export at a time writes the
    file, whatever the table. The export's checkpoint is next to it, ``PATH.checkpoint`` (for a
    table with another name ``PATH.TABLE.checkpoint``), until the export is complete.

    Args:
        path: The file. If there is none, or an empty one, a database is made, for its owner alone
            (mode 0600). A symbolic link is followed.
        table: The table's name.
    """

    companions: ClassVar[Sequence[str]]
    """The suffixes of the files that the database keeps next to its own while it is written."""

    def __init__(self, path: str | os.PathLike[str], *, table: str = TABLE) -> None:
        super().__init__(table)
        require_name(str(path))
        self.target = readable(f"{Path(path)}{shown(table)}")
        with translate_os_errors(self.target):
            # As it is now, should the program go to another folder.
            self._real = followed(Path(path)).absolute()
        self.checkpoint: Path | None = beside(self._real, f"{own_suffix(table)}{CHECKPOINT}")
        self._new = beside(self._real, ".new")
        self._lock = TargetLock(beside(self._real, LOCK), str(Path(path)))

    @abstractmethod
    def connect(self, path: Path) -> AbstractContextManager[Connection]:
        """Open a database file to write it."""

    @abstractmethod
    def connect_to_read(self, path: Path) -> AbstractContextManager[Connection]:
        """Open a database file that nobody else has, only to read it."""

    @abstractmethod
    def create(self, path: Path) -> None:
        """Make an empty database in a file, for its owner alone."""

    @abstractmethod
    def settle(self, opened: Connection) -> None:
        """Bring everything that was committed from the database's log into its file."""

    @abstractmethod
    def damage(self, opened: Connection) -> str | None:
        """Read all of the database; return what is wrong with it, or ``None``."""

    def connection(self) -> AbstractContextManager[Connection]:
        """Open the target."""
        return self.connect(self._real)

    def open(self) -> None:
        """Make sure that an export can be written; a database that is not there is not made."""
        with translate_os_errors(self.target):
            require_file_place(self._real, self.target)
            with self._lock.kept():
                self._require_no_remains()
                self._rehearse()

    def _rehearse(self) -> None:
        self._remove_new()
        if self._has_database():
            with self.connection() as opened:
                self.rehearse(opened)
            return
        with self._removed_after_failure(), self._begun() as opened:
            self.rehearse(opened)
        self._remove_new()

    def manifest(self) -> Manifest | None:
        """Return the manifest of the last export into the table."""
        return super().manifest() if self._has_database() else None

    def publish(self, records: Records, manifest: Manifest) -> Manifest:
        """Merge all records into the table, and store the manifest, in one transaction."""
        if self._has_database():
            self._publish_in_place(records, manifest)
        else:
            with self._removed_after_failure():
                self._publish_new(records, manifest)
        return manifest

    def close(self) -> None:
        """Release the lock of the target."""
        self._lock.release()

    def _publish_in_place(self, records: Records, manifest: Manifest) -> None:
        with self.connection() as opened:
            self.merge(opened, records, manifest)
            with self.told():
                self.settle(opened)
        with self.connection() as opened:
            self._require_stored(opened, manifest)

    def _publish_new(self, records: Records, manifest: Manifest) -> None:
        with self._begun() as opened:
            self.merge(opened, records, manifest)
            with self.told():
                count = self.count(opened)
                self.settle(opened)
        self._require_one_file()
        with self.connect_to_read(self._new) as opened:
            self._require_stored(opened, manifest)
            self._require_whole(opened, count)
        with translate_os_errors(self.target):
            self._take_name()

    @contextlib.contextmanager
    def _begun(self) -> Generator[Connection, None, None]:
        """Make a new database next to the target, in place of what an earlier run left."""
        with translate_os_errors(self.target):
            self._remove_new()
            with self.told():
                self.create(self._new)
        with self.connect(self._new) as opened:
            yield opened

    def _take_name(self) -> None:
        """Bring the new database to the disk, and then let it take the target's name."""
        with self._new.open("r+b") as file:
            take_rights(file.fileno(), self._real)
            os.fsync(file.fileno())
        self._new.replace(self._real)
        sync_folder(self._real.parent)

    def _require_stored(self, opened: Connection, manifest: Manifest) -> None:
        with self.told():
            if self.stored_manifest(opened) != manifest:
                raise self._not_what_was_written("another manifest")

    def _require_whole(self, opened: Connection, count: int) -> None:
        with self.told():
            found, damage = self.count(opened), self.damage(opened)
        if found != count:
            raise self._not_what_was_written(f"{found:,} rows instead of {count:,}")
        if damage is not None:
            raise self._not_what_was_written(damage)

    def _require_one_file(self) -> None:
        for path in self._beside(self._new):
            if path.exists():
                raise self._not_what_was_written(f"a part of it is still in {path.name}")

    def _not_what_was_written(self, found: str) -> TargetError:
        return TargetError(
            f"{self.target} was written, but does not read as it was written ({found}): check the "
            "disk and run the export again"
        )

    def _has_database(self) -> bool:
        """Return whether there is a database: a file that is not empty."""
        return self._real.exists() and self._real.stat().st_size > 0

    def _require_no_remains(self) -> None:
        """Refuse a log without its database, which would be applied to the new one."""
        if self._has_database():
            return
        for path in self._beside(self._real):
            if path.is_file() and path.stat().st_size:
                reason = f"{path} is left of a database that is not there any more: move it away"
                raise FileExistsError(errno.EEXIST, reason, self.target)

    def _beside(self, path: Path) -> Iterator[Path]:
        return (beside(path, suffix) for suffix in self.companions)

    def _remove_new(self) -> None:
        """Remove the new database, and what its own kind keeps next to it."""
        self._new.unlink(missing_ok=True)
        for path in self._beside(self._new):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _removed_after_failure(self) -> Generator[None, None, None]:
        try:
            yield
        except BaseException:
            # It is the first error that says what is wrong.
            with contextlib.suppress(OSError):
                self._remove_new()
            raise


def create_alone(path: Path) -> None:
    """Make an empty file, for its owner alone."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ALONE))
