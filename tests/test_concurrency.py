"""The number of requests in flight, and how it follows what the server allows."""

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
    """Send some requests that are in flight together."""
    return [limit.depart(number) for number in range(1, count + 1)]


def succeed(limit: AdaptiveLimit, count: int) -> None:
    """Send successful requests, as many at the same time as the limit allows."""
    for _ in range(count):
        limit.succeed(limit.depart(limit.now))


def test_the_limit_falls_to_the_number_that_succeeded():
    """If three of eight requests in flight together are refused, the limit is five."""
    limit = AdaptiveLimit(8)
    flights = send(limit, 8)
    for flight in flights[:5]:
        limit.succeed(flight)
    for flight in flights[5:]:
        flight.in_flight = 8
        limit.refuse(flight)
    assert limit.now == 5


def test_a_refusal_of_few_lowers_the_limit_below_that():
    """A refused request with two others in flight lowers the limit to two."""
    limit = AdaptiveLimit(8)
    limit.refuse(send(limit, 3)[-1])
    assert limit.now == 2


def test_a_request_sent_before_the_change_is_ignored():
    """Requests sent before the limit fell neither lower nor raise it."""
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
    """Without refusals the limit rises by one after twice as many successes as it allows."""
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
    """Let requests succeed until the limit rises, and return the number of rounds."""
    before, successes = limit.now, 0
    while limit.now == before:
        succeed(limit, 1)
        successes += 1
    return successes / before


def test_each_rise_that_is_refused_doubles_the_rounds_before_the_next():
    """A server that never allows more is tested ever less often, up to every sixteenth round."""
    limit = AdaptiveLimit(8)
    limit.refuse(limit.depart(6))
    rounds = []
    for _ in range(6):
        rounds.append(count_rounds_until_it_rises(limit))
        limit.refuse(limit.depart(6))
        assert limit.now == 5
    assert rounds == [2, 4, 8, 16, 16, 16]


def test_after_a_rise_that_was_not_refused_the_next_are_soon():
    """When the server allows more again, the limit rises as if nothing had been refused before."""
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
    """One refusal changes nothing if as many concurrent requests succeeded twenty times."""
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
    """After any refusals the limit stays within its bounds and recovers."""
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
    """The call that has waited longest gets the next slot, even if a new one is calling."""
    slots = ConcurrencyLimit(2)
    order = []

    async def work(number: int) -> None:
        if not slots.take():
            await slots.wait()
        order.append(number)
        await asyncio.sleep(1)
        slots.release()
        # immediately again: the slot is free, but others wait
        if not slots.take():
            await slots.wait()
        order.append(number)
        slots.release()

    await asyncio.gather(*(work(number) for number in range(5)))
    assert order == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]


@virtual
async def test_a_limit_that_rises_frees_a_slot_at_once():
    """A waiting call gets its slot when the limit rises, and not only when another request ends."""
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
    """A waiter that is cancelled as it gets a slot passes the slot to the next one."""
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
            st.integers(0, 8),  # tenths of a second until it is called
            st.integers(1, 8),  # its duration
            st.booleans(),  # whether it is refused
            st.one_of(st.none(), st.integers(0, 20)),  # when it is cancelled
        ),
        max_size=40,
    ),
)
def test_any_pattern_keeps_the_limit_and_ends(most, pattern):
    """The limit holds, no slot is lost, and every waiting call gets one in its order.

    Requests arrive, are refused and are cancelled at any time, in the queue and in flight.
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
    """A limiter that reads every 429 as an overload."""

    def observe(self, permit: Permit, reply: Reply) -> RefusalKind | None:
        super().observe(permit, Reply(200, reply.headers, reply.body))
        return RefusalKind.OVERLOAD if reply.status == 429 else None


class Server:
    """Answers after some seconds, and refuses too many concurrent requests and some at random."""

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
        """Return the share of the requests since a time that was refused."""
        refused, granted = (
            sum(time >= begin for time in times) for times in (self.refused, self.granted)
        )
        return refused / (refused + granted)

    def pages_per_second(self, begin: float, end: float) -> float:
        """Return the number of granted requests in each second of an interval."""
        return sum(begin <= time < end for time in self.granted) / (end - begin)


def run_workers(server: Server, seconds: float, *, workers: int = 8) -> Pipeline:
    """Let workers request pages of a server, at 300 requests a minute."""
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
    """After ten seconds few requests are refused, and the server's capacity is used."""
    server = Server(lambda: allowed, 1.5)
    pipeline = run_workers(server, 120, workers=workers)

    assert server.share_refused(10) <= 0.05
    assert server.pages_per_second(10, 120) >= 0.97 * allowed / 1.5
    assert allowed <= pipeline.present_concurrency <= allowed + 1
    assert pipeline.concurrency == workers


def test_a_server_that_recovers_is_used_in_full_again():
    """When a server allows eight again after minutes at five, all are used within 40 seconds."""
    server = Server(lambda: 5 if now() < 200 else 100, 1.5)
    pipeline = run_workers(server, 300)

    assert pipeline.present_concurrency == 8
    assert server.pages_per_second(240, 300) >= 0.97 * 5


def test_a_server_that_allows_fewer_all_at_once_is_followed():
    """When a server falls from eight to three at once, the client follows within seconds."""
    server = Server(lambda: 8 if now() < 60 else 3, 1.5)
    run_workers(server, 180)

    assert server.share_refused(70) <= 0.05
    assert server.pages_per_second(70, 180) >= 0.97 * 3 / 1.5


@pytest.mark.parametrize("seconds", [0.05, 0.3, 1.0])
def test_refusals_at_random_do_not_slow_the_client(seconds):
    """With 1 % random refusals the client still gets at least 96 % of the rate."""
    server = Server(lambda: 100, seconds, refused_at_random=0.01)
    run_workers(server, 300)

    assert server.pages_per_second(0, 300) >= 0.96 * 5


def test_other_failures_do_not_lower_the_concurrency():
    """A 503, or a 429 that is no overload, does not change the limit."""
    script = [reply(503), reply(429, Retry_After="1"), reply(500), reply()]
    pipeline, _ = make_pipeline(script, concurrency=3)
    run_virtual(pipeline.fetch(REQUEST, make_body))
    assert pipeline.present_concurrency == 3


def test_other_failures_do_not_raise_the_concurrency():
    """After an overload only successful requests raise the limit."""
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
    """A slot is released only after its reply was evaluated: of two, one is refused."""
    server = Server(lambda: 1, 10)
    run_workers(server, 15, workers=2)
    assert len(server.refused) == 1


def test_the_client_shows_how_many_it_sends_at_once(caplog):
    """``client.concurrency`` is the current number, and each change is logged at DEBUG."""
    caplog.set_level("DEBUG", "cekat_async")
    slots = ConcurrencyLimit(4)
    slots.refuse(slots.depart())
    assert caplog.messages == ["the limit of concurrent requests is 1 now, it was 4"]

    class Loopback:
        base_url = "http://127.0.0.1:1"

    client = make_client(Loopback, concurrency=3)
    assert client.concurrency == 3
