"""Only one export at a time writes a target, and a kill releases the lock."""

# ruff: noqa: S603 - the processes are our own program

import asyncio
import errno
import os
import signal
import subprocess
import sys
from contextlib import closing

import pytest
from support.sinks import Given, a_manifest, publish, some_records

from cekat_async import TargetBusyError, TargetError
from cekat_async.export import export_conversations, sink_for

FILES = ["x.jsonl", "x.jsonl.gz", "x.csv", "x.parquet", "x.parquet/", "x.sqlite", "x.duckdb"]
each_file = pytest.mark.parametrize("name", FILES)
posix_only = pytest.mark.skipif(os.name != "posix", reason="a matter of POSIX systems")

HOLDER = """
import sys
from cekat_async.export import sink_for
sink = sink_for(sys.argv[1])
sink.open()
print("open", flush=True)
sys.stdin.read()
sink.close()
"""


def sink_at(folder, name, **options):
    return closing(sink_for(f"{folder}/{name}", **options))


def refused(folder, name, **options):
    busy = pytest.raises(TargetBusyError, match=r"^another export is writing .*\. Run this export")
    with sink_at(folder, name, **options) as sink, busy:
        sink.open()


@each_file
def test_a_second_export_is_refused_until_the_first_has_ended(tmp_path, name):
    """While one export has a target of any kind open, no other export can open that target."""
    with sink_at(tmp_path, name) as first:
        first.open()
        refused(tmp_path, name)
        first.publish(Given(some_records(5)), a_manifest())
        refused(tmp_path, name)
        refused(tmp_path, name)  # the earlier refusal has not released the lock
    with sink_at(tmp_path, name) as second:
        second.open()

    left = {path.name for path in tmp_path.iterdir()}
    assert left - {"x.parquet.manifest.json"} <= {name.strip("/"), f"{name}.manifest.json"}


@each_file
def test_an_export_that_was_refused_changes_nothing(tmp_path, name):
    """A refused export changes neither the running export's files nor the old target."""
    with sink_at(tmp_path, name) as old:
        publish(old, some_records(7))

    class Meddled(Given):
        def __iter__(self):
            for batch in super().__iter__():
                refused(tmp_path, name)
                yield batch

    with sink_at(tmp_path, name) as first:
        publish(first, Meddled(some_records(250)), conversations=250)
    with sink_at(tmp_path, name) as sink:
        assert sink.manifest().conversations == 250


@posix_only
@each_file
def test_a_kill_releases_the_lock(tmp_path, name):
    """A killed export does not block others, and the next export leaves no lock file."""
    command = [sys.executable, "-c", HOLDER, f"{tmp_path}/{name}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"open\n"
        refused(tmp_path, name)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert [path.name for path in tmp_path.glob("*.lock")] == [f"{name.strip('/')}.cekat.lock"]

        with sink_at(tmp_path, name) as sink:
            sink.open()
    assert list(tmp_path.glob("*.lock")) == []


@pytest.mark.parametrize("options", [{}, {"restart": True}, {"checkpoint": "other"}])
async def test_from_the_first_request_to_the_last(account, tmp_path, options):
    """While one export fetches, another export to its target is refused before any request."""
    target, refusals = tmp_path / "x.jsonl", []
    if "checkpoint" in options:
        options = {"checkpoint": tmp_path / "other"}

    async def again():
        with pytest.raises(TargetBusyError, match="another export is writing "):
            await export_conversations(other.client, target, **options)
        refusals.append(len(other.sandbox.log.requests))

    async with account(100) as a, account(100) as other, asyncio.TaskGroup() as tasks:
        await export_conversations(
            a.client,
            target,
            page_size=20,
            concurrency=1,
            on_progress=lambda progress: progress.pages < 4 and tasks.create_task(again()),
        )
    assert refusals
    assert set(refusals) == {0}
    assert {path.name for path in tmp_path.iterdir()} == {"x.jsonl", "x.jsonl.manifest.json"}


async def test_a_restart_does_not_empty_the_checkpoint_of_a_refused_export(account, tmp_path):
    """A refused export does not touch its own checkpoint, even with ``restart``."""
    checkpoint = tmp_path / "other.checkpoint"
    checkpoint.write_bytes(b"what an earlier run has brought")
    with sink_at(tmp_path, "x.jsonl") as first:
        first.open()
        async with account(20) as a:
            with pytest.raises(TargetBusyError):
                await export_conversations(
                    a.client, tmp_path / "x.jsonl", checkpoint=checkpoint, restart=True
                )
    assert checkpoint.read_bytes() == b"what an earlier run has brought"


async def test_one_checkpoint_for_two_targets(account, tmp_path):
    """An export cannot use a checkpoint that another export has open, whatever the target is."""
    checkpoint, attempts = tmp_path / "one", []

    async def again():
        with pytest.raises(
            TargetBusyError, match=r"another export is using the checkpoint .*one\. "
        ):
            await export_conversations(a.client, tmp_path / "y.jsonl", checkpoint=checkpoint)

    async with account(100) as a, asyncio.TaskGroup() as tasks:
        await export_conversations(
            a.client,
            tmp_path / "x.jsonl",
            checkpoint=checkpoint,
            page_size=20,
            concurrency=1,
            # Start only one attempt, because a second one would find the target locked by the
            # first.
            on_progress=lambda _: attempts or attempts.append(tasks.create_task(again())),
        )
    assert attempts


@posix_only
@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet/", "x.sqlite"])
def test_a_target_has_one_lock_under_all_its_names(tmp_path, name):
    """An export through a link to the target, or to the target's folder, uses the same lock."""
    (tmp_path / "real").mkdir()
    (tmp_path / "folder").symlink_to("real")
    with sink_at(tmp_path / "real", name) as sink:
        publish(sink, some_records(3))
    link = tmp_path / f"link{name.removeprefix('x').strip('/')}"
    link.symlink_to(f"real/{name.strip('/')}")
    with sink_at(tmp_path / "real", name) as first:
        first.open()
        refused(tmp_path / "folder", name)
        refused(tmp_path, f"link{name.removeprefix('x')}")


@pytest.mark.parametrize("name", ["x.sqlite", "x.duckdb"])
def test_tables_of_one_file_are_written_one_after_the_other(tmp_path, name):
    """Exports into two tables of one file cannot run at the same time, only one after the other."""
    with sink_at(tmp_path, name) as first:
        first.open()
        refused(tmp_path, name, table="other")
    for table in ("conversations", "other"):
        with sink_at(tmp_path, name, table=table) as sink:
            publish(sink, some_records(3), conversations=3)
    with sink_at(tmp_path, name) as sink, sink_at(tmp_path, name, table="other") as other:
        assert sink.manifest().conversations == other.manifest().conversations == 3


@posix_only
@pytest.mark.parametrize("error", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_without_locks(tmp_path, monkeypatch, error):
    """On a file system without locks, such as some network file systems, exports run unlocked."""

    def flock(*_):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr("fcntl.flock", flock)
    with sink_at(tmp_path, "x.jsonl") as sink:
        publish(sink, some_records(3), conversations=3)
        assert sink.manifest().conversations == 3
    assert {path.name for path in tmp_path.iterdir()} == {"x.jsonl", "x.jsonl.manifest.json"}


@posix_only
@pytest.mark.parametrize("begins_anew", [False, True], ids=["gone", "another's"])
def test_a_lock_that_is_released_in_this_very_moment(tmp_path, monkeypatch, begins_anew):
    """If a lock file is removed after it was opened and before it is locked, it is not used."""
    import fcntl  # noqa: PLC0415 - not on every system

    first, second, third = (sink_for(f"{tmp_path}/x.jsonl") for _ in range(3))
    first.open()
    flock = fcntl.flock

    def late(*arguments):
        monkeypatch.undo()
        first.close()
        if begins_anew:
            third.open()
        return flock(*arguments)

    monkeypatch.setattr("fcntl.flock", late)
    if begins_anew:
        with pytest.raises(TargetBusyError):
            second.open()
    else:
        second.open()
    assert (tmp_path / "x.jsonl.cekat.lock").exists()
    refused(tmp_path, "x.jsonl")
    second.close()
    third.close()
    assert list(tmp_path.iterdir()) == []


@posix_only
@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_other_things_under_the_locks_name_stay(tmp_path, kind):
    """A lock file that is not a regular file is reported, and neither followed nor removed."""
    place, elsewhere = tmp_path / "x.jsonl.cekat.lock", tmp_path / "elsewhere"
    elsewhere.write_bytes(b"mine")
    make = {
        "folder": place.mkdir,
        "link": lambda: place.symlink_to(elsewhere),
        "pipe": lambda: os.mkfifo(place),
    }
    make[kind]()

    with sink_at(tmp_path, "x.jsonl") as sink, pytest.raises(TargetError, match=r"cekat\.lock"):
        sink.open()
    assert os.path.lexists(place)
    assert elsewhere.read_bytes() == b"mine"


@posix_only
def test_the_lock_is_not_one_that_other_programs_use(tmp_path):
    """A program that locks TARGET.lock around an export does not block that export."""
    import fcntl  # noqa: PLC0415 - not on every system

    with (tmp_path / "x.jsonl.lock").open("wb") as own, sink_at(tmp_path, "x.jsonl") as sink:
        fcntl.flock(own, fcntl.LOCK_EX)
        publish(sink, some_records(3))
    assert (tmp_path / "x.jsonl.lock").exists()
