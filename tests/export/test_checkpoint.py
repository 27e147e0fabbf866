"""The checkpoint by itself: what it holds is durable and whole, and one process's at a time."""

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
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.effort import EFFORT
from support.sinks import MOMENT

from cekat_async import CheckpointError, Position, TargetError
from cekat_async.export.checkpoint import (
    FORMAT,
    Checkpoint,
    Fetched,
    Job,
    Stand,
    Totals,
    count_conversations,
)
from cekat_async.export.manifest import Filters

JOB = Job(account="an account", target="a target", filters=Filters(), began=MOMENT, version="7")
OTHER_JOB = Job(account="another", target="a target", filters=Filters(), began=MOMENT)
NEW, OVER = Position(), Position.from_bytes(b'{"stage":"settled"}')
posix_only = pytest.mark.skipif(os.name != "posix", reason="a matter of POSIX systems")
not_root = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere"
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.checkpoint"


@contextmanager
def opened(path, *, restart=False, done=False):
    """An open checkpoint, begun if it was a new one, and closed behind the test."""
    checkpoint = Checkpoint(path)
    try:
        if checkpoint.open(restart=restart) is None:
            checkpoint.begin(JOB, {None: NEW})
        yield checkpoint
    finally:
        checkpoint.close(done=done)


def page(*names, inbox_id=None, version=0, position=NEW):
    """Return a page with a record for each name, which says which version it is of."""
    lines = [b'{"id":"%s","v":%d}' % (str(name).encode(), version) for name in names]
    return Fetched(inbox_id, lines, list(names), position)


def read_records(checkpoint):
    """Return what came last, and make sure that the number of the rest was told as it is."""
    repeats = checkpoint.settle()
    records = [record for batch in checkpoint.latest() for record in batch]
    assert all(batch for batch in checkpoint.latest())
    kept = sum(stand.records for stand in checkpoint.stands().values())
    assert len(records) == kept - repeats
    return records


def fill(path, pages=20):
    """Make a checkpoint of many records, and return which."""
    with opened(path) as checkpoint:
        for number in range(pages):
            names = [f"{number}-{index}" for index in range(50)]
            checkpoint.keep([page(*names, position=OVER)], Totals(records=50 * (number + 1)))
        return read_records(checkpoint)


def _left(folder):
    """Return what is in a folder: but for a journal without a byte, which SQLite leaves there."""
    return [
        path
        for path in folder.iterdir()
        if not (path.name.endswith("-journal") and path.stat().st_size == 0)
    ]


# What is kept


def test_a_new_checkpoint_is_of_no_export(path):
    """A file that was not there is of no export, until one begins; then it is of that."""
    checkpoint = Checkpoint(path)
    assert checkpoint.open() is None
    checkpoint.begin(JOB, {None: NEW, "an inbox": OVER})
    checkpoint.keep([page(inbox_id="an inbox", position=OVER)], Totals(pages=1))
    checkpoint.close()

    again = Checkpoint(path)
    assert again.open() == JOB
    assert again.totals() == Totals(pages=1)
    assert again.stands() == {None: Stand(NEW, 0, 0, None), "an inbox": Stand(OVER, 1, 0, None)}
    assert read_records(again) == []
    again.close()


def test_all_that_is_kept_is_there_when_it_is_opened_again(path):
    """Records, positions, counts, totals and failures are those that were kept last."""
    totals = Totals(runs=2, pages=3, records=4, unknown_fields={"x": 3}, seconds=1.25)
    checkpoint = Checkpoint(path)
    checkpoint.open()
    checkpoint.begin(JOB, {"a": NEW, "b": NEW})
    checkpoint.keep([page("1", "2", inbox_id="a"), page("3", inbox_id="b")], Totals(pages=2))
    checkpoint.keep([page("4", inbox_id="a", position=OVER)], totals)
    checkpoint.fail("b", "it is gone")
    checkpoint.close()

    with opened(path) as again:
        assert again.totals() == totals
        assert again.stands() == {
            "a": Stand(OVER, 2, 3, None),
            "b": Stand(NEW, 1, 1, "it is gone"),
        }
        assert read_records(again) == [*page("1", "2", "3", "4").lines]
        again.fail("b", None)
        again.put_totals(Totals(runs=3))

    with opened(path) as again:
        assert (again.totals(), again.stands()["b"].error) == (Totals(runs=3), None)


def test_a_page_without_records_is_a_page(path):
    """An empty page is counted, and its position is kept."""
    with opened(path) as checkpoint:
        checkpoint.keep([page(position=OVER)], Totals(pages=1))
        assert read_records(checkpoint) == []

    with opened(path) as checkpoint:
        assert checkpoint.stands() == {None: Stand(OVER, 1, 0, None)}


def test_records_that_come_anew_replace_those_before(path):
    """Of each name the record that came last is brought, in the order in which they came."""
    with opened(path) as checkpoint:
        checkpoint.keep([page("a", "b", "c"), page("d", "b", version=1)], Totals())
        checkpoint.keep([page("a", version=2)], Totals())

        assert checkpoint.settle() == 2
        assert list(checkpoint.latest()) == [
            page("c").lines, page("d", "b", version=1).lines, page("a", version=2).lines,
        ]  # fmt: skip
        assert checkpoint.known(["a", "c", "z", b"a"]) == {"a", "c"}


def test_a_name_may_be_text_or_bytes(path):
    """A record that is its own name is another one than that whose id reads like it."""
    names = ["a", b"a", "1", b"1", "", "A", "a\0b", "\N{WAVING HAND SIGN}", b"\xff\0"]
    with opened(path) as checkpoint:
        checkpoint.keep([page(*names)], Totals())

        assert checkpoint.settle() == 0
        checkpoint.index_names()
        assert checkpoint.known([*names, "other", b"\xfe"]) == set(names)


def test_one_may_look_for_names_more_than_once(path):
    """Making ready to look for names, and finding out what came last, may both be done again."""
    with opened(path) as checkpoint:
        for version in range(3):
            checkpoint.keep([page("a", version=version)], Totals())
            checkpoint.index_names()
            assert checkpoint.known(["a"]) == {"a"}
            assert read_records(checkpoint) == page("a", version=version).lines


_NAMES = st.one_of(st.sampled_from("abcdefgh"), st.sampled_from([b"a", b"b", b"\0\xff"]))
_STEPS = st.lists(
    st.one_of(
        st.lists(st.lists(_NAMES, max_size=6), min_size=1, max_size=4),
        st.sampled_from(["reopen", "kill", "fail"]),
    ),
    max_size=12,
)


class _FailedError(Exception):
    pass


@settings(max_examples=30 * EFFORT)
@given(steps=_STEPS)
def test_whatever_comes_in_whatever_batches(steps):
    """However it came, was gone on with or was cut off, each name's last record is there."""
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
                with pytest.raises(_FailedError):
                    _fail_to_write(checkpoint)
            else:
                version += 1
                pages = [page(*names, version=version) for names in step]
                kept += sum(map(len, step))
                checkpoint.keep(pages, Totals(records=kept))
                for one in pages:
                    for name, line in zip(one.names, one.lines, strict=True):
                        place += 1
                        model[name] = (place, line)
        records = read_records(checkpoint)
        assert checkpoint.totals().records == kept
        checkpoint.close()

    assert records == [line for _, line in sorted(model.values())]


def _fail_to_write(checkpoint):
    with checkpoint._written() as database:
        checkpoint._add(database, page("a", "z", version=-1))
        raise _FailedError


def _begun(path):
    checkpoint = Checkpoint(path)
    assert checkpoint.open() is None
    checkpoint.begin(JOB, {None: NEW})
    checkpoint.keep([page()], Totals())
    return checkpoint


def _found_again(path):
    checkpoint = Checkpoint(path)
    assert checkpoint.open() == JOB
    return checkpoint


def _as_a_kill_leaves_it(checkpoint, path, copy):
    """Return a copy of the files in the middle of a transaction, some of which is on the disk."""
    database = checkpoint._opened()
    database.execute("PRAGMA cache_size = 1")
    database.execute("BEGIN")
    for _ in range(20):
        checkpoint._add(database, page("a", "z" * 3000, version=-1))
    shutil.copy(path, copy)
    journal = path.with_name(path.name + "-journal")
    shutil.copy(journal, copy.with_name(copy.name + "-journal"))
    database.execute("ROLLBACK")
    checkpoint.close()
    return copy


KILLED = """
import os, sys
from pathlib import Path
from cekat_async import Position
from cekat_async.export.checkpoint import Checkpoint, Fetched, Totals
checkpoint = Checkpoint(Path(sys.argv[1]))
checkpoint.open()
database = checkpoint._opened()
database.execute("PRAGMA cache_size = 1")
pages = [Fetched(None, [b"x" * 9000], [f"{n}"], Position()) for n in range(200)]
checkpoint._put_totals = lambda *_: os._exit(9)
checkpoint.keep(pages, Totals(records=999))
"""


def test_killed_while_it_writes(path):
    """A process that ends in the middle of a write leaves what there was before it."""
    records = fill(path, pages=2)
    size = path.stat().st_size
    assert _run(KILLED, path).returncode == 9
    assert path.stat().st_size > size  # so that there was something to be undone

    with opened(path) as checkpoint:
        assert read_records(checkpoint) == records
        assert checkpoint.totals().records == 100
        checkpoint.put_totals(Totals(runs=2))
    with opened(path) as checkpoint:
        assert (checkpoint.totals(), read_records(checkpoint)) == (Totals(runs=2), records)
    assert _left(path.parent) == [path]


def _run(code, *arguments, **options):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=300, **options
    )


def test_a_write_that_fails_is_not_half_there(path):
    """When a page cannot be kept, none of its batch is, and the next one comes in its place."""
    with opened(path) as checkpoint:
        checkpoint.keep([page("a")], Totals(records=1))
        with pytest.raises(CheckpointError, match="broken"):
            # Fewer than one name a record: a fault of the caller's that SQLite notices.
            checkpoint.keep([page("b"), Fetched(None, [b"{}"], [None], OVER)], Totals(records=3))
        checkpoint.keep([page("c")], Totals(records=2))

        assert read_records(checkpoint) == page("a", "c").lines
        assert (checkpoint.totals().records, checkpoint.stands()[None].position) == (2, NEW)


def test_memory_does_not_grow_with_the_records(path):
    """Records are brought page by page: what has been brought is let go of."""
    import tracemalloc  # noqa: PLC0415 - for this test alone

    fill(path, pages=200)
    with opened(path) as checkpoint:
        checkpoint.settle()
        tracemalloc.start()
        count = sum(len(batch) for batch in checkpoint.latest())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert count == 10_000
    assert peak < 100_000


# Whose it is


@pytest.mark.parametrize("restart", [False, True], ids=["going on", "restart"])
def test_a_second_one_of_the_same_process_is_refused(path, restart):
    """Who opens a checkpoint that is in use is told so, and does not disturb the first."""
    with opened(path) as first:
        first.keep([page("a")], Totals(records=1))
        second = Checkpoint(path)
        with pytest.raises(TargetError, match=r"another export has the checkpoint .*x\.che"):
            second.open(restart=restart)
        second.close()
        second.close(done=True)
        _refused_elsewhere(path)
        first.keep([page("b")], Totals(records=2))

        assert read_records(first) == page("a", "b").lines
    with opened(path) as again:
        assert read_records(again) == page("a", "b").lines


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
    assert said.startswith("TargetBusyError another export has the checkpoint "), said


@pytest.mark.once
@pytest.mark.parametrize("arguments", [(), ("restart",)], ids=["going on", "restart"])
def test_a_second_one_of_another_process_is_refused(path, arguments):
    """Another process is told so too: before the export has begun, and all the time after."""
    first = Checkpoint(path)
    first.open()
    _refused_elsewhere(path, *arguments)
    first.begin(JOB, {None: NEW})
    first.keep([page("a")], Totals(records=1))
    _refused_elsewhere(path, *arguments)
    first.settle()
    latest = first.latest()
    assert next(latest) == page("a").lines
    _refused_elsewhere(path, *arguments)
    latest.close()
    first.close()

    assert "account='an account'" in _run(OPENING, path).stdout


@pytest.mark.parametrize("goes_on", [False, True], ids=["gone", "begun anew"])
def test_one_that_is_let_go_of_in_this_very_moment(path, monkeypatch, goes_on):
    """Who has opened a file that goes away before it is locked does not go on with that."""
    first, third = Checkpoint(path), Checkpoint(path)
    first.open()
    first.begin(JOB, {None: NEW})
    connect = sqlite3.connect

    def connect_late(*arguments, **options):
        database = connect(*arguments, **options)
        monkeypatch.undo()
        first.close(done=True)
        if goes_on:
            third.open()
            third.begin(OTHER_JOB, {None: NEW})
        return database

    monkeypatch.setattr("sqlite3.connect", connect_late)
    second = Checkpoint(path)
    with pytest.raises(TargetError, match="another export"):
        second.open()
    second.close()

    assert path.exists() == goes_on
    if goes_on:
        third.keep([page("a")], Totals())
        assert read_records(third) == page("a").lines
    third.close(done=True)


def test_when_the_first_lets_go_the_second_may_go_on(path):
    """The lock goes with who had it."""
    with opened(path) as first:
        first.keep([page("a")], Totals(records=1))

    with opened(path) as second:
        second.keep([page("b")], Totals(records=2))
        assert read_records(second) == page("a", "b").lines


def test_opened_twice_it_is_begun_anew(path):
    """Who has a checkpoint open may begin anew in it, and has it to themselves all the time."""
    fill(path, pages=1)
    checkpoint = Checkpoint(path)
    assert checkpoint.open() == JOB
    assert checkpoint.open(restart=True) is None
    _refused_elsewhere(path)
    checkpoint.begin(OTHER_JOB, {None: NEW})
    assert read_records(checkpoint) == []
    checkpoint.close()
    gc.collect()  # a connection that was forgotten would say so now, and a warning is an error


@pytest.mark.parametrize(
    "use",
    [
        Checkpoint.totals,
        Checkpoint.stands,
        Checkpoint.settle,
        Checkpoint.index_names,
        lambda checkpoint: checkpoint.keep([], Totals()),
        lambda checkpoint: list(checkpoint.latest()),
    ],
)
def test_out_of_turn(path, use):
    """One that is not open says so, whatever is asked of it, and makes no file."""
    with pytest.raises(TargetError, match="is not open"):
        use(Checkpoint(path))

    assert not path.exists()


# What stands in its place


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
    "foreign": (_a_foreign_database, "no checkpoint of an export: move it away"),
    "foreign WAL": (
        lambda path: _a_foreign_database(path, "journal_mode = WAL"), "no checkpoint of an export",
    ),
    "newer": (_of_another_format, r"another version of cekat_async \(format 2, this one writes 1"),
    "cut off": (_cut_off, "broken"),
    "broken job": (_with_a_broken_job, "broken"),
}  # fmt: skip


@pytest.mark.parametrize("name", OBSTACLES)
def test_what_is_no_checkpoint_is_told_and_left_alone(path, name):
    """A file that cannot be gone on with is told in a line that says what to do, and stays."""
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
    assert _left(path.parent) == [path]


@pytest.mark.parametrize("name", OBSTACLES)
def test_restart_begins_anew_over_anything(path, name):
    """With ``restart`` there is a new checkpoint, whatever stood in its place."""
    OBSTACLES[name][0](path)
    with opened(path, restart=True) as checkpoint:
        checkpoint.keep([page("a")], Totals(records=1))
        assert read_records(checkpoint) == page("a").lines

    with opened(path) as checkpoint:
        assert read_records(checkpoint) == page("a").lines
    assert _left(path.parent) == [path]


def test_restart_forgets_an_unfinished_export(path):
    """With ``restart`` nothing is left of what an earlier run had brought."""
    fill(path)
    checkpoint = Checkpoint(path)
    assert checkpoint.open(restart=True) is None
    checkpoint.begin(OTHER_JOB, {"a": NEW})
    assert (read_records(checkpoint), list(checkpoint.stands())) == ([], ["a"])
    checkpoint.keep([page(inbox_id="a")], Totals())
    checkpoint.close()

    again = Checkpoint(path)
    assert again.open() == OTHER_JOB
    again.close()


@pytest.mark.parametrize("restart", [False, True], ids=["going on", "restart"])
def test_an_empty_file_is_a_new_checkpoint(path, restart):
    """A file without a byte, as a full disk leaves one, is begun like one that was not there."""
    path.touch()
    with opened(path, restart=restart) as checkpoint:
        checkpoint.keep([page("a")], Totals(records=1))

    with opened(path) as checkpoint:
        assert read_records(checkpoint) == page("a").lines


@pytest.mark.parametrize("restart", [False, True], ids=["going on", "restart"])
def test_a_folder_in_its_place(path, restart):
    """A folder under its name is told, and stays."""
    path.mkdir()
    checkpoint = Checkpoint(path)
    with pytest.raises(TargetError, match=r"cannot write .*x\.checkpoint"):
        checkpoint.open(restart=restart)
    checkpoint.close()

    assert path.is_dir()


def _flipped(data, chance, count):
    """Return bytes with some of their bits the other way round."""
    broken = bytearray(data)
    for _ in range(count):
        broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
    return bytes(broken)


@pytest.mark.parametrize("seed", range(8))
def test_a_broken_checkpoint_is_told_or_reads_as_far_as_it_goes(path, seed):
    """Whatever bits are flipped, what is read is told as broken, or is what was kept.

    What a checkpoint cannot notice is a flipped bit inside of a record, or of a name: SQLite has no
    checksum of its content, and neither has the checkpoint. It never brings more records.
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

    assert outcomes <= {"told", "same", "other"}


def _outcome(path, records):
    """Read all there is in a broken checkpoint, in the order of an export."""
    checkpoint = Checkpoint(path)
    try:
        if checkpoint.open() is None:
            return "told"  # as a new one, which it can be only without any table
        checkpoint.totals()
        checkpoint.stands()
        checkpoint.keep([], Totals())
        checkpoint.settle()
        found = [record for batch in checkpoint.latest() for record in batch]
        checkpoint.index_names()
        checkpoint.known(["0-1", b"x"])
    except (CheckpointError, TargetError) as error:
        return "told" if "\n" not in str(error) else "told in several lines"
    finally:
        checkpoint.close()
    assert len(found) <= len(records)
    return "same" if found == records else "other"


def test_a_checkpoint_that_was_cut_off_is_told(path):
    """A file that lacks its end is broken, wherever it ends."""
    records = fill(path, pages=10)
    whole = path.read_bytes()
    for size in range(512, len(whole), 512):
        path.write_bytes(whole[:size])
        # The last of SQLite's pages (of 4,096 bytes) is taken for one with zeros at its end.
        assert _outcome(path, records) == "told" or size > len(whole) - 4096


@pytest.mark.parametrize("table", ["names", "pages"])
@pytest.mark.parametrize("which", ["0", "(SELECT max(seq) FROM {})", "100"])
def test_a_checkpoint_that_lacks_records_is_told(path, table, which):
    """When rows of a table are gone that is told, before the export is taken for whole."""
    fill(path, pages=5)
    database = sqlite3.connect(path)
    database.execute(f"DELETE FROM {table} WHERE seq = {which.format(table)}")  # noqa: S608
    database.commit()
    database.close()
    with opened(path) as checkpoint, pytest.raises(CheckpointError, match=r"broken .*missing"):
        read_records(checkpoint)


# Its rights and its place


@posix_only
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_it_is_for_its_owner_alone(path, umask):
    """Nobody else may read a checkpoint or its journal, whatever the umask allows."""
    before = os.umask(umask)
    try:
        with opened(path) as checkpoint:
            checkpoint.keep([page("a")], Totals())
            modes = {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
        with opened(path, restart=True):
            modes |= {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
    finally:
        os.umask(before)

    assert modes == {0o600}


@pytest.mark.parametrize("restart", [False, True], ids=["going on", "restart"])
def test_no_folder(tmp_path, restart):
    """A folder that is not there is named, and not made."""
    checkpoint = Checkpoint(tmp_path / "nowhere" / "x.checkpoint")
    with pytest.raises(TargetError, match=r"there is no folder .*nowhere") as caught:
        checkpoint.open(restart=restart)
    checkpoint.close()

    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert list(tmp_path.iterdir()) == []


@not_root
def test_a_folder_one_may_not_write_to(tmp_path, path):
    """A folder without the right to write is told with the system's reason."""
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(TargetError, match="Permission denied"):
            Checkpoint(path).open()
    finally:
        tmp_path.chmod(0o700)


@not_root
def test_a_checkpoint_one_may_not_write_to(path):
    """A checkpoint without the right to write is told, and not gone on with."""
    fill(path, pages=1)
    path.chmod(0o400)
    checkpoint = Checkpoint(path)
    with pytest.raises(TargetError, match=r"cannot write .*x\.checkpoint: Permission denied"):
        checkpoint.open()
    checkpoint.close()


def test_a_finished_one_is_gone(path):
    """When the export is done there is no file any more, nor one beside it."""
    with opened(path, done=True) as checkpoint:
        checkpoint.keep([page("a")], Totals())
        checkpoint.settle()

    assert list(path.parent.iterdir()) == []


def test_one_that_never_began_leaves_nothing(path):
    """Opened and let go of again, there is nothing left, and closing again is no error."""
    for restart in (False, True):
        checkpoint = Checkpoint(path)
        checkpoint.open(restart=restart)
        checkpoint.close()
        checkpoint.close()

        assert list(path.parent.iterdir()) == []


def test_one_without_a_page_leaves_nothing(path):
    """An export that failed before its first page has nothing to be gone on with, and is not."""
    with opened(path) as checkpoint:
        checkpoint.keep([], Totals(runs=1))
        checkpoint.put_totals(Totals(runs=1))
    assert list(path.parent.iterdir()) == []

    # As a kill leaves it.
    checkpoint = Checkpoint(path)
    checkpoint.open()
    checkpoint.begin(JOB, {None: NEW})
    checkpoint._database.close()
    assert path.exists()
    checkpoint = Checkpoint(path)
    assert checkpoint.open() == JOB
    checkpoint.close()
    assert list(path.parent.iterdir()) == []


def test_one_that_could_not_begin_leaves_nothing(path):
    """A beginning that fails is not half there, and nothing is left of it."""
    checkpoint = Checkpoint(path)
    checkpoint.open()
    with pytest.raises(CheckpointError):
        checkpoint.begin(JOB, {None: NEW, "": NEW})  # the same one twice
    checkpoint.close()

    assert list(path.parent.iterdir()) == []


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files, with none of others in it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("done", [False, True])
def test_a_temporary_one_leaves_nothing(temporary, done):
    """Without a path it has no name, so that nothing is left however the process ends."""
    with opened(None, done=done) as checkpoint:
        checkpoint.keep([page("a")], Totals())
        assert read_records(checkpoint) == page("a").lines
        assert list(temporary.iterdir()) == []

    assert list(temporary.iterdir()) == []


def test_a_temporary_one_that_was_never_opened_leaves_nothing(temporary):
    """Let go of before it was opened, its folder is gone too."""
    Checkpoint(None).close()

    assert list(temporary.iterdir()) == []


FILLING = """
import resource, signal, sys
from pathlib import Path
from cekat_async import Position, TargetError
from cekat_async.export.checkpoint import Checkpoint, Fetched, Totals
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), -1))
checkpoint = Checkpoint(Path(sys.argv[1]))
try:
    checkpoint.open()
    for number in range(500):
        lines = [b"%d" % number + b" " * 1000 for _ in range(20)]
        names = [f"more {number}-{index}" for index in range(20)]
        checkpoint.keep([Fetched(None, lines, names, Position())], Totals(pages=number + 1))
        print(number)
except TargetError as error:
    print(type(error.__cause__).__name__, error)
checkpoint.close()
"""


@posix_only
def test_no_file_may_grow_any_more(path):
    """When the system lets it grow no more that is told; what was kept is there to go on from."""
    fill(path, pages=1)
    *numbers, said = _run(FILLING, path, 300_000).stdout.splitlines()

    assert len(numbers) > 5
    assert said.startswith("OperationalError cannot write ")
    _goes_on(path, pages=len(numbers), before=50)


def _goes_on(path, *, pages, before):
    """Make sure that exactly so many pages are there, and that more can be added."""
    with opened(path) as checkpoint:
        assert checkpoint.totals().pages == pages
        assert len(read_records(checkpoint)) == before + 20 * pages
        checkpoint.keep([page("one more")], Totals(pages=pages + 1))
        assert read_records(checkpoint)[-1:] == page("one more").lines


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own with 2 MB, which becomes one of 8 MB where that is asked for."""
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
    """A full disk is told, in this process too; when there is room the same file goes on."""
    folder, grow = small_disk
    path = folder / "x.checkpoint"
    with opened(path) as checkpoint:
        with pytest.raises(TargetError, match=r"cannot write .*x\.checkpoint: .*full"):  # noqa: PT012
            for number in range(500):
                checkpoint.keep([_big_page(number)], Totals(pages=number + 1))
        kept = checkpoint.totals().pages
        assert kept > 20
        # At once, by the one that failed.
        grow()
        checkpoint.keep([_big_page(kept)], Totals(pages=kept + 1))
    _goes_on(path, pages=kept + 1, before=0)


def _big_page(number):
    names = [f"{number}-{index}" for index in range(20)]
    return Fetched(None, [name.encode() + b" " * 1000 for name in names], names, NEW)


@posix_only
def test_a_disk_that_is_full_from_the_begin(small_disk):
    """Where there is no room to begin with that is told, and nothing in the way of another try."""
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
        checkpoint.keep([page("a")], Totals())
        assert read_records(checkpoint) == page("a").lines


# How many conversations are in it, and whose they are


def test_each_conversation_counts_once(path):
    """However often a conversation was fetched, a closed checkpoint counts it once."""
    with opened(path) as checkpoint:
        checkpoint.keep([page("a", "b"), page("b", "c", version=1), page("a")], Totals(records=5))
        # A record without an id is known by its bytes.
        odd = [b"null", b"null", b"7"]
        checkpoint.keep([Fetched(None, odd, odd, NEW)], Totals(records=8))

    assert count_conversations(path) == 3 + 2


@pytest.mark.parametrize("content", [None, b"", b"no database" * 999], ids=["absent", "", "other"])
def test_what_cannot_be_read_has_no_number(tmp_path, content):
    """Where there is no checkpoint there is no number, and no file is made."""
    path = tmp_path / "a name with spaces & 100% ?#"
    if content is not None:
        path.write_bytes(content)

    assert count_conversations(path) is None
    assert path.exists() == (content is not None)


def test_any_name_of_a_file_can_be_counted(tmp_path):
    """The path is no part of a query, whatever characters are in it."""
    path = tmp_path / "a name with spaces & 100% ?#.checkpoint"
    with opened(path) as checkpoint:
        checkpoint.keep([page("a")], Totals(records=1))

    assert count_conversations(path) == 1


def test_counting_that_takes_too_long_is_given_up(path):
    """Whoever waits at a terminal is not kept waiting for a number."""
    fill(path, pages=400)

    assert count_conversations(path) == 400 * 50
    assert count_conversations(path, patience=-1) is None


def test_a_job_can_go_on_as_another(path):
    """A checkpoint that is adopted under a new key says so when it is opened again."""
    fill(path)
    adopted = Job(
        account="Acme", key_fingerprint="k", business_id="b", target="a target",
        filters=Filters(), began=MOMENT, version="7",
    )  # fmt: skip
    with opened(path) as checkpoint:
        before = checkpoint.stands(), checkpoint.totals(), read_records(checkpoint)
        checkpoint.put_job(adopted)
    with opened(path) as checkpoint:
        assert checkpoint.open() == adopted
        assert (checkpoint.stands(), checkpoint.totals(), read_records(checkpoint)) == before


def test_some_names_are_looked_for(path):
    """Whether any of some names has come is told without an index."""
    with opened(path) as checkpoint:
        checkpoint.keep([page("a", "b")], Totals(records=2))

        assert checkpoint.has_any({"x", "b"})
        assert not checkpoint.has_any({"x", "y"})
        assert not checkpoint.has_any(set())
