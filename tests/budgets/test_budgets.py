"""The promises of every budget, for each kind of store."""

import asyncio

import pytest
from support.clock import most_in_any

from cekat_async import ClientClosedError, ConfigurationError
from cekat_async.budgets import FileBudget, RedisBudget

from .conftest import hammer


async def get_taken(budget, count, requests, per):
    """Return how many of several concurrent takes were granted."""
    answers = await asyncio.gather(*(budget.take(requests, per) for _ in range(count)))
    return [answer.wait for answer in answers].count(0.0)


async def test_no_window_holds_too_many(store):
    """Processes that obey the reported waits never take more than the budget in any window."""
    taken = await hammer(store, 3, requests=20, per=0.5, lasting=2.0)

    stamps = store.stamps("cekat")
    # The takes fill several windows. A benchmark measures how much of the budget is used.
    assert len(stamps) == len(taken) > 20
    assert most_in_any(stamps, 0.5) <= 20
    # By the callers' clock, too, no 21 takes were granted within one window.
    taken.sort()
    for first in range(len(taken) - 20):
        some = taken[first : first + 21]
        assert max(after for _, after in some) - some[0][0] >= 0.5


async def test_all_tasks_may_take_at_once(store):
    """Any number of tasks can take concurrently, and together they get the whole budget."""
    async with store.budget() as budget:
        assert await get_taken(budget, 100, 30, 60.0) == 30


async def test_a_wait_ends_when_a_request_fits(store):
    """A wait ends as soon as a request fits into the budget.

    Another take before that does not extend the wait.
    """
    async with store.budget() as budget:
        assert (await budget.take(1, 300.0)).wait == 0.0
        waits = [(await budget.take(1, 300.0)).wait for _ in range(20)]
        assert all(0 < wait <= 300.002 for wait in waits)
        store.age("cekat", waits[0])

        assert (await budget.take(1, 300.0)).wait == 0.0


async def test_a_budget_grows_and_shrinks(store):
    """A changed number of requests applies immediately, and earlier takes count against it."""
    async with store.budget() as budget:
        assert await get_taken(budget, 15, 10, 60.0) == 10
        assert await get_taken(budget, 15, 14, 60.0) == 4
        assert await get_taken(budget, 15, 5, 60.0) == 0
        assert await get_taken(budget, 15, 16, 60.0) == 2


async def test_a_window_grows_and_shrinks(store):
    """A longer window counts takes of the last minute, even if a shorter window dropped them."""
    async with store.budget() as budget:
        assert await get_taken(budget, 5, 3, 20.0) == 3
        store.age("cekat", 20)
        assert await get_taken(budget, 5, 2, 20.0) == 2

        assert await get_taken(budget, 5, 6, 55.0) == 1
        assert 10.0 < (await budget.take(6, 55.0)).wait <= 35.001


async def test_names_are_budgets_of_their_own(store):
    """Budgets with different names are independent.

    Budgets with the same name, of any characters, are one budget.
    """
    name = 'Köln: it\'s "1"; --'
    async with store.budget(name) as one, store.budget("two") as two, store.budget(name) as same:
        assert await get_taken(one, 5, 3, 60.0) == 3
        assert await get_taken(two, 5, 3, 60.0) == 3
        assert await get_taken(same, 5, 3, 60.0) == 0


async def test_a_cancelled_take_leaves_the_budget_usable(store):
    """A take can be cancelled at any step, and the next one works."""
    async with store.budget() as budget:
        for turns in range(40):
            task = asyncio.create_task(budget.take(10_000, 60.0))
            for _ in range(turns):
                await asyncio.sleep(0)
            if turns % 4 == 3:
                await asyncio.sleep(0.0002)
            task.cancel()
            await asyncio.wait([task])
            assert (await budget.take(10_000, 60.0)).wait == 0.0

    # Cancelled takes may be counted, but only once each.
    assert 40 <= len(store.stamps("cekat")) <= 80


async def test_many_cancelled_takes_do_not_block_the_rest(store):
    """Cancelled takes do not block the takes that wait after them."""
    async with store.budget() as budget:
        tasks = [asyncio.create_task(budget.take(10_000, 60.0)) for _ in range(60)]
        await asyncio.sleep(0.003)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.wait(tasks)

        assert {task.result().wait for task in tasks[1::2]} == {0.0}
        assert (await budget.take(10_000, 60.0)).wait == 0.0


async def test_a_closed_budget_raises(store):
    """A budget can be closed twice. A take from a closed budget raises an error that says so."""
    budget = store.budget()
    async with budget:
        await budget.take(1, 1.0)
    await budget.aclose()

    with pytest.raises(ClientClosedError, match="closed"):
        await budget.take(1, 1.0)


@pytest.mark.parametrize(
    "requests,per", [(0, 60.0), (1.5, 60.0), (True, 60.0), (1, 0), (1, float("inf")), (1, "1")]
)
async def test_wrong_numbers_are_refused(store, requests, per):
    """An invalid number of requests or seconds raises an error that says what is expected."""
    async with store.budget() as budget:
        with pytest.raises(ConfigurationError, match="must be a"):
            await budget.take(requests, per)


@pytest.mark.parametrize("make", [RedisBudget, FileBudget])
@pytest.mark.parametrize(
    "option,value",
    [
        *[("name", odd) for odd in ("", " ", 1, None, "a\nb", "\ud800")],
        *[("timeout", odd) for odd in (0, -1.0, "2", True, None, float("nan"))],
    ],
)
def test_wrong_options_are_refused(make, option, value):
    """The constructor raises an error for a wrong option.

    The error names the option and says what to write.
    """
    place = "redis://127.0.0.1" if make is RedisBudget else "cekat.sqlite"

    with pytest.raises(ConfigurationError, match=f"^{option} must be"):
        make(place, **{option: value})
