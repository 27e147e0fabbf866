"""Publishing: a cancellation interrupts long steps, and progress is reported."""

import asyncio
import gc
import os
import threading
from contextlib import closing
from sqlite3 import connect

import pytest
from support.sinks import Given, publish, some_records

from cekat_async import TargetError
from cekat_async.export import Filters, Interruptible, export_conversations, sink_for
from cekat_async.export.checkpoint import Checkpoint
from cekat_async.export.runner import Export
from cekat_async.export.sinks.databases import sqlite
from cekat_async.export.sinks.files import base
from cekat_async.export.sinks.files.json_lines import JsonLinesSink
from cekat_async.export.worker import Worker, report_until_done

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
async def worker():
    """A worker."""
    worker = Worker()
    yield worker
    worker.end()


class Began:
    """An event that a thread sets and a task waits for."""

    def __init__(self):
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def set(self):
        self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self):
        await self._event.wait()


async def cancel(task, began):
    """Cancel a task that runs an endless step, and wait until the task has ended."""
    await began.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


# --- the worker


async def test_work_is_interrupted_until_it_has_ended(worker):
    """Interrupts are repeated until the work ends, because an early one has no effect."""
    began, ended, count = Began(), threading.Event(), 0

    def interrupt():
        nonlocal count
        count += 1
        if count == 3:
            ended.set()

    def work():
        began.set()
        assert ended.wait(300)

    await cancel(asyncio.create_task(worker.do_interruptibly(work, interrupt)), began)

    assert count >= 3


async def test_work_that_is_not_cancelled_is_not_interrupted(worker):
    """Work that is not cancelled returns its result or raises its error."""
    interrupted = []

    assert await worker.do_interruptibly(lambda: 7, lambda: interrupted.append(1)) == 7
    with pytest.raises(ZeroDivisionError):
        await worker.do_interruptibly(lambda: 1 // 0, lambda: interrupted.append(1))
    assert not interrupted


async def test_a_report_that_fails_ends_the_task():
    """An error in the report function is raised when the job has ended."""
    ended = []

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    def report():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await report_until_done(asyncio.create_task(work()), report)
    assert ended


# --- the steps of publishing


async def test_a_long_statement_of_the_checkpoint_is_interrupted(account, target, monkeypatch):
    """An export that is cancelled while SQLite sorts ends immediately, and the next run resumes."""
    began = Began()

    def find_repeats(checkpoint):
        began.set()
        with checkpoint._file.reading():
            return checkpoint._file.get_value(ENDLESS)

    async with account(250) as a:
        with monkeypatch.context() as patched:
            patched.setattr(Checkpoint, "find_repeats", find_repeats)
            await cancel(asyncio.create_task(export_conversations(a.client, target)), began)
        report = await export_conversations(a.client, target)

        assert sorted(target.read_bytes().splitlines()) == sorted(a.lines().splitlines())
    assert report.resumed >= 250


async def test_an_export_that_was_stopped_can_be_run_again_at_once(account, target):
    """The checkpoint is unlocked when the cancellation is raised, not at garbage collection."""
    began = Began()

    class Endless(JsonLinesSink):
        def write(self, records, output):
            while True:
                for batch in records:
                    super().write([batch], output)
                    began.set()

    async with account(250) as a:
        gc.disable()
        try:
            export = export_conversations(a.client, Endless(target), page_size=20)
            await cancel(asyncio.create_task(export), began)
            report = await export_conversations(a.client, target, page_size=20)
        finally:
            gc.enable()

    assert report.conversations == 250


@pytest.mark.parametrize("name", ["x.sqlite", "x.duckdb"])
async def test_a_database_that_failed_while_it_was_written_can_be_written_again(
    account, tmp_path, monkeypatch, name
):
    """The checkpoint is unlocked even while the error is referenced, and no record is lost."""
    if name == "x.duckdb":
        pytest.importorskip("duckdb")
    target = tmp_path / name

    def fail(*_):
        raise TargetError("the disk is full")

    async with account(1500) as a:
        with monkeypatch.context() as patched:
            patched.setattr(type(sink_for(target)), "write", fail)
            with pytest.raises(TargetError) as held:
                await export_conversations(a.client, target, page_size=20)
        report = await export_conversations(a.client, target, page_size=20)

    assert "full" in str(held.value)
    assert report.resumed >= 1500


@pytest.mark.parametrize("step", ["merge", "find_damage"])
@pytest.mark.parametrize("name", ["x.sqlite", "x.duckdb"])
async def test_a_long_statement_of_a_database_is_interrupted(
    account, tmp_path, monkeypatch, name, step
):
    """A cancelled export removes the database that it was writing, and keeps the checkpoint."""
    if name == "x.duckdb":
        pytest.importorskip("duckdb")
    began, sink = Began(), sink_for(tmp_path / name)

    def run_forever(_, opened, *__):
        began.set()
        opened.execute(ENDLESS).fetchall()

    async with account(50) as a:
        with monkeypatch.context() as patched:
            patched.setattr(type(sink), step, run_forever)
            await cancel(asyncio.create_task(export_conversations(a.client, sink)), began)
        names = {path.name for path in tmp_path.iterdir()}
        report = await export_conversations(a.client, tmp_path / name)

    assert f"{name}.checkpoint" in names
    assert not names & {name, f"{name}.new"}
    assert report.conversations == 50 <= report.resumed


async def test_a_committed_export_is_not_interrupted(account, tmp_path):
    """An interrupt between two uses of the database has no effect."""
    sink = sink_for(tmp_path / "x.sqlite")
    assert isinstance(sink, Interruptible)
    async with account(50) as a:
        sink.interrupt()
        report = await export_conversations(a.client, sink)
        sink.interrupt()

    assert report.conversations == 50


async def test_a_long_checksum_is_interrupted(account, target, monkeypatch):
    """An export that is cancelled while it computes the old file's checksum ends immediately."""
    began = Began()

    def read_forever(path, check):
        began.set()
        while True:
            check()

    async with account(250) as a:
        sink = JsonLinesSink(target)
        await export_conversations(a.client, sink)
        with monkeypatch.context() as patched:
            patched.setattr(base, "hash_file", read_forever)
            export = export_conversations(a.client, sink, incremental=True)
            await cancel(asyncio.create_task(export), began)
        report = await export_conversations(a.client, sink, incremental=True)

        assert sorted(target.read_bytes().splitlines()) == sorted(a.lines().splitlines())
    assert report.manifest.incremental


def test_the_last_sync_of_a_file_is_short(tmp_path, monkeypatch):
    """A file is synced often while it is written, because a sync cannot be interrupted."""
    monkeypatch.setattr(base, "_UNSYNCED", 1000)
    synced = []
    path = tmp_path / "x"
    with path.open("wb") as file:
        monkeypatch.setattr(os, "fsync", lambda _: synced.append(path.stat().st_size))
        output = base.Output(file)
        for _ in range(35):
            output.write(b"x" * 100)

    assert synced == [1000, 2000, 3000]


def test_the_last_commit_of_a_new_database_is_short(tmp_path, monkeypatch):
    """A new SQLite file is committed repeatedly under a temporary name."""
    monkeypatch.setattr(sqlite, "_UNCOMMITTED", 10_000)
    committed = []

    class Looking(Given):
        def __iter__(self):
            for batch in super().__iter__():
                with closing(connect(tmp_path / "x.sqlite.new")) as other:
                    committed.append(other.execute("SELECT count(*) FROM sqlite_master").fetchone())
                assert not (tmp_path / "x.sqlite").exists()
                yield batch

    sink = sqlite.SqliteSink(tmp_path / "x.sqlite")
    publish(sink, Looking(some_records(100), batch=10))

    assert committed[0] == (0,)
    assert committed[-1] > (0,)


# --- progress


class Waiting(JsonLinesSink):
    """A file sink that finishes only when ``may_end`` is set."""

    def __init__(self, path):
        super().__init__(path)
        self.may_end = threading.Event()

    def take_name(self):
        assert self.may_end.wait(300)
        super().take_name()


async def test_progress_is_reported_while_the_target_is_written(account, target):
    """Progress is also reported after the last record, while the target is being finished."""
    sink, reported = Waiting(target), []

    def on_progress(progress):
        if progress.published == 250:
            reported.append(progress)
            sink.may_end.set()

    async with account(250) as a:
        await export_conversations(a.client, sink, on_progress=on_progress)

    assert reported[0].to_publish == 250


async def test_an_error_of_on_progress_ends_publishing(account, target):
    """When the error is raised, the target is unchanged or complete, and no write is running."""
    sink = Waiting(target)

    def on_progress(progress):
        if progress.published == 250:
            sink.may_end.set()
            raise ZeroDivisionError

    async with account(250) as a:
        export = Export(a.client, sink, filters=Filters())
        with pytest.raises(ZeroDivisionError):
            await export.run(on_progress=on_progress)

    assert (export.report is not None) == target.exists()


async def test_old_conversations_that_were_compared_are_counted(account, target):
    """Progress of an incremental export counts the old records that are compared with new ones."""
    async with account(250) as a:
        first = await export_conversations(a.client, target)
        second = await export_conversations(a.client, target, incremental=True)

    assert (first.compared, second.compared) == (0, 250)


async def test_a_failure_while_publishing_is_raised(account, target):
    """The error of the target is raised unchanged."""

    class Failing(JsonLinesSink):
        def take_name(self):
            raise TargetError("no")

    async with account(250) as a:
        with pytest.raises(TargetError, match="no"):
            await export_conversations(a.client, Failing(target))
