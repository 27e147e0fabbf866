"""The sink for PostgreSQL: a table in a database on a server."""

from __future__ import annotations

import contextlib
import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar, cast

from cekat_async import MissingExtraError, TargetBusyError, TargetError
from cekat_async.export.sinks.databases.base import DatabaseSink
from cekat_async.export.sinks.databases.jsonb import make_queryable
from cekat_async.export.sinks.databases.postgres_url import describe_database, parse_url, redact
from cekat_async.export.sinks.databases.tables import (
    KINDS,
    MANIFESTS,
    TABLE,
    TableSchema,
    build_upsert,
    describe_table,
    quote_identifier,
    require_table_name,
)
from cekat_async.frames.columns import describe_missing

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    import psycopg

    from cekat_async.export.manifest import Manifest
    from cekat_async.export.sinks.databases.base import Connection, Values
    from cekat_async.frames.columns import Kind

__all__ = ["PostgresSink"]

_STAGING = quote_identifier("pg_temp", "cekat_async_new")
_EXACT = "raw_exact"
_RAW = [*KINDS].index("raw")
# Options that the URL can override. Networks drop idle connections, so the sink uses TCP keepalive,
# which also detects a lost connection.
_DEFAULTS: Mapping[str, Any] = {
    "connect_timeout": 10,
    "application_name": "cekat-async",
    "keepalives_idle": 60,
    "keepalives_interval": 10,
    "keepalives_count": 6,
    "tcp_user_timeout": 60_000,
}
# The first two settings remove the limits of a role, which are meant for people's queries. With the
# last three, the server soon notices that an export was killed, and releases its lock. Some servers
# lack these three.
_SETTINGS = (
    "SET statement_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
    "SET tcp_keepalives_idle = 60",
    "SET tcp_keepalives_interval = 10",
    "SET client_connection_check_interval = '2s'",
)
_TARGET_LOCK_TIMEOUT = 3  # seconds
_LOCK_TIMEOUT = 60  # seconds


class PostgresSink(DatabaseSink):
    """A table in a database of PostgreSQL 12 or later. The encoding of the database must be UTF-8.

    Texts are ``text``, times are ``timestamptz``, and JSON is ``jsonb``. ``raw`` is ``json``, which
    keeps the text as the API sent it.

    JSON allows values that PostgreSQL cannot read: U+0000, lone surrogates, and numbers that are
    out of range. A single such value would make every query that reads it fail, for all rows. The
    sink replaces such a character with U+FFFD, and such a number with a string of its digits. A
    record that is not JSON, or that is nested too deep, becomes a JSON string of its text. If
    ``raw`` differs from the record, the column ``raw_exact`` contains the record's bytes
    (``bytea``). Otherwise ``raw_exact`` is NULL.

    While an export runs, it holds an advisory lock, so that no other export writes the same table.
    With PgBouncer, this lock needs session pooling. If the connection is lost, the sink connects
    again once.

    Args:
        url: ``postgresql://user:password@host:port/database``, in the syntax of libpq. The sink
            never shows the password. The password can also be in ``PGPASSWORD`` or in
            ``~/.pgpass``.
        table: The table: ``name`` or ``schema.name``. Both parts are case-sensitive. A name without
            a schema is looked up in the ``search_path``.

    Raises:
        ConfigurationError: An argument is wrong.
        MissingExtraError: psycopg is not installed.
    """

    types: ClassVar[Mapping[Kind, str]] = {
        "text": "text",
        "time": "timestamp with time zone",
        "json": "jsonb",
        "raw": "json",
        "bytes": "bytea",
    }
    kinds: ClassVar[Mapping[str, Kind]] = {**KINDS, _EXACT: "bytes"}
    placeholders: ClassVar[Sequence[str]] = ("$1", "$2", "$3")

    def __init__(self, url: str, *, table: str = TABLE) -> None:
        try:
            import psycopg  # noqa: PLC0415 - an extra
        except ImportError:  # psycopg raises this even if only libpq is missing
            raise MissingExtraError(
                "PostgreSQL needs psycopg: pip install 'cekat-async[postgres]'"
            ) from None
        self._psycopg = psycopg
        # If the value is not text, the base class raises an error.
        schema, dot, name = table.rpartition(".") if "." in str(table) else ("", "", table)
        super().__init__(name)
        self._named_schema = require_table_name(schema) if dot else None
        self._schema = self._named_schema or ""
        self._options = parse_url(url)
        self.target = f"{describe_database(self._options)}{describe_table(table)}"
        self.checkpoint: Path | None = None
        self._opened: psycopg.Connection[Any] | None = None

    def quote_table(self, table: str) -> str:
        """Return a table's name, with its schema, as an identifier in a statement."""
        return quote_identifier(self._schema, table)

    def close(self) -> None:
        """Close the connection."""
        opened, self._opened = self._opened, None
        if opened is not None:
            with contextlib.suppress(Exception):
                opened.close()

    @contextlib.contextmanager
    def connection(self) -> Generator[Connection, None, None]:
        """Yield the open connection. If the connection was lost, open a new one first."""
        if self._opened is None or not self._is_alive(self._opened):
            self.close()
            self._connect()
        yield cast("psycopg.Connection[Any]", self._opened)

    @contextlib.contextmanager
    def translate_errors(self) -> Generator[None, None, None]:
        """Raise :class:`~cekat_async.TargetError` instead of PostgreSQL's errors."""
        try:
            yield
        except self._psycopg.Error as error:
            reason = redact(error.diag.message_primary or str(error), self._options)
            # Drop the cause, because the server's message may contain the password.
            raise TargetError(f"cannot write {self.target}: {reason}") from None

    def read_schema(self, opened: Connection, table: str) -> TableSchema | None:
        """Return the schema of a table, or of any other relation with this name, such as a view."""
        found = opened.execute(
            """
            SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnum = ANY (i.indkey)
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            LEFT JOIN pg_attribute a
                ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
            WHERE n.nspname = $1 AND c.relname = $2
            """,
            (self._schema, table),
        ).fetchall()
        columns = {name: type_ for name, type_, _ in found if name is not None}
        return TableSchema(columns, [name for name, _, key in found if key]) if found else None

    def ensure_table(self, opened: Connection, table: str, kinds: Mapping[str, Kind]) -> None:
        """Create a table, or check that an existing one has the columns of an export."""
        if table == MANIFESTS and self.read_schema(opened, table) is None:
            # An export into another table may be creating this table, so wait for the lock of that
            # export.
            key = _compute_lock_key(self._schema, table)
            opened.execute("SELECT pg_advisory_xact_lock($1)", (key,))
        super().ensure_table(opened, table, kinds)

    def write_all(self, opened: Connection, chunks: Iterable[Sequence[Values]]) -> None:
        """Copy all rows to a temporary table, and then merge that table into the target."""
        table = self.quote_table(self.table)
        with self.translate_errors():
            opened.execute(f"CREATE TEMP TABLE cekat_async_new (LIKE {table}) ON COMMIT DROP")
        super().write_all(opened, chunks)
        source = f"SELECT {', '.join(map(quote_identifier, self.kinds))} FROM {_STAGING}"  # noqa: S608 - quoted
        with self.translate_errors():
            opened.execute(build_upsert(table, tuple(self.kinds), source))

    def build_values(self, record: bytes, began: datetime) -> Values:
        """Return the row of a record, without anything that PostgreSQL cannot store or read."""
        values = super().build_values(record, began)
        stored = [_CONVERT[kind](value) for kind, value in zip(KINDS.values(), values, strict=True)]
        return (*stored, None if stored[_RAW].encode() == record else record)

    def encode_manifest(self, manifest: Manifest) -> str:
        """Return the text to store for a manifest, without characters that PostgreSQL refuses."""
        return make_queryable(super().encode_manifest(manifest))

    def describe_refusal(self, table: str, differences: Sequence[str]) -> str:
        """Return the message for a table with wrong columns. It may suggest an ``ALTER``."""
        if [*differences] != [describe_missing(_EXACT)]:
            return super().describe_refusal(table, differences)
        column = f"{quote_identifier(_EXACT)} {self.types['bytes']}"
        return (
            f"{self.target}: the table {table} was made by version 0.1 and has no column {_EXACT}, "
            "for records that PostgreSQL cannot store as JSON. Add it, and run the export again: "
            f"ALTER TABLE {self.quote_table(table)} ADD COLUMN {column};"
        )

    def write(self, opened: Connection, rows: Sequence[Values]) -> None:
        """Copy a chunk of rows."""
        statement = f"COPY {_STAGING} ({', '.join(map(quote_identifier, self.kinds))}) FROM STDIN"
        cursor = cast("psycopg.Connection[Any]", opened).cursor()
        with cursor.copy(statement.encode()) as copy:
            for row in rows:
                copy.write_row(row)

    def _is_alive(self, opened: Connection) -> bool:
        try:
            opened.execute("SELECT 1")
        except self._psycopg.Error:
            return False
        return True

    def _connect(self) -> None:
        """Connect to the database, and take the lock of the table."""
        with self.translate_errors():
            options: Any = {**_DEFAULTS, **self._options, "client_encoding": "utf8"}
            self._opened = opened = self._psycopg.connect(
                **options,
                autocommit=True,
                cursor_factory=self._psycopg.RawCursor,
                prepare_threshold=None,
            )
            for setting in _SETTINGS:
                with contextlib.suppress(self._psycopg.DatabaseError):
                    opened.execute(setting.encode())
        try:
            self._set_up(opened)
        except BaseException:
            self.close()
            raise

    def _set_up(self, opened: Connection) -> None:
        with self.translate_errors():
            ((encoding,),) = opened.execute("SHOW server_encoding").fetchall()
            if encoding != "UTF8":
                raise TargetError(
                    f"cannot write {self.target}: its encoding is {encoding}, which does not have "
                    "all characters. Export to a database with the encoding UTF8"
                )
            self._schema = self._named_schema or self._find_schema(opened)
            self._lock(opened)

    def _find_schema(self, opened: Connection) -> str:
        ((schema,),) = opened.execute(
            "SELECT coalesce((SELECT n.nspname FROM pg_class c JOIN pg_namespace n "
            "ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)), current_schema())",
            (quote_identifier(self.table),),
        ).fetchall()
        if schema is None:
            raise TargetError(
                f"cannot write {self.target}: no schema of the search_path exists. Name the table "
                "with its schema"
            )
        return str(schema)

    def _lock(self, opened: Connection) -> None:
        key = _compute_lock_key(self._schema, self.table)
        try:
            # Wait for the lock, because a server needs a moment to notice that an export was
            # killed.
            opened.execute(f"SET lock_timeout = '{_TARGET_LOCK_TIMEOUT}s'")
            opened.execute("SELECT pg_advisory_lock($1)", (key,))
            opened.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT}s'")
        except self._psycopg.errors.LockNotAvailable:
            raise TargetBusyError(
                f"another export is writing {self.target}. Run this export again after it has "
                "finished"
            ) from None


def _compute_lock_key(schema: str, table: str) -> int:
    name = f"cekat_async {quote_identifier(schema, table)}".encode()
    return int.from_bytes(blake2b(name, digest_size=8).digest(), signed=True)


# NUL and lone surrogates cannot be sent to the server.
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")


def _replace_invalid(text: str | None) -> str | None:
    return text and _NOT_TEXT.sub("\ufffd", text)


def _convert_json(text: str | None) -> str | None:
    return None if text is None else make_queryable(text)


# The functions that make values storable and readable for PostgreSQL, by kind of column.
_CONVERT: Mapping[Kind, Callable[[Any], Any]] = {
    "text": _replace_invalid,
    "time": lambda value: value,
    "json": _convert_json,
    "raw": _convert_json,
}
