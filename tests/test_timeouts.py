"""The time limits of a call: the time that counts, the state after a timeout, and cancellations.

The tests in ``test_pipeline.py`` show that each call ends at its deadline, whatever it waits for.
"""

import asyncio
import itertools
import logging
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import parse_qs

import pytest
from support.clock import most_in_any, now, run_virtual, virtual
from support.parts import in_one_step, make_pipeline, page_reply
from support.scripted import reply

from cekat_async import BudgetAnswer, LearnedRate, RateLimit, RetryPolicy, Timeout
from cekat_async._api.replies import Reply
from cekat_async._api.requests import Request
from cekat_async._ratelimit.limiter import Limiter
from cekat_async._request.timeouts import CallTimer, CallTimers
from cekat_async.errors import (
    ClientClosedError,
    DeadlineExceededError,
    NotSentError,
    RateLimitError,
    ServerError,
)
from cekat_async.resources.conversations import Conversations
from cekat_async.resources.inboxes import Inboxes

REQUEST = Request("/api/things")
AT_ONCE = RetryPolicy(backoff=0)
BUSY = reply(429, Retry_After="100")


@in_one_step
def make_body(reply) -> bytes:
    """Return the body unchanged."""
    return reply.body


def make_timers(
    get_pause_time: Callable[[], float] = lambda: 0.0, **limits: float | None
) -> CallTimers:
    """Return the timers that a client has set."""
    return CallTimers(Timeout(**limits), get_pause_time)


async def call(timers: CallTimers, seconds: float = 3600) -> float:
    """Be busy for some seconds, and return the deadline."""

    async def work(timer: CallTimer) -> float:
        await asyncio.sleep(seconds)
        return timer.deadline

    return await timers.enforce(work, was_sent=lambda: True)


@pytest.mark.parametrize("seconds,deadline", [(10, 15), (None, float("inf"))])
@virtual
async def test_a_call_knows_its_deadline(seconds, deadline):
    """A call knows the time of its deadline. Without a deadline, the time is infinite."""
    await asyncio.sleep(5)
    assert round(await call(make_timers(deadline=seconds), 1), 6) == deadline


@pytest.mark.parametrize("cancelled_first", [True, False])
@virtual
async def test_a_cancellation_wins(cancelled_first):
    """A task that is cancelled while the client closes is cancelled, whichever happened first."""
    timers = make_timers(deadline=10)
    task = asyncio.create_task(call(timers))
    await asyncio.sleep(1)
    for end in (task.cancel, timers.close)[:: 1 if cancelled_first else -1]:
        end()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


@pytest.mark.parametrize("reason", [DeadlineExceededError, ClientClosedError])
@virtual
async def test_a_call_that_was_cut_off_leaves_its_task_as_it_was(reason):
    """After a timeout, the task can continue and does not count as cancelled."""
    timers = make_timers(deadline=10)
    if reason is ClientClosedError:
        asyncio.get_running_loop().call_later(2, timers.close)
    with pytest.raises(reason):
        await call(timers)
    assert asyncio.current_task().cancelling() == 0
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(1))


@pytest.mark.parametrize("limits", [{"request": 10}, {"request": None, "deadline": 10}])
@virtual
async def test_a_close_is_not_undone_by_a_retry(limits):
    """If a call starts its next attempt while the client closes, the call ends as well."""
    timers = make_timers(**limits)

    async def work(timer: CallTimer) -> None:
        timer.enter_queue()
        await asyncio.sleep(1)
        timers.close()
        timer.leave_queue()
        timer.enter_queue()
        await asyncio.sleep(1)
        raise AssertionError("the call was not ended")

    with pytest.raises(ClientClosedError):
        await timers.enforce(work, was_sent=lambda: True)
    assert now() == 1


@virtual
async def test_time_in_the_queue_does_not_count():
    """Waiting counts only during a server's pause, and only after the first attempt."""
    paused = 0.0
    timers = make_timers(lambda: paused, request=100)

    async def work(timer: CallTimer) -> None:
        nonlocal paused
        timer.enter_queue()
        await asyncio.sleep(500)
        paused += 500
        assert timer.server_time_left == float("inf")
        timer.leave_queue()
        await asyncio.sleep(30)
        assert timer.server_time_left == pytest.approx(70)
        timer.enter_queue()
        await asyncio.sleep(200)
        paused += 20
        assert timer.server_time_left == pytest.approx(50)
        timer.leave_queue()
        assert timer.find_exceeded_limit(49) is None
        assert timer.find_exceeded_limit(51) == "the 100 s of Timeout.request"
        await asyncio.sleep(51)

    with pytest.raises(DeadlineExceededError, match=r"within the 100 s of Timeout\.request"):
        await timers.enforce(work, was_sent=lambda: True)
    assert now() == pytest.approx(780)


# --- what counts, on the whole path


def test_thousands_of_tasks_share_one_client():
    """5,000 tasks at 300 requests per minute all succeed with the default time limits."""
    limiter = Limiter(RateLimit(300))
    pipeline, transport = make_pipeline(itertools.repeat(reply()), limiter=limiter, latency=0.1)

    async def main() -> None:
        await asyncio.gather(*(pipeline.fetch(REQUEST, make_body) for _ in range(5_000)))
        assert now() == pytest.approx(1_000, rel=0.02)

    run_virtual(main())
    assert len(transport.times) == 5_000
    assert most_in_any(transport.times, 60) <= 300


def test_a_task_for_each_inbox_needs_no_options():
    """The documented example of many inboxes works for an account with 1,600 inboxes."""

    def answer(request: Request) -> Reply:
        if "inboxes" not in request.path:
            return page_reply(["a conversation"])
        number = int(parse_qs(request.query).get("page", ["1"])[0])
        ids = range(100 * number, 100 * number + 100) if number <= 16 else range(0)
        return page_reply([str(id_) for id_ in ids])

    pipeline, transport = make_pipeline(
        itertools.repeat(answer), limiter=Limiter(RateLimit(300)), latency=0.1
    )
    inboxes = Inboxes(pipeline)
    conversations = Conversations(pipeline, inboxes.list)

    async def get_pending(inbox_id: str) -> list[str]:
        listing = conversations.list(inbox_id=inbox_id, stage_status="pending")
        return [conversation.id async for conversation in listing]

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(get_pending(inbox.id)) async for inbox in inboxes.list()]
        assert [task.result() for task in tasks] == [["a conversation"]] * 1_600
        assert now() > 320

    run_virtual(main())
    assert len(transport.times) >= 1_616


def test_a_retry_in_the_queue_does_not_use_up_the_request():
    """A retry that waits longer than ``request`` for the rate limit and a slot still succeeds."""
    script = itertools.chain([reply(503)], itertools.repeat(reply()))
    pipeline, transport = make_pipeline(
        script,
        limiter=Limiter(RateLimit(1, per=10)),
        concurrency=1,
        retry=AT_ONCE,
        timeout=Timeout(request=5),
    )

    async def main() -> None:
        await asyncio.gather(*(pipeline.fetch(REQUEST, make_body) for _ in range(20)))

    run_virtual(main())
    assert transport.times[-1] >= 200


class Budget:
    """A shared budget that grants one request. Then it is used up or unavailable for a minute."""

    def __init__(self, *, is_away: bool) -> None:
        self._is_away = is_away
        self._grants = 0

    async def take(
        self, requests: int, per: float, learned: LearnedRate | None = None
    ) -> BudgetAnswer:
        if self._grants and now() < 60:
            if self._is_away:
                raise OSError("no route")
            return BudgetAnswer(wait=1.0, used=1)
        self._grants += 1
        return BudgetAnswer(wait=0.0, used=1)

    async def pause(self, seconds: float, learned: LearnedRate | None = None) -> None:
        """No-op: there are no other processes."""


@pytest.mark.parametrize("is_away", [False, True])
def test_a_shared_budget_does_not_use_up_the_request(is_away):
    """Waiting for a used-up or unavailable shared budget does not count towards ``request``."""
    pipeline, transport = make_pipeline(
        [reply(503), reply()],
        limiter=Limiter(RateLimit(100), budget=Budget(is_away=is_away)),
        timeout=Timeout(request=5),
    )

    run_virtual(pipeline.fetch(REQUEST, make_body))

    assert transport.times[0] < 1
    assert transport.times[1] >= 60


def test_before_the_first_attempt_a_pause_does_not_count():
    """Before its first attempt, a call waits for a pause that is longer than ``request``."""
    limiter = Limiter(RateLimit(300))
    pipeline, transport = make_pipeline([reply()], limiter=limiter, timeout=Timeout(request=5))

    async def main() -> None:
        limiter.observe(await limiter.acquire(), reply(429, Retry_After="800"))
        await pipeline.fetch(REQUEST, make_body)

    run_virtual(main())
    assert transport.times == [pytest.approx(800)]


def test_after_the_first_attempt_pauses_count():
    """The server's pauses add up. The call ends before a pause that would be too long."""
    pipeline, transport = make_pipeline([BUSY] * 9, limiter=Limiter(RateLimit(300)))

    async def main() -> None:
        with pytest.raises(RateLimitError) as caught:
            await pipeline.fetch(REQUEST, make_body)
        assert now() == pytest.approx(transport.times[-1])
        assert caught.value.resumes_at > datetime.now(UTC)
        assert caught.value.__notes__ == ["not retried: a pause of 100 s exceeds Timeout.request"]

    run_virtual(main())
    assert len(transport.times) == 3


@pytest.mark.parametrize("limits", [{"request": 10}, {"request": None, "deadline": 10}])
@pytest.mark.parametrize("status", [429, 503, 500])
def test_a_pause_that_is_too_long_for_the_call_ends_it_at_once(status, limits):
    """The error of the status is raised at once. It names the limit that the pause would exceed."""
    pipeline, transport = make_pipeline(
        [reply(status, Retry_After="11"), reply()], timeout=Timeout(**limits)
    )
    name = "Timeout.deadline" if "deadline" in limits else "Timeout.request"

    async def main() -> None:
        with pytest.raises((RateLimitError, ServerError)) as caught:
            await pipeline.fetch(REQUEST, make_body)
        assert now() == 0
        assert caught.value.status == status
        assert caught.value.__notes__ == [f"not retried: a pause of 11 s exceeds {name}"]

    run_virtual(main())
    assert len(transport.times) == 1


@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_pause_ends_a_retry_in_the_queue_and_no_first_attempt(concurrency):
    """A pause ends the retries for which it is too long, and nothing else."""
    limiter = Limiter(RateLimit(1, per=10))
    script = itertools.chain([reply(503)], itertools.repeat(reply()))
    pipeline, transport = make_pipeline(
        script,
        limiter=limiter,
        concurrency=concurrency,
        retry=RetryPolicy(backoff=0.1),
        timeout=Timeout(request=50),
    )

    async def main() -> None:
        calls = [asyncio.create_task(pipeline.fetch(REQUEST, make_body)) for _ in range(3)]
        await asyncio.sleep(1)
        limiter._pause_all(60, "the server asks for a pause")
        with pytest.raises(
            RateLimitError, match="the server asks for a pause: requests resume in 60 s"
        ) as caught:
            await calls[0]
        assert now() == 1
        assert caught.value.attempts == 1
        assert "exceeds Timeout.request" in caught.value.__notes__[0]
        await asyncio.gather(*calls[1:])

    run_virtual(main())
    assert transport.times[1] >= 61


def test_pauses_of_one_wait_add_up():
    """A second pause ends a retry that has waited through the first, if their sum is too long."""
    limiter = Limiter(RateLimit(1, per=100))
    pipeline, _ = make_pipeline(
        [reply(503), reply()], limiter=limiter, retry=AT_ONCE, timeout=Timeout(request=50)
    )

    async def main() -> None:
        retry = asyncio.create_task(pipeline.fetch(REQUEST, make_body))
        await asyncio.sleep(1)
        limiter._pause_all(30, "the server asks for a pause")
        limiter._pause_all(20, "the server asks for a pause")
        await asyncio.sleep(39)
        limiter._pause_all(19, "the server asks for a pause")
        await asyncio.sleep(1)
        assert not retry.done()
        limiter._pause_all(20, "the server asks for a pause")
        with pytest.raises(RateLimitError):
            await retry
        assert now() == 41

    run_virtual(main())


@pytest.mark.parametrize(
    "limits, name, ended_at",
    [
        ({"request": 8}, "the 8 s of Timeout.request", 8),
        ({"request": 8, "deadline": 9}, "the 8 s of Timeout.request", 8),
        ({"request": 8, "deadline": 7.5}, "the 7.5 s of Timeout.deadline", 7.5),
        ({"request": None, "deadline": 7}, "the 7 s of Timeout.deadline", 7),
    ],
)
def test_the_limit_that_is_first_is_named(limits, name, ended_at):
    """Attempts and backoffs count towards both limits.

    The error names the limit that was reached first.
    """
    failures = [NotSentError() for _ in range(99)]
    pipeline, _ = make_pipeline(
        failures,
        latency=3,
        retry=RetryPolicy(attempts=99, backoff=0.001, backoff_max=0.001),
        timeout=Timeout(**limits),
    )

    async def main() -> None:
        with pytest.raises(DeadlineExceededError, match=f"no reply within {name}") as caught:
            await pipeline.fetch(REQUEST, make_body)
        assert now() == ended_at
        assert caught.value.attempts == 3
        assert isinstance(caught.value.__cause__, NotSentError)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301

    run_virtual(main())


@pytest.mark.parametrize(
    "limits, name",
    [
        ({"request": 10}, "the 10 s of Timeout.request"),
        ({"request": None, "deadline": 10}, "the 10 s of Timeout.deadline"),
    ],
)
def test_a_backoff_beyond_a_limit_is_not_begun(limits, name):
    """If a backoff would exceed a limit, the failure is raised and gives that reason."""
    pipeline, _ = make_pipeline(
        [reply(500)] * 9,
        retry=RetryPolicy(backoff=40, backoff_max=40),
        timeout=Timeout(**limits),
    )

    async def main() -> None:
        with pytest.raises(ServerError) as caught:
            await pipeline.fetch(REQUEST, make_body)
        assert now() == 0
        assert caught.value.__notes__[0].endswith(f"s exceeds {name}")

    run_virtual(main())


def test_the_deadline_covers_the_queue():
    """Queueing counts towards ``deadline``, before the first attempt and before a retry."""
    script = itertools.chain([reply(503)], itertools.repeat(reply()))
    pipeline, transport = make_pipeline(
        script, limiter=Limiter(RateLimit(1, per=10)), retry=AT_ONCE, timeout=Timeout(deadline=35)
    )

    async def main() -> None:
        calls = [pipeline.fetch(REQUEST, make_body) for _ in range(9)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert now() == 35
        late = [error for error in results if isinstance(error, DeadlineExceededError)]
        assert len(late) == 9 - results.count(b'{"data":[]}') == 6
        assert sum("still queued" in str(error) for error in late) == 5

    run_virtual(main())
    assert len(transport.times) == 4


def test_without_limits_a_request_may_take_for_ever(caplog):
    """Without either limit, a call waits through hours of pauses."""
    caplog.set_level(logging.CRITICAL, "cekat_async")
    limiter = Limiter(RateLimit(300, longest_hold=None))
    pipeline, transport = make_pipeline(
        [reply(429, Retry_After="7200")] * 5 + [reply()],
        limiter=limiter,
        timeout=Timeout(request=None),
    )

    run_virtual(pipeline.fetch(REQUEST, make_body))

    assert transport.times[-1] >= 36_000


@pytest.mark.parametrize("steps", range(0, 60, 2))
def test_cancelled_at_any_step_of_any_queue_nothing_is_left(steps):
    """After three calls are cancelled at any step, all slots and the queue are free."""
    limiter = Limiter(RateLimit(600))
    script = itertools.cycle([reply(503), reply(429, Retry_After="1"), reply()])
    pipeline, transport = make_pipeline(
        script, latency=0.1, concurrency=1, limiter=limiter, retry=RetryPolicy(backoff=0.2)
    )

    async def main() -> None:
        tasks = [asyncio.create_task(pipeline.fetch(REQUEST, make_body)) for _ in range(3)]
        for _ in range(steps):
            await asyncio.sleep(0 if steps % 4 else 0.03)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert transport.under_way == 0
        assert (limiter.snapshot().in_flight, limiter.snapshot().waiting) == (0, 0)
        await pipeline.fetch(REQUEST, make_body)

    run_virtual(main())
