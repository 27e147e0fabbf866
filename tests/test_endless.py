"""Walks of endless listings over sockets end, in each way to read a listing."""

import json
from datetime import datetime, timedelta
from typing import get_args
from urllib.parse import parse_qs

import pytest
from support.parts import collect, make_client
from support.rawserver import RawServer, http

from cekat_async import CekatError, PaginationError, Position, RawPage
from cekat_async.pages import Page
from cekat_async.sandbox import Dialect, Sandbox
from cekat_async.sandbox.options import EndlessTimes

PAGES = 4
CONVERSATIONS = 40


async def until_error(items) -> tuple[list, CekatError | None]:
    """Read an async iterator until it raises. Return the items before the error, and the error."""
    found: list = []
    try:
        async for one in items:
            found.append(one)  # noqa: PERF401 - a comprehension keeps nothing when it raises
    except CekatError as error:
        return found, error
    return found, None


def get_ids(found: list) -> list[str]:
    """Return the ids of records in order. ``found`` has conversations, inboxes or pages."""
    ids = []
    for one in found:
        if isinstance(one, RawPage):
            ids += [json.loads(line)["id"] for line in one.lines]
        else:
            ids += [item.id for item in one] if isinstance(one, Page) else [one.id]
    return ids


# Each way to read all conversations, with the number of listings that it walks.
WAYS = {
    "list": (lambda cekat, inboxes: cekat.conversations.list(page_size=10), 1),
    "no prefetch": (lambda cekat, inboxes: cekat.conversations.list(page_size=10, prefetch=0), 1),
    "pages": (lambda cekat, inboxes: cekat.conversations.list(page_size=10, prefetch=3).pages(), 1),
    "raw_pages": (lambda cekat, inboxes: cekat.conversations.list(page_size=10).raw_pages(), 1),
    "segments": (lambda cekat, inboxes: cekat.conversations.list(page_size=10, segments=4), 1),
    "across": (
        lambda cekat, inboxes: cekat.conversations.across(inboxes, page_size=10, keep_going=True),
        2,
    ),
    "across in segments": (
        lambda cekat, inboxes: cekat.conversations.across(
            inboxes, page_size=10, keep_going=True, segments=3
        ).pages(),
        2,
    ),
    "tracked_pages": (
        lambda cekat, inboxes: cekat.conversations.list(page_size=10, segments=8).tracked_pages({}),
        1,
    ),
    "tracked_pages of inboxes": (
        lambda cekat, inboxes: cekat.conversations.across(
            inboxes, page_size=10, concurrency=1, keep_going=True
        ).tracked_pages(dict.fromkeys(inboxes, Position())),
        2,
    ),
}


@pytest.mark.parametrize(
    "endless, times",
    [("empty", "still"), ("empty", "unreadable"), ("repeat", "still"), ("cycle", "advance")],
)
@pytest.mark.parametrize("way", WAYS)
async def test_it_ends_however_it_is_read(way, endless, times):
    """A walk yields everything, and raises PaginationError after a bounded number of requests."""
    read, listings = WAYS[way]
    dialect = Dialect(endless=endless, endless_times=times)
    async with (
        Sandbox(CONVERSATIONS, 2, quota=None, cache=1000, dialect=dialect) as sandbox,
        make_client(sandbox) as cekat,
    ):
        found, error = await until_error(read(cekat, sandbox.inbox_ids))

        assert set(get_ids(found)) == {id_ for id_, _ in sandbox.records()}
        # The bound includes prefetched pages and the pages of segments without results.
        assert len(sandbox.log.requests) <= PAGES + listings * (50 + 10)
    errors = getattr(error, "errors", [error])
    assert [type(one) for one in errors] == [PaginationError] * listings
    assert {one.path for one in errors} == {"/api/conversations"}


@pytest.mark.parametrize("order", ["activity", "ascending"])
@pytest.mark.parametrize("times", get_args(EndlessTimes))
@pytest.mark.parametrize(
    "endless, repeated, error",
    [
        ("empty", 0, "50 empty pages whose cursors do not advance"),
        ("repeat", 50 * 10, "50 pages in a row that it had sent before"),
    ],
)
async def test_empty_or_repeated_pages_end_whatever_their_cursors_say(
    endless, repeated, error, order, times
):
    """50 empty or repeated pages end a walk if their cursors do not advance or are implausible."""
    dialect = Dialect(endless=endless, endless_times=times, order=order)
    async with (
        Sandbox(CONVERSATIONS, 1, quota=None, cache=1000, dialect=dialect) as sandbox,
        make_client(sandbox) as cekat,
    ):
        found, raised = await until_error(cekat.conversations.list(page_size=10, prefetch=0))

        assert len(found) == CONVERSATIONS + repeated
        assert len(set(get_ids(found))) == CONVERSATIONS
        # The cursors of empty pages may advance in steps of 30 days until 2015 or tomorrow.
        advances = 8 if order == "ascending" else 137
        if times != "advance" or repeated:
            advances = 0
        assert PAGES + 50 <= len(sandbox.log.requests) <= PAGES + 50 + advances
    assert error in str(raised)


@pytest.mark.parametrize("way", ["pages", "raw_pages"])
async def test_a_cycle_of_100_pages_is_found_after_150(way):
    """If a listing starts again after 100 pages, a walk ends after 50 repeated pages."""
    dialect = Dialect(endless="cycle", unknown_fields=False)
    async with (
        Sandbox(200, 1, quota=None, dialect=dialect) as sandbox,
        make_client(sandbox) as cekat,
    ):
        listing = cekat.conversations.list(page_size=2, prefetch=0)
        pages, error = await until_error(getattr(listing, way)())

    assert isinstance(error, PaginationError)
    assert len(sandbox.log.requests) == len(pages) == 150


async def test_the_error_says_where_to_resume():
    """The error has the cursor that was not followed. A caller can resume the walk with it."""
    dialect = Dialect(endless="repeat", endless_times="advance")
    async with (
        Sandbox(CONVERSATIONS, 1, quota=None, cache=1000, dialect=dialect) as sandbox,
        make_client(sandbox) as cekat,
    ):
        _, error = await until_error(cekat.conversations.list(page_size=10))
        page = await cekat.conversations.page(limit=10, cursor=error.cursor)

    assert len(page) == 10
    assert error.cursor.cursor_id.startswith("endless-51-")
    assert str(error).endswith("Report this to the API's support (/api/conversations)")


# --- inboxes


@pytest.mark.parametrize(
    "read",
    [
        lambda cekat: cekat.inboxes.list(page_size=2),
        lambda cekat: cekat.inboxes.list(page_size=2).pages(),
    ],
    ids=["list", "pages"],
)
@pytest.mark.parametrize("endless", ["empty", "repeat", "cycle"])
async def test_inboxes_that_never_end(endless, read):
    """Each inbox is yielded once.

    After 50 pages without a new inbox, the walk raises PaginationError.
    """
    async with (
        Sandbox(0, 7, quota=None, dialect=Dialect(endless=endless)) as sandbox,
        make_client(sandbox) as cekat,
    ):
        found, error = await until_error(read(cekat))

        assert get_ids(found) == sandbox.inbox_ids
        assert len(sandbox.log.requests) == 4 + 50
    assert isinstance(error, PaginationError)
    assert "50 pages in a row had no new inboxes" in str(error)
    assert error.path == "/api/inboxes"


async def test_across_all_inboxes_of_an_endless_listing():
    """If the listing of inboxes never ends, the conversations of all inboxes are still yielded."""
    async with (
        Sandbox(CONVERSATIONS, 3, quota=None) as sandbox,
        make_client(sandbox) as cekat,
    ):
        # Only the listing of inboxes is endless.
        broken = Sandbox(CONVERSATIONS, 3, dialect=Dialect(endless="repeat"))
        sandbox._api._routes["/api/inboxes"] = broken._api._inboxes
        found, error = await until_error(cekat.conversations.across(page_size=10, concurrency=1))

        assert set(get_ids(found)) == {id_ for id_, _ in sandbox.records()}
    assert isinstance(error, PaginationError)
    assert error.path == "/api/inboxes"


# --- honest ones


BEGIN = datetime(2026, 4, 10)  # noqa: DTZ001 - as cursors have it


class Sparse:
    """A server that filters: its listing has many empty pages between two conversations."""

    def __init__(self, empty_pages: int, step: timedelta) -> None:
        self._last = empty_pages + 1
        self._step = step

    def __call__(self, head: bytes) -> bytes:
        query = parse_qs(head.split(b" ")[1].partition(b"?")[2].decode())
        behind = query.get("cursor_ts")
        number = (BEGIN - datetime.fromisoformat(behind[0])) // self._step + 1 if behind else 0
        data = [{"id": f"c-{number}"}] if number in {0, self._last} else []
        moment = (BEGIN - number * self._step).isoformat(timespec="milliseconds")
        cursor = {"cursor_id": f"{number}", "cursor_ts": moment}
        metadata = {"next_cursor": cursor if number < self._last else None}
        shown = data if number <= self._last else []
        return http(json.dumps({"success": True, "data": shown, "metadata": metadata}).encode())


WARNING = (
    "/api/conversations (page_size=10): 50 pages in a row are empty; at this rate the rest of the "
    "listing may take more than 100,000 requests. Stop the walk if that is too many"
)


@pytest.mark.parametrize("step, warnings", [(timedelta(seconds=1), [WARNING]), (timedelta(1), [])])
@pytest.mark.parametrize("way", ["list", "raw_pages", "segments", "tracked_pages"])
async def test_a_sparse_listing_is_read_to_its_end(way, step, warnings, caplog):
    """The walk continues while cursors advance.

    If the rest may take very long, one warning says so.
    """
    read, _ = WAYS[way]
    async with RawServer(Sparse(300, step)) as server, make_client(server) as cekat:
        found = await collect(read(cekat, []))

    assert set(get_ids(found)) == {"c-0", "c-301"}
    assert [record.message for record in caplog.records] == warnings


@pytest.mark.parametrize("way", ["list", "raw_pages", "segments", "tracked_pages"])
async def test_a_cursor_that_cannot_be_sent_is_not_sent(way):
    """A cursor of more than 4,096 characters is not sent.

    The walk raises after the cursor's page.
    """
    body = json.dumps(
        {
            "data": [{"id": "c-1"}],
            "metadata": {
                "next_cursor": {"cursor_id": "x" * 5000, "cursor_ts": "2026-04-10T09:51:19.885"}
            },
        }
    ).encode()
    read, _ = WAYS[way]
    async with RawServer(lambda _: http(body)) as server, make_client(server) as cekat:
        found, error = await until_error(read(cekat, []))

        assert len(server.heads) == 1
    assert isinstance(error, PaginationError)
    assert "a cursor of 5,000 characters" in str(error)
    assert len(str(error)) < 200
    assert get_ids(found) == ["c-1"]
