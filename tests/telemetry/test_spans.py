"""The spans of a client: their tree, their attributes, and their ends."""

import asyncio
from contextlib import aclosing

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from support.clock import skip, until
from support.otel import Recorded, account, get_events
from support.parts import make_client

from cekat_async import (
    CallBegun,
    CallFailed,
    CekatError,
    HookEvent,
    PageFetched,
    PauseBegun,
    RateLimit,
    ReplyReceived,
    RequestFailed,
    RequestSent,
    RetryPolicy,
    RetryScheduled,
    Timeout,
    WalkBegun,
    WalkEnded,
)
from cekat_async.sandbox import Fault, Sandbox
from cekat_async.telemetry import OpenTelemetry
from cekat_async.telemetry.attributes import get_template

LIST, GET = "/api/conversations", "GET /api/conversations"


async def test_a_walk_is_a_tree(recorded):
    """A walk has a listing span.

    The children of that span are one span for each page, and each page's children are its attempts.
    """
    async with account(250, hooks=recorded.hook) as (sandbox, c):
        await c.conversations.list().collect()

    assert sorted(recorded.paths) == sorted(
        ["listing", *["listing > page"] * 3, *[f"listing > page > {GET}"] * 3]
    )
    (listing,) = recorded.named("listing")
    assert dict(listing.attributes) == {
        "url.template": LIST,
        "cekat.pages": 3,
        "cekat.records": 250,
    }
    assert [dict(page.attributes) for page in recorded.named("page")] == [
        {"url.template": LIST, "cekat.records": records, "cekat.attempts": 1}
        for records in (100, 100, 50)
    ]
    attempt = recorded.named(GET)[0]
    assert {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": int(sandbox.base_url.rpartition(":")[2]),
        "url.full": f"{sandbox.base_url}{LIST}",
        "url.template": LIST,
    } == {k: v for k, v in attempt.attributes.items() if k != "cekat.response.size"}
    assert attempt.attributes["cekat.response.size"] > 50_000
    assert [span.kind for span in (listing, recorded.named("page")[0], attempt)] == [
        SpanKind.INTERNAL,
        SpanKind.INTERNAL,
        SpanKind.CLIENT,
    ]
    assert {span.status.status_code for span in recorded.spans} == {StatusCode.UNSET}
    assert attempt.instrumentation_scope.name == "cekat_async"


async def test_an_attempt_that_is_retried(recorded):
    """The span of a failed attempt has the error.

    The span of the page has the retry and the wait before the next attempt.
    """
    async with Sandbox(10, quota=None) as sandbox:
        policy = RetryPolicy(backoff=0.01)
        async with make_client(sandbox, hooks=recorded.hook, retry=policy) as client:
            sandbox.fail_next(Fault.status(503, body="html"))
            sandbox.fail_next(Fault.drop())
            await client.conversations.page()

    first, second, third = recorded.named(GET)
    (page,) = recorded.named("page")
    assert first.attributes["http.response.status_code"] == 503
    assert first.attributes["error.type"] == "503"
    assert second.attributes["error.type"] == "ConnectionDroppedError"
    assert "http.response.status_code" not in second.attributes
    assert first.status.status_code is second.status.status_code is StatusCode.ERROR
    assert first.status.description is None
    assert third.status.status_code is page.status.status_code is StatusCode.UNSET
    counts = [one.attributes.get("http.request.resend_count") for one in (first, second, third)]
    assert counts == [None, 1, 2]
    assert page.attributes["cekat.attempts"] == 3
    retry, dropped = (attributes for name, attributes in get_events(page) if name == "retry")
    wait, *_ = (a for _, a in get_events(page) if a.get("cekat.wait.reason") == "backoff")
    assert retry["error.type"] == "ServerError"
    assert retry["http.response.status_code"] == 503
    assert retry["cekat.attempt"] == 1
    assert wait["cekat.wait.seconds"] >= retry["cekat.backoff.seconds"] * 0.9
    assert dropped["error.type"] == "ConnectionDroppedError"


async def test_a_call_that_fails(recorded):
    """If a page cannot be fetched, its span has the error's class and status, but not its text."""
    async with Sandbox(10, quota=None) as sandbox:
        policy = RetryPolicy(attempts=1)
        async with make_client(sandbox, hooks=recorded.hook, retry=policy) as client:
            sandbox.fail_next(Fault.status(500))
            with pytest.raises(CekatError):
                await client.conversations.list().collect()

    (listing,), (page,) = recorded.named("listing"), recorded.named("page")
    for span in (listing, page):
        assert span.attributes["error.type"] == "ServerError"
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description is None
        assert {name for name, _ in get_events(span)} <= {"wait"}
    assert page.attributes["http.response.status_code"] == 500


async def test_parents_are_those_of_the_caller(recorded):
    """Walks and single pages are children of the span that is current when they begin."""
    tracer = recorded.tracer_provider.get_tracer("the test")
    async with account(250, hooks=recorded.hook) as (_, c):
        listing = c.conversations.list(prefetch=2)
        with tracer.start_as_current_span("one"):
            pages = listing.pages()
            await anext(pages)
        with tracer.start_as_current_span("two") as two:
            async with aclosing(pages):
                async for _ in pages:
                    assert trace.get_current_span() is two
            await c.conversations.page()
        assert trace.get_current_span() is trace.INVALID_SPAN

    paths = recorded.paths
    assert paths.count("one > listing") == 1
    assert paths.count("one > listing > page") == 3
    assert paths.count(f"one > listing > page > {GET}") == 3
    assert paths.count("two > page") == 1
    assert len(paths) == 2 + 7 + 2


async def test_concurrent_walks_are_separate(recorded):
    """Each of several concurrent walks has its own pages."""
    tracer = recorded.tracer_provider.get_tracer("the test")

    async def walk(name, inbox_id):
        with tracer.start_as_current_span(name):
            return len(await client.conversations.list(inbox_id=inbox_id, page_size=5).collect())

    async with account(100, 4, hooks=recorded.hook) as (_, client):
        ids = [inbox.id async for inbox in client.inboxes.list()]
        found = await asyncio.gather(*(walk(f"walk {n}", id_) for n, id_ in enumerate(ids)))

    for number, (inbox_id, count) in enumerate(zip(ids, found, strict=True)):
        pages = [s for s in recorded.named("page") if recorded.path(s).startswith(f"walk {number}")]
        assert sum(page.attributes["cekat.records"] for page in pages) == count
        assert {page.attributes["cekat.inbox.id"] for page in pages} == {inbox_id}


@pytest.mark.parametrize("prefetch", [0, 3])
async def test_a_loop_that_is_left_early_is_no_error(recorded, prefetch):
    """A `break` ends the spans of the listing and of all pages in flight, without an error."""
    async with account(1000, hooks=recorded.hook) as (_, client):
        listing = client.conversations.list(prefetch=prefetch)
        async for _ in listing:
            break
        await listing.aclose()
        await until(lambda: recorded.hook.open_spans == 0)

    assert len(recorded.named("listing")) == 1
    assert {span.status.status_code for span in recorded.spans} == {StatusCode.UNSET}


async def test_a_cancelled_call(recorded):
    """A cancellation ends all spans of a call.

    It is recorded, but not as an error.
    """
    async with account(10, hooks=recorded.hook) as (sandbox, client):
        sandbox.fail_next(Fault.hang())
        task = asyncio.create_task(client.conversations.list().collect())
        await until(lambda: sandbox.log.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    listing, page, attempt = recorded.spans
    assert [span.name for span in recorded.spans] == ["listing", "page", GET]
    for span in (listing, page, attempt):
        assert span.attributes["error.type"] == "CancelledError"
        assert span.status.status_code is StatusCode.UNSET


async def test_a_deadline_while_waiting(recorded):
    """A call that ends in the queue has no attempt. Its span has the reason for its wait."""
    options = {"rate_limit": RateLimit(1, 3600), "timeout": Timeout(deadline=600)}
    async with account(10, hooks=recorded.hook, **options) as (_, client):
        await client.conversations.page()
        waiting = asyncio.create_task(client.conversations.page())
        await until(lambda: client.limiter.snapshot().waiting)
        skip(601)
        with pytest.raises(CekatError):
            await waiting

    *_, page = recorded.named("page")
    assert len(recorded.named(GET)) == 1
    assert page.status.status_code is StatusCode.ERROR
    assert page.attributes["cekat.attempts"] == 0
    waits = {a["cekat.wait.reason"]: a["cekat.wait.seconds"] for _, a in get_events(page)}
    assert waits["quota"] >= 600


async def test_a_pause_is_on_every_listing(recorded):
    """A pause of the server is an event of each listing's span, and a wait of each page's span."""
    async with account(200, hooks=recorded.hook) as (sandbox, client):
        sandbox.fail_next(Fault.status(429, headers={"Retry-After": "0.05"}))
        await client.conversations.list().collect()

    (listing,) = recorded.named("listing")
    ((name, pause),) = get_events(listing)
    assert (name, pause["cekat.pause.seconds"]) == ("pause", 0.05)
    assert pause["cekat.pause.reason"] == "the server asks for a pause"
    waits = [event for page in recorded.named("page") for event in get_events(page)]
    assert "pause" in {attributes.get("cekat.wait.reason") for _, attributes in waits}


def test_a_pause_is_on_single_calls(recorded):
    """The span of a call without a walk has the pause itself.

    For a page of a walk, the span of the listing has the pause.
    """
    for event in (
        WalkBegun(walk=1, path=LIST),
        CallBegun(call=2, walk=1, path=LIST),
        CallBegun(call=3, walk=None, path=LIST),
        PauseBegun(seconds=1.0, reason="it is late"),
        CallFailed(call=3, walk=None, attempts=0, error="X", seconds=1.0),
        CallFailed(call=2, walk=1, attempts=0, error="X", seconds=1.0),
        WalkEnded(walk=1, pages=0, records=0, error="X"),
    ):
        recorded.hook(event)

    found = {recorded.path(span): [name for name, _ in get_events(span)] for span in recorded.spans}
    assert found == {"listing": ["pause"], "listing > page": [], "page": ["pause"]}


def test_a_page_ends_its_attempt(recorded):
    """If the end of an attempt was not reported, its span ends with its page."""
    for event in (
        CallBegun(call=1, walk=None, path=LIST),
        RequestSent(
            call=1, walk=None, attempt=1, method="GET", url=f"https://x.example{LIST}", waited={}
        ),
        CallFailed(call=1, walk=None, attempts=1, error="SomeError", seconds=1.0),
    ):
        recorded.hook(event)

    (attempt,) = recorded.named(GET)
    assert attempt.attributes["error.type"] == "SomeError"
    assert attempt.attributes["server.port"] == 443


def test_ids_in_a_path_are_not_shown(recorded):
    """A span of ``get()`` has the template of its path, but no id."""
    path = "/api/contacts/+62812345/messages"
    for event in (
        CallBegun(call=1, walk=None, path=path),
        RequestSent(
            call=1, walk=None, attempt=1, method="GET", url=f"https://x.example/gw{path}", waited={}
        ),
        ReplyReceived(call=1, walk=None, attempt=1, status=404, seconds=1.0, size=1),
        CallFailed(call=1, walk=None, attempts=1, error="NotFoundError", seconds=1.0, status=404),
    ):
        recorded.hook(event)

    page, attempt = recorded.spans
    assert attempt.name == "GET /api/contacts/{id}/messages"
    assert attempt.attributes["url.full"] == "https://x.example/gw/api/contacts/{id}/messages"
    assert page.attributes["url.template"] == "/api/contacts/{id}/messages"
    assert "62812345" not in page.to_json() + attempt.to_json() + recorded.metrics_json


async def test_unsampled_requests_are_measured(recorded):
    """A request is counted even if it has no span."""
    hook = OpenTelemetry(
        tracer_provider=TracerProvider(sampler=ALWAYS_OFF), meter_provider=recorded.meter_provider
    )
    async with account(150, hooks=[hook, recorded.hook]) as (_, client):
        await client.conversations.list().collect()

    assert recorded.total("cekat.client.pages") == 4
    assert hook.open_spans == 0


def test_events_without_a_beginning_are_ignored(recorded):
    """A hook ignores unknown events, and walks and calls whose beginning it missed."""
    of_call = {"call": 7, "walk": 3}
    for event in (
        CallBegun(**of_call, path=LIST),
        RequestSent(**of_call, attempt=1, method="GET", url="http://x", waited={"quota": 1.0}),
        ReplyReceived(**of_call, attempt=1, status=200, seconds=1.0, size=1),
        RequestFailed(**of_call, attempt=1, error="X", seconds=1.0),
        RetryScheduled(**of_call, attempt=1, seconds=1.0, error="X"),
        PageFetched(**of_call, records=1, malformed_records=0, attempts=1, seconds=1.0),
        CallFailed(**of_call, attempts=1, error="X", seconds=1.0),
        WalkEnded(walk=3, pages=0, records=0),
        HookEvent(),
    ):
        recorded.hook(event)

    assert recorded.spans == []
    assert recorded.points("http.client.request.duration") == []


async def test_two_hooks_report_the_same(recorded):
    """Several hooks do not affect each other, and several clients can use the same hook."""
    other = Recorded()
    async with Sandbox(150, quota=None) as sandbox:
        for _ in range(2):
            async with make_client(sandbox, hooks=[recorded.hook, other.hook]) as client:
                await client.conversations.list().collect()

    assert sorted(recorded.paths) == sorted(other.paths)
    assert recorded.paths.count("listing") == 2
    other.close()


@pytest.mark.parametrize(
    "path, template",
    [
        ("/api/conversations", "/api/conversations"),
        ("/api/inboxes/", "/api/inboxes"),
        ("/api/contacts/budi", "/api/contacts/{id}"),
        ("/api/contacts/+62812345/messages", "/api/contacts/{id}/messages"),
        ("/api/v2/agents/5", "/api/v2/agents/{id}"),
        ("/api/62812345", "/api/{id}"),
        ("/api/Siti", "/api/{id}"),
        ("/agents/me/inboxes", "/agents/{id}/inboxes"),
        ("/api/conversations/a/messages/b/c", "/api/conversations/{id}/messages/{id}/c"),
        ("/api", "/api"),
        ("/", "/{id}"),
    ],
)
def test_paths_show_no_ids(path, template):
    """A path in a span has only the names of collections.

    It has no id, no other name and no number.
    """
    assert get_template(path) == template
