"""A checkpoint is durable and complete, and only one process at a time uses it."""

# ruff: noqa: S603 - the processes are our own program

import gc
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.effort import EFFORT
from support.exports import read_files
from support.sinks import MOMENT

from cekat_async import CheckpointError, Position, TargetError
from cekat_async.export.checkpoint import Checkpoint, FetchedPage, Job, count_conversations
from cekat_async.export.checkpoint_file import FORMAT
from cekat_async.export.manifest import Counts, Filters, Partition
from cekat_async.export.sinks.base import Stopped

JOB = Job(account="an account", target="a target", filters=Filters(), began=MOMENT, version="7")
OTHER_JOB = Job(account="another", target="a target", filters=Filters(), began=MOMENT)
NEW, OVER = Position(), Position.from_bytes(b'{"stage":"settled"}')
# SQLite refuses to store this page, because its record has no key.
UNWRITABLE = FetchedPage(None, b"{}\n", [None], OVER)
posix_only = pytest.mark.skipif(os.name != "posix", reason="a matter of POSIX systems")
not_root = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere"
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.checkpoint"


@contextmanager
def opened(path, *, restart=False, done=False):
    """An open checkpoint.

    A new checkpoint is begun with ``JOB``. At the end of the block, the checkpoint is closed.
    """
    checkpoint = Checkpoint(path)
    try:
        if checkpoint.open(restart=restart) is None:
            checkpoint.begin(JOB, {None: NEW})
        yield checkpoint
    finally:
        checkpoint.close(done=done)


def page(*names, inbox_id=None, version=0, position=NEW):
    """Return a page with one record per name. Each record contains its version."""
    json_lines = b"".join(line + b"\n" for line in lines(*names, version=version))
    return FetchedPage(inbox_id, json_lines, list(names), position)


def lines(*names, version=0):
    """Return the records that ``page`` contains for the same names and version."""
    return [b'{"id":"%s","v":%d}' % (str(name).encode(), version) for name in names]


def read_records(checkpoint):
    """Return the latest records, and check that ``find_repeats`` counts all other records."""
    repeats = checkpoint.find_repeats()
    records = [record for batch in checkpoint.latest() for record in batch]
    assert all(batch for batch in checkpoint.latest())
    kept = sum(partition.records for partition in checkpoint.partitions().values())
    assert len(records) == kept - repeats
    return records


def fill(path, pages=20):
    """Write many records to a checkpoint, and return them."""
    with opened(path) as checkpoint:
        for number in range(pages):
            names = [f"{number}-{index}" for index in range(50)]
            checkpoint.add_pages([page(*names, position=OVER)], Counts(fetched=50 * (number + 1)))
        return read_records(checkpoint)


# Content


def test_the_stored_content_is_read_again(path):
    """A reopened checkpoint has the last stored job, records, positions, counts and errors."""
    counts = Counts(runs=2, pages=4, fetched=4, unknown_fields={"x": 3}, seconds=1.25)
    checkpoint = Checkpoint(path)
    assert checkpoint.open() is None
    checkpoint.begin(JOB, {None: NEW, "a": NEW, "b": NEW})
    checkpoint.add_pages([page("1", "2", inbox_id="a"), page("3", inbox_id="b")], Counts(pages=2))
    checkpoint.add_pages([page("4", inbox_id="a", position=OVER)], Counts(pages=3))
    checkpoint.add_pages([page(inbox_id="a", position=OVER)], counts)
    checkpoint.put_errors({"b": "it is gone"})
    checkpoint.close()

    again = Checkpoint(path)
    assert again.open() == JOB
    assert again.counts() == counts
    assert again.partitions() == {
        None: Partition(position=NEW),
        "a": Partition(inbox_id="a", position=OVER, pages=3, records=3),
        "b": Partition(inbox_id="b", position=NEW, pages=1, records=1, error="it is gone"),
    }
    assert read_records(again) == [*lines("1", "2", "3", "4")]
    again.put_errors({})
    again.put_counts(Counts(runs=3))
    again.put_job(OTHER_JOB)
    again.close()

    again = Checkpoint(path)
    assert again.open() == OTHER_JOB
    assert (again.counts(), again.partitions()["b"].error) == (Counts(runs=3), None)
    assert read_records(again) == [*lines("1", "2", "3", "4")]
    again.close()


def test_later_versions_replace_earlier_ones(path):
    """The checkpoint returns the last version of each record, in the order of arrival."""
    with opened(path) as checkpoint:
        checkpoint.add_pages([page("a", "b", "c"), page("d", "b", version=1)], Counts())
        checkpoint.add_pages([page("a", version=2)], Counts())

        assert checkpoint.find_repeats() == 2
        assert list(checkpoint.latest()) == [
            lines("c"), lines("d", "b", version=1), lines("a", version=2),
        ]  # fmt: skip
        assert checkpoint.known(["a", "c", "z", b"a"]) == {"a", "c"}


def test_a_key_may_be_text_or_bytes(path):
    """A record identified by its bytes is not confused with an id of the same characters."""
    keys = ["a", b"a", "1", b"1", "", "A", "a\0b", "\N{WAVING HAND SIGN}", b"\xff\0"]
    with opened(path) as checkpoint:
        for version in range(2):
            checkpoint.add_pages([page(*keys, version=version)], Counts())
            checkpoint.index_keys()

            assert checkpoint.find_repeats() == version * len(keys)
            assert checkpoint.known([*keys, "other", b"\xfe"]) == set(keys)
            assert read_records(checkpoint) == lines(*keys, version=version)
        assert checkpoint.known(set()) == set()


@pytest.mark.parametrize("count", [400, 401, 1001])
def test_a_page_of_many_records(path, count):
    """Each record of a large page is stored, and later replaced, under its own key."""
    with opened(path) as checkpoint:
        for version in range(2):
            checkpoint.add_pages([page(*map(str, range(count)), version=version)], Counts())

        assert read_records(checkpoint) == lines(*range(count), version=1)


def test_a_page_takes_few_statements(path):
    """Storing a page of a hundred records takes as many SQL statements as storing one record."""
    with opened(path) as checkpoint, checkpoint._file.reading() as database:
        statements = []
        database.set_trace_callback(statements.append)
        checkpoint.add_pages([page("a")], Counts())
        few = len(statements)
        checkpoint.add_pages([page(*map(str, range(100)))], Counts())

        assert len(statements) == 2 * few


_NAMES = st.one_of(st.sampled_from("abcdefgh"), st.sampled_from([b"a", b"b", b"\0\xff"]))
_STEPS = st.lists(
    st.one_of(
        st.lists(st.lists(_NAMES, max_size=6), min_size=1, max_size=4),
        st.sampled_from(["reopen", "kill", "fail"]),
    ),
    max_size=12,
)


@settings(max_examples=30 * EFFORT)
@given(steps=_STEPS)
def test_any_batches(steps):
    """The checkpoint has each name's last record after any series of batches, resumes and kills."""
    model, place, version, kept = {}, 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "0")
        checkpoint = _begun(path)
        for number, step in enumerate(steps):
            if step == "reopen":
                checkpoint.close()
                checkpoint = _found_again(path)
            elif step == "kill":
                path = _as_a_kill_leaves_it(checkpoint, path, Path(folder, f"killed-{number}"))
                checkpoint = _found_again(path)
            elif step == "fail":
                with pytest.raises(CheckpointError):
                    checkpoint.add_pages([page("a", "z", version=-1), UNWRITABLE], Counts())
            else:
                version += 1
                pages = [page(*names, version=version) for names in step]
                kept += sum(map(len, step))
                checkpoint.add_pages(pages, Counts(fetched=kept))
                for one in pages:
                    for name, line in zip(one.keys, one.json_lines.splitlines(), strict=True):
                        place += 1
                        model[name] = (place, line)
        records = read_records(checkpoint)
        assert checkpoint.counts().fetched == kept
        checkpoint.close()

    assert records == [line for _, line in sorted(model.values())]


def _begun(path):
    checkpoint = Checkpoint(path)
    assert checkpoint.open() is None
    checkpoint.begin(JOB, {None: NEW})
    checkpoint.add_pages([page()], Counts())
    return checkpoint


def _found_again(path):
    checkpoint = Checkpoint(path)
    assert checkpoint.open() == JOB
    return checkpoint


def _as_a_kill_leaves_it(checkpoint, path, copy):
    """Copy the checkpoint in the middle of a transaction that is partly on the disk."""
    database = checkpoint._file._get_database()
    database.execute("PRAGMA cache_size = 1")
    database.execute("BEGIN")
    for number in range(20):
        database.execute("INSERT INTO pages VALUES (?, ?)", (10_000 + number, b"z" * 3000))
    shutil.copy(path, copy)
    journal = path.with_name(path.name + "-journal")
    shutil.copy(journal, copy.with_name(copy.name + "-journal"))
    database.execute("ROLLBACK")
    checkpoint.close()
    return copy


KILLED = """
import os, sys
from pathlib import Path
import cekat_async.export.checkpoint
from cekat_async import Position
from cekat_async.export.checkpoint import Checkpoint, FetchedPage
from cekat_async.export.manifest import Counts
checkpoint = Checkpoint(Path(sys.argv[1]))
checkpoint.open()
database = checkpoint._file._get_database()
database.execute("PRAGMA cache_size = 1")
pages = [FetchedPage(None, b"x" * 9000, [f"{n}"], Position()) for n in range(200)]
cekat_async.export.checkpoint._put_counts = lambda *_: os._exit(9)
checkpoint.add_pages(pages, Counts(fetched=999))
"""


def test_killed_while_it_writes(path):
    """After a kill during a write, the checkpoint has its content from before the write."""
    records = fill(path, pages=2)
    size = path.stat().st_size
    assert _run(KILLED, path).returncode == 9
    assert path.stat().st_size > size  # so SQLite has to roll back a partial write

    with opened(path) as checkpoint:
        assert read_records(checkpoint) == records
        assert checkpoint.counts().fetched == 100
        checkpoint.put_counts(Counts(runs=2))
    with opened(path) as checkpoint:
        assert (checkpoint.counts(), read_records(checkpoint)) == (Counts(runs=2), records)
    assert [*read_files(path.parent)] == [Path(path.name)]


def _run(code, *arguments, **options):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=300, **options
    )


def test_a_failed_write_stores_nothing(path):
    """If one page cannot be stored, its whole batch is dropped, and the next batch is stored."""
    with opened(path) as checkpoint:
        checkpoint.add_pages([page("a")], Counts(fetched=1))
        with pytest.raises(CheckpointError, match="broken"):
            checkpoint.add_pages([page("b"), UNWRITABLE], Counts(fetched=3))
        checkpoint.add_pages([page("c")], Counts(fetched=2))

        assert read_records(checkpoint) == lines("a", "c")
        assert (checkpoint.counts().fetched, checkpoint.partitions()[None].position) == (2, NEW)


def test_memory_does_not_grow_with_the_records(path):
    """Records are read page by page, and each page is released before the next one is read."""
    import tracemalloc  # noqa: PLC0415 - for this test alone

    fill(path, pages=200)
    with opened(path) as checkpoint:
        checkpoint.find_repeats()
        tracemalloc.start()
        count = sum(len(batch) for batch in checkpoint.latest())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert count == 10_000
    assert peak < 100_000


class NoTemporaryFiles(sqlite3.Connection):
    """A connection that fails to create temporary files, unless it keeps them in memory."""

    def execute(self, statement, *values):
        (kept,) = super().execute("PRAGMA temp_store").fetchone()
        if kept != 2 and ("GROUP BY" in statement or "INDEX" in statement):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_GETTEMPPATH
            raise error
        return super().execute(statement, *values)


@pytest.fixture
def no_temporary_files(monkeypatch):
    connect = partial(sqlite3.connect, factory=NoTemporaryFiles)
    monkeypatch.setattr("cekat_async.export.checkpoint_file.sqlite3.connect", connect)


@pytest.mark.usefixtures("no_temporary_files")
def test_sorting_without_a_folder_for_temporary_files(path):
    """If SQLite has no folder for temporary files, it sorts in memory."""
    with opened(path) as checkpoint:
        checkpoint.add_pages([page("a", "b"), page("b", version=1)], Counts())
        checkpoint.index_keys()

        assert checkpoint.known(["b", "c"]) == {"b"}
        assert read_records(checkpoint) == [*lines("a"), *lines("b", version=1)]


def test_sorting_that_fails_otherwise(path):
    """Any other error during sorting is reported as usual."""
    with opened(path) as checkpoint:
        checkpoint.add_pages([page("a", "b")], Counts())
        checkpoint._file._database.execute("DROP TABLE names")

        with pytest.raises(CheckpointError, match="broken"):
            checkpoint.index_keys()


# Locks


@pytest.mark.parametrize("restart", [False, True], ids=["resume", "restart"])
def test_a_second_one_of_the_same_process_is_refused(path, restart):
    """Opening a checkpoint that is in use raises an error and does not disturb its first user."""
    with opened(path) as first:
        first.add_pages([page("a")], Counts(fetched=1))
        second = Checkpoint(path)
        with pytest.raises(TargetError, match=r"another export is using the checkpoint .*x\.che"):
            second.open(restart=restart)
        second.close()
        second.close(done=True)
        _refused_elsewhere(path)
        first.add_pages([page("b")], Counts(fetched=2))

        assert read_records(first) == lines("a", "b")
    with opened(path) as again:
        assert read_records(again) == lines("a", "b")


OPENING = """
import sys
from pathlib import Path
from cekat_async import CekatError
from cekat_async.export.checkpoint import Checkpoint
checkpoint = Checkpoint(Path(sys.argv[1]))
try:
    print(checkpoint.open(restart=len(sys.argv) > 2))
except CekatError as error:
    print(type(error).__name__, error)
checkpoint.close()
"""


def _refused_elsewhere(path, *arguments):
    said = _run(OPENING, path, *arguments).stdout
    assert said.startswith("TargetBusyError another export is using the checkpoint "), said


@pytest.mark.once
@pytest.mark.parametrize("arguments", [(), ("restart",)], ids=["resume", "restart"])
def test_a_second_one_of_another_process_is_refused(path, arguments):
    """While one process has a checkpoint open, no other process can open it."""
    first = Checkpoint(path)
    first.open()
    _refused_elsewhere(path, *arguments)
    first.begin(JOB, {None: NEW})
    first.add_pages([page("a")], Counts(fetched=1))
    _refused_elsewhere(path, *arguments)
    first.find_repeats()
    latest = first.latest()
    assert next(latest) == lines("a")
    _refused_elsewhere(path, *arguments)
    latest.close()
    first.close()

    assert "account='an account'" in _run(OPENING, path).stdout


@pytest.mark.parametrize("is_recreated", [False, True], ids=["gone", "begun again"])
def test_a_file_that_is_removed_before_it_is_locked(path, monkeypatch, is_recreated):
    """If a checkpoint is removed after it was opened and before it is locked, it is not used."""
    first, third = Checkpoint(path), Checkpoint(path)
    first.open()
    first.begin(JOB, {None: NEW})
    connect = sqlite3.connect

    def connect_late(*arguments, **options):
        database = connect(*arguments, **options)
        monkeypatch.undo()
        first.close(done=True)
        if is_recreated:
            third.open()
            third.begin(OTHER_JOB, {None: NEW})
        return database

    monkeypatch.setattr("sqlite3.connect", connect_late)
    second = Checkpoint(path)
    with pytest.raises(TargetError, match="another export"):
        second.open()
    second.close()

    assert path.exists() == is_recreated
    if is_recreated:
        third.add_pages([page("a")], Counts())
        assert read_records(third) == lines("a")
    third.close(done=True)


def test_opened_twice_with_restart(path):
    """A process that has the checkpoint open can restart it without releasing the lock."""
    fill(path, pages=1)
    checkpoint = Checkpoint(path)
    assert checkpoint.open() == JOB
    assert checkpoint.open(restart=True) is None
    _refused_elsewhere(path)
    checkpoint.begin(OTHER_JOB, {None: NEW})
    assert read_records(checkpoint) == []
    checkpoint.close()
    gc.collect()  # a connection left open would raise a warning here, and warnings are errors


@pytest.mark.parametrize(
    "use",
    [
        Checkpoint.counts,
        Checkpoint.partitions,
        Checkpoint.find_repeats,
        Checkpoint.index_keys,
        lambda checkpoint: checkpoint.add_pages([], Counts()),
        lambda checkpoint: list(checkpoint.latest()),
    ],
)
def test_out_of_turn(path, use):
    """Using a checkpoint that is not open raises an error and creates no file."""
    with pytest.raises(TargetError, match="is not open"):
        use(Checkpoint(path))

    assert not path.exists()


# Other files that have the checkpoint's name


def _a_foreign_database(path, *settings):
    database = sqlite3.connect(path)
    for setting in settings:
        database.execute(f"PRAGMA {setting}")
    database.execute("CREATE TABLE job (job TEXT)")
    database.execute("INSERT INTO job VALUES ('a foreign one')")
    database.commit()
    database.close()


def _of_another_format(path):
    fill(path, pages=1)
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {FORMAT + 1}")
    database.close()


def _cut_off(path):
    fill(path)
    os.truncate(path, path.stat().st_size // 2)


def _with_a_broken_job(path):
    fill(path, pages=1)
    database = sqlite3.connect(path)
    database.execute("UPDATE job SET job = X'7B22FF'")
    database.commit()
    database.close()


OBSTACLES = {
    "text": (lambda path: path.write_text("not a database, but a text\n" * 99), "broken"),
    "a line": (lambda path: path.write_text("a line\n"), "broken"),
    "foreign": (_a_foreign_database, "not a checkpoint: move it away"),
    "foreign WAL": (
        lambda path: _a_foreign_database(path, "journal_mode = WAL"), "not a checkpoint",
    ),
    "newer": (_of_another_format, r"another version of cekat_async \(format 2, this one writes 1"),
    "cut off": (_cut_off, "broken"),
    "broken job": (_with_a_broken_job, "broken"),
}  # fmt: skip


@pytest.mark.parametrize("name", OBSTACLES)
def test_a_file_that_is_no_checkpoint_is_refused_and_stays(path, name):
    """If a file is no usable checkpoint, it is kept, and a one-line error says what to do."""
    make, reason = OBSTACLES[name]
    make(path)
    before = path.read_bytes()
    checkpoint = Checkpoint(path)
    with pytest.raises(CheckpointError, match=reason) as caught:
        checkpoint.open()
    checkpoint.close()

    assert path.read_bytes() == before
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "restart=True" in str(caught.value) or "move it away" in str(caught.value)
    assert [*read_files(path.parent)] == [Path(path.name)]


@pytest.mark.parametrize("name", OBSTACLES)
def test_restart_replaces_anything(path, name):
    """With ``restart``, a new checkpoint replaces any file that has a checkpoint's name."""
    OBSTACLES[name][0](path)
    with opened(path, restart=True) as checkpoint:
        checkpoint.add_pages([page("a")], Counts(fetched=1))
        assert read_records(checkpoint) == lines("a")

    with opened(path) as checkpoint:
        assert read_records(checkpoint) == lines("a")
    assert [*read_files(path.parent)] == [Path(path.name)]


@pytest.mark.parametrize("name", OBSTACLES)
def test_restart_removes_no_file_of_another_program(tmp_path, name):
    """With ``restart``, a file with any other name is removed only if it is a checkpoint."""
    path = tmp_path / "x.sqlite"
    OBSTACLES[name][0](path)
    before = path.read_bytes()
    checkpoint = Checkpoint(path)
    if name in ("newer", "broken job"):
        assert checkpoint.open(restart=True) is None
    else:
        with pytest.raises(CheckpointError, match="so it was not removed"):
            checkpoint.open(restart=True)
        assert path.read_bytes() == before
    checkpoint.close()


@pytest.mark.parametrize("restart", [False, True], ids=["resume", "restart"])
def test_an_empty_file_is_a_new_checkpoint(path, restart):
    """An empty file, which a full disk may leave, is treated like a missing file."""
    path.touch()
    with opened(path, restart=restart) as checkpoint:
        checkpoint.add_pages([page("a")], Counts(fetched=1))

    with opened(path) as checkpoint:
        assert read_records(checkpoint) == lines("a")


@pytest.mark.parametrize("restart", [False, True], ids=["resume", "restart"])
def test_a_folder_in_its_place(path, restart):
    """A folder that has the checkpoint's name is reported and kept."""
    path.mkdir()
    checkpoint = Checkpoint(path)
    with pytest.raises(TargetError, match=r"cannot write .*x\.checkpoint"):
        checkpoint.open(restart=restart)
    checkpoint.close()

    assert path.is_dir()


def _flipped(data, chance, count):
    """Return the bytes with some of their bits inverted."""
    broken = bytearray(data)
    for _ in range(count):
        broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
    return bytes(broken)


@pytest.mark.parametrize("seed", range(8))
def test_a_broken_checkpoint_is_reported_or_read(path, seed):
    """A checkpoint with flipped bits is reported as broken, or its original content is returned.

    A checkpoint cannot detect a flipped bit inside a record or a name: SQLite has no checksum of
    its content, and the checkpoint has none either. It never returns additional records.
    """
    records = fill(path, pages=3)
    whole = path.read_bytes()
    chance = random.Random(seed)
    outcomes = set()
    for _ in range(40):
        path.write_bytes(_flipped(whole, chance, chance.choice([1, 1, 5, 50])))
        outcomes.add(_outcome(path, records))
        for left in path.parent.iterdir():
            left.unlink()

    assert outcomes <= {"reported", "same", "other"}


def _outcome(path, records):
    """Read a broken checkpoint in the order in which an export reads, and return how that ended."""
    checkpoint = Checkpoint(path)
    try:
        if checkpoint.open() is None:
            return "reported"  # like a new checkpoint, which has no table
        checkpoint.counts()
        checkpoint.partitions()
        checkpoint.add_pages([], Counts())
        checkpoint.find_repeats()
        found = [record for batch in checkpoint.latest() for record in batch]
        checkpoint.index_keys()
        checkpoint.known(["0-1", b"x"])
    except (CheckpointError, TargetError) as error:
        return "reported" if "\n" not in str(error) else "reported in several lines"
    finally:
        checkpoint.close()
    assert len(found) <= len(records)
    return "same" if found == records else "other"


def test_a_value_of_another_type_is_reported(path):
    """A number that is stored instead of a position is reported as a broken checkpoint."""
    fill(path, pages=1)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE partitions SET position = 5")
    with opened(path) as checkpoint, pytest.raises(CheckpointError, match="is broken"):
        checkpoint.partitions()


def test_a_truncated_checkpoint_is_reported(path):
    """A truncated file is reported as broken, wherever it was cut."""
    records = fill(path, pages=10)
    whole = path.read_bytes()
    for size in range(512, len(whole), 512):
        path.write_bytes(whole[:size])
        # SQLite reads a truncated last page (of 16 kB) as if the page ended with zeros.
        assert _outcome(path, records) == "reported" or size > len(whole) - 16_384


@pytest.mark.parametrize("table", ["names", "pages"])
@pytest.mark.parametrize("which", ["0", "(SELECT max(seq) FROM {})", "100"])
def test_missing_records_are_reported(path, table, which):
    """Missing rows are reported before the export is treated as complete."""
    fill(path, pages=5)
    database = sqlite3.connect(path)
    database.execute(f"DELETE FROM {table} WHERE seq = {which.format(table)}")  # noqa: S608
    database.commit()
    database.close()
    with opened(path) as checkpoint, pytest.raises(CheckpointError, match=r"broken .*missing"):
        read_records(checkpoint)


# Mode and folder


@posix_only
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_it_is_for_its_owner_alone(path, umask):
    """Only the owner can read a checkpoint and its journal, whatever the umask."""
    before = os.umask(umask)
    try:
        with opened(path) as checkpoint:
            checkpoint.add_pages([page("a")], Counts())
            modes = {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
        with opened(path, restart=True):
            modes |= {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
    finally:
        os.umask(before)

    assert modes == {0o600}


@pytest.mark.parametrize("restart", [False, True], ids=["resume", "restart"])
def test_no_folder(tmp_path, restart):
    """If the folder is missing, the error names it, and the folder is not created."""
    checkpoint = Checkpoint(tmp_path / "nowhere" / "x.checkpoint")
    with pytest.raises(TargetError, match=r"there is no folder .*nowhere") as caught:
        checkpoint.open(restart=restart)
    checkpoint.close()

    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert list(tmp_path.iterdir()) == []


@not_root
def test_a_folder_one_may_not_write_to(tmp_path, path):
    """If the folder is not writable, the error contains the system's reason."""
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(TargetError, match="Permission denied"):
            Checkpoint(path).open()
    finally:
        tmp_path.chmod(0o700)


@not_root
def test_a_checkpoint_one_may_not_write_to(path):
    """A checkpoint that is not writable is reported and not resumed."""
    fill(path, pages=1)
    path.chmod(0o400)
    checkpoint = Checkpoint(path)
    with pytest.raises(TargetError, match=r"cannot write .*x\.checkpoint: Permission denied"):
        checkpoint.open()
    checkpoint.close()


def test_one_that_is_done_or_never_began_leaves_nothing(path):
    """A finished or unused checkpoint leaves no file, and closing it twice is no error."""
    with opened(path, done=True) as checkpoint:
        checkpoint.add_pages([page("a")], Counts())
    assert list(path.parent.iterdir()) == []

    for restart in (False, True):
        checkpoint = Checkpoint(path)
        checkpoint.open(restart=restart)
        checkpoint.close()
        checkpoint.close()

        assert list(path.parent.iterdir()) == []


def test_one_without_a_page_leaves_nothing(path):
    """An export that fails before its first page leaves no checkpoint."""
    with opened(path) as checkpoint:
        checkpoint.add_pages([], Counts(runs=1))
        checkpoint.put_counts(Counts(runs=1))
    assert list(path.parent.iterdir()) == []

    # as a kill leaves it
    checkpoint = Checkpoint(path)
    checkpoint.open()
    checkpoint.begin(JOB, {None: NEW})
    checkpoint._file._database.close()
    assert path.exists()
    checkpoint = Checkpoint(path)
    assert checkpoint.open() == JOB
    checkpoint.close()
    assert list(path.parent.iterdir()) == []


def test_one_that_could_not_begin_leaves_nothing(path):
    """If ``begin`` fails, no file is left."""
    checkpoint = Checkpoint(path)
    checkpoint.open()
    with pytest.raises(CheckpointError):
        checkpoint.begin(JOB, {None: NEW, "": NEW})  # the same position twice
    checkpoint.close()

    assert list(path.parent.iterdir()) == []


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files. Other programs have no files there."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("done", [False, True])
def test_a_temporary_one_leaves_nothing(temporary, done):
    """A checkpoint without a path has no file name, so no file is left however the process ends."""
    Checkpoint(None).close()
    assert list(temporary.iterdir()) == []
    with opened(None, done=done) as checkpoint:
        checkpoint.add_pages([page("a")], Counts())
        assert read_records(checkpoint) == lines("a")
        assert list(temporary.iterdir()) == []

    assert list(temporary.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB for this test. It can grow to 8 MB."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if not (mount and umount and os.geteuid() == 0):
        pytest.skip("only root mounts a file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=2m", "none", str(folder)],
        check=False, capture_output=True,
    )  # fmt: skip
    if done.returncode:
        pytest.skip("this root may not mount a file system")

    def grow():
        subprocess.run([mount, "-o", "remount,size=8m", str(folder)], check=True)

    yield folder, grow
    subprocess.run([umount, str(folder)], check=True)


@posix_only
def test_a_full_disk(small_disk):
    """A full disk is reported. The same file can be used once there is space again."""
    folder, grow = small_disk
    path = folder / "x.checkpoint"
    with opened(path) as checkpoint:
        with pytest.raises(TargetError, match=r"cannot write .*x\.checkpoint: .*full"):  # noqa: PT012
            for number in range(500):
                checkpoint.add_pages([_big_page(number)], Counts(pages=number + 1))
        kept = checkpoint.counts().pages
        assert kept > 20
        # The same object can continue immediately.
        grow()
        checkpoint.add_pages([_big_page(kept)], Counts(pages=kept + 1))
    with opened(path) as checkpoint:
        assert checkpoint.counts().pages == kept + 1
        assert len(read_records(checkpoint)) == 20 * (kept + 1)


def _big_page(number):
    names = [f"{number}-{index}" for index in range(20)]
    return FetchedPage(None, b"".join(b"%-1000s\n" % name.encode() for name in names), names, NEW)


@posix_only
def test_a_disk_that_is_full_from_the_beginning(small_disk):
    """A disk that is already full is reported, and the failure does not block a second attempt."""
    folder, grow = small_disk
    filler, path = folder / "filler", folder / "x.checkpoint"
    with pytest.raises(OSError, match="No space"), filler.open("wb", buffering=0) as file:  # noqa: PT012
        while True:
            file.write(b"x" * 4096)
    with pytest.raises(TargetError, match=r"cannot write .*x\.checkpoint: .*full"), opened(path):
        pass
    assert not path.exists() or path.stat().st_size == 0

    grow()
    with opened(path) as checkpoint:
        checkpoint.add_pages([page("a")], Counts())
        assert read_records(checkpoint) == lines("a")


# Counting conversations


def test_each_conversation_counts_once(tmp_path):
    """A closed checkpoint counts a conversation once, however often it was fetched."""
    path = tmp_path / "a name with spaces & 100% ?#.checkpoint"
    with opened(path) as checkpoint:
        pages = [page("a", "b"), page("b", "c", version=1), page("a")]
        checkpoint.add_pages(pages, Counts(fetched=5))
        # A record without an id is identified by its bytes.
        malformed = [b"null", b"null", b"7"]
        checkpoint.add_pages(
            [FetchedPage(None, b"null\nnull\n7\n", malformed, NEW)], Counts(fetched=8)
        )

    assert count_conversations(path) == 3 + 2


@pytest.mark.parametrize("content", [None, b"", b"no database" * 999], ids=["absent", "", "other"])
def test_without_a_checkpoint_there_is_no_count(tmp_path, content):
    """Without a readable checkpoint the count is None, and no file is created."""
    path = tmp_path / "a name with spaces & 100% ?#"
    if content is not None:
        path.write_bytes(content)

    assert count_conversations(path) is None
    assert path.exists() == (content is not None)


def test_counting_that_takes_too_long_is_given_up(path):
    """Counting stops after a short time, so that a user at a terminal does not wait for it."""
    fill(path, pages=400)

    assert count_conversations(path) == 400 * 50
    assert count_conversations(path, patience=-1) is None


def test_an_interrupted_checkpoint_is_unlocked_when_it_is_closed(path):
    """Another run can open the checkpoint while the error still references open statements."""
    with opened(path) as checkpoint:
        pages = [page(1), page(2, 3, 4), page(2, 3, 4)]
        checkpoint.add_pages([one._replace(keys=[*map(str, one.keys)]) for one in pages], Counts())
        checkpoint.find_repeats()
        batches = checkpoint.latest()
        next(batches)
        checkpoint.interrupt()
        with pytest.raises(Stopped) as error:
            list(batches)
    with opened(path) as again:
        assert len(read_records(again)) == 4
    assert isinstance(error.value.__cause__, sqlite3.OperationalError)
