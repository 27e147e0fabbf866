"""The saver: pages become durable in their order, as many at once as have come meanwhile."""

import asyncio
import gc

import pytest

from cekat_async.export.saver import Saver


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


async def test_at_a_calm_pace_each_by_itself():
    """What comes when nothing is being saved is saved at once, and by itself."""
    disk = Disk()
    saver = Saver(disk.save, 4)
    for item in range(3):
        await saver.put(item)
        await _let_all_run()
        assert disk.saved == list(range(item + 1))
    await saver.end()

    assert disk.batches == [[0], [1], [2]]


async def test_what_comes_meanwhile_is_saved_at_once():
    """What has come while something was being saved is saved together, in its order."""
    disk = Disk(is_free=False)
    saver = Saver(disk.save, 10)
    await saver.put(0)
    await _let_all_run()
    for item in range(1, 6):
        await saver.put(item)
    disk.free()
    await saver.end()

    assert disk.batches == [[0], [1, 2, 3, 4, 5]]


async def test_the_end_comes_when_all_is_saved():
    """``end`` returns when the last one is saved, at once where nothing was, and also again."""
    disk = Disk(is_free=False)
    saver = Saver(disk.save, 10)
    await saver.end()
    await saver.put("a")
    ending = asyncio.create_task(saver.end())
    await _let_all_run()
    assert not ending.done()

    disk.free()
    await ending
    await saver.end()
    assert disk.saved == ["a"]


async def test_one_may_go_on_behind_the_end():
    """A saver that has come to an end takes more."""
    disk = Disk()
    saver = Saver(disk.save, 10)
    await saver.put("a")
    await saver.end()
    await saver.put("b")
    await saver.end()

    assert disk.saved == ["a", "b"]


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


async def test_a_failure_comes_out_at_the_next_put():
    """Who gives something after saving has failed hears of it, and that is not saved either."""
    disk = Disk(fails_at=1)
    saver = Saver(disk.save, 10)
    for item in range(2):
        await saver.put(item)
        await _let_all_run()
    with pytest.raises(OSError, match="the disk is full"):
        await saver.put(2)
    with pytest.raises(OSError, match="the disk is full"):
        await saver.end()

    assert disk.saved == [0]


async def test_a_failure_comes_out_at_the_end():
    """Where nothing more is given it is ``end`` that raises, and nothing more is saved."""
    disk = Disk(fails_at=0, is_free=False)
    saver = Saver(disk.save, 10)
    for item in range(4):
        await saver.put(item)
        await _let_all_run()
    disk.free()
    with pytest.raises(OSError, match="the disk is full"):
        await saver.end()

    assert disk.saved == []


async def test_a_failure_is_not_gone_on_from():
    """Who gives more all the same is told again, for behind a gap nothing is to be kept."""
    disk = Disk(fails_at=0)
    saver = Saver(disk.save, 10)
    await saver.put(0)
    await _let_all_run()
    for item in range(3):
        with pytest.raises(OSError, match="the disk is full"):
            await saver.put(item)
    with pytest.raises(OSError, match="the disk is full"):
        await saver.end()

    assert disk.saved == []


async def test_a_failure_while_one_waits_for_room():
    """Who waits for room while saving fails is let go, and hears of it at the next occasion."""
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


async def test_cancelled_while_it_waits_for_room_all_is_saved():
    """Who is cancelled in ``put`` loses nothing that was given: it is saved by the end."""
    disk = Disk(is_free=False)
    saver = Saver(disk.save, 2)
    await saver.put(0)
    await _let_all_run()
    await saver.put(1)
    waiting = asyncio.create_task(saver.put(2))
    await _let_all_run()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    disk.free()
    await saver.end()

    assert disk.saved == [0, 1, 2]


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


async def test_a_failure_when_cancelled_comes_out():
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
