"""An export that is killed at any moment and run again has the result of an uninterrupted run."""

import os
import signal
import sqlite3
import time
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from random import Random

import pytest
from support.effort import EFFORT
from support.exports import read_account, read_target
from support.killing import Zygote

from cekat_async.sandbox import Fault, Sandbox

pytestmark = [
    pytest.mark.once,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(os.name != "posix", reason="kills as POSIX systems do"),
]

# Each example has a killed run and a run that resumes.
RUNS = EFFORT
FILES = [".jsonl", ".jsonl.gz", ".jsonl.zst", ".csv", ".parquet", ".parquet/"]
CONVERSATIONS, INBOXES = 150, 3
# The maximum sizes of files. The largest limit allows any target, and the smallest one allows none.
DISKS = [0, 4096, 30_000, 90_000, 180_000, 230_000, 300_000] if EFFORT > 1 else [0, 90_000]
# The number of requests that a run may repeat: those in flight, and a few to find its position.
ONCE_MORE = 16


@pytest.fixture(scope="module")
def zygote():
    """The process that forks the exports."""
    with Zygote() as zygote:
        yield zygote


def in_file(target):
    """Return the records of a file or a folder, or None if there is none."""
    if not Path(target).exists():
        return None
    return read_target(target)


def in_database(target):
    """Return the records of a database, or None if there is none."""
    if not Path(target).exists():
        return None
    with closing(sqlite3.connect(target)) as database:
        return sorted(raw.encode() for (raw,) in database.execute("SELECT raw FROM conversations"))


def in_duckdb(target):
    """Return the records of a DuckDB file, or None if there is none."""
    import duckdb  # noqa: PLC0415 - an extra

    if not Path(target).exists():
        return None
    with duckdb.connect(target) as database:
        return sorted(
            raw.encode() for (raw,) in database.execute("SELECT raw FROM conversations").fetchall()
        )


READERS = dict.fromkeys(FILES, in_file) | {".sqlite": in_database, ".duckdb": in_duckdb}


class Kills:
    """Kills exports at a random step or moment. An uninterrupted export is measured first."""

    def __init__(self, zygote, sandbox, how, seeded):
        self._zygote, self._sandbox = zygote, sandbox
        self._how, self._seeded = how, seeded
        self.codes = []

    def measure(self, target, **options):
        """Run a whole export, count its steps, and measure how long it takes."""
        began = time.monotonic()
        code, self._steps = self._zygote.export(self._sandbox, target, kill_at=0, **options)
        assert code == 0
        self._seconds = time.monotonic() - began

    def export(self, target, **options):
        """Run an export, and kill it if it does not finish first."""
        if self._how == "step":
            kill = {"kill_at": self._seeded.randint(1, self._steps)}
        else:
            kill = {"kill_after": self._seeded.uniform(0, self._seconds)}
        code, _ = self._zygote.export(self._sandbox, target, **options, **kill)
        self.codes.append(code)
        if code == 0:  # this run was faster than the measured one
            self._seconds = kill.get("kill_after", 0)

    def are_missing(self, runs):
        """Return whether there are too few runs, or none of them was killed."""
        return runs < RUNS or -signal.SIGKILL not in self.codes


@pytest.mark.parametrize(
    "suffix, how",
    [
        (suffix, how)
        for at, suffix in enumerate(READERS)
        for which, how in enumerate(["step", "moment"])
        if EFFORT > 1 or at % 2 == which
    ],
)
def test_killed_once_or_twice_and_run_again(tmp_path, zygote, suffix, how):
    """A killed export loses, repeats and truncates nothing, and resumes without starting over."""
    read, seeded = READERS[suffix], Random(f"{suffix} {how}")
    with Sandbox(CONVERSATIONS, INBOXES, quota=None, cache=10_000) as sandbox:
        whole, killing = read_account(sandbox), Kills(zygote, sandbox, how, seeded)
        killing.measure(f"{tmp_path}/first{suffix}")
        needed, numbers = len(sandbox.log.requests), count()
        while killing.are_missing(number := next(numbers)):
            target, before = f"{tmp_path}/{number}{suffix}", len(sandbox.log.requests)
            kills = seeded.choice([1, 1, 2])
            for _ in range(kills):
                killing.export(target)
                assert read(target) in (None, whole)
            code, _ = zygote.export(sandbox, target)

            assert (code, read(target)) == (0, whole)
            # After a kill at the last moment, the export is already finished, so another one is
            # run.
            asked = len(sandbox.log.requests) - before
            assert asked <= needed * (1 + kills) + ONCE_MORE * kills
            left = {path.name for path in tmp_path.iterdir() if path.name.startswith(f"{number}.")}
            assert not [
                name for name in left if name.endswith((".checkpoint", ".new", ".old", ".lock"))
            ]


@pytest.mark.parametrize("how", ["step", "moment"])
def test_killed_while_it_writes_to_postgresql(tmp_path, zygote, postgres, database, how):
    """After a kill, a server's table has all rows or none. After the next run, it has all rows."""
    checkpoint = str(tmp_path / "checkpoint")
    with Sandbox(CONVERSATIONS, INBOXES, quota=None, cache=10_000) as sandbox:
        whole, killing = read_account(sandbox), Kills(zygote, sandbox, how, Random(how))
        killing.measure(database, checkpoint=checkpoint)
        numbers = count()
        while killing.are_missing(next(numbers)):
            forget(database)
            killing.export(database, checkpoint=checkpoint)
            assert in_postgres(database) in (None, whole)
            code, _ = zygote.export(sandbox, database, checkpoint=checkpoint)

            assert (code, in_postgres(database)) == (0, whole)
            assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet/", ".sqlite"])
def test_killed_while_it_adds_to_an_earlier_export(tmp_path, zygote, suffix):
    """A killed incremental export leaves the earlier target or the complete new one."""
    read = READERS[suffix]
    with Sandbox(CONVERSATIONS, INBOXES, quota=None, cache=10_000) as sandbox:
        killing, numbers = Kills(zygote, sandbox, "step", Random(suffix)), count()
        while killing.are_missing(number := next(numbers)):
            target = f"{tmp_path}/{number}{suffix}"
            killing.measure(target)
            before = read_account(sandbox)
            for id_, _ in list(sandbox.records())[number : 60 + number : 7]:
                sandbox.touch(id_)
            sandbox.create()
            after = read_account(sandbox)
            killing.export(target, incremental=True)
            assert read(target) in (before, after)
            code, _ = zygote.export(sandbox, target, incremental=True)

            assert (code, read(target)) == (0, after)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet/"])
def test_killed_while_it_keeps_what_a_failed_inbox_had(tmp_path, zygote, suffix):
    """A killed export leaves the old target, or new records plus the failed inbox's old ones."""
    read, seeded = READERS[suffix], Random(suffix)
    with Sandbox(CONVERSATIONS, INBOXES, quota=None, cache=10_000) as sandbox:
        for number in range(max(RUNS, 2)):
            target, closed = f"{tmp_path}/{number}{suffix}", sandbox.inbox_ids[number % INBOXES]
            zygote.export(sandbox, target, by_inbox=True)
            before = read_account(sandbox)
            for id_, _ in list(sandbox.records())[number::5]:
                sandbox.touch(id_)
            after = [one for one in read_account(sandbox) if closed.encode() not in one]
            after = sorted(after + [one for one in before if closed.encode() in one])
            sandbox.forbid(closed)
            zygote.export(sandbox, target, by_inbox=True, kill_at=seeded.randint(1, 1200))
            assert read(target) in (before, after)
            code, _ = zygote.export(sandbox, target, by_inbox=True)

            assert (code, read(target)) == (0, after)
            sandbox.forbid()


def test_killed_while_it_is_refused(tmp_path, zygote):
    """An export that is refused changes neither target nor checkpoint, even if it is killed."""
    seeded, target = Random("refused"), f"{tmp_path}/x.jsonl"
    with Sandbox(CONVERSATIONS, INBOXES, quota=None, cache=10_000) as sandbox:
        zygote.export(sandbox, target)
        # A revoked key leaves an unfinished export.
        sandbox.fail_next(*[Fault.ok()] * 4, *[Fault.status(401)] * 9)
        assert zygote.export(sandbox, target)[0] == 1
        sandbox._handler.script.clear()
        stays = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert "x.jsonl.checkpoint" in stays
        for _ in range(max(RUNS, 2)):
            kill = {"kill_at": seeded.randint(1, 60)}
            zygote.export(sandbox, target, stage_status="open", restart=True, **kill)
            left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
            assert (
                left.items()
                >= {name: stays[name] for name in stays if "journal" not in name}.items()
            )
        code, _ = zygote.export(sandbox, target)

        assert (code, in_file(target)) == (0, read_account(sandbox))


@pytest.mark.parametrize("suffix", READERS)
def test_a_disk_that_is_full(tmp_path, zygote, suffix):
    """If the disk is full, an export fails without a partial target, and resumes later."""
    read = READERS[suffix]
    with Sandbox(CONVERSATIONS, INBOXES, quota=None, cache=10_000) as sandbox:
        whole, codes = read_account(sandbox), []
        for number, largest in enumerate(DISKS):
            target = f"{tmp_path}/{number}{suffix}"
            codes.append(zygote.export(sandbox, target, largest_file=largest)[0])
            assert read(target) in (None, whole)
            code, _ = zygote.export(sandbox, target)
            assert (code, read(target)) == (0, whole)
    assert codes[0] == 1


def in_postgres(url):
    """Return the records of a table on a server, or None if there is none."""
    import psycopg  # noqa: PLC0415 - an extra

    with psycopg.connect(url) as connection, suppress(psycopg.errors.UndefinedTable):
        return sorted(
            raw.encode() for (raw,) in connection.execute("SELECT raw::text FROM conversations")
        )
    return None


def forget(url):
    """Remove any earlier export."""
    import psycopg  # noqa: PLC0415 - an extra

    with psycopg.connect(url) as connection:
        connection.execute("DROP TABLE IF EXISTS conversations, cekat_exports")
