"""The listing object: it sends nothing before it is consumed, and leaves nothing behind."""

import asyncio
import copy
import pickle
from contextlib import aclosing, suppress
from urllib.parse import parse_qsl

import pytest
from support.clock import cancelled_after, let_tasks_end, now, run_virtual
from support.parts import collect, make_pipeline, page_body, page_reply
from support.scripted import reply

from cekat_async import (
    CekatClient,
    ClientClosedError,
    ConfigurationError,
    Cursor,
    DeadlineExceededError,
    InboxesFailedError,
    Listing,
    PermissionDeniedError,
    Position,
    RawPage,
    RetryPolicy,
    ServerError,
    Timeout,
)
from cekat_async._paging.page_fetcher import ListQuery
from cekat_async.export import export_conversations
from cekat_async.resources.conversations import Conversations
from cekat_async.resources.inboxes import Inboxes
from cekat_async.resources.listing import Source


class Account:
    """A model account. ``inboxes`` maps an inbox to its number of pages, or to its error reply.

    Each page has two conversations.
    """

    def __init__(self, inboxes: dict, whole: int = 10, latency: float = 1.0, **options) -> None:
        self.inboxes = {None: whole, **inboxes}
        options = {"retry": RetryPolicy(attempts=1), "concurrency": 20} | options
        steps = iter(lambda: self._answer, None)
        self.pipeline, self.transport = make_pipeline(steps, latency=latency, **options)
        self.inbox_listing = Inboxes(self.pipeline)
        self.conversations = Conversations(self.pipeline, self.inbox_listing.list)

    @property
    def sent(self) -> int:
        return len(self.transport.requests)

    def _answer(self, request):
        query = dict(parse_qsl(request.query))
        if request.path == "/api/inboxes":
            data = [{"id": id_} for id_ in self.inboxes if id_] if query["page"] == "1" else []
            return reply(body=page_body([], data=data, metadata={}))
        inbox, number = query.get("inbox_id"), int(query.get("cursor_id", "1"))
        pages = self.inboxes[inbox]
        if not isinstance(pages, int):
            return pages
        name = inbox or "all"
        ids = [f"{name}.{number}a", f"{name}.{number}b"]
        return page_reply(ids, str(number + 1) if number < pages else None)


# Each way to read a listing, as a function that returns an async generator.
WAYS = {
    "list": aiter,
    "pages": lambda listing: listing.pages(),
    "raw_pages": lambda listing: listing.raw_pages(),
    "tracked_pages": lambda listing: listing.tracked_pages({}),
}
LISTINGS = {
    "list": lambda account: account.conversations.list(),
    "prefetch=0": lambda account: account.conversations.list(prefetch=0),
    "across": lambda account: account.conversations.across(),
}
each_listing = pytest.mark.parametrize("make", LISTINGS.values(), ids=LISTINGS)
each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def make_account(**options) -> Account:
    return Account({"a": 10, "b": 10}, **options)


async def get_ids(records) -> list[str]:
    return [record.id async for record in records]


# --- what a listing is


@each_listing
def test_each_loop_is_a_new_walk(make):
    """A listing sends nothing until it is consumed, and can be consumed any number of times."""
    account = make_account()

    async def main() -> None:
        listing = make(account)
        await asyncio.sleep(10)
        assert isinstance(listing, Listing)
        assert account.sent == 0
        first = await get_ids(listing)
        assert sorted(await get_ids(listing)) == sorted(first)
        assert sorted(record.id for record in await listing.collect()) == sorted(first)
        pages = await collect(listing.pages())
        assert sorted(id_ for page in pages for id_ in page.ids) == sorted(first)
        assert len(first) in {20, 40}

    run_virtual(main())


async def test_it_is_neither_awaitable_nor_an_iterator():
    """A listing cannot be awaited, passed to ``anext``, pickled or copied: a TypeError says so."""
    listing = make_account().conversations.list()

    with pytest.raises(TypeError, match="await"):
        await listing
    with pytest.raises(TypeError, match="not an async iterator"):
        anext(listing)
    for keep in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="a Listing cannot be pickled"):
            keep(listing)


def test_its_repr_shows_the_query():
    """The repr of a listing has the page size, the filters, the cursor and the inboxes."""
    account = make_account()
    cursor = Cursor("c-1", "2026-04-10T09:51:19.885")
    listing = account.conversations.list(
        page_size=7, inbox_id="a", stage_status="open", cursor=cursor
    )

    shown = repr(listing)
    for part in ("/api/conversations", "page_size=7", "inbox_id='a'", "'open'", repr(cursor)):
        assert part in shown
    assert "across all inboxes" in repr(account.conversations.across())
    assert "across 2 inboxes" in repr(account.conversations.across(["a", "b"]))
    assert "across inboxes" in repr(account.conversations.across(iter("ab")))
    assert "/api/inboxes" in repr(account.inbox_listing.list())


def test_a_query_is_a_frozen_value():
    """A query is immutable, makes its own requests, and shows no conversation ids in logs."""
    cursor = Cursor("c-1", "2026-04-10T09:51:19.885")
    query = ListQuery(path="/api/x", page_size=7, inbox_id="a b", cursor=cursor)

    with pytest.raises(AttributeError):
        query.page_size = 8
    assert query.request(None).query == "limit=7&inbox_id=a%20b"
    assert query.request(cursor).query.endswith(
        "&cursor_id=c-1&cursor_ts=2026-04-10T09%3A51%3A19.885"
    )
    assert query.request(3).query.endswith("&page=3")
    assert str(query) == "/api/x (page_size=7, inbox_id='a b')"


async def test_a_limit_is_refused():
    """Functions that take ``page_size`` say so if they get a ``limit``."""
    async with CekatClient("key") as client:
        for call in (
            client.conversations.list,
            client.conversations.across,
            client.inboxes.list,
            lambda **options: export_conversations(client, "x.jsonl", **options),
        ):
            with pytest.raises(ConfigurationError, match=r"\(\) takes page_size=…, the number of"):
                await call(limit=10)


# --- take


@pytest.mark.parametrize(
    "n, requests", [(0, 0), (1, 1), (2, 1), (3, 2), (10, 5), (20, 10), (21, 10), (99, 10)]
)
@pytest.mark.parametrize(
    "options", [{}, {"prefetch": 0}, {"prefetch": 5}, {"segments": 4}], ids=repr
)
def test_take_requests_no_page_more_than_it_needs(n, requests, options):
    """``take`` returns the first records in order, and requests only the pages that it needs."""
    account = make_account()

    async def main() -> list[str]:
        found = await account.conversations.list(**options).take(n)
        await asyncio.sleep(100)
        return [record.id for record in found]

    expected = [f"all.{number}{letter}" for number in range(1, 11) for letter in "ab"]
    assert run_virtual(main()) == expected[:n]
    assert account.sent == requests


@pytest.mark.parametrize("n, requests", [(1, 1), (4, 2), (20, 10), (21, 11), (99, 20)])
@pytest.mark.parametrize("segments", [1, 3])
def test_take_across_reads_one_inbox_after_another(n, requests, segments):
    """``take`` across inboxes reads one inbox after another, and only the pages that it needs."""
    account = make_account()

    async def main() -> list[str]:
        listing = account.conversations.across(["b", "a"], concurrency=8, segments=segments)
        found = await listing.take(n)
        await asyncio.sleep(100)
        return [record.id for record in found]

    expected = [f"{i}.{number}{letter}" for i in "ba" for number in range(1, 11) for letter in "ab"]
    assert run_virtual(main()) == expected[:n]
    assert account.sent == requests


def test_take_does_not_reach_an_error_after_its_last_page():
    """``take`` raises an error that occurs before its last page, but not one after that page."""
    account = Account({"a": 1, "bad": reply(403)})

    async def main() -> None:
        assert len(await account.conversations.across(["a", "bad"]).take(2)) == 2
        with pytest.raises(PermissionDeniedError) as caught:
            await account.conversations.across(["a", "bad"]).take(3)
        assert caught.value.inbox_id == "bad"
        with pytest.raises(InboxesFailedError):
            await account.conversations.across(["bad", "a"], keep_going=True).take(3)

    run_virtual(main())


def test_take_of_inboxes():
    """``take`` also works for a listing of inboxes."""
    account = make_account()

    assert [inbox.id for inbox in run_virtual(account.inbox_listing.list().take(1))] == ["a"]
    assert account.sent == 1


@pytest.mark.parametrize("wrong", [-1, 1.0, "1", None, True])
async def test_take_wants_a_number(wrong):
    """``take`` refuses anything but a whole number of at least 0."""
    with pytest.raises(ConfigurationError, match="n must be a whole number"):
        await make_account().conversations.list().take(wrong)


# --- combinations


def test_raw_pages_across_inboxes():
    """With ``across``, each raw page has its inbox, and no record of any inbox is missing."""
    account = make_account()

    pages = run_virtual(collect(account.conversations.across(["a", "b"]).raw_pages()))

    assert {type(page) for page in pages} == {RawPage}
    assert [len([p for p in pages if p.inbox_id == inbox]) for inbox in "ab"] == [10, 10]
    assert len({id_ for page in pages for id_ in page.ids}) == 40


async def test_impossible_combinations_are_refused_at_the_call():
    """Impossible combinations, such as raw pages with segments, are refused at the call."""
    account = make_account()
    conversations = account.conversations
    cursor = Cursor("c-1", "2026-04-10T09:51:19.885")

    with pytest.raises(ConfigurationError, match="leave out segments"):
        conversations.list(segments=2).raw_pages()
    with pytest.raises(ConfigurationError, match="leave out segments"):
        conversations.across(segments=2).raw_pages()
    with pytest.raises(ConfigurationError, match="only conversations have raw_pages"):
        account.inbox_listing.list().raw_pages()
    with pytest.raises(ConfigurationError, match="only conversations have tracked_pages"):
        account.inbox_listing.list().tracked_pages({})
    with pytest.raises(ConfigurationError, match="leave out cursor"):
        conversations.list(cursor=cursor).tracked_pages({})
    assert account.sent == 0


@pytest.mark.parametrize(
    "make, positions, error",
    [
        (lambda c: c.list(), {"a": Position()}, "the key of this listing is None"),
        (lambda c: c.list(inbox_id="a"), {"b": Position()}, "the key of this listing is 'a'"),
        (lambda c: c.list(inbox_id="a"), {None: Position()}, "the key of this listing is 'a'"),
        (lambda c: c.across(["a"]), {"b": Position()}, "not among inbox_ids"),
        (lambda c: c.across(["a"]), {None: Position()}, r"use list\(\)"),
        (lambda c: c.across(), {None: Position()}, r"use list\(\)"),
        (lambda c: c.list(), {None: None}, "must have a Position for each inbox, not None"),
    ],
)
async def test_a_position_of_another_listing_is_refused_at_the_call(make, positions, error):
    """If a position is for another listing, the error says which key or which call to use."""
    with pytest.raises(ConfigurationError, match=error):
        make(make_account().conversations).tracked_pages(positions)


def test_a_listing_without_a_position_begins_at_the_front():
    """An inbox with a position resumes there, and an inbox without one starts at the front."""
    account = make_account()

    async def main() -> None:
        pages = await collect(account.conversations.list(inbox_id="a").tracked_pages({}))
        listing = account.conversations.across(["a", "b"])
        more = await collect(listing.tracked_pages({"a": pages[-1].position}))
        assert {page.inbox_id for page in pages} == {"a"}
        assert len([page for page in more if page.inbox_id == "b"]) >= 10
        assert len([page for page in more if page.inbox_id == "a"]) <= 1

    run_virtual(main())


@pytest.mark.parametrize("lazy", [iter, lambda ids: (id_ for id_ in ids)])
def test_an_iterator_of_inboxes_is_read_by_one_walk(lazy):
    """If ``across`` got an iterator, a second walk raises an error: the iterator is exhausted."""
    account = make_account()

    async def main() -> None:
        listing = account.conversations.across(lazy(["a", "b"]))
        assert len(await listing.collect()) == 40
        for read in (listing.collect(), listing.take(1)):
            with pytest.raises(ConfigurationError, match="can be read only once: pass a list"):
                await read

    run_virtual(main())


@pytest.mark.parametrize("segments", [2, 5])
def test_segments_without_prefetch_fetch_a_page_each(segments):
    """With ``prefetch=0``, no walker fetches a second page before the caller needs it."""
    account = make_account(latency=0.1)

    async def main() -> None:
        async with aclosing(
            account.conversations.list(segments=segments, prefetch=0).pages()
        ) as pages:
            await anext(pages)
            await asyncio.sleep(100)
            assert account.sent <= segments

    run_virtual(main())


@pytest.mark.parametrize("make", [LISTINGS["list"], LISTINGS["across"]])
def test_an_error_keeps_its_cause(make):
    """In each kind of walk, the cause of a deadline error is the last attempt's error."""
    retry = RetryPolicy(attempts=9, backoff=0.1)
    account = make_account(latency=3, timeout=Timeout(deadline=5), retry=retry)
    account.inboxes = dict.fromkeys(account.inboxes, reply(500))

    async def main() -> None:
        with pytest.raises(DeadlineExceededError) as caught:
            await make(account).collect()
        assert isinstance(caught.value.__cause__, ServerError)

    run_virtual(main())


def test_an_error_says_where_it_happened():
    """Once an error has the path and the inbox of its request, they do not change."""
    account = Account({"bad": reply(403)})

    with pytest.raises(PermissionDeniedError) as caught:
        run_virtual(account.conversations.list(inbox_id="bad").collect())

    error = caught.value
    assert (error.path, error.inbox_id, error.cursor) == ("/api/conversations", "bad", None)
    assert error.locate(path="/other", inbox_id="other", cursor=Cursor("a", "b")) is error
    assert (error.path, error.inbox_id, error.cursor) == (
        "/api/conversations",
        "bad",
        Cursor("a", "b"),
    )


# --- leaving


async def leave_by_break(walk) -> None:
    async for _ in walk:
        break


async def leave_by_return(walk) -> int:
    async for item in walk:
        return item
    return None


async def leave_by_raise(walk) -> None:
    with suppress(LookupError):
        async for _ in walk:
            raise LookupError


async def leave_by_timeout(walk) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(5):
            async for _ in walk:
                await asyncio.sleep(1000)


each_exit = pytest.mark.parametrize(
    "leave", [leave_by_break, leave_by_return, leave_by_raise, leave_by_timeout]
)


@each_exit
@each_listing
@each_way
def test_a_walk_that_is_left_ends_although_the_listing_is_kept(way, make, leave):
    """A walk that the caller left has no task and no request, even if the listing still exists."""
    account = make_account()

    async def main() -> None:
        listing = make(account)
        await leave(way(listing))
        await let_tasks_end()
        assert account.transport.under_way == 0
        assert not len(listing._walks)

    run_virtual(main())


@each_exit
@each_listing
@each_way
def test_closing_a_listing_waits_for_its_walks(way, make, leave):
    """After ``async with aclosing(listing)``, no request is in flight, however the loop ended."""
    account = make_account()

    async def main() -> None:
        async with aclosing(make(account)) as listing:
            await leave(way(listing))
            await asyncio.sleep(0)
        assert account.transport.under_way == 0
        await let_tasks_end(2)

    run_virtual(main())


@each_exit
@each_listing
def test_closing_its_pages_leaves_nothing(make, leave):
    """``async with aclosing(listing.pages())`` ends the walk immediately."""
    account = make_account()

    async def main() -> None:
        listing = make(account)
        async with aclosing(listing.pages()) as pages:
            await leave(pages)
        assert account.transport.under_way == 0
        await let_tasks_end(1)
        await listing.aclose()

    run_virtual(main())


@each_listing
@each_way
def test_an_idle_walk_is_closed(way, make):
    """``aclose`` ends all open walks. After that, new walks can be started."""
    account = make_account()

    async def main() -> None:
        listing = make(account)
        unused, *walks = [way(listing) for _ in range(3)]
        for walk in walks:
            await anext(walk)
        await listing.aclose()
        assert account.transport.under_way == 0
        await let_tasks_end(1)
        for walk in walks:
            with pytest.raises(StopAsyncIteration):
                await anext(walk)
        assert len(await listing.collect()) >= 20
        await collect(unused)

    run_virtual(main())


@each_listing
@each_way
@pytest.mark.parametrize("after", [0.5, 1.0, 1.5])
def test_a_task_that_waits_for_a_page_gets_an_error(way, make, after):
    """If a task closes the listing, any other task that waits for a page gets an error."""
    account = make_account()

    async def main() -> None:
        listing = make(account)
        waiting = asyncio.create_task(collect(way(listing)))
        await asyncio.sleep(after)
        await listing.aclose()
        assert now() == after
        await let_tasks_end(1)
        assert account.transport.under_way == 0
        with pytest.raises(ClientClosedError, match="the listing was closed"):
            await waiting

    run_virtual(main())


@pytest.mark.parametrize("turns", range(6))
async def test_two_tasks_may_close_a_listing(turns):
    """Two tasks can close a listing at the same time, and the reading task gets an error."""

    class Slow(Source):
        async def pages(self):
            try:
                await asyncio.sleep(1000)
                yield
            finally:
                for _ in range(10):
                    await asyncio.sleep(0)

    async def close_later() -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        await listing.aclose()

    pipeline, _ = make_pipeline([])
    listing = Listing(pipeline, "/api/slow", lambda _: Slow())
    reading = asyncio.create_task(listing.collect())
    await asyncio.sleep(0.001)
    await asyncio.gather(listing.aclose(), close_later())
    with pytest.raises(ClientClosedError):
        await reading


@each_listing
def test_a_walk_is_closed_while_another_task_works_on_its_page(make):
    """If the listing is closed while another task works on a page, that task gets no more pages."""
    account = make_account()

    async def work(listing) -> int:
        count = 0
        async for _ in listing.pages():
            count += 1
            await asyncio.sleep(100)
        return count

    async def main() -> None:
        listing = make(account)
        working = asyncio.create_task(work(listing))
        await asyncio.sleep(10)
        await listing.aclose()
        assert account.transport.under_way == 0
        assert await working == 1

    run_virtual(main())


@each_listing
@pytest.mark.parametrize("turns", range(0, 40, 3))
@pytest.mark.parametrize(
    "read",
    [
        lambda listing: listing.collect(),
        lambda listing: listing.take(15),
        lambda listing: collect(listing.pages()),
    ],
    ids=["collect", "take", "pages"],
)
def test_cancelled_at_any_turn(make, turns, read):
    """If reading a listing is cancelled at any await, no task, request or slot remains."""
    account = make_account(latency=0.0)

    async def main() -> None:
        listing = make(account)
        await cancelled_after(turns, read(listing))
        await let_tasks_end(1)
        assert account.transport.under_way == 0
        assert account.pipeline._concurrency._taken == 0
        await listing.aclose()

    run_virtual(main())


@each_listing
@pytest.mark.parametrize("turns", range(12))
def test_closing_can_be_cancelled(make, turns):
    """If ``aclose`` is cancelled, it raises CancelledError, and the walk still ends."""
    account = make_account()

    async def main() -> None:
        listing = make(account)
        walk = listing.pages()
        await anext(walk)
        await cancelled_after(turns, listing.aclose())
        await listing.aclose()
        await let_tasks_end(1)
        assert account.transport.under_way == 0

    run_virtual(main())


async def test_walks_are_not_kept():
    """A listing keeps no references to its finished walks."""
    listing = make_account(latency=0.0).conversations.list()
    for _ in range(3):
        await listing.collect()
        async for _ in listing:
            break
    await let_tasks_end()

    assert not len(listing._walks)
