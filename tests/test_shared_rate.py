"""Limiters that share a budget all keep to the rate that one of them learns from the server."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import most_in_any, now, run_virtual, virtual
from support.effort import EFFORT
from support.scripted import reply
from support.shared_store import PER, Budget, Store, call, make_limiter


class Server:
    """Counts in a sliding window. Its limit differs from the one that its clients expect."""

    def __init__(self, limit, *, states=False):
        self.limit = limit
        self.states = states
        self.granted, self.refused = [], []

    def answer(self):
        used = sum(time > now() - PER for time in self.granted)
        if used >= self.limit:
            self.refused.append(now())
            return reply(429, Retry_After="20")
        self.granted.append(now())
        if not self.states:
            return reply()
        left = str(self.limit - used - 1)
        return reply(X_RateLimit_Limit=str(self.limit), X_RateLimit_Remaining=left)


async def use(server, limiter, until, begin=0.0):
    """Send everything that may be sent."""
    await asyncio.sleep(begin - now())
    while now() < until:
        permit = await limiter.acquire()
        # Every request takes a moment, so that the processes take turns.
        await asyncio.sleep(0.1)
        limiter.observe(permit, server.answer())


def limits(limiters):
    return [limiter.snapshot().limit for limiter in limiters]


@virtual
async def test_refusals_lower_the_total_and_not_to_the_part_of_one():
    """Three processes that expect 60 are granted 30. They agree on about 30, and not on 10."""
    server, store = Server(30), Store()
    budgets = [Budget(store) for _ in range(3)]
    limiters = [make_limiter(budget, share=0.33) for budget in budgets]
    await asyncio.gather(*(use(server, limiter, 900) for limiter in limiters))

    assert max(limits(limiters)) - min(limits(limiters)) <= 2
    assert max(limits(limiters)) <= 36
    assert min(requests for budget in budgets for _, requests, _ in budget.asked) >= 24
    assert sum(time > 300 for time in server.granted) >= 0.75 * 30 * 10


@virtual
async def test_a_new_process_uses_the_learned_limit():
    """If refusals have lowered one process's limit, later processes start with that limit."""
    server, store = Server(30), Store()
    first = make_limiter(Budget(store), share=1)
    await use(server, first, 400)
    assert server.refused
    before = len(server.refused)
    others = [make_limiter(Budget(store), share=1) for _ in range(3)]
    await asyncio.gather(*(use(server, one, now() + 50, begin=now()) for one in others))

    assert len(server.refused) == before
    assert len({limiter.snapshot().limit for limiter in (first, *others)}) == 1


@virtual
async def test_a_raised_limit_reaches_all():
    """A higher limit reported to one process applies to all processes after their next take."""
    server, store = Server(20, states=True), Store()
    limiters = [make_limiter(Budget(store), limit=None, share=0.5) for _ in range(2)]
    await asyncio.gather(*(use(server, limiter, 300) for limiter in limiters))
    assert [limiter.snapshot().source for limiter in limiters] == ["stated", "stated"]
    server.limit = 100
    await asyncio.gather(*(use(server, limiter, 600) for limiter in limiters))

    assert limits(limiters) == [100, 100]
    assert server.refused == []


@virtual
async def test_an_adopted_limit_is_named_and_forgotten():
    """The snapshot says that a limit is shared.

    Without confirmation, the process's own limit applies again.
    """
    store = Store()
    one, two = (make_limiter(Budget(store), limit=None, share=1) for _ in range(2))
    for left in (39, 38):
        await call(one, reply(X_RateLimit_Limit="40", X_RateLimit_Remaining=str(left)))
    await call(one)
    await call(two)
    assert (two.snapshot().limit, two.snapshot().source) == (40, "shared")

    await asyncio.sleep(21 * PER)
    await call(two)
    assert (two.snapshot().limit, two.snapshot().source) == (300, "documented")


@pytest.mark.parametrize("stated,kept", [("100", 50), ("20", 20)])
@virtual
async def test_an_own_ceiling_holds_whatever_others_learn(stated, kept):
    """A configured rate is never exceeded, and other processes do not adopt it as a limit."""
    store = Store()
    free = make_limiter(Budget(store), limit=None, share=1)
    polite = make_limiter(Budget(store), limit=50, share=1)
    for _ in range(2):
        await call(free, reply(X_RateLimit_Limit=stated, X_RateLimit_Remaining="15"))
    await call(polite)
    await call(free)

    assert limits([free, polite]) == [int(stated), kept]


@virtual
async def test_a_ceiling_holds_in_another_window():
    """A process adopts a slower rate for a longer window, and still keeps to its own limit."""
    store = Store()
    free = make_limiter(Budget(store), limit=None, share=1)
    polite = make_limiter(Budget(store), limit=30, share=1)
    policy = '"default";q=100;w=300'
    for _ in range(2):
        await call(free, reply(RateLimit_Policy=policy))
    await call(polite)

    assert (polite.snapshot().limit, polite.snapshot().per) == (100, 300.0)
    assert [(one.limit, one.per) for one in polite.snapshot().windows] == [(100, 300), (30, PER)]


@virtual
async def test_a_report_replaces_an_adopted_limit():
    """If the server itself reports another limit, the report is newer and applies to all."""
    store = Store()
    one, two = (make_limiter(Budget(store), limit=None, share=1) for _ in range(2))
    for limiter, stated in ((one, "40"), (two, "80"), (two, "80"), (one, "80")):
        await call(limiter, reply(X_RateLimit_Limit=stated, X_RateLimit_Remaining="30"))
        await call(limiter, reply(X_RateLimit_Limit=stated, X_RateLimit_Remaining="30"))

    assert limits([one, two]) == [80, 80]
    assert store.learned.requests == 80


@given(
    st.integers(5, 40),
    st.lists(st.sampled_from([0.0, 0.5, 29.5, 70.0, 200.0]), min_size=2, max_size=4),
)
@settings(max_examples=20 * EFFORT)
def test_no_process_exceeds_a_limit_that_one_has_learned(granted, begins):
    """After the limit was reported once, no process exceeds it, whenever the process starts.

    All processes expect a higher limit. The first one uses up the quota and gets the report.
    """

    async def main():
        server, store = Server(granted, states=True), Store()
        first = make_limiter(Budget(store), share=1)
        for _ in range(granted):
            permit = await first.acquire()
            first.observe(permit, server.answer())
        walks = [
            use(server, make_limiter(Budget(store), share=1 / len(begins)), 600, now() + begin)
            for begin in begins
        ]
        await asyncio.gather(*walks)
        return server

    server = run_virtual(main())
    assert server.refused == []
    assert most_in_any(server.granted, PER) <= granted
