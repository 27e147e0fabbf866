"""The API over sockets: authentication, validation, pages, cursors, inboxes and errors."""

from __future__ import annotations

import msgspec
import pytest

from cekat_async.sandbox import Dialect, Sandbox

NOWHERE = {"next_cursor": {"cursor_id": None, "cursor_ts": None}}


@pytest.fixture
async def sandbox():
    async with Sandbox(250, 5, quota=None) as sandbox:
        yield sandbox


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer wrong", "Basic {key}", "{key}", "Bearer {key}x", "Bearer  "]
)
@pytest.mark.parametrize("path", ["/api/conversations?limit=0", "/api/inboxes", "/nowhere"])
async def test_a_wrong_key_gets_a_401(sandbox, caller, header, path):
    """A wrong key gets the documented 401, before any other check."""
    given = {"Authorization": header.format(key=sandbox.api_key)}
    status, headers, body = await caller.get(path, headers=given)
    assert status == 401
    assert headers["Content-Type"].startswith("application/json")
    assert msgspec.json.decode(body) == {
        "success": False,
        "status_code": 401,
        "error": {"message": "Not authenticated"},
    }
    assert not sandbox.log.requests[-1].authorized


async def test_only_the_configured_key_works(calling):
    """``api_key`` replaces the default key."""
    async with Sandbox(3, api_key="mine") as sandbox:
        for key, status in (("mine", 200), (Sandbox().api_key, 401)):
            async with calling(sandbox, key=key) as caller:
                assert (await caller.get())[0] == status


async def test_a_page_is_ten_of_the_newest_and_a_cursor(sandbox, caller):
    """Without parameters, a page has the ten newest records and a cursor to the last of them."""
    page = await caller.page()
    newest = list(sandbox.records())[:10]
    assert page == {
        "success": True,
        "data": [msgspec.json.decode(raw) for _, raw in newest],
        "metadata": {"next_cursor": page["metadata"]["next_cursor"]},
    }
    cursor = page["metadata"]["next_cursor"]
    assert cursor["cursor_id"] == newest[-1][0]
    assert cursor["cursor_ts"] > page["data"][-1]["last_message"]["created_at"]


async def test_records_are_sent_byte_for_byte(sandbox, caller):
    """The server sends exactly the bytes that ``records()`` returns."""
    _, headers, body = await caller.get(limit=100)
    raws = [raw for _, raw in sandbox.records()][:100]
    assert body.startswith(b'{"success":true,"data":[' + b",".join(raws) + b'],"metadata":')
    assert headers["Content-Type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize("limit", [1, 7, 50, 100])
async def test_a_walk_sees_everything_once(sandbox, caller, limit):
    """Following cursors yields every conversation once, in order, in full pages."""
    pages = [page async for page in caller.walk(limit=limit)]
    assert [row["id"] for page in pages for row in page] == [id_ for id_, _ in sandbox.records()]
    assert {len(page) for page in pages[:-1]} == {limit}


async def test_filters_choose_and_combine(sandbox, caller):
    """``inbox_id`` and ``stage_status`` filter alone and together."""
    rows = [msgspec.json.decode(raw) for _, raw in sandbox.records()]
    inbox = sandbox.inbox_ids[1]
    for query in (
        {"inbox_id": inbox},
        {"stage_status": "open"},
        {"inbox_id": inbox, "stage_status": "assigned"},
    ):
        expected = [row["id"] for row in rows if query.items() <= row.items()]
        assert expected
        assert await caller.ids(limit=9, **query) == expected
        assert sandbox.count(**query) == len(expected)


@pytest.mark.parametrize(
    "query", [{"inbox_id": "nobody"}, {"inbox_id": ""}, {"stage_status": "gone"}]
)
async def test_an_unknown_filter_value_finds_nothing(sandbox, caller, query):
    """An unknown filter value is no error: the first page is empty and is also the last one."""
    assert await caller.page(**query) == {"success": True, "data": [], "metadata": NOWHERE}
    assert sandbox.count(**query) == 0


async def test_unknown_parameters_are_ignored_and_repeated_ones_count_once(caller):
    """Parameters such as ``page`` have no effect, and a repeated parameter counts once."""
    plain = await caller.get("/api/conversations?limit=3")
    assert (await caller.get("/api/conversations?limit=3&page=9&x=%ff"))[2] == plain[2]
    assert (await caller.get("/api/conversations?limit=3&limit=5"))[2] == plain[2]


@pytest.mark.parametrize(
    "query, field",
    [
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=1.5", "limit"),
        ("limit=", "limit"),
        ("limit=%2B5", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("limit=\u0665", "limit"),
        ("cursor_id=x", "cursor_ts"),
        ("cursor_ts=2026-04-10T09:51:19.885", "cursor_id"),
        ("cursor_id=x&cursor_ts=yesterday", "cursor_ts"),
        ("cursor_id=x&cursor_ts=", "cursor_ts"),
        ("cursor_id=x&cursor_ts=1775814679885", "cursor_ts"),
        ("cursor_id=x&cursor_ts=0001-01-01T00:00:00%2B23:00", None),
    ],
)
async def test_bad_parameters_get_the_validation_error(caller, query, field):
    """The 400 names the field. An extreme but valid timestamp is no error."""
    status, _, body = await caller.get(f"/api/conversations?{query}")
    if field is None:
        assert status == 200
        return
    reply = msgspec.json.decode(body)
    assert status == 400
    assert reply["success"] is False
    assert reply["error"]["code"] == "VALIDATION_ERROR"
    assert [detail["field"] for detail in reply["error"]["details"]] == [field]
    assert reply["error"]["details"][0]["message"]


async def test_constructed_cursors_are_positions(sandbox, caller):
    """A timestamp of any valid format, together with any id, is a position."""
    rows = [id_ for id_, _ in sandbox.records()]
    fifth = (await caller.page(limit=5))["metadata"]["next_cursor"]
    ts = fifth["cursor_ts"]
    for id_, cursor_ts, first in (
        (rows[4], ts, rows[5]),
        ("", ts, rows[5]),
        ("zzz", ts, rows[4]),
        ("zzz", ts + "+00:00", rows[4]),
        ("", ts + "001", rows[4]),
        ("", ts.replace("T", " "), rows[5]),
        ("any", "2030-01-01", rows[0]),
    ):
        page = await caller.page(limit=1, cursor_id=id_, cursor_ts=cursor_ts)
        assert page["data"][0]["id"] == first, (id_, cursor_ts)
    assert (await caller.page(cursor_id="any", cursor_ts="1999-01-01T00:00:00"))["data"] == []


async def test_inboxes_come_in_numbered_pages(sandbox, caller):
    """A page has ten inboxes by default, with totals, and pages after the last one are empty."""
    _, _, body = await caller.get("/api/inboxes")
    raws = [raw for _, raw in sandbox.inbox_records()]
    assert body.startswith(b'{"success":true,"data":[' + b",".join(raws) + b"]")
    for page, shown in ((1, 2), (3, 1), (4, 0)):
        _, _, body = await caller.get("/api/inboxes", page=page, limit=2)
        reply = msgspec.json.decode(body)
        assert len(reply["data"]) == shown
        assert reply["metadata"] == {
            "pagination": {"total_page": 3, "total_items": 5, "current_page": page}
        }


async def test_inbox_pages_have_limits(calling):
    """The default page size is 10, the maximum is 100, and invalid values are refused."""
    async with Sandbox(200, 130) as sandbox, calling(sandbox) as caller:
        for query, shown in (({}, 10), ({"limit": 100}, 100), ({"limit": 500}, 100)):
            _, _, body = await caller.get("/api/inboxes", **query)
            assert len(msgspec.json.decode(body)["data"]) == shown
        for query in ({"page": 0}, {"page": "x"}, {"limit": 0}):
            assert (await caller.get("/api/inboxes", **query))[0] == 400


async def test_a_forbidden_inbox_gets_a_403_until_it_is_allowed_again(sandbox, caller):
    """Only requests for the forbidden inbox are refused.

    The listing of all conversations still contains the inbox's conversations.
    """
    first, second, *_ = sandbox.inbox_ids
    sandbox.forbid(first)
    status, _, body = await caller.get(inbox_id=first)
    assert (status, msgspec.json.decode(body)["error"]["code"]) == (403, "FORBIDDEN")
    assert len(await caller.ids(inbox_id=second)) == sandbox.count(second)
    assert len(await caller.ids(limit=100)) == sandbox.count()
    sandbox.forbid()
    assert len(await caller.ids(inbox_id=first)) == sandbox.count(first)


async def test_unknown_paths_and_methods_are_refused(sandbox, caller):
    """An unknown path gets a 404, and an unsupported method a 405 with ``Allow``."""
    status, _, body = await caller.get("/api/conversation")
    assert (status, msgspec.json.decode(body)["error"]["code"]) == (404, "NOT_FOUND")
    async with caller.session.post("/api/conversations", data=b"{}") as reply:
        assert (reply.status, reply.headers["Allow"]) == (405, "GET")
        assert (await reply.json())["success"] is False


async def test_every_reply_carries_an_id_and_a_date(calling):
    """Request ids differ from request to request and are the same in every run."""
    runs = []
    for _ in range(2):
        async with Sandbox(5) as sandbox, calling(sandbox) as caller:
            runs.append([(await caller.get(limit=limit))[1] for limit in (1, 0)])
    ids = [[headers["X-Request-Id"] for headers in run] for run in runs]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 2
    assert all(headers["Date"].endswith("GMT") for run in runs for headers in run)


@pytest.mark.parametrize("over, status", [("clamp", 200), ("reject", 400)])
async def test_more_than_the_maximum_is_lowered_or_refused(calling, over, status):
    """``over_limit`` decides the reply to a limit of 101."""
    async with (
        Sandbox(300, dialect=Dialect(over_limit=over)) as sandbox,
        calling(sandbox) as caller,
    ):
        for limit, expected in ((100, 200), (101, status)):
            got, _, body = await caller.get(limit=limit)
            assert got == expected
            if got == 200:
                assert len(msgspec.json.decode(body)["data"]) == 100
