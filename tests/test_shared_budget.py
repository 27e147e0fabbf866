"""Limiters with a shared budget: during an outage of the budget, and after it."""

import asyncio
import itertools
import logging
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import most_in_any, now, run_virtual, virtual
from support.effort import EFFORT
from support.scripted import reply
from support.shared_store import NEVER, PER, Budget, Store, busy, call, make_limiter

from cekat_async import BudgetAnswer
from cekat_async.errors import ConfigurationError, RateLimitError

HOLD = 75.0  # a period, plus the quarter of a period for which a take may be in flight
SETTLING = 120.0  # two periods


class Scripted:
    """A budget that returns the given answers."""

    def __init__(self, *answers):
        self._answers = iter(answers)
        self.pauses = []

    async def take(self, requests, per, learned=None):
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return BudgetAnswer(wait=answer, used=1) if isinstance(answer, float) else answer

    async def pause(self, seconds, learned=None):
        self.pauses.append(seconds)


class Blocked:
    """A budget that does not answer, and records that the call was cancelled."""

    def __init__(self):
        self.given_up = []

    async def take(self, requests, per, learned=None):
        await self.pause(per)

    async def pause(self, seconds, learned=None):
        try:
            await asyncio.sleep(1e9)
        finally:
            self.given_up.append(now())


def sent_in(times, begin, end):
    return sum(begin <= time < end for time in times)


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# --- while the budget is available


@virtual
async def test_the_budget_decides():
    """Two clients of a budget both get their part.

    No window is too full, and little of the limit is lost.
    """
    store = Store()
    one, two = await asyncio.gather(*(busy(make_limiter(Budget(store)), 900) for _ in range(2)))
    assert most_in_any(one + two, PER) <= 60
    assert len(one) + len(two) >= 0.96 * 15 * 60
    assert min(len(one), len(two)) > 0.3 * 15 * 60


@virtual
async def test_a_client_alone_uses_the_whole_budget():
    """If the others send nothing, one client uses the whole limit, except a sixtieth."""
    times = await busy(make_limiter(Budget(Store()), share=0.1), 1200)
    assert sent_in(times, 200, 1200) >= 0.97 * 1000


@virtual
async def test_the_window_is_longer_than_it_is():
    """The client counts in a window that is a sixtieth longer, because requests may arrive late."""
    budget = Budget(Store())
    await call(make_limiter(budget))
    assert budget.asked == [(0, 60, 61.0)]


@virtual
async def test_a_jitter_of_a_sixtieth_is_no_harm():
    """Arrivals up to a sixtieth of a period after the grant never make a window too full."""
    store = Store()
    walks = [busy(make_limiter(Budget(store), share=0.3), 600) for _ in range(3)]
    grants = sorted(itertools.chain(*await asyncio.gather(*walks)))
    for late in range(7):  # and one request in seven is late
        arrivals = [time + (number % 7 == late) for number, time in enumerate(grants)]
        assert most_in_any(arrivals, PER) <= 60


@virtual
async def test_it_begins_with_its_share():
    """A new client uses only its share for two periods, because others may be in an outage."""
    times = await busy(make_limiter(Budget(Store()), share=0.25), 600)
    assert most_in_any([time for time in times if time < SETTLING], PER) == 15
    assert sent_in(times, SETTLING + 5, SETTLING + 65) > 50


@virtual
async def test_after_a_pause_it_begins_again():
    """After a period without requests the past is unknown, so the client starts again."""
    budget = Budget(Store())
    limiter = make_limiter(budget, share=0.25)
    await busy(limiter, 300)
    times = await busy(limiter, 600, begin=365)
    assert most_in_any([time for time in times if time < 365 + SETTLING], PER) == 15
    assert sent_in(times, 365 + SETTLING + 5, 365 + SETTLING + 65) > 50


@virtual
async def test_a_wait_is_no_pause():
    """During a long wait, the client asks the budget twice a period, and so stays in contact."""
    budget = Scripted(*[0.0] * 200, 1000.0, 30.0, 30.0, 30.0, *[0.0] * 10**4)
    limiter = make_limiter(budget, share=0.1)
    times = await busy(limiter, 700)
    (begin, end), *_ = [(a, b) for a, b in itertools.pairwise(times) if b - a > 100]
    assert end - begin == pytest.approx(120, abs=2)
    assert sent_in(times, end, end + PER) > 50


@virtual
async def test_the_server_changes_the_limit():
    """The new limit applies at the next take, and the share is a share of the new limit."""
    store = Store([(900, NEVER)])
    budget = Budget(store)
    limiter = make_limiter(budget, limit=None)
    await call(limiter, reply(X_RateLimit_Limit="40", X_RateLimit_Remaining="39"))
    times = await busy(limiter, 1200)
    assert {requests for _, requests, _ in budget.asked} == {300, 40}
    assert budget.asked[1][1] == 40
    assert most_in_any(times, PER) <= 40
    assert most_in_any([time for time in times if time > 960], PER) == 20


# --- while the budget is unavailable


@virtual
async def test_it_continues_alone(caplog):
    """Without the budget, the client logs a line and pauses until its requests are old.

    Then it uses its share.
    """
    limiter = make_limiter(Budget(Store([(300.25, NEVER)])))
    times = await busy(limiter, 1000)
    before = [time for time in times if time < 300.25]
    after = [time for time in times if time > 300.25]
    assert HOLD <= after[0] - before[-1] < HOLD + 2
    assert most_in_any(after, PER) == 30
    assert len(after) >= 0.96 * (1000 - after[0]) / PER * 30
    (warning,) = warnings(caplog)
    assert warning.startswith(
        "the shared budget is unavailable (nobody there), continuing with 50% of the"
    )
    assert warning.endswith("pausing all requests for 75 s")
    assert limiter.snapshot().limit == 30


@virtual
async def test_the_pause_can_be_seen():
    """During the pause, a snapshot has the reason and the length of the pause."""
    limiter = make_limiter(Budget(Store([(0, NEVER)])))
    task = asyncio.create_task(call(limiter))
    await asyncio.sleep(15)
    snapshot = limiter.snapshot()
    assert snapshot.paused_for == pytest.approx(60)
    assert "the shared budget is unavailable" in snapshot.pause_reason
    assert await task == HOLD


@virtual
async def test_it_may_be_away_from_the_start():
    """A client that starts without the budget pauses too.

    Other clients may have used the quota just before.
    """
    times = await busy(make_limiter(Budget(Store([(0, NEVER)]))), 300)
    assert times[0] == HOLD
    assert most_in_any(times, PER) == 30


@virtual
async def test_a_call_that_cannot_wait_for_the_pause_ends_at_once():
    """If the deadline is before the end of the pause, the call's error has that time.

    A later call continues alone.
    """
    limiter = make_limiter(Budget(Store([(0, NEVER)])))
    with pytest.raises(RateLimitError, match="the shared budget is unavailable") as caught:
        await limiter.acquire(30.0)
    assert now() == 0
    assert caught.value.retry_after == pytest.approx(HOLD)
    await asyncio.sleep(caught.value.retry_after)
    assert await call(limiter) == HOLD


@virtual
async def test_alone_it_asks_twice_a_period():
    """During an outage, the client tries the budget every half period, not before each request."""
    budget = Budget(Store([(0, NEVER)]))
    await busy(make_limiter(budget), 600)
    asked = [time for time, *_ in budget.asked]
    assert asked[:2] == [0, HOLD]
    gaps = [b - a for a, b in itertools.pairwise(asked[1:])]
    assert all(30 <= gap < 33 for gap in gaps)
    assert len(gaps) >= 15


@virtual
async def test_a_budget_that_does_not_answer_is_away(caplog):
    """A take that lasts longer than a quarter of a period is cancelled.

    It counts as no answer.
    """
    budget = Blocked()
    times = await busy(make_limiter(budget), 200)
    assert budget.given_up[:2] == [15, 105]
    assert times[0] == 105
    assert "is unavailable (no answer in time)" in warnings(caplog)[0]


@virtual
async def test_an_answer_may_take_a_while(caplog):
    """If a period is a minute, a take may last almost half a second without loss of quota."""
    times = await busy(make_limiter(Budget(Store(), answers=[0.4]), limit=60), 600)
    assert sent_in(times, SETTLING, 600) >= 0.97 * 480
    assert warnings(caplog) == []


@virtual
async def test_a_late_grant_is_not_used():
    """The place of a late grant would become free too early, so the client takes again."""
    budget = Budget(Store(), answers=[5.0, 5.0, 0.1])
    assert (await call(make_limiter(budget)), len(budget.asked)) == (10.1, 3)


@virtual
async def test_a_budget_with_only_late_grants_is_unavailable(caplog):
    """After four late grants in a row, the client continues without the budget.

    Refusals that arrive in time do not change that. After a grant in time, the client uses the
    budget again.
    """
    times = await busy(make_limiter(Budget(Store(), answers=[2.0] * 20 + [0.0] * 9999)), 3000)
    assert times[0] == 8 + HOLD + 2
    assert most_in_any(times, PER) > 50
    assert warnings(caplog)[0].startswith(
        "the shared budget is unavailable (its grants arrive too late)"
    )
    assert warnings(caplog)[1] == "the shared budget is available again"


@pytest.mark.parametrize("answer", [-1.0, math.nan, math.inf, -math.inf])
@virtual
async def test_an_invalid_wait_is_no_answer(caplog, answer):
    """A budget that returns an invalid wait counts as unavailable.

    The log has the invalid answer.
    """
    limiter = make_limiter(Scripted(answer, 0.0))
    assert await call(limiter) == HOLD
    assert f"is unavailable (it asks to wait for {answer} s)" in warnings(caplog)[0]


@virtual
async def test_an_error_that_is_no_outage_is_raised():
    """Another error, such as that of a closed budget, ends only the current call."""
    limiter = make_limiter(Scripted(ConfigurationError("closed"), 0.0))
    with pytest.raises(ConfigurationError, match="closed"):
        await call(limiter)
    assert await call(limiter) == 0


@virtual
async def test_a_call_cancelled_during_a_take_leaves_no_trace(caplog):
    """The next call can take from the budget, which does not count as unavailable."""
    budget = Budget(Store(), answers=[0.4])
    limiter = make_limiter(budget)
    tasks = [asyncio.create_task(call(limiter)) for _ in range(2)]
    await asyncio.sleep(0.2)
    tasks[0].cancel()
    await asyncio.wait(tasks)
    assert tasks[0].cancelled()
    assert tasks[1].result() == 0.6
    assert warnings(caplog) == []


def test_a_pause_that_begins_during_a_take_is_kept():
    """If the server's pause begins during a take or a wait for the budget, it applies later."""

    async def main(budget):
        limiter = make_limiter(budget)
        await call(limiter)
        first = await limiter.acquire()
        task = asyncio.create_task(call(limiter))
        await asyncio.sleep(2.3)
        limiter.observe(first, reply(429, Retry_After="100"))
        paused_at = now()
        return await task - paused_at

    assert run_virtual(main(Scripted(0.0, 0.0, 20.0, 0.0))) == 100.0
    assert run_virtual(main(Budget(Store(), answers=[0.0, 0.0, 0.4]))) >= 100.0


@virtual
async def test_a_share_is_never_nothing():
    """The share of a small limit is at least one request per period."""
    times = await busy(make_limiter(Budget(Store([(0, NEVER)])), limit=1), 400)
    assert most_in_any(times, PER) == 1
    assert len(times) == 6


# --- when the budget is available again


@virtual
async def test_it_keeps_to_its_share_until_all_have_noticed(caplog):
    """When the budget is back, the client logs that.

    Two periods later it uses the whole limit again.
    """
    times = await busy(make_limiter(Budget(Store([(300, 600)]))), 1000)
    back = 600 + 30  # the client tries the budget every half period
    settled = [time for time in times if 375 <= time < back + SETTLING - 15]
    assert most_in_any(settled, PER) == 30
    assert sent_in(times, back + SETTLING + 5, back + SETTLING + 65) > 50
    assert warnings(caplog)[1:] == ["the shared budget is available again"]


@virtual
async def test_a_short_outage_costs_a_pause(caplog):
    """If the budget is back before the end of the pause, the client uses it after the pause.

    The pause is kept, because the budget may have lost its content.
    """
    budget = Budget(Store([(300, 310)]))
    times = await busy(make_limiter(budget), 600)
    before = max(time for time in times if time < 300)
    after = min(time for time in times if time >= 300)
    assert after - before >= HOLD
    assert after in [time for time, *_ in budget.asked]
    assert len(warnings(caplog)) == 2


@virtual
async def test_away_again_while_it_is_just_back(caplog):
    """An outage during the recovery from another one is handled like any other."""
    times = await busy(make_limiter(Budget(Store([(300, 600), (650, 900)]))), 1300)
    assert max(b - a for a, b in itertools.pairwise(times) if 640 < b < 800) >= HOLD
    assert most_in_any([time for time in times if 300 <= time < 900 + SETTLING], PER) == 30
    assert sent_in(times, 1060, 1120) > 50
    assert len(warnings(caplog)) == 4


def test_an_outage_long_ago_says_nothing_of_this_one():
    """If two outages are two periods apart, the client pauses again.

    In between, the budget may have been available, and others may have used the whole limit.
    """

    async def sent(outages, pause):
        limiter = make_limiter(Budget(Store(outages)))
        with pytest.raises(RateLimitError):
            await limiter.acquire(1.0)
        await asyncio.sleep(pause)
        return await call(limiter)

    assert run_virtual(sent([(0, NEVER)], 119)) == 119
    assert run_virtual(sent([(0, NEVER)], 121)) == 121 + HOLD
    assert run_virtual(sent([(0, 10), (190, NEVER)], 200)) == 200 + HOLD


# --- several processes


def test_a_client_that_missed_the_outage_keeps_to_its_share():
    """The client keeps to its share, because another client may still be without the budget."""

    async def main(begin):
        store = Store([(300, 600.5)])
        busy_one, late = (make_limiter(Budget(store)) for _ in range(2))
        await busy(late, begin)
        return await asyncio.gather(busy(busy_one, 900), busy(late, 900, begin=601))

    for begin in (0, 200):
        assert most_in_any(list(itertools.chain(*run_virtual(main(begin)))), PER) <= 60


LIMITS = st.integers(6, 16)
SECONDS = st.sampled_from([0.0, 0.5, 20.0, 29.5, 61.0, 77.0, 118.0, 200.0, 333.5])
# Not all answers are late: a process whose takes are all late would have no connection.
ANSWERS = st.lists(st.sampled_from([0.0, 0.01, 0.4, 4.0]), max_size=3).map(lambda some: [*some, 0])
SILENCES = st.lists(st.sampled_from([0.0, 1.0, 100.0]), min_size=1, max_size=4)
# Alternating spans of time: without requests, and with continuous requests.
LASTING = st.sampled_from([20.0, 118.0, 333.5, 800.0])
MOODS = st.lists(st.tuples(SECONDS, LASTING), min_size=1, max_size=3)
GAP = 180.0


@st.composite
def outages(draw, least=GAP):
    """Times at which a store is unavailable, with at least ``least`` seconds between them."""
    times, begin = [], 0.0
    for _ in range(draw(st.integers(1, 3))):
        begin += draw(SECONDS)
        end = begin + draw(SECONDS)
        times.append((begin, end))
        begin = end + least
    return times


@st.composite
def processes(draw):
    """A limit, and the share, the activity and the connection of each process."""
    limit, count = draw(LIMITS), draw(st.integers(2, 4))
    parts = draw(st.lists(st.integers(1, limit // count), min_size=count, max_size=count))
    ways = st.tuples(MOODS, ANSWERS, SILENCES, outages(0.0))
    return limit, [(part, *draw(ways)) for part in parts]


async def moody(limiter, moods):
    """Send as much as possible during some spans of time, and return when requests were sent."""
    times = []
    for idle, lasting in moods:
        times += await busy(limiter, now() + idle + lasting, begin=now() + idle)
    return times


async def sent_by(store, limit, ways, *, are_cut):
    """Let processes send, and return the times of all requests."""
    walks = []
    for part, moods, answers, silences, cuts in ways:
        way = Budget(store, answers=answers, silences=silences, cuts=cuts if are_cut else ())
        share = (part + 1e-6) / limit  # rounded down
        walks.append(moody(make_limiter(way, limit=limit, share=share), moods))
    return list(itertools.chain(*await asyncio.gather(*walks)))


@pytest.mark.once
@given(processes(), outages())
@settings(max_examples=20 * EFFORT)
def test_an_outage_never_makes_a_window_too_full(some, away):
    """No window has more than the limit, at any time of an outage.

    The promise covers any activity and any delay of answers, the edges of an outage, and processes
    that start or are idle during it. The budget is unavailable for all processes, and then
    available for at least three periods.
    """
    limit, ways = some
    sent = run_virtual(sent_by(Store(away), limit, ways, are_cut=False))

    assert most_in_any(sent, PER) <= limit


@given(processes(), outages(0.0))
@settings(max_examples=20 * EFFORT)
def test_a_disconnected_process_costs_at_most_its_share(some, away):
    """If some processes are disconnected, a window exceeds the limit by at most their shares.

    The others cannot distinguish a disconnected process from an idle one. If you must never exceed
    a quota, leave space for the shares: a limit of 280 and three shares of 0.03 keep to 300.
    """
    limit, ways = some
    sent = run_virtual(sent_by(Store(away), limit, ways, are_cut=True))

    parts = [part for part, *_ in ways]
    assert most_in_any(sent, PER) <= limit + sum(parts) - min(parts)
