"""Prefetching is in order and bounded, and leaks no task, however the caller leaves."""

import asyncio
import gc
import subprocess
import sys
from contextlib import aclosing, nullcontext, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import cancelled_after, let_tasks_end, run_virtual
from support.effort import EFFORT
from support.parts import collect, make_pipeline, page_body
from support.scripted import reply

from cekat_async import Limiter, RateLimit, RetryPolicy
from cekat_async._api.replies import Reply
from cekat_async._api.requests import Request
from cekat_async._paging.prefetch import BoundedQueue, prefetched
from cekat_async.resources.conversations import Conversations


def counting(count: int, pause: float = 0.0, fail: BaseException | None = None):
    """Return work that puts the numbers below ``count`` into a queue, and then fails."""
    log: list[int] = []

    async def work(line: BoundedQueue[int]) -> None:
        for number in range(count):
            log.append(number)
            await asyncio.sleep(pause)
            await line.put(number)
        if fail is not None:
            raise fail

    return work, log


@given(
    count=st.integers(0, 20),
    ahead=st.integers(0, 5),
    pause=st.sampled_from([0.0, 1.0, 3.0]),
    work=st.lists(st.sampled_from([0.0, 0.5, 2.0]), max_size=20),
    fails=st.booleans(),
)
@settings(max_examples=40 * EFFORT)
def test_all_in_order_and_bounded(count, ahead, pause, work, fails):
    """Every item arrives once and in order, and then the error.

    The number of prefetched items is limited.
    """
    produce, begun = counting(count, pause, LookupError() if fails else None)
    found: list[int] = []

    async def main() -> None:
        async for number in prefetched(produce, ahead):
            found.append(number)
            await asyncio.sleep(work[number % len(work)] if work else 0)
            assert len(begun) <= len(found) + ahead

    with pytest.raises(LookupError) if fails else nullcontext():
        run_virtual(main())
    assert found == list(range(count))


@pytest.mark.parametrize("steps", range(40))
def test_cancelled_at_any_step(steps):
    """A stream that is cancelled at any step of the loop leaves no task."""
    produce, _ = counting(5)

    async def main() -> None:
        async def consume() -> None:
            async with aclosing(prefetched(produce, 1)) as stream:
                async for _ in stream:
                    await asyncio.sleep(0)

        await cancelled_after(steps, consume())
        # The work ends inside the stream, not some iterations later.
        await let_tasks_end(1)

    run_virtual(main())


def test_cancelled_while_it_ends():
    """If the stream is cancelled while the work ends, it waits for that end and then raises."""
    ended = []

    async def work(line: BoundedQueue[int]) -> None:
        await line.put(1)
        try:
            await asyncio.sleep(100)
        finally:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(5)
            await asyncio.sleep(5)
            ended.append(asyncio.get_running_loop().time())

    async def leave() -> None:
        async with aclosing(prefetched(work, 2)) as stream:
            async for _ in stream:
                break

    async def main() -> None:
        task = asyncio.create_task(leave())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert ended

    run_virtual(main())


async def test_dropped_without_being_closed():
    """If a caller leaves a stream by a break, garbage collection ends the work."""
    produce, _ = counting(5, 1000.0)
    quick, _ = counting(5)
    for work in (produce, quick):
        stream = prefetched(work, 1)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                async for _ in stream:
                    break
        del stream
        gc.collect()
        await let_tasks_end()


@pytest.mark.parametrize("turns", [1, 2, 3])
async def test_work_that_is_cancelled_by_others_is_no_end(turns):
    """If something else cancels the work, the caller gets an error and not the stream's end."""
    produce, _ = counting(3, 1000.0)
    stream = prefetched(produce, 1)
    waiting = asyncio.ensure_future(anext(stream))
    for _ in range(turns):
        await asyncio.sleep(0)
    (work,) = [t for t in asyncio.all_tasks() if "counting" in repr(t.get_coro())]

    work.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_an_error_that_nobody_retrieves_is_not_logged(caplog):
    """If the caller has left, the loop does not report an error of the work."""
    produce, _ = counting(1, 0.0, LookupError())
    stream = prefetched(produce, 2)
    await anext(stream)
    await asyncio.sleep(0)
    await stream.aclose()
    del stream
    gc.collect()
    await asyncio.sleep(0)

    assert not caplog.records


PROGRAM = """
import asyncio, os, signal
from cekat_async import CekatClient
from cekat_async.sandbox import Sandbox

async def main(walk):
    # Development mode warns about each step that takes long, as all do on a busy machine.
    asyncio.get_running_loop().slow_callback_duration = 3600
    async with (
        Sandbox(conversations=500, quota=None, latency=0.02) as api,
        CekatClient(api.api_key, base_url=api.base_url) as cekat,
    ):
        async for _ in walk(cekat.conversations):
            {strike}
        print("whole")

for walk in (
    lambda conversations: conversations.list(),
    lambda conversations: conversations.across(),
    lambda conversations: conversations.list(segments=4, page_size=10),
):
    try:
        asyncio.run(main(walk))
    except KeyboardInterrupt:
        print("interrupted")
    print("over")
"""


@pytest.mark.parametrize(
    "strike, said",
    [
        ("break", "whole"),
        ("return", ""),
        ("raise KeyboardInterrupt", "interrupted"),
        ("os.kill(os.getpid(), signal.SIGINT)", "interrupted"),
    ],
)
def test_a_program_that_stops_in_the_middle_says_nothing(strike, said):
    """A break, a return, Ctrl-C or a KeyboardInterrupt during a loop causes no warning."""
    source = PROGRAM.format(strike=strike)

    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-X", "dev", "-W", "error", "-c", source],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.stderr == ""
    assert done.stdout.split() == [*([said] if said else []), "over"] * 3


def get_body(number: int, pages: int) -> bytes:
    return page_body([f"{number}a", f"{number}b"], str(number + 1) if number + 1 < pages else None)


def test_the_limiter_gets_a_reply_before_the_next_request():
    """The quota in a reply applies to the prefetched request."""
    headers = {"X_RateLimit_Limit": "300", "X_RateLimit_Reset": "30"}
    replies = [
        reply(body=get_body(0, 2), X_RateLimit_Remaining="0", **headers),
        reply(body=get_body(1, 2), X_RateLimit_Remaining="299", **headers),
    ]
    pipeline, transport = make_pipeline(replies, limiter=Limiter(RateLimit(300)))

    # The report might be wrong. So the client tests it after a second, but not immediately.
    run_virtual(collect(Conversations(pipeline, None).list()))

    first, second = transport.times
    assert second - first >= 1


@given(
    pages=st.integers(1, 8),
    broken=st.sets(st.integers(0, 7)),
    refused=st.sets(st.integers(0, 7)),
    prefetch=st.integers(0, 3),
    latency=st.sampled_from([0.0, 0.1]),
)
@settings(max_examples=40 * EFFORT)
def test_nothing_is_lost_or_doubled(pages, broken, refused, prefetch, latency):
    """If any pages are broken or refused the first time, all pages still arrive once, in order."""
    asked: list[int] = []

    def answer(request: Request) -> Reply:
        number = int(request.query.partition("cursor_id=")[2].partition("&")[0] or 0)
        asked.append(number)
        body = get_body(number, pages)
        if asked.count(number) > 1 or number not in broken | refused:
            return reply(body=body)
        return reply(500) if number in refused else reply(body=body.replace(b'"id"', b'"id', 1))

    retry = RetryPolicy(attempts=3, backoff=0.001)
    pipeline, _ = make_pipeline([answer] * 100, latency=latency, retry=retry)
    found = run_virtual(Conversations(pipeline, None).list(prefetch=prefetch).collect())

    assert [item.id for item in found] == [f"{n}{letter}" for n in range(pages) for letter in "ab"]
