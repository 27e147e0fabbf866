"""What all targets have in common that are a table in a database."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeAlias
from urllib.parse import quote

import msgspec

from cekat_async import ConfigurationError, TargetError
from cekat_async.export.manifest import FORMAT, Manifest
from cekat_async.frames.columns import COLUMNS, row_of
from cekat_async.redaction import readable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from cekat_async.export.sink import Records
    from cekat_async.frames.columns import Kind

__all__ = [
    "KINDS",
    "MANIFESTS",
    "TABLE",
    "Connection",
    "DatabaseSink",
    "Shape",
    "Values",
    "lacks",
    "own_suffix",
    "quoted",
    "require_table",
    "shown",
    "upsert",
]

TABLE = "conversations"
"""What a table is called where nobody says."""
MANIFESTS = "cekat_exports"
"""The table that has a row for each table of conversations: the manifest of its last export."""

KINDS: Mapping[str, Kind] = {**{c.name: c.kind for c in COLUMNS}, "exported_at": "time"}
"""The columns of a table of conversations in every database, each with what is in it."""
_MANIFEST_KINDS: Mapping[str, Kind] = {
    "table_name": "text",
    "exported_at": "time",
    "manifest": "raw",
}
# To make a chunk's rows holds up other threads in no single call, and takes little memory.
_ROWS = 500
_BYTES = 2 << 20


Values: TypeAlias = tuple[Any, ...]
"""The values of a row, for each column one."""


class Connection(Protocol):
    """What is used of a connection to any database."""

    def execute(self, query: Any, parameters: Any = ..., /) -> Any:
        """Run one statement."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Shape(NamedTuple):
    """A table's columns, each with its type, and which of them are its primary key."""

    columns: Mapping[str, str]
    key: Sequence[str]


class DatabaseSink(ABC):
    """A target that is a table, into which exports are merged by id, each in one transaction.

    A conversation that is there already is replaced; what else is there stays. In the same
    transaction the manifest goes into the table ``cekat_exports`` beside it.

    Args:
        table: The table's name. It is made if there is none. One that is there must have the
            columns of an export, and ``id`` as its primary key; it is never altered.

    Raises:
        ConfigurationError: The name of the table is none.
    """

    types: ClassVar[Mapping[Kind, str]]
    """What the database calls the types of the columns."""
    marks: ClassVar[Sequence[str]] = ("?", "?", "?")
    """What stands for the first, second and third value in a statement."""
    begin: ClassVar[str] = "BEGIN"
    kinds: ClassVar[Mapping[str, Kind]] = KINDS
    """The columns of a table of conversations, each with what is in it."""

    target: str
    checkpoint: Path | None

    def __init__(self, table: str) -> None:
        self._table = require_table(table)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.target!r}, table={self._table!r})"

    @abstractmethod
    def connection(self) -> AbstractContextManager[Connection]:
        """Return a connection, on which each statement stands for itself until one begins more."""

    @abstractmethod
    def told(self) -> AbstractContextManager[None]:
        """Tell of what the database refuses as the package's own error."""

    @abstractmethod
    def shape_of(self, opened: Connection, table: str) -> Shape | None:
        """Return the shape of a table, or None if there is none of this name."""

    @abstractmethod
    def write(self, opened: Connection, rows: Sequence[Values]) -> None:
        """Write a chunk of rows, each with all columns."""

    def row(self, record: bytes, began: datetime) -> Values:
        """Return the row of a record, in an export that began then."""
        return (*row_of(record), began)

    def refusal(self, table: str, differences: Sequence[str]) -> str:
        """Return what to say, and what to do, about a table that is not one of an export."""
        return (
            f"{self.target}: the table {table} is not one of an export: {'; '.join(differences)}. "
            f"Nothing was changed: {_ADVICE[table == MANIFESTS]}"
        )

    def name_of(self, table: str) -> str:
        """Return a table's name as it stands in a statement."""
        return quoted(table)

    def open(self) -> None:
        """Make sure that an export can be written, by writing an empty one that does not stay."""
        with self.connection() as opened:
            self.rehearse(opened)

    def manifest(self) -> Manifest | None:
        """Return the manifest of the last export into the table.

        ``None`` if the table is gone or was emptied: then it holds nothing that could be added to.

        Raises:
            TargetError: The table has another shape than that export left.
        """
        with self.connection() as opened, self.told():
            if not self._is_there(opened, self._table, self.kinds):
                return None
            if not self._is_there(opened, MANIFESTS, _MANIFEST_KINDS):
                return None
            return self._filled(opened, self.stored_manifest(opened))

    def verify(self, manifest: Manifest) -> None:  # noqa: B027 - a no-op for all
        """Do nothing: others may have written to the table, and what they wrote is merged with."""

    def stored(self) -> None:
        """Return nothing: what is there stays in place."""
        return

    def known(self, ids: Sequence[str]) -> set[str]:
        """Return those of some ids that the table has a row for."""
        # Some databases number their placeholders ("$1"), others do not ("?").
        marks = ", ".join(self.marks[0].replace("1", str(n + 1)) for n in range(len(ids)))
        query = f"SELECT id FROM {self.name_of(self._table)} WHERE id IN ({marks})"  # noqa: S608 - quoted
        with self.connection() as opened, self.told():
            return {id_ for (id_,) in opened.execute(query, tuple(ids)).fetchall()}

    def publish(self, records: Records, manifest: Manifest) -> Manifest:
        """Merge all records into the table, and store the manifest, in one transaction."""
        with self.connection() as opened:
            self.merge(opened, records, manifest)
        return manifest

    def rehearse(self, opened: Connection) -> None:
        """Write an empty export, and roll it back."""
        with self._transaction(opened, "ROLLBACK"):
            self._fill(opened, (), datetime.now(UTC), "{}")

    def merge(self, opened: Connection, records: Records, manifest: Manifest) -> None:
        """Merge all records and store the manifest, in one transaction."""
        with self._transaction(opened, "COMMIT"):
            self._fill(opened, records, manifest.began, self.manifest_text(manifest))

    def manifest_text(self, manifest: Manifest) -> str:
        """Return a manifest as it is stored."""
        return manifest.to_json().decode()

    def count(self, opened: Connection) -> int:
        """Return how many rows the table has."""
        rows = f"SELECT count(*) FROM {self.name_of(self._table)}"  # noqa: S608 - quoted
        return int(opened.execute(rows).fetchall()[0][0])

    @abstractmethod
    def close(self) -> None:
        """Let go of everything. It raises nothing."""

    def write_all(self, opened: Connection, chunks: Iterable[Sequence[Values]]) -> None:
        """Write all rows."""
        for rows in chunks:
            # Not around the loop: what the records themselves fail with is no matter of the target.
            with self.told():
                self.write(opened, rows)

    def ensure(self, opened: Connection, table: str, kinds: Mapping[str, Kind]) -> None:
        """Make a table, if there is none, or make sure that it is one of an export."""
        if not self._is_there(opened, table, kinds):
            opened.execute(_create(self.name_of(table), self._columns(kinds)))

    def _fill(
        self,
        opened: Connection,
        records: Iterable[list[bytes]],
        began: datetime,
        manifest: str,
    ) -> None:
        with self.told():
            self.ensure(opened, self._table, self.kinds)
        self.write_all(opened, self._rows(records, began))
        with self.told():
            # Made last: others who make it have to wait for this one.
            self.ensure(opened, MANIFESTS, _MANIFEST_KINDS)
            values = f"VALUES ({', '.join(self.marks)})"
            opened.execute(
                upsert(self.name_of(MANIFESTS), tuple(_MANIFEST_KINDS), values),
                (self._table, self.time(began), manifest),
            )

    def _rows(self, records: Iterable[list[bytes]], began: datetime) -> Iterator[list[Values]]:
        """Return the rows of all records, in chunks of a bounded size."""
        rows: list[Values] = []
        size = 0
        for batch in records:
            for record in batch:
                rows.append(self.row(record, began))
                size += len(record)
                if len(rows) == _ROWS or size > _BYTES:
                    yield rows
                    rows, size = [], 0
        if rows:
            yield rows

    def time(self, moment: datetime) -> Any:
        """Return a time as it is given to the database."""
        return moment

    def _columns(self, kinds: Mapping[str, Kind]) -> dict[str, str]:
        return {name: self.types[kind] for name, kind in kinds.items()}

    def _is_there(self, opened: Connection, table: str, kinds: Mapping[str, Kind]) -> bool:
        shape = self.shape_of(opened, table)
        if shape is not None and (differences := _differences(shape, self._columns(kinds))):
            raise TargetError(self.refusal(table, differences))
        return shape is not None

    def stored_manifest(self, opened: Connection) -> Manifest | None:
        """Return the manifest that is stored for the table, if this version can read it."""
        rows = opened.execute(
            f"SELECT CAST(manifest AS TEXT) FROM {self.name_of(MANIFESTS)} "  # noqa: S608 - quoted
            f"WHERE table_name = {self.marks[0]}",
            (self._table,),
        ).fetchall()
        return _manifest_in(rows[0][0]) if rows else None

    def _filled(self, opened: Connection, manifest: Manifest | None) -> Manifest | None:
        """Return a manifest, if the table holds anything, or nothing had come."""
        if manifest is None or not (manifest.conversations or manifest.incremental):
            return manifest
        any_row = f"SELECT 1 FROM {self.name_of(self._table)} LIMIT 1"  # noqa: S608 - quoted
        return manifest if opened.execute(any_row).fetchall() else None

    @contextlib.contextmanager
    def _transaction(self, opened: Connection, end: str) -> Generator[None, None, None]:
        try:
            with self.told():
                opened.execute(self.begin)
            yield
            with self.told():
                opened.execute(end)
        except BaseException:
            # It is the first error that says what is wrong.
            with contextlib.suppress(Exception):
                opened.execute("ROLLBACK")
            raise


def require_table(name: object) -> str:
    """Return the name of a table, if it is one in every database."""
    if not isinstance(name, str) or not name.strip() or set(name) & set('\0."'):
        raise ConfigurationError(
            f"table must be the name of a table, without dots and quotes, not {name!r}"
        )
    if name.lower() == MANIFESTS or name.lower().startswith(("sqlite_", "pg_")):
        raise ConfigurationError(f"table must not be {name!r}: that is a table of another kind")
    if name != readable(name):
        raise ConfigurationError(f"the name of a table must be text in UTF-8, not {name!a}")
    if len(name.encode()) > _LONGEST:
        raise ConfigurationError(f"the name of a table has at most {_LONGEST} bytes, not {name!r}")
    return name


def shown(table: str) -> str:
    """Return what is said of a table beside its database: nothing of the usual one."""
    return "" if table == TABLE else f", table {table}"


def own_suffix(table: str) -> str:
    """Return what tells files of one table from those of another in the same database."""
    return "" if table == TABLE else f".{quote(table, safe='')}"


# PostgreSQL cuts longer ones, without a word that can be heard.
_LONGEST = 63
_ADVICE = (
    "name another table for the export, or drop this one",
    "keep the export in a database where this name is free, or drop this table",
)


def quoted(*names: str) -> str:
    """Return a name as it stands in a statement: ``"table"``, or ``"schema"."table"``."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def upsert(table: str, names: Sequence[str], source: str) -> str:
    """Return the statement that puts rows into a table, replacing those with the same key.

    Args:
        table: The table, quoted.
        names: Its columns, the key first.
        source: Where the rows come from: ``VALUES …`` or ``SELECT …``.
    """
    columns = ", ".join(map(quoted, names))
    news = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in names[1:])
    return (
        f"INSERT INTO {table} ({columns}) {source} "
        f"ON CONFLICT ({quoted(names[0])}) DO UPDATE SET {news}"
    )


def _create(table: str, columns: Mapping[str, str]) -> str:
    key, *others = [f"{quoted(name)} {type_}" for name, type_ in columns.items()]
    return f"CREATE TABLE {table} ({', '.join([f'{key} NOT NULL PRIMARY KEY', *others])})"


def lacks(*names: str) -> str:
    """Return what is said of a table that has no columns of these names."""
    return f"it has no column {', '.join(names)}"


def _differences(found: Shape, wanted: Mapping[str, str]) -> list[str]:
    """Return what a table has otherwise than wanted, each for a person."""
    lacking = [name for name in wanted if name not in found.columns]
    besides = [name for name in found.columns if name not in wanted]
    differences = [lacks(*lacking)] if lacking else []
    if besides:
        differences.append(f"it also has {', '.join(besides)}")
    differences += [
        f"{name} is {found.columns[name]} and not {type_}"
        for name, type_ in wanted.items()
        if name in found.columns and found.columns[name].lower() != type_.lower()
    ]
    key = next(iter(wanted))
    if list(found.key) != [key]:
        differences.append(f"{key} is not its primary key")
    return differences


def _manifest_in(text: str) -> Manifest | None:
    """Return a manifest, if this version can read it."""
    try:
        manifest = Manifest.from_json(text)
    except msgspec.DecodeError:
        return None
    return manifest if manifest.format == FORMAT else None
