"""The saver: pages become durable in their order, as many at once as have come meanwhile."""

import asyncio
import gc

import pytest

from cekat_async.export.collecting import Saver


class Disk:
    """Saves what it is given, and no sooner than it may; it can fail at one of its writes."""

    def __init__(self, *, fails_at=None, is_free=True):
        self.batches = []
        self.under_way = 0
        self._fails_at = fails_at
        self._free = asyncio.Event()
        if is_free:
            self._free.set()

    async def save(self, batch):
        self.under_way += 1
        assert self.under_way == 1
        try:
            await self._free.wait()
            await asyncio.sleep(0)
            if len(self.batches) == self._fails_at:
                self._fails_at = None
                raise OSError("the disk is full")
            self.batches.append(list(batch))
        finally:
            self.under_way -= 1

    def free(self):
        self._free.set()

    @property
    def saved(self):
        return [item for batch in self.batches for item in batch]


async def _let_all_run():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_items_are_saved_at_once_if_nothing_is_being_saved():
    """At a calm pace each item is saved by itself, also after ``end``, which may be repeated."""
    disk = Disk()
    saver = Saver(disk.save, 4)
    await saver.end()
    for item in range(3):
        await saver.put(item)
        await _let_all_run()
        assert disk.saved == list(range(item + 1))
    await saver.end()
    await saver.put(3)
    await saver.end()
    await saver.end()

    assert disk.batches == [[0], [1], [2], [3]]


async def test_items_that_arrive_during_a_save_are_one_batch():
    """They are saved together, in their order, and ``end`` returns when the last one is saved."""
    disk = Disk(is_free=False)
    saver = Saver(disk.save, 10)
    await saver.put(0)
    await _let_all_run()
    for item in range(1, 6):
        await saver.put(item)
    ending = asyncio.create_task(saver.end())
    await _let_all_run()
    assert not ending.done()
    disk.free()
    await ending

    assert disk.batches == [[0], [1, 2, 3, 4, 5]]


@pytest.mark.parametrize("most", [1, 2, 5])
async def test_so_many_wait_and_no_more(most):
    """Who gives more than may wait has to wait as well, until there is room."""
    disk = Disk(is_free=False)
    saver = Saver(disk.save, most)

    async def give():
        for item in range(20):
            await saver.put(item)
            given.append(item)

    given = []
    giving = asyncio.create_task(give())
    await _let_all_run()
    # The put of the last that may wait does not return.
    assert len(given) == most - 1
    assert not giving.done()

    disk.free()
    await giving
    await saver.end()
    assert disk.saved == list(range(20))
    assert max(map(len, disk.batches)) <= most


@pytest.mark.parametrize("puts", [0, 1, 3])
async def test_nothing_is_saved_after_a_failure(puts):
    """Each later ``put`` raises the failure, and so does ``end``: nothing is stored after a gap."""
    disk = Disk(fails_at=1)
    saver = Saver(disk.save, 10)
    for item in range(2):
        await saver.put(item)
        await _let_all_run()
    for item in range(puts):
        with pytest.raises(OSError, match="the disk is full"):
            await saver.put(item)
    with pytest.raises(OSError, match="the disk is full"):
        await saver.end()

    assert disk.saved == [0]


async def test_a_failure_while_a_put_waits():
    """A ``put`` that waits returns when saving fails, and ``end`` raises the failure."""
    disk = Disk(fails_at=0, is_free=False)
    saver = Saver(disk.save, 2)
    await saver.put(0)
    await _let_all_run()
    await saver.put(1)
    waiting = asyncio.create_task(saver.put(2))
    await _let_all_run()
    assert not waiting.done()
    disk.free()
    await waiting
    with pytest.raises(OSError, match="the disk is full"):
        await saver.end()

    assert disk.saved == []


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_cancelled_at_the_end_all_is_saved_first(times):
    """Who is cancelled in ``end``, however often, is cancelled when all is saved."""
    disk = Disk(is_free=False)
    saver = Saver(disk.save, 10)
    for item in range(5):
        await saver.put(item)
        await _let_all_run()
    ending = asyncio.create_task(saver.end())
    for _ in range(times):
        await _let_all_run()
        ending.cancel()
    await _let_all_run()
    assert not ending.done()
    disk.free()
    await asyncio.wait([ending])

    assert ending.cancelled()
    assert disk.saved == list(range(5))


@pytest.mark.parametrize("step", range(12))
async def test_cancelled_at_any_moment_all_that_was_given_is_saved(step):
    """At whatever step of the loop one is cancelled, what was given is saved, in its order."""
    disk, given = Disk(), []
    saver = Saver(disk.save, 2)

    async def give():
        try:
            for item in range(20):
                given.append(item)
                await saver.put(item)
                await asyncio.sleep(0)
        finally:
            await saver.end()

    giving = asyncio.create_task(give())
    for _ in range(step):
        await asyncio.sleep(0)
    giving.cancel()
    await asyncio.wait([giving])

    assert giving.cancelled()
    assert disk.saved == given
    gc.collect()  # a failure that nobody has asked for would say so now


async def test_a_failure_is_raised_even_after_a_cancellation():
    """Where saving fails for one who is cancelled it is the failure that is told."""
    disk = Disk(fails_at=0, is_free=False)
    saver = Saver(disk.save, 2)
    await saver.put(0)
    ending = asyncio.create_task(saver.end())
    await _let_all_run()
    ending.cancel()
    disk.free()
    await asyncio.wait([ending])

    assert not ending.cancelled()
    assert isinstance(ending.exception(), OSError)
