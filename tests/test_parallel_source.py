"""Several walkers read one listing, on a virtual clock and over sockets."""

import asyncio
import json
from contextlib import aclosing
from random import Random
from typing import get_args
from urllib.parse import parse_qsl

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import cancelled_after, let_tasks_end, run_virtual
from support.effort import EFFORT
from support.listing import ModelListing
from support.parts import collect, make_client, make_pipeline
from support.scripted import reply

from cekat_async import (
    ConfigurationError,
    Cursor,
    InboxesFailedError,
    MalformedRecordError,
    PaginationError,
    PermissionDeniedError,
    Position,
    RetryPolicy,
    ServerError,
)
from cekat_async.errors import BadRequestError
from cekat_async.resources.conversations import Conversations
from cekat_async.resources.inboxes import Inboxes
from cekat_async.sandbox import Dialect, Live, Sandbox
from cekat_async.sandbox.options import Density, End, MadeUpCursors, Order

DAY = 86_400_000


class Account:
    """Listings in a scripted transport: one for each inbox, and None for all conversations."""

    def __init__(self, listings: dict, *, latency: float = 1.0, concurrency: int = 8) -> None:
        self.listings = listings
        self.broken = {}
        self.is_bad = lambda page: False
        pipeline, self.transport = make_pipeline(
            iter(lambda: self._answer, None),
            latency=latency,
            concurrency=concurrency,
            retry=RetryPolicy(attempts=1),
        )
        self.conversations = Conversations(pipeline, Inboxes(pipeline).list)

    def _answer(self, request):
        query = dict(parse_qsl(request.query))
        cursor = None
        if "cursor_id" in query:
            cursor = Cursor(query["cursor_id"], query["cursor_ts"])
        inbox = query.get("inbox_id")
        if status := self.broken.get((inbox, cursor is None)):
            return reply(status, b"{}")
        try:
            listing = self.listings[inbox]
            page = listing.page(cursor, min(int(query["limit"]), listing.limit))
        except BadRequestError:
            return reply(400, b'{"success":false,"error":{"message":"no such cursor"}}')
        following = page.next_cursor
        pair = following and {"cursor_id": following.cursor_id, "cursor_ts": following.cursor_ts}
        metadata = json.dumps({"next_cursor": 7 if self.is_bad(page) else pair}).encode()
        return reply(body=b'%s,"metadata":%s}' % (page.body[:-1], metadata))


def even(pages: int, *, limit: int = 10, **options) -> ModelListing:
    random = Random(pages)
    times = [random.randrange(DAY * 30) for _ in range(pages * limit)]
    return ModelListing(times, limit=limit, seed=pages, **options)


async def timed(stream) -> tuple[list, float]:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    return await collect(stream), loop.time() - begin


def test_segments_are_walked_at_once():
    """Eight walkers need an eighth of the time, with at most eight requests in flight."""
    account = Account({None: even(200)})

    found, seconds = run_virtual(timed_list(account, segments=8))

    assert sorted(c.id for c in found) == sorted(account.listings[None].times)
    assert seconds <= 200 / 8 * 1.35
    assert account.transport.most_under_way == 8


async def timed_list(account: Account, **options) -> tuple[list, float]:
    return await timed(account.conversations.list(**options))


def test_it_is_not_the_default():
    """By default, a walk sends no constructed cursor and keeps the order."""
    account = Account({None: even(10)})

    found, _ = run_virtual(timed_list(account))

    newest_first = sorted(account.listings[None].times.items(), key=lambda row: row[::-1])[::-1]
    assert [c.id for c in found] == [id_ for id_, _ in newest_first]
    assert len(account.transport.requests) == 10


@given(
    pages=st.integers(0, 40),
    made_up=st.sampled_from(["honour", "ignore", "reject", "empty"]),
    segments=st.integers(2, 9),
    prefetch=st.integers(0, 3),
    work=st.sampled_from([0.0, 0.3, 5.0]),
    stop=st.none() | st.integers(0, 300),
)
@settings(max_examples=30 * EFFORT)
def test_however_fast_the_caller_is(pages, made_up, segments, prefetch, work, stop):
    """Everything is yielded once.

    If a caller leaves the walk at any point, no task and no request remains.
    """
    account = Account({None: even(pages, limit=5, made_up=made_up)})

    async def main() -> list[str]:
        found = []
        stream = account.conversations.list(segments=segments, prefetch=prefetch).pages()
        async with aclosing(stream):
            async for page in stream:
                found += [c.id for c in page]
                assert len(page.raw) == len(page)
                if stop is not None and len(found) > stop:
                    break
                await asyncio.sleep(work)
        await let_tasks_end(1)
        assert account.transport.under_way == 0
        return found

    found = run_virtual(main())
    assert len(found) == len(set(found))
    if stop is None:
        assert set(found) == set(account.listings[None].times)


def test_a_slow_caller_slows_the_walkers():
    """While the caller is busy, at most two pages per segment are fetched."""
    account = Account({None: even(200)})

    async def main() -> None:
        stream = account.conversations.list(segments=8).pages()
        for _ in range(20):
            await anext(stream)
        await asyncio.sleep(1000)
        assert len(account.transport.requests) <= 20 + 2 * 8 + 8
        await stream.aclose()

    run_virtual(main())


@pytest.mark.parametrize("steps", range(0, 400, 3))
def test_cancelled_at_any_step(steps):
    """After a cancellation at any step of the loop, no task, slot or request remains."""
    account = Account({None: even(12)}, latency=0.0)

    async def main() -> None:
        await cancelled_after(steps, collect(account.conversations.list(segments=4)))
        await let_tasks_end(1)
        assert account.transport.under_way == 0

    run_virtual(main())


def test_an_error_is_raised_after_all_pages_and_says_where_to_resume():
    """A sequential walk from the error's cursor finds everything that was not yielded."""
    account = Account({None: even(60)})
    listing = account.listings[None]

    async def main() -> set[str]:
        found = set()

        async def walk_until_it_breaks() -> None:
            async for c in account.conversations.list(segments=4):
                found.add(c.id)
                if len(found) == 200:
                    account.broken[(None, False)] = 503

        with pytest.raises(ServerError) as raised:
            await walk_until_it_breaks()
        account.broken.clear()
        assert raised.value.cursor is not None
        rest = account.conversations.list(cursor=raised.value.cursor)
        return found | {c.id async for c in rest}

    assert run_virtual(main()) == set(listing.times)


def test_a_repeated_cursor_is_the_same_error_as_in_order():
    """A repeated cursor raises an error that has the request, as in a sequential walk."""
    listing = even(30)
    account = Account({None: listing})
    first = listing.page(None).next_cursor
    plain = listing.page

    def page(cursor, limit=None):
        found = plain(cursor, limit)
        is_third = len(listing.requests) == 5
        return msgspec.structs.replace(found, next_cursor=first) if is_third else found

    listing.page = page

    with pytest.raises(PaginationError, match="second time") as raised:
        run_virtual(timed_list(account, segments=4))
    assert raised.value.path == "/api/conversations"


def test_a_malformed_record_ends_the_walk_or_is_reported_once():
    """Malformed records are handled as in a sequential walk. Repeated ones are reported once."""
    account = Account({None: even(30)})
    listing = account.listings[None]
    malformed_id = sorted(listing.times)[40]
    plain = listing.page

    def with_malformed(cursor, limit=None):
        page = plain(cursor, limit)
        odd = b'{"id":"%s","labels":NaN}' % malformed_id.encode()
        body = page.body.replace(b'{"id":"%s"}' % malformed_id.encode(), odd)
        return msgspec.structs.replace(page, body=body)

    listing.page = with_malformed

    async def main() -> list:
        reported = []
        found = await collect(account.conversations.list(segments=4, on_malformed=reported.append))
        assert {c.id for c in found} == set(listing.times) - {malformed_id}
        with pytest.raises(MalformedRecordError) as raised:
            await collect(account.conversations.list(segments=4))
        assert raised.value.records[0].id == malformed_id
        return reported

    assert [odd.id for odd in run_virtual(main())] == [malformed_id]


def test_a_tracked_walk_that_gives_up_has_yielded_all_that_it_received():
    """If every page has a new record, all records are yielded before the error."""
    listing = even(30, rising=True, end="empty")
    account = Account({None: listing})
    plain, sent = listing.page, set()

    def page_and_another(cursor, limit=None):
        page = plain(cursor, limit)
        sent.update(page.ids)
        listing.add(f"new-{len(listing.requests)}")
        return page

    listing.page = page_and_another

    async def main() -> None:
        found = set()

        async def walk() -> None:
            pages = account.conversations.list().tracked_pages({None: Position()})
            async for page in pages:
                found.update(page.ids)

        with pytest.raises(PaginationError, match="changes faster") as raised:
            await walk()
        assert found == sent
        assert raised.value.path == "/api/conversations"

    run_virtual(main())


@pytest.mark.parametrize("segments", [1, 4])
@pytest.mark.parametrize("place", [25, 50, 150, 250])
def test_a_bad_cursor_anywhere_costs_no_record(place, segments):
    """The page with the bad cursor is yielded before the error.

    The error's cursor leads to the missing records.
    """
    account = Account({None: even(30)})
    listing = account.listings[None]
    bad = sorted(listing.times, key=listing.times.get)[place]
    account.is_bad = lambda page: bad in page.ids

    async def main() -> set[str]:
        found = set()

        async def walk() -> None:
            async for page in account.conversations.list(segments=segments).pages():
                found.update(page.ids)

        with pytest.raises(PaginationError, match="cannot be used") as raised:
            await walk()
        assert raised.value.path == "/api/conversations"
        assert bad in found
        account.is_bad = lambda page: False
        rest = account.conversations.list(cursor=raised.value.cursor)
        return found | {c.id async for c in rest}

    assert run_virtual(main()) == set(listing.times)


def test_a_bad_cursor_after_a_constructed_one_is_no_error(caplog):
    """The server did not send the constructed cursor, so the walk continues sequentially.

    It is complete.
    """
    account = Account({None: even(30)})
    listing = account.listings[None]

    def is_bad(page):
        cursor = listing.requests[-1]
        return cursor is not None and not listing.has_sent(cursor)

    account.is_bad = is_bad

    found, _ = run_virtual(timed_list(account, segments=4))

    assert {c.id for c in found} == set(listing.times)
    assert "falling back to a sequential walk" in caplog.text


@pytest.mark.parametrize("kind", ["list", "tracked"])
def test_a_listing_that_changes_too_fast_is_an_error_with_a_path(kind):
    """Both kinds of parallel walks raise the error after all pages."""
    listing = even(10)
    account = Account({None: listing})
    plain = listing.page

    def page_and_moves(cursor, limit=None):
        page = plain(cursor, limit)
        for _ in range(20):
            listing.move()
        return page

    listing.page = page_and_moves

    async def main() -> None:
        if kind == "list":
            walk = account.conversations.list(segments=2).pages()
        else:
            walk = account.conversations.list(segments=8).tracked_pages({None: Position()})
        with pytest.raises(PaginationError, match="changes faster") as raised:
            await collect(walk)
        assert raised.value.path == "/api/conversations"

    run_virtual(main())


@given(
    sizes=st.lists(st.integers(0, 30), max_size=8),
    concurrency=st.integers(1, 9),
    segments=st.integers(1, 9),
    made_up=st.sampled_from(["honour", "reject"]),
)
@settings(max_examples=30 * EFFORT)
def test_across_gives_idle_walkers_a_segment_of_the_largest(sizes, concurrency, segments, made_up):
    """Every conversation of every inbox is yielded once, within the allowed number of walkers."""
    listings = {f"i{n}": even(size, limit=5, made_up=made_up) for n, size in enumerate(sizes)}
    account = Account(listings, concurrency=20)

    async def main() -> list:
        stream = account.conversations.across(
            list(listings), concurrency=concurrency, segments=segments
        ).pages()
        return [(page.inbox_id, c.id) async for page in stream for c in page]

    found = run_virtual(main())
    expected = [(inbox, id_) for inbox, listing in listings.items() for id_ in listing.times]
    assert sorted(found) == sorted(expected)
    assert account.transport.most_under_way <= concurrency


def test_the_largest_inbox_need_not_be_waited_for():
    """If one inbox is larger than all others together, several walkers read it."""
    listings = {f"i{n}": even(5) for n in range(8)} | {"large": even(160)}

    async def main(segments: int) -> float:
        account = Account(listings)
        stream = account.conversations.across(list(listings), concurrency=8, segments=segments)
        found, seconds = await timed(stream)
        assert len(found) == 2000
        return seconds

    assert run_virtual(main(1)) >= 160
    assert run_virtual(main(8)) <= 200 / 8 * 1.5


def test_an_inbox_that_fails_stops_all_its_walkers():
    """With ``keep_going``, a failure is reported once, and the other inboxes are complete."""
    listings = {"good": even(20), "bad": even(60)}
    account = Account(listings)

    async def main() -> None:
        found = set()

        async def walk_to_the_end() -> None:
            stream = account.conversations.across(
                list(listings), concurrency=8, segments=8, keep_going=True
            ).pages()
            async for page in stream:
                found.update(c.id for c in page)
                if len(found) > 150:
                    account.broken[("bad", False)] = 403

        with pytest.raises(InboxesFailedError) as raised:
            await walk_to_the_end()
        assert set(listings["good"].times) <= found
        (error,) = raised.value.errors
        assert isinstance(error, PermissionDeniedError)
        assert error.inbox_id == "bad"

    run_virtual(main())


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "8", None])
def test_a_wrong_number_of_segments_is_refused_at_the_call(wrong):
    """In all calls, ``segments`` must be a whole number of at least 1."""
    conversations = Account({}).conversations

    for call in (conversations.list, conversations.across):
        with pytest.raises(ConfigurationError, match="segments"):
            call(segments=wrong)


def test_more_segments_than_the_concurrency_are_logged(caplog):
    """A warning is logged if ``segments`` is larger than the client's concurrency."""
    account = Account({None: even(1)}, concurrency=4)
    run_virtual(timed_list(account, segments=8))

    assert "CekatClient(concurrency=8)" in caplog.text


def test_a_doubt_is_logged_once(caplog):
    """If a server refuses the cursors, one log line says so and names the inbox."""
    account = Account({"i1": even(30, made_up="reject")})

    run_virtual(timed_list(account, segments=8, inbox_id="i1"))

    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "i1" in record.message
    assert "a request with a constructed cursor failed" in record.message


@pytest.mark.parametrize("made_up", get_args(MadeUpCursors))
@pytest.mark.parametrize("order", get_args(Order))
@pytest.mark.parametrize("density", get_args(Density))
async def test_over_sockets_in_each_dialect(made_up, order, density):
    """In every dialect of the sandbox, each record is yielded once, byte for byte."""
    dialect = Dialect(made_up_cursors=made_up, order=order, density=density, tie=3)
    async with (
        Sandbox(600, 3, quota=None, cache=1000, dialect=dialect) as sandbox,
        make_client(sandbox) as client,
    ):
        pages = await collect(client.conversations.list(segments=5, page_size=20).pages())

        raw = [bytes(record) for page in pages for record in page.raw]
        assert sorted(raw) == sorted(record for _, record in sandbox.records())
        assert sandbox.log.connections <= 5


@pytest.mark.parametrize("end", get_args(End))
async def test_over_sockets_with_each_kind_of_end(end):
    """In each dialect, every segment recognizes the end."""
    async with (
        Sandbox(400, 1, quota=None, dialect=Dialect(end=end)) as sandbox,
        make_client(sandbox) as client,
    ):
        found = await collect(client.conversations.list(segments=4, page_size=10))

        assert sorted(c.id for c in found) == sorted(id_ for id_, _ in sandbox.records())


@pytest.mark.parametrize("order", ["activity", "ascending"])
@pytest.mark.parametrize("seed", range(4))
async def test_over_sockets_while_conversations_move(order, seed):
    """While others appear and move, each conversation that exists all the time is yielded once."""
    live = Live(messages=0.8, created=0.2, resolved=0.2, seed=seed)
    async with (
        Sandbox(600, 2, quota=None, dialect=Dialect(order=order), live=live) as sandbox,
        make_client(sandbox) as client,
    ):
        before = [id_ for id_, _ in sandbox.records()]
        found = [c.id for c in await collect(client.conversations.list(segments=6, page_size=20))]

        assert len(found) == len(set(found))
        assert set(before) <= set(found)


async def test_over_sockets_after_a_cursor_and_with_filters():
    """With a cursor and filters, the result equals that of a sequential walk."""
    async with Sandbox(900, 2, quota=None) as sandbox, make_client(sandbox) as client:
        wanted = {"inbox_id": sandbox.inbox_ids[0], "stage_status": "assigned"}
        first = await client.conversations.page(limit=5, **wanted)
        wanted |= {"cursor": first.next_cursor, "page_size": 5}
        in_order = await collect(client.conversations.list(**wanted))
        found = await collect(client.conversations.list(**wanted, segments=4))

        assert len(in_order) > 50
        assert sorted(c.id for c in found) == sorted(c.id for c in in_order)


@pytest.mark.parametrize("turns", range(0, 300, 20))
async def test_over_sockets_cancelled_at_any_step(turns):
    """After a cancellation at any moment, no task, slot or busy connection remains."""
    async with Sandbox(400, 1, quota=None) as sandbox, make_client(sandbox) as client:
        await cancelled_after(turns, collect(client.conversations.list(segments=4, page_size=10)))

        assert client._pipeline._concurrency._taken == 0
        assert len(await collect(client.conversations.list(segments=4))) == 400
        await let_tasks_end(but="RequestHandler")
