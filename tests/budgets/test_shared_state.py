"""Budgets also store the last learned rate, and the end of a pause."""

import asyncio
import itertools
import math
import sqlite3
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyrate_limiter import SQLiteQueries
from support.effort import EFFORT
from support.scripted import reply

from cekat_async import ConfigurationError, LearnedRate, Limiter, RateLimit
from cekat_async.errors import RateLimitError

from .conftest import FileStore, RedisStore

DAY = 86_400.0
RATE = LearnedRate(7, 1 / 3, 2.5)


async def get_learned(budget):
    """Return the rate in the budget, without its age."""
    learned = (await budget.take(10_000, 60.0)).learned
    return learned and (learned.requests, learned.per)


async def test_used_counts_the_takes_of_all(store):
    """Each take returns the number of requests that all processes took in the window."""
    async with store.budget() as one, store.budget() as two:
        used = [(await budget.take(3, 60.0)).used for budget in (one, two, one, two)]
        assert used == [1, 2, 3, 3]

        store.age("cekat", 30)
        assert (await one.take(9, 20.0)).used == 1
        assert (await two.take(9, 60.0)).used == 5


async def test_a_rate_is_kept_for_all(store):
    """Every process receives the rate that one process has learned, together with its age."""
    async with store.budget() as one, store.budget() as two:
        assert (await two.take(9, 60.0)).learned is None
        await one.take(9, 60.0, RATE)
        store.age_state("cekat", 1000)

        learned = (await two.take(9, 60.0)).learned
        assert (learned.requests, learned.per) == (RATE.requests, RATE.per)
        assert 1002.5 <= learned.age < 1302.5


async def test_a_rate_is_kept_even_if_nothing_is_taken(store):
    """A refused take and the announcement of a pause also store the rate."""
    async with store.budget() as budget:
        await budget.take(1, 60.0)
        assert (await budget.take(1, 60.0, RATE)).wait > 0
        assert await get_learned(budget) == (7, 1 / 3)
        await budget.pause(100.0, LearnedRate(8, 60.0))
        assert await get_learned(budget) == (8, 60.0)
        await budget.take(1, 60.0, LearnedRate(9, 60.0))
        assert await get_learned(budget) == (9, 60.0)


async def test_names_share_no_state(store):
    """Budgets with different names have different rates and pauses."""
    name = 'Köln: it\'s "1"; --'
    async with store.budget(name) as one, store.budget("two") as two:
        await one.take(9, 60.0, RATE)
        await one.pause(100.0)

        answer = await two.take(9, 60.0)
        assert (answer.wait, answer.learned, answer.paused_for) == (0.0, None, 0.0)
        assert (await one.take(9, 60.0)).learned is not None


async def test_nothing_is_granted_in_a_pause(store):
    """The longest pause applies to all processes, and takes during a pause are not counted."""
    async with store.budget() as one, store.budget() as two:
        await one.pause(1000.0)
        await one.pause(10.0)
        for budget in (one, two):
            answer = await budget.take(9, 60.0)
            assert 700 < answer.paused_for <= 1000
            assert answer.wait == answer.paused_for
            assert answer.used == 0
        store.age_state("cekat", 1000)

        answer = await two.take(9, 60.0)
        assert (answer.wait, answer.used, answer.paused_for) == (0.0, 1, 0.0)


async def test_a_pause_lasts_a_day_at_most(store):
    """A pause ends after at most a day."""
    async with store.budget() as budget:
        await budget.pause(1e9)
        assert DAY - 300 < (await budget.take(9, 60.0)).paused_for <= DAY
        store.age_state("cekat", DAY)

        assert (await budget.take(9, 60.0)).wait == 0.0


async def test_a_clock_that_was_set_back_forgets_the_state(store):
    """If the clock was set back, ages are unknown, so the stored rate and pause are dropped."""
    async with store.budget() as budget:
        await budget.pause(100.0, RATE)
        store.age_state("cekat", -1_000_000)

        answer = await budget.take(9, 60.0)
        assert (answer.wait, answer.learned) == (0.0, None)


async def test_tasks_may_announce_and_take_at_once(store):
    """Any number of tasks can take and announce pauses concurrently."""
    async with store.budget() as budget:
        takes = [budget.take(10_000, 60.0, LearnedRate(n, 60.0)) for n in range(1, 20)]
        await asyncio.gather(*takes, *(budget.pause(1000.0) for _ in range(20)))

        assert (await budget.take(9, 60.0)).paused_for > 0
        assert await get_learned(budget) is not None


@pytest.mark.parametrize(
    "learned",
    [
        LearnedRate(0, 60.0),
        LearnedRate(1, 0.0),
        LearnedRate(1, math.nan),
        LearnedRate(1, 60.0, -1.0),
    ],
)
async def test_wrong_rates_are_refused(store, learned):
    """An invalid rate raises an error that says what is expected."""
    async with store.budget() as budget:
        with pytest.raises(ConfigurationError, match=r"learned\..* must be a"):
            await budget.take(1, 60.0, learned)
        with pytest.raises(ConfigurationError, match=r"learned\..* must be a"):
            await budget.pause(1.0, learned)
        with pytest.raises(ConfigurationError, match="seconds must be a"):
            await budget.pause(0.0)


# The ages differ so much that no delay of the machine changes their order.
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.none()),
        st.tuples(st.just("take"), st.tuples(st.integers(1, 10**9 - 1), st.integers(0, 3))),
        st.tuples(st.just("pause"), st.sampled_from([3000.0, 6000.0, DAY])),
        st.tuples(st.just("age"), st.sampled_from([3000, 6000])),
    ),
    max_size=12,
)
STEP = 3000.0
_numbers = itertools.count()


@given(EVENTS)
@settings(
    max_examples=20 * EFFORT,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
def test_a_store_keeps_the_newest_rate_and_the_longest_pause(store, events):
    """After takes in any order, the newest rate and the longest pause apply.

    Some takes report a learned rate and others do not, and some of the rates are old.
    """

    async def main():
        newest, age, pause = None, math.inf, 0.0
        name = f"example {next(_numbers)}"
        async with store.budget(name) as one, store.budget(name) as two:
            for (action, argument), budget in zip(events, itertools.cycle([one, two])):
                if action == "age":
                    store.age_state(name, argument)
                    age, pause = age + argument, max(0.0, pause - argument)
                elif action == "pause":
                    await budget.pause(argument)
                    pause = max(pause, argument)
                else:
                    learned = argument and LearnedRate(argument[0], 60.0, argument[1] * STEP)
                    if learned and learned.age <= age:
                        newest, age = learned, learned.age
                    answer = await budget.take(10_000, 60.0, learned)
                    assert pause - STEP < answer.paused_for <= pause
                    assert (answer.wait == 0) == (pause == 0)
                    found = answer.learned
                    assert (found and found.requests) == (newest and newest.requests)
                    assert newest is None or age <= found.age < age + STEP

    asyncio.run(main())


# --- limiters


async def test_a_pause_reaches_another_limiter_within_one_take(store):
    """If the server refuses one limiter's request, the other limiter reports the same pause."""
    async with store.budget() as budget, store.budget() as other:
        refused, waiting = Limiter(budget=budget), Limiter(budget=other)
        permit = await refused.acquire()
        refused.observe(permit, reply(429, Retry_After="800"))
        while not (await budget.take(300, 60.0)).paused_for:  # noqa: ASYNC110 - announced soon
            await asyncio.sleep(0.001)

        with pytest.raises(RateLimitError, match="asked another process to pause") as caught:
            await waiting.acquire(asyncio.get_running_loop().time() + 500)
        assert 500 < caught.value.retry_after <= 800


async def test_a_limit_reaches_another_limiter(store):
    """If the server reports a limit to one limiter, the other one obeys it from the start."""
    async with store.budget() as budget, store.budget() as other:
        first, second = Limiter(budget=budget), Limiter(RateLimit(300, 60.0), budget=other, share=1)
        for left in (39, 38):
            permit = await first.acquire()
            first.observe(permit, reply(X_RateLimit_Limit="40", X_RateLimit_Remaining=str(left)))
        await second.acquire()

        assert (second.snapshot().limit, second.snapshot().per) == (40, 60.0)


# --- version 0.1


def take_as_version_0_1(path, table):
    """Change a file in the same way as a take of version 0.1."""
    with closing(sqlite3.connect(path, isolation_level=None)) as opened:
        opened.execute("BEGIN IMMEDIATE")
        if not opened.execute("PRAGMA user_version").fetchone()[0]:
            opened.execute("PRAGMA user_version = 12345")
        now = asyncio.get_running_loop().time() * 1000  # the machine's monotonic clock
        opened.execute(SQLiteQueries.CREATE_BUCKET_TABLE.format(table=table))
        opened.execute(
            SQLiteQueries.CREATE_INDEX_ON_TIMESTAMP.format(
                index_name=f"{table}_time", table_name=table
            )
        )
        old = f"DELETE FROM {table} WHERE item_timestamp < ?"  # noqa: S608 - hexadecimal
        opened.execute(old, (now - 60_000,))
        opened.execute(SQLiteQueries.PUT_ITEM.format(table=table), ("", int(now)))
        opened.commit()


async def test_a_file_is_shared_with_version_0_1(tmp_path):
    """A file can be shared with version 0.1. Both versions count each other's takes."""
    path = tmp_path / "cekat.sqlite"
    table = f"budget_{b'cekat'.hex()}"
    store = FileStore(path)
    take_as_version_0_1(path, table)
    async with store.budget() as budget:
        assert (await budget.take(9, 60.0, RATE)).used == 2
        take_as_version_0_1(path, table)

        assert (await budget.take(9, 60.0)).used == 4
        assert await get_learned(budget) == (7, 1 / 3)


async def test_a_key_is_shared_with_version_0_1(shared_server):
    """A key can be shared with version 0.1.

    Takes of version 0.1 do not change the stored rate and pause.
    """
    key = "cekat_async:budget:cekat"
    store = RedisStore(shared_server)
    seconds, _ = shared_server.ask("TIME")
    shared_server.ask("ZADD", key, int(seconds) * 1000, ":taken by 0.1:1")
    async with store.budget() as budget:
        assert (await budget.take(9, 60.0, RATE)).used == 2
        shared_server.ask("ZADD", key, int(seconds) * 1000, ":taken by 0.1:2")
        shared_server.ask("ZREMRANGEBYSCORE", key, "-inf", "(1")

        assert (await budget.take(9, 60.0)).used == 4
        assert await get_learned(budget) == (7, 1 / 3)


async def test_the_state_in_redis_expires(shared_server):
    """The server deletes the learned rate a day after a process last stored one."""
    async with RedisStore(shared_server).budget() as budget:
        await budget.pause(5.0, RATE)
        assert DAY - 300 < shared_server.ask("PTTL", "cekat_async:state:cekat") / 1000 < DAY + 1
