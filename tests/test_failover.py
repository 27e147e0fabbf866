"""Idle connections after a failover of the server, or after unrequested bytes."""

import asyncio
import itertools

import aiohttp
import pytest
from support.clock import until
from support.parts import page_body
from support.rawserver import Cut, RawServer, http

from cekat_async import CekatClient, RetryPolicy, Timeout
from cekat_async.errors import ConnectionDroppedError, ConnectTimeoutError

PAGE = http(page_body(["1"]))
# Even one backoff makes a call take longer than the test's timeout.
AT_ONCE = RetryPolicy(attempts=5, backoff=1000.0, backoff_max=1000.0, budget=1)
WARM = 8


def make_client(server: RawServer, session=None, **options) -> CekatClient:
    options = {"rate_limit": None, "retry": AT_ONCE, "timeout": Timeout(deadline=20)} | options
    return CekatClient("a-made-up-key", base_url=server.base_url, session=session, **options)


@pytest.fixture(params=["own", "given"])
async def session(request):
    """Run each test twice: with None, so that the client makes a session, and with a session."""
    if request.param == "own":
        yield None
        return
    async with aiohttp.ClientSession() as given:
        yield given


async def warm(client: CekatClient, server: RawServer) -> None:
    """Fill the connection pool with eight idle connections."""
    server.gate.clear()
    calls = [asyncio.create_task(client.conversations.page()) for _ in range(WARM)]
    await until(lambda: len(server.heads) == WARM)
    server.gate.set()
    await asyncio.gather(*calls)
    assert server.open_connections == WARM


async def test_one_retry_is_enough_after_a_failover(session):
    """If all eight idle connections are dead, a call succeeds after one immediate retry."""
    async with RawServer(lambda _: PAGE) as server, make_client(server, session) as client:
        await warm(client, server)
        server.fail_over()

        page = await client.conversations.page()

        assert [conversation.id for conversation in page] == ["1"]
        assert client.traffic.retries == server.resets == 1
        await until(lambda: server.open_connections == 1)
        assert (await client.conversations.page()).items == page.items
    assert client.traffic.retries == 1
    assert server.connections == WARM + 1


async def test_each_of_many_calls_needs_one_retry_after_a_failover(session):
    """Each of many concurrent calls succeeds after a single retry."""
    async with RawServer(lambda _: PAGE) as server, make_client(server, session) as client:
        await warm(client, server)
        server.fail_over()

        pages = await asyncio.gather(*(client.conversations.page() for _ in range(40)))

    assert len(pages) == 40
    assert client.traffic.retries == server.resets <= WARM


async def test_a_failover_that_answers_nothing_costs_one_read_timeout(session):
    """If the new machine ignores old connections, the first retry also uses a new connection."""
    quick = RetryPolicy(attempts=2, backoff=0.001)
    timeout = Timeout(read=0.1)
    async with (
        RawServer(lambda _: PAGE) as server,
        make_client(server, session, retry=quick, timeout=timeout) as client,
    ):
        await warm(client, server)
        server.fail_over(silently=True)

        await client.conversations.page()

    assert client.traffic.retries == 1


async def test_a_failover_in_the_middle_of_a_body(session):
    """After a truncated reply, the retry uses a new connection instead of an idle one."""
    quick = RetryPolicy(attempts=2, backoff=0.001)
    answers = itertools.chain([PAGE] * WARM, [None])

    def answer(_: bytes) -> bytes:
        if (data := next(answers, PAGE)) is not None:
            return data
        server.fail_over()
        raise Cut(PAGE[:-10])

    async with (
        RawServer(answer) as server,
        make_client(server, session, retry=quick) as client,
    ):
        await warm(client, server)

        await client.conversations.page()

    assert client.traffic.retries == 1


async def test_connections_to_other_hosts_stay_open():
    """In a caller's session, only idle connections to the API are closed."""
    async with (
        RawServer(lambda _: PAGE) as server,
        RawServer(lambda _: PAGE) as other,
        aiohttp.ClientSession() as session,
        make_client(server, session) as client,
    ):
        async with session.get(other.base_url):
            pass
        await warm(client, server)
        server.fail_over()
        await client.conversations.page()
        async with session.get(other.base_url):
            pass

    assert other.connections == 1


async def test_a_session_that_keeps_no_connections_is_left_alone():
    """If a session keeps no idle connections, the client does not change the session."""
    connector = aiohttp.TCPConnector(force_close=True)
    answers = iter([PAGE, None, PAGE])

    def answer(_: bytes) -> bytes:
        if (data := next(answers)) is None:
            raise Cut
        return data

    quick = RetryPolicy(backoff=0.001)
    async with (
        RawServer(answer) as server,
        aiohttp.ClientSession(connector=connector) as session,
        make_client(server, session, retry=quick) as client,
    ):
        await client.conversations.page()
        await client.conversations.page()

    assert server.connections == 3


async def test_no_connection_within_the_time_for_a_new_one(session, monkeypatch):
    """``Timeout.connect`` also applies to the new connection of such a retry."""
    quick = RetryPolicy(attempts=2, backoff=0.001)

    async def never(*_: object) -> None:
        await asyncio.get_running_loop().create_future()

    timeout = Timeout(connect=0.5)
    async with (
        RawServer(lambda _: PAGE) as server,
        make_client(server, session, retry=quick, timeout=timeout) as client,
    ):
        await warm(client, server)
        server.fail_over()
        monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", never, raising=False)
        with pytest.raises(ConnectTimeoutError):
            await client.conversations.page()
        monkeypatch.undo()


def drop(_: bytes) -> bytes:
    raise Cut


async def test_a_server_that_drops_new_connections_gets_no_more_than_the_budget(session):
    """Each retry uses the retry budget, except a retry after an idle connection was dropped."""
    budget = RetryPolicy(backoff=0.001, backoff_max=0.001, budget=20)
    async with (
        RawServer(lambda _: PAGE) as server,
        make_client(server, session, retry=budget) as client,
    ):
        await warm(client, server)
        server.answer = drop
        before = len(server.heads)
        results = await asyncio.gather(
            *(client.conversations.page() for _ in range(64)), return_exceptions=True
        )

    assert {type(result) for result in results} == {ConnectionDroppedError}
    # A retry after a lost reply costs twice as much, so a budget of 20 allows 10 such retries.
    assert len(server.heads) - before <= 64 + 10 + WARM


async def test_an_unrequested_reply_is_not_the_next_reply():
    """A reply that the server sends twice is not used for the next request."""
    pages = {
        b"": page_body(["1"], "a"),
        b"a": page_body(["2"], "b"),
        b"b": page_body(["3"], "c"),
        b"c": page_body(["4"]),
    }
    # This reply would end the walk.
    stale = http(page_body(["stale"]))

    def answer(head: bytes) -> bytes:
        _, _, cursor = head.partition(b"cursor_id=")
        return http(pages[cursor[:1] if cursor else b""])

    async with RawServer(answer) as server, make_client(server) as client:
        ids = []
        async for conversation in client.conversations.list(prefetch=0):
            ids.append(conversation.id)
            await server.say(stale)

    assert ids == ["1", "2", "3", "4"]
    assert client.traffic.retries == 0
