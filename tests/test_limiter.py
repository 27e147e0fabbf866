"""The pace and the holds, on a virtual clock and with the real aiolimiter."""

import asyncio
import itertools
import logging
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import most_in_any, now, run_virtual
from support.scripted import reply

from cekat_async import RateLimit
from cekat_async._limiter import Limiter, PacedLimiter, UnpacedLimiter, bucket, limiter_for
from cekat_async.errors import RateLimitError

NEVER = float("inf")
RATES = [1, 2, 3, 10, 60, 300, 1000]


async def saturate(limiter: Limiter, seconds: float, workers: int = 8) -> list[float]:
    """Return when requests went out while ``workers`` asked for as many as they could."""
    times: list[float] = []
    end = now() + seconds

    async def work() -> None:
        while now() < end:
            await limiter.acquire(NEVER)
            times.append(now())
            await asyncio.sleep(0)

    await asyncio.gather(*(work() for _ in range(workers)))
    return times


def arrivals(times: list[float], per: float = 60.0, seed: int = 1) -> list[float]:
    """Return when requests that left at ``times`` arrive over a network that jitters."""
    draw = random.Random(seed)
    return [time + draw.uniform(0, min(0.25, per / 240)) for time in times]


@pytest.mark.parametrize("requests", RATES)
@pytest.mark.parametrize("workers", [1, 64])
def test_no_window_ever_holds_more_than_the_rate(requests, workers):
    """No window of ``per`` seconds sees more than ``requests``, though arrivals jitter."""
    limiter = PacedLimiter(RateLimit(requests))

    times = run_virtual(saturate(limiter, 130, workers))

    assert most_in_any(times, 60) <= requests
    for seed in range(3):
        assert most_in_any(arrivals(times, seed=seed), 60) <= requests


@pytest.mark.parametrize("requests", RATES)
@pytest.mark.parametrize("per", [0.5, 1.0, 3600.0])
def test_other_periods_are_kept_too(requests, per):
    """The rate holds in windows of a part of a second and of an hour as well."""
    limiter = PacedLimiter(RateLimit(requests, per=per))

    times = run_virtual(saturate(limiter, 3 * per))

    assert most_in_any(arrivals(times, per), per) <= requests


@pytest.mark.parametrize("requests", [60, 300, 1000])
@pytest.mark.parametrize("workers", [1, 8])
def test_a_busy_client_uses_its_rate(requests, workers):
    """When there is always something to fetch, at least 97 % of the rate is used."""
    times = run_virtual(saturate(PacedLimiter(RateLimit(requests)), 300, workers))

    assert len(times) >= 0.97 * 5 * requests


@pytest.mark.parametrize("requests", RATES)
def test_idle_time_saves_up_no_more_than_a_small_burst(requests):
    """After a pause the rate still holds in every window, and only the small bucket is at hand."""
    limiter = PacedLimiter(RateLimit(requests))

    async def main() -> list[float]:
        times = await saturate(limiter, 90)
        for pause in (0.3, 59.9, 3600):
            await asyncio.sleep(pause)
            start = now()
            burst = await saturate(limiter, 70)
            assert sum(time == start for time in burst) <= max(1, requests // 100)
            times += burst
        return times

    assert most_in_any(arrivals(run_virtual(main())), 60) <= requests


patterns = st.lists(
    st.tuples(st.floats(0, 30), st.one_of(st.none(), st.floats(0, 30))), min_size=1, max_size=60
)


@settings(max_examples=60)
@given(requests=st.sampled_from([1, 2, 3, 10, 300]), pattern=patterns)
def test_any_pattern_of_arrivals_and_cancellations(requests, pattern):
    """Whoever comes and gives up whenever, no window is too full and no token is lost."""
    rate = RateLimit(requests, per=6.0)
    limiter = PacedLimiter(rate)
    size, drain = bucket(rate)
    out: list[float] = []

    async def call(start: float, patience: float | None) -> None:
        await asyncio.sleep(start)
        try:
            async with asyncio.timeout(patience):
                await limiter.acquire(NEVER)
        except TimeoutError:
            return
        out.append(now())

    async def main() -> None:
        await asyncio.gather(*(call(*one) for one in pattern))

    run_virtual(main())

    assert most_in_any(out, rate.per) <= requests
    assert len(out) >= sum(patience is None for _, patience in pattern)
    # Had a token been lost, the last one would have gone out later than this.
    last = max(start for start, _ in pattern)
    assert max(out, default=0.0) <= last + len(out) * drain / size + 1e-6


def test_a_cancelled_waiter_passes_its_turn_on():
    """Whoever gives up in the queue makes room: the next goes out when it would have."""

    async def main() -> None:
        limiter = PacedLimiter(RateLimit(60))
        await limiter.acquire(NEVER)
        first = asyncio.create_task(limiter.acquire(NEVER))
        second = asyncio.create_task(limiter.acquire(NEVER))
        await asyncio.sleep(0.5)
        first.cancel()
        await second
        assert now() == pytest.approx(60.25 / 59)
        assert first.cancelled()

    run_virtual(main())


@pytest.mark.parametrize("requests", [1, 2, 99, 100, 300, 1000, 100_000])
def test_the_bucket_never_allows_more_than_the_rate(requests):
    """What a bucket lets through in a window and its jitter is never more than the rate."""
    size, drain = bucket(RateLimit(requests))

    assert size + size / drain * 60.25 <= requests + 1e-6 or requests == 1
    assert drain > 60 or requests > 1


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("rate", [RateLimit(300), None])
def test_a_pause_that_the_server_asks_for_holds_everyone(status, rate):
    """A 429 or 503 with Retry-After holds all requests for that long, paced or not."""

    times: list[float] = []

    async def call(limiter: Limiter) -> None:
        await limiter.acquire(NEVER)
        times.append(now())

    async def main() -> None:
        limiter = limiter_for(rate)
        limiter.observe(reply(status, Retry_After="12"))
        await asyncio.gather(*(call(limiter) for _ in range(20)))

    run_virtual(main())
    assert len(times) == 20
    assert min(times) == pytest.approx(12)


def test_a_429_that_does_not_say_holds_for_one_period():
    """A 429 without Retry-After holds everyone for one period of the rate."""

    async def main() -> None:
        limiter = PacedLimiter(RateLimit(300, per=17))
        limiter.observe(reply(429))
        await limiter.acquire(NEVER)
        assert now() == pytest.approx(17)

    run_virtual(main())


@pytest.mark.parametrize(
    "answer", [reply(200), reply(500), reply(503), reply(404, Retry_After="9"), reply(200, b"")]
)
def test_other_replies_hold_nobody(answer):
    """Only a 429, and a 503 that says for how long, hold everyone."""

    async def main() -> None:
        limiter = PacedLimiter(RateLimit(300))
        limiter.observe(answer)
        await limiter.acquire(NEVER)
        assert now() == 0

    run_virtual(main())


def test_without_a_pace_a_429_that_does_not_say_holds_nobody():
    """With pacing off, a 429 without Retry-After is left to the backoff of its own call."""

    async def main() -> None:
        limiter = limiter_for(None)
        limiter.observe(reply(429))
        await limiter.acquire(NEVER)
        assert now() == 0

    run_virtual(main())


def test_a_hold_reaches_those_who_queue_already():
    """A hold that begins while others wait for their token holds them as well."""

    async def main() -> None:
        limiter = PacedLimiter(RateLimit(60))
        times: list[float] = []

        async def call() -> None:
            await limiter.acquire(NEVER)
            times.append(now())

        calls = [asyncio.create_task(call()) for _ in range(10)]
        await asyncio.sleep(2.5)
        limiter.observe(reply(429, Retry_After="30"))
        await asyncio.gather(*calls)
        assert len([time for time in times if time <= 2.5]) == 3
        after = sorted(time for time in times if time > 2.5)
        assert after[0] == pytest.approx(32.5)
        # One by one, though their tokens had fallen due during the hold.
        gaps = [b - a for a, b in itertools.pairwise(after)]
        assert min(gaps) > 1

    run_virtual(main())


@pytest.mark.parametrize("requests", [10, 300, 1000])
def test_nobody_comes_back_in_a_burst(requests):
    """After a hold no window is too full, and only the small bucket goes out at once."""

    async def main() -> list[float]:
        limiter = PacedLimiter(RateLimit(requests))
        running = asyncio.create_task(saturate(limiter, 200, workers=64))
        for _ in range(3):
            await asyncio.sleep(23)
            limiter.observe(reply(429, Retry_After="10"))
            end = now() + 10
            await asyncio.sleep(0)
            await asyncio.sleep(10.01)
            holds.append(end)
        return await running

    holds: list[float] = []
    times = run_virtual(main())

    assert most_in_any(arrivals(times), 60) <= requests
    for end in holds:
        assert not [time for time in times if end - 10 + 1e-6 < time < end - 1e-6]
        at_once = [time for time in times if end - 1e-6 <= time < end + 0.005]
        assert len(at_once) <= max(1, requests // 100) + 1


def test_a_hold_can_be_prolonged():
    """A second 429 during a hold prolongs it for everyone, and a shorter one cuts nothing."""

    async def main() -> None:
        limiter = PacedLimiter(RateLimit(300))
        limiter.observe(reply(429, Retry_After="10"))
        waiting = asyncio.create_task(limiter.acquire(NEVER))
        await asyncio.sleep(9)
        limiter.observe(reply(429, Retry_After="20"))
        limiter.observe(reply(429, Retry_After="1"))
        await waiting
        assert now() == pytest.approx(29)

    run_virtual(main())


@pytest.mark.parametrize("rate", [RateLimit(1), RateLimit(300), None])
def test_a_hold_beyond_the_deadline_fails_at_once(rate):
    """Who cannot outwait a hold is told at once how long it lasts, and waits for nothing."""

    async def main() -> None:
        limiter = limiter_for(rate)
        limiter.observe(reply(429, Retry_After="500"))
        await asyncio.sleep(100)
        with pytest.raises(RateLimitError, match="400 s are left") as caught:
            await limiter.acquire(now() + 300)
        assert now() == 100
        assert caught.value.retry_after == pytest.approx(400)
        assert caught.value.status == 429

    run_virtual(main())


@pytest.mark.parametrize("rate", [RateLimit(1), RateLimit(60)])
def test_a_hold_beyond_the_deadline_fails_who_is_queueing(rate):
    """Those who queue for a token when such a hold begins fail at that moment too."""

    async def main() -> None:
        limiter = PacedLimiter(rate)
        await limiter.acquire(NEVER)
        calls = [asyncio.create_task(limiter.acquire(300)) for _ in range(50)]
        patient = asyncio.create_task(limiter.acquire(NEVER))
        await asyncio.sleep(0.5)
        limiter.observe(reply(429, Retry_After="1000"))
        limiter.observe(reply(429, Retry_After="1001"))
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert now() == 0.5
        assert {type(result) for result in results} == {RateLimitError}
        await patient
        assert now() == pytest.approx(1001.5)

    run_virtual(main())


def test_a_hold_that_grows_beyond_the_deadline_fails_who_waits_for_its_end():
    """Those who wait for a hold to end fail when it is prolonged beyond their deadline."""

    async def main() -> None:
        limiter = limiter_for(None)
        limiter.observe(reply(429, Retry_After="10"))
        waiting = asyncio.create_task(limiter.acquire(60))
        await asyncio.sleep(4)
        limiter.observe(reply(429, Retry_After="100"))
        with pytest.raises(RateLimitError) as caught:
            await waiting
        assert now() == 4
        assert caught.value.retry_after == pytest.approx(100)

    run_virtual(main())


def test_a_hold_and_a_cancellation_at_the_same_moment():
    """Who is cancelled when such a hold begins is cancelled, and leaves nothing behind."""

    async def main() -> None:
        limiter = PacedLimiter(RateLimit(1))
        await limiter.acquire(NEVER)
        calls = [asyncio.create_task(limiter.acquire(100)) for _ in range(4)]
        await asyncio.sleep(1)
        calls[0].cancel()
        limiter.observe(reply(429, Retry_After="1000"))
        calls[1].cancel()
        await asyncio.sleep(0)
        limiter.observe(reply(429, Retry_After="1000"))
        calls[2].cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        kinds = [type(result) for result in results]
        assert kinds[:2] == [asyncio.CancelledError] * 2
        assert set(kinds[2:]) <= {asyncio.CancelledError, RateLimitError}
        assert not limiter._queue

    run_virtual(main())


def test_one_warning_for_each_hold(caplog):
    """Eight 429s in a row are one hold and one warning; the next hold has its own."""

    async def main() -> None:
        limiter = PacedLimiter(RateLimit(300))
        for _ in range(8):
            limiter.observe(reply(429, Retry_After="5"))
        await limiter.acquire(NEVER)
        limiter.observe(reply(503, Retry_After="2.5"))

    with caplog.at_level(logging.WARNING, "cekat_async"):
        run_virtual(main())

    assert [record.getMessage() for record in caplog.records] == [
        "the server asks for a pause: holding all requests for 5 s",
        "the server asks for a pause: holding all requests for 2.5 s",
    ]


def test_a_retry_after_of_zero_holds_nobody(caplog):
    """A server that says to come back at once is taken at its word."""

    async def main() -> None:
        limiter = PacedLimiter(RateLimit(300))
        limiter.observe(reply(429, Retry_After="0"))
        await limiter.acquire(NEVER)
        assert now() == 0

    run_virtual(main())
    assert not caplog.records


def test_none_is_no_pace():
    """``rate_limit=None`` lets any number of requests out at once."""

    async def main() -> None:
        limiter = limiter_for(None)
        await asyncio.gather(*(limiter.acquire(NEVER) for _ in range(1000)))
        assert now() == 0

    assert type(limiter_for(None)) is UnpacedLimiter
    run_virtual(main())
