"""``since`` and ``until`` over sockets: the requests that they save, and their failures."""

from datetime import UTC, datetime, timedelta
from itertools import takewhile

import msgspec
import pytest
from support.clock import cancelled_after
from support.parts import collect_ids, make_client

from cekat_async import AuthenticationError, MalformedRecordError, NotFoundError, Position
from cekat_async.sandbox import Dialect, Fault, Sandbox
from cekat_async.sandbox.data.timeline import NEWEST

LATEST = datetime.fromtimestamp(NEWEST / 1000, UTC)
MILLION = 1_000_000


def list_active(sandbox, since, until=LATEST):
    """Return the ids of a range according to the sandbox, the last active first."""
    first, last = (round(bound.timestamp() * 1000) for bound in (since, until))
    rows = sandbox._listing.rows(after=(last + 1, ""))
    return [id_ for _, id_, _ in takewhile(lambda row: row[0] >= first, rows)]


def sent(sandbox):
    return len(sandbox.log.requests)


async def test_the_last_days_of_a_million_conversations():
    """The walk sends the requests for these days and at most two more."""
    async with Sandbox(MILLION, quota=None) as sandbox, make_client(sandbox) as client:
        for days in (3, 1, 0.05):
            since = LATEST - timedelta(days=days)
            wanted, before = list_active(sandbox, since), sent(sandbox)

            found = [c.id async for c in client.conversations.list(since=since)]

            assert found[: len(wanted)] == wanted
            assert len(found) < len(wanted) + 100
            assert sent(sandbox) - before <= -(-len(wanted) // 100) + 2


@pytest.mark.parametrize("way", ["records", "raw", "tracked"])
async def test_three_days_in_the_middle_of_a_million_conversations(way):
    """One request finds the format of cursors. Then the walk begins near ``until``."""
    async with Sandbox(MILLION, quota=None) as sandbox, make_client(sandbox) as client:
        since, until = LATEST - timedelta(days=400), LATEST - timedelta(days=397)
        wanted = {*list_active(sandbox, since, until)}
        listing = client.conversations.list(since=since, until=until)
        before = sent(sandbox)
        if way == "tracked":
            pages = listing.tracked_pages({None: Position()})
        else:
            pages = listing.raw_pages() if way == "raw" else listing.pages()

        found = [id_ async for page in pages for id_ in page.ids]

        assert wanted <= {*found}
        assert len(found) <= len(wanted) + 200
        assert sent(sandbox) - before <= -(-len(wanted) // 100) + 3


async def test_segments_share_a_range_of_a_million_conversations():
    """Several walkers read the range and nothing before or after it."""
    async with Sandbox(MILLION, quota=None) as sandbox, make_client(sandbox) as client:
        since, until = LATEST - timedelta(days=40), LATEST - timedelta(days=20)
        wanted = {*list_active(sandbox, since, until)}

        listing = client.conversations.list(since=since, until=until, segments=6)
        found = [c.id async for c in listing]

        assert wanted <= {*found}
        assert len(found) == len({*found}) <= len(wanted) + 200
        assert sent(sandbox) <= 1.2 * len(wanted) / 100 + 10


async def test_each_inbox_is_bounded():
    """With ``across``, only the range of every inbox is read."""
    async with Sandbox(20_000, inboxes=5, quota=None) as sandbox, make_client(sandbox) as client:
        since = LATEST - timedelta(days=1)

        pages = [page async for page in client.conversations.across(since=since).pages()]

        assert {*list_active(sandbox, since)} <= {id_ for page in pages for id_ in page.ids}
        assert {page.inbox_id for page in pages} == {*sandbox.inbox_ids}
        assert sent(sandbox) < 5 * 2 + 1 + 10


async def test_raw_pages_hold_the_same_records():
    """Raw pages have the same records as pages, byte for byte, for any timestamps."""
    dialect = Dialect(timestamps="space", collections_null=0.3)
    async with (
        Sandbox(5_000, quota=None, dialect=dialect) as sandbox,
        make_client(sandbox) as client,
    ):
        since, until = LATEST - timedelta(days=2), LATEST - timedelta(days=1)
        listing = client.conversations.list(since=since, until=until)

        decoded = [bytes(record) async for page in listing.pages() for record in page.raw]
        undecoded = [record async for page in listing.raw_pages() for record in page.lines]

        assert decoded == undecoded
        assert {msgspec.json.decode(record)["id"] for record in decoded} >= {
            *list_active(sandbox, since, until)
        }


async def test_take_reads_no_more_than_it_needs():
    """To take the first conversations of a range, only its first pages are read."""
    async with Sandbox(5_000, quota=None) as sandbox, make_client(sandbox) as client:
        listing = client.conversations.list(since=LATEST - timedelta(days=2))

        assert len(await listing.take(150)) == 150
        assert sent(sandbox) == 2


async def test_a_walk_is_resumed_at_the_cursor_of_an_error():
    """A walk from that cursor with the same bounds yields the rest of the range."""
    async with Sandbox(5_000, quota=None) as sandbox, make_client(sandbox) as client:
        bounds = {"since": LATEST - timedelta(days=3), "until": LATEST - timedelta(days=1)}
        whole = [c.id for c in await client.conversations.list(**bounds).collect()]
        sandbox.fail_next(*[Fault.ok()] * 6, Fault.status(404))
        found = []

        with pytest.raises(NotFoundError) as raised:
            await collect_ids(client.conversations.list(**bounds), found)
        rest = client.conversations.list(cursor=raised.value.cursor, **bounds)
        found += [c.id async for c in rest]

        assert found == whole


async def test_a_walk_from_a_cursor_that_is_too_old_reads_on():
    """Only a walk that reads everything reaches such a cursor, so the walk has no reason to end."""
    dialect = Dialect(order="created")
    async with (
        Sandbox(1_000, quota=None, dialect=dialect) as sandbox,
        make_client(sandbox) as client,
    ):
        since = LATEST - timedelta(hours=5)
        pages = [page async for page in client.conversations.list().pages()]
        whole = await client.conversations.list(since=since).collect()
        rest = [
            await client.conversations.list(
                since=since, cursor=pages[5].next_cursor, segments=segments
            ).collect()
            for segments in (1, 2)
        ]

        late = {c.id for page in pages[6:] for c in page}
        assert {c.id for c in whole} & late
        assert {c.id for c in whole} & late <= {c.id for c in rest[0]}
        assert {c.id for c in whole} & late <= {c.id for c in rest[1]}


@pytest.mark.parametrize("segments", [1, 3])
async def test_a_failure_of_a_constructed_cursor_is_no_error(segments, caplog):
    """After any error status for the constructed cursor, the walk warns and begins at the front."""
    async with Sandbox(2_000, quota=None) as sandbox, make_client(sandbox) as client:
        sandbox.fail_next(Fault.ok(), Fault.status(404))
        until = LATEST - timedelta(days=1)

        found = await client.conversations.list(until=until, segments=segments).collect()

        wanted = {*list_active(sandbox, LATEST - timedelta(days=99), until)}
        assert wanted <= {c.id for c in found}
        assert "falling back to a walk from the front" in caplog.text


@pytest.mark.parametrize("segments", [1, 3])
async def test_a_failure_of_any_request_is_an_error(segments):
    """If the key is revoked at the constructed cursor, the walk can be resumed from the front."""
    async with Sandbox(2_000, quota=None) as sandbox, make_client(sandbox) as client:
        sandbox.fail_next(Fault.ok(), Fault.status(401))
        until = LATEST - timedelta(days=1)

        with pytest.raises(AuthenticationError) as raised:
            await client.conversations.list(until=until, segments=segments).collect()

        assert raised.value.cursor is None


async def test_a_malformed_record_is_reported_with_its_page():
    """Malformed records on the last page of the range are reported too."""
    async with Sandbox(1_000, quota=None) as sandbox, make_client(sandbox) as client:
        since = LATEST - timedelta(hours=6)
        pages = [page async for page in client.conversations.list(since=since).pages()]
        body = pages[-1].body.replace(b'{"data":[', b'{"data":[7,', 1)
        body = body.replace(b'"data":[{', b'"data":[7,{', 1) if b"[7," not in body else body
        broken = Fault.raw(body=body)
        sandbox.fail_next(*[Fault.ok()] * (len(pages) - 1), broken)
        found = []

        with pytest.raises(MalformedRecordError):
            await collect_ids(client.conversations.list(since=since), found)
        assert found == [c.id for page in pages for c in page]

        sandbox.fail_next(*[Fault.ok()] * (len(pages) - 1), broken)
        malformed = []
        listing = client.conversations.list(since=since, on_malformed=malformed.append)
        assert [c.id async for c in listing] == found
        assert [record.raw for record in malformed] == [b"7"]


@pytest.mark.parametrize("segments", [1, 3])
async def test_a_walk_that_is_left_leaves_nothing_behind(segments):
    """A break or a cancellation ends all tasks, even while the walk looks for its start."""
    async with Sandbox(3_000, quota=None) as sandbox, make_client(sandbox) as client:
        bounds = {"since": LATEST - timedelta(days=3), "until": LATEST - timedelta(days=1)}
        listing = client.conversations.list(segments=segments, **bounds)
        async for _ in listing:
            break
        for turns in (1, 5, 20, 60):
            await cancelled_after(turns, listing.collect())

        await listing.aclose()


async def test_a_range_without_a_conversation():
    """For a range before the first or after the last conversation, few pages are read."""
    async with Sandbox(20_000, quota=None) as sandbox, make_client(sandbox) as client:
        late = client.conversations.list(since=LATEST + timedelta(days=1))
        assert len(await late.collect()) <= 100
        assert sent(sandbox) == 2

        ancient = datetime(2001, 1, 1, tzinfo=UTC)
        early = client.conversations.list(since=ancient, until=ancient + timedelta(days=1))
        assert await early.collect() == []


@pytest.mark.parametrize("order", ["activity", "created"])
@pytest.mark.parametrize("segments", [1, 3])
async def test_a_range_from_a_cursor(order, segments):
    """Nothing before the cursor is yielded, even if all of the rest is read."""
    dialect = Dialect(order=order)
    async with (
        Sandbox(3_000, quota=None, dialect=dialect) as sandbox,
        make_client(sandbox) as client,
    ):
        pages = [page async for page in client.conversations.list().pages()]
        bounds = {"since": LATEST - timedelta(days=2), "until": LATEST - timedelta(hours=9)}

        found = await client.conversations.list(
            cursor=pages[1].next_cursor, segments=segments, **bounds
        ).collect()

        before = {id_ for page in pages[:2] for id_ in page.ids}
        assert not before & {c.id for c in found}
        if order == "activity":
            assert {*list_active(sandbox, **bounds)} - before <= {c.id for c in found}


async def test_raw_records_that_cannot_be_decoded():
    """The activity of malformed records is unknown, so the range's pages keep these records."""
    async with Sandbox(1_000, quota=None) as sandbox, make_client(sandbox) as client:
        since = LATEST - timedelta(hours=6)
        page = await client.conversations.page()
        odd = [b'{"id":"a","created_at":NaN}', b"7", b'{"id":"b","last_message":[1]}']
        body = page.body.replace(b'"data":[', b'"data":[' + b",".join(odd) + b",", 1)
        sandbox.fail_next(Fault.raw(body=body))

        found = [r async for p in client.conversations.list(since=since).raw_pages() for r in p.raw]

        assert [bytes(record) for record in found[:3]] == odd


async def test_pages_that_are_too_large_to_look_at():
    """Raw pages of several megabytes are not decoded.

    The walk keeps them completely and continues.
    """
    async with Sandbox(900, quota=None) as sandbox, make_client(sandbox) as client:
        page = await client.conversations.page()
        large = b'"data":[{"id":"large","notes":"%s"},' % (b"x" * 3_000_000)
        body = page.body.replace(b'"data":[', large, 1)
        sandbox.fail_next(Fault.raw(body=body))

        listing = client.conversations.list(since=LATEST - timedelta(hours=1))
        pages = [page async for page in listing.raw_pages()]

        assert [len(page) for page in pages] == [101]
        assert sent(sandbox) == 3
