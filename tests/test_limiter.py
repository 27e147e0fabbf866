"""The limiter: pace, queue, pauses, daily quotas and snapshot, on a virtual clock."""

import asyncio
import copy
import itertools
import logging
import math
import random
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import most_in_any, now, run_virtual, virtual
from support.effort import EFFORT
from support.scripted import reply
from support.shared_store import Budget, Store, make_limiter

from cekat_async import Limiter, LimiterSnapshot, RateLimit
from cekat_async._api.replies import Reply
from cekat_async._ratelimit.scheduler import Scheduler
from cekat_async._ratelimit.sent_log import Permit
from cekat_async._ratelimit.snapshot import WindowSnapshot
from cekat_async.errors import ConfigurationError, RateLimitError, ServerError

NEVER = float("inf")
RATES = [1, 2, 3, 10, 60, 300, 1000]
OK = reply()


def left(limit: int, remaining: int, reset: float = 60, status: int = 200, **more: str) -> Reply:
    """Return a reply whose headers report a quota and the remaining requests."""
    return reply(
        status,
        X_RateLimit_Limit=str(limit),
        X_RateLimit_Remaining=str(remaining),
        X_RateLimit_Reset=str(reset),
        **more,
    )


async def call(limiter: Limiter, answer: Reply = OK, trip: float = 0.0) -> float:
    """Send one request, and return the time at which it was sent."""
    permit = await limiter.acquire(NEVER)
    sent = now()
    await asyncio.sleep(trip)
    limiter.observe(permit, answer)
    return sent


async def calls(limiter: Limiter, count: int, answer: Reply = OK) -> list[float]:
    """Send ``count`` requests from different tasks, and return the times in order."""
    return sorted(await asyncio.gather(*(call(limiter, answer) for _ in range(count))))


async def saturate(limiter: Limiter, seconds: float, workers: int = 8) -> list[float]:
    """Let workers send as many requests as they can, and return the times of all requests."""
    times: list[float] = []
    end = now() + seconds

    async def work() -> None:
        while now() < end:
            times.append(await call(limiter))
            await asyncio.sleep(0)

    await asyncio.gather(*(work() for _ in range(workers)))
    return [time for time in times if time <= end]


# --- the pace


@pytest.mark.parametrize("requests", RATES)
@pytest.mark.parametrize("workers", [1, 64])
def test_no_window_ever_holds_more_than_the_rate(requests, workers):
    """No window of ``per`` seconds has more than ``requests`` requests."""
    times = run_virtual(saturate(Limiter(RateLimit(requests)), 130, workers))

    assert most_in_any(times, 60) <= requests


@pytest.mark.once
@pytest.mark.parametrize("requests", RATES if EFFORT > 1 else RATES[::2])
@pytest.mark.parametrize("per", [0.5, 1.0, 3600.0])
def test_other_periods_are_kept_too(requests, per):
    """The limit is also kept in windows of a fraction of a second, and in windows of an hour."""
    times = run_virtual(saturate(Limiter(RateLimit(requests, per=per)), 3 * per))

    assert most_in_any(times, per) <= requests


@pytest.mark.once
@pytest.mark.parametrize("requests", [1, 2, 10, 60, 300, 1000])
@pytest.mark.parametrize("workers", [1, 8])
def test_a_busy_client_uses_its_rate(requests, workers):
    """If a request is always waiting, at least 98 % of the rate is used."""
    minutes = 10 if EFFORT > 1 else 4
    times = run_virtual(saturate(Limiter(RateLimit(requests)), 60 * minutes, workers))

    assert len(times) >= 0.98 * minutes * requests


def test_without_headers_it_is_even():
    """While the server sends no headers, requests are spread evenly over the window."""
    times = run_virtual(saturate(Limiter(RateLimit(60)), 60))

    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert gaps == pytest.approx([1.0] * len(gaps), abs=0.01)


@virtual
async def test_a_paced_request_takes_little_work(monkeypatch):
    """A paced request takes little work, because one process may pace hundreds of accounts.

    The next slot is computed at most four times: when a request joins the queue, when it becomes
    the first, when its slot arrives, and when it has its token. A grant without headers changes
    no limit.
    """
    slots, changes = [], []
    next_slot, renew_terms = Scheduler.next_slot, Scheduler._renew_terms
    monkeypatch.setattr(Scheduler, "next_slot", lambda *of: slots.append(of) or next_slot(*of))
    monkeypatch.setattr(
        Scheduler, "_renew_terms", lambda *of: changes.append(of) or renew_terms(*of)
    )
    limiter = Limiter(RateLimit(60))

    for _ in range(100):
        limiter.observe(await limiter.acquire(), reply(200))

    assert len(slots) <= 4 * 100
    assert not changes


@virtual
async def test_it_needs_no_setting():
    """Without settings, the documented limit of 300 per minute applies, as the snapshot shows."""
    limiter = Limiter()
    snapshot = limiter.snapshot()
    assert (snapshot.limit, snapshot.per, snapshot.source) == (300, 60.0, "documented")
    assert len(await saturate(limiter, 59.9)) in range(294, 301)


@pytest.mark.parametrize("stated", [60, 1000])
@virtual
async def test_it_follows_the_reported_limit(stated):
    """If the server reports another limit, higher or lower, it applies immediately."""
    limiter = Limiter()
    await call(limiter, left(stated, stated - 1))
    assert limiter.snapshot().limit == stated
    assert limiter.snapshot().source == "stated"
    await call(limiter, left(120, 100))
    assert limiter.snapshot().limit == 120


@virtual
async def test_a_configured_limit_is_never_raised():
    """The lower of the configured and the reported limit applies."""
    limiter = Limiter(RateLimit(100))
    await call(limiter, left(300, 299))
    assert limiter.snapshot().limit == 100
    assert limiter.snapshot().source == "configured"
    await call(limiter, left(50, 49))
    assert limiter.snapshot().limit == 50
    assert [window.limit for window in limiter.snapshot().windows] == [50, 100]


@virtual
async def test_a_share_of_what_the_server_grants():
    """With ``share=0.5``, the client uses half of any reported limit."""
    limiter = Limiter(RateLimit(share=0.5))
    assert limiter.snapshot().limit == 150
    await call(limiter, left(1000, 999))
    assert limiter.snapshot().limit == 500


@virtual
async def test_headers_can_be_ignored():
    """With ``trust_server=False``, only the configured limit and refusals affect the pace."""
    limiter = Limiter(RateLimit(600, trust_server=False))
    for _ in range(5):
        await call(limiter, left(10, 0, reset=50))
    snapshot = limiter.snapshot()
    assert (snapshot.limit, snapshot.source, snapshot.remaining) == (600, "configured", None)
    assert now() == pytest.approx(0.3)
    await call(limiter, reply(429, Retry_After="7"))
    assert limiter.snapshot().paused_for == pytest.approx(7)


@virtual
async def test_the_reported_remaining_is_sent_at_once():
    """If the first reply reports enough remaining requests, the other 49 are sent immediately."""
    limiter = Limiter()
    times: list[float] = []

    async def one() -> None:
        permit = await limiter.acquire()
        times.append(now())
        remaining = 300 - len(times)
        await asyncio.sleep(0.5)
        limiter.observe(permit, left(300, remaining))

    await asyncio.gather(*(one() for _ in range(50)))
    assert times == [0.0] + [0.5] * 49


@virtual
async def test_one_request_is_sent_before_the_first_reply():
    """All requests wait for the first reply. If the first request fails, the second one is sent."""
    limiter = Limiter(RateLimit(300))
    first = await limiter.acquire()
    waiting = [asyncio.create_task(limiter.acquire()) for _ in range(5)]
    await asyncio.sleep(5)
    snapshot = limiter.snapshot()
    assert (snapshot.sent, snapshot.waiting, snapshot.in_flight) == (1, 5, 1)
    assert (snapshot.waits_for, snapshot.next_in) == ("first reply", pytest.approx(5.0))

    limiter.observe_failure(sent=True)
    second = await waiting[0]
    await asyncio.sleep(5)
    assert limiter.snapshot().sent == 2

    limiter.observe(second, OK)
    rest = await asyncio.gather(*waiting[1:])
    assert [permit.sent for permit in rest] == pytest.approx([10.0, 10.2, 10.4, 10.6])
    assert first.sent < 1.0


@virtual
async def test_others_are_given_way():
    """If other clients have used up the quota, nothing is sent until the server's reset."""
    limiter = Limiter()
    await asyncio.gather(*(call(limiter, left(300, 250), trip=1) for _ in range(31)))
    permit = await limiter.acquire()
    limiter.observe(permit, left(300, 0, reset=40))
    begin = now()
    await limiter.acquire()
    assert now() - begin == pytest.approx(40, abs=0.5)


def test_a_limit_below_the_concurrency_is_kept():
    """If there are more workers than the limit allows, they wait, and all of them get a turn."""
    times = run_virtual(calls(Limiter(RateLimit(3, per=6)), 12))

    assert len(times) == 12
    assert most_in_any(times, 6) <= 3
    assert times[-1] == pytest.approx(18, abs=6)


@pytest.mark.parametrize("requests", RATES)
def test_idle_time_allows_no_burst(requests):
    """After idle time, no window has more requests than the limit, and there is no burst."""
    limiter = Limiter(RateLimit(requests))

    async def main() -> list[float]:
        times = await saturate(limiter, 90)
        for pause in (0.3, 59.9, 3600):
            await asyncio.sleep(pause)
            start = now()
            after = await saturate(limiter, 70)
            # The pace doubles while idle time is caught up.
            assert most_in_any([time for time in after if time < start + 1], 1.0) <= max(
                2, 2 * requests / 60 + 1
            )
            times += after
        return times

    assert most_in_any(run_virtual(main()), 60) <= requests


@pytest.mark.parametrize(
    "burst, seconds, made_up", [(0.25, 10, 50), (0.25, 14, 70), (0.1, 10, 30), (0.01, 10, 3)]
)
@virtual
async def test_a_stall_is_caught_up_at_twice_the_pace(burst, seconds, made_up):
    """After a stall of the event loop, requests up to ``burst`` of the limit are caught up.

    No window has more requests than the limit, and the pace at most doubles.
    """
    limiter = Limiter(RateLimit(300, burst=burst))
    running = asyncio.create_task(saturate(limiter, 180, workers=20))
    await asyncio.sleep(30)
    asyncio.get_running_loop().block(seconds)
    times = await running

    assert len(times) == pytest.approx(900 - 5 * seconds + made_up, abs=6)
    assert most_in_any(times, 60) <= 300
    assert most_in_any(times, 1.0) <= 2 * 5 + 1


@pytest.mark.parametrize("seconds", [40, 61, 600])
@virtual
async def test_after_a_long_stall_no_window_is_too_full(seconds):
    """After a stall of most of a window, no later window has more requests than the limit."""
    limiter = Limiter(RateLimit(300, burst=1.0))
    running = asyncio.create_task(saturate(limiter, 90 + seconds, workers=20))
    await asyncio.sleep(30)
    asyncio.get_running_loop().block(seconds)
    times = await running

    assert len(times) == pytest.approx(150 + 300, abs=6)
    assert most_in_any(times, 60) <= 300
    assert most_in_any(times, 1.0) <= 2 * 5 + 1


@pytest.mark.parametrize("requests", [60, 300])
@virtual
async def test_repeated_stalls_are_caught_up(requests):
    """If the event loop is blocked for 2 of every 10 seconds, the quota is still used."""
    limiter = Limiter(RateLimit(requests))
    running = asyncio.create_task(saturate(limiter, 300, workers=20))
    for _ in range(29):
        await asyncio.sleep(8)
        asyncio.get_running_loop().block(2)
    times = await running

    assert len(times) >= 0.97 * 5 * requests
    assert most_in_any(times, 60) <= requests


@virtual
async def test_none_is_no_pace():
    """With ``rate_limit=None``, any number of requests is sent immediately."""
    limiter = Limiter(None)
    assert await calls(limiter, 1000) == [0] * 1000
    snapshot = limiter.snapshot()
    assert (snapshot.limit, snapshot.share, snapshot.source) == (None, None, "unpaced")
    assert (snapshot.sent, snapshot.earned, snapshot.used) == (1000, math.inf, 0)
    assert snapshot.remaining is None


@virtual
async def test_a_request_that_was_never_sent_costs_nothing():
    """A request counts in the window unless it certainly did not reach the server."""
    limiter = Limiter(RateLimit(2, per=100))
    await limiter.acquire()
    limiter.observe_failure(sent=False)
    assert limiter.snapshot().used == 0
    await limiter.acquire()
    limiter.observe_failure(sent=True)
    assert limiter.snapshot().used == 1


# --- the queue


@virtual
async def test_first_come_first_served():
    """Requests are sent in the order in which they joined the queue."""
    limiter = Limiter(RateLimit(60))
    order: list[int] = []

    async def one(number: int) -> None:
        await asyncio.sleep(number * 0.1)
        await call(limiter)
        order.append(number)

    await asyncio.gather(*(one(number) for number in range(40)))
    assert order == list(range(40))


@virtual
async def test_a_newcomer_does_not_overtake_after_a_stall():
    """After a stall of the event loop, a new request is sent after all waiting requests."""
    limiter = Limiter(RateLimit(60))
    order: list[str] = []

    async def one(name: str) -> None:
        await call(limiter)
        order.append(name)

    await asyncio.gather(*(call(limiter) for _ in range(4)))
    first = [asyncio.create_task(one(name)) for name in "abcd"]
    await asyncio.sleep(0.5)
    asyncio.get_running_loop().block(10)
    await asyncio.gather(*first, one("newcomer"))
    assert order == ["a", "b", "c", "d", "newcomer"]


patterns = st.lists(
    st.tuples(st.floats(0, 30), st.one_of(st.none(), st.floats(0, 30)), st.floats(0, 3)),
    min_size=1,
    max_size=60,
)


@settings(max_examples=20 * EFFORT)
@given(
    requests=st.sampled_from([1, 2, 3, 10, 300]),
    pattern=patterns,
    stalls=st.lists(st.floats(0, 20), max_size=3),
)
@virtual
async def test_any_pattern_of_arrivals_cancellations_and_stalls(requests, pattern, stalls):
    """Whatever calls, cancellations and stalls occur, the limit is kept, and no slot is lost."""
    rate = RateLimit(requests, per=6.0)
    limiter = Limiter(rate)
    out: list[float] = []

    async def one(start: float, patience: float | None, trip: float) -> None:
        await asyncio.sleep(start)
        try:
            async with asyncio.timeout(patience):
                permit = await limiter.acquire(NEVER)
        except TimeoutError:
            return
        out.append(now())
        await asyncio.sleep(trip)
        limiter.observe(permit, OK)

    async def stall(at: float) -> None:
        await asyncio.sleep(at)
        asyncio.get_running_loop().block(3)

    await asyncio.gather(*(one(*each) for each in pattern), *map(stall, stalls))
    assert limiter.snapshot().in_flight == limiter.snapshot().waiting == 0

    assert most_in_any(out, rate.per) <= requests
    assert len(out) >= sum(patience is None for _, patience, _ in pattern)
    # If a slot was lost, the last request would be later than this.
    last = max(start for start, _, _ in pattern)
    per_request = (rate.per + 3) / requests
    assert max(out, default=0.0) <= last + (len(out) + 1) * per_request + 3 * len(stalls) + 3


@virtual
async def test_a_cancelled_waiter_passes_its_turn_on():
    """If a waiting call is cancelled, the next call gets its slot."""
    limiter = Limiter(RateLimit(10, per=10))
    await call(limiter)
    first = asyncio.create_task(limiter.acquire(NEVER))
    second = asyncio.create_task(limiter.acquire(NEVER))
    await asyncio.sleep(0.5)
    first.cancel()
    await second
    assert now() == pytest.approx(1, abs=0.1)
    assert first.cancelled()


@pytest.mark.parametrize("steps", range(12))
@virtual
async def test_cancelled_at_any_step_nothing_is_lost(steps):
    """If a call is cancelled at any step, it leaves no slot, no lock and no place in the queue."""
    limiter = Limiter(RateLimit(10, per=10))
    await calls(limiter, 2)
    task = asyncio.create_task(limiter.acquire())
    for _ in range(steps):
        await asyncio.sleep(0.1 if steps > 6 else 0)
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        limiter.observe(task.result(), OK)
    assert limiter.snapshot().waiting == limiter.snapshot().in_flight == 0
    assert not limiter._first_in_queue.locked()
    begin = now()
    await call(limiter)
    assert now() - begin <= 2


def test_a_limiter_belongs_to_one_loop():
    """If a limiter is used in a second event loop, an error says what to do."""
    limiter = Limiter()
    run_virtual(call(limiter))

    with pytest.raises(
        ConfigurationError, match="another event loop: make one limiter in each loop"
    ):
        run_virtual(call(limiter))


# --- pauses


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("rate", [RateLimit(300), RateLimit(), None])
@virtual
async def test_a_pause_of_the_server_stops_all(status, rate):
    """A 429 or 503 with Retry-After pauses all requests, even without a rate limit."""
    limiter = Limiter(rate)
    await call(limiter, reply(status, Retry_After="12"))
    times = await calls(limiter, 20)
    assert min(times) == pytest.approx(12)


@virtual
async def test_a_429_without_headers_pauses_for_one_window():
    """A 429 without headers pauses all requests for one window."""
    limiter = Limiter(RateLimit(300, per=17))
    await call(limiter, reply(429))
    await call(limiter)
    assert now() == pytest.approx(17)


@virtual
async def test_a_429_with_a_reset_pauses_until_then():
    """Without Retry-After, the pause lasts until the reset of the quota that is used up."""
    limiter = Limiter()
    await call(limiter, left(300, 0, reset=7, status=429))
    assert limiter.snapshot().paused_for == pytest.approx(7)
    assert await call(limiter) == pytest.approx(7, abs=0.21)


@virtual
async def test_an_endless_overload_pauses_for_a_minute_each_time():
    """After any number of refusals, the pause is a minute. Doubling never overflows a float."""
    limiter = Limiter(RateLimit(300))
    await call(limiter, left(300, 299))
    for _ in range(1_100):
        await call(limiter, left(300, 290, status=429))

    assert limiter.snapshot().paused_for == 60


@virtual
async def test_an_overload_without_a_time_doubles_the_pause():
    """Each further refusal doubles the pause from 1 s up to a minute. A grant resets it to 1 s."""
    limiter = Limiter(RateLimit(300))
    await call(limiter, left(300, 299))
    pauses = []
    for _ in range(8):
        await call(limiter, left(300, 290, status=429))
        pauses.append(limiter.snapshot().paused_for)
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60])
    assert limiter.snapshot().refused_for == {"overload": 8}

    await call(limiter, left(300, 290))
    await call(limiter, left(300, 289, status=429))
    assert limiter.snapshot().paused_for == pytest.approx(1)


@pytest.mark.parametrize(
    "answer",
    [
        reply(200),
        reply(500),
        reply(503),
        reply(404, Retry_After="9"),
        reply(200, b""),
        reply(429, Retry_After="0"),
    ],
)
@virtual
async def test_other_replies_pause_nothing(answer, caplog):
    """Other statuses, a 503 without Retry-After, and a Retry-After of 0 do not begin a pause."""
    caplog.set_level(logging.INFO, "cekat_async")
    limiter = Limiter(RateLimit(300))
    await call(limiter, answer)
    assert limiter.snapshot().paused_for == limiter.get_pause_time() == 0
    assert await call(limiter) == 0
    assert not caplog.records


@virtual
async def test_without_a_pace_a_429_without_headers_pauses_nothing():
    """Without a rate limit, only the call that got the 429 backs off."""
    limiter = Limiter(None)
    await call(limiter, reply(429))
    await call(limiter)
    assert now() == 0
    assert limiter.snapshot().refused == 1


@virtual
async def test_a_pause_applies_to_queued_requests():
    """A pause also stops requests that are already in the queue.

    After the pause, they are sent one by one.
    """
    limiter = Limiter(RateLimit(60))
    await call(limiter)
    permit = await limiter.acquire()
    waiting = [asyncio.create_task(call(limiter)) for _ in range(10)]
    await asyncio.sleep(2.5)
    limiter.observe(permit, reply(429, Retry_After="30"))
    end = now() + 30
    times = sorted(await asyncio.gather(*waiting))
    after = [time for time in times if time > end - 30]
    assert len(after) == 8
    assert after[0] == pytest.approx(end)
    gaps = [b - a for a, b in itertools.pairwise(after)]
    # After the pause, missed requests are caught up at twice the pace.
    assert min(gaps) >= 0.49


@pytest.mark.parametrize("requests", [10, 300, 1000])
def test_there_is_no_burst_after_a_pause(requests):
    """After a pause, no window has more requests than the limit, and there is no burst."""

    async def main() -> list[float]:
        limiter = Limiter(RateLimit(requests))
        running = asyncio.create_task(saturate(limiter, 200, workers=64))
        for _ in range(3):
            await asyncio.sleep(23)
            limiter.observe(await limiter.acquire(), reply(429, Retry_After="10"))
            holds.append(now() + 10)
            await asyncio.sleep(10.01)
        return await running

    holds: list[float] = []
    times = run_virtual(main())

    assert most_in_any(times, 60) <= requests
    for end in holds:
        assert not [time for time in times if end - 10 + 1e-6 < time < end - 1e-6]
        at_once = [time for time in times if end - 1e-6 <= time < end + 0.005]
        assert len(at_once) <= 1


@virtual
async def test_a_pause_can_be_prolonged():
    """A second 429 during a pause can extend the pause for all requests, but not shorten it."""
    limiter = Limiter(RateLimit(300))
    await call(limiter)
    one, two, three = [await limiter.acquire() for _ in range(3)]
    begin = now()
    limiter.observe(one, reply(429, Retry_After="10"))
    waiting = asyncio.create_task(call(limiter))
    await asyncio.sleep(9)
    limiter.observe(two, reply(429, Retry_After="20"))
    limiter.observe(three, reply(429, Retry_After="1"))
    assert await waiting == pytest.approx(begin + 29)


@pytest.mark.parametrize("rate", [RateLimit(1), RateLimit(300), None])
@virtual
async def test_a_pause_beyond_the_deadline_fails_at_once(rate):
    """If a pause outlasts a call's deadline, the call fails immediately with the pause's length."""
    limiter = Limiter(rate)
    await call(limiter, reply(429, Retry_After="500"))
    await asyncio.sleep(100)
    with pytest.raises(RateLimitError, match="requests resume in 400 s") as caught:
        await limiter.acquire(now() + 300)
    assert now() == 100
    assert caught.value.retry_after == pytest.approx(400)
    assert caught.value.status == 429
    resumes_in = caught.value.resumes_at - datetime.now(UTC)
    assert resumes_in.total_seconds() == pytest.approx(400, abs=60)
    assert "exceeds Timeout.deadline" in caught.value.__notes__[0]
    assert copy.copy(caught.value).resumes_at == caught.value.resumes_at


@pytest.mark.parametrize("rate", [RateLimit(1), RateLimit(60)])
@virtual
async def test_a_pause_beyond_the_deadline_fails_queued_calls(rate):
    """If a pause outlasts the deadlines of queued calls, they fail when the pause begins."""
    limiter = Limiter(rate)
    one, two = await limiter.acquire(), Permit(0)
    waiting = [asyncio.create_task(limiter.acquire(300)) for _ in range(50)]
    patient = asyncio.create_task(limiter.acquire(NEVER))
    await asyncio.sleep(0.5)
    limiter._scheduler._sent.add(0.5)  # the second refusal belongs to a second request
    limiter.observe(one, reply(429, Retry_After="800"))
    limiter.observe(two, reply(429, Retry_After="801"))
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert now() == 0.5
    assert {type(result) for result in results} <= {RateLimitError, Permit}
    assert sum(isinstance(result, RateLimitError) for result in results) >= 45
    await patient
    assert now() >= 801.5


@virtual
async def test_a_pause_that_grows_beyond_the_deadline_fails_waiting_calls():
    """If a pause is extended beyond a waiting call's deadline, the call fails at that moment."""
    limiter = Limiter(None)
    one, two = await limiter.acquire(), await limiter.acquire()
    limiter.observe(one, reply(429, Retry_After="10"))
    waiting = asyncio.create_task(limiter.acquire(60))
    await asyncio.sleep(4)
    limiter.observe(two, reply(429, Retry_After="100"))
    with pytest.raises(RateLimitError) as caught:
        await waiting
    assert now() == 4
    assert caught.value.retry_after == pytest.approx(100)


@virtual
async def test_a_pause_ends_other_waits_of_a_caller():
    """A call that waits for something else also fails if a pause outlasts its deadline."""
    limiter = Limiter(RateLimit(300))

    async def wait() -> str:
        await asyncio.sleep(50)
        return "done"

    async def fail() -> None:
        raise TimeoutError("of its own")

    short = asyncio.create_task(limiter.wait_unless_paused(wait, now() + 60, NEVER))
    long = asyncio.create_task(limiter.wait_unless_paused(wait, NEVER, NEVER))
    await call(limiter, reply(429, Retry_After="100"))
    with pytest.raises(RateLimitError, match="requests resume in 100 s"):
        await short
    assert now() < 1
    assert await long == "done"
    with pytest.raises(TimeoutError, match="of its own"):
        await limiter.wait_unless_paused(fail, NEVER, NEVER)


@virtual
async def test_a_pause_and_a_cancellation_at_the_same_moment():
    """If a call is cancelled at the moment a long pause begins, it raises CancelledError."""
    limiter = Limiter(RateLimit(1))
    one = await limiter.acquire()
    waiting = [asyncio.create_task(limiter.acquire(100)) for _ in range(5)]
    await asyncio.sleep(1)
    waiting[1].cancel()
    limiter.observe(one, reply(429, Retry_After="1000"))
    waiting[2].cancel()
    await asyncio.sleep(0)
    waiting[3].cancel()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    kinds = [type(result) for result in results]
    assert kinds[1:3] == [asyncio.CancelledError] * 2
    assert set(kinds) <= {asyncio.CancelledError, RateLimitError, Permit}
    assert limiter.snapshot().waiting == 0


@virtual
async def test_one_line_for_each_pause(caplog):
    """Eight concurrent 429s begin one pause, with one log line. The next pause has its own line."""
    caplog.set_level(logging.INFO, "cekat_async")
    limiter = Limiter(RateLimit(300))
    await call(limiter)
    permits = [await limiter.acquire() for _ in range(8)]
    for permit in permits:
        limiter.observe(permit, reply(429, Retry_After="5"))
    await call(limiter, reply(503, Retry_After="2.5"))

    assert [record.getMessage() for record in caplog.records] == [
        "the server asks for a pause: pausing all requests for 5 s",
        "the server asks for a pause: pausing all requests for 2.5 s",
    ]


@virtual
async def test_an_error_says_when_requests_are_accepted_again():
    """An error has ``resumes_at`` only if the requested wait outlasts the call.

    After a 429, the wait is a pause of all requests. After another status, it is the wait before
    the retry of that call.
    """
    limiter = Limiter()
    await call(limiter, reply(429, Retry_After="500"))
    refused = RateLimitError("refused", status=429)
    limiter.set_resumption(refused, now() + 501)
    assert refused.resumes_at is None
    limiter.set_resumption(refused, now() + 499)
    assert refused.retry_after == pytest.approx(500)
    assert "Timeout.deadline" in refused.__notes__[0]

    for retry_after, is_set in ((None, False), (20.0, False), (40.0, True)):
        failed = ServerError("failed", status=500)
        failed.retry_after = retry_after
        limiter.set_resumption(failed, math.inf, 30.0)
        assert (failed.resumes_at is not None) == is_set


@virtual
async def test_a_pause_is_announced_to_those_who_share_the_budget():
    """A pause applies to all limiters that share a budget.

    It counts as pause time in each of them.
    """
    store = Store(outages=[(300, 310)])
    one, two = (make_limiter(Budget(store)) for _ in range(2))
    for limiter in (one, two):
        await asyncio.gather(*(call(limiter) for _ in range(3)))
    await asyncio.sleep(130 - now())
    await call(one, reply(429, Retry_After="100"))
    await asyncio.sleep(1)

    assert await call(two) == pytest.approx(230, abs=2)
    assert two.get_pause_time() == pytest.approx(100, abs=2)
    await asyncio.sleep(300 - now())
    await call(two)
    assert two.get_pause_time() == pytest.approx(100, abs=2)


@virtual
async def test_a_pause_that_begins_while_the_budget_is_asked_counts():
    """If a pause begins while a limiter waits for its budget's answer, nothing is sent."""
    limiter = make_limiter(Budget(Store(), answers=(0.3,)))
    await call(limiter)
    await asyncio.sleep(10)
    permit = await limiter.acquire()
    await asyncio.sleep(10)
    waiting = asyncio.create_task(call(limiter))
    await asyncio.sleep(0.1)
    limiter.observe(permit, reply(429, Retry_After="20"))

    end = now() + 20

    assert end <= await waiting <= end + 0.31


def test_other_budgets_are_refused():
    """An object without the methods of a budget is refused."""
    with pytest.raises(ConfigurationError, match="budget must be a SharedBudget, not <object"):
        Limiter(budget=object())


@pytest.mark.parametrize("seconds, level", [(1, "INFO"), (60, "INFO"), (61, "WARNING")])
@virtual
async def test_a_long_pause_is_a_warning(caplog, seconds, level):
    """A pause of more than a minute is logged at level WARNING, and others at INFO."""
    caplog.set_level(logging.DEBUG, "cekat_async")
    await call(Limiter(), reply(429, Retry_After=str(seconds)))

    (found,) = [record for record in caplog.records if "pausing all" in record.getMessage()]
    assert found.levelname == level


@virtual
async def test_repeated_refusals_lower_the_limit_and_it_is_raised_again(caplog):
    """Repeated refusals lower the limit, which is later raised again step by step."""
    caplog.set_level(logging.DEBUG, "cekat_async")
    limiter = Limiter(RateLimit(100, per=10))
    for _ in range(2):
        await calls(limiter, 40)
        await call(limiter, reply(429, Retry_After="1"))
    lowered = limiter.snapshot()
    assert lowered.limit < 100
    assert lowered.source == "refusals"
    await asyncio.sleep(2000)
    for _ in range(60):
        await asyncio.sleep(10)
        limiter.snapshot()
    assert limiter.snapshot().limit == 100
    assert limiter.snapshot().source == "configured"
    assert any("it was 100 in 10 s (configured)" in line for line in caplog.messages)


# --- the day


@virtual
async def test_a_pause_of_hours_ends_calls():
    """After a Retry-After of hours, calls fail immediately, even without a deadline."""
    limiter = Limiter()
    await call(limiter, reply(429, Retry_After="30000"))
    with pytest.raises(RateLimitError, match="requests resume in 30000 s") as caught:
        await limiter.acquire(NEVER)
    assert now() == 0
    assert caught.value.resumes_at is not None


@virtual
async def test_a_pause_of_any_length_has_a_time_to_resume():
    """For any Retry-After, however large, the error has a time at which requests resume."""
    limiter = Limiter()
    await call(limiter, reply(429, Retry_After="9" * 300))
    with pytest.raises(RateLimitError) as caught:
        await limiter.acquire()
    assert caught.value.resumes_at.year > 2100


@virtual
async def test_calls_can_wait_for_hours():
    """With ``longest_hold=None``, a call waits even for hours, and then continues."""
    limiter = Limiter(RateLimit(longest_hold=None))
    await call(limiter, reply(429, Retry_After="30000"))
    assert await call(limiter) == pytest.approx(30000)


@pytest.mark.parametrize(
    "answer",
    [
        left(10_000, 0, reset=40_000),
        reply(
            200,
            RateLimit='"minute";r=200;t=30, "day";r=0;t=40000',
            RateLimit_Policy='"minute";q=300;w=60, "day";q=10000;w=86400',
        ),
    ],
    ids=["X-RateLimit", "RateLimit"],
)
@virtual
async def test_headers_that_leave_nothing_of_the_day_end_the_job(answer, caplog):
    """If headers report that the daily quota is used up, calls fail without sending a request."""
    caplog.set_level(logging.WARNING, "cekat_async")
    limiter = Limiter()
    await call(limiter, answer)
    with pytest.raises(RateLimitError, match="the daily quota is used up") as caught:
        await limiter.acquire(NEVER)
    assert caught.value.retry_after == pytest.approx(40_000)
    assert limiter.snapshot().limit == 300
    assert limiter.snapshot().pause_reason == "the daily quota is used up"
    assert len(caplog.records) == 1


@virtual
async def test_a_configured_day_is_kept():
    """After ``per_day`` requests, calls fail immediately until the first request is a day old."""
    limiter = Limiter(RateLimit(1000, per_day=30))
    times = await calls(limiter, 30)
    with pytest.raises(RateLimitError, match="the quota is used up") as caught:
        await limiter.acquire(NEVER)
    assert caught.value.retry_after == pytest.approx(86_400, abs=60)
    await asyncio.sleep(86_400 - now())
    assert await call(limiter) >= times[0] + 86_400 - 1


@virtual
async def test_a_used_up_window_beyond_the_deadline_fails_at_once():
    """If the server's reset is after a call's deadline, the call fails with the time until then."""
    limiter = Limiter()
    await call(limiter)
    permits = [await limiter.acquire() for _ in range(32)]
    for permit in permits:
        limiter.observe(permit, left(300, 150))
    await call(limiter, left(300, 0, reset=50))
    with pytest.raises(RateLimitError, match="the quota is used up: requests resume in 50 s"):
        await limiter.acquire(now() + 20)


# --- the snapshot


@virtual
async def test_a_snapshot_shows_the_state():
    """A snapshot has limits and their sources, counts of requests, and the current pause."""
    limiter = Limiter(RateLimit(500, per=120.0))
    await call(limiter, left(200, 199, reset=60))
    permits = [await limiter.acquire() for _ in range(2)]
    limiter.observe(permits[0], left(200, 190, reset=60))
    await asyncio.sleep(1)
    stated = WindowSnapshot(200, 120.0, "stated", used=3)
    assert limiter.snapshot() == LimiterSnapshot(
        limit=200,
        per=120.0,
        source="stated",
        windows=(stated, WindowSnapshot(500, 120.0, "configured", used=3)),
        used=3,
        remaining=190,
        in_flight=1,
        waiting=0,
        next_in=0.0,
        waits_for="pace",
        paused_for=0.0,
        pause_reason="",
        sent=3,
        refused=0,
        refused_for={},
        last_refusal=None,
        earned=pytest.approx(200 / 120),
    )
    assert limiter.snapshot().share == 3 / 200

    limiter.observe(permits[1], left(200, 0, reset=20, status=429, Retry_After="20"))
    queue = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(5)
    paused = limiter.snapshot()
    assert (paused.waiting, paused.refused, paused.waits_for) == (1, 1, "pause")
    assert (paused.refused_for, paused.last_refusal) == ({"quota": 1}, "quota")
    assert paused.paused_for == paused.next_in == pytest.approx(15)
    assert paused.pause_reason == "the server asks for a pause"
    await queue


@virtual
async def test_a_snapshot_shows_what_the_next_request_waits_for():
    """A snapshot names the reason why the next request has to wait."""
    limiter = Limiter(RateLimit(2))
    await calls(limiter, 2)
    assert limiter.snapshot().waits_for == "window"
    assert limiter.snapshot().next_in == pytest.approx(60, abs=31)

    limiter = Limiter(RateLimit(per_day=1))
    await call(limiter)
    assert limiter.snapshot().waits_for == "day"

    limiter = Limiter()
    await call(limiter, left(300, 299))
    assert limiter.snapshot().waits_for == "nothing"

    limiter = Limiter()
    await call(limiter, left(300, 60))
    assert limiter.snapshot().waits_for == "others"

    limiter = Limiter()
    await call(limiter, left(300, 0))
    assert limiter.snapshot().waits_for == "server"

    assert Limiter(None).snapshot().waits_for == "nothing"


@virtual
async def test_a_snapshot_counts_refusals_by_their_kind():
    """Refusals are counted by kind, because only kind "quota" says something about the limit."""
    limiter = Limiter(RateLimit(longest_hold=None))
    for status, remaining, asked in [
        (200, 299, "0"),
        (429, 0, "30"),
        (429, 250, "30"),
        (429, 250, "0"),
        (429, 250, "9000"),
        (429, 250, "0"),
    ]:
        await call(limiter, left(300, remaining, status=status, Retry_After=asked))

    snapshot = limiter.snapshot()
    assert snapshot.refused_for == {"quota": 1, "pause": 1, "overload": 2, "ban": 1}
    assert (snapshot.refused, snapshot.last_refusal) == (5, "overload")


@virtual
async def test_each_change_of_the_limit_is_logged(caplog):
    """Each change of the limit is logged at level DEBUG, and nothing else is."""
    caplog.set_level(logging.DEBUG, "cekat_async")
    limiter = Limiter()
    for limit in (300, 300, 60, 60, 1000):
        await call(limiter, left(limit, limit - 1))
    assert caplog.messages == [
        "the limit is now 300 in 60 s (stated), it was 300 in 60 s (documented)",
        "the limit is now 60 in 60 s (stated), it was 300 in 60 s (stated)",
        "the limit is now 1000 in 60 s (stated), it was 60 in 60 s (stated)",
    ]


# --- bad input


@pytest.mark.parametrize("rate_limit", [300, False, "300/60", RateLimit])
def test_other_types_are_refused(rate_limit):
    """Anything but a RateLimit or None is refused, and the error says what to pass."""
    with pytest.raises(ConfigurationError, match="must be a RateLimit, a Limiter or None, not"):
        Limiter(rate_limit)


@pytest.mark.parametrize("share", [0, -1, 1.5, math.nan, None])
def test_a_wrong_share_is_refused(share):
    """A share that is not above 0 and at most 1 is refused."""
    with pytest.raises(ConfigurationError, match="share must be a number above 0"):
        Limiter(share=share)


def test_a_budget_without_a_rate_is_refused():
    """A budget without a rate limit is refused, because there would be nothing to share."""
    with pytest.raises(ConfigurationError, match="a shared budget needs a rate_limit"):
        Limiter(None, budget=object())


numbers = st.one_of(
    st.integers(-(10**6), 10**6).map(str),
    st.floats(-(10**6), 10**6).map(str),
    st.integers(10**9, 10**15).map(lambda n: f"-{n}"),
    st.sampled_from(["", "soon", "0", "1e9", "²", "300;w=60", "-0", "nan", "inf"]),
)
names = [
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit",
    "RateLimit-Policy",
    "RateLimit-Limit",
    "Retry-After",
]


@settings(max_examples=20 * EFFORT)
@given(
    answers=st.lists(
        st.tuples(
            st.sampled_from([200, 200, 200, 429]), st.dictionaries(st.sampled_from(names), numbers)
        ),
        max_size=30,
    ),
    trust_server=st.booleans(),
)
def test_absurd_headers_neither_stop_it_nor_let_it_run_wild(answers, trust_server):
    """Whatever the headers say, the configured limit is kept, and requests continue."""
    limiter = Limiter(RateLimit(20, per=5.0, longest_hold=None, trust_server=trust_server))

    async def main() -> list[float]:
        times: list[float] = []
        for status, headers in itertools.chain(answers, [(200, {})] * 10):
            permit = await limiter.acquire(NEVER)
            times.append(now())
            await asyncio.sleep(0.01)
            limiter.observe(
                permit, reply(status, **{k.replace("-", "_"): v for k, v in headers.items()})
            )
        return times

    times = run_virtual(main())
    assert most_in_any(times, 5.0) <= 20
    assert limiter._scheduler.terms.limit <= 20


@virtual
async def test_random_strangers_and_refusals_never_stop_it():
    """Requests continue however much quota others use, and despite refusals and missing reports."""
    draw = random.Random(5)

    limiter = Limiter()
    for _ in range(3000):
        permit = await limiter.acquire(now() + 1000)
        await asyncio.sleep(draw.uniform(0, 2))
        refused = draw.random() < 0.02
        answer = left(300, draw.randrange(300), draw.randrange(90), 429 if refused else 200)
        limiter.observe(permit, answer if draw.random() < 0.7 else OK)
    assert limiter.snapshot().sent == 3000
