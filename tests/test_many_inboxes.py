"""Concurrent walks of many inboxes: order, completeness, bounds and errors."""

import asyncio
import gc
from collections import defaultdict
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import cancelled_after, let_tasks_end, run_virtual
from support.effort import EFFORT
from support.parts import collect, collect_ids, make_pipeline, page_body, page_reply
from support.scripted import reply

from cekat_async import (
    AuthenticationError,
    CekatClient,
    ConfigurationError,
    InboxesFailedError,
    MalformedRecordError,
    PermissionDeniedError,
    RateLimitError,
    RetryPolicy,
)
from cekat_async.resources.conversations import Conversations
from cekat_async.resources.inboxes import Inboxes
from cekat_async.sandbox import Sandbox


class Account:
    """A model account. ``inboxes`` maps an inbox to its number of pages, or to its error reply."""

    def __init__(self, inboxes: dict, latency: float = 0.01, *, concurrency: int = 50) -> None:
        self.inboxes = inboxes
        steps = iter(lambda: self._answer, None)
        self.pipeline, self.transport = make_pipeline(
            steps, latency=latency, concurrency=concurrency, retry=RetryPolicy(attempts=1)
        )
        self.conversations = Conversations(self.pipeline, Inboxes(self.pipeline).list)

    def _answer(self, request):
        query = dict(parse_qsl(request.query))
        if request.path == "/api/inboxes":
            data = [{"id": id_} for id_ in self.inboxes] if query["page"] == "1" else []
            return reply(body=page_body([], data=data, metadata={}))
        inbox = query["inbox_id"]
        number = int(query.get("cursor_id", "1"))
        pages = self.inboxes[inbox]
        if not isinstance(pages, int):
            if number == 2:
                return pages
            pages = 99
        if not pages:
            return page_reply([])
        return page_reply([f"{inbox}.{number}"], str(number + 1) if number < pages else None)


def by_inbox(ids: list[str]) -> dict[str, list[int]]:
    found = defaultdict(list)
    for id_ in ids:
        inbox, _, number = id_.rpartition(".")
        found[inbox].append(int(number))
    return found


async def ids_across(account: Account, *arguments, **options) -> list[str]:
    return [c.id async for c in account.conversations.across(*arguments, **options)]


async def later(ids, pause: float = 0.0):
    for id_ in ids:
        await asyncio.sleep(pause)
        yield id_


@given(
    sizes=st.lists(st.integers(0, 6), max_size=12),
    concurrency=st.integers(1, 9),
    latency=st.sampled_from([0.0, 1.0]),
    work=st.sampled_from([0.0, 0.3, 5.0]),
    form=st.sampled_from(["all", "list", "set", "generator", "async"]),
)
@settings(max_examples=30 * EFFORT)
def test_every_inbox_whole_and_in_order(sizes, concurrency, latency, work, form):
    """Every conversation is yielded once, in its inbox's order. Concurrent walks are limited."""
    inboxes = {f"i{n}": size for n, size in enumerate(sizes)}
    account = Account(inboxes, latency)
    wanted = {
        "all": lambda: None,
        "list": lambda: list(inboxes),
        "set": lambda: set(inboxes),
        "generator": lambda: iter(inboxes),
        "async": lambda: later(inboxes, 0.2),
    }[form]()

    async def main() -> list[str]:
        found = []
        async for page in account.conversations.across(wanted, concurrency=concurrency).pages():
            assert {c.id.rpartition(".")[0] for c in page} <= {page.inbox_id}
            found += [c.id for c in page]
            await asyncio.sleep(work)
            asked = sum("inbox_id=" in r.query for r in account.transport.requests)
            assert asked - len(found) <= 2 * concurrency + len(sizes)
        return found

    found = by_inbox(run_virtual(main()))
    assert found == {f"i{n}": list(range(1, size + 1)) for n, size in enumerate(sizes) if size}
    # The walk of the inboxes may have one more request in flight.
    assert account.transport.most_under_way <= concurrency + (form == "all")


def test_a_slow_consumer_slows_the_walks():
    """While the caller is busy, each walk fetches at most two pages."""
    account = Account({f"i{n}": 50 for n in range(20)})

    async def main() -> None:
        stream = aiter(account.conversations.across(list(account.inboxes), concurrency=4))
        await anext(stream)
        await asyncio.sleep(100)
        assert len(account.transport.requests) <= 1 + 2 * 4
        await stream.aclose()

    run_virtual(main())


def test_a_fast_consumer_does_not_wait_for_the_slowest_inbox():
    """Inboxes that are read quickly are yielded before a slow inbox is complete."""
    account = Account({"long": 100} | {f"i{n}": 3 for n in range(30)}, 1.0)

    async def main() -> float:
        begin, found = asyncio.get_running_loop().time(), 0
        async for c in account.conversations.across(list(account.inboxes), concurrency=2):
            found += not c.id.startswith("long")
            if found == 90:
                return asyncio.get_running_loop().time() - begin
        raise AssertionError

    assert run_virtual(main()) == pytest.approx(90.0, abs=1.1)


def test_the_time_is_that_of_the_longest_or_of_all_shared_out():
    """No walker is idle while there is work."""
    account = Account({f"i{n}": 5 for n in range(64)}, 1.0)

    async def main() -> float:
        begin = asyncio.get_running_loop().time()
        await ids_across(account, list(account.inboxes), concurrency=16)
        return asyncio.get_running_loop().time() - begin

    assert run_virtual(main()) == pytest.approx(5 * 64 / 16)


def test_thousands_of_inboxes_cost_no_more_than_eight():
    """The number of inboxes does not affect the number of tasks, or the memory that is used."""

    async def measured(count: int) -> tuple[int, int]:
        account = Account({f"inbox-{n}": 0 for n in range(count)}, 0.0)
        account.transport.requests = account.transport.times = _Forgetful()
        most, alive = 0, []

        async def ids():
            nonlocal most
            for n in range(count):
                most = max(most, len(asyncio.all_tasks()))
                if n in {count // 10, count - 1}:
                    gc.collect()
                    alive.append(len(gc.get_objects()))
                yield f"inbox-{n}"

        assert await ids_across(account, ids(), concurrency=8) == []
        return most, alive[1] - alive[0]

    few, _ = run_virtual(measured(20))
    most, grown = run_virtual(measured(2_500))
    assert most == few <= 8 + 2
    assert grown < 500


class _Forgetful(list):
    def append(self, _: object) -> None:
        pass


# Failures


def test_one_failing_inbox_ends_the_stream():
    """If a walk fails, the error has its inbox and its cursor, and the other walks are stopped."""
    account = Account({"a": 50, "bad": reply(403), "c": 50, "d": 50})

    async def main() -> None:
        found: list[str] = []
        with pytest.raises(PermissionDeniedError) as caught:
            await collect_ids(account.conversations.across(list(account.inboxes)), found)
        assert (caught.value.inbox_id, caught.value.cursor.cursor_id) == ("bad", "2")
        assert "inbox bad" in str(caught.value)
        assert "bad.1" in found
        assert account.transport.under_way == 0

    run_virtual(main())
    assert len(account.transport.requests) < 20


def test_others_can_finish_before_the_failures_are_raised():
    """With ``keep_going``, all other inboxes are read before an error lists the failed ones."""
    bad = {"bad": reply(403), "worse": reply(500)}
    account = Account({"a": 5, "bad": bad["bad"], "c": 7, "worse": bad["worse"], "e": 2})

    async def main() -> None:
        found: list[str] = []
        stream = account.conversations.across(keep_going=True, concurrency=2)
        with pytest.raises(InboxesFailedError, match="2 inboxes failed") as caught:
            await collect_ids(stream, found)
        assert {error.inbox_id for error in caught.value.errors} == set(bad)
        assert all(error.cursor.cursor_id == "2" for error in caught.value.errors)
        assert {name: len(n) for name, n in by_inbox(found).items()} == {
            "a": 5, "bad": 1, "c": 7, "worse": 1, "e": 2
        }  # fmt: skip

    run_virtual(main())


@pytest.mark.parametrize(
    "answer, kind",
    [(reply(401), AuthenticationError), (reply(429, Retry_After="90000"), RateLimitError)],
)
def test_failures_of_all_inboxes_end_the_stream(answer, kind):
    """A wrong key and a used-up daily quota end the stream, even with ``keep_going``."""
    account = Account({f"i{n}": answer for n in range(50)})

    async def main() -> None:
        with pytest.raises(kind):
            await ids_across(account, keep_going=True)

    run_virtual(main())
    assert len(account.transport.requests) < 30


@pytest.mark.parametrize("keep_going", [True, False])
def test_a_cancellation_from_elsewhere_is_no_end(keep_going):
    """If other code, such as a middleware, cancels a walk, the stream raises an error."""
    account = Account({"a": 3, "b": 3, "c": asyncio.CancelledError()})

    def answer(request):
        found = account._answer(request)
        if isinstance(found, asyncio.CancelledError):
            raise found
        return found

    account.transport._steps = iter(lambda: answer, None)
    found: list[str] = []

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await collect_ids(
                account.conversations.across(["a", "b", "c"], keep_going=keep_going), found
            )

    run_virtual(main())
    assert by_inbox(found) == {"a": [1, 2, 3], "b": [1, 2, 3], "c": [1]}


def test_an_iterable_that_raises_ends_the_stream():
    """If the caller's iterable raises an error, the stream raises it and closes the iterable."""
    account = Account({"a": 500})
    closed = []

    async def ids():
        try:
            yield "a"
            await asyncio.sleep(0.1)
            raise LookupError("no more")
        finally:
            closed.append(True)

    async def main() -> None:
        with pytest.raises(LookupError, match="no more"):
            await ids_across(account, ids())

    run_virtual(main())
    assert closed == [True]
    assert account.transport.under_way == 0


def test_an_iterable_is_closed_when_the_stream_is_left():
    """If the caller leaves the stream early, the stream closes the caller's iterable."""
    account = Account({"a": 500, "b": 500})
    closed = []

    async def ids():
        try:
            yield "a"
            await asyncio.sleep(1000)
        finally:
            closed.append(True)

    async def main() -> None:
        stream = aiter(account.conversations.across(ids()))
        await anext(stream)
        await stream.aclose()
        assert closed == [True]
        await let_tasks_end(1)

    run_virtual(main())


class Plain:
    """An async iterable that is not a generator, and has no method to close it."""

    def __init__(self, ids: list[str]) -> None:
        self._ids = iter(ids)

    def __aiter__(self):
        return self

    async def __anext__(self) -> str:
        for id_ in self._ids:
            return id_
        raise StopAsyncIteration


def test_an_iterable_need_not_be_a_generator():
    """Any async iterable of inbox ids is accepted, not only a generator."""
    account = Account({"a": 2, "b": 1})

    found = run_virtual(ids_across(account, Plain(["a", "b"]), concurrency=1))

    assert found == ["a.1", "a.2", "b.1"]


WRONG = [
    {"concurrency": 0},
    {"concurrency": -1},
    {"concurrency": True},
    {"concurrency": 1.5},
    {"keep_going": "no"},
    {"page_size": 0},
    {"stage_status": ""},
    {"inbox_ids": "one"},
    {"inbox_ids": b"one"},
    {"inbox_ids": 7},
    {"inbox_ids": ["a", ""]},
    {"inbox_ids": ["a", 7]},
]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
async def test_a_wrong_argument_is_refused_at_the_call(wrong):
    """A wrong argument raises an error at the call, and no request is sent."""
    account = Account({"a": 1})
    (name,) = wrong

    with pytest.raises(ConfigurationError, match=name):
        account.conversations.across(**wrong)
    assert not account.transport.requests


@pytest.mark.parametrize("lazy", [iter, later])
def test_a_wrong_id_of_an_iterable_is_refused_when_it_is_read(lazy):
    """If the iterable yields an id that is not a string, the stream raises a clear error."""
    account = Account({"a": 1})

    async def main() -> None:
        with pytest.raises(ConfigurationError, match="each of inbox_ids"):
            await ids_across(account, lazy(["a", None]))

    run_virtual(main())


@pytest.mark.parametrize("lazy", [list, iter, later])
def test_a_repeated_inbox_is_walked_once(lazy):
    """A repeated inbox id causes no request, and yields nothing."""
    account = Account({"a": 2, "b": 1})

    found = run_virtual(ids_across(account, lazy(["a", "b", "a", "a"]), concurrency=1))

    assert found == ["a.1", "a.2", "b.1"]


@pytest.mark.parametrize("none", [list, iter, later, dict])
def test_no_inboxes_are_an_empty_stream(none):
    """Without inboxes, the stream ends immediately and sends no request."""
    account = Account({"a": 2})

    assert run_virtual(ids_across(account, none([]))) == []
    assert not account.transport.requests


def test_malformed_inboxes_are_walked_too():
    """A malformed inbox is walked if it has an id. Otherwise it is reported, or raises an error."""
    odd = [{"id": "a", "name": 7}, {"id": "b"}, {"name": "nobody"}]
    account = Account({"a": 1, "b": 2})
    answer = account._answer

    def with_malformed(request):
        if request.path == "/api/inboxes" and request.query.endswith("page=1"):
            return reply(body=page_body([], data=odd, metadata={}))
        return answer(request)

    account._answer = with_malformed
    reported = []

    async def main() -> None:
        with pytest.raises(MalformedRecordError):
            await ids_across(account)
        assert sorted(await ids_across(account, on_malformed=reported.append)) == [
            "a.1",
            "b.1",
            "b.2",
        ]

    run_virtual(main())
    assert [record.index for record in reported] == [2]


async def test_more_walks_than_the_concurrency_are_logged(client, caplog):
    """A ``concurrency`` above the client's is logged once."""
    await collect(client.conversations.across([], concurrency=9))

    (record,) = caplog.records
    assert "pass CekatClient(concurrency=9)" in record.getMessage()


# Over sockets


async def test_all_inboxes_of_an_account_over_sockets():
    """All conversations of all inboxes are yielded, with at most one connection per walk."""
    async with (
        Sandbox(conversations=900, inboxes=20, quota=None, latency=0.002) as sandbox,
        CekatClient(sandbox.api_key, base_url=sandbox.base_url, rate_limit=None) as client,
    ):
        found = [c async for c in client.conversations.across(page_size=20, concurrency=5)]

        assert sorted(c.id for c in found) == sorted(id_ for id_, _ in sandbox.records())
        assert sandbox.log.connections <= 5
        for inbox in sandbox.inbox_ids:
            expected = [c.id async for c in client.conversations.list(inbox_id=inbox)]
            assert [c.id for c in found if c.inbox_id == inbox] == expected


@pytest.mark.parametrize("turns", range(0, 200, 5))
async def test_cancelled_at_any_step_over_sockets(turns):
    """After a cancellation at any moment, no task, slot or busy connection remains."""
    async with (
        Sandbox(conversations=60, inboxes=6, quota=None) as sandbox,
        CekatClient(sandbox.api_key, base_url=sandbox.base_url, rate_limit=None) as client,
    ):
        await cancelled_after(
            turns, collect(client.conversations.across(concurrency=3, page_size=5))
        )

        assert client._pipeline._concurrency._taken == 0
        assert len(await collect(client.conversations.across(concurrency=3))) == 60
        await let_tasks_end(but="RequestHandler")
        assert sandbox.log.open_connections <= 4
