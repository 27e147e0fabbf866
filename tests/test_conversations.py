"""The conversations resource, tested with the sandbox: single pages, all pages, all records."""

import asyncio
import itertools
import math
import pickle
from contextlib import aclosing
from typing import get_args
from urllib.parse import unquote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import cancelled_after, let_tasks_end, run_virtual
from support.parts import (
    collect,
    collect_ids,
    make_client,
    make_config,
    make_pipeline,
    page_body,
    page_reply,
)
from support.rawserver import RawServer, http
from support.scripted import ScriptedTransport, reply

from cekat_async import (
    CekatClient,
    Conversation,
    ConversationPage,
    Cursor,
    MalformedRecord,
    Position,
    RateLimit,
    StageStatus,
)
from cekat_async._api.requests import encode_query
from cekat_async._ratelimit.limiter import Limiter
from cekat_async._request.pipeline import Pipeline
from cekat_async.errors import (
    BadRequestError,
    CekatError,
    ConfigurationError,
    DecodeError,
    MalformedRecordError,
    PaginationError,
    PermissionDeniedError,
)
from cekat_async.export import export_conversations
from cekat_async.resources.conversations import Conversations
from cekat_async.resources.inboxes import Inboxes
from cekat_async.sandbox import Dialect, Fault, Sandbox
from cekat_async.sandbox.options import End, Order, Timestamps


def make_conversations(steps, **options) -> tuple[Conversations, ScriptedTransport]:
    """Return a conversations resource whose transport replies with ``steps``, one after another."""
    pipeline, transport = make_pipeline(steps, **options)
    return Conversations(pipeline, Inboxes(pipeline).list), transport


def get_ids(sandbox: Sandbox) -> list[str]:
    return [id_ for id_, _ in sandbox.records()]


# Three ways to read a listing


async def test_a_page_is_one_request(client, sandbox):
    """A page takes one request, and has typed conversations and the next cursor."""
    page = await client.conversations.page()

    assert isinstance(page, ConversationPage)
    assert len(page) == 100
    assert all(isinstance(conversation, Conversation) for conversation in page)
    assert isinstance(page.next_cursor, Cursor)
    assert [seen.query for seen in sandbox.log.requests] == ["limit=100"]


async def test_pages_cover_the_listing(client, sandbox):
    """The pages contain every record once, with unchanged bytes and in the server's order."""
    pages = await collect(client.conversations.list().pages())

    raw = [bytes(record) for page in pages for record in page.raw]
    assert [len(page) for page in pages] == [100, 100, 50]
    assert raw == [record for _, record in sandbox.records()]
    assert pages[-1].next_cursor is None


async def test_list_yields_every_conversation(client, sandbox):
    """The list yields every conversation once, in the server's order."""
    found = await collect(client.conversations.list(page_size=30))

    assert [conversation.id for conversation in found] == get_ids(sandbox)
    assert len(sandbox.log.requests) == 9


async def test_a_walk_begins_at_a_cursor(client, sandbox):
    """Each way to read a listing can begin at the cursor of a page."""
    first = await client.conversations.page(limit=40)

    second = await client.conversations.page(limit=40, cursor=first.next_cursor)
    rest = await collect(client.conversations.list(cursor=first.next_cursor))
    pages = await collect(client.conversations.list(cursor=first.next_cursor).pages())

    expected = get_ids(sandbox)[40:]
    assert [conversation.id for conversation in second] == expected[:40]
    assert [conversation.id for conversation in rest] == expected
    assert [conversation.id for page in pages for conversation in page] == expected


@pytest.mark.parametrize("status", ["assigned", StageStatus.RESOLVED, "open", "nobody-knows"])
async def test_a_status_narrows_the_listing(client, sandbox, status):
    """Only conversations with this status are returned. An unknown status is sent unchanged."""
    found = await collect(client.conversations.list(stage_status=status))

    assert len(found) == sandbox.count(stage_status=str(status))
    assert {conversation.stage_status for conversation in found} <= {status}
    assert f"stage_status={status}" in sandbox.log.requests[0].query


async def test_an_inbox_narrows_the_listing(client, sandbox):
    """With ``inbox_id``, all pages of a walk contain only conversations of this inbox."""
    inbox = sandbox.inbox_ids[1]

    found = await collect(client.conversations.list(inbox_id=inbox, page_size=20))

    assert len(found) == sandbox.count(inbox)
    assert {conversation.inbox_id for conversation in found} == {inbox}
    assert all(f"inbox_id={inbox}" in seen.query for seen in sandbox.log.requests)


async def test_an_account_without_conversations():
    """In an empty account, a page has no records, and a walk yields nothing."""
    async with Sandbox(conversations=0, inboxes=0) as sandbox, make_client(sandbox) as client:
        assert len(await client.conversations.page()) == 0
        assert await collect(client.conversations.list()) == []


# The query on the wire

NASTY = [
    "a+b", "a%2Bb", "a&b=c", "a=b==", "two  blanks", " edge ", "ümläut", "日本語 🤖", "a/b", "a#b",
    "a?b", "%", "%%20", "a;b", '"quoted"', "a\\b", "<tag>", "~._-", "a\nb", "\x00",
]  # fmt: skip


def queries(heads: list[bytes]) -> list[dict[str, str]]:
    """Return the parsed queries of requests. A plus sign is not read as a space."""
    found = []
    for head in heads:
        target = head.split(b" ")[1].decode("ascii")
        pairs = [part.split("=") for part in target.partition("?")[2].split("&")]
        found.append({unquote(name): unquote(value, errors="strict") for name, value in pairs})
    return found


@pytest.mark.parametrize("text", NASTY)
async def test_a_cursor_is_sent_back_unchanged(text):
    """The client sends both strings of a cursor exactly as it received them."""
    metadata = {"next_cursor": {"cursor_id": text, "cursor_ts": f"{text}.000"}}
    first = http(page_body(["1"], metadata=metadata))
    answers = iter([first, http(page_body(["2"]))])
    async with (
        RawServer(lambda _: next(answers)) as server,
        CekatClient("key", base_url=server.base_url) as client,
    ):
        found = await collect(client.conversations.list(page_size=1))

    assert [conversation.id for conversation in found] == ["1", "2"]
    assert queries(server.heads) == [
        {"limit": "1"},
        {"limit": "1", "cursor_id": text, "cursor_ts": f"{text}.000"},
    ]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip))
def test_any_text_survives_the_query(text):
    """Any inbox id is the same after the client encodes a query and a server parses it."""
    query = encode_query(("inbox_id", text), ("limit", "1"))

    line = f"GET /api?{query} HTTP/1.1"

    assert queries([line.encode("ascii")]) == [{"inbox_id": text, "limit": "1"}]


@pytest.mark.parametrize("text", [text for text in NASTY if text.strip()])
async def test_an_inbox_id_is_sent_unchanged(text):
    """An inbox id with special characters, or in any script, reaches the server unchanged."""
    async with (
        RawServer(lambda _: http()) as server,
        CekatClient("key", base_url=server.base_url) as client,
    ):
        await client.conversations.page(inbox_id=text, stage_status=text)

    assert queries(server.heads) == [{"limit": "100", "inbox_id": text, "stage_status": text}]


async def test_nothing_is_sent_that_was_not_asked_for(client, sandbox):
    """Without arguments, the query contains only the limit. A large limit is sent unchanged."""
    await client.conversations.page()
    await client.conversations.page(limit=7000)

    assert [seen.query for seen in sandbox.log.requests] == ["limit=100", "limit=7000"]


# Inbox ids that are UUIDs


def make_walks(client: CekatClient, inbox) -> dict:
    """Return an iterator over conversations or pages for each way to read one inbox."""
    read = client.conversations
    return {
        "list": read.list(inbox_id=inbox),
        "list in segments": read.list(inbox_id=inbox, segments=2),
        "raw_pages": read.list(inbox_id=inbox).raw_pages(),
        "across": read.across([inbox]),
        "across of an iterator": read.across(iter([inbox])),
        "tracked_pages": read.list(inbox_id=inbox).tracked_pages({inbox: Position()}),
        "tracked_pages across": read.across([inbox]).tracked_pages({inbox: Position()}),
    }


@pytest.mark.parametrize("way", ["page", *make_walks(CekatClient("key"), "id")])
async def test_an_inbox_id_may_be_a_uuid(client, sandbox, way):
    """Each way to read an inbox accepts a UUID as well as a string."""
    inbox = sandbox.inbox_ids[1]
    if way == "page":
        found = [await client.conversations.page(inbox_id=UUID(inbox))]
    else:
        found = await collect(make_walks(client, UUID(inbox))[way])

    assert {one.inbox_id for one in found} == {inbox}
    assert {type(one.inbox_id) for one in found} == {str}
    for seen in sandbox.log.requests:
        assert seen.query.count(f"inbox_id={inbox}") == 1


async def test_an_export_of_inboxes_by_uuid(client, sandbox, tmp_path):
    """An export accepts UUIDs as inbox ids, and writes them to its manifest as strings."""
    inbox = sandbox.inbox_ids[1]
    reports = [
        await export_conversations(client, tmp_path / f"{number}.jsonl", inbox_ids=[one])
        for number, one in enumerate([inbox, UUID(inbox)])
    ]

    assert reports[0].manifest.filters == reports[1].manifest.filters
    assert reports[0].manifest.conversations == reports[1].manifest.conversations > 0


async def test_an_inbox_that_is_named_as_text_and_as_a_uuid_is_walked_once(client, sandbox):
    """A UUID and its string are the same inbox, which is walked once and has one position."""
    inbox = sandbox.inbox_ids[1]

    found = await collect(client.conversations.across([inbox, UUID(inbox)]))
    with pytest.raises(ConfigurationError, match=f"names inbox {inbox} twice"):
        client.conversations.across([inbox]).tracked_pages(
            {inbox: Position(), UUID(inbox): Position()}
        )

    assert len(found) == sandbox.count(inbox)


@pytest.mark.parametrize("wrong", ["", " ", 7, b"id", ("a",)])
async def test_a_position_of_no_inbox_is_refused_at_the_call(client, wrong):
    """A key of ``positions`` that is neither an inbox id nor None is refused."""
    with pytest.raises(ConfigurationError, match="each inbox of positions must be text"):
        client.conversations.across().tracked_pages({wrong: Position()})


# Wrong arguments

WRONG_SIZES = [0, -1, True, "10", 10.0, None]
WRONG = [
    {"inbox_id": ""},
    {"inbox_id": "  "},
    {"inbox_id": 7},
    {"stage_status": ""},
    {"stage_status": b"assigned"},
    {"cursor": ("id", "ts")},
    {"cursor": {"cursor_id": "id", "cursor_ts": "ts"}},
    {"cursor": "id"},
    {"cursor": Cursor("id", "")},
    {"cursor": Cursor("", "ts")},
    {"cursor": Cursor("id", None)},
]


@pytest.mark.parametrize("cursor", [Cursor("i" * 4097, "t"), Cursor("i", "t" * 4097)])
async def test_a_cursor_that_cannot_be_sent_is_refused_at_the_call(cursor):
    """A cursor of more than 4,096 characters raises an error that does not quote it."""
    conversations, transport = make_conversations([])

    with pytest.raises(ConfigurationError, match="has 4,097 characters") as caught:
        conversations.list(cursor=cursor)

    assert len(str(caught.value)) < 200
    assert not transport.requests


@pytest.mark.parametrize("wrong", WRONG_SIZES, ids=repr)
async def test_a_wrong_page_size_is_refused_at_the_call(wrong):
    """A wrong ``limit`` or ``page_size`` is refused at the call, and the error names it."""
    conversations, transport = make_conversations([])

    with pytest.raises(ConfigurationError, match="page_size"):
        conversations.list(page_size=wrong)
    with pytest.raises(ConfigurationError, match="limit"):
        await conversations.page(limit=wrong)
    assert not transport.requests


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
async def test_a_wrong_argument_is_refused_at_the_call(wrong):
    """A wrong argument raises an error at the call, before any iteration or request."""
    conversations, transport = make_conversations([])
    (name,) = wrong

    with pytest.raises(ConfigurationError, match=name):
        conversations.list(**wrong)
    with pytest.raises(ConfigurationError, match=name):
        await conversations.page(**wrong)
    assert not transport.requests


@pytest.mark.parametrize("wrong", [-1, True, 1.0, None])
async def test_a_wrong_prefetch_is_refused_at_the_call(wrong):
    """A prefetch that is not a whole number of at least 0 raises an error at the call."""
    conversations, transport = make_conversations([])

    with pytest.raises(ConfigurationError, match="prefetch"):
        conversations.list(prefetch=wrong)
    assert not transport.requests


# Prefetched pages


def get_chain(count: int) -> list:
    """Return the replies of a listing with ``count`` pages, each with one conversation."""
    return [page_reply([str(n)], f"c{n}" if n < count else None) for n in range(1, count + 1)]


@pytest.mark.parametrize("prefetch, most", [(0, 1), (1, 2), (2, 3), (5, 6), (99, 10)])
def test_prefetch_limits_the_pages_ahead(prefetch, most):
    """While the caller works on a page, the walk requests exactly ``prefetch`` more pages."""
    conversations, transport = make_conversations(get_chain(10), latency=0.1)

    async def main() -> None:
        async with aclosing(conversations.list(prefetch=prefetch).pages()) as pages:
            await anext(pages)
            await asyncio.sleep(60)
            assert len(transport.requests) == most
            await anext(pages)
            await asyncio.sleep(60)
            assert len(transport.requests) == min(most + 1, 10)

    run_virtual(main())


@pytest.mark.parametrize("work", [0.0, 0.02, 0.05, 0.1])
@pytest.mark.parametrize("prefetch", [1, 3])
def test_the_callers_work_and_the_latency_overlap(work, prefetch):
    """Requests are sent while the caller works, so a walk takes only the longer of both times."""
    conversations, _ = make_conversations(get_chain(20), latency=0.05)

    async def main() -> float:
        begin = asyncio.get_running_loop().time()
        async for _ in conversations.list(prefetch=prefetch).pages():
            await asyncio.sleep(work)
        return asyncio.get_running_loop().time() - begin

    assert run_virtual(main()) == pytest.approx(20 * max(work, 0.05) + min(work, 0.05), rel=0.001)


def test_a_caller_that_never_awaits_is_helped_too():
    """The next request is sent before the caller gets a page, even if that page was ready."""
    conversations, transport = make_conversations(get_chain(5), latency=0.1)

    async def main() -> list[int]:
        asked = []
        async for _ in conversations.list().pages():
            asked.append(len(transport.requests))
            if len(asked) == 2:
                await asyncio.sleep(1)  # from here on, a page is ready
        return asked

    assert run_virtual(main()) == [2, 3, 4, 5, 5]


@pytest.mark.parametrize("prefetch", [0, 1, 3, 99])
def test_an_error_is_raised_after_all_pages_before_it(prefetch):
    """If a prefetched page fails, its error is raised after all pages before it."""
    conversations, _ = make_conversations([*get_chain(9)[:4], reply(403)], latency=0.01)

    async def main() -> None:
        found: list[str] = []
        with pytest.raises(PermissionDeniedError) as caught:
            await collect_ids(conversations.list(prefetch=prefetch), found)
        assert found == ["1", "2", "3", "4"]
        assert caught.value.cursor.cursor_id == "c4"

    run_virtual(main())


@pytest.mark.parametrize("prefetch", [0, 1, 99])
def test_malformed_records_are_reported_with_their_page(prefetch):
    """Malformed records of a prefetched page are reported only when the caller gets that page."""
    odd = reply(body=page_body([], "c2", data=[{"id": 7}]))
    conversations, _ = make_conversations([page_reply(["1"], "c1"), odd, page_reply(["3"])])
    reported: list[MalformedRecord] = []

    async def main() -> list[int]:
        seen = []
        async for _ in conversations.list(prefetch=prefetch, on_malformed=reported.append).pages():
            await asyncio.sleep(1)
            seen.append(len(reported))
        return seen

    assert run_virtual(main()) == [0, 1, 1]


@pytest.mark.parametrize("prefetch", [0, 1, 99])
def test_a_malformed_record_ends_the_walk_at_its_page(prefetch):
    """Without ``on_malformed``, a malformed record ends the walk after its page.

    Later pages may have been prefetched, but they are not yielded.
    """
    odd = reply(body=page_body([], "c2", data=[{"id": "2"}, {"id": 7}]))
    conversations, transport = make_conversations([page_reply(["1"], "c1"), odd, page_reply(["3"])])
    found: list[str] = []

    async def main() -> None:
        with pytest.raises(MalformedRecordError) as caught:
            await collect_ids(conversations.list(prefetch=prefetch), found)
        assert caught.value.cursor.cursor_id == "c1"

    run_virtual(main())
    assert found == ["1", "2"]
    assert len(transport.requests) <= 2 + prefetch


# Dialects


async def walked(dialect: Dialect, conversations: int = 45, limit: int = 10) -> None:
    """Walk a sandbox that uses this dialect, and fail if a record is missing or repeated."""
    async with (
        Sandbox(conversations=conversations, quota=None, dialect=dialect) as sandbox,
        make_client(sandbox) as client,
    ):
        pages = await collect(client.conversations.list(page_size=limit).pages())
        raw = [bytes(record) for page in pages for record in page.raw]
        found = [conversation.id for page in pages for conversation in page]
        assert raw == [record for _, record in sandbox.records()]
        assert found == get_ids(sandbox)


@pytest.mark.parametrize("end", get_args(End))
@pytest.mark.parametrize("conversations", [0, 1, 10, 20, 25])
async def test_every_end_of_the_listing_ends_the_walk(end, conversations):
    """Whatever form the last page has, the walk yields every record once and ends."""
    await walked(Dialect(end=end), conversations)


@pytest.mark.parametrize("end", get_args(End))
async def test_every_end_ends_a_walk_from_a_cursor(end):
    """A walk that begins after the last record yields nothing and ends."""
    async with (
        Sandbox(conversations=20, quota=None, dialect=Dialect(end=end)) as sandbox,
        make_client(sandbox) as client,
    ):
        last = Cursor("00000000-0000-0000-0000-000000000000", "2000-01-01T00:00:00.000")
        assert await collect(client.conversations.list(cursor=last)) == []


@pytest.mark.parametrize("timestamps", get_args(Timestamps))
async def test_every_spelling_of_timestamps_is_read(timestamps):
    """Each format of a timestamp is parsed to the same moment with a time zone."""
    async with (
        Sandbox(conversations=30, quota=None, dialect=Dialect(timestamps=timestamps)) as sandbox,
        Sandbox(conversations=30, quota=None) as plain,
        make_client(sandbox) as client,
        make_client(plain) as other,
    ):
        found = await collect(client.conversations.list(page_size=10))
        expected = await collect(other.conversations.list(page_size=10))

    for one, two in zip(found, expected, strict=True):
        assert one.created_at.tzinfo is not None
        assert abs((one.created_at - two.created_at).total_seconds()) < 1


@pytest.mark.parametrize("order", get_args(Order))
@pytest.mark.parametrize("tie", [1, 7, 40])
async def test_every_order_and_ties(order, tie):
    """A walk misses no conversation, whatever the order, and even if many timestamps are equal."""
    await walked(Dialect(order=order, tie=tie))


@pytest.mark.parametrize("compress", ["gzip", "deflate", None])
async def test_compressed_replies(compress):
    """Compressed replies are read like any other replies."""
    await walked(Dialect(compress=compress))


@pytest.mark.parametrize("share", [0.0, 1.0])
async def test_null_collections_and_unknown_fields(share):
    """Records with null collections or undocumented fields are not lost."""
    await walked(Dialect(collections_null=share, unknown_fields=True))


async def test_a_limit_that_the_server_lowers():
    """If the server returns smaller pages than requested, the walk is still complete."""
    await walked(Dialect(over_limit="clamp", max_limit=7), limit=1000)


async def test_a_limit_that_the_server_refuses():
    """If the server refuses a large limit, the error contains the server's message."""
    async with (
        Sandbox(conversations=10, dialect=Dialect(over_limit="reject")) as sandbox,
        make_client(sandbox) as client,
    ):
        with pytest.raises(BadRequestError) as caught:
            await collect(client.conversations.list(page_size=101))

    (detail,) = caught.value.details
    assert detail == {"field": "limit", "message": "limit must not be greater than 100"}
    assert caught.value.attempts == 1


# Cursors that lead nowhere


BAD_CURSORS = [
    {"next_cursor": {"cursor_id": "c2", "cursor_ts": None}},
    {"next_cursor": {"cursor_id": 2, "cursor_ts": "t"}},
    {"next_cursor": "c2"},
    ["c2"],
]


WAYS = {
    "list": lambda conversations: conversations.list(),
    "pages": lambda conversations: conversations.list().pages(),
    "raw_pages": lambda conversations: conversations.list().raw_pages(),
}


@pytest.mark.parametrize("metadata", BAD_CURSORS, ids=repr)
@pytest.mark.parametrize("kind", WAYS)
async def test_a_bad_cursor_costs_no_record(metadata, kind):
    """If a page has an unusable cursor, the walk yields the page's records before the error."""
    bad = reply(body=page_body(["2", "3"], metadata=metadata))
    conversations, _ = make_conversations([page_reply(["1"], "c1"), bad])
    found = []

    async def walk() -> None:
        async for item in WAYS[kind](conversations):
            found.extend([item.id] if kind == "list" else item.ids)

    with pytest.raises(PaginationError, match="cannot be used") as caught:
        await walk()

    assert found == ["1", "2", "3"]
    assert caught.value.page.ids == ["2", "3"]
    assert caught.value.cursor.cursor_id == "c1"
    assert caught.value.path == "/api/conversations"


async def test_the_error_of_a_single_page_has_its_records():
    """If a single page has an unusable cursor, the error has the page as an attribute."""
    conversations, _ = make_conversations([reply(body=page_body(["1"], metadata=BAD_CURSORS[0]))])

    with pytest.raises(PaginationError, match="cannot be used") as caught:
        await conversations.page()

    assert [bytes(raw) for raw in caught.value.page.raw] == [b'{"id": "1"}']
    assert [item.id for item in pickle.loads(pickle.dumps(caught.value)).page] == ["1"]  # noqa: S301


async def test_a_bad_cursor_costs_no_record_of_a_tracked_walk():
    """If a page has an unusable cursor, a tracked walk yields the page before the error."""
    bad = reply(body=page_body(["1", "2"], metadata=BAD_CURSORS[0]))
    conversations, _ = make_conversations([bad])
    pages = []

    async def walk() -> None:
        async for page in conversations.list().tracked_pages({None: Position()}):
            pages.append(page)  # noqa: PERF401 - a comprehension keeps nothing when it raises

    with pytest.raises(PaginationError, match="cannot be used") as caught:
        await walk()

    assert [page.ids for page in pages] == [["1", "2"]]
    assert caught.value.path == "/api/conversations"
    # The error's cursor and the page's position lead to that page again.
    assert caught.value.cursor is None
    assert pages[0].position == Position()


# Errors in the middle


@pytest.mark.parametrize("pages_before", [0, 1, 3])
async def test_an_error_says_where_to_resume(client, sandbox, pages_before):
    """An error has the cursor of the failed page, and a walk from there yields the rest."""
    sandbox.fail_next(*[Fault.ok()] * pages_before, Fault.status(403))
    found: list[str] = []

    with pytest.raises(PermissionDeniedError) as caught:
        await collect_ids(client.conversations.list(page_size=50), found)
    rest = await collect(client.conversations.list(page_size=50, cursor=caught.value.cursor))

    assert len(found) == 50 * pages_before
    assert (caught.value.cursor is None) == (pages_before == 0)
    assert caught.value.path == "/api/conversations"
    assert found + [conversation.id for conversation in rest] == get_ids(sandbox)


# Malformed records


def malformed_page(
    count: int = 100, odd: tuple[int, ...] = (57,), cursor: str | None = None
) -> bytes:
    records = [{"id": f"id-{n}", "notes": math.nan if n in odd else "fine"} for n in range(count)]
    return page_body([], cursor, data=records)


async def test_a_malformed_record_does_not_cost_the_others(client, sandbox):
    """A walk yields the page's other 99 records, and then raises an error with the details."""
    sandbox.fail_next(Fault.raw(body=malformed_page()))
    found: list[str] = []

    with pytest.raises(MalformedRecordError) as caught:
        await collect_ids(client.conversations.list(), found)

    error = caught.value
    assert found == [f"id-{n}" for n in range(100) if n != 57]
    assert (error.index, error.id, error.field) == (57, "id-57", "$")
    assert error.raw == b'{"id": "id-57", "notes": NaN}'
    assert error.cursor is None
    assert error.page.next_cursor is None


async def test_a_page_with_a_malformed_record(client, sandbox):
    """The error has a page with the other records, and the cursor that was requested."""
    sandbox.fail_next(Fault.raw(body=malformed_page()))
    start = Cursor("c0", "2026-04-10T09:51:19.885")

    with pytest.raises(MalformedRecordError) as caught:
        await client.conversations.page(cursor=start)

    assert len(caught.value.page) == 99
    assert caught.value.cursor == start


async def test_malformed_records_can_be_reported_instead(client, sandbox):
    """With ``on_malformed``, the walk continues and reports each malformed record once."""
    faults = (
        malformed_page(100, (0, 99), "c1"),
        malformed_page(10, (5,), "c2"),
        malformed_page(2, (0, 1)),
    )
    sandbox.fail_next(*(Fault.raw(body=body) for body in faults))
    odd: list[MalformedRecord] = []

    found = await collect(client.conversations.list(on_malformed=odd.append))

    assert len(found) == 98 + 9
    assert [record.index for record in odd] == [0, 99, 5, 0, 1]


async def test_malformed_records_of_a_page_can_be_reported(client, sandbox):
    """With ``on_malformed``, a single page is returned without its malformed records."""
    sandbox.fail_next(Fault.raw(body=malformed_page()))
    odd: list[MalformedRecord] = []

    page = await client.conversations.page(on_malformed=odd.append)

    assert len(page) == 99
    assert [record.id for record in odd] == ["id-57"]


async def test_another_shape_is_an_error(client, sandbox):
    """A JSON reply of another shape raises an error that has its bytes, and is not retried."""
    sandbox.fail_next(Fault.raw(body=b'{"conversations": []}'))

    with pytest.raises(DecodeError) as caught:
        await client.conversations.page()

    assert caught.value.raw == b'{"conversations": []}'
    assert len(sandbox.log.requests) == 1


# Leaving early


async def leave_by(how: str, conversations: Conversations, prefetch: int) -> None:
    """Stop a walk in the middle of its second page, in one of several ways."""
    count = 0
    walk = aiter(conversations.list(page_size=10, prefetch=prefetch))
    async with aclosing(walk):
        async for _ in walk:
            count += 1
            if count == 15 and how == "break":
                break
            if count == 15 and how == "raise":
                raise LookupError
            if count == 15 and how == "close":
                await walk.aclose()
            if count == 15 and how == "throw":
                await walk.athrow(LookupError)


@pytest.mark.parametrize("how", ["break", "raise", "close", "throw"])
@pytest.mark.parametrize("prefetch", [0, 1])
async def test_a_walk_can_be_left_at_any_item(client, sandbox, how, prefetch):
    """After a break, an exception or a close, no task and no busy connection remains.

    At most one page was fetched for nothing. Without prefetch, none was.
    """
    for _ in range(5):
        try:
            await leave_by(how, client.conversations, prefetch)
        except LookupError:
            assert how in {"raise", "throw"}

    await let_tasks_end(but="RequestHandler")
    assert 10 <= len(sandbox.log.requests) <= 10 + 5 * prefetch
    assert sandbox.log.open_connections <= 1
    # A cancelled request closes its connection.
    assert sandbox.log.connections <= 1 + 5 * prefetch


@pytest.mark.parametrize("how", ["page", "inbox"])
async def test_a_page_says_which_inbox_it_is_of(client, sandbox, how):
    """The ``inbox_id`` of a page is the requested inbox, or None."""
    inbox = sandbox.inbox_ids[0] if how == "inbox" else None

    assert (await client.conversations.page(inbox_id=inbox)).inbox_id == inbox


@pytest.mark.parametrize("steps", range(0, 80, 2))
def test_cancelled_at_any_step_of_a_script(steps):
    """If a walk is cancelled at any step, it releases its slot and leaves no task behind."""

    async def main() -> None:
        script = [page_reply(["1"], "c1"), reply(503), page_reply(["2"], "c2"), page_reply(["3"])]
        transport = ScriptedTransport(itertools.cycle(script), latency=0.01)
        pipeline = Pipeline(make_config(concurrency=1), Limiter(RateLimit(6000, per=6)), transport)
        conversations = Conversations(pipeline, Inboxes(pipeline).list)
        task = asyncio.create_task(collect(conversations.list()))
        for _ in range(steps):
            await asyncio.sleep(0.005 if steps % 4 else 0)
        task.cancel()
        await asyncio.wait([task])
        assert transport.under_way == 0
        assert pipeline._concurrency._taken == 0
        assert len(await conversations.page()) == 1

    run_virtual(main())


@pytest.mark.parametrize("steps", range(0, 120, 3))
async def test_cancelled_at_any_step_of_the_loop(steps):
    """If a walk is cancelled during a real request, the client remains usable."""
    async with (
        Sandbox(conversations=30, quota=None) as sandbox,
        make_client(sandbox, concurrency=1) as client,
    ):
        await cancelled_after(steps, collect(client.conversations.list(page_size=10)))
        assert client._pipeline._concurrency._taken == 0
        assert len(await collect(client.conversations.list(page_size=10))) == 30
        assert sandbox.log.open_connections <= 1


async def test_many_walks_cancelled_together(client, sandbox):
    """If twenty walks are cancelled together, they release all slots."""
    async with asyncio.TaskGroup() as group:
        listing = client.conversations.list(page_size=1)
        tasks = [group.create_task(listing.collect()) for _ in range(20)]
        await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()

    assert all(task.cancelled() for task in tasks)
    assert client._pipeline._concurrency._taken == 0
    assert len(await client.conversations.page()) == 100


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_the_middle_of_a_walk(error):
    """Ctrl-C in the body of a loop ends the program, without a warning or a leaked task."""

    async def main() -> None:
        async with Sandbox(conversations=30, quota=None) as sandbox, make_client(sandbox) as client:
            async for _ in client.conversations.list(page_size=10):
                raise error

    with asyncio.Runner() as runner, pytest.raises(error):
        runner.run(main())


async def test_a_walk_that_failed_is_over(client, sandbox):
    """After a walk has raised an error, its iterator ends and does not start again."""
    sandbox.fail_next(Fault.ok(), Fault.status(401))
    walk = client.conversations.list().pages()
    await anext(walk)
    with pytest.raises(CekatError):
        await anext(walk)

    with pytest.raises(StopAsyncIteration):
        await anext(walk)
