"""DuckDB: a table in a file, for analysis."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, ClassVar

from cekat_async import ConfigurationError, MissingExtraError, TargetError
from cekat_async.export.sinks.databases.base import Shape, quoted, upsert
from cekat_async.export.sinks.databases.file import DatabaseFileSink
from cekat_async.export.sinks.files.base import OWNER_ALONE, beside
from cekat_async.frames.columns import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from cekat_async.export.sinks.databases.base import Connection, Values
    from cekat_async.frames.columns import Kind

__all__ = ["DuckdbSink"]

_MEMORY = "512MB"
_LOG, _SPILLED = ".wal", ".tmp"
# Columns, not rows: a list for each is what DuckDB takes fastest without another library.
_KINDS = (*["TIMESTAMPTZ" if c.kind == "time" else "VARCHAR" for c in COLUMNS], "TIMESTAMPTZ")
_COLUMNS = "SELECT " + ", ".join(
    f"unnest(${number}::{type_}[])" for number, type_ in enumerate(_KINDS, 1)
)


class DuckdbSink(DatabaseFileSink):
    """A table in a DuckDB file.

    Texts are ``VARCHAR``, times ``TIMESTAMPTZ``, JSON is ``JSON``; ``raw`` is ``VARCHAR``, so that
    it is exactly what was sent. Needs the extra ``duckdb``; nothing is fetched from the network.

    DuckDB lets one process have a file: another one that has it open, even for reading, is in the
    way of the export, which says so. What does not fit into 512 MB while it is written waits in
    the folder ``PATH.tmp``.

    Raises:
        MissingExtraError: DuckDB is not installed.
    """

    types: ClassVar[Mapping[Kind, str]] = {
        "text": "VARCHAR",
        "time": "TIMESTAMP WITH TIME ZONE",
        "json": "JSON",
        "raw": "VARCHAR",
    }
    companions: ClassVar[Sequence[str]] = (_LOG, _SPILLED)

    def __init__(self, path: str | os.PathLike[str], *, table: str = "conversations") -> None:
        try:
            import duckdb  # noqa: PLC0415 - an extra
        except ModuleNotFoundError:
            raise MissingExtraError(
                "DuckDB needs duckdb: pip install 'cekat-async[duckdb]'"
            ) from None
        self._duckdb = duckdb
        super().__init__(path, table=table)
        self._writing = self._real
        self._name_of(self._real)  # raises if DuckDB has no such files

    def create(self, path: Path) -> None:
        """Make an empty database. It takes no empty file, so its mode is set afterwards."""
        self._duckdb.connect(self._name_of(path)).close()
        path.chmod(OWNER_ALONE)

    @contextlib.contextmanager
    def connect(self, path: Path) -> Generator[Connection, None, None]:
        """Open a file to write it."""
        with self.told():
            opened = self._connect(self._name_of(path))
        self._writing = path
        try:
            yield opened
        finally:
            opened.close()
            with contextlib.suppress(OSError):  # it is not empty: somebody else has it
                beside(path, _SPILLED).rmdir()

    def _name_of(self, path: Path) -> str:
        """Return a file's name as DuckDB takes it: in UTF-8, whatever the locale is."""
        try:
            return os.fsencode(path).decode()
        except UnicodeDecodeError:
            raise ConfigurationError(
                f"DuckDB has no files whose names are not UTF-8: choose another than {self.target}"
            ) from None

    def _connect(self, path: str) -> Connection:
        """Connect, with a bound on what the content takes of the memory."""
        try:
            # Connections of one process share their settings. If there is one already this is
            # refused, and the settings stay what they are.
            self._duckdb.connect(path, config={"memory_limit": _MEMORY}).close()
        except self._duckdb.ConnectionException:
            return self._duckdb.connect(path)
        # Not opened with the setting: whoever else connects meanwhile would be refused.
        opened = self._duckdb.connect(path)
        opened.execute(f"SET memory_limit = '{_MEMORY}'")
        return opened

    @contextlib.contextmanager
    def connect_to_read(self, path: Path) -> Generator[Connection, None, None]:
        """Open a file that nobody else has, only to read it."""
        with self.told():
            opened = self._duckdb.connect(
                self._name_of(path), read_only=True, config={"memory_limit": _MEMORY}
            )
        try:
            yield opened
        finally:
            opened.close()

    def settle(self, opened: Connection) -> None:
        """Write everything into the file: on closing, DuckDB does it too, but hides a failure."""
        opened.execute("CHECKPOINT")

    def damage(self, opened: Connection) -> str | None:
        """Read every value: DuckDB compares the checksum of each block, and raises."""
        table = self.name_of(self._table)
        opened.execute(f"SELECT bit_xor(hash(t)) FROM {table} AS t").fetchall()  # noqa: S608
        return None

    @contextlib.contextmanager
    def told(self) -> Generator[None, None, None]:
        """Tell of what DuckDB refuses."""
        try:
            yield
        except self._duckdb.Error as error:
            reason = str(error).partition("\n")[0]
            raise TargetError(f"cannot write {self.target}: {reason}") from error

    def shape_of(self, opened: Connection, table: str) -> Shape | None:
        """Return the shape of a table, or of a view."""
        here = (
            "database_name = current_database() AND schema_name = current_schema() "
            "AND lower(table_name) = lower(?)"
        )
        columns = opened.execute(
            f"SELECT column_name, data_type FROM duckdb_columns() WHERE {here}",  # noqa: S608
            [table],
        ).fetchall()
        keys = opened.execute(
            "SELECT unnest(constraint_column_names) FROM duckdb_constraints() "  # noqa: S608
            f"WHERE constraint_type = 'PRIMARY KEY' AND {here}",
            [table],
        ).fetchall()
        return Shape(dict(columns), [name for (name,) in keys]) if columns else None

    def write(self, opened: Connection, rows: Sequence[Values]) -> None:
        """Write a chunk of rows."""
        self._keep_private()
        statement = upsert(quoted(self._table), tuple(self.kinds), _COLUMNS)
        opened.execute(statement, [list(column) for column in zip(*rows, strict=True)])

    def _keep_private(self) -> None:
        """Let what stands beside the file meanwhile be for those alone whom the file is for."""
        # DuckDB makes them with the first row that goes there, for everybody to read, unless they
        # are there. It throws away an empty log when it connects, so this is not done before.
        mode = self._writing.stat().st_mode
        log = beside(self._writing, _LOG)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode & 0o666))
        with contextlib.suppress(FileExistsError):
            beside(self._writing, _SPILLED).mkdir(0o700)
