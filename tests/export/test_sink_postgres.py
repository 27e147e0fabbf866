"""PostgreSQL: rights, schemas, locks, lost connections, and the hidden password."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import quote

import pytest
from support.sinks import Given, a_manifest, publish, some_records

from cekat_async import ConfigurationError, TargetError
from cekat_async.export.sinks.databases import postgres as module
from cekat_async.export.sinks.databases.postgres import PostgresSink

psycopg = pytest.importorskip("psycopg", reason="no psycopg: it comes with the extra 'postgres'")


def ask(database, statement):
    with closing(psycopg.connect(database, autocommit=True)) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else None


def count_rows(database, table="conversations"):
    return ask(database, f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608


def chain(error):
    """Return an error with all its causes and contexts."""
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def test_sql_reads_its_types(database):
    """Columns have the documented types, and the exact text of each record is stored."""
    raw = b'{ "id":"a","created_at":"2026-02-03T04:05:06+07:00","b" : 1.0,"b":2 }'
    publish(PostgresSink(database), [raw])

    assert ask(
        database,
        "SELECT raw::text, extra->>'b', created_at = '2026-02-02T21:05:06Z', "
        "exported_at - created_at > '60 days' FROM conversations",
    ) == [(raw.decode(), "2", True, True)]


@pytest.mark.parametrize("table", ["crm.conversations", "Crm 100%s.Percakapan $1"])
def test_a_table_in_a_schema(database, table):
    """A table can be named with its schema, which then also contains the table of manifests."""
    schema, _, name = table.partition(".")
    ask(database, f'CREATE SCHEMA "{schema}"')
    manifest = publish(PostgresSink(database, table=table), some_records(5))

    assert count_rows(database, f'"{schema}"."{name}"') == 5
    with closing(PostgresSink(database, table=table)) as sink:
        sink.open()
        assert sink.manifest() == manifest
    with closing(PostgresSink(database)) as sink:
        assert sink.manifest() is None


def test_a_table_on_the_search_path(database):
    """A name without a schema is resolved by the search path."""
    ask(database, "CREATE SCHEMA crm")
    publish(PostgresSink(database, table="crm.conversations"), some_records(5))
    ask(database, 'ALTER ROLE ada SET search_path = "$user", public, crm')
    try:
        publish(PostgresSink(database), some_records(9))
    finally:
        ask(database, "ALTER ROLE ada RESET search_path")

    assert count_rows(database, "crm.conversations") == 9


@pytest.fixture
def bob(database, postgres):
    """The URL of a role that only has the right to connect."""
    ask(database, "CREATE ROLE bob LOGIN PASSWORD 'pw-of-bob'")
    yield postgres.get_url("bob", "pw-of-bob", database.rpartition("/")[2])
    ask(database, "DROP OWNED BY bob; DROP ROLE bob")


def test_rights_that_are_not_there(database, bob):
    """If a role lacks a right that an export needs, this is reported before any request."""
    assert str(refused(bob)).endswith("permission denied for schema public")
    ask(database, "GRANT CREATE ON SCHEMA public TO bob")
    publish(PostgresSink(bob), some_records(3))
    ask(database, "REVOKE UPDATE ON conversations FROM bob")
    assert str(refused(bob)).endswith("permission denied for table conversations")


def test_a_table_that_others_made(database, bob):
    """If the table and its table of manifests exist, rights to read and write both are enough."""
    publish(PostgresSink(database), some_records(3))
    ask(database, "GRANT SELECT, INSERT, UPDATE ON conversations, cekat_exports TO bob")
    publish(PostgresSink(bob), some_records(5))

    assert count_rows(database) == 5


def test_a_second_export(database):
    """A second export into the same table is refused, but one into another table is not."""
    with closing(PostgresSink(database)) as first, closing(PostgresSink(database)) as second:
        first.open()
        with pytest.raises(
            TargetError, match=r"^another export is writing postgresql://.*\. Run this export again"
        ):
            second.open()
        with closing(PostgresSink(database, table="other")) as other:
            other.open()
        first.publish(Given(some_records(5)), a_manifest())
        first.close()
        second.open()


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch):
    monkeypatch.setattr(module, "_TARGET_LOCK_TIMEOUT", 1)
    monkeypatch.setattr(module, "_LOCK_TIMEOUT", 1)


def test_a_row_that_is_locked(database):
    """If another transaction keeps a row locked, the export fails after the lock timeout."""
    records = some_records(5)
    publish(PostgresSink(database), records)
    with closing(psycopg.connect(database)) as other:
        other.execute("UPDATE conversations SET notes = 'mine'")

        with pytest.raises(TargetError, match="lock timeout"):
            publish(PostgresSink(database), records)


def cut(database):
    """End all other connections to a database."""
    ask(
        database,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )


def test_a_connection_that_was_lost_during_the_export(database):
    """A connection that is lost during the export is reopened, and gets the lock again."""
    with closing(PostgresSink(database)) as sink, closing(PostgresSink(database)) as second:
        sink.open()
        cut(database)
        assert sink.manifest() is None
        cut(database)
        sink.publish(Given(some_records(5)), a_manifest())

        assert count_rows(database) == 5
        with pytest.raises(TargetError, match="another export"):
            second.open()


def test_a_lock_that_was_lost_during_the_export(database):
    """If another export took the lock while the connection was lost, the first export fails."""
    with closing(PostgresSink(database)) as sink, closing(PostgresSink(database)) as second:
        sink.open()
        cut(database)
        second.open()

        with pytest.raises(TargetError, match="another export"):
            sink.publish(Given(some_records(5)), a_manifest())
        second.publish(Given(some_records(3)), a_manifest())
    assert count_rows(database) == 3


class Interrupted(Given):
    """Records whose iterator calls a function after some batches."""

    def __init__(self, records, do):
        super().__init__(records)
        self._do = do

    def __iter__(self):
        for number, batch in enumerate(super().__iter__()):
            if number == 7:
                self._do()
            yield batch


def test_a_connection_that_is_cut_in_the_middle(database):
    """If a write loses its connection, the export fails in one line and can be repeated."""
    records = some_records(1_200)
    publish(PostgresSink(database), records[:100])
    before = ask(database, "SELECT id, exported_at FROM conversations ORDER BY id")
    with closing(PostgresSink(database)) as sink:
        sink.open()
        with pytest.raises(TargetError, match=r"^cannot write postgresql://") as raised:
            sink.publish(Interrupted(records, lambda: cut(database)), a_manifest())

        assert "\n" not in str(raised.value)
        assert before == ask(database, "SELECT id, exported_at FROM conversations ORDER BY id")
        sink.publish(Given(records), a_manifest())
    assert count_rows(database) == 1_200


@pytest.mark.once
def test_a_server_that_stops(database, postgres):
    """A server crash during a write is reported. The next run writes the full result."""
    records = some_records(1_200)
    everything = "SELECT t::text FROM conversations t ORDER BY id"
    publish(PostgresSink(database), records)
    wanted = ask(database, everything)
    publish(PostgresSink(database, table="other"), records[:100])
    with closing(PostgresSink(database, table="other")) as sink:
        sink.open()
        with pytest.raises(TargetError, match=r"^cannot write postgresql://"):
            sink.publish(Interrupted(records, postgres.stop), a_manifest())
        with pytest.raises(TargetError, match="refused"):
            sink.publish(Given(records), a_manifest())
        postgres.start()
        assert count_rows(database, "other") == 100
        sink.publish(Given(records), a_manifest())
    assert ask(database, everything.replace("conversations", "other")) == wanted


def test_exports_at_the_same_time(database):
    """Exports into different tables of a new database can run at the same time."""
    sinks = [PostgresSink(database, table=f"t{n}") for n in range(4)]
    with ThreadPoolExecutor(len(sinks)) as pool:
        assert len([*pool.map(publish, sinks, [some_records(700)] * 4)]) == 4

    assert count_rows(database, "cekat_exports") == 4


def refused(url, **options):
    with closing(PostgresSink(url, **options)) as sink, pytest.raises(TargetError) as raised:
        sink.open()
    assert "\n" not in str(raised.value)
    return raised.value


def test_servers_that_do_not_let_one_in(database, postgres):
    """A wrong password, database, host, port or schema is reported in one line."""
    assert "password authentication failed" in str(refused(postgres.get_url(password="wrong")))
    assert 'database "none" does not exist' in str(refused(postgres.get_url(database="none")))
    assert "Connection refused" in str(refused("postgresql://ada:pw@127.0.0.1:1/x"))
    assert "host" in str(refused("postgresql://ada:pw@no-such-host.invalid/x"))
    assert 'schema "none" does not exist' in str(refused(database, table="none.conversations"))


def test_a_database_in_another_encoding(postgres):
    """A database that cannot store all characters is reported before any request."""
    with postgres.connect() as connection:
        connection.execute("CREATE DATABASE latin ENCODING latin1 TEMPLATE template0")

    assert "its encoding is LATIN1" in str(refused(postgres.get_url(database="latin")))


@pytest.mark.parametrize("table", ["", "a.b.c", ".a", "a.", "cekat_exports", "x.pg_y", None])
def test_names_that_no_table_has(table):
    """An impossible table name is reported before any request, in any schema."""
    with pytest.raises(ConfigurationError, match="table"):
        PostgresSink("postgresql://h/x", table=table)


@pytest.mark.parametrize(
    "url",
    [
        "",
        None,
        "mysql://ada:S3cret@host/x",
        "host=h password=S3cret",
        "postgresql://ada:S3cr@et@host/x",
        "postgresql://ada:S3cr/et@host/x",
        "postgresql://ada:S3cr/e@t@host/x",
        "postgresql://ada@host/x?password=S3cr@et",
        "postgresql://ada:S3cret%zz@host/x",
        "postgresql://ada:S3cret@host/x?no_such_option=S3cret",
        "postgresql://ada:S3cret@host:S3cret/x",
        "postgresql://host:S3cret/x",
    ],
)
def test_urls_that_are_none(url):
    """An invalid or ambiguous URL is refused, and the error does not show the URL."""
    with pytest.raises(ConfigurationError, match=r"^url") as raised:
        PostgresSink(url)

    for error in chain(raised.value):
        assert not {"S3c", "e@t", "et@"} & {str(error)[n : n + 3] for n in range(len(str(error)))}


@pytest.mark.parametrize(
    "url,shown",
    [
        ("postgresql://ada:S3cret@db.example:5433/crm", "postgresql://ada@db.example:5433/crm"),
        ("postgres://db/crm?user=ada&password=S3cret", "postgresql://ada@db/crm"),
        ("postgresql://db/crm?sslmode=require&sslpassword=S3cret", "postgresql://db/crm"),
        ("postgresql:///crm?host=/run/postgres", "postgresql://%2Frun%2Fpostgres/crm"),
        ("postgresql://a:S3cret@h1:1,h2:2/crm", "postgresql://a@h1:1,h2:2/crm"),
        ("postgresql://a%40b:S3cret@[::1]:5/c%20m", "postgresql://a%40b@[::1]:5/c%20m"),
        ("postgresql://?service=mine&passfile=S3cret", "postgresql:///?service=mine"),
    ],
)
def test_the_target_has_no_secrets(url, shown):
    """The displayed target is a URL of the same database, without secrets."""
    sink = PostgresSink(url)

    assert sink.target == shown
    assert repr(sink) == f"PostgresSink({shown!r}, table='conversations')"
    assert sink.checkpoint is None


def test_the_password_is_in_no_text(database, postgres):
    """No error, cause of an error, manifest or table contains the password."""
    errors = []
    with closing(PostgresSink(database)) as sink:
        sink.open()
        with pytest.raises(TargetError) as raised:
            sink.publish(Interrupted(some_records(900), lambda: cut(database)), a_manifest())
        errors.append(raised.value)
    errors.append(refused(postgres.get_url("nobody")))
    errors.append(refused(postgres.get_url("ada", postgres.password, "none")))
    publish(PostgresSink(database), some_records(3))

    texts = [f"{e} {e!r}" for error in errors for e in chain(error)]
    texts += [str(ask(database, "SELECT * FROM cekat_exports")), repr(sink), sink.target]
    for secret in (postgres.password, quote(postgres.password, safe=""), postgres.password[:6]):
        assert not [text for text in texts if secret in text]


def test_a_server_that_sends_the_password_back(monkeypatch):
    """The password is hidden even if the server repeats it in an error."""

    def connect(**options):
        raise psycopg.OperationalError(f"FATAL: no {options['password']}\nnor a%2Fb%2Bc")

    monkeypatch.setattr(psycopg, "connect", connect)

    assert str(refused("postgresql://ada:a%2Fb+c@h/x")).endswith(": FATAL: no *** nor ***")
