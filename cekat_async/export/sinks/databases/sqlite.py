"""The sink for SQLite: a table in a file that every SQLite tool can read."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, cast

from cekat_async.export.sinks.databases.file import DatabaseFileSink
from cekat_async.export.sinks.databases.tables import (
    KINDS,
    TableSchema,
    build_upsert,
    quote_identifier,
)
from cekat_async.export.sinks.file_system import create_private

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from pathlib import Path

    from cekat_async.export.sinks.base import Records
    from cekat_async.export.sinks.databases.base import Connection, Values
    from cekat_async.frames.columns import Kind

__all__ = ["SqliteSink"]

_BUSY_TIMEOUT = 10.0  # seconds
_UNCOMMITTED = 64 << 20

_VALUES = f"VALUES ({', '.join('?' * len(KINDS))})"


class SqliteSink(DatabaseFileSink):
    """A table in a SQLite file.

    All columns are text. Times are in UTC, like ``2026-04-10T05:47:16.771000Z``. They can be sorted
    as text, and SQLite's date functions can read them. SQLite's JSON functions can read the columns
    that contain JSON.

    The sink keeps the journal mode of the database. With a write-ahead log
    (``PRAGMA journal_mode = wal``), readers see the old content until the new content is complete.
    With a rollback journal, SQLite makes readers wait while it writes an export of more than some
    ten thousand conversations.

    After the merge, the sink moves the content of a write-ahead log into the file. SQLite cannot do
    this while another connection reads. In that case, the rows stay in ``PATH-wal`` until the last
    connection closes, as after any other commit.

    If another program locks the database for more than 10 seconds, the export fails.
    """

    types: ClassVar[Mapping[Kind, str]] = dict.fromkeys(("text", "time", "json", "raw"), "TEXT")
    # Take the lock immediately, because SQLite may refuse a later lock without waiting.
    begin: ClassVar[str] = "BEGIN IMMEDIATE"
    companions: ClassVar[Sequence[str]] = ("-journal", "-wal", "-shm")
    error = sqlite3.Error

    def create(self, path: Path) -> None:
        """Create an empty file, which is an empty database."""
        create_private(path).close()

    @contextlib.contextmanager
    def connect(self, path: Path) -> Generator[Connection, None, None]:
        """Open a database file."""
        with self.translate_errors():
            opened = sqlite3.connect(path, timeout=_BUSY_TIMEOUT, isolation_level=None)
        with contextlib.closing(opened):
            with self.translate_errors():
                # Ids are random, so with the default cache of 2 MB, SQLite would read a page from
                # the disk for each id.
                opened.execute("PRAGMA cache_size = -65536")
                # A commit returns only when the data and the removal of the journal are on the
                # disk.
                opened.execute("PRAGMA synchronous = EXTRA")
            yield opened

    def divide(self, opened: Connection, records: Records) -> Iterator[list[bytes]]:
        """Yield the batches of a new database, and commit every 64 MB.

        No other program can see the new database yet, so it may be committed in parts. A single
        commit would sync the whole file to the disk at the end, and a sync cannot be interrupted.
        """
        size = 0
        for batch in records:
            yield batch
            size += sum(map(len, batch))
            if size >= _UNCOMMITTED:
                with self.translate_errors():
                    opened.execute("COMMIT")
                    opened.execute(self.begin)
                size = 0

    def flush_log(self, opened: Connection) -> None:
        """Move a write-ahead log's content into the file, unless another connection is reading."""
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def find_damage(self, opened: Connection) -> str | None:
        """Return the damage that SQLite's own check finds, or ``None`` if it finds no damage."""
        ((found,),) = opened.execute("PRAGMA integrity_check(1)").fetchall()
        return None if found == "ok" else str(found)

    def read_schema(self, opened: Connection, table: str) -> TableSchema | None:
        """Return the schema of a table."""
        found = opened.execute(f"PRAGMA table_xinfo({quote_identifier(table)})").fetchall()
        if not found:
            return None
        return TableSchema(
            {name: type_ for _, name, type_, *_ in found},
            [name for _, name, _, _, _, key, *_ in found if key],
        )

    def write(self, opened: Connection, rows: Sequence[Values]) -> None:
        """Write a chunk of rows."""
        statement = build_upsert(self.quote_table(self.table), tuple(self.kinds), _VALUES)
        values = [[self._convert(value) for value in row] for row in rows]
        cast("sqlite3.Connection", opened).executemany(statement, values)

    def convert_time(self, moment: datetime) -> str:
        """Return a time as text, always of the same length."""
        moment = moment.astimezone(UTC).replace(tzinfo=None)
        return moment.isoformat(timespec="microseconds") + "Z"

    def _convert(self, value: Any) -> Any:
        return self.convert_time(value) if isinstance(value, datetime) else value
