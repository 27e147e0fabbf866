"""DuckDB: file modes, SQL types, and reported failures."""

import os
import stat
import subprocess
import sys
from contextlib import closing

import pytest
from support.sinks import Given, publish, some_records

from cekat_async import TargetError, decode_conversation
from cekat_async.export.sinks.databases.duckdb import DuckdbSink

duckdb = pytest.importorskip("duckdb", reason="no duckdb: it comes with the extra 'duckdb'")

HOLDER = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "reads")
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "conversations.duckdb"


def ask(path, statement):
    with closing(duckdb.connect(str(path))) as connection:
        return connection.execute(statement).fetchall()


@pytest.mark.skipif(os.name != "posix", reason="a matter of POSIX systems")
def test_temporary_files_are_private(path):
    """Only their owner can read the log and the spilled data."""
    modes, new = {}, path.with_name(f"{path.name}.new")

    class Watched(Given):
        def __iter__(self):
            yield from super().__iter__()
            modes.update({p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()})

    for written in (new, path):  # for a new file and for an existing one
        modes.clear()
        publish(DuckdbSink(path), Watched(some_records(600)))

        wanted = {written.name: 0o600, f"{written.name}.wal": 0o600, f"{written.name}.tmp": 0o700}
        modes.pop(f"{path.name}.cekat.lock")
        assert modes == wanted
        assert list(path.parent.iterdir()) == [path]


def test_sql_reads_its_types(path):
    """In SQL, times have a time type, and JSON has the type JSON."""
    records = some_records(200)
    publish(DuckdbSink(path), records)
    wanted = [decode_conversation(record) for record in records]

    (found,) = ask(
        path,
        "SELECT epoch_us(min(created_at)), sum(json_array_length(labels)), "
        "count(additional_data->>'business_name'), count(raw->>'$.id') FROM conversations",
    )

    first = min(c.created_at for c in wanted)
    names = [c for c in wanted if "business_name" in (c.additional_data or {})]
    assert found[0] == first.timestamp() * 1e6
    assert found[1:] == (sum(len(c.labels) for c in wanted), len(names), len(wanted))


@pytest.mark.parametrize("use", ["writes", "reads"])
def test_a_file_that_another_process_has(path, use):
    """A file that another process has open is reported before any request, in one line."""
    publish(DuckdbSink(path), some_records(5))
    command = [sys.executable, "-c", HOLDER, str(path), use]
    with subprocess.Popen(  # noqa: S603 - our own program
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"open\n"

        with pytest.raises(TargetError, match=r"^cannot write .*lock.*") as raised:
            DuckdbSink(path).open()
        holder.stdin.close()

    assert "\n" not in str(raised.value)
    with closing(DuckdbSink(path)) as sink:
        sink.open()


def test_settings_that_are_not_its_own(path):
    """A user's connection to the same file keeps its own memory limit."""
    with closing(duckdb.connect(str(path))) as own:
        own.execute("SET memory_limit = '2GB'")
        setting = "SELECT current_setting('memory_limit')"
        before = own.execute(setting).fetchall()

        publish(DuckdbSink(path), some_records(5))

        assert own.execute(setting).fetchall() == before


def test_a_reader_during_the_export(path):
    """A connection of the same process reads the old rows while the export is writing."""
    publish(DuckdbSink(path), some_records(100))
    seen = []

    class Watched(Given):
        def __iter__(self):
            for batch in super().__iter__():
                seen.append(ask(path, "SELECT count(*) FROM conversations"))
                yield batch

    publish(DuckdbSink(path), Watched(some_records(200)))

    assert seen == [[(100,)]] * 2


def test_another_writer_in_between(path):
    """If another writer changes rows during the export, the conflict is reported.

    The changed rows stay as they are.
    """
    records = some_records(300)
    publish(DuckdbSink(path), records[:100])
    with closing(duckdb.connect(str(path))) as other:

        class Meddled(Given):
            def __iter__(self):
                for batch in super().__iter__():
                    yield batch
                    other.execute("UPDATE conversations SET notes = 'mine'")

        with pytest.raises(TargetError, match="onflict"):
            publish(DuckdbSink(path), Meddled(records))
        notes = "SELECT DISTINCT notes, count(*) OVER () FROM conversations"
        assert other.execute(notes).fetchall() == [("mine", 100)]
