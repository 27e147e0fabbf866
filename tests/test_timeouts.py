"""Deadlines: what a call that was cut off leaves behind, and what a cancellation does to one.

That each call ends at its deadline, whatever it waits for, is in ``test_pipeline.py``.
"""

import asyncio

import pytest
from support.clock import run_virtual

from cekat_async._request.timeouts import Deadlines
from cekat_async.errors import ClientClosedError, DeadlineExceededError


async def call(deadlines: Deadlines, seconds: float = 3600) -> float:
    """Be busy for so many seconds and return the deadline."""

    async def work(deadline: float) -> float:
        await asyncio.sleep(seconds)
        return deadline

    return await deadlines.enforce(work, was_sent=lambda: True)


@pytest.mark.parametrize("seconds,deadline", [(10, 15), (None, float("inf"))])
def test_a_call_knows_its_deadline(seconds, deadline):
    """A call receives the time of its deadline, and infinity if it has none."""

    async def main() -> None:
        await asyncio.sleep(5)
        assert round(await call(Deadlines(seconds), 1), 6) == deadline

    run_virtual(main())


@pytest.mark.parametrize("cancelled_first", [True, False])
def test_a_cancellation_wins(cancelled_first):
    """A task that is cancelled just as the client closes is cancelled, whichever came first."""

    async def main() -> None:
        deadlines = Deadlines(10)
        task = asyncio.create_task(call(deadlines))
        await asyncio.sleep(1)
        for end in (task.cancel, deadlines.close)[:: 1 if cancelled_first else -1]:
            end()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    run_virtual(main())


@pytest.mark.parametrize("reason", [DeadlineExceededError, ClientClosedError])
def test_a_call_that_was_cut_off_leaves_its_task_as_it_was(reason):
    """A task whose call was cut off can continue, and does not count as cancelled."""

    async def main() -> None:
        deadlines = Deadlines(10)
        if reason is ClientClosedError:
            asyncio.get_running_loop().call_later(2, deadlines.close)
        with pytest.raises(reason):
            await call(deadlines)
        assert asyncio.current_task().cancelling() == 0
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(1))

    run_virtual(main())
