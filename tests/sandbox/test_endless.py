"""Listings whose pages never end."""

from __future__ import annotations

from itertools import pairwise

import pytest

from cekat_async.sandbox import Dialect, Sandbox


async def walk(caller, pages, **query):
    """Return the ids and the cursor of each page, for the given number of pages."""
    found, cursor = [], {}
    for _ in range(pages):
        page = await caller.page(**query, **cursor)
        cursor = page["metadata"]["next_cursor"]
        found.append(([row["id"] for row in page["data"]], cursor))
    return found


@pytest.mark.parametrize(
    "endless, after_the_end",
    [("empty", [[]] * 5), ("repeat", ["abcd"] * 5), ("cycle", ["abcd", "efgh", "ij"] * 2)],
)
async def test_pages_after_the_end(calling, endless, after_the_end):
    """Pages after the end are empty, or repeat the first or all pages, with new cursors."""
    async with Sandbox(10, 1, dialect=Dialect(endless=endless)) as sandbox:
        letter = dict(zip((id_ for id_, _ in sandbox.records()), "abcdefghij", strict=True))
        async with calling(sandbox) as caller:
            found = await walk(caller, 3 + len(after_the_end), limit=4)

    pages = ["".join(letter[id_] for id_ in ids) for ids, _ in found]
    assert pages == ["abcd", "efgh", "ij", *("".join(page) for page in after_the_end)]
    assert len({cursor["cursor_id"] for _, cursor in found}) == len(found)


@pytest.mark.parametrize("order, sign", [("activity", -1), ("ascending", 1)])
@pytest.mark.parametrize(
    "times, first, step",
    [
        ("still", "2026-04-", 0),
        ("advance", "2026-0", 1),
        ("backwards", "2026-0", -1),
        ("past", "1970-0", 1),
        ("future", "2", 1),
        ("unreadable", "page 1", None),
    ],
)
async def test_the_times_of_their_cursors(calling, order, sign, times, first, step):
    """Cursor times after the end are constant, rising, falling, extreme or invalid."""
    dialect = Dialect(endless="empty", endless_times=times, order=order)
    async with Sandbox(10, 1, dialect=dialect) as sandbox, calling(sandbox) as caller:
        found = [cursor["cursor_ts"] for _, cursor in await walk(caller, 5, limit=10)]

    assert found[0].startswith(first)
    if times == "future":
        assert all(time[:4] in {"2199", "2200"} for time in found)
    if step is not None:
        rises = {(after > before) - (after < before) for before, after in pairwise(found)}
        assert rises == {step * sign}


async def test_each_listing_has_pages_after_its_own_end(calling):
    """An inbox's listing repeats only its own conversations. An empty inbox has empty pages."""
    async with Sandbox(60, 3, dialect=Dialect(endless="cycle")) as sandbox:
        inbox = sandbox.inbox_ids[1]
        async with calling(sandbox) as caller:
            found = await walk(caller, 40, limit=5, inbox_id=inbox)
            nobody = await walk(caller, 3, limit=5, inbox_id="nobody")

        assert {id_ for ids, _ in found for id_ in ids} == {
            id_ for id_, raw in sandbox.records() if inbox.encode() in raw
        }
    assert [ids for ids, _ in nobody] == [[], [], []]


@pytest.mark.parametrize(
    "endless, lengths",
    [("empty", [2, 1, 0, 0, 0]), ("repeat", [2, 1, 2, 2, 2]), ("cycle", [2, 1, 2, 1, 2])],
)
async def test_inboxes_never_end_either(calling, endless, lengths):
    """Each page of inboxes announces another page, and a total of one inbox too many."""
    async with (
        Sandbox(0, 3, dialect=Dialect(endless=endless)) as sandbox,
        calling(sandbox) as caller,
    ):
        pages = [
            await caller.page(path="/api/inboxes", limit=2, page=number) for number in range(1, 6)
        ]

    assert [len(page["data"]) for page in pages] == lengths
    for number, page in enumerate(pages, 1):
        totals = page["metadata"]["pagination"]
        assert totals["total_page"] > number
        assert totals["total_items"] == 4
