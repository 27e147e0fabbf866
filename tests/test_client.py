"""The client: its options, and how it is opened and closed."""

import asyncio
import gc
import warnings

import aiohttp
import pytest
from support.clock import until
from support.parts import collect
from support.rawserver import RawServer, http

from cekat_async import CekatClient, RateLimit, RetryPolicy, Timeout
from cekat_async.errors import AuthenticationError, ClientClosedError, ConfigurationError
from cekat_async.sandbox import Fault, Sandbox


async def test_the_key_and_the_address_come_from_the_environment(sandbox, monkeypatch):
    """Without arguments, the client reads the key and the base URL from the environment."""
    monkeypatch.setenv("CEKAT_API_KEY", sandbox.api_key)
    monkeypatch.setenv("CEKAT_BASE_URL", sandbox.base_url)

    async with CekatClient() as client:
        page = await client.conversations.page()

    assert len(page) == 100


async def test_arguments_override_the_environment(sandbox, monkeypatch):
    """Arguments override the environment."""
    monkeypatch.setenv("CEKAT_API_KEY", "another")
    monkeypatch.setenv("CEKAT_BASE_URL", "https://elsewhere.invalid")

    async with CekatClient(sandbox.api_key, base_url=sandbox.base_url) as client:
        assert len(await client.conversations.page()) == 100


def test_without_a_key_it_says_what_to_do():
    """If there is no key, the error names the argument and the environment variable."""
    with pytest.raises(ConfigurationError, match=r"api_key=… or set CEKAT_API_KEY"):
        CekatClient()


@pytest.mark.parametrize(
    "options",
    [
        {"rate_limit": 300},
        {"retry": 3},
        {"timeout": 10.0},
        {"concurrency": 0},
        {"concurrency": True},
        {"base_url": "ftp://api.cekat.ai"},
        {"base_url": "http://api.cekat.ai"},
        {"session": object()},
    ],
    ids=repr,
)
def test_a_wrong_option_is_refused_when_the_client_is_made(options):
    """The constructor raises an error that names the wrong option, and leaves nothing to close."""
    (name,) = options

    with pytest.raises(ConfigurationError, match=name):
        CekatClient("key", **options)
    gc.collect()


def test_a_wrong_option_is_a_value_error():
    """``except ValueError`` catches a wrong option."""
    with pytest.raises(ValueError, match="concurrency"):
        CekatClient("key", concurrency=-1)


async def test_a_wrong_key_is_reported(sandbox):
    """An unknown key raises AuthenticationError after one request."""
    async with CekatClient("wrong", base_url=sandbox.base_url) as client:
        with pytest.raises(AuthenticationError, match="Not authenticated") as caught:
            await client.conversations.page()

    assert caught.value.status == 401
    assert client.traffic.requests == 1


async def test_leaving_closes_the_connections(sandbox):
    """At the end of ``async with``, the client's connections are closed."""
    async with CekatClient(sandbox.api_key, base_url=sandbox.base_url) as client:
        await client.conversations.page()
        assert sandbox.log.open_connections == 1
    await until(lambda: not sandbox.log.open_connections)

    assert repr(client) == f"<CekatClient of {sandbox.base_url}, closed>"


async def test_leaving_by_an_error_closes_too(sandbox):
    """An exception in the body of ``async with`` reaches the caller, and the client is closed."""
    client = CekatClient(sandbox.api_key, base_url=sandbox.base_url)

    async def body() -> None:
        async with client:
            await client.conversations.page()
            raise LookupError

    with pytest.raises(LookupError):
        await body()
    assert repr(client).endswith(", closed>")


async def test_closing_twice_is_fine(sandbox):
    """``aclose`` may be called any number of times, even on a client that sent no request."""
    unused = CekatClient("key")
    await unused.aclose()
    await unused.aclose()
    async with CekatClient(sandbox.api_key, base_url=sandbox.base_url) as client:
        await client.conversations.page()
        await client.aclose()
        await client.aclose()


async def test_use_after_close_says_so(sandbox):
    """Each use of a closed client raises an error and sends nothing."""
    async with CekatClient(sandbox.api_key, base_url=sandbox.base_url) as client:
        walk = aiter(client.conversations.list(page_size=10))
        await anext(walk)
        page_before = await client.conversations.page()
    sent = len(sandbox.log.requests)

    for use in (
        client.conversations.page(),
        client.conversations.page(cursor=page_before.next_cursor),
        client.inboxes.page(),
        collect(client.conversations.list()),
        collect(client.inboxes.list()),
        collect(walk),
    ):
        with pytest.raises(ClientClosedError, match="client is closed: make a new one") as caught:
            await use
        assert caught.value.attempts == 0
    assert len(sandbox.log.requests) == sent


async def test_entering_a_closed_client_says_so():
    """A client that was closed cannot be entered."""
    client = CekatClient("key")
    await client.aclose()

    with pytest.raises(ClientClosedError, match="make a new one"):
        await client.__aenter__()


async def test_entering_twice_says_so():
    """A client can be entered only once: the inner exit would close it for the outer block."""
    async with CekatClient("key") as client:
        with pytest.raises(ConfigurationError, match="enter it only once"):
            async with client:
                pass


async def test_a_client_works_without_async_with(sandbox):
    """A client can be used without ``async with`` and closed by hand."""
    client = CekatClient(sandbox.api_key, base_url=sandbox.base_url)
    try:
        assert len(await client.conversations.page()) == 100
        assert repr(client) == f"<CekatClient of {sandbox.base_url}, open>"
    finally:
        await client.aclose()


async def test_a_client_that_was_never_closed_warns(sandbox):
    """If a client is dropped with open connections, a warning says how to close a client."""
    clients = [CekatClient(sandbox.api_key, base_url=sandbox.base_url)]
    await clients[0].conversations.page()
    session = clients[0]._transport.session.open()

    with pytest.warns(ResourceWarning, match="was never closed: use 'async with'"):
        clients.clear()
    await session.close()


async def test_a_client_that_opened_nothing_does_not_warn():
    """There is no warning if the client was never used, or if it uses a caller's session."""
    async with RawServer(lambda _: http()) as server, aiohttp.ClientSession() as session:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            CekatClient("key")
            client = CekatClient("key", base_url=server.base_url, session=session)
            await client.conversations.page()
            del client
            gc.collect()


async def test_options_can_be_read(sandbox):
    """A client shows its rate limit and the number of requests it has sent."""
    async with CekatClient(
        sandbox.api_key,
        base_url=sandbox.base_url,
        rate_limit=RateLimit(600),
        retry=RetryPolicy(backoff=0.001),
        timeout=Timeout(deadline=10),
        concurrency=2,
    ) as client:
        sandbox.fail_next(Fault.status(500), Fault.drop())
        await client.conversations.page()

    assert client.limiter.snapshot().limit == 600
    assert (client.traffic.requests, client.traffic.retries) == (3, 2)


async def test_connections_grow_with_concurrency():
    """There are never more connections than ``concurrency``, for any number of calls."""
    async with (
        Sandbox(conversations=500, quota=None, latency=0.001) as sandbox,
        CekatClient(
            sandbox.api_key, base_url=sandbox.base_url, rate_limit=None, concurrency=3
        ) as client,
    ):
        await asyncio.gather(*(client.conversations.page(limit=1) for _ in range(60)))

    assert sandbox.log.connections == 3


async def test_tasks_share_the_pace_of_a_client(sandbox):
    """Tasks that share a client share its rate limit, so they are not faster than one task."""
    async with CekatClient(
        sandbox.api_key, base_url=sandbox.base_url, rate_limit=RateLimit(99, per=0.5)
    ) as client:
        await asyncio.gather(*(client.conversations.page(limit=1) for _ in range(50)))

    times = [seen.time for seen in sandbox.log.requests]
    assert max(times) - min(times) > 0.2


def test_the_environment_is_read_at_the_constructor_only(monkeypatch):
    """Changes to the environment do not affect a client that exists already."""
    monkeypatch.setenv("CEKAT_API_KEY", "key")
    client = CekatClient()
    monkeypatch.setenv("CEKAT_BASE_URL", "https://elsewhere.invalid")

    assert repr(client) == "<CekatClient of https://api.cekat.ai, open>"
