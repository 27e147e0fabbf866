"""Cursors over HTTP, among them cursors that the server never issued."""

from __future__ import annotations

import msgspec
import pytest

from cekat_async.sandbox import Dialect, Sandbox

WAYS = ("honour", "ignore", "reject", "by_id")
TS = "2026-04-10T09:51:19.885"


def make_sandbox(way, **options):
    return Sandbox(60, 4, quota=None, dialect=Dialect(made_up_cursors=way, **options))


def get_ids(sandbox):
    return [id_ for id_, _ in sandbox.records()]


def read_invalid_fields(status, body):
    """Return the fields that a validation error names."""
    reply = msgspec.json.decode(body)
    assert (status, reply["error"]["code"]) == (400, "VALIDATION_ERROR")
    return [detail["field"] for detail in reply["error"]["details"]]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("options", [{}, {"order": "ascending"}, {"tie": 9}, {"end": "echo"}])
async def test_issued_cursors_work_in_every_way(calling, way, options):
    """A walk along the server's own cursors returns everything once, with and without a filter."""
    async with make_sandbox(way, **options) as sandbox, calling(sandbox) as caller:
        assert await caller.ids(limit=7) == get_ids(sandbox)
        inbox = sandbox.inbox_ids[0]
        assert len(await caller.ids(limit=7, inbox_id=inbox)) == sandbox.count(inbox)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("has, misses", [("cursor_id", "cursor_ts"), ("cursor_ts", "cursor_id")])
async def test_half_a_cursor_is_refused_in_every_way(calling, way, has, misses):
    """One parameter without the other gets a 400 that names the missing one."""
    async with make_sandbox(way) as sandbox, calling(sandbox) as caller:
        status, _, body = await caller.get(**{has: TS})
        assert read_invalid_fields(status, body) == [misses]


async def make_cursors(caller):
    """Return cursors that no server of this account has issued, most of them real positions."""
    _, *rows = (await caller.page(limit=3))["data"]
    handed = (await caller.page(limit=2))["metadata"]["next_cursor"]
    id_, ts = handed["cursor_id"], handed["cursor_ts"]
    return [
        (rows[0]["id"], TS),
        ("", ts),
        (id_, ts + "+00:00"),
        (id_, ts.replace("T", " ")),
        (id_.upper(), ts),
        ("any", "yesterday"),
        (ts, id_),
    ]


async def test_ignored_cursors_give_the_front_page(calling):
    """A cursor that the server never issued in this form gets the same page as no cursor."""
    async with make_sandbox("ignore") as sandbox, calling(sandbox) as caller:
        for filters in ({}, {"inbox_id": sandbox.inbox_ids[0]}, {"stage_status": "assigned"}):
            front = await caller.get(limit=5, **filters)
            for id_, ts in await make_cursors(caller):
                got = await caller.get(limit=5, cursor_id=id_, cursor_ts=ts, **filters)
                assert (got[0], got[2]) == (200, front[2]), (id_, ts)


async def test_an_ignored_cursor_is_not_echoed(calling):
    """An empty front page has null cursors, whatever unknown cursor was sent."""
    async with make_sandbox("ignore", end="echo") as sandbox, calling(sandbox) as caller:
        page = await caller.page(inbox_id="nobody", cursor_id="any", cursor_ts=TS)
        assert page["metadata"] == {"next_cursor": {"cursor_id": None, "cursor_ts": None}}


async def test_rejected_cursors_get_the_validation_error(calling):
    """A cursor that the server never issued in this form gets a 400 for ``cursor_id``."""
    async with make_sandbox("reject") as sandbox, calling(sandbox) as caller:
        for id_, ts in await make_cursors(caller):
            status, _, body = await caller.get(cursor_id=id_, cursor_ts=ts)
            assert read_invalid_fields(status, body) == ["cursor_id"], (id_, ts)


async def test_a_cursor_is_remembered_for_good_and_by_one_sandbox(calling):
    """An old cursor always works, but another sandbox does not know it."""
    async with (
        make_sandbox("reject") as one,
        make_sandbox("reject") as two,
        calling(one) as first,
        calling(two) as second,
    ):
        cursor = (await first.page(limit=5))["metadata"]["next_cursor"]
        await first.ids(limit=5)
        for _ in range(2):
            assert (await first.page(limit=1, **cursor))["data"][0]["id"] == get_ids(one)[5]
        status, _, body = await second.get(**cursor)
        assert read_invalid_fields(status, body) == ["cursor_id"]


@pytest.mark.parametrize("rows", ["activity", "created", "ascending"])
async def test_by_id_the_timestamp_does_not_count(calling, rows):
    """The walk continues after the row with that id, whatever ``cursor_ts`` is."""
    async with make_sandbox("by_id", order=rows) as sandbox, calling(sandbox) as caller:
        ids = get_ids(sandbox)
        for ts in (TS, "1999-01-01T00:00:00", "yesterday", ""):
            page = await caller.page(limit=2, cursor_id=ids[20], cursor_ts=ts)
            assert [row["id"] for row in page["data"]] == ids[21:23]


async def test_by_id_an_unknown_id_is_refused(calling):
    """The id of an unknown or deleted conversation gets a 400 for ``cursor_id``."""
    async with make_sandbox("by_id") as sandbox, calling(sandbox) as caller:
        gone = get_ids(sandbox)[20]
        sandbox.delete(gone)
        for id_ in (gone, gone.upper(), "", "any", "00000000-0000-4000-8000-000000000000"):
            status, _, body = await caller.get(cursor_id=id_, cursor_ts=TS)
            assert read_invalid_fields(status, body) == ["cursor_id"]


async def test_by_id_a_walk_continues_from_the_current_position_of_its_row(calling):
    """If the cursor's row has moved to the front, the walk continues from the front."""
    async with make_sandbox("by_id") as sandbox, calling(sandbox) as caller:
        ids = get_ids(sandbox)
        cursor = (await caller.page(limit=20))["metadata"]["next_cursor"]
        sandbox.touch(ids[19])
        page = await caller.page(limit=3, **cursor)
        assert [row["id"] for row in page["data"]] == ids[:3]
        new = sandbox.create()
        page = await caller.page(limit=2, cursor_id=new, cursor_ts=TS)
        assert [row["id"] for row in page["data"]] == [ids[19], ids[0]]


@pytest.mark.parametrize("way", ["honour", "ignore", "reject"])
async def test_a_moved_row_leaves_its_cursor_where_it_was(calling, way):
    """An issued cursor is a position and does not move with its row."""
    async with make_sandbox(way) as sandbox, calling(sandbox) as caller:
        ids = get_ids(sandbox)
        cursor = (await caller.page(limit=20))["metadata"]["next_cursor"]
        sandbox.touch(ids[19])
        page = await caller.page(limit=3, **cursor)
        assert [row["id"] for row in page["data"]] == ids[20:23]


async def test_cursors_are_remembered_only_where_it_matters(calling):
    """The sandbox stores issued cursors only in dialects that treat other cursors differently."""
    for way in WAYS:
        async with make_sandbox(way) as sandbox, calling(sandbox) as caller:
            await caller.ids(limit=7)
            remembered = len(sandbox._handler._api._cursors._issued)
            assert remembered == (60 // 7 if way in {"ignore", "reject"} else 0)
