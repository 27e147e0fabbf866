"""PostgreSQL: a table in a database that many can read."""

from __future__ import annotations

import contextlib
import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar, cast
from urllib.parse import quote, urlencode

from cekat_async import ConfigurationError, MissingExtraError, TargetBusyError, TargetError
from cekat_async.export.sinks.databases.base import (
    KINDS,
    MANIFESTS,
    TABLE,
    DatabaseSink,
    Shape,
    lacks,
    quoted,
    require_table,
    shown,
    upsert,
)
from cekat_async.export.sinks.databases.jsonb import queryable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    import psycopg

    from cekat_async.export.manifest import Manifest
    from cekat_async.export.sinks.databases.base import Connection, Values
    from cekat_async.frames.columns import Kind

__all__ = ["PostgresSink"]

_STAGED = quoted("pg_temp", "cekat_async_new")
_EXACT = "raw_exact"
_RAW = [*KINDS].index("raw")
# All that is asked of libpq beside what the URL says. What is idle for an hour is easily forgotten
# by what lies between, or gone without a word.
_DEFAULTS: Mapping[str, Any] = {
    "connect_timeout": 10,
    "application_name": "cekat-async",
    "keepalives_idle": 60,
    "keepalives_interval": 10,
    "keepalives_count": 6,
    "tcp_user_timeout": 60_000,
}
# A role's own limits are made for people's queries. The last three let the server notice soon that
# an export was killed, so that its lock is free; not every server knows them.
_SETTINGS = (
    "SET statement_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
    "SET tcp_keepalives_idle = 60",
    "SET tcp_keepalives_interval = 10",
    "SET client_connection_check_interval = '2s'",
)
_LOCK_PATIENCE = 3
_PATIENCE = 60


class PostgresSink(DatabaseSink):
    """A table in a PostgreSQL database (12 or later), whose encoding is UTF-8.

    Texts are ``text``, times ``timestamptz``, JSON is ``jsonb``; ``raw`` is ``json``, which keeps
    the text as it was sent.

    JSON can say what PostgreSQL cannot read: one U+0000, one half of a surrogate pair or one number
    out of range fails every query that touches it, for all rows. So U+FFFD is in the place of such
    a character, a string of its digits in that of such a number, and a record that is no JSON, or
    is nested too deep, is a JSON string of its text. Whenever ``raw`` is not the record to the
    byte, the column ``raw_exact`` has its bytes (``bytea``); else that is NULL.

    While an export runs it holds an advisory lock, so that no other one writes the same table. A
    connection that was lost meanwhile is made anew, once. Behind PgBouncer, this needs pooling by
    session.

    Args:
        url: ``postgresql://user:password@host:port/database``, as libpq takes it. The password is
            shown nowhere; it may also be in ``PGPASSWORD`` or in ``~/.pgpass``.
        table: The table: ``name``, or ``schema.name``, each as it is, not folded to lower case. A
            name alone is looked for along the ``search_path``.

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
    marks: ClassVar[Sequence[str]] = ("$1", "$2", "$3")

    def __init__(self, url: str, *, table: str = TABLE) -> None:
        try:
            import psycopg  # noqa: PLC0415 - an extra
        except ImportError:  # also of its own, where there is no libpq
            raise MissingExtraError(
                "PostgreSQL needs psycopg: pip install 'cekat-async[postgres]'"
            ) from None
        self._psycopg = psycopg
        # What is no name at all is told of by the same words.
        schema, dot, name = table.rpartition(".") if "." in str(table) else ("", "", table)
        super().__init__(name)
        self._named_schema = require_table(schema) if dot else None
        self._schema = self._named_schema or ""
        self._options = _options_of(url)
        self.target = f"{_shown(self._options)}{shown(table)}"
        self.checkpoint: Path | None = None
        self._opened: psycopg.Connection[Any] | None = None

    def name_of(self, table: str) -> str:
        """Return a table's name as it stands in a statement, with its schema."""
        return quoted(self._schema, table)

    def close(self) -> None:
        """Close the connection."""
        opened, self._opened = self._opened, None
        if opened is not None:
            with contextlib.suppress(Exception):
                opened.close()

    @contextlib.contextmanager
    def connection(self) -> Generator[Connection, None, None]:
        """Return the one connection, or a new one if it was lost."""
        if self._opened is None or not self._is_alive(self._opened):
            self.close()
            self._connect()
        yield cast("psycopg.Connection[Any]", self._opened)

    @contextlib.contextmanager
    def told(self) -> Generator[None, None, None]:
        """Tell of what PostgreSQL refuses, without what it was asked: that may be secret."""
        try:
            yield
        except self._psycopg.Error as error:
            reason = self._without_secrets(error.diag.message_primary or str(error))
            # Not hung on it: a server's own words may hold the password that it was told.
            raise TargetError(f"cannot write {self.target}: {reason}") from None

    def shape_of(self, opened: Connection, table: str) -> Shape | None:
        """Return the shape of a table, or of anything else with this name."""
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
        return Shape(columns, [name for name, _, key in found if key]) if found else None

    def ensure(self, opened: Connection, table: str, kinds: Mapping[str, Kind]) -> None:
        """Make a table, if there is none, or make sure that it is one of an export."""
        if table == MANIFESTS and self.shape_of(opened, table) is None:
            # Exports into other tables make the same one: the second waits, and finds it made.
            key = _key_of(self._schema, table)
            opened.execute("SELECT pg_advisory_xact_lock($1)", (key,))
        super().ensure(opened, table, kinds)

    def write_all(self, opened: Connection, chunks: Iterable[Sequence[Values]]) -> None:
        """Copy all rows to a table of this connection, and from there where they belong."""
        table = self.name_of(self._table)
        with self.told():
            opened.execute(f"CREATE TEMP TABLE cekat_async_new (LIKE {table}) ON COMMIT DROP")
        super().write_all(opened, chunks)
        source = f"SELECT {', '.join(map(quoted, self.kinds))} FROM {_STAGED}"  # noqa: S608 - quoted
        with self.told():
            opened.execute(upsert(table, tuple(self.kinds), source))

    def row(self, record: bytes, began: datetime) -> Values:
        """Return the row of a record, with nothing in it that PostgreSQL cannot hold or read."""
        values = super().row(record, began)
        held = [_HELD[kind](one) for kind, one in zip(KINDS.values(), values, strict=True)]
        return (*held, None if held[_RAW].encode() == record else record)

    def manifest_text(self, manifest: Manifest) -> str:
        """Return a manifest as it is stored: it may have field names that strangers chose."""
        return queryable(super().manifest_text(manifest))

    def refusal(self, table: str, differences: Sequence[str]) -> str:
        """Return what to say of a table; for one that version 0.1 made, the statement it needs."""
        if [*differences] != [lacks(_EXACT)]:
            return super().refusal(table, differences)
        return (
            f"{self.target}: the table {table} was made by version 0.1 and has no column {_EXACT}, "
            "for records that PostgreSQL cannot hold as JSON. Add it, and run the export again: "
            f"ALTER TABLE {self.name_of(table)} ADD COLUMN {quoted(_EXACT)} {self.types['bytes']};"
        )

    def write(self, opened: Connection, rows: Sequence[Values]) -> None:
        """Copy a chunk of rows."""
        statement = f"COPY {_STAGED} ({', '.join(map(quoted, self.kinds))}) FROM STDIN"
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
        """Connect, and take the lock of the table."""
        with self.told():
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
        with self.told():
            ((encoding,),) = opened.execute("SHOW server_encoding").fetchall()
            if encoding != "UTF8":
                raise TargetError(
                    f"cannot write {self.target}: its encoding is {encoding}, which does not hold "
                    "all characters; export to a database with the encoding UTF8"
                )
            self._schema = self._named_schema or self._found_schema(opened)
            self._lock(opened)

    def _found_schema(self, opened: Connection) -> str:
        ((schema,),) = opened.execute(
            "SELECT coalesce((SELECT n.nspname FROM pg_class c JOIN pg_namespace n "
            "ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)), current_schema())",
            (quoted(self._table),),
        ).fetchall()
        if schema is None:
            raise TargetError(
                f"cannot write {self.target}: no schema of the search_path is there; name the "
                "table with its schema"
            )
        return str(schema)

    def _lock(self, opened: Connection) -> None:
        key = _key_of(self._schema, self._table)
        try:
            # With some patience: a server takes a moment to notice that an export was killed.
            opened.execute(f"SET lock_timeout = '{_LOCK_PATIENCE}s'")
            opened.execute("SELECT pg_advisory_lock($1)", (key,))
            opened.execute(f"SET lock_timeout = '{_PATIENCE}s'")
        except self._psycopg.errors.LockNotAvailable:
            pass
        else:
            return
        raise TargetBusyError(
            f"another export is writing {self.target}: run this one again when that one has ended"
        )

    def _without_secrets(self, text: str) -> str:
        line = " ".join(text.split())
        for name in _SECRET & set(self._options):
            if secret := str(self._options[name]):
                line = line.replace(secret, "***").replace(quote(secret, safe=""), "***")
        return line


_SECRET = {"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}
_FORM = "postgresql://user:password@host:port/database"


def _options_of(url: object) -> dict[str, Any]:
    """Return what a URL says. What is wrong with it is told without it: it holds a password."""
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - an extra

    if not isinstance(url, str) or not url.startswith(("postgresql://", "postgres://")):
        raise ConfigurationError(f"url must look like {_FORM}")
    _, _, rest = url.partition("://")
    if rest.count("@") > 1 or "/" in rest.partition("@")[0] * ("@" in rest):
        # libpq would take a part of the password for the host, the port or the database.
        raise ConfigurationError(
            "url: write the characters @ / and : in a user name, a password or an option as "
            "%40 %2F and %3A"
        )
    options = None
    with contextlib.suppress(Exception):
        options = dict(conninfo_to_dict(url))
    if options is None or not re.fullmatch(r"[0-9,]*", str(options.get("port", ""))):
        raise ConfigurationError(f"url must look like {_FORM}, with no other options than libpq's")
    return options


def _shown(options: Mapping[str, Any]) -> str:
    """Return the URL of a database, with nothing in it that is secret."""
    hosts = str(options.get("host") or options.get("hostaddr") or "").split(",")
    ports = str(options.get("port", "")).split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    places = [
        (quote(host, safe=":[]") if ":" not in host else f"[{host}]") + (f":{port}" * bool(port))
        for host, port in zip(hosts, ports, strict=False)
    ]
    user = quote(str(options["user"]), safe="") + "@" if options.get("user") else ""
    shown = {name: options[name] for name in ("service",) if name in options}
    query = f"?{urlencode(shown)}" if shown else ""
    return f"postgresql://{user}{','.join(places)}/{quote(str(options.get('dbname', '')))}{query}"


def _key_of(schema: str, table: str) -> int:
    """Return the number of a table's advisory lock."""
    name = f"cekat_async {quoted(schema, table)}".encode()
    return int.from_bytes(blake2b(name, digest_size=8).digest(), signed=True)


# Half of a surrogate pair is no character: it cannot even be sent.
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")


def _text(text: str | None) -> str | None:
    return text and _NOT_TEXT.sub("\ufffd", text)


def _json(text: str | None) -> str | None:
    return None if text is None else queryable(text)


def _as_it_is(value: Any) -> Any:
    return value


_HELD: Mapping[Kind, Callable[[Any], Any]] = {
    "text": _text,
    "time": _as_it_is,
    "json": _json,
    "raw": _json,
}
"""What makes a value of each kind one that PostgreSQL can hold and read."""
