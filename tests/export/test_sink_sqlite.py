"""SQLite: SQL functions can read the columns, and locked or damaged files are reported."""

import sqlite3
from contextlib import closing
from datetime import datetime

import pytest
from support.sinks import Given, a_manifest, publish, some_records

from cekat_async import TargetError, decode_conversation
from cekat_async.export.sinks.databases import sqlite
from cekat_async.export.sinks.databases.sqlite import SqliteSink


@pytest.fixture
def path(tmp_path):
    return tmp_path / "conversations.sqlite"


def ask(path, statement, *values):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement, values).fetchall()


def test_sqlites_own_functions_read_it(path):
    """SQLite's date functions can read the times, and times sort correctly as text.

    Its JSON functions read JSON.
    """
    records = some_records(100)
    publish(SqliteSink(path), records)

    rows = ask(
        path,
        "SELECT id, strftime('%s', created_at), json_array_length(labels), created_at "
        "FROM conversations WHERE datetime(exported_at) = '2026-04-10 05:47:16' "
        "AND json_valid(raw) ORDER BY created_at",
    )
    wanted = {c.id: c for c in map(decode_conversation, records)}
    moments = [datetime.fromisoformat(row[3]) for row in rows]
    assert moments == sorted(c.created_at for c in wanted.values())
    assert {len(row[3]) for row in rows} == {len("2026-04-10T05:47:16.771000Z")}
    for id_, seconds, labels, _ in rows:
        assert int(seconds) == int(wanted[id_].created_at.timestamp())
        assert labels == len(wanted[id_].labels)


def test_the_journal_is_the_databases_own(path):
    """A database with a write-ahead log keeps that log, and its other content is unchanged."""
    ask(path, "PRAGMA journal_mode = wal")
    ask(path, "CREATE TABLE mine (a)")
    publish(SqliteSink(path), some_records(5))

    assert ask(path, "PRAGMA journal_mode") == [("wal",)]
    assert ask(path, "SELECT count(*) FROM mine") == [(0,)]


def test_more_than_fits_into_memory(path, monkeypatch):
    """A transaction that does not fit into memory is rolled back from the journal on disk."""
    publish(SqliteSink(path), some_records(50))
    before = ask(path, "SELECT * FROM conversations")
    large = [b'{"id":"%d","notes":"%s"}' % (n, b"x" * 300_000) for n in range(300)]

    with pytest.raises(RuntimeError):
        publish(SqliteSink(path), Given(large, batch=10, fail_after=29, error=RuntimeError()))

    assert ask(path, "SELECT * FROM conversations") == before


def test_a_locked_database(path, monkeypatch):
    """A database that another program keeps locked is reported in one line and is unchanged."""
    publish(SqliteSink(path), some_records(5))
    monkeypatch.setattr(sqlite, "_BUSY_TIMEOUT", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(TargetError, match=r"database is locked$"):
            SqliteSink(path).open()
        with pytest.raises(TargetError, match=r"database is locked$"):
            SqliteSink(path).publish(Given([]), a_manifest())
        assert SqliteSink(path).manifest() is not None


def test_a_reader_that_keeps_the_new_from_becoming_visible(path, monkeypatch):
    """If a reader never ends, the export fails when it commits, and the old rows stay."""
    publish(SqliteSink(path), some_records(5))
    monkeypatch.setattr(sqlite, "_BUSY_TIMEOUT", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM conversations").fetchall() == [(5,)]

        with pytest.raises(TargetError, match=r"database is locked$"):
            publish(SqliteSink(path), some_records(9))
        other.execute("COMMIT")

    assert ask(path, "SELECT count(*) FROM conversations") == [(5,)]
    publish(SqliteSink(path), some_records(9))
    assert ask(path, "SELECT count(*) FROM conversations") == [(9,)]


def test_a_database_that_may_not_be_written(path, monkeypatch):
    """A read-only database is reported."""
    publish(SqliteSink(path), some_records(5))
    connect = sqlite3.connect  # for root, who may do everything, a file mode is not enough
    monkeypatch.setattr(
        sqlite3, "connect", lambda p, **o: connect(f"file:{p}?mode=ro", uri=True, **o)
    )

    with pytest.raises(TargetError, match=r"attempt to write a readonly database$"):
        SqliteSink(path).open()


def test_an_error_of_the_records_is_not_the_targets(path):
    """If reading the records raises an SQLite error, the target is not blamed for it."""
    error = sqlite3.OperationalError("the checkpoint's own")

    with pytest.raises(sqlite3.OperationalError) as raised:
        publish(SqliteSink(path), Given(some_records(500), fail_after=3, error=error))

    assert raised.value is error


def test_names_are_no_files_in_memory(tmp_path, monkeypatch):
    """``:memory:`` is an ordinary file name."""
    monkeypatch.chdir(tmp_path)
    publish(SqliteSink(":memory:"), some_records(5))

    assert ask(tmp_path / ":memory:", "SELECT count(*) FROM conversations") == [(5,)]
