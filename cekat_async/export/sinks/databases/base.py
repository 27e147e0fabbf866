"""The base class of sinks that merge an export into a table of a database."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

from cekat_async import TargetError
from cekat_async.export.sinks.base import parse_manifest
from cekat_async.export.sinks.databases.tables import (
    KINDS,
    MANIFEST_KINDS,
    MANIFESTS,
    build_create_table,
    build_upsert,
    quote_identifier,
    require_table_name,
)
from cekat_async.frames.columns import build_row

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from cekat_async.export.manifest import Manifest
    from cekat_async.export.sinks.base import Records
    from cekat_async.export.sinks.databases.tables import TableSchema
    from cekat_async.frames.columns import Kind

__all__ = ["Connection", "DatabaseSink", "Values"]

# The maximum number of rows in a chunk. A chunk of this size needs little memory, and blocks other
# threads only briefly.
_MAX_ROWS = 500
_MAX_BYTES = 2 << 20

Values: TypeAlias = tuple[Any, ...]
"""The values of a row, one per column."""


class Connection(Protocol):
    """A connection to any database, with only the methods that this module uses."""

    def execute(self, query: Any, parameters: Any = ..., /) -> Any:
        """Run one statement."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class DatabaseSink(ABC):
    """A target that is a table. An export merges its records into it by id, in one transaction.

    If a conversation is already in the table, the export replaces its row. All other rows stay. The
    same transaction stores the manifest in the table ``cekat_exports`` of the same database.

    Args:
        table: The table's name. The export creates the table if it does not exist. An existing
            table must have the columns of an export, and ``id`` as its primary key. Exports never
            alter a table.

    Raises:
        ConfigurationError: No table can have the name in ``table``.
    """

    types: ClassVar[Mapping[Kind, str]]
    """The database's type for each kind of column."""
    placeholders: ClassVar[Sequence[str]] = ("?", "?", "?")
    """The placeholders of the first, second and third value in a statement."""
    begin: ClassVar[str] = "BEGIN"
    """The statement that begins a transaction."""
    kinds: ClassVar[Mapping[str, Kind]] = KINDS
    """The columns of a table of conversations, with the kind of each column."""

    target: str
    checkpoint: Path | None

    def __init__(self, table: str) -> None:
        self.table = require_table_name(table)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.target!r}, table={self.table!r})"

    # The methods that each database implements in its own way.

    @abstractmethod
    def connection(self) -> AbstractContextManager[Connection]:
        """Return a context manager that yields a connection in autocommit mode."""

    @abstractmethod
    def translate_errors(self) -> AbstractContextManager[None]:
        """Raise :class:`~cekat_async.TargetError` instead of the database's own errors."""

    @abstractmethod
    def read_schema(self, opened: Connection, table: str) -> TableSchema | None:
        """Return the schema of a table, or ``None`` if there is no table with this name."""

    @abstractmethod
    def write(self, opened: Connection, rows: Sequence[Values]) -> None:
        """Write a chunk of rows. Each row has a value for every column."""

    @abstractmethod
    def close(self) -> None:
        """Release everything. This method must not raise."""

    def quote_table(self, table: str) -> str:
        """Return a table's name as an identifier in a statement."""
        return quote_identifier(table)

    def convert_time(self, moment: datetime) -> Any:
        """Return a time in the form that the database accepts."""
        return moment

    def build_values(self, record: bytes, began: datetime) -> Values:
        """Return the row of a record. ``began`` is the start time of the export."""
        return (*build_row(record), began)

    def encode_manifest(self, manifest: Manifest) -> str:
        """Return the text to store for a manifest."""
        return manifest.to_json().decode()

    def describe_refusal(self, table: str, differences: Sequence[str]) -> str:
        """Return the message for a table that does not have the columns of an export."""
        advice = (
            "keep the export in a database where this name is free, or drop this table"
            if table == MANIFESTS
            else "name another table for the export, or drop this one"
        )
        return (
            f"{self.target}: the table {table} is not from an export: {'; '.join(differences)}. "
            f"Nothing was changed: {advice}"
        )

    def ensure_table(self, opened: Connection, table: str, kinds: Mapping[str, Kind]) -> None:
        """Create a table, or check that an existing one has the columns of an export."""
        if not self._has_table(opened, table, kinds):
            opened.execute(build_create_table(self.quote_table(table), self._get_types(kinds)))

    def write_all(self, opened: Connection, chunks: Iterable[Sequence[Values]]) -> None:
        """Write all rows."""
        for rows in chunks:
            # Translate errors only inside the loop, because errors of the records are not errors of
            # the target.
            with self.translate_errors():
                self.write(opened, rows)

    # The methods of a sink.

    def open(self) -> None:
        """Check that an export can be written: write an empty export, and roll it back."""
        with self.connection() as opened:
            self.check_writable(opened)

    def manifest(self) -> Manifest | None:
        """Return the manifest of the last export into the table.

        Return ``None`` if the table was dropped or emptied, because an incremental export has
        nothing to add to in that case.
        """
        with self.connection() as opened, self.translate_errors():
            if not self._has_table(opened, self.table, self.kinds):
                return None
            if not self._has_table(opened, MANIFESTS, MANIFEST_KINDS):
                return None
            manifest = self.read_manifest(opened)
            expects_rows = manifest and (manifest.conversations or manifest.incremental)
            return None if expects_rows and self._is_empty(opened) else manifest

    def verify(self, manifest: Manifest) -> None:  # noqa: B027 - a no-op for all
        """No-op: other programs may write to the table, and exports are merged with their rows."""

    def stored(self) -> None:
        """Return ``None``: existing rows stay in place."""
        return

    def known(self, ids: Sequence[str]) -> set[str]:
        """Return those of the ids for which the table has a row."""
        # Some databases number their placeholders ("$1"), and others do not ("?").
        marks = ", ".join(self.placeholders[0].replace("1", str(n + 1)) for n in range(len(ids)))
        query = f"SELECT id FROM {self.quote_table(self.table)} WHERE id IN ({marks})"  # noqa: S608 - quoted
        with self.connection() as opened, self.translate_errors():
            return {id_ for (id_,) in opened.execute(query, tuple(ids)).fetchall()}

    def publish(self, records: Records, manifest: Manifest) -> Manifest:
        """Merge all records into the table and store the manifest, in one transaction."""
        with self.connection() as opened:
            self.merge(opened, records, manifest)
        return manifest

    # The parts of the methods above that need an open connection.

    def check_writable(self, opened: Connection) -> None:
        """Write an empty export, and roll it back."""
        with self._transaction(opened, "ROLLBACK"):
            self._write_export(opened, (), datetime.now(UTC), "{}")

    def merge(self, opened: Connection, records: Iterable[list[bytes]], manifest: Manifest) -> None:
        """Merge all records and store the manifest, in one transaction."""
        with self._transaction(opened, "COMMIT"):
            self._write_export(opened, records, manifest.began, self.encode_manifest(manifest))

    def count(self, opened: Connection) -> int:
        """Return the number of rows in the table."""
        query = f"SELECT count(*) FROM {self.quote_table(self.table)}"  # noqa: S608 - quoted
        return int(opened.execute(query).fetchall()[0][0])

    def read_manifest(self, opened: Connection) -> Manifest | None:
        """Return the stored manifest of the table; ``None`` if this version cannot read it."""
        rows = opened.execute(
            f"SELECT CAST(manifest AS TEXT) FROM {self.quote_table(MANIFESTS)} "  # noqa: S608 - quoted
            f"WHERE table_name = {self.placeholders[0]}",
            (self.table,),
        ).fetchall()
        return parse_manifest(rows[0][0]) if rows else None

    def _write_export(
        self, opened: Connection, records: Iterable[list[bytes]], began: datetime, manifest: str
    ) -> None:
        with self.translate_errors():
            self.ensure_table(opened, self.table, self.kinds)
        self.write_all(opened, self._build_chunks(records, began))
        with self.translate_errors():
            # Write the manifest last, because exports into other tables may have to wait for this
            # table.
            self.ensure_table(opened, MANIFESTS, MANIFEST_KINDS)
            source = f"VALUES ({', '.join(self.placeholders)})"
            statement = build_upsert(self.quote_table(MANIFESTS), tuple(MANIFEST_KINDS), source)
            opened.execute(statement, (self.table, self.convert_time(began), manifest))

    def _build_chunks(
        self, records: Iterable[list[bytes]], began: datetime
    ) -> Iterator[list[Values]]:
        rows: list[Values] = []
        size = 0
        for batch in records:
            for record in batch:
                rows.append(self.build_values(record, began))
                size += len(record)
                if len(rows) == _MAX_ROWS or size > _MAX_BYTES:
                    yield rows
                    rows, size = [], 0
        if rows:
            yield rows

    def _get_types(self, kinds: Mapping[str, Kind]) -> dict[str, str]:
        return {name: self.types[kind] for name, kind in kinds.items()}

    def _has_table(self, opened: Connection, table: str, kinds: Mapping[str, Kind]) -> bool:
        """Return whether there is a table, after checking its columns."""
        schema = self.read_schema(opened, table)
        if schema is None:
            return False
        if differences := schema.differences(self._get_types(kinds)):
            raise TargetError(self.describe_refusal(table, differences))
        return True

    def _is_empty(self, opened: Connection) -> bool:
        query = f"SELECT 1 FROM {self.quote_table(self.table)} LIMIT 1"  # noqa: S608 - quoted
        return not opened.execute(query).fetchall()

    @contextlib.contextmanager
    def _transaction(self, opened: Connection, end: str) -> Generator[None, None, None]:
        try:
            with self.translate_errors():
                opened.execute(self.begin)
            yield
            with self.translate_errors():
                opened.execute(end)
        except BaseException:
            # Ignore an error of the rollback, because the first error shows what is wrong.
            with contextlib.suppress(Exception):
                opened.execute("ROLLBACK")
            raise
