"""Dialects: the ways in which the real server may behave."""

from __future__ import annotations

import gzip
import re
import zlib

import msgspec
import pytest

from cekat_async.sandbox import Dialect, Sandbox
from cekat_async.sandbox.http.delivery import compress_body

NULLS = {"next_cursor": {"cursor_id": None, "cursor_ts": None}}


@pytest.mark.parametrize(
    "end, rest",
    [
        ("null_pair", {"metadata": NULLS}),
        ("null_cursor", {"metadata": {"next_cursor": None}}),
        ("missing_cursor", {"metadata": {}}),
        ("null_metadata", {"metadata": None}),
        ("missing_metadata", {}),
    ],
)
@pytest.mark.parametrize("limit", [10, 12])
async def test_the_last_page_ends_the_walk(calling, end, rest, limit):
    """The last page, full or not, ends the listing in the way that the dialect defines."""
    async with Sandbox(20, dialect=Dialect(end=end)) as sandbox, calling(sandbox) as caller:
        first = await caller.page(limit=limit)
        last = await caller.page(limit=limit, **first["metadata"]["next_cursor"])
        assert len(last.pop("data")) == 20 - limit
        assert last == {"success": True, **rest}
        none = await caller.page(inbox_id="nobody")
        assert none == {"success": True, "data": [], **rest}


@pytest.mark.parametrize("end", ["empty_page", "echo"])
async def test_an_empty_page_after_the_last_one(calling, end):
    """The last page's cursor leads to an empty page with nulls or with the same cursor."""
    async with Sandbox(5, dialect=Dialect(end=end)) as sandbox, calling(sandbox) as caller:
        last = await caller.page(limit=5)
        cursor = last["metadata"]["next_cursor"]
        assert cursor["cursor_id"] == last["data"][-1]["id"]
        after = await caller.page(limit=5, **cursor)
        assert after["data"] == []
        assert after["metadata"] == ({"next_cursor": cursor} if end == "echo" else NULLS)
        assert (await caller.page(inbox_id="nobody"))["metadata"] == NULLS


@pytest.mark.parametrize(
    "timestamps, pattern",
    [
        ("offset", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00"),
        ("z", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"),
        ("micro", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00"),
        ("naive", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}"),
        ("space", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"),
    ],
)
async def test_timestamps_follow_the_dialect_and_cursors_do_not(calling, timestamps, pattern):
    """All timestamps of a record have the dialect's format and the same second. Cursors do not."""
    dialect = Dialect(timestamps=timestamps)
    async with Sandbox(30, dialect=dialect) as sandbox, calling(sandbox) as caller:
        page = await caller.page(limit=20)
    usual = [msgspec.json.decode(raw) for _, raw in Sandbox(30).records()]
    for row, same in zip(page["data"], usual, strict=False):
        assert re.fullmatch(pattern, row["created_at"])
        assert row["resolved_at"] is None or re.fullmatch(pattern, row["resolved_at"])
        assert row["created_at"][:19].replace(" ", "T") == same["created_at"][:19]
    cursor = page["metadata"]["next_cursor"]["cursor_ts"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}", cursor)


@pytest.mark.parametrize("order", ["activity", "created", "ascending"])
async def test_the_order(calling, order):
    """Cursor timestamps fall or rise, and in creation order they are creation times."""
    async with Sandbox(60, dialect=Dialect(order=order)) as sandbox, calling(sandbox) as caller:
        times, cursor = [], {}
        for _ in range(59):
            page = await caller.page(limit=1, **cursor)
            cursor = page["metadata"]["next_cursor"]
            times.append(cursor["cursor_ts"])
            last = page["data"][0]["last_message"] or {}
            assert last.get("created_at", "") < "2026-04-10T09:51:19.886"
            if order == "created":
                assert page["data"][0]["created_at"] == cursor["cursor_ts"] + "+00:00"
            else:
                assert page["data"][0]["created_at"] < cursor["cursor_ts"]
        assert times == sorted(times, reverse=order != "ascending")
        assert len(set(times)) == 59


@pytest.mark.parametrize("how, unpack", [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
@pytest.mark.parametrize(
    "accepted, packed",
    [("{}", True), ("br, {};q=0.5", True), ("identity", False), ("{};q=0", False), ("", False)],
)
async def test_bodies_are_compressed_for_those_who_accept_it(
    calling, how, unpack, accepted, packed
):
    """All bodies, even those of errors, are compressed only if the client's header allows it."""
    headers = {"Accept-Encoding": accepted.format(how)}
    dialect = Dialect(compress=how)
    async with (
        Sandbox(20, dialect=dialect) as sandbox,
        calling(sandbox, auto_decompress=False) as caller,
    ):
        for query in ({}, {"limit": 0}):
            _, got, body = await caller.get(headers=headers, **query)
            assert (got.get("Content-Encoding") == how) is packed
            assert msgspec.json.decode(unpack(body) if packed else body)


def test_compressed_bytes_do_not_depend_on_the_time():
    """The same request gets the same bytes, because the gzip header contains no time."""
    packed, _ = compress_body(b"{}", "gzip", accepted="gzip")
    assert packed[:2] == b"\x1f\x8b"
    assert packed[4:8] == bytes(4)


async def test_the_maximum(calling):
    """``max_limit`` sets the maximum, and also the default if the maximum is below ten."""
    async with Sandbox(300, dialect=Dialect(max_limit=3)) as sandbox, calling(sandbox) as caller:
        assert len((await caller.page())["data"]) == 3
        assert len((await caller.page(limit=50))["data"]) == 3
    async with Sandbox(300, dialect=Dialect(max_limit=200)) as sandbox, calling(sandbox) as caller:
        assert len((await caller.page(limit=200))["data"]) == 200
