"""SQLite: a table in a file, that any SQLite tool reads."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, cast

from cekat_async import TargetError
from cekat_async.export.sinks.databases.base import KINDS, Shape, quoted, upsert
from cekat_async.export.sinks.databases.file import DatabaseFileSink, create_alone

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from cekat_async.export.sinks.databases.base import Connection, Values
    from cekat_async.frames.columns import Kind

__all__ = ["SqliteSink"]

PATIENCE = 10.0
"""Seconds until a database that others have locked is given up."""

_VALUES = f"VALUES ({', '.join('?' * len(KINDS))})"


class SqliteSink(DatabaseFileSink):
    """A table in a SQLite file.

    All columns are text. Times are in UTC, as ``2026-04-10T05:47:16.771000Z``: so they sort as
    text, and SQLite's date functions read them. JSON is for SQLite's JSON functions.

    The journal is the one that the database has. Readers of one with a write-ahead log
    (``PRAGMA journal_mode = wal``) see what was there until the new is whole. With a rollback
    journal SQLite lets them wait while an export of more than some ten thousand conversations is
    written.

    After the merge, a write-ahead log is emptied into the file. Where another connection is in the
    middle of reading, SQLite cannot do that: then the rows are in ``PATH-wal`` until the last
    connection closes, as after any other commit.
    """

    types: ClassVar[Mapping[Kind, str]] = dict.fromkeys(("text", "time", "json", "raw"), "TEXT")
    # Locked at once: a lock that is asked for later may be refused without any patience.
    begin: ClassVar[str] = "BEGIN IMMEDIATE"
    companions: ClassVar[Sequence[str]] = ("-journal", "-wal", "-shm")

    def create(self, path: Path) -> None:
        """Make an empty file, which is an empty database."""
        create_alone(path)

    @contextlib.contextmanager
    def connect(self, path: Path) -> Generator[Connection, None, None]:
        """Open a file to write it."""
        with self.told():
            opened = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
        try:
            with self.told():
                # Ids are random: with the usual 2 MB each of them would be looked for on the disk.
                opened.execute("PRAGMA cache_size = -65536")
                # A commit is on the disk, and so is the end of its journal.
                opened.execute("PRAGMA synchronous = EXTRA")
            yield opened
        finally:
            opened.close()

    @contextlib.contextmanager
    def connect_to_read(self, path: Path) -> Generator[Connection, None, None]:
        """Open a file that nobody else has, only to read it."""
        with self.told():
            opened = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            yield opened
        finally:
            opened.close()

    def settle(self, opened: Connection) -> None:
        """Empty a write-ahead log into the file, if nobody is reading; a no-op without one."""
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def damage(self, opened: Connection) -> str | None:
        """Return what SQLite's own check finds."""
        ((found,),) = opened.execute("PRAGMA integrity_check(1)").fetchall()
        return None if found == "ok" else str(found)

    @contextlib.contextmanager
    def told(self) -> Generator[None, None, None]:
        """Tell of what SQLite refuses."""
        try:
            yield
        except sqlite3.Error as error:
            raise TargetError(f"cannot write {self.target}: {error}") from error

    def shape_of(self, opened: Connection, table: str) -> Shape | None:
        """Return the shape of a table."""
        found = opened.execute(f"PRAGMA table_xinfo({quoted(table)})").fetchall()
        if not found:
            return None
        return Shape(
            {name: type_ for _, name, type_, *_ in found},
            [name for _, name, _, _, _, key, *_ in found if key],
        )

    def write(self, opened: Connection, rows: Sequence[Values]) -> None:
        """Write a chunk of rows."""
        statement = upsert(self.name_of(self._table), tuple(self.kinds), _VALUES)
        values = [[self._value(value) for value in row] for row in rows]
        cast("sqlite3.Connection", opened).executemany(statement, values)

    def time(self, moment: datetime) -> str:
        """Return a time as text, always of the same length."""
        moment = moment.astimezone(UTC).replace(tzinfo=None)
        return moment.isoformat(timespec="microseconds") + "Z"

    def _value(self, value: Any) -> Any:
        return self.time(value) if isinstance(value, datetime) else value
