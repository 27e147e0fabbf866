"""Prefetch: the next page is requested while the caller works on this one."""

import asyncio
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import cancelled_after, let_tasks_end, run_virtual
from support.effort import EFFORT
from support.parts import collect, collect_ids, make_pipeline, page_body
from support.scripted import reply

from cekat_async import APIStatusError, Limiter, PaginationError, RateLimit, RetryPolicy
from cekat_async._api.messages import Reply, Request
from cekat_async.resources.conversations import Conversations

NO_WAIT = RetryPolicy(attempts=3, backoff=0.001)


class Server:
    """Has so many pages of two, each under the number in its cursor.

    ``answers`` is called with a page's number, how often that was asked for, and its right body.
    """

    def __init__(self, pages: int, answers=lambda number, time, body: reply(body=body)) -> None:
        self.pages = pages
        self.answers = answers
        self.asked: list[int] = []

    def __call__(self, request: Request) -> Reply:
        number = int(request.query.partition("cursor_id=")[2].partition("&")[0] or 0)
        self.asked.append(number)
        return self.answers(number, self.asked.count(number), self.body(number))

    def body(self, number: int, **changes) -> bytes:
        cursor = str(number + 1) if number + 1 < self.pages else None
        return page_body([f"{number}a", f"{number}b"], cursor, **changes)

    def ids(self) -> list[str]:
        return [f"{number}{letter}" for number in range(self.pages) for letter in "ab"]


def rooms(server: Server, latency: float = 0.1, **options) -> Conversations:
    pipeline, _ = make_pipeline([server] * 1000, latency=latency, retry=NO_WAIT, **options)
    return Conversations(pipeline, None)


def walked(server: Server, **options) -> list[str]:
    async def main() -> list[str]:
        return [item.id for item in await collect(rooms(server, **options).list())]

    return run_virtual(main())


def broken_once(number: int, time: int, body: bytes) -> Reply:
    """Return a page that looks right at both ends, and is no JSON in between, the first time."""
    return reply(body=body.replace(b'"id"', b'"id', 1) if time == 1 else body)


def test_the_limiter_hears_of_a_reply_before_the_next_request():
    """What a reply says about the quota holds for the prefetched request."""

    def answers(number: int, _: int, body: bytes) -> Reply:
        left = "0" if number == 0 else "299"
        return reply(
            body=body,
            X_RateLimit_Limit="300",
            X_RateLimit_Remaining=left,
            X_RateLimit_Reset="30",
        )

    server = Server(2, answers)
    pipeline, transport = make_pipeline([server] * 2, limiter=Limiter(RateLimit(300)))

    # It might be a lie, and is put to the test after a second; but not at once.
    run_virtual(collect(Conversations(pipeline, None).list()))

    first, second = transport.times
    assert second - first >= 1


@pytest.mark.parametrize("turns", range(25))
@pytest.mark.parametrize("latency", [0.0, 0.1])
@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_it_can_be_cancelled_at_any_turn(turns, latency, prefetch):
    """Cancelled after any number of turns, a walk leaves no task and no request behind."""
    pipeline, transport = make_pipeline([Server(6)] * 6, latency=latency)

    async def main() -> None:
        walk = aiter(Conversations(pipeline, None).list(prefetch=prefetch))

        async def consume() -> None:
            async with aclosing(walk):
                async for _ in walk:
                    await asyncio.sleep(latency)

        await cancelled_after(turns, consume())
        await let_tasks_end(1)
        assert not transport.under_way

    run_virtual(main())


def test_each_page_is_asked_for_once():
    """A walk to the end costs as many requests as there are pages."""
    server = Server(7)

    assert walked(server) == server.ids()
    assert server.asked == list(range(7))


def test_a_page_that_only_looks_right_is_asked_for_again():
    """A body that is broken between its ends is a failed attempt like any other."""
    server = Server(4, broken_once)

    assert walked(server) == server.ids()
    assert sorted(server.asked) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_wrong_guess_is_given_up():
    """Where the second attempt leads elsewhere than the first one did, the walk goes there."""

    def answers(number: int, time: int, body: bytes) -> Reply:
        if number == 1 and time == 1:
            return reply(body=body.replace(b'"id"', b'"id', 1).replace(b'"2"', b'"5"'))
        return reply(body=body)

    server = Server(8, answers)

    assert walked(server) == server.ids()
    assert server.asked.count(2) == 1


def test_a_guess_fails_at_its_page():
    """What a page fails with that was asked for ahead is raised behind the pages before it."""
    server = Server(4, lambda number, _, body: reply(400 if number == 2 else 200, body))
    found: list[str] = []

    async def main() -> None:
        with pytest.raises(APIStatusError) as caught:
            await collect_ids(rooms(server).list(), found)
        assert caught.value.cursor.cursor_id == "2"

    run_virtual(main())
    assert found == ["0a", "0b", "1a", "1b"]


def test_a_failed_guess_that_nobody_wants_makes_no_noise(caplog):
    """A page fails for good while the guess behind it fails too: only the first is told of."""

    def answers(number: int, time: int, body: bytes) -> Reply:
        if number == 1:
            return reply(body=body.replace(b'"data": [', b'"data": 7, "other": ['))
        return reply(400 if number > 1 else 200, body)

    async def main() -> None:
        with pytest.raises(Exception, match="another shape") as caught:
            await collect(rooms(Server(4, answers), latency=0.0).list())
        assert caught.value.cursor.cursor_id == "1"

    run_virtual(main())
    assert not caplog.records


def test_a_circle_is_an_error():
    """A cursor that comes again ends the walk, also when its page was asked for ahead."""

    def answers(number: int, _: int, body: bytes) -> Reply:
        return reply(body=body.replace(b'"cursor_id": "3"', b'"cursor_id": "1"'))

    with pytest.raises(PaginationError):
        walked(Server(6, answers))


@given(
    pages=st.integers(1, 8),
    broken=st.sets(st.integers(0, 7)),
    refused=st.sets(st.integers(0, 7)),
    latency=st.sampled_from([0.0, 0.1]),
)
@settings(max_examples=40 * EFFORT)
def test_nothing_is_lost_or_doubled(pages, broken, refused, latency):
    """Whichever pages are broken or refused the first time, all come, once, in order."""

    def answers(number: int, time: int, body: bytes) -> Reply:
        if time == 1 and number in refused:
            return reply(500, b"")
        return broken_once(number, time, body) if number in broken else reply(body=body)

    server = Server(pages, answers)

    assert walked(server, latency=latency) == server.ids()
