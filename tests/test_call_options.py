"""``client.with_options``: new clients with other options that share connections and budgets."""

import asyncio
import gc
import warnings

import aiohttp
import pytest
from support.clock import run_virtual, skip, until
from support.parts import collect, in_one_step, make_client, make_pipeline
from support.rawserver import RawServer, http
from support.scripted import reply

from cekat_async import CekatClient, Hooks, RateLimit, RequestSent, RetryPolicy, Timeout
from cekat_async._api.requests import Request
from cekat_async.errors import (
    ClientClosedError,
    ConfigurationError,
    ConnectTimeoutError,
    DeadlineExceededError,
    ResponseTimeoutError,
    ServerError,
)
from cekat_async.sandbox import Fault

REQUEST = Request("/api/things", "limit=1")
ONCE = RetryPolicy(attempts=1)


@in_one_step
def make_body(answer) -> bytes:
    return answer.body


def with_options(pipeline, **options):
    """Return the pipeline that a client makes for these options."""
    parent, _ = make_pipeline([], **options)
    return pipeline.with_options(parent._config)


# --- the options


async def test_other_retries(sandbox, client):
    """The new client uses the new retry policy, and the original client keeps its own."""
    once = client.with_options(retry=ONCE)
    sandbox.fail_next(Fault.status(503), Fault.status(503))

    with pytest.raises(ServerError) as caught:
        await once.conversations.page()
    page = await client.conversations.page()

    assert caught.value.attempts == 1
    assert page.response.attempts == 2


@pytest.mark.parametrize(
    "limits,error",
    [
        (Timeout(deadline=20, request=None), DeadlineExceededError),
        (Timeout(request=20), DeadlineExceededError),
    ],
    ids=["deadline", "request"],
)
def test_other_limits_of_a_call(limits, error):
    """Calls of the new client use its own ``deadline`` and ``request``."""
    pipeline, _ = make_pipeline([reply()] * 2, latency=50, timeout=Timeout(attempt=100))
    hasty = with_options(pipeline, timeout=limits)

    async def main() -> None:
        with pytest.raises(error, match="20 s"):
            await hasty.fetch(REQUEST, make_body)
        await pipeline.fetch(REQUEST, make_body)

    run_virtual(main())


@pytest.mark.parametrize("limits", [Timeout(read=5), Timeout(attempt=5)], ids=["read", "attempt"])
async def test_other_limits_of_an_attempt(limits):
    """The new client's ``read`` and ``attempt`` take effect, even with a caller's session."""
    async with RawServer(lambda _: None) as server, aiohttp.ClientSession() as session:
        for own in (None, session):
            async with make_client(server, session=own, retry=ONCE) as client:
                hasty = client.with_options(timeout=limits)
                asked = len(server.heads)
                call = asyncio.create_task(hasty.conversations.page())
                patient = asyncio.create_task(client.conversations.page())
                await until(lambda asked=asked: len(server.heads) == asked + 2)
                skip(6)
                with pytest.raises(ResponseTimeoutError):
                    await call
                assert not patient.done()
                patient.cancel()
                await asyncio.wait([patient])


async def test_another_limit_for_connecting(monkeypatch):
    """New connections for the new client use its own ``connect``."""

    async def never(*_args, **_options):
        await asyncio.sleep(3600)

    async with CekatClient("key", base_url="http://127.0.0.1:1", retry=ONCE) as client:
        monkeypatch.setattr("aiohttp.connector.TCPConnector._create_connection", never)
        hasty = client.with_options(timeout=Timeout(connect=0.01))
        with pytest.raises(ConnectTimeoutError):
            await hasty.conversations.page()


@pytest.mark.parametrize("option", [{"timeout": 5}, {"retry": 3}, {"timeout": RetryPolicy()}])
async def test_a_wrong_option_is_refused(client, option):
    """A wrong option raises an error immediately, and the error names the option."""
    (name,) = option
    with pytest.raises(ConfigurationError, match=f"{name} must be a"):
        client.with_options(**option)


async def test_options_that_are_not_given_are_kept(sandbox):
    """Each option can be changed separately, and all other options keep their values."""
    async with make_client(sandbox, retry=ONCE, timeout=Timeout(deadline=7)) as client:
        derived = client.with_options(timeout=Timeout(deadline=3)).with_options()
        again = derived.with_options(retry=RetryPolicy(attempts=2))

    configs = [one._config for one in (client, derived, again)]
    assert [config.timeout.deadline for config in configs] == [7, 3, 3]
    assert [config.retry.attempts for config in configs] == [1, 1, 2]


# --- what is shared


async def test_connections_limiter_traffic_and_hooks_are_shared(sandbox):
    """Both clients use the same connections, limiter, request count, decoder and hooks."""
    events = []
    async with make_client(sandbox, hooks=events.append, rate_limit=RateLimit(600)) as client:
        derived = client.with_options(timeout=Timeout(deadline=50))
        await client.conversations.page()
        await derived.conversations.page()
        await derived.inboxes.page()

        assert derived.limiter is client.limiter
        assert derived.limiter.snapshot().sent == 3
        assert derived.traffic is client.traffic
        assert client.traffic.requests == 3
        assert derived.hooks is client.hooks
        assert isinstance(derived.hooks, Hooks)
        assert derived.account == client.account
        assert derived.concurrency == client.concurrency
        assert derived.conversations._decode == client.conversations._decode
        assert sandbox.log.connections == 1
    assert sum(isinstance(event, RequestSent) for event in events) == 3


def test_the_concurrency_is_shared():
    """All derived clients together keep the original client's limit of concurrent requests."""
    pipeline, transport = make_pipeline([reply()] * 20, latency=1, concurrency=3)
    pipelines = [with_options(pipeline) for _ in range(5)]

    async def main() -> None:
        await asyncio.gather(*(one.fetch(REQUEST, make_body) for one in pipelines * 4))

    run_virtual(main())

    assert transport.most_under_way == 3


def test_the_retry_budget_is_shared():
    """A retry of one client uses up part of the retry budget of all clients."""
    pipeline, transport = make_pipeline(
        [reply(503)] * 40, retry=RetryPolicy(attempts=4, backoff=0, budget=5)
    )
    other = with_options(pipeline, retry=RetryPolicy(attempts=3, backoff=0))

    async def main() -> None:
        for one in (pipeline, other, other, pipeline):
            with pytest.raises(ServerError):
                await one.fetch(REQUEST, make_body)

    run_virtual(main())

    # 3 retries, then 2, and then the budget is used up.
    assert len(transport.requests) == 4 + 3 + 1 + 1


async def test_a_retry_budget_of_its_own_is_refused(sandbox):
    """A different retry budget raises an error, because it would not be used.

    The client's own retry budget is accepted.
    """
    async with make_client(sandbox, retry=RetryPolicy(budget=7)) as client:
        client.with_options(retry=RetryPolicy(attempts=2))
        client.with_options(retry=RetryPolicy(budget=7))
        for budget in (8, None):
            with pytest.raises(ConfigurationError, match=r"which is 7: leave budget out"):
                client.with_options(retry=RetryPolicy(budget=budget))


# --- its life and its end


async def test_closing_it_ends_its_own_calls_only():
    """Closing a derived client ends its calls and refuses new ones. The original continues."""
    async with RawServer(lambda _: http()) as server, make_client(server) as client:
        derived = client.with_options(timeout=Timeout(deadline=60))
        server.gate.clear()
        its, others = [asyncio.create_task(one.conversations.page()) for one in (derived, client)]
        await until(lambda: len(server.heads) == 2)
        await derived.aclose()
        with pytest.raises(ClientClosedError, match="during a request"):
            await its
        server.gate.set()
        assert len(await others) == 0

        for use in (derived.conversations.page(), collect(derived.inboxes.list())):
            with pytest.raises(ClientClosedError, match="the client is closed"):
                await use
        with pytest.raises(ClientClosedError, match="the client is closed"):
            derived.with_options()
        with pytest.raises(ClientClosedError, match="the client is closed"):
            await derived.__aenter__()
        assert repr(derived).endswith(", closed>")
        assert repr(client).endswith(", open>")
        assert len(await client.conversations.page()) == 0
        await derived.aclose()


async def test_closing_the_original_ends_the_calls_of_all():
    """Closing the original client ends the calls of all clients that were derived from it.

    This includes clients that were derived from derived clients.

    The test uses a caller's session, so that nothing else ends these calls.
    """
    async with RawServer(lambda _: None) as server, aiohttp.ClientSession() as session:
        client = make_client(server, session=session)
        derived = client.with_options(timeout=Timeout(deadline=60))
        further = derived.with_options(retry=ONCE)
        calls = [
            asyncio.create_task(one.conversations.page()) for one in (client, derived, further)
        ]
        await until(lambda: len(server.heads) == 3)
        await client.aclose()
        for call in calls:
            with pytest.raises(ClientClosedError):
                await call
        for one in (derived, further):
            with pytest.raises(ClientClosedError, match="the client is closed"):
                await one.conversations.page()
            assert repr(one).endswith(", closed>")


async def test_closing_the_original_ends_calls_of_clients_in_a_chain():
    """Closing the original ends a derived client's call, even if only the call references it."""
    async with RawServer(lambda _: None) as server, aiohttp.ClientSession() as session:
        client = make_client(server, session=session)
        chained = client.with_options(retry=ONCE).with_options(timeout=Timeout(deadline=60))
        call = asyncio.create_task(chained.conversations.page())
        del chained
        await until(lambda: len(server.heads) == 1)
        gc.collect()
        await client.aclose()
        with pytest.raises(ClientClosedError):
            await call


async def test_it_can_be_entered_and_left(sandbox, client):
    """Each client can be entered once with ``async with``, even inside the original's block."""
    async with client.with_options(retry=ONCE) as derived:
        assert len(await derived.conversations.page()) == 100
        with pytest.raises(ConfigurationError, match="enter it only once"):
            await derived.__aenter__()

    assert len(await client.conversations.page()) == 100


async def test_it_needs_no_closing(sandbox, client):
    """A derived client can be dropped without closing it. There is no warning and no leak."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            await client.with_options(timeout=Timeout(deadline=60)).conversations.page()
        gc.collect()

    assert len(client._pipeline._timers._derived) == 0


async def test_it_keeps_the_original_alive(sandbox):
    """If only the derived client is referenced, the connections stay open.

    When the derived client is dropped as well, a warning reports the open connections.
    """
    kept = [make_client(sandbox).with_options(retry=ONCE)]
    await kept[0].conversations.page()
    session = kept[0]._transport.session.open()
    gc.collect()
    await kept[0].conversations.page()

    with pytest.warns(ResourceWarning, match="was never closed"):
        kept.clear()
    await session.close()


async def test_hooks_get_pauses_until_the_original_is_closed(sandbox):
    """Closing a derived client does not remove the shared hooks."""
    client = make_client(sandbox, hooks=lambda _: None)
    derived = client.with_options(retry=ONCE)
    await derived.aclose()

    assert client.hooks in client.limiter.pause_listeners
    await client.aclose()
    assert client.hooks not in client.limiter.pause_listeners
