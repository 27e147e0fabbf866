"""Tables in a database: their names and columns, and the statements that every database accepts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from cekat_async import ConfigurationError
from cekat_async.frames.columns import COLUMNS, describe_differences
from cekat_async.redaction import readable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cekat_async.frames.columns import Kind

__all__ = [
    "KINDS",
    "MANIFESTS",
    "MANIFEST_KINDS",
    "TABLE",
    "TableSchema",
    "build_create_table",
    "build_upsert",
    "describe_table",
    "get_file_suffix",
    "quote_identifier",
    "require_table_name",
]

TABLE = "conversations"
"""The default name of a table of conversations."""
MANIFESTS = "cekat_exports"
"""The name of the table of manifests. It has one row for each table of conversations."""

KINDS: Mapping[str, Kind] = {**{c.name: c.kind for c in COLUMNS}, "exported_at": "time"}
"""The columns of a table of conversations, by name. The first column is the primary key."""
MANIFEST_KINDS: Mapping[str, Kind] = {
    "table_name": "text",
    "exported_at": "time",
    "manifest": "raw",
}
"""The columns of the table of manifests, by name."""

# PostgreSQL silently truncates longer names.
_MAX_BYTES = 63


class TableSchema(NamedTuple):
    """The columns of a table with their types, and the columns of its primary key."""

    columns: Mapping[str, str]
    primary_key: Sequence[str]

    def differences(self, expected: Mapping[str, str]) -> list[str]:
        """Return differences from the expected columns, the first of which is the primary key."""
        differences = describe_differences(_normalize(self.columns), _normalize(expected))
        key = next(iter(expected))
        if [*self.primary_key] != [key]:
            differences.append(f"{key} is not its primary key")
        return differences


def _normalize(columns: Mapping[str, str]) -> dict[str, str]:
    # Databases ignore the case of a type's name.
    return {name: type_.upper() for name, type_ in columns.items()}


def require_table_name(name: object) -> str:
    """Return the name of a table. Raise ConfigurationError unless every database accepts it."""
    if not isinstance(name, str) or not name.strip() or set(name) & set('\0."'):
        raise ConfigurationError(
            f"table must be the name of a table, without dots or quotes, not {name!r}"
        )
    if name.lower() == MANIFESTS or name.lower().startswith(("sqlite_", "pg_")):
        raise ConfigurationError(f"table must not be {name!r}: this name is for manifests")
    if name != readable(name):
        raise ConfigurationError(f"the name of a table must be text in UTF-8, not {name!a}")
    if len(name.encode()) > _MAX_BYTES:
        raise ConfigurationError(
            f"the name of a table can have at most {_MAX_BYTES} bytes: {name!r} is too long"
        )
    return name


def describe_table(table: str) -> str:
    """Return the suffix that names a table in messages. It is empty for the default table."""
    return "" if table == TABLE else f", table {table}"


def get_file_suffix(table: str) -> str:
    """Return the suffix that distinguishes the files of two tables in one database."""
    return "" if table == TABLE else f".{quote(table, safe='')}"


def quote_identifier(*names: str) -> str:
    """Return names as an identifier in a statement: ``"table"``, or ``"schema"."table"``."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def build_create_table(table: str, columns: Mapping[str, str]) -> str:
    """Return the statement that creates a (quoted) table. The first column is its key."""
    key, *others = [f"{quote_identifier(name)} {type_}" for name, type_ in columns.items()]
    return f"CREATE TABLE {table} ({', '.join([f'{key} NOT NULL PRIMARY KEY', *others])})"


def build_upsert(table: str, names: Sequence[str], source: str) -> str:
    """Return the statement that adds rows to a (quoted) table, or replaces rows with the same key.

    The first column is the key. The source of the rows is ``VALUES …`` or ``SELECT …``.
    """
    columns = ", ".join(map(quote_identifier, names))
    others = map(quote_identifier, names[1:])
    updates = ", ".join(f"{name} = excluded.{name}" for name in others)
    return (
        f"INSERT INTO {table} ({columns}) {source} "
        f"ON CONFLICT ({quote_identifier(names[0])}) DO UPDATE SET {updates}"
    )
