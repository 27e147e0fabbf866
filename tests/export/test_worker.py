"""The worker runs jobs one after the other, each to its end, in a thread of its own."""

import asyncio
import contextlib
import gc
import threading
import time

import pytest

from cekat_async.export.sinks.base import Stopped
from cekat_async.export.worker import Worker


@pytest.fixture
async def worker():
    """A worker. The worker's thread must have ended after the test."""
    worker = Worker()
    yield worker
    worker.end()
    await _no_thread_is_left()


def _threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("cekat-export")]


async def _no_thread_is_left():
    for _ in range(2000):
        if not _threads():
            return
        await asyncio.sleep(0.001)
    pytest.fail("the worker's thread is still there")


class Work:
    """A job that runs until the test lets it end."""

    def __init__(self, result=None):
        self.began = asyncio.Event()
        self.done = False
        self._loop = asyncio.get_running_loop()
        self._may_end = threading.Event()
        self._result = result

    def __call__(self):
        self._loop.call_soon_threadsafe(self.began.set)
        assert self._may_end.wait(300)
        self.done = True
        if isinstance(self._result, BaseException):
            raise self._result
        return self._result

    def end(self):
        self._may_end.set()


async def test_the_result_of_a_job_is_returned(worker):
    """The worker passes the arguments on and returns the job's result."""
    assert await worker.do(divmod, 17, 5) == (3, 2)
    assert await worker.do(sorted, [1, 3, 2], reverse=True) == [3, 2, 1]
    assert await worker.do(lambda: None) is None


@pytest.mark.parametrize("error", [ValueError("no"), OSError(5, "why"), KeyError("x")])
async def test_the_error_of_a_job_is_raised(worker, error):
    """The job's error is raised unchanged, and the worker runs the next job."""

    def fail():
        raise error

    with pytest.raises(type(error)) as caught:
        await worker.do(fail)

    assert caught.value is error
    assert await worker.do(int, "7") == 7


async def test_one_job_at_a_time_in_one_thread(worker):
    """Jobs run one at a time in the order of their calls, never in the event loop's thread."""
    under_way, order, threads = [], [], set()

    def work(number):
        under_way.append(number)
        assert under_way == [number]
        time.sleep(0.001)
        under_way.remove(number)
        order.append(number)
        threads.add(threading.current_thread())

    await asyncio.gather(*(worker.do(work, number) for number in range(20)))

    assert order == list(range(20))
    assert len(threads) == 1
    assert threads != {threading.current_thread()}


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("result", ["done", ValueError("no")], ids=["done", "failed"])
async def test_a_cancellation_waits_for_the_end(worker, times, result):
    """A cancellation, even a repeated one, is raised after the running job has finished."""
    work = Work(result)
    doing = asyncio.create_task(worker.do(work))
    await work.began.wait()
    for _ in range(times):
        doing.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert not doing.done()
    work.end()
    await asyncio.wait([doing])

    assert doing.cancelled()
    assert work.done
    gc.collect()  # an exception that was never retrieved would raise a warning here


async def test_cancelled_before_it_begins_nothing_is_done(worker):
    """A job that is cancelled before it starts is never run."""
    done = []
    doing = asyncio.create_task(worker.do(done.append, 1))
    doing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await doing

    assert doing.cancelled()
    assert await worker.do(list, done) == []


async def test_a_job_that_checks_is_stopped(worker):
    """A job that checks for cancellation stops early, and the task is cancelled."""
    began, caught = asyncio.Event(), []
    loop = asyncio.get_running_loop()

    def work():
        loop.call_soon_threadsafe(began.set)
        try:
            end = time.monotonic() + 20
            while time.monotonic() < end:
                worker.check()
        except BaseException as error:
            caught.append(error)
            raise

    doing = asyncio.create_task(worker.do(work))
    await began.wait()
    doing.cancel()
    await asyncio.wait([doing])

    assert doing.cancelled()
    assert [type(error) for error in caught] == [Stopped]
    assert not isinstance(caught[0], Exception)
    gc.collect()


async def test_jobs_after_a_cancellation_are_not_stopped(worker):
    """A cancellation stops only the running job, not the jobs that clean up after it."""
    assert await worker.do(worker.check) is None
    work = Work()
    doing = asyncio.create_task(worker.do(work))
    await work.began.wait()
    doing.cancel()
    await asyncio.sleep(0)
    work.end()
    await asyncio.wait([doing])

    assert await worker.do(worker.check) is None


async def test_the_end_of_the_thread():
    """When the worker ends, its thread ends. A worker without jobs never starts a thread."""
    idle, busy = Worker(), Worker()
    await busy.do(int)
    assert len(_threads()) == 1
    idle.end()
    busy.end()
    await _no_thread_is_left()

    with pytest.raises(RuntimeError):
        await busy.do(int)
