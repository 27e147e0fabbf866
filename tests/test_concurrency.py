"""The limit of concurrent requests, and how it adapts to the number that the server allows."""

import asyncio
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import now, run_virtual, virtual
from support.parts import PATIENT, in_one_step, make_client, make_config, make_pipeline
from support.scripted import reply

from cekat_async import RateLimit, RetryPolicy
from cekat_async._api.replies import Reply
from cekat_async._api.requests import Request
from cekat_async._ratelimit.limiter import Limiter
from cekat_async._ratelimit.sent_log import Permit
from cekat_async._ratelimit.server.refusals import RefusalKind
from cekat_async._request.adaptive_limit import AdaptiveLimit, Flight
from cekat_async._request.concurrency import ConcurrencyLimit
from cekat_async._request.pipeline import Pipeline
from cekat_async.errors import NotFoundError

REQUEST = Request("/api/things")


@in_one_step
def make_body(reply: Reply) -> bytes:
    """Return the body unchanged."""
    return reply.body


# --- the limit alone


def send(limit: AdaptiveLimit, count: int) -> list[Flight]:
    """Start ``count`` concurrent requests."""
    return [limit.depart(number) for number in range(1, count + 1)]


def succeed(limit: AdaptiveLimit, count: int) -> None:
    """Send ``count`` successful requests, with as many in flight as the limit allows."""
    for _ in range(count):
        limit.succeed(limit.depart(limit.now))


def test_the_limit_falls_to_the_number_that_succeeded():
    """If the server refuses three of eight concurrent requests, the limit falls to five."""
    limit = AdaptiveLimit(8)
    flights = send(limit, 8)
    for flight in flights[:5]:
        limit.succeed(flight)
    for flight in flights[5:]:
        flight.in_flight = 8
        limit.refuse(flight)
    assert limit.now == 5


def test_a_refusal_of_few_lowers_the_limit_below_that():
    """If a request is refused while two others are in flight, the limit falls to two."""
    limit = AdaptiveLimit(8)
    limit.refuse(send(limit, 3)[-1])
    assert limit.now == 2


def test_a_request_sent_before_the_change_is_ignored():
    """Requests that were sent before the limit fell neither lower nor raise the limit."""
    limit = AdaptiveLimit(8)
    limit.refuse(send(limit, 6)[-1])
    limit.refuse(limit.depart(7))
    assert limit.now == 5
    late = send(limit, 5)
    limit.refuse(limit.depart(5))
    assert limit.now == 4
    for flight in late * 9:
        limit.succeed(flight)
    assert limit.now == 4


def test_the_limit_rises_by_one_after_two_rounds():
    """Without refusals, a limit of N rises by one after 2 N successful requests."""
    limit = AdaptiveLimit(8)
    limit.refuse(limit.depart(4))
    steps = []
    for _ in range(50):
        succeed(limit, 1)
        steps.append(limit.now)
    assert steps == [3] * 5 + [4] * 8 + [5] * 10 + [6] * 12 + [7] * 14 + [8]
    succeed(limit, 1000)
    assert limit.now == 8


def count_rounds_until_it_rises(limit: AdaptiveLimit) -> float:
    """Let requests succeed until the limit rises, and return how many rounds that took."""
    before, successes = limit.now, 0
    while limit.now == before:
        succeed(limit, 1)
        successes += 1
    return successes / before


def test_each_rise_that_is_refused_doubles_the_rounds_before_the_next():
    """Each refusal after a rise doubles the wait before the next rise, up to sixteen rounds."""
    limit = AdaptiveLimit(8)
    limit.refuse(limit.depart(6))
    rounds = []
    for _ in range(6):
        rounds.append(count_rounds_until_it_rises(limit))
        limit.refuse(limit.depart(6))
        assert limit.now == 5
    assert rounds == [2, 4, 8, 16, 16, 16]


def test_after_a_rise_that_was_not_refused_the_next_are_soon():
    """After a rise without a refusal, the limit rises at its normal speed again."""
    limit = AdaptiveLimit(8)
    limit.refuse(limit.depart(6))
    for _ in range(6):
        count_rounds_until_it_rises(limit)
        limit.refuse(limit.depart(6))
    rounds = [count_rounds_until_it_rises(limit) for _ in range(3)]
    assert (rounds, limit.now) == ([16, 2, 2], 8)
    succeed(limit, 2 * 8)
    for _ in range(2):
        limit.refuse(limit.depart(6))
    assert limit.now == 5
    assert count_rounds_until_it_rises(limit) == 2


def test_a_refusal_after_many_successes_is_not_for_the_number():
    """The first refusal is ignored if as many concurrent requests succeeded twenty times before."""
    limit = AdaptiveLimit(8)
    for _ in range(20):
        limit.succeed(limit.depart(6))
    limit.refuse(limit.depart(6))
    assert limit.now == 8
    limit.refuse(limit.depart(6))
    assert limit.now == 5


@given(
    st.integers(1, 12),
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 12), st.booleans()), max_size=200),
)
def test_any_replies_leave_a_limit_that_recovers(most, replies):
    """After any series of refusals, the limit is within its bounds and can rise again."""
    limit = AdaptiveLimit(most)
    flights = [limit.depart(1)]
    for age, under_way, refused in replies:
        flights.append(limit.depart(min(under_way, most)))
        flight = flights[-1 - min(age, len(flights) - 1)]
        limit.refuse(flight) if refused else limit.succeed(flight)
        assert 1 <= limit.now <= most
    succeed(limit, 16 * most + 2 * sum(range(most + 1)))
    assert limit.now == most


# --- the slots


@virtual
async def test_slots_are_granted_first_come_first_served():
    """The call that has waited longest gets the next slot, even if a new call wants it too."""
    slots = ConcurrencyLimit(2)
    order = []

    async def work(number: int) -> None:
        if not slots.take():
            await slots.wait()
        order.append(number)
        await asyncio.sleep(1)
        slots.release()
        # Ask for a slot again: a slot is free, but other calls are waiting.
        if not slots.take():
            await slots.wait()
        order.append(number)
        slots.release()

    await asyncio.gather(*(work(number) for number in range(5)))
    assert order == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]


@virtual
async def test_a_limit_that_rises_frees_a_slot_at_once():
    """When the limit rises, a waiting call gets a slot before any other request ends."""
    slots = ConcurrencyLimit(2)
    slots.refuse(slots.depart())
    assert (slots.now, slots.take(), slots.take()) == (1, True, False)
    waiter = asyncio.create_task(slots.wait())
    await asyncio.sleep(1)
    for _ in range(2):
        slots.succeed(slots.depart())
    assert slots.now == 2
    await asyncio.wait_for(waiter, 1)


@pytest.mark.parametrize("granted_first", [True, False])
@virtual
async def test_a_slot_that_is_granted_to_a_cancelled_waiter_is_passed_on(granted_first):
    """If a waiting call is cancelled at the moment it gets a slot, the next call gets the slot."""
    slots = ConcurrencyLimit(1)
    assert slots.take()
    first, second = (asyncio.create_task(slots.wait()) for _ in range(2))
    await asyncio.sleep(1)
    for step in (slots.release, first.cancel)[:: 1 if granted_first else -1]:
        step()
    await asyncio.wait([first])
    assert first.cancelled()
    await asyncio.wait_for(second, 1)
    slots.release()
    assert slots.take()


@given(
    st.integers(1, 5),
    st.lists(
        st.tuples(
            st.integers(0, 8),  # start of the call, in tenths of a second
            st.integers(1, 8),  # duration of the request
            st.booleans(),  # whether the server refuses the request
            st.one_of(st.none(), st.integers(0, 20)),  # time of cancellation, if any
        ),
        max_size=40,
    ),
)
def test_any_pattern_keeps_the_limit_and_ends(most, pattern):
    """The limit is kept, no slot is lost, and waiting calls get slots in the order of arrival.

    This is true whenever requests start, are refused, or are cancelled in the queue or in flight.
    """
    slots = ConcurrencyLimit(most)
    under_way = 0
    asked: list[int] = []
    granted: list[int] = []

    async def take(number: int) -> None:
        nonlocal under_way
        asked.append(number)
        if not slots.take():
            await slots.wait()
        granted.append(number)
        under_way += 1
        assert under_way <= most

    async def work(number: int, delay: int, seconds: int, settle: Callable[[Flight], None]) -> None:
        nonlocal under_way
        await asyncio.sleep(delay / 10)
        await take(number)
        flight = slots.depart()
        try:
            await asyncio.sleep(seconds / 10)
        finally:
            slots.arrive(flight)
            settle(flight)
            under_way -= 1
            slots.release()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        tasks = []
        for number, (delay, seconds, refused, cancelled_at) in enumerate(pattern):
            settle = slots.refuse if refused else slots.succeed
            tasks.append(asyncio.create_task(work(number, delay, seconds, settle)))
            if cancelled_at is not None:
                loop.call_later(cancelled_at / 10, tasks[-1].cancel)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} <= {type(None), asyncio.CancelledError}
        assert granted == [number for number in asked if number in set(granted)]
        assert [slots.take() for _ in range(most + 1)].count(True) == slots.now

    run_virtual(main())


# --- the whole path


class Overloading(Limiter):
    """A limiter that treats every 429 as a sign of overload."""

    def observe(self, permit: Permit, reply: Reply) -> RefusalKind | None:
        super().observe(permit, Reply(200, reply.headers, reply.body))
        return RefusalKind.OVERLOAD if reply.status == 429 else None


class Server:
    """Replies after a delay. Excess concurrent requests are refused, and others at random."""

    def __init__(
        self, allowed: Callable[[], int], seconds: float, refused_at_random: float = 0.0
    ) -> None:
        self._allowed = allowed
        self._seconds = seconds
        self._refused_at_random = refused_at_random
        self._draw = random.Random(5)
        self._busy = 0
        self.granted: list[float] = []
        self.refused: list[float] = []

    def require_usable(self) -> None:
        """Accept requests at any time, from any loop."""

    async def exchange(self, request: Request) -> Reply:
        await asyncio.sleep(0.01)
        if self._busy >= self._allowed() or self._draw.random() < self._refused_at_random:
            self.refused.append(now())
            return reply(429, Retry_After="0")
        self._busy += 1
        try:
            await asyncio.sleep(self._seconds - 0.01)
        finally:
            self._busy -= 1
        self.granted.append(now())
        return reply()

    def share_refused(self, begin: float) -> float:
        """Return the fraction of requests after the time ``begin`` that were refused."""
        refused, granted = (
            sum(time >= begin for time in times) for times in (self.refused, self.granted)
        )
        return refused / (refused + granted)

    def pages_per_second(self, begin: float, end: float) -> float:
        """Return the number of granted requests per second in an interval."""
        return sum(begin <= time < end for time in self.granted) / (end - begin)


def run_workers(server: Server, seconds: float, *, workers: int = 8) -> Pipeline:
    """Let workers request pages from a server, with a rate limit of 300 per minute."""
    config = make_config(retry=RetryPolicy(budget=None), timeout=PATIENT, concurrency=workers)
    pipeline = Pipeline(config, Overloading(RateLimit(300)), server)

    async def work() -> None:
        while now() < seconds:
            await pipeline.fetch(REQUEST, make_body)

    async def main() -> None:
        await asyncio.gather(*(work() for _ in range(workers)))

    run_virtual(main())
    return pipeline


@pytest.mark.parametrize("workers", [8, 32])
@pytest.mark.parametrize("allowed", [2, 5])
def test_a_server_that_allows_few_at_once_is_used_in_full(allowed, workers):
    """After ten seconds, few requests are refused, and the server's capacity is used."""
    server = Server(lambda: allowed, 1.5)
    pipeline = run_workers(server, 120, workers=workers)

    assert server.share_refused(10) <= 0.05
    assert server.pages_per_second(10, 120) >= 0.97 * allowed / 1.5
    assert allowed <= pipeline.present_concurrency <= allowed + 1
    assert pipeline.concurrency == workers


def test_a_server_that_recovers_is_used_in_full_again():
    """If a server allows more concurrent requests than before, the client adapts within 40 s."""
    server = Server(lambda: 5 if now() < 200 else 100, 1.5)
    pipeline = run_workers(server, 300)

    assert pipeline.present_concurrency == 8
    assert server.pages_per_second(240, 300) >= 0.97 * 5


def test_a_server_that_allows_fewer_all_at_once_is_followed():
    """If a server suddenly allows fewer concurrent requests, the client adapts in seconds."""
    server = Server(lambda: 8 if now() < 60 else 3, 1.5)
    run_workers(server, 180)

    assert server.share_refused(70) <= 0.05
    assert server.pages_per_second(70, 180) >= 0.97 * 3 / 1.5


@pytest.mark.parametrize("seconds", [0.05, 0.3, 1.0])
def test_refusals_at_random_do_not_slow_the_client(seconds):
    """With 1 % random refusals, the client still reaches at least 96 % of the rate."""
    server = Server(lambda: 100, seconds, refused_at_random=0.01)
    run_workers(server, 300)

    assert server.pages_per_second(0, 300) >= 0.96 * 5


def test_other_failures_do_not_lower_the_concurrency():
    """The limit is not lowered by a 503, or by a 429 that is not due to overload."""
    script = [reply(503), reply(429, Retry_After="1"), reply(500), reply()]
    pipeline, _ = make_pipeline(script, concurrency=3)
    run_virtual(pipeline.fetch(REQUEST, make_body))
    assert pipeline.present_concurrency == 3


def test_other_failures_do_not_raise_the_concurrency():
    """After an overload, only successful requests raise the limit."""
    script = [reply(429, Retry_After="0"), *[reply(503)] * 5, reply(), reply(404), reply()]
    pipeline, _ = make_pipeline(script, limiter=Overloading(RateLimit(300)), concurrency=3)

    async def main() -> None:
        await pipeline.fetch(REQUEST, make_body)
        with pytest.raises(NotFoundError):
            await pipeline.fetch(REQUEST, make_body)
        assert pipeline.present_concurrency == 1
        await pipeline.fetch(REQUEST, make_body)
        assert pipeline.present_concurrency == 2

    run_virtual(main())


def test_a_refusal_counts_before_the_next_request_is_sent():
    """A refusal lowers the limit before its slot is released, so two workers get one refusal."""
    server = Server(lambda: 1, 10)
    run_workers(server, 15, workers=2)
    assert len(server.refused) == 1


def test_the_client_shows_how_many_it_sends_at_once(caplog):
    """``client.concurrency`` is the current limit, and each change is logged at level DEBUG."""
    caplog.set_level("DEBUG", "cekat_async")
    slots = ConcurrencyLimit(4)
    slots.refuse(slots.depart())
    assert caplog.messages == ["the limit of concurrent requests is 1 now, it was 4"]

    class Loopback:
        base_url = "http://127.0.0.1:1"

    client = make_client(Loopback, concurrency=3)
    assert client.concurrency == 3
