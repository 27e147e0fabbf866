"""The collector stores pages in their order, in batches if the disk is slow."""

import asyncio
import gc

import pytest

from cekat_async import ConversationPage
from cekat_async.export.collecting import Collector
from cekat_async.export.manifest import Counts


class Disk:
    """A worker, checkpoint and tracker that store pages only when the test allows it."""

    def __init__(self, *, fails_at=None, is_free=True):
        self.batches = []
        self.under_way = 0
        self._fails_at = fails_at
        self._free = asyncio.Event()
        self.free = self._free.set
        if is_free:
            self.free()

    async def do(self, work, *arguments):
        self.under_way += 1
        assert self.under_way == 1
        try:
            await self._free.wait()
            await asyncio.sleep(0)
            return work(*arguments)
        finally:
            self.under_way -= 1

    def add_pages(self, pages, counts):
        if len(self.batches) == self._fails_at:
            self._fails_at = None
            raise OSError("the disk is full")
        self.batches.append([page.position for page in pages])

    def put_errors(self, errors):
        assert not errors

    def count(self, pages):
        """No-op."""

    totals = progress = Counts

    @property
    def stored(self):
        return [number for batch in self.batches for number in batch]


def collecting(disk, pages):
    """Start to collect pages."""
    collector = Collector(disk, disk, disk, lambda _: None)
    return asyncio.create_task(collector.collect(pages))


async def send(count, given, *, pause=0):
    """Yield numbered pages, and append the number of each yielded page to ``given``."""
    for number in range(count):
        given.append(number)
        yield ConversationPage(position=number)
        for _ in range(pause):
            await asyncio.sleep(0)


async def let_all_run():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_pages_are_stored_at_once_if_nothing_is_being_stored():
    """If the disk is idle, each page is stored on its own."""
    disk, given = Disk(), []
    await collecting(disk, send(3, given, pause=10))

    assert disk.batches == [[0], [1], [2]]


@pytest.mark.parametrize("most", [2, 5])
async def test_pages_that_arrive_during_a_write_are_one_batch(monkeypatch, most):
    """Pages that wait for a slow disk are stored in order, in batches up to the limit."""
    monkeypatch.setattr("cekat_async.export.collecting._MOST_WAITING", most)
    disk, given = Disk(is_free=False), []
    task = collecting(disk, send(20, given, pause=1))
    await let_all_run()
    await let_all_run()
    # One page is being stored, and the full batch keeps the next page from being fetched.
    assert len(given) == 1 + most
    disk.free()
    await task

    assert disk.batches[:2] == [[0], [*range(1, 1 + most)]]
    assert disk.stored == given == [*range(20)]
    assert max(map(len, disk.batches)) <= most


@pytest.mark.parametrize("pause", [0, 1, 10])
@pytest.mark.parametrize("fails_at", [0, 1])
async def test_nothing_is_stored_after_a_failure(fails_at, pause):
    """If a page cannot be stored, the export ends, and no later page is stored."""
    disk, given = Disk(fails_at=fails_at), []
    with pytest.raises(OSError, match="the disk is full"):
        await collecting(disk, send(20, given, pause=pause))

    assert len(disk.batches) == fails_at


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("fails_at", [None, 0])
async def test_a_cancellation_waits_until_all_is_stored(times, fails_at):
    """A cancelled collector ends when all pages are stored or when the disk fails."""
    disk, given = Disk(is_free=False, fails_at=fails_at), []
    task = collecting(disk, send(5, given))
    for _ in range(times):
        await let_all_run()
        task.cancel()
    await let_all_run()
    assert not task.done()
    disk.free()
    await asyncio.wait([task])

    if fails_at is None:
        assert task.cancelled()
        assert disk.stored == given == [*range(5)]
    else:
        assert isinstance(task.exception(), OSError)
        assert disk.stored == []


@pytest.mark.parametrize("step", range(12))
async def test_cancelled_at_any_moment_received_pages_are_stored(step):
    """A collector that is cancelled at any step stores all pages that it has received."""
    disk, given = Disk(), []
    task = collecting(disk, send(20, given, pause=2))
    for _ in range(step):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert disk.stored == given
    gc.collect()  # an exception that was never retrieved would raise a warning here
