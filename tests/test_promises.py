"""The package's promises to everyone and to the app developer, one test for each.

Most promises are tested with the component that keeps them. This file tests the promises that
several components keep together.
"""

import asyncio
import itertools
import json
import pickle
import random
from datetime import datetime

import aiohttp
import pytest
from support.clock import now, run_virtual
from support.hanging import hangs_skipped
from support.parts import collect, collect_ids, make_config, make_pipeline, page_body, page_reply
from support.rawserver import RawServer, http
from support.scripted import ScriptedTransport, reply

from cekat_async import (
    CekatClient,
    Conversation,
    Cursor,
    PlatformType,
    RateLimit,
    RetryPolicy,
    StageStatus,
    Timeout,
    decode_conversation,
    errors,
)
from cekat_async._api.replies import Reply
from cekat_async._api.requests import Request
from cekat_async._ratelimit.limiter import Limiter
from cekat_async._request.pipeline import Pipeline
from cekat_async.resources.conversations import Conversations
from cekat_async.resources.inboxes import Inboxes
from cekat_async.sandbox import Dialect, Fault, Quota, Sandbox
from cekat_async.sandbox.behaviour.quota import build_counter

STATUSES = {
    400: errors.BadRequestError,
    401: errors.AuthenticationError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    409: errors.APIStatusError,
    422: errors.BadRequestError,
    429: errors.RateLimitError,
    500: errors.ServerError,
    503: errors.ServerError,
    599: errors.ServerError,
}


# To the app developer


async def test_one_import_one_async_with_typed_results(monkeypatch):
    """The example of the package's docstring runs unchanged."""
    async with Sandbox(conversations=120) as sandbox:
        monkeypatch.setenv("CEKAT_API_KEY", sandbox.api_key)
        monkeypatch.setenv("CEKAT_BASE_URL", sandbox.base_url)
        seen: list[Conversation] = []

        async with CekatClient() as cekat:
            async for conversation in cekat.conversations.list(stage_status="assigned"):
                seen.append(conversation)  # noqa: PERF401 - as the page has it

        assert len(seen) == sandbox.count(stage_status="assigned")
        assert all(conversation.stage_status is StageStatus.ASSIGNED for conversation in seen)
        assert {type(conversation.created_at) for conversation in seen} == {datetime}


async def test_unknown_values_and_fields_never_raise(client, sandbox):
    """An unknown status, platform or field is kept and causes no error."""
    record = {
        "id": "1",
        "stage_status": "snoozed",
        "platform_type": "pigeon",
        "mood": {"of": ["the", "day"]},
        "labels": [{"id": "l", "shape": "round"}],
        "last_message": {"message": "hi", "read": None},
    }
    sandbox.fail_next(Fault.raw(body=page_body([], data=[record])))

    page = await client.conversations.page()

    (found,) = page
    assert found.stage_status == StageStatus("snoozed") == "snoozed"
    assert found.platform_type == PlatformType("pigeon") == "pigeon"
    assert found.extra == {"mood": {"of": ["the", "day"]}}
    assert found.labels[0].extra == {"shape": "round"}
    assert found.last_message.extra == {"read": None}
    assert json.loads(bytes(page.raw[0])) == record


async def test_the_bytes_of_the_api_are_available():
    """Every record has the bytes that were received, and can be read back from them."""
    dialect = Dialect(timestamps="naive", collections_null=0.5)
    async with (
        Sandbox(conversations=60, quota=None, dialect=dialect) as sandbox,
        CekatClient(sandbox.api_key, base_url=sandbox.base_url) as client,
    ):
        page = await client.conversations.page()

    assert [bytes(raw) for raw in page.raw] == [record for _, record in sandbox.records()]
    assert [decode_conversation(bytes(raw)) for raw in page.raw] == list(page)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("body", ["json", "html", "empty"])
async def test_errors_are_one_tree(status, body):
    """Every refusal has its own class under CekatError, has its details, and can be pickled."""
    async with (
        Sandbox(conversations=100, quota=None) as sandbox,
        CekatClient(
            sandbox.api_key, base_url=sandbox.base_url, retry=RetryPolicy(attempts=1)
        ) as client,
    ):
        start = (await client.conversations.page(limit=10)).next_cursor
        sandbox.fail_next(Fault.status(status, body=body, headers={"Retry-After": "0"}))
        with pytest.raises(errors.CekatError) as caught:
            await client.conversations.page(cursor=start)

    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):  # noqa: S301 - our own
        assert type(error) is STATUSES[status]
        assert error.status == status
        assert error.message
        assert error.code == (f"HTTP_{status}" if body == "json" else None)
        assert error.path == "/api/conversations"
        assert error.attempts == 1
        assert error.request_id.startswith("req_")
        assert error.retry_after == 0
        assert error.cursor == start
        assert f"HTTP {status}" in str(error)


@pytest.mark.parametrize(
    "fault, kind",
    [
        (Fault.drop(), errors.ConnectionDroppedError),
        (Fault.drop_mid_body(), errors.ResponseLostError),
        (Fault.wire(b"\x00\x01\r\n\r\n"), errors.ResponseLostError),
        (Fault.hang(), errors.ResponseTimeoutError),
        (Fault.truncate(), errors.MalformedBodyError),
        (Fault.raw(body=b"<html>"), errors.MalformedBodyError),
        (Fault.raw(body=b"[]"), errors.DecodeError),
        (Fault.raw(body=b'{"success": false}'), errors.APIStatusError),
        (Fault.raw(body=page_body([], data=[{"id": 1}])), errors.MalformedRecordError),
    ],
    ids=lambda part: getattr(part, "kind", None),
)
async def test_every_failure_has_a_resume_position(sandbox, fault, kind):
    """The error that ends a walk has the cursor of its page, even after pickling."""
    async with CekatClient(
        sandbox.api_key,
        base_url=sandbox.base_url,
        retry=RetryPolicy(attempts=1),
        timeout=Timeout(read=30.0),
    ) as client:
        pages = client.conversations.list().pages()
        sandbox.fail_next(Fault.ok(), fault)
        first = await anext(pages)
        async with hangs_skipped(sandbox, 31.0):
            with pytest.raises(errors.CekatError) as caught:
                await collect(pages)

    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):  # noqa: S301 - our own
        assert type(error) is kind
        assert isinstance(error.cursor, Cursor)
        assert error.cursor == first.next_cursor


@pytest.mark.parametrize("deadline", [0.1, 1.0, 7.0, 33.3, 300.0])
def test_one_deadline_for_attempts_and_waits(deadline):
    """A call ends by its deadline, however its attempts, queues, pauses and backoffs add up."""
    script = [
        errors.NotSentError(),
        reply(500),
        reply(429, b"", Retry_After="2"),
        reply(503, b"", Retry_After="1"),
        errors.ResponseTimeoutError(),
    ]
    pipeline, transport = make_pipeline(
        itertools.cycle(script),
        latency=0.7,
        concurrency=2,
        limiter=Limiter(RateLimit(60)),
        retry=RetryPolicy(attempts=1000, backoff=0.3),
        timeout=Timeout(deadline=deadline),
    )

    async def main() -> None:
        conversations = Conversations(pipeline, Inboxes(pipeline).list)
        calls = (conversations.page() for _ in range(5))
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert now() <= deadline
        assert all(isinstance(result, errors.CekatError) for result in results)

    run_virtual(main())
    assert transport.under_way == 0


@pytest.mark.parametrize("headers", ["x-ratelimit", None])
async def test_a_used_up_day_is_reported_with_its_end(headers):
    """If the daily quota is used up, a call fails immediately and says when the quota resets."""
    quota = Quota(per_day=2, requests=100, headers=headers)
    async with (
        Sandbox(conversations=500, quota=quota) as sandbox,
        CekatClient(
            sandbox.api_key, base_url=sandbox.base_url, retry=RetryPolicy(backoff=0.001)
        ) as client,
    ):
        found: list[str] = []
        with pytest.raises(errors.RateLimitError) as caught:
            await collect_ids(client.conversations.list(), found)
        with pytest.raises(errors.RateLimitError) as again:
            await client.conversations.page()

    assert len(found) == 200
    assert caught.value.retry_after > 80_000
    assert caught.value.resumes_at is not None
    assert caught.value.cursor is not None
    assert again.value.attempts == 0
    # After a report that 0 requests remain, the client need not ask the server again.
    assert sandbox.log.refused == (headers is None)


class CountingServer(ScriptedTransport):
    """Counts requests like the sandbox, with network jitter."""

    def __init__(self, quota: Quota) -> None:
        super().__init__([])
        self._counter = build_counter(quota)
        self._draw = random.Random(1)
        self.refused = 0

    async def exchange(self, request: Request) -> Reply:
        await asyncio.sleep(self._draw.uniform(0, 0.25))
        self.times.append(now())
        granted = self._counter.take(asyncio.get_running_loop().time()).granted
        self.refused += not granted
        await asyncio.sleep(self._draw.uniform(0, 0.25))
        return page_reply(["1"]) if granted else reply(429)


@pytest.mark.parametrize("window", ["fixed", "first_hit", "sliding", "bucket"])
@pytest.mark.parametrize("phase", [0.0, 31.0])
@pytest.mark.parametrize("requests", [60, 300])
def test_no_request_is_refused_because_of_our_pacing(window, phase, requests):
    """For each kind of window, the client uses the quota and no request is refused."""
    quota = Quota(requests=requests, window=window, phase=phase)
    server = CountingServer(quota)
    limiter = Limiter(RateLimit(requests))
    pipeline = Pipeline(make_config(concurrency=32), limiter, server)
    conversations = Conversations(pipeline, Inboxes(pipeline).list)

    async def work() -> None:
        while now() < 180:
            await conversations.page()

    async def main() -> None:
        await asyncio.gather(*(work() for _ in range(40)))

    run_virtual(main())
    assert server.refused == 0
    assert len(server.times) >= 0.97 * 3 * requests


async def test_a_callers_session_brings_its_own_connector(sandbox):
    """A caller's session keeps its connector, whatever the client's concurrency."""
    connector = aiohttp.TCPConnector(limit=2)
    async with aiohttp.ClientSession(connector=connector) as session:
        client = CekatClient(
            sandbox.api_key, base_url=sandbox.base_url, session=session, rate_limit=None
        )
        async with client:
            await asyncio.gather(*(client.conversations.page(limit=1) for _ in range(20)))
        assert not session.closed

    assert sandbox.log.connections <= 2


# To everyone


async def test_a_response_cannot_fill_the_memory():
    """If a reply announces more bytes than any page has, the client refuses to read it."""
    head = http(b"", Content_Length=str(10**12))
    async with (
        RawServer(lambda _: head) as server,
        CekatClient("key", base_url=server.base_url) as client,
    ):
        with pytest.raises(errors.ResponseTooLargeError) as caught:
            await client.conversations.page()

    assert caught.value.attempts == 1


async def test_a_cursor_that_repeats_is_no_endless_loop():
    """A walk notices a cycle of a thousand pages after one round."""
    circle = itertools.cycle([reply(body=page_body([f"{n}"], f"c{n}")) for n in range(1000)])
    pipeline, transport = make_pipeline(circle)

    with pytest.raises(errors.PaginationError):
        await collect(Conversations(pipeline, Inboxes(pipeline).list).list())

    assert len(transport.requests) == 1001
