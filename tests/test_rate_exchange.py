"""Processes that share a budget learn rates and pauses from each other."""

import asyncio
import logging
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import now, run_virtual, virtual
from support.effort import EFFORT
from support.shared_store import PER, Budget, Store

from cekat_async import BudgetAnswer, LearnedRate, Limiter
from cekat_async._ratelimit.server.limit_estimate import Terms
from cekat_async._ratelimit.shared_budget import SHARED_PAUSE, BudgetWithFallback
from cekat_async.errors import ClientClosedError, ConfigurationError

FORGOTTEN_AFTER = 20  # windows


class Scheduler:
    """Has one rate: its own, a rate that it has learned, or a rate that it has adopted."""

    def __init__(self, limit=60, per=PER, ceiling=math.inf):
        self._own = limit, per
        self._ceiling = ceiling
        self._learned, self._learned_at = None, 0.0
        self.adopted = None
        self.used_by_all = []
        self.shares = []

    @property
    def _rate(self):
        one = self.adopted or self._learned
        return (one.requests, one.per) if one else self._own

    @property
    def total_limit(self):
        return min(self._rate[0], self._ceiling)

    @property
    def terms(self):
        return Terms(self.total_limit, self._rate[1], "test")

    def learn(self, requests, per=PER):
        self._learned, self._learned_at, self.adopted = LearnedRate(requests, per), now(), None

    def get_learned(self, time):
        one = self._learned
        return one and LearnedRate(one.requests, one.per, time - self._learned_at)

    def adopt(self, rate, time):
        self.adopted = rate

    def note_used_by_all(self, count, time):
        self.used_by_all.append(count)

    def set_share(self, share, time):
        self.shares.append(share)


class Process:
    """A scheduler and its connection to the store."""

    def __init__(self, budget, **belief):
        self.scheduler = Scheduler(**belief)
        self.pauses = []
        self._shared = BudgetWithFallback(
            budget, 0.5, self.scheduler, lambda *pause: self.pauses.append(pause)
        )
        self.take = self._shared.take
        self.announce_pause = self._shared.announce_pause

    @property
    def rate(self):
        return self.scheduler.total_limit, self.scheduler.terms.per


def make_processes(count=2, **belief):
    store = Store()
    return store, [Process(Budget(store), **belief) for _ in range(count)]


class Scripted:
    """A budget with prepared answers, which records its arguments."""

    def __init__(self, *answers, pausing=None):
        self._answers = iter(answers)
        self._pausing = pausing
        self.asked, self.news, self.pauses = [], [], []

    async def take(self, requests, per, learned=None):
        self.asked.append(requests)
        self.news.append(learned)
        answer = next(self._answers)
        return answer() if callable(answer) else answer

    async def pause(self, seconds, learned=None):
        self.pauses.append((seconds, learned))
        await asyncio.sleep(0.5)
        if self._pausing:
            raise self._pausing


async def settle():
    """Let running tasks continue, and the tasks that they wait for."""
    await asyncio.sleep(1)


# --- rates


@virtual
async def test_a_learned_rate_reaches_the_others():
    """After their next take, other processes use the new limit, lower or higher, and its window."""
    _, (one, two) = make_processes()
    for rate in ((40, PER), (500, PER), (10, 5.0)):
        one.scheduler.learn(*rate)
        await one.take()
        await two.take()
        assert one.rate == two.rate == rate
        await asyncio.sleep(PER / 2)


@virtual
async def test_a_newcomer_undoes_nothing():
    """A process that has only its default adopts the learned rate, and reports nothing."""
    store, (one, two) = make_processes()
    one.scheduler.learn(40)
    await one.take()
    await asyncio.sleep(5 * PER)

    newcomers = [Process(Budget(store), limit=300) for _ in range(3)]
    for newcomer in newcomers:
        await newcomer.take()
        assert newcomer.rate == (40, PER)
    await two.take()
    assert store.learned.requests == 40
    assert store.learned_at == 0


@virtual
async def test_the_newest_rate_wins():
    """All processes use the rate that was learned last, even if an older one is passed on later."""
    _, (one, two, three) = make_processes(3)
    one.scheduler.learn(40)
    await asyncio.sleep(1)
    two.scheduler.learn(50)
    await two.take()
    await one.take()
    await three.take()
    assert [one.rate, two.rate, three.rate] == [(50, PER)] * 3

    await asyncio.sleep(1)
    one.scheduler.learn(30)
    await one.take()
    await two.take()
    assert [one.rate, two.rate] == [(30, PER)] * 2


@virtual
async def test_an_own_rate_is_not_adopted():
    """A process that gets its own rate back keeps it as its own, and may change it."""
    _, (one, two) = make_processes()
    one.scheduler.learn(40)
    await one.take()
    await one.take()
    assert one.scheduler.adopted is None

    # Another process has learned the same rate, so there is nothing to adopt.
    await two.take()
    assert two.scheduler.adopted.requests == 40
    await asyncio.sleep(1)
    two.scheduler.learn(40)
    await two.take()
    assert two.scheduler.adopted is None


@pytest.mark.parametrize("is_away", [False, True])
@virtual
async def test_an_old_rate_is_forgotten(is_away):
    """An unconfirmed rate is dropped after twenty windows, with or without the budget."""
    store, (one, two) = make_processes()
    one.scheduler.learn(40)
    await one.take()
    await two.take()
    if is_away:
        store.outages.append((1, math.inf))
    await asyncio.sleep(FORGOTTEN_AFTER * PER - 1)
    await two.take()
    assert two.rate == (40, PER)

    await asyncio.sleep(2)
    await two.take()
    assert two.rate == (60, PER)


@virtual
async def test_a_grant_above_the_new_rate_is_dropped():
    """A request that was granted at too high a rate is not sent, and the process takes again."""
    store, (one, two) = make_processes()
    one.scheduler.learn(3)
    for _ in range(3):
        await one.take()
    assert len(store.taken) == 3

    assert 0 < await two.take() < 0.01
    assert await two.take() > 1
    assert two.scheduler.used_by_all == [4, 4]


@virtual
async def test_a_grant_by_the_old_rate_is_used_if_it_fits_the_new_one():
    """A grant is used if all requests taken in the window also fit the new rate."""
    _, (one, two) = make_processes()
    one.scheduler.learn(3)
    await one.take()
    await one.take()

    assert await two.take() == 0
    assert await two.take() > 1


@virtual
async def test_a_grant_by_a_shorter_window_is_dropped():
    """A grant that was counted in a shorter window shows nothing about a longer one."""
    _, (one, two) = make_processes()
    one.scheduler.learn(50, 2 * PER)
    await one.take()

    assert 0 < await two.take() < 0.01
    assert await two.take() == 0


@virtual
async def test_a_wait_for_the_old_rate_is_not_waited_for():
    """A process that waits for its old rate takes again immediately if it learns a higher one."""
    _, (one, two) = make_processes(limit=2)
    one.scheduler.learn(10)
    for _ in range(3):
        assert await one.take() == 0

    assert 0 < await two.take() < 0.01
    assert await two.take() == 0


@virtual
async def test_a_ceiling_of_its_own_does_not_make_it_ask_again():
    """A process whose own limit is below the shared rate keeps to its limit and its waits."""
    store, (one,) = make_processes(1)
    one.scheduler.learn(50)
    await one.take()
    two = Process(Budget(store), limit=1, ceiling=1)

    assert await two.take() > 1
    assert two.rate == (1, PER)


@virtual
async def test_a_rate_learned_during_a_take_is_kept():
    """The answer to a take does not overwrite a rate that the process learned during the take."""

    def learn_and_answer():
        process.scheduler.learn(45)
        return BudgetAnswer(wait=0.0, used=1, learned=LearnedRate(20, PER))

    budget = Scripted(learn_and_answer, BudgetAnswer(wait=0.0, used=2, learned=None))
    process = Process(budget)
    assert await process.take() == 0
    assert process.rate == (45, PER)
    await process.take()
    assert budget.asked == [60, 45]
    assert budget.news[0] is None
    assert (budget.news[1].requests, budget.news[1].per) == (45, PER)


RATES = st.tuples(st.sampled_from([5, 20, 300]), st.sampled_from([PER, 5.0]))
STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.one_of(
            st.just(("take",)),
            st.tuples(st.just("learn"), RATES),
            st.tuples(st.just("pause"), st.sampled_from([1.0, 30.0])),
            st.tuples(st.just("sleep"), st.sampled_from([4.0, 70.0, 110.0, 600.0])),
        ),
    ),
    max_size=30,
)


async def play(steps):
    """Let processes learn, take and pause in turn, and return the final rate of each process."""
    store, processes = make_processes(3)
    own, newest = [(60, PER)] * 3, None
    for number, (action, *argument) in steps:
        process = processes[number]
        if action == "learn":
            own[number], newest = argument[0], (argument[0], now())
            process.scheduler.learn(*argument[0])
        elif action == "pause":
            process.announce_pause(*argument)
        elif action == "sleep":
            await asyncio.sleep(*argument)
        elif await process.take() == 0:
            require_allowed(store)
        await asyncio.sleep(0.01)
    for process in processes * 2:
        await process.take()
    return processes, own, newest


def require_allowed(store):
    """Check that a request was granted outside any pause and within the shared rate."""
    assert store.paused_until <= now()
    rate, age = store.learned, now() - store.learned_at
    if rate and age <= FORGOTTEN_AFTER * rate.per:
        window = rate.per * (1 + 1 / 60)
        assert sum(time > now() - window for time in store.taken) <= rate.requests


@given(STEPS)
@settings(max_examples=200 * EFFORT)
def test_all_keep_to_the_rate_that_was_learned_last(steps):
    """In any order of events, all processes use the newest rate after their next take.

    If the newest rate is old, each process returns to its own rate. Nothing is granted during a
    pause or above the shared rate.
    """

    async def main():
        processes, own, newest = await play(steps)
        rate, at = newest or ((60, PER), 0.0)
        is_known = newest and now() - at <= FORGOTTEN_AFTER * rate[1]
        assert [process.rate for process in processes] == ([rate] * 3 if is_known else own)

    run_virtual(main())


# --- pauses


@virtual
async def test_a_pause_reaches_the_others_within_one_take():
    """While one process pauses because the server asked for it, the others are granted nothing."""
    _, (one, two) = make_processes()
    one.announce_pause(20.0)
    await settle()

    assert await two.take() == pytest.approx(19)
    assert two.pauses == [(pytest.approx(19), SHARED_PAUSE)]
    await asyncio.sleep(19)
    assert await two.take() == 0
    assert one.pauses == []


@virtual
async def test_a_pause_is_announced_with_the_learned_rate():
    """A refusal that asks for a pause often shows a lower limit, which the others need later."""
    store, (one, two) = make_processes()
    one.scheduler.learn(40)
    one.announce_pause(20.0)
    await settle()
    assert store.learned.requests == 40

    await two.take()
    assert two.rate == (40, PER)


@virtual
async def test_many_refusals_are_announced_by_one_task():
    """For any number of concurrent refusals, there are few announcements, one at a time."""
    budget = Scripted()
    process = Process(budget)
    for extra in range(50):
        process.announce_pause(20.0 + extra / 1000)
        await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 2
    await settle()

    (first, _), (last, _) = budget.pauses
    assert first == pytest.approx(20)
    assert last == pytest.approx(19.549)
    process.announce_pause(5.0)  # this pause ends sooner
    await settle()
    assert len(budget.pauses) == 2


@virtual
async def test_a_longer_pause_is_announced():
    """If a later refusal asks for a longer pause, that pause is announced too."""
    store, (one, two) = make_processes()
    one.announce_pause(5.0)
    await settle()
    one.announce_pause(20.0)
    await settle()

    await two.take()
    assert two.pauses[0][0] == pytest.approx(19)
    assert store.paused_until == pytest.approx(21)


@virtual
async def test_the_rest_of_an_own_pause_is_waited_for():
    """Announcing takes a moment. The short rest of the pause is then not taken for a new pause."""
    _, (one,) = make_processes(1)
    one.announce_pause(1.2)
    await settle()

    assert await one.take() == pytest.approx(0.2)
    assert one.pauses == []


@pytest.mark.parametrize("error", [ConnectionError("away"), ClientClosedError("closed")])
@virtual
async def test_a_pause_that_cannot_be_announced_is_no_failure(caplog, error):
    """The next take reports a budget that is unavailable or closed.

    The announcement only logs the error.
    """
    caplog.set_level(logging.DEBUG, "cekat_async")
    budget = Scripted(pausing=error)
    process = Process(budget)
    process.announce_pause(20.0)
    await settle()
    process.announce_pause(20.0)
    await settle()

    assert [record.getMessage() for record in caplog.records if record.name == "cekat_async"] == [
        f"the pause was not announced: {error}"
    ] * 2


@virtual
async def test_a_silent_budget_is_not_waited_for_for_ever():
    """An announcement is given up after a quarter of a window."""

    class Silent(Scripted):
        async def pause(self, seconds, learned=None):
            await asyncio.sleep(1e9)

    Process(Silent()).announce_pause(1000.0)
    await asyncio.sleep(PER / 4 + 1)
    assert asyncio.all_tasks() == {asyncio.current_task()}


# --- other kinds of budgets


@virtual
async def test_an_answer_of_another_kind_is_an_error():
    """If a budget returns a number, as budgets did in version 0.1, an error says so."""
    with pytest.raises(ConfigurationError, match=r"must return a BudgetAnswer, not 0\.0"):
        await Process(Scripted(0.0)).take()


def test_other_budgets_are_refused():
    """The limiter's constructor refuses a budget that lacks a method."""

    class Old:
        async def take(self, requests, per):
            return 0.0

    with pytest.raises(ConfigurationError, match="budget must be a SharedBudget, not"):
        Limiter(budget=Old())
