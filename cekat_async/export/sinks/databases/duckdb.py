"""The sink for DuckDB: a table in a file, for analysis."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, ClassVar

from cekat_async import ConfigurationError, MissingExtraError
from cekat_async.export.sinks.databases.file import DatabaseFileSink
from cekat_async.export.sinks.databases.tables import TABLE, TableSchema, build_upsert
from cekat_async.export.sinks.file_system import OWNER_ONLY, add_suffix, create_private
from cekat_async.frames.columns import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from cekat_async.export.sinks.databases.base import Connection, Values
    from cekat_async.frames.columns import Kind

__all__ = ["DuckdbSink"]

_MEMORY = "512MB"
_LOG, _TEMPORARY = ".wal", ".tmp"
# Values are passed as one list per column: without another library, this is the fastest way.
_TYPES = (*["TIMESTAMPTZ" if c.kind == "time" else "VARCHAR" for c in COLUMNS], "TIMESTAMPTZ")
_COLUMNS = "SELECT " + ", ".join(
    f"unnest(${number}::{type_}[])" for number, type_ in enumerate(_TYPES, 1)
)


class DuckdbSink(DatabaseFileSink):
    """A table in a DuckDB file.

    Texts are ``VARCHAR``, times are ``TIMESTAMPTZ``, and JSON is ``JSON``. ``raw`` is ``VARCHAR``,
    so that it is exactly the text that the API sent. The sink needs the ``duckdb`` extra, and
    downloads nothing.

    DuckDB lets only one process open a file. If another process has it open, even for reading, the
    export fails with a message that says so. DuckDB uses at most 512 MB of memory to write the
    export. It temporarily stores data that exceeds this limit in the folder ``PATH.tmp``.

    Raises:
        MissingExtraError: DuckDB is not installed.
    """

    types: ClassVar[Mapping[Kind, str]] = {
        "text": "VARCHAR",
        "time": "TIMESTAMP WITH TIME ZONE",
        "json": "JSON",
        "raw": "VARCHAR",
    }
    companions: ClassVar[Sequence[str]] = (_LOG, _TEMPORARY)

    def __init__(self, path: str | os.PathLike[str], *, table: str = TABLE) -> None:
        try:
            import duckdb  # noqa: PLC0415 - an extra
        except ModuleNotFoundError:
            raise MissingExtraError(
                "DuckDB needs duckdb: pip install 'cekat-async[duckdb]'"
            ) from None
        self._duckdb = duckdb
        self.error = duckdb.Error
        super().__init__(path, table=table)
        self._connected_path = self.path
        self._encode_path(self.path)  # raises if DuckDB does not accept the path

    def create(self, path: Path) -> None:
        """Create an empty database, then set its mode. DuckDB refuses to open an empty file."""
        self._duckdb.connect(self._encode_path(path)).close()
        path.chmod(OWNER_ONLY)

    @contextlib.contextmanager
    def connect(self, path: Path) -> Generator[Connection, None, None]:
        """Open a database file."""
        with self.translate_errors():
            opened = self._connect(self._encode_path(path))
        self._connected_path = path
        try:
            yield opened
        finally:
            opened.close()
            with contextlib.suppress(OSError):  # another connection may still use it
                add_suffix(path, _TEMPORARY).rmdir()

    def flush_log(self, opened: Connection) -> None:
        """Write everything into the file. Closing would do the same, but would hide a failure."""
        opened.execute("CHECKPOINT")

    def find_damage(self, opened: Connection) -> str | None:
        """Read every value, so that DuckDB raises if the checksum of a block is wrong."""
        table = self.quote_table(self.table)
        opened.execute(f"SELECT bit_xor(hash(t)) FROM {table} AS t").fetchall()  # noqa: S608 - quoted
        return None

    def read_schema(self, opened: Connection, table: str) -> TableSchema | None:
        """Return the schema of a table, or of a view."""
        here = (
            "database_name = current_database() AND schema_name = current_schema() "
            "AND lower(table_name) = lower(?)"
        )
        columns = opened.execute(
            f"SELECT column_name, data_type FROM duckdb_columns() WHERE {here}",  # noqa: S608 - a constant
            [table],
        ).fetchall()
        keys = opened.execute(
            "SELECT unnest(constraint_column_names) FROM duckdb_constraints() "  # noqa: S608 - a constant
            f"WHERE constraint_type = 'PRIMARY KEY' AND {here}",
            [table],
        ).fetchall()
        return TableSchema(dict(columns), [name for (name,) in keys]) if columns else None

    def write(self, opened: Connection, rows: Sequence[Values]) -> None:
        """Write a chunk of rows."""
        self._create_private_companions()
        statement = build_upsert(self.quote_table(self.table), tuple(self.kinds), _COLUMNS)
        opened.execute(statement, [list(column) for column in zip(*rows, strict=True)])

    def _encode_path(self, path: Path) -> str:
        """Return a path for DuckDB, which needs UTF-8 in every locale."""
        try:
            return os.fsencode(path).decode()
        except UnicodeDecodeError:
            raise ConfigurationError(
                f"DuckDB needs a file name in UTF-8: choose another name than {self.target}"
            ) from None

    def _connect(self, path: str) -> Connection:
        try:
            # Within a process, all connections to the same file have the same settings. If a
            # connection already exists, this call fails, and the settings do not change.
            self._duckdb.connect(path, config={"memory_limit": _MEMORY}).close()
        except self._duckdb.ConnectionException:
            return self._duckdb.connect(path)
        # Open the file without the setting, because DuckDB would refuse later connections of the
        # process.
        opened = self._duckdb.connect(path)
        opened.execute(f"SET memory_limit = '{_MEMORY}'")
        return opened

    def _create_private_companions(self) -> None:
        """Create the log and the temporary folder, with the access rights of the file.

        DuckDB would create them with the first row, and everyone could read them. DuckDB removes an
        empty log when it connects, so call this method only after connecting.
        """
        mode = self._connected_path.stat().st_mode & 0o666
        with contextlib.suppress(FileExistsError):
            create_private(add_suffix(self._connected_path, _LOG), mode).close()
        with contextlib.suppress(FileExistsError):
            add_suffix(self._connected_path, _TEMPORARY).mkdir(0o700)
