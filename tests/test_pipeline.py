"""The pipeline, which each request goes through, with a scripted transport on a virtual clock."""

import asyncio
import itertools
import logging
import pickle
import random
from datetime import UTC, datetime, timedelta

import pytest
from support.clock import most_in_any, now, run_virtual
from support.parts import PATIENT, in_one_step, make_config, make_pipeline, page_body
from support.scripted import ScriptedTransport, reply

from cekat_async import RateLimit, RetryPolicy, Timeout
from cekat_async._api.decoding import ConversationPageDecoder
from cekat_async._api.replies import Reply
from cekat_async._api.requests import Request
from cekat_async._ratelimit.limiter import Limiter
from cekat_async._ratelimit.sent_log import Permit
from cekat_async._request.pipeline import Pipeline
from cekat_async.errors import (
    APIStatusError,
    BadRequestError,
    ClientClosedError,
    ConnectionDroppedError,
    ConnectTimeoutError,
    DeadlineExceededError,
    DecodeError,
    MalformedBodyError,
    NotFoundError,
    NotSentError,
    RateLimitError,
    ResponseLostError,
    ResponseTimeoutError,
    ServerError,
)

REQUEST = Request("/api/things", "limit=1")
KEY = "a-made-up-key"


@in_one_step
def make_body(reply: Reply) -> bytes:
    """Return the body unchanged. These tests fetch bodies and not pages."""
    return reply.body


@in_one_step
def decode_whole(reply: Reply) -> str:
    """Return any body unchanged.

    A truncated body, or one of another shape, raises an error.
    """
    if reply.body.startswith(b"cut"):
        raise MalformedBodyError("cut short", raw=reply.body)
    if reply.body.startswith(b"odd"):
        raise DecodeError("another shape", field="$", raw=reply.body)
    return reply.body.decode()


@pytest.mark.parametrize(
    "failure",
    [
        NotSentError("refused"),
        ResponseLostError("lost"),
        ResponseTimeoutError("late"),
        *(reply(status) for status in (408, 425, 429, 500, 502, 503, 504)),
        reply(body=b"cut"),
    ],
    ids=repr,
)
def test_a_transient_failure_is_not_seen_by_the_caller(failure):
    """If the first attempt fails temporarily, a call returns the result of a later attempt."""
    pipeline, transport = make_pipeline([failure, failure, reply(body=b"yes")])

    answer = run_virtual(pipeline.fetch(REQUEST, decode_whole))

    assert answer == "yes"
    assert transport.requests == [REQUEST] * 3
    assert (pipeline.traffic.requests, pipeline.traffic.retries) == (3, 2)


def test_a_dropped_idle_connection_costs_a_transparent_attempt():
    """After the drop of an idle connection, the first retry is immediate, and it is counted."""
    drops = [ConnectionDroppedError("dropped") for _ in range(3)]
    for drop in drops:
        drop.was_idle = True
    pipeline, transport = make_pipeline([drops[0], reply(), *drops[1:], reply()])

    async def main() -> None:
        await pipeline.fetch(REQUEST, make_body)
        await pipeline.fetch(REQUEST, make_body)

    run_virtual(main())

    begin, *others, last = transport.times
    assert others == pytest.approx([begin] * 3, abs=0.01)
    assert last > begin + 0.1  # two drops in a row do not come from idle connections
    assert (pipeline.traffic.requests, pipeline.traffic.retries) == (5, 3)


def test_a_new_connection_that_is_dropped_is_backed_off_for():
    """The drop of a new connection shows that the server fails, so the retry waits."""
    pipeline, transport = make_pipeline([ConnectionDroppedError("dropped"), reply()])

    run_virtual(pipeline.fetch(REQUEST, make_body))

    begin, again = transport.times
    assert again > begin + 0.1


@pytest.mark.parametrize(
    "failure",
    [*(reply(status) for status in (204, 302, 400, 401, 403, 404, 418, 422)), reply(body=b"odd")],
    ids=repr,
)
def test_a_permanent_failure_costs_one_request(failure):
    """Another status, or JSON of another shape, raises an error after the first attempt."""
    pipeline, transport = make_pipeline([failure, reply()])

    async def main() -> None:
        with pytest.raises((APIStatusError, DecodeError)) as caught:
            await pipeline.fetch(REQUEST, decode_whole)
        assert caught.value.attempts == 1

    run_virtual(main())
    assert len(transport.requests) == 1


def test_an_error_has_its_context():
    """An error has the path, the attempts, the request id and the server's Retry-After."""
    refusals = [reply(429, b"", Retry_After="1", X_Request_Id=f"req-{n}") for n in range(3)]
    pipeline, _ = make_pipeline(refusals, retry=RetryPolicy(attempts=3))

    async def main() -> RateLimitError:
        with pytest.raises(RateLimitError) as caught:
            await pipeline.fetch(REQUEST, make_body)
        return caught.value

    error = run_virtual(main())
    for one in (error, pickle.loads(pickle.dumps(error))):  # noqa: S301 - our own bytes
        assert one.path == "/api/things"
        assert one.attempts == 3
        assert one.request_id == "req-2"
        assert one.retry_after == 1.0
        assert "3 attempts" in str(one)
        assert "/api/things" in str(one)


def test_a_retry_is_logged_with_its_path(caplog):
    """The log line of a retry has the path of the request."""
    pipeline, _ = make_pipeline([reply(503), reply()])

    with caplog.at_level(logging.INFO, "cekat_async"):
        run_virtual(pipeline.fetch(REQUEST, make_body))

    (record,) = caplog.records
    assert "HTTP 503, /api/things" in record.getMessage()


def test_each_of_many_failing_calls_gets_its_own_error():
    """If a hundred calls fail at the same time, each gets the error of its own request."""

    def refuse(request: Request) -> Reply:
        return reply(500, b'{"error": {"message": "for %s"}}' % request.path.encode())

    pipeline, _ = make_pipeline(itertools.repeat(refuse), retry=RetryPolicy(attempts=2))

    async def call(number: int) -> None:
        with pytest.raises(ServerError) as caught:
            await pipeline.fetch(Request(f"/{number}"), make_body)
        assert caught.value.path == f"/{number}"
        assert caught.value.message == f"for /{number}"
        assert caught.value.attempts == 2

    async def main() -> None:
        await asyncio.gather(*(call(number) for number in range(100)))

    run_virtual(main())


@pytest.mark.parametrize(
    "failure, retries", [(reply(503), 10), (NotSentError("refused"), 10), (ResponseLostError(), 5)]
)
def test_a_server_that_is_down_is_not_asked_many_times_as_often(failure, retries):
    """While a server is down, calls send first attempts, and the retries that the budget allows."""
    pipeline, transport = make_pipeline(
        itertools.repeat(failure), latency=0.1, retry=RetryPolicy(budget=10)
    )

    async def main() -> None:
        results = await asyncio.gather(
            *(pipeline.fetch(REQUEST, make_body) for _ in range(50)), return_exceptions=True
        )
        assert now() < 5
        notes = {note for error in results for note in getattr(error, "__notes__", ())}
        (note,) = notes
        assert "the client's retry budget of 10 is used up" in note

    run_virtual(main())
    assert len(transport.requests) == 50 + retries
    assert pipeline.traffic.retries == retries


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_pause_that_is_too_long_ends_the_call(status):
    """The call does not wait for a Retry-After above ``longest_hold``, on any status."""
    pipeline, transport = make_pipeline(
        [reply(status, Retry_After="3600"), reply()], timeout=PATIENT
    )

    async def main() -> None:
        with pytest.raises(APIStatusError) as caught:
            await pipeline.fetch(REQUEST, make_body)
        assert now() == 0
        assert caught.value.status == status
        assert caught.value.retry_after == 3600
        assert caught.value.resumes_at > datetime.now(UTC) + timedelta(minutes=50)
        assert "not retried: a pause of 3600 s" in caught.value.__notes__[0]

    run_virtual(main())
    assert len(transport.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_pause_that_is_too_long_ends_the_calls_that_wait(status):
    """A pause that is too long for all calls ends the calls in the queue, and later calls too."""
    limiter = Limiter(RateLimit(1, per=10))
    pipeline, transport = make_pipeline(
        [reply(status, Retry_After="3600")], limiter=limiter, timeout=PATIENT
    )

    async def main() -> None:
        calls = [pipeline.fetch(REQUEST, make_body) for _ in range(5)]
        first, *others = await asyncio.gather(*calls, return_exceptions=True)
        assert first.status == status
        assert {type(error) for error in others} == {RateLimitError}
        assert now() == 0

    run_virtual(main())
    assert len(transport.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_long_pause_is_waited_out_where_that_is_wanted(status):
    """With ``longest_hold=None`` and no deadline, a call returns after an hour."""
    limiter = Limiter(RateLimit(longest_hold=None))
    pipeline, transport = make_pipeline(
        [reply(status, Retry_After="3600"), reply()], limiter=limiter, timeout=PATIENT
    )

    run_virtual(pipeline.fetch(REQUEST, make_body))

    assert transport.times[1] >= 3600


def test_a_permanent_failure_ignores_retry_after():
    """A 404 with Retry-After is handled like any other 404."""
    pipeline, _ = make_pipeline([reply(404, Retry_After="3600")])

    async def main() -> None:
        with pytest.raises(NotFoundError) as caught:
            await pipeline.fetch(REQUEST, make_body)
        assert caught.value.resumes_at is None
        assert not hasattr(caught.value, "__notes__")

    run_virtual(main())


@pytest.mark.parametrize("failure", [NotSentError("refused"), ConnectTimeoutError("late")])
def test_a_request_that_never_left_uses_up_no_quota(failure):
    """Ten attempts that were never sent do not count towards the quotas per minute and per day."""
    limiter = Limiter(RateLimit(100, per_day=2))
    retry = RetryPolicy(attempts=11, backoff=0.001, backoff_max=0.001)
    pipeline, transport = make_pipeline(
        [failure] * 10 + [reply(), reply()], limiter=limiter, retry=retry
    )

    async def main() -> None:
        await pipeline.fetch(REQUEST, make_body)
        assert limiter.snapshot().used == 1
        await pipeline.fetch(REQUEST, make_body)
        assert limiter.snapshot().used == 2
        with pytest.raises(RateLimitError, match="quota is used up"):
            await pipeline.fetch(REQUEST, make_body)

    run_virtual(main())
    assert len(transport.requests) == 12


def test_a_request_whose_answer_was_lost_uses_up_quota():
    """A request that may have arrived is counted, because the server may have counted it."""
    limiter = Limiter(RateLimit(2, per=60))
    retry = RetryPolicy(backoff=0.001, backoff_max=0.001)
    pipeline, transport = make_pipeline(
        [ResponseLostError("lost"), ResponseLostError("lost"), reply()],
        limiter=limiter,
        retry=retry,
    )

    run_virtual(pipeline.fetch(REQUEST, make_body))

    assert transport.times[2] >= transport.times[0] + 60


@pytest.mark.parametrize("share", [0.4, 0.6])
def test_a_server_that_answers_in_the_end_never_uses_up_the_budget(share):
    """If a call succeeds after retries, it gives back to the retry budget what the retries cost."""
    draw = random.Random(4)
    failures = [reply(503), reply(body=b"cut"), ResponseLostError("lost"), NotSentError("refused")]

    def steps():
        while True:
            yield draw.choice(failures) if draw.random() < share else reply()

    policy = RetryPolicy(attempts=100, backoff=0.001, backoff_max=0.001)
    pipeline, _ = make_pipeline(steps(), retry=policy, timeout=PATIENT)

    async def work() -> None:
        for _ in range(200):
            await pipeline.fetch(REQUEST, decode_whole)

    async def main() -> None:
        await asyncio.gather(*(work() for _ in range(8)))

    run_virtual(main())
    assert pipeline.traffic.retries > 750


def test_a_server_that_is_up_again_fills_the_budget():
    """After an outage, the retry budget is refilled if enough calls succeed.

    Each client has its own retry budget, so the outage of another client takes nothing from it.
    """
    down = True
    pipeline, transport = make_pipeline(
        itertools.repeat(lambda _: reply(503 if down else 200)), retry=RetryPolicy(budget=4)
    )
    other, others_transport = make_pipeline([reply(503)] * 4 + [reply()])

    async def outage() -> int:
        before = len(transport.requests)
        with pytest.raises(ServerError):
            await pipeline.fetch(REQUEST, make_body)
        return len(transport.requests) - before

    async def main() -> None:
        nonlocal down
        assert [await outage(), await outage()] == [5, 1]
        down = False
        for _ in range(10):
            await pipeline.fetch(REQUEST, make_body)
        down = True
        assert [await outage(), await outage()] == [3, 1]
        await other.fetch(REQUEST, make_body)

    run_virtual(main())
    assert len(others_transport.requests) == 5


@pytest.mark.parametrize("client_closes", [True, False])
def test_a_retry_that_is_ended_in_the_queue_has_cost_nothing(client_closes):
    """A retry costs nothing if the deadline or the close ends it in the queue."""
    pipeline, transport = make_pipeline(
        [ResponseLostError(), ResponseLostError()],
        limiter=Limiter(RateLimit(1)),
        timeout=Timeout(deadline=20),
        retry=RetryPolicy(budget=2),
    )

    async def end_a_retry_in_the_queue() -> None:
        # This client shares the retry budget, and can be closed separately.
        derived = pipeline.with_options(pipeline._config)
        call = asyncio.create_task(derived.fetch(REQUEST, make_body))
        await asyncio.sleep(3)
        if client_closes:
            derived.close()
        # With an empty budget there is no retry, and the call raises its ResponseLostError.
        with pytest.raises(ClientClosedError if client_closes else DeadlineExceededError):
            await call

    async def main() -> None:
        await end_a_retry_in_the_queue()
        await asyncio.sleep(60)
        await end_a_retry_in_the_queue()

    run_virtual(main())
    assert len(transport.requests) == 2


def test_no_more_than_concurrency_are_in_flight():
    """At most ``concurrency`` requests are in flight, for any number of calls."""
    pipeline, transport = make_pipeline(itertools.repeat(reply()), latency=1, concurrency=3)

    async def main() -> None:
        await asyncio.gather(*(pipeline.fetch(REQUEST, make_body) for _ in range(30)))
        assert now() == pytest.approx(10)

    run_virtual(main())
    assert transport.most_under_way == 3


def test_nothing_is_held_while_a_call_backs_off():
    """With a concurrency of one, another call is sent while the first one is in its backoff."""
    steps = [reply(503, b"", Retry_After="100"), reply(body=b"other"), reply(body=b"first")]
    pipeline, transport = make_pipeline(
        steps, latency=1, concurrency=1, limiter=_NoPauses(), timeout=PATIENT
    )
    done: list[tuple[float, bytes]] = []

    async def call() -> None:
        answer = await pipeline.fetch(REQUEST, make_body)
        done.append((now(), answer))

    async def main() -> None:
        await asyncio.gather(call(), call())

    run_virtual(main())
    assert done == [(2.0, b"other"), (102.0, b"first")]
    assert transport.under_way == 0


class _NoPauses(Limiter):
    """Has only the backoff of each call, and no pause that would stop all calls."""

    def observe(self, permit: Permit, reply: Reply) -> None:
        super().observe(permit, Reply(200, {}, b""))


def test_each_attempt_takes_a_token_of_its_own():
    """Even if half of all requests fail, no window has more requests than the rate allows."""
    draw = random.Random(3)

    def answer(_: Request) -> Reply:
        return reply(500) if draw.random() < 0.5 else reply()

    rate = RateLimit(60)
    pipeline, transport = make_pipeline(
        itertools.repeat(answer),
        limiter=Limiter(rate),
        latency=0.05,
        retry=RetryPolicy(attempts=20, backoff=0.1),
        timeout=PATIENT,
    )

    async def main() -> None:
        await asyncio.gather(*(pipeline.fetch(REQUEST, make_body) for _ in range(150)))

    run_virtual(main())
    assert len(transport.times) > 220
    assert most_in_any(transport.times, 60) <= 60
    assert pipeline.traffic.retries == len(transport.times) - 150


@pytest.mark.parametrize("rate", [RateLimit(300), RateLimit(1000), None])
def test_after_a_429_only_what_was_in_flight_is_refused_too(rate):
    """After the first 429, nothing is sent until the server's pause ends."""
    closed = (30.0, 45.0)
    refused: list[float] = []

    def answer(_: Request) -> Reply:
        if closed[0] <= now() < closed[1]:
            refused.append(now())
            return reply(429, b"", Retry_After=str(closed[1] - now()))
        return reply()

    limiter = Limiter(rate)
    pipeline, transport = make_pipeline(
        itertools.repeat(answer), limiter=limiter, latency=0.3, timeout=PATIENT
    )

    async def work() -> None:
        while now() < 60:
            await pipeline.fetch(REQUEST, make_body)

    async def main() -> None:
        await asyncio.gather(*(work() for _ in range(20)))

    run_virtual(main())
    assert 1 <= len(refused) <= 8
    assert not [time for time in transport.times if min(refused) + 0.001 < time < closed[1] - 0.001]
    if rate:
        assert most_in_any(transport.times, 60) <= rate.requests


def test_a_pause_beyond_the_deadline_fails_all_waiting_calls_at_once():
    """If the daily quota is used up, running, queued and later calls fail immediately."""
    spent = reply(429, b"", Retry_After="40000")
    pipeline, transport = make_pipeline(
        [spent] * 4, limiter=Limiter(RateLimit(1)), concurrency=2, latency=1
    )

    async def main() -> None:
        results = await asyncio.gather(
            *(pipeline.fetch(REQUEST, make_body) for _ in range(30)), return_exceptions=True
        )
        assert now() == pytest.approx(1)
        for error in results:
            assert isinstance(error, RateLimitError)
            assert error.retry_after == pytest.approx(40000)
            assert error.path == "/api/things"
            assert "exceeds" in error.__notes__[0]
        assert sorted(error.attempts for error in results) == [0] * 29 + [1]

    run_virtual(main())
    assert len(transport.requests) == 1


@pytest.mark.parametrize("deadline", [1.5, 10.0, 61.0])
def test_the_deadline_cuts_an_attempt(deadline):
    """A deadline during an attempt ends the call at that moment."""
    pipeline, transport = make_pipeline([reply()], latency=3600, timeout=Timeout(deadline=deadline))

    async def main() -> None:
        with pytest.raises(DeadlineExceededError) as caught:
            await pipeline.fetch(REQUEST, make_body)
        assert now() == deadline
        assert caught.value.attempts == 1
        assert caught.value.path == "/api/things"
        assert caught.value.__cause__ is None
        assert isinstance(caught.value, TimeoutError)

    run_virtual(main())
    assert transport.under_way == 0


def test_the_deadline_names_the_last_failure_as_its_cause():
    """If a deadline passes during a later attempt, the error's cause is the previous failure."""
    pipeline, _ = make_pipeline(
        [reply(500), reply(502, b"<html>"), reply()],
        latency=4,
        timeout=Timeout(deadline=11),
        retry=RetryPolicy(backoff=0.5),
    )

    async def main() -> None:
        with pytest.raises(DeadlineExceededError, match="within the 11 s of") as caught:
            await pipeline.fetch(REQUEST, make_body)
        cause = caught.value.__cause__
        assert isinstance(cause, ServerError)
        assert (cause.status, cause.path, cause.attempts) == (502, "/api/things", 2)
        assert caught.value.attempts == 3

    run_virtual(main())


def test_the_deadline_cuts_the_wait_for_a_token():
    """A queued call fails at its deadline without being sent."""
    pipeline, transport = make_pipeline(
        [reply()] * 9, limiter=Limiter(RateLimit(1)), timeout=Timeout(deadline=20)
    )

    async def main() -> None:
        await pipeline.fetch(REQUEST, make_body)
        with pytest.raises(DeadlineExceededError) as caught:
            await pipeline.fetch(REQUEST, make_body)
        assert now() == 20
        assert caught.value.attempts == 0

    run_virtual(main())
    assert len(transport.requests) == 1


def test_the_deadline_cuts_the_wait_for_a_slot():
    """A call that waits for a slot fails at its deadline and loses no slot."""
    pipeline, transport = make_pipeline(
        [reply()] * 9, latency=50, concurrency=1, timeout=Timeout(deadline=60)
    )

    async def main() -> None:
        first = asyncio.create_task(pipeline.fetch(REQUEST, make_body))
        await asyncio.sleep(0)
        second = asyncio.create_task(pipeline.fetch(REQUEST, make_body))
        third = asyncio.create_task(pipeline.fetch(REQUEST, make_body))
        await first
        with pytest.raises(DeadlineExceededError):
            await second
        with pytest.raises(DeadlineExceededError):
            await third
        assert now() == 60
        await pipeline.fetch(REQUEST, make_body)
        assert now() == 110

    run_virtual(main())
    assert transport.under_way == 0


def test_a_timeout_that_is_not_ours_is_not_taken_for_the_deadline():
    """A TimeoutError from elsewhere is raised unchanged."""
    mine = TimeoutError("mine")
    pipeline, _ = make_pipeline([mine])

    async def main() -> None:
        with pytest.raises(TimeoutError) as caught:
            await pipeline.fetch(REQUEST, make_body)
        assert caught.value is mine

    run_virtual(main())


def test_the_callers_own_timeout_wins():
    """``asyncio.timeout`` around a call raises its own TimeoutError."""
    pipeline, _ = make_pipeline([reply()], latency=100)

    async def main() -> None:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(3):
                await pipeline.fetch(REQUEST, make_body)
        assert type(caught.value) is TimeoutError
        assert now() == 3

    run_virtual(main())


@pytest.mark.parametrize("steps", range(40))
def test_cancelled_at_any_step_nothing_is_left_behind(steps):
    """A call that is cancelled at any step releases its slot and its token."""
    script = [reply(503), reply(body=b"cut"), NotSentError(), reply(body=b"yes")]
    limiter = Limiter(RateLimit(600))
    pipeline, transport = make_pipeline(
        itertools.cycle(script), latency=0.1, concurrency=1, limiter=limiter
    )

    async def main() -> None:
        task = asyncio.create_task(pipeline.fetch(REQUEST, decode_whole))
        for _ in range(steps):
            await asyncio.sleep(0)
            if not any(handle for handle in asyncio.get_running_loop()._ready):
                # No callback is ready, so the clock jumps to the next timer.
                await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])
        assert transport.under_way == 0
        assert (limiter.snapshot().in_flight, limiter.snapshot().waiting) == (0, 0)
        began = now()
        assert await pipeline.fetch(REQUEST, decode_whole) == "yes"
        assert now() - began < 8

    run_virtual(main())


def test_a_closed_client_fails_without_queueing():
    """A call on a closed client fails without a wait and is not counted as a request."""

    class Closed(ScriptedTransport):
        def require_usable(self) -> None:
            raise ClientClosedError("closed")

    limiter = Limiter(RateLimit(1))
    pipeline = Pipeline(make_config(), limiter, Closed([]))

    async def main() -> None:
        limiter.observe(await limiter.acquire(), reply(429, b"", Retry_After="200"))
        with pytest.raises(ClientClosedError) as caught:
            await pipeline.fetch(REQUEST, make_body)
        assert now() == 0
        assert caught.value.attempts == 0

    run_virtual(main())
    assert pipeline.traffic.requests == 0


@pytest.mark.parametrize("status", [200, 400, 503])
def test_an_echo_of_the_key_is_redacted(status, caplog):
    """If a server echoes the key, errors and log lines show ``***`` in its place."""
    echo = f'{{"success": false, "error": {{"message": "{KEY}", "code": "{KEY}"}}}}'.encode()
    pipeline, _ = make_pipeline([reply(status, echo)] * 2, retry=RetryPolicy(attempts=2))

    @in_one_step
    def decode(answer: Reply) -> bytes:
        raise DecodeError(answer.body.decode(), raw=answer.body)

    async def main() -> None:
        with pytest.raises((DecodeError, APIStatusError)) as caught:
            await pipeline.fetch(REQUEST, decode)
        assert KEY not in repr(vars(caught.value)) + str(caught.value)
        assert "***" in caught.value.message

    with caplog.at_level(logging.DEBUG):
        run_virtual(main())
    assert KEY not in caplog.text


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("cut_at", [2_000, 64 * 1024])
def test_a_long_body_shows_no_part_of_the_key(status, cut_at):
    """An error with a long body has no part of an echoed key, wherever the body is cut."""
    for before in (cut_at - len(KEY), cut_at - len(KEY) // 2, cut_at - 1):
        body = b"[" + b"x" * (before - 1) + KEY.encode() + b"y" * 100_000
        pipeline, _ = make_pipeline([reply(status, body)], retry=RetryPolicy(attempts=1))
        with pytest.raises((MalformedBodyError, APIStatusError)) as caught:
            run_virtual(pipeline.fetch(REQUEST, ConversationPageDecoder().decode))
        shown = repr(vars(caught.value))

        assert KEY[: len(KEY) // 2] not in shown
        assert "xxxx" in shown
        assert len(shown) < 200_000


def test_a_large_reply_is_decoded_in_steps():
    """While a large page is decoded, other tasks run and can cancel it."""
    body = b'{"data":[{"id":"x","a":[' + b"[[]]," * 300_000 + b"[]]}]}"
    pipeline, _ = make_pipeline([reply(body=body)] * 2)

    async def main() -> tuple[int, bool]:
        call = asyncio.create_task(pipeline.fetch(REQUEST, ConversationPageDecoder().decode))
        turns = 0
        while not call.done():
            turns += 1
            await asyncio.sleep(0)
        page = await call
        cancelled = asyncio.create_task(pipeline.fetch(REQUEST, ConversationPageDecoder().decode))
        for _ in range(turns // 2):
            await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        return turns, page.ids == ["x"] and cancelled.cancelled()

    turns, is_right = run_virtual(main())

    assert is_right
    assert turns > len(body) / 200_000


@pytest.mark.parametrize("status", [201, 204, 206, 304, 400, 404, 599])
def test_only_a_200_is_decoded(status):
    """Any status other than 200 is an error, even with the body of a valid page."""
    pipeline, _ = make_pipeline([reply(status, page_body(["a"]))], retry=RetryPolicy(attempts=1))

    with pytest.raises(APIStatusError) as caught:
        run_virtual(pipeline.fetch(REQUEST, make_body))
    assert caught.value.status == status


def test_a_200_with_the_key_in_it_is_unchanged():
    """The body of a 200 is the customer's data and is returned byte for byte."""
    body = page_body([KEY])
    pipeline, _ = make_pipeline([reply(body=body)])

    assert run_virtual(pipeline.fetch(REQUEST, make_body)) == body


def test_the_error_has_the_details_of_a_refusal():
    """The error of a 400 contains what the server says about each field."""
    body = b"""{"success": false, "error": {"code": "VALIDATION_ERROR", "message": "Wrong",
        "details": [{"field": "limit", "message": "too large"}]}}"""
    pipeline, _ = make_pipeline([reply(400, body)])

    async def main() -> None:
        with pytest.raises(BadRequestError) as caught:
            await pipeline.fetch(REQUEST, make_body)
        assert caught.value.code == "VALIDATION_ERROR"
        assert caught.value.details == ({"field": "limit", "message": "too large"},)

    run_virtual(main())


def test_the_traffic_can_be_read():
    """The repr of the traffic has the numbers of requests and retries."""
    pipeline, _ = make_pipeline([reply(500), reply()])

    run_virtual(pipeline.fetch(REQUEST, make_body))

    assert repr(pipeline.traffic) == "<Traffic: 2 requests, 1 of them retries>"


def test_a_429_in_the_body_of_a_200_pauses_all():
    """All requests wait for as long as the refusal in the body says."""
    refused = b'{"success": false, "status_code": 429}'
    pipeline, transport = make_pipeline([reply(200, refused, Retry_After="20"), reply(), reply()])

    async def main() -> None:
        first = asyncio.create_task(pipeline.fetch(REQUEST, ConversationPageDecoder().decode))
        await asyncio.sleep(1)
        await pipeline.fetch(REQUEST, ConversationPageDecoder().decode)
        await first

    run_virtual(main())
    assert [round(time) for time in transport.times] == [0, 20, 20]


@pytest.mark.parametrize(
    "steps, options",
    [
        ([reply(429, b"", Retry_After="60")] * 9, {}),
        ([reply(503)] * 9, {"retry": RetryPolicy(backoff=60.0, backoff_max=60.0)}),
        ([reply()] * 9, {"limiter": Limiter(RateLimit(1)), "concurrency": 1}),
        ([reply()] * 9, {"latency": 60.0, "concurrency": 1}),
    ],
    ids=["a hold", "a backoff", "a token and a slot", "a reply and a slot"],
)
def test_closing_ends_every_wait(steps, options):
    """Calls that wait while the client is closed fail immediately, whatever they wait for."""
    pipeline, _ = make_pipeline(steps, **options)

    async def main() -> None:
        calls = [asyncio.create_task(pipeline.fetch(REQUEST, make_body)) for _ in range(3)]
        await asyncio.sleep(1)
        waiting = [call for call in calls if not call.done()]
        pipeline.close()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert now() == 1
        assert {type(result) for result in results} == {ClientClosedError}

    run_virtual(main())


def test_closing_twice_is_fine():
    """A second close does not affect a call that the first close is ending."""
    pipeline, _ = make_pipeline([reply()], latency=60.0)

    async def main() -> None:
        call = asyncio.create_task(pipeline.fetch(REQUEST, make_body))
        await asyncio.sleep(1)
        pipeline.close()
        await asyncio.sleep(0)
        pipeline.close()
        with pytest.raises(ClientClosedError):
            await call

    run_virtual(main())


def test_a_deadline_in_the_queue_says_so():
    """The error shows whether the call was cut off before or after it was sent."""
    pipeline, _ = make_pipeline(
        [reply()] * 2, latency=5.0, concurrency=1, timeout=Timeout(deadline=6.0)
    )

    async def main() -> None:
        results = await asyncio.gather(
            *(pipeline.fetch(REQUEST, make_body) for _ in range(3)), return_exceptions=True
        )
        assert [str(result) for result in results[1:]] == [
            "no reply within the 6 s of Timeout.deadline (/api/things)",
            (
                "no reply within the 6 s of Timeout.deadline: the request was still queued "
                "(/api/things)"
            ),
        ]

    run_virtual(main())
