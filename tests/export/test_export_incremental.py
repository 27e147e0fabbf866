"""An incremental export fetches only changes, and its result equals that of a full export."""

import json

import pytest
from support.exports import read_account, read_target

from cekat_async import CekatError, TargetError
from cekat_async.export import export_conversations
from cekat_async.sandbox import Dialect, Live

TARGETS = ["x.jsonl", "x.jsonl.gz", "x.jsonl.zst", "x.csv", "x.parquet", "x.parquet/"]


async def days(a, target, count=3, **options):
    """Change some conversations and export incrementally, once per day, and return the reports."""
    reports = []
    for day in range(count):
        ids = [id_ for id_, _ in a.sandbox.records()]
        for id_ in ids[day * 40 : day * 40 + 30 : 3]:
            a.sandbox.touch(id_)
        a.sandbox.create()
        reports.append(await export_conversations(a.client, target, incremental=True, **options))
        if isinstance(target, str):
            assert read_target(target) == read_account(a.sandbox)
    return reports


@pytest.mark.parametrize("name", TARGETS)
async def test_each_day_adds_the_changes(account, tmp_path, name):
    """After each run, the target equals the result of a full export."""
    async with account(700) as a:
        first, *others = await days(a, f"{tmp_path}/{name}")

    assert first.requests >= 7
    assert not first.manifest.incremental
    assert all(report.manifest.incremental for report in others)
    assert all(report.requests <= 4 for report in others)
    assert [report.manifest.conversations for report in (first, *others)] == [701, 702, 703]


async def test_a_database_is_merged_into(account, store):
    """In a database, changed rows are replaced and the others stay."""
    async with account(300) as a:
        reports = [
            await export_conversations(a.client, store.sink(), incremental=True),
        ]
        before = store.rows()
        moved = [id_ for id_, _ in a.sandbox.records()][100:160:3]
        for id_ in moved:
            a.sandbox.touch(id_)
        reports.append(await export_conversations(a.client, store.sink(), incremental=True))

        after = store.rows()
        assert after.keys() == before.keys()
        assert all(after[id_] != before[id_] for id_ in moved)
        assert reports[1].requests <= 3
        assert len([id_ for id_ in after if after[id_] == before[id_]]) >= 200


async def test_nothing_has_changed(account, tmp_path):
    """If nothing has changed, an incremental export takes at most three requests."""
    target = tmp_path / "x.jsonl"
    async with account(1000) as a:
        await export_conversations(a.client, target)
        before = target.read_bytes()
        report = await export_conversations(a.client, target, incremental=True)

    # Conversations that are fetched again are written after the others.
    assert sorted(target.read_bytes().splitlines()) == sorted(before.splitlines())
    assert report.requests <= 3


@pytest.mark.parametrize("order", ["created", "ascending"])
async def test_any_order(account, tmp_path, order):
    """In creation order, an incremental export fetches everything again.

    In activity order, it fetches only changes.
    """
    async with account(900, dialect=Dialect(order=order)) as a:
        _, *others = await days(a, f"{tmp_path}/x.jsonl")

    assert all((report.requests >= 9) == (order == "created") for report in others)


async def test_changes_during_the_last_export_are_fetched(account, tmp_path):
    """The watermark is the newest position at the start of the last export, not at its end."""
    target = f"{tmp_path}/x.jsonl"
    async with account(1000, live=Live(messages=3)) as a:
        await export_conversations(a.client, target)
        for _ in range(4):
            before = dict(a.sandbox.records())
            await export_conversations(a.client, target, incremental=True)
            found = dict.fromkeys(json.loads(line)["id"] for line in read_target(target))
            assert found.keys() >= before.keys()


async def test_a_change_without_activity_needs_a_full_export(account, tmp_path):
    """A conversation that is resolved without a message does not move. A full export finds it."""
    target = f"{tmp_path}/x.jsonl"
    async with account(800) as a:
        await export_conversations(a.client, target)
        a.sandbox.resolve([id_ for id_, _ in a.sandbox.records()][-1])
        await export_conversations(a.client, target, incremental=True)
        assert read_target(target) != read_account(a.sandbox)

        await export_conversations(a.client, target)
        assert read_target(target) == read_account(a.sandbox)


async def test_the_first_one_is_full(account, tmp_path):
    """Without an earlier export or its manifest, everything is fetched."""
    target = tmp_path / "x.jsonl"
    async with account(500) as a:
        for _ in range(2):
            report = await export_conversations(a.client, target, incremental=True)
            assert report.requests >= 5
            assert not report.manifest.incremental
            (tmp_path / "x.jsonl.manifest.json").unlink()


async def test_a_target_that_was_changed_is_not_added_to(account, tmp_path):
    """A target that was edited is reported before any request, and is not changed."""
    target = tmp_path / "x.jsonl"
    async with account(300) as a:
        await export_conversations(a.client, target)
        target.write_bytes(target.read_bytes()[:-2])
        edited, before = target.read_bytes(), len(a.sandbox.log.requests)
        with pytest.raises(TargetError, match="was changed after the last export"):
            await export_conversations(a.client, target, incremental=True)

        assert len(a.sandbox.log.requests) == before
        assert target.read_bytes() == edited
        await export_conversations(a.client, target)
        assert read_target(target) == read_account(a.sandbox)


async def test_a_stopped_incremental_export_is_resumed(account, tmp_path):
    """A failed incremental export is resumed as an incremental one."""
    target = f"{tmp_path}/x.jsonl"
    async with account(1000, attempts=1) as a:
        await export_conversations(a.client, target)
        for id_, _ in list(a.sandbox.records())[:700:2]:
            a.sandbox.touch(id_)
        with pytest.raises(ZeroDivisionError):
            await export_conversations(
                a.client, target, incremental=True, on_progress=lambda p: 1 // 0
            )
        report = await export_conversations(a.client, target, incremental=True)

        assert report.manifest.runs == 2
        assert report.manifest.incremental
        assert read_target(target) == read_account(a.sandbox)


async def test_partitions_each_have_a_watermark(account, tmp_path):
    """With ``by_inbox``, the export fetches new inboxes completely, and changes of the others."""
    target = f"{tmp_path}/x.jsonl"
    async with account(1200, inboxes=4) as a:
        first, second, third = a.sandbox.inbox_ids[:3]
        whole = await export_conversations(a.client, target, inbox_ids=[first, second])
        a.sandbox.touch(next(i for i, r in a.sandbox.records() if first.encode() in r))
        with pytest.raises(CekatError):
            await export_conversations(
                a.client, target, inbox_ids=[first, second, third], incremental=True
            )
        report = await export_conversations(
            a.client, target, inbox_ids=[first, second], incremental=True
        )

        wanted = sorted(
            r for _, r in a.sandbox.records() if json.loads(r)["inbox_id"] in (first, second)
        )
        assert read_target(target) == wanted
        assert report.requests <= 6 < whole.requests


async def stop_export(a, target, **options):
    """Begin an export and leave it unfinished."""
    with pytest.raises(ZeroDivisionError):
        await export_conversations(a.client, target, on_progress=lambda _: 1 // 0, **options)


async def test_a_stopped_full_export_is_resumed_by_an_incremental_one(account, tmp_path):
    """An incremental run resumes an unfinished full export, which also fetches all changes."""
    target = f"{tmp_path}/x.jsonl"
    async with account(900) as a:
        await export_conversations(a.client, target)
        await stop_export(a, target)
        a.sandbox.resolve([id_ for id_, _ in a.sandbox.records()][-1])
        report = await export_conversations(a.client, target, incremental=True)

        assert (report.manifest.incremental, report.manifest.runs) == (False, 2)
        assert read_target(target) == read_account(a.sandbox)


async def test_a_full_export_replaces_a_stopped_incremental_one(account, tmp_path):
    """A full export fetches everything, even after an unfinished incremental export."""
    target = f"{tmp_path}/x.jsonl"
    async with account(900) as a:
        await export_conversations(a.client, target)
        await stop_export(a, target, incremental=True)
        report = await export_conversations(a.client, target)

        assert (report.manifest.incremental, report.manifest.runs) == (False, 1)
        assert read_target(target) == read_account(a.sandbox)


async def test_an_incremental_one_that_was_stopped_and_a_target_that_is_gone(account, tmp_path):
    """If the target is missing, a stopped incremental export fetches everything on its next run."""
    target = tmp_path / "x.jsonl"
    async with account(900) as a:
        await export_conversations(a.client, target)
        await stop_export(a, target, incremental=True)
        target.unlink()
        report = await export_conversations(a.client, target, incremental=True)

        assert not report.manifest.incremental
        assert read_target(target) == read_account(a.sandbox)
