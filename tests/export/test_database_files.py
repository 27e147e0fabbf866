"""Database files: a target is a complete export or does not exist."""

# ruff: noqa: S603 - the processes are our own program

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest
from support.effort import EFFORT
from support.sinks import Given, a_manifest, list_names, publish, some_records

from cekat_async import TargetError
from cekat_async.export import sink_for

TESTS = Path(__file__).parents[1]
NAMES = ["x.sqlite", "x.duckdb"]
each_name = pytest.mark.parametrize("name", NAMES)
posix_only = pytest.mark.skipif(os.name != "posix", reason="a matter of POSIX systems")


def connect(path):
    if path.suffix == ".sqlite":
        return closing(sqlite3.connect(path, isolation_level=None))
    import duckdb  # noqa: PLC0415 - an extra

    return closing(duckdb.connect(str(path)))


def rows_in(path):
    """Return the number of rows of the table, or None if there is no file."""
    if not path.exists():
        return None
    with connect(path) as database:
        return database.execute("SELECT count(*) FROM conversations").fetchall()[0][0]


# The target's name


@each_name
def test_the_name_appears_when_the_database_is_complete(tmp_path, name):
    """The target does not exist while the first export writes it."""
    path, seen = tmp_path / name, set()

    class Watched(Given):
        def __iter__(self):
            for batch in super().__iter__():
                seen.add(path.exists())
                yield batch
            seen.add(path.exists())

    with closing(sink_for(path)) as sink:
        publish(sink, Watched(some_records(700)))

    assert seen == {False}
    assert rows_in(path) == 700
    assert list_names(tmp_path) == [name]


PUBLISHING = """
import json, os, resource, sys
from support import killing
from support.sinks import publish, some_records
from cekat_async import TargetError
from cekat_async.export import sink_for
for name in ("x.sqlite", "x.duckdb"):
    sink_for(name)  # imports the library, so that no child has to
calls = {"execute", "executemany", "fetchall", "connect", "fsync", "replace", "unlink", "close"}
records = some_records(700)
for line in sys.stdin:
    job = json.loads(line)
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        said = ""
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest"], resource.RLIM_INFINITY))
        steps = killing.steps_counted(job["kill_at"], calls)
        try:
            publish(sink_for(job["target"]), records[:job["count"]])
        except TargetError as error:
            said = str(error)
        sys.setprofile(None)
        os.write(writer, json.dumps([steps[0], said]).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as answer:
        print(answer.read() or "null", flush=True)
"""


@pytest.fixture(scope="module")
def publishing():
    """A function that publishes in a child process and returns how that process ended.

    The result is the number of steps and the error, or None if the process was killed. The process
    is killed at step ``kill_at``. With 0, the process only counts its steps, which is slow.
    """
    command = [sys.executable, "-c", PUBLISHING]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=TESTS,
    ) as process:

        def publishing(target, count=300, *, kill_at=None, largest=-1):
            job = {"target": str(target), "count": count, "kill_at": kill_at, "largest": largest}
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield publishing
        process.stdin.close()


@posix_only
@pytest.mark.once
@pytest.mark.timeout(600)
@each_name
def test_killed_at_any_step_of_the_first_export(tmp_path, name, publishing):
    """After a kill, the target is missing or complete. The next export removes all other files."""
    steps, _ = publishing(tmp_path / name, 60, kill_at=0)
    outcomes = []
    for step in range(1, steps + 1, max(1, steps // (4 * EFFORT))):
        path = tmp_path / str(step) / name
        path.parent.mkdir()
        assert publishing(path, 60, kill_at=step) is None
        outcomes.append(rows_in(path))
        left = set(list_names(path.parent)) - {name, f"{name}.cekat.lock"}
        assert {one for one in left if not one.startswith(f"{name}.new")} == set()
        publishing(path, 60)
        assert (rows_in(path), list_names(path.parent)) == (60, [name])

    assert None in outcomes
    assert {*outcomes} <= {None, 60}


@posix_only
@each_name
@pytest.mark.parametrize("largest", [1, 100_000, 600_000])
def test_files_that_may_not_grow(tmp_path, name, largest, publishing):
    """If the database exceeds the allowed file size, the export fails and leaves no target."""
    path = tmp_path / name
    _, said = publishing(path, largest=largest)

    assert rows_in(path) == (None if said else 300)
    assert list_names(tmp_path) == ([] if said else [name])
    if said:
        assert re.match(rf"cannot write .*{re.escape(name)}", said)
        assert "\n" not in said


@pytest.fixture
def disk(tmp_path):
    """A function that makes a file system of a given size."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def disk(kilobytes):
        command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
        with suppress(OSError):
            if not subprocess.run(command, check=False, capture_output=True).returncode:
                return folder
        pytest.skip("this user may not mount a file system")

    def room(kilobytes):
        command = ["mount", "-o", f"remount,size={kilobytes}k", str(folder)]
        subprocess.run(command, check=True)

    disk.room = room
    yield disk
    subprocess.run(["umount", str(folder)], check=False, capture_output=True)  # noqa: S607


@posix_only
@each_name
@pytest.mark.parametrize("kilobytes", [8, 500, 900, 1_300] if EFFORT > 1 else [8, 900])
def test_a_full_disk_at_the_first_export(disk, name, kilobytes, publishing):
    """If the disk is full, the export leaves no target and no other file that takes up space."""
    folder = disk(kilobytes)
    _, said = publishing(folder / name)

    assert rows_in(folder / name) == (None if said else 300)
    assert list_names(folder) == ([] if said else [name])
    assert not said or said.startswith("cannot write ")
    disk.room(8_000)
    assert publishing(folder / name)[1] == ""
    assert list_names(folder) == [name]


@posix_only
@each_name
@pytest.mark.parametrize("more", [0, 60, 250, 1_000] if EFFORT > 1 else [0, 250])
def test_a_full_disk_while_it_is_merged(disk, name, more, publishing):
    """After a successful merge, the file itself has the new rows.

    After a failed merge, the next run adds them.
    """
    folder = disk(8_000)
    path = folder / name
    publishing(path, 100)
    disk.room(sum(one.stat().st_size for one in folder.iterdir()) // 1024 + more)
    _, said = publishing(path, 700)

    if said:
        assert said.startswith("cannot write ")
    else:
        assert list_names(folder) == [name]
    # After a failure, the file has the old rows or all rows.
    disk.room(8_000)
    assert rows_in(path) in ([100, 700] if said else [700])
    assert publishing(path, 700)[1] == ""
    assert (list_names(folder), rows_in(path)) == ([name], 700)


@posix_only
@each_name
def test_the_file_is_for_its_owner_alone(tmp_path, name):
    """Only the owner can read a new file. An existing file keeps its mode."""
    path = tmp_path / name
    publish(sink_for(path), some_records(5))
    assert path.stat().st_mode & 0o777 == 0o600

    path.chmod(0o640)
    inode = path.stat().st_ino
    publish(sink_for(path), some_records(9))
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.stat().st_ino == inode


# Verification


@each_name
def test_a_database_that_does_not_read_as_it_was_written(tmp_path, name, monkeypatch):
    """If the new database cannot be read back, the export fails and the target is not replaced."""
    path = tmp_path / name
    sink = sink_for(path)
    flush_log = type(sink).flush_log

    def damaging(self, opened):
        flush_log(self, opened)
        opened.execute("DELETE FROM conversations WHERE id = (SELECT min(id) FROM conversations)")

    monkeypatch.setattr(type(sink), "flush_log", damaging)
    with closing(sink), pytest.raises(TargetError, match="299 rows instead of 300"):
        publish(sink, some_records(300))
    assert list_names(tmp_path) == []


@each_name
@pytest.mark.parametrize("first", [True, False])
def test_a_database_that_has_the_manifest_of_another_export(tmp_path, name, monkeypatch, first):
    """The export succeeds only if the file contains the manifest of this export."""
    path = tmp_path / name
    if not first:
        publish(sink_for(path), some_records(3))
    sink = sink_for(path)
    flush_log = type(sink).flush_log

    def damaging(self, opened):
        opened.execute("UPDATE cekat_exports SET manifest = '{}'")
        flush_log(self, opened)

    monkeypatch.setattr(type(sink), "flush_log", damaging)
    with closing(sink), pytest.raises(TargetError, match="reading it gives another result"):
        publish(sink, some_records(300))


@each_name
def test_damaged_pages_are_noticed(tmp_path, name, monkeypatch):
    """A file whose bytes changed on the way to the disk does not become the target."""
    path = tmp_path / name
    sink = sink_for(path)
    connect, opened = type(sink).connect, []

    def damaging(self, new):
        opened.append(new)
        if len(opened) == 3:  # after open() and publish()
            data = bytearray(new.read_bytes())
            for place in range(len(data) // 4, len(data) * 3 // 4, 4096):
                data[place] ^= 0xFF
            new.write_bytes(data)
        return connect(self, new)

    monkeypatch.setattr(type(sink), "connect", damaging)
    with closing(sink), pytest.raises(TargetError):
        publish(sink, some_records(300))
    assert opened == [tmp_path / f"{name}.new"] * 3
    assert list_names(tmp_path) == []


# Existing targets


@each_name
def test_an_empty_file_is_replaced(tmp_path, name):
    """An empty file, such as ``touch`` makes, becomes the database and keeps its mode."""
    path = tmp_path / name
    path.touch()
    if os.name == "posix":
        path.chmod(0o640)
    with closing(sink_for(path)) as sink:
        sink.open()
        assert sink.manifest() is None
        assert path.stat().st_size == 0
        sink.publish(Given(some_records(5)), a_manifest())

    assert (rows_in(path), list_names(tmp_path)) == (5, [name])
    assert os.name != "posix" or path.stat().st_mode & 0o777 == 0o640


@each_name
def test_a_database_without_tables(tmp_path, name):
    """An existing database is merged in place, even if it has no tables or is from version 0.1."""
    path = tmp_path / name
    with connect(path) as database:
        database.execute("CREATE TABLE mine (a INTEGER)")
        database.execute("DROP TABLE mine")
    publish(sink_for(path), some_records(5))

    assert (rows_in(path), list_names(tmp_path)) == (5, [name])


@posix_only
@each_name
def test_a_link_to_nothing_yet(tmp_path, name):
    """A dangling link is kept, and the database is created at the path to which it points."""
    (tmp_path / "real").mkdir()
    path = tmp_path / name
    path.symlink_to(f"real/{name}")
    sink = sink_for(path)
    publish(sink, some_records(5))

    assert path.is_symlink()
    assert (rows_in(path), list_names(tmp_path / "real")) == (5, [name])
    assert sink.checkpoint == tmp_path / "real" / f"{name}.checkpoint"
    assert sink.target == str(path)


@each_name
def test_a_file_that_is_no_database(tmp_path, name):
    """A file that is no database is refused and not changed, and no lock file is left."""
    path = tmp_path / name
    path.write_bytes(b"no database, " * 1000)

    with pytest.raises(TargetError, match=r"not a (valid DuckDB )?database") as refused:
        sink_for(path).open()
    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith(": move it away, or choose another target")
    assert path.read_bytes() == b"no database, " * 1000
    assert list_names(tmp_path) == [name]


@each_name
@pytest.mark.parametrize(
    "place, reason",
    [
        ("folder", "it is a folder"),
        ("nowhere", "there is no folder"),
        pytest.param("pipe", "not a regular file", marks=posix_only),
    ],
)
def test_a_place_for_no_database(tmp_path, name, place, reason):
    """A target that is a folder, a pipe, or a path in a missing folder is refused."""
    path = tmp_path / name
    if place == "folder":
        path.mkdir()
    elif place == "pipe":
        os.mkfifo(path)
    else:
        path = tmp_path / "nowhere" / name

    with pytest.raises(TargetError, match=reason):
        sink_for(path).open()


REMAINS = [("x.sqlite", "-journal"), ("x.sqlite", "-wal"), ("x.duckdb", ".wal")]


@pytest.mark.parametrize("name, suffix", REMAINS)
@pytest.mark.parametrize("empty", [True, False], ids=["empty file", "no file"])
def test_a_log_without_its_database(tmp_path, name, suffix, empty):
    """A leftover write-ahead log of another database is reported and not applied."""
    path = tmp_path / name
    if empty:
        path.touch()
    (tmp_path / f"{name}{suffix}").write_bytes(b"of an earlier one")

    with closing(sink_for(path)) as sink, pytest.raises(TargetError, match="move it away"):
        sink.open()
    assert (tmp_path / f"{name}{suffix}").read_bytes() == b"of an earlier one"


@each_name
def test_leftovers_of_a_killed_export_are_removed(tmp_path, name):
    """The next export removes the files that a killed export left next to the target."""
    suffixes = ["-journal", "-wal", "-shm"] if name == "x.sqlite" else [".wal"]
    path = tmp_path / name
    for there in (False, True):
        for suffix in ["", *suffixes]:
            (tmp_path / f"{name}.new{suffix}").write_bytes(b"half of it")
        if name == "x.duckdb":
            (tmp_path / f"{name}.new.tmp").mkdir()
            (tmp_path / f"{name}.new.tmp" / "duckdb_temp_storage-0.tmp").write_bytes(b"spilled")
        assert path.exists() == there
        publish(sink_for(path), some_records(5))

        assert (rows_in(path), list_names(tmp_path)) == (5, [name])


# Write-ahead logs


@each_name
def test_a_log_is_emptied_into_the_file(tmp_path, name):
    """After a merge, the rows are in the file itself, even if another connection is open."""
    path = tmp_path / name
    copy = tmp_path / f"copy{path.suffix}"
    publish(sink_for(path), some_records(5))
    with connect(path) as other:
        if name == "x.sqlite":
            other.execute("PRAGMA journal_mode = wal")
        assert other.execute("SELECT count(*) FROM conversations").fetchall() == [(5,)]
        publish(sink_for(path), some_records(300))

        copy.write_bytes(path.read_bytes())
        assert rows_in(copy) == 300
    assert list_names(tmp_path) == [copy.name, name]


def test_a_write_ahead_log_that_somebody_reads(tmp_path, monkeypatch):
    """If another connection is reading, the export succeeds and leaves its rows in the log."""
    monkeypatch.setattr("cekat_async.export.sinks.databases.sqlite._BUSY_TIMEOUT", 0.05)
    path = tmp_path / "x.sqlite"
    publish(sink_for(path), some_records(5))
    with connect(path) as other:
        other.execute("PRAGMA journal_mode = wal")
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM conversations").fetchall() == [(5,)]
        publish(sink_for(path), some_records(300))

        assert other.execute("SELECT count(*) FROM conversations").fetchall() == [(5,)]
        other.execute("COMMIT")
        assert other.execute("SELECT count(*) FROM conversations").fetchall() == [(300,)]
    assert list_names(tmp_path) == ["x.sqlite"]
