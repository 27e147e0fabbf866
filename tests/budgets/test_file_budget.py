"""A file budget whose file is deleted, locked, damaged or missing."""

import asyncio
import sqlite3
from contextlib import closing

import pytest
from support.clock import until

from cekat_async import ConfigurationError
from cekat_async.budgets import FileBudget

from .conftest import FileStore, hammers


async def test_a_deleted_file_is_noticed_and_made_again(tmp_path):
    """If the file is deleted between two takes, the new file is reported once and then used."""
    path = tmp_path / "cekat.sqlite"
    async with FileBudget(path) as budget:
        assert (await budget.take(1, 60.0)).wait == 0.0
        path.unlink()
        with pytest.raises(
            OSError, match="was replaced, so earlier requests are no longer counted"
        ):
            await budget.take(2, 60.0)
        assert (await budget.take(2, 60.0)).wait == 0.0
        assert (await budget.take(2, 60.0)).wait > 0


async def test_a_locked_file_is_given_up_without_blocking(tmp_path):
    """If another process locks the file, takes fail after the timeout and do not block the loop."""
    path = tmp_path / "cekat.sqlite"
    turns = 0
    async with FileBudget(path, timeout=2.0) as budget:
        await budget.take(9, 60.0)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            takes = asyncio.gather(
                *(budget.take(9, 60.0) for _ in range(5)), return_exceptions=True
            )
            while not takes.done():
                turns += 1
                await asyncio.sleep(0.01)
            assert {str(error) for error in takes.result()} == {f"{path} was locked for 2 s"}
            assert all(isinstance(error, TimeoutError) for error in takes.result())
        assert turns > 3

        # Takes that timed out may be counted.
        assert (await budget.take(9, 60.0)).wait == 0.0


async def test_a_process_that_is_killed_leaves_no_lock(tmp_path):
    """A process that is killed during a take does not block others, and its takes count."""
    store = FileStore(tmp_path / "cekat.sqlite")
    processes = await hammers(store, 2, requests=100_000, per=60.0, lasting=60.0)
    async with store.budget() as budget:
        await budget.take(100_000, 60.0)
        await until(lambda: len(store.stamps("cekat")) > 100)
        for process in processes:
            process.kill()
            await process.communicate()

        assert (await budget.take(100_000, 60.0)).wait == 0.0
        assert (await budget.take(100, 60.0)).wait > 0


async def test_a_damaged_file_says_what_to_do(tmp_path):
    """If the file is no database, the OSError says to delete it. Then the budget works again."""
    path = tmp_path / "cekat.sqlite"
    path.write_text("this is no database at all" * 100, encoding="utf-8")
    async with FileBudget(path) as budget:
        with pytest.raises(OSError, match=r"is damaged, or is not a budget \(.*\): delete it"):
            await budget.take(1, 60.0)
        path.unlink()

        assert (await budget.take(1, 60.0)).wait == 0.0


async def test_a_folder_that_is_not_there(tmp_path):
    """Takes raise an OSError with the file's path until the file can be opened."""
    path = tmp_path / "later" / "cekat.sqlite"
    async with FileBudget(path) as budget:
        with pytest.raises(OSError, match=f"{path}: unable to open"):
            await budget.take(1, 60.0)
        path.parent.mkdir()

        assert (await budget.take(1, 60.0)).wait == 0.0


async def test_a_clock_that_was_reset_forgets_nothing(tmp_path):
    """After a restart of the machine, earlier takes count as if they were taken now."""
    store = FileStore(tmp_path / "cekat.sqlite")
    async with store.budget() as budget:
        for _ in range(3):
            await budget.take(4, 60.0)
        store.age("cekat", -1_000_000)

        assert (await budget.take(4, 60.0)).wait == 0.0
        assert 50.0 < (await budget.take(4, 60.0)).wait <= 60.001


async def test_a_file_stays_small(tmp_path):
    """Takes that no longer count are deleted."""
    store = FileStore(tmp_path / "cekat.sqlite")
    async with store.budget() as budget:
        await budget.take(9, 60.0)
        store.age("cekat", 61)
        await budget.take(9, 60.0)

    assert len(store.stamps("cekat")) == 1


async def test_a_path_is_resolved_in_the_constructor(tmp_path, monkeypatch):
    """A relative path refers to the working directory in which the budget was created."""
    monkeypatch.chdir(tmp_path)
    budget = FileBudget(":memory:")
    monkeypatch.chdir("/")
    async with budget:
        await budget.take(1, 60.0)

    assert (tmp_path / ":memory:").stat().st_size
    assert repr(budget) == f"FileBudget({str(tmp_path / ':memory:')!r}, name='cekat')"


@pytest.mark.parametrize("path", ["", " ", None, b"cekat.sqlite", 3, "a\0b"])
def test_wrong_paths_are_refused(path):
    """The constructor raises an error for an invalid path and says what is expected."""
    with pytest.raises(ConfigurationError, match=r"^path must be the path of a file"):
        FileBudget(path)
