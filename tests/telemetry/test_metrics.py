"""The metrics of a client."""

import gc
import threading
import time
from types import SimpleNamespace

import pytest
from support.otel import account
from support.parts import make_client

from cekat_async import CekatError, RateLimit, RetryPolicy
from cekat_async.sandbox import Fault, Sandbox
from cekat_async.telemetry import quota

LIST = "/api/conversations"


async def test_requests_retries_and_records_are_counted(recorded):
    """Requests are counted by status.

    Retries, 429s, waits, pages and records are counted, too.
    """
    async with Sandbox(250, quota=None) as sandbox:
        policy = RetryPolicy(backoff=0.01)
        async with make_client(sandbox, hooks=recorded.hook, retry=policy) as client:
            sandbox.fail_next(Fault.status(503))
            sandbox.fail_next(Fault.status(429, headers={"Retry-After": "0.05"}))
            sandbox.fail_next(Fault.drop())
            await client.conversations.list(prefetch=0).collect()

    requests = "http.client.request.duration"
    assert recorded.total(requests, status_code=200) == 3
    assert recorded.total(requests, status_code=503, type="503") == 1
    assert recorded.total(requests, status_code=429, type="429") == 1
    assert recorded.total(requests, type="ConnectionDroppedError") == 1
    assert recorded.total(requests, method="GET", template=LIST, address="127.0.0.1") == 6
    assert recorded.total("cekat.client.retries") == 3
    assert recorded.total("cekat.client.retries", status_code=429, type="RateLimitError") == 1
    assert recorded.total("cekat.client.refusals") == 1
    assert recorded.total("cekat.client.pauses", reason="the server asks for a pause") == 1
    assert recorded.total("cekat.client.pages", template=LIST) == 3
    assert recorded.total("cekat.client.records", template=LIST) == 250
    assert recorded.total("cekat.client.malformed_records") == 0
    assert recorded.total("cekat.client.wait.time", reason="backoff") > 0
    assert recorded.total("cekat.client.wait.time", reason="pause") > 0.03


async def test_malformed_records_are_counted(recorded):
    """Malformed records are counted among all records, and also separately."""
    body = b'{"success":true,"data":[{"id":"a"},7,{"name":"without an id"}]}'
    async with account(1, hooks=recorded.hook) as (sandbox, client):
        sandbox.fail_next(Fault.raw(200, body))
        await client.conversations.page(on_malformed=lambda _: None)

    assert recorded.total("cekat.client.records") == 3
    assert recorded.total("cekat.client.malformed_records") == 2
    (page,) = recorded.named("page")
    assert page.attributes["cekat.malformed_records"] == 2


async def test_waits_of_calls_that_failed_are_counted(recorded):
    """The waits of a call are counted even if it was never sent."""
    policy = RetryPolicy(attempts=2, backoff=0.01)
    async with (
        Sandbox(10, quota=None) as sandbox,
        make_client(sandbox, hooks=recorded.hook, retry=policy) as client,
    ):
        sandbox.fail_next(Fault.status(500), Fault.status(500))
        with pytest.raises(CekatError):
            await client.conversations.page()

    assert recorded.total("cekat.client.wait.time", reason="backoff") >= 0.005
    assert recorded.total("cekat.client.pages") == 0


async def test_the_quota_in_use(recorded, monkeypatch):
    """The limit and its use are those of the last request.

    One window later, the use is 0.
    """
    async with Sandbox(250, quota=None) as sandbox:
        rate = RateLimit(10_000, 60)
        async with make_client(sandbox, hooks=recorded.hook, rate_limit=rate) as client:
            recorded.hook.observe(client)
            assert recorded.points("cekat.quota.limit") == []
            for _ in range(5):
                await client.conversations.page()
            limiter, by_account = client.limiter.snapshot(), {"cekat.account": client.account}

            assert recorded.points("cekat.quota.limit") == [(by_account, 10_000)]
            assert recorded.points("cekat.quota.usage") == [(by_account, 5)]
            assert recorded.points("cekat.quota.utilization") == [(by_account, limiter.share)]
            later = time.monotonic() + 61
            monkeypatch.setattr(quota, "time", SimpleNamespace(monotonic=lambda: later))
            assert recorded.total("cekat.quota.usage") == 0
            assert recorded.total("cekat.quota.limit") == 10_000


async def test_the_quota_without_a_limit(recorded):
    """A client without a rate limit reports no quota."""
    async with account(10, hooks=recorded.hook, rate_limit=None) as (_, client):
        recorded.hook.observe(client)
        await client.conversations.page()

        assert recorded.points("cekat.quota.limit") == []
        assert recorded.points("cekat.quota.utilization") == []


async def test_the_quota_of_a_client_that_is_gone(recorded, monkeypatch):
    """An observed client can be garbage-collected.

    The client is reported for one more window.
    """
    async with Sandbox(10, quota=None) as sandbox:
        for _ in range(2):
            rate = RateLimit(20, 60)
            async with make_client(sandbox, hooks=recorded.hook, rate_limit=rate) as client:
                recorded.hook.observe(client)
                await client.conversations.page()
            del client
            gc.collect()
    assert len(recorded.hook._quota._observed) == 1
    assert recorded.total("cekat.quota.usage") == 1

    later = time.monotonic() + 61
    monkeypatch.setattr(quota, "time", SimpleNamespace(monotonic=lambda: later))
    assert recorded.points("cekat.quota.limit") == []
    assert recorded.points("cekat.quota.usage") == []
    assert recorded.points("cekat.quota.utilization") == []


async def test_the_quota_belongs_to_a_thread(recorded):
    """The limiter of a client in another thread is not read."""
    async with Sandbox(10, quota=None) as sandbox:
        rate = RateLimit(20, 60)
        async with make_client(sandbox, hooks=recorded.hook, rate_limit=rate) as client:
            thread = threading.Thread(target=recorded.hook.observe, args=(client,))
            thread.start()
            thread.join()
            await client.conversations.page()

            assert recorded.points("cekat.quota.limit") == []
