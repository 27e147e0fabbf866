"""Hooks: the events that a client reports, the hooks that receive them, and failing hooks."""

import asyncio
import gc
import itertools
import logging
import weakref
from collections import Counter

import msgspec
import pytest
from support.clock import run_virtual
from support.parts import collect, in_one_step, make_client, make_pipeline, page_body, page_reply
from support.scripted import reply

from cekat_async import (
    CallBegun,
    CallFailed,
    CekatClient,
    ConfigurationError,
    Cursor,
    DeadlineExceededError,
    HookEvent,
    Hooks,
    MalformedRecordError,
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
from cekat_async._api.requests import Request
from cekat_async._ratelimit.limiter import Limiter
from cekat_async._request import hooks as hooks_module
from cekat_async._request.walk_report import WalkReport
from cekat_async.errors import (
    BadRequestError,
    ClientClosedError,
    MalformedBodyError,
    NotSentError,
    ServerError,
)
from cekat_async.resources.conversations import Conversations
from cekat_async.resources.inboxes import Inboxes
from cekat_async.sandbox import Fault, Sandbox

REQUEST = Request("/api/things", "limit=1")


@in_one_step
def decode_whole(answer):
    """Return the body of a reply, or raise an error if the body begins with ``cut``."""
    if answer.body.startswith(b"cut"):
        raise MalformedBodyError("cut short", raw=answer.body)
    return answer.body


class Recorder:
    """A hook that stores all events, and can check that each start has exactly one end."""

    def __init__(self) -> None:
        self.events: list[HookEvent] = []

    def __call__(self, event: HookEvent) -> None:
        self.events.append(event)

    @property
    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def assert_complete(self) -> None:
        """Fail unless each start is followed by exactly one end."""
        open_ = set()
        for event in self.events:
            match event:
                case WalkBegun():
                    begins, ends = ("walk", event.walk), None
                case WalkEnded():
                    begins, ends = None, ("walk", event.walk)
                case CallBegun():
                    begins, ends = ("call", event.call), None
                case PageFetched() | CallFailed():
                    begins, ends = None, ("call", event.call)
                case RequestSent():
                    assert ("call", event.call) in open_
                    begins, ends = ("attempt", event.call, event.attempt), None
                case ReplyReceived() | RequestFailed():
                    begins, ends = None, ("attempt", event.call, event.attempt)
                case _:
                    continue
            assert begins not in open_
            assert ends is None or ends in open_
            open_ = (open_ | {begins}) - {ends, None}
        assert open_ == set()


def make_hooked(steps, **options):
    """Return a recorder, a pipeline that reports events to the recorder, and a transport."""
    recorder = Recorder()
    pipeline, transport = make_pipeline(steps, hooks=Hooks(recorder), **options)
    return recorder, pipeline, transport


# --- the events of a call


def test_a_call_is_reported_from_its_beginning_to_its_result():
    """Each event has the number of its call, the number of its attempt, and its duration."""
    steps = [NotSentError("refused"), reply(503), reply(body=b"cut"), reply(body=b"yes")]
    recorder, pipeline, _ = make_hooked(steps, latency=2, retry=RetryPolicy(backoff=0.5))

    run_virtual(pipeline.fetch(REQUEST, decode_whole, "inbox-1"))

    recorder.assert_complete()
    begun, *attempts, fetched = recorder.events
    call = begun.call
    assert begun == CallBegun(call=call, walk=None, path="/api/things", inbox_id="inbox-1")
    assert [type(event).__name__ for event in attempts] == [
        "RequestSent", "RequestFailed", "RetryScheduled",
        "RequestSent", "ReplyReceived", "RetryScheduled",
        "RequestSent", "ReplyReceived", "RetryScheduled",
        "RequestSent", "ReplyReceived",
    ]  # fmt: skip
    assert {(event.call, event.walk) for event in attempts} == {(call, None)}
    assert [event.attempt for event in attempts] == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4]
    sent, lost, first_retry, _, refused, second_retry, _, _, third_retry, _, last = attempts
    assert (sent.method, sent.url, sent.waited) == ("GET", "http://127.0.0.1:1/api/things", {})
    assert (lost.error, lost.seconds) == ("NotSentError", pytest.approx(2))
    assert (first_retry.error, first_retry.status) == ("NotSentError", None)
    assert (refused.status, refused.seconds) == (503, pytest.approx(2))
    assert (second_retry.error, second_retry.status) == ("ServerError", 503)
    assert (third_retry.error, third_retry.status) == ("MalformedBodyError", None)
    assert (last.status, last.size) == (200, 3)
    waits = [event.waited for event in recorder.of(RequestSent)[1:]]
    backoffs = [event.seconds for event in recorder.of(RetryScheduled)]
    assert waits == [{"backoff": pytest.approx(seconds)} for seconds in backoffs]
    assert (fetched.call, fetched.records, fetched.attempts) == (call, 0, 4)
    assert fetched.seconds == pytest.approx(8 + sum(backoffs))


def test_a_failed_call_is_reported_with_its_error():
    """Events have the class and the status of an error, but not its text."""
    recorder, pipeline, _ = make_hooked([reply(400, b'{"error":{"message":"for +62 811"}}')])

    with pytest.raises(BadRequestError):
        run_virtual(pipeline.fetch(REQUEST, decode_whole))

    recorder.assert_complete()
    failed = recorder.events[-1]
    assert isinstance(failed, CallFailed)
    assert (failed.error, failed.status, failed.attempts) == ("BadRequestError", 400, 1)
    assert "+62" not in repr(recorder.events)


def test_waits_are_reported_by_reason():
    """A call reports how long it waited for each reason, such as the quota or a pause."""
    limiter = Limiter(RateLimit(2, per=10, burst=0.01, trust_server=False))
    recorder, pipeline, transport = make_hooked(
        itertools.repeat(reply()), latency=3, limiter=limiter, concurrency=1
    )

    async def main() -> None:
        await asyncio.gather(*(pipeline.fetch(REQUEST, decode_whole) for _ in range(3)))
        limiter.observe(await limiter.acquire(), reply(429, Retry_After="7"))
        await pipeline.fetch(REQUEST, decode_whole)

    run_virtual(main())

    recorder.assert_complete()
    first, second, third, fourth = [event.waited for event in recorder.of(RequestSent)]
    assert first == {}
    begun, second_at, third_at, _ = transport.times
    assert second == {"concurrency": pytest.approx(3), "quota": pytest.approx(second_at - 3)}
    assert third["concurrency"] == pytest.approx(second_at + 3)
    assert sum(third.values()) == pytest.approx(third_at - begun)
    assert fourth["pause"] == pytest.approx(7)
    [pause] = recorder.of(PauseBegun)
    assert (pause.seconds, pause.reason) == (7, "the server asks for a pause")


@pytest.mark.parametrize("status", [429, 503])
def test_a_pause_counts_as_a_pause_during_the_backoff_too(status):
    """A wait after a refusal is reported as a pause if the server asked for it."""
    recorder, pipeline, _ = make_hooked([reply(status, Retry_After="20"), reply(body=b"yes")])

    run_virtual(pipeline.fetch(REQUEST, decode_whole))

    recorder.assert_complete()
    assert recorder.names == [
        "CallBegun", "RequestSent", "ReplyReceived", "PauseBegun", "RetryScheduled",
        "RequestSent", "ReplyReceived", "PageFetched",
    ]  # fmt: skip
    assert recorder.of(RetryScheduled)[0].seconds == pytest.approx(20)
    assert recorder.of(RequestSent)[1].waited == {"pause": pytest.approx(20)}


def test_a_retry_that_is_asked_for_without_a_pause_is_a_backoff():
    """A ``Retry-After`` on another status is no pause, but a backoff of that call only."""
    recorder, pipeline, _ = make_hooked([reply(500, Retry_After="20"), reply(body=b"yes")])

    run_virtual(pipeline.fetch(REQUEST, decode_whole))

    assert recorder.of(PauseBegun) == []
    assert recorder.of(RequestSent)[1].waited == {"backoff": pytest.approx(20)}


def test_a_call_that_was_never_sent_reports_what_it_waited_for():
    """If a call reaches its deadline in the queue, it reports its wait, but no attempt."""
    recorder, pipeline, _ = make_hooked(
        [reply()] * 2, latency=50, concurrency=1, timeout=Timeout(deadline=60, request=None)
    )

    async def main() -> None:
        calls = [asyncio.create_task(pipeline.fetch(REQUEST, decode_whole)) for _ in range(3)]
        await asyncio.wait(calls)
        assert isinstance(calls[2].exception(), DeadlineExceededError)

    run_virtual(main())

    recorder.assert_complete()
    second, third = recorder.of(CallFailed)
    assert (second.attempts, second.waited) == (1, {})
    assert (third.attempts, third.waited) == (0, {"concurrency": pytest.approx(60)})
    assert (third.error, third.status, third.seconds) == (
        "DeadlineExceededError", None, pytest.approx(60),
    )  # fmt: skip


@pytest.mark.parametrize("steps", range(30))
def test_cancelled_at_any_step_every_start_has_an_end(steps):
    """A call that is cancelled at any step reports one end of its attempt, and one of the call."""
    script = [reply(503), reply(body=b"cut"), NotSentError(), reply(429, Retry_After="1"), reply()]
    limiter = Limiter(RateLimit(600))
    recorder, pipeline, _ = make_hooked(
        itertools.cycle(script), latency=0.1, limiter=limiter, concurrency=1
    )

    async def main() -> None:
        tasks = [asyncio.create_task(pipeline.fetch(REQUEST, decode_whole)) for _ in range(2)]
        for _ in range(steps):
            await asyncio.sleep(0.04)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    run_virtual(main())

    recorder.assert_complete()
    assert {event.error for event in recorder.of(CallFailed)} <= {"CancelledError"}


def test_closing_the_client_ends_running_calls():
    """If closing the client ends a call, the call is reported as failed."""
    recorder, pipeline, _ = make_hooked([reply()], latency=60)

    async def main() -> None:
        call = asyncio.create_task(pipeline.fetch(REQUEST, decode_whole))
        await asyncio.sleep(1)
        pipeline.close()
        with pytest.raises(ClientClosedError):
            await call

    run_virtual(main())

    recorder.assert_complete()
    assert [event.error for event in recorder.of(RequestFailed)] == ["CancelledError"]
    assert [event.error for event in recorder.of(CallFailed)] == ["ClientClosedError"]


# --- the events of a walk


def pages_of_two(count: int):
    """Return the replies of a listing with ``count`` pages of two conversations each."""
    return [
        page_reply([f"{n}a", f"{n}b"], None if n == count else f"{n}") for n in range(1, count + 1)
    ]


def make_conversations(steps, **options):
    recorder, pipeline, _ = make_hooked(steps, retry=RetryPolicy(attempts=1), **options)
    return recorder, Conversations(pipeline, Inboxes(pipeline).list)


@pytest.mark.parametrize("way", ["list", "pages", "raw_pages", "take", "collect"])
def test_a_walk_is_reported_with_its_calls(way):
    """Each way to read a listing is reported as a walk. Its calls and attempts have its number."""
    recorder, conversations = make_conversations(pages_of_two(3))
    listing = conversations.list()
    read = {
        "list": lambda: collect(listing),
        "pages": lambda: collect(listing.pages()),
        "raw_pages": lambda: collect(listing.raw_pages()),
        "take": lambda: listing.take(100),
        "collect": listing.collect,
    }[way]

    run_virtual(read())

    recorder.assert_complete()
    begun, *others, ended = recorder.events
    assert begun == WalkBegun(walk=begun.walk, path="/api/conversations")
    assert ended == WalkEnded(walk=begun.walk, pages=3, records=6)
    assert {event.walk for event in others} == {begun.walk}
    assert [event.records for event in recorder.of(PageFetched)] == [2, 2, 2]


async def test_a_tracked_walk_is_reported(sandbox):
    """A tracked walk reports the number of pages and records that the caller received."""
    recorder = Recorder()
    async with make_client(sandbox, hooks=recorder) as hooked:
        pages = await collect(hooked.conversations.list(segments=2).tracked_pages({}))

    recorder.assert_complete()
    [ended] = recorder.of(WalkEnded)
    assert (ended.pages, ended.records) == (len(pages), sum(map(len, pages)))
    assert {event.walk for event in recorder.of(RequestSent)} == {ended.walk}


def test_each_walk_has_its_own_number():
    """Two walks of the same listing have different numbers. A ``page()`` belongs to no walk."""
    recorder, conversations = make_conversations(pages_of_two(2) * 2 + pages_of_two(1))
    listing = conversations.list()

    async def main() -> None:
        await listing.collect()
        await listing.collect()
        await conversations.page()

    run_virtual(main())

    recorder.assert_complete()
    first, second = [event.walk for event in recorder.of(WalkBegun)]
    walks = [event.walk for event in recorder.of(CallBegun)]
    assert first != second
    assert walks == [first, first, second, second, None]
    assert len({event.call for event in recorder.of(CallBegun)}) == 5


def test_the_walk_that_finds_the_inboxes_is_one_of_its_own():
    """With ``across()``, the listing of inboxes is a separate walk, and each call has its inbox."""

    def answer(request):
        if request.path == "/api/conversations":
            return page_reply(["x"])
        inboxes = [{"id": "a"}, {"id": "b"}] if request.query.endswith("page=1") else []
        return reply(body=page_body([], data=inboxes, metadata={}))

    recorder, conversations = make_conversations(itertools.repeat(answer))

    run_virtual(conversations.across(concurrency=1).collect())

    recorder.assert_complete()
    whole, of_inboxes = recorder.of(WalkBegun)
    assert (whole.path, of_inboxes.path) == ("/api/conversations", "/api/inboxes")
    asked = [(event.walk, event.inbox_id) for event in recorder.of(CallBegun)]
    assert Counter(asked) == {
        (of_inboxes.walk, None): 2, (whole.walk, "a"): 1, (whole.walk, "b"): 1,
    }  # fmt: skip


def test_malformed_records_are_counted():
    """A page is reported with its number of malformed records, even if they then raise an error."""
    odd = reply(body=page_body([], data=[{"id": "a"}, {"id": 0}, 7]))
    recorder, conversations = make_conversations([odd])

    with pytest.raises(MalformedRecordError):
        run_virtual(conversations.list().collect())

    recorder.assert_complete()
    [fetched], [ended] = recorder.of(PageFetched), recorder.of(WalkEnded)
    assert (fetched.records, fetched.malformed_records) == (3, 2)
    assert (ended.pages, ended.records, ended.error) == (1, 3, "MalformedRecordError")


def test_a_walk_that_is_left_early_has_no_error():
    """After ``break``, a walk is reported as ended without an error, with the received pages."""
    recorder, conversations = make_conversations(pages_of_two(9))

    async def main() -> None:
        async for _ in conversations.list().pages():
            break
        for _ in range(20):
            await asyncio.sleep(0)

    run_virtual(main())

    recorder.assert_complete()
    [ended] = recorder.of(WalkEnded)
    assert (ended.pages, ended.records, ended.error) == (1, 2, None)


@pytest.mark.parametrize("seconds", [0.5, 1.5, 2.5])
def test_a_walk_that_is_cancelled_or_closed_ends_with_that(seconds):
    """If a walk is cancelled or closed at any moment, it and each of its calls report one end."""
    for end, error in (("cancel", "CancelledError"), ("close", "ClientClosedError")):
        recorder, conversations = make_conversations(pages_of_two(9), latency=1)
        listing = conversations.list()

        async def main(listing=listing, end=end) -> None:
            reading = asyncio.create_task(listing.collect())
            await asyncio.sleep(seconds)
            if end == "cancel":
                reading.cancel()
            else:
                await listing.aclose()
            await asyncio.wait([reading])

        run_virtual(main())
        recorder.assert_complete()
        assert [event.error for event in recorder.of(WalkEnded)] == [error]


def test_a_listing_that_is_not_read_reports_nothing():
    """A walk is reported only when it sends its first request."""
    recorder, conversations = make_conversations([])

    async def main() -> None:
        conversations.list().pages()

    run_virtual(main())

    assert recorder.events == []


def test_an_error_ends_a_walk_by_its_name():
    """If a request of a walk fails, the walk's end reports the error's class."""
    recorder, conversations = make_conversations([*pages_of_two(2)[:1], reply(503)])

    with pytest.raises(ServerError):
        run_virtual(conversations.list().collect())

    recorder.assert_complete()
    [ended] = recorder.of(WalkEnded)
    assert (ended.pages, ended.records, ended.error) == (1, 2, "ServerError")


# --- hooks that fail


def test_an_exception_in_a_hook_is_logged_and_harmless(caplog):
    """If a hook raises an exception, its traceback is logged. The call and other hooks continue."""
    recorder = Recorder()

    def bad(event: HookEvent) -> None:
        raise LookupError(f"at {type(event).__name__}")

    pipeline, _ = make_pipeline(
        [reply(429, Retry_After="1"), reply(body=b"yes")], hooks=Hooks([bad, recorder])
    )

    assert run_virtual(pipeline.fetch(REQUEST, decode_whole)) == b"yes"
    recorder.assert_complete()
    logged = [record for record in caplog.records if record.exc_info]
    assert len(logged) == len(recorder.events)
    assert {record.levelno for record in logged} == {logging.ERROR}
    assert "a hook failed on RequestSent; the client continues" in caplog.text
    assert "LookupError: at RequestSent" in caplog.text


@pytest.mark.parametrize("kind", [CallBegun, RequestSent, ReplyReceived, RetryScheduled,
                                  PageFetched, RequestFailed, PauseBegun])  # fmt: skip
def test_an_interrupt_in_a_hook_is_raised_and_leaks_nothing(kind):
    """Ctrl-C in a hook ends the call, which releases its slot and its reserved quota."""

    class Interrupt(BaseException):
        pass

    def interrupt(event: HookEvent) -> None:
        if isinstance(event, kind):
            raise Interrupt

    limiter = Limiter(RateLimit(600))
    script = [NotSentError(), reply(429, Retry_After="1"), reply(body=b"yes")]
    pipeline, transport = make_pipeline(
        script, limiter=limiter, concurrency=1, hooks=Hooks(interrupt)
    )

    async def main() -> None:
        with pytest.raises(Interrupt):
            await pipeline.fetch(REQUEST, decode_whole)
        snapshot = limiter.snapshot()
        assert (snapshot.in_flight, snapshot.waiting, transport.under_way) == (0, 0, 0)
        assert pipeline._concurrency._taken == 0

    run_virtual(main())


@pytest.mark.parametrize("kind", [WalkBegun, WalkEnded])
def test_an_interrupt_at_a_walk_is_raised(kind):
    """Ctrl-C in a hook for a walk's event reaches the caller, and the listing can be closed."""

    class Interrupt(BaseException):
        pass

    def interrupt(event: HookEvent) -> None:
        if isinstance(event, kind):
            raise Interrupt

    pipeline, _ = make_pipeline(pages_of_two(2), hooks=Hooks(interrupt))
    listing = Conversations(pipeline, None).list()

    async def main() -> None:
        with pytest.raises(Interrupt):
            await listing.collect()
        await listing.aclose()

    run_virtual(main())


async def coroutine(event: HookEvent) -> None:
    """Do nothing. A coroutine function is not accepted as a hook."""


@pytest.mark.parametrize("wrong", [7, None, "text", [print, 7], [coroutine], coroutine], ids=repr)
def test_other_hooks_are_refused(wrong):
    """The client's constructor refuses wrong hooks, and says what is wrong."""
    with pytest.raises(ConfigurationError, match="hooks must be a function"):
        CekatClient("key", hooks=wrong)


# --- which hooks get an event


def test_a_pause_reaches_the_hooks_of_all_clients_of_a_limiter():
    """Each client that uses a limiter reports the limiter's pauses until the client is closed."""
    limiter = Limiter(RateLimit(600))
    recorders = [Recorder() for _ in range(3)]
    clients = [CekatClient("key", rate_limit=limiter, hooks=recorder) for recorder in recorders]

    async def main() -> None:
        await clients[1].aclose()
        limiter.observe(await limiter.acquire(), reply(429, Retry_After="3"))
        # A second refusal at the same moment does not begin another pause.
        limiter._pause_all(5, "another reason")

    run_virtual(main())

    heard = PauseBegun(seconds=3, reason="the server asks for a pause")
    assert [recorder.events for recorder in recorders] == [[heard], [], [heard]]


def test_a_limiter_keeps_no_client_alive():
    """If a client is dropped without closing it, its limiter does not keep it alive."""
    limiter = Limiter(RateLimit(600))
    client = CekatClient("key", rate_limit=limiter, hooks=Recorder())
    assert len(limiter.pause_listeners) == 1
    gone = [weakref.ref(thing) for thing in (client, client.hooks)]
    del client
    gc.collect()

    assert [ref() for ref in gone] == [None, None]
    assert len(limiter.pause_listeners) == 0


async def test_code_on_top_of_a_client_emits_events_of_its_own(sandbox):
    """``client.hooks.emit`` reports an event of the caller's own class to the client's hooks."""

    class Exported(HookEvent, frozen=True, kw_only=True):
        rows: int

    recorder = Recorder()
    async with make_client(sandbox, hooks=recorder) as client:
        assert client.hooks
        client.hooks.emit(Exported(rows=3))
    async with make_client(sandbox) as client:
        assert not client.hooks
        client.hooks.emit(Exported(rows=3))

    assert recorder.events == [Exported(rows=3)]


def test_without_hooks_no_event_is_built(monkeypatch):
    """A client without hooks creates no events, and no numbers for calls or walks."""

    def refuse(*_args, **_kwargs):
        raise AssertionError("an event was built")

    for name in hooks_module.__all__:
        kind = getattr(hooks_module, name)
        if isinstance(kind, type) and issubclass(kind, HookEvent):
            monkeypatch.setattr(f"cekat_async._request.hooks.{name}", refuse)
    monkeypatch.setattr("cekat_async._request.call.CallReport", refuse)
    monkeypatch.setattr("cekat_async._request.pipeline.CallReport", refuse)
    monkeypatch.setattr("cekat_async._request.walk_report.next_number", refuse)
    script = [reply(429, Retry_After="1"), *pages_of_two(2)]
    pipeline, _ = make_pipeline(script)
    report = WalkReport(pipeline.hooks, "/api/things")

    assert len(run_virtual(Conversations(pipeline, None).list().collect())) == 4
    assert report.walk is None


async def test_events_hold_no_secrets_and_no_data_of_customers():
    """Events contain no key, no cursor and no query, and no content of records or errors."""
    recorder = Recorder()
    async with (
        Sandbox(conversations=120, inboxes=2, quota=None) as sandbox,
        make_client(sandbox, hooks=recorder) as client,
    ):
        sandbox.fail_next(Fault.status(503), Fault.ok(), Fault.truncate(), Fault.drop())
        found = await client.conversations.list(page_size=20).collect()
        await client.conversations.across(page_size=40).collect()
        page = await client.conversations.page(limit=10)
        with pytest.raises(BadRequestError):
            await client.conversations.page(cursor=Cursor("+62 811", "no time"))

    recorder.assert_complete()
    shown = repr(recorder.events) + msgspec.json.encode(recorder.events).decode()
    cursor = page.next_cursor
    secrets = {sandbox.api_key, cursor.cursor_id, cursor.cursor_ts, "limit="}
    for record in found:
        secrets |= {record.id, record.contact_name, record.contact_phone}
        secrets |= {record.last_message and record.last_message.message}
    assert len(recorder.of(RetryScheduled)) == 3
    assert "+62" not in shown
    assert [secret for secret in secrets if secret and len(secret) > 3 and secret in shown] == []
