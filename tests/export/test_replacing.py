"""A good target is never replaced by a worse one by accident."""

import errno
import json
import os

import pytest
from support.accounts import hide_inboxes
from support.exports import read_account, read_files, read_manifest, read_target

from cekat_async import CheckpointError, ConfigurationError, ReplacementRefusedError, TargetError
from cekat_async.export import export_conversations
from cekat_async.export.sinks.files.json_lines import JsonLinesSink
from cekat_async.sandbox import Fault

FILES = ["x.jsonl", "x.jsonl.gz", "x.jsonl.zst", "x.csv", "x.parquet", "x.parquet/"]
OTHERS = [
    {"stage_status": "resolvd"},
    {"stage_status": "open"},
    {"inbox_ids": ["typo"]},
    {"by_inbox": True},
]


def empty(a):
    for id_, _ in list(a.sandbox.records()):
        a.sandbox.delete(id_)


async def refused(a, target, **options):
    """Export, and return the refusal."""
    with pytest.raises(ReplacementRefusedError) as caught:
        await export_conversations(a.client, target, **options)
    assert "\n" not in str(caught.value)
    return caught.value


# Other filters


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("other", OTHERS, ids=str)
async def test_other_filters_are_refused_before_the_first_request(account, tmp_path, name, other):
    """A mistyped filter is refused before any request, and the target is unchanged."""
    target = f"{tmp_path}/{name}"
    async with account(120) as a:
        await export_conversations(a.client, target)
        before, asked = read_files(tmp_path), len(a.sandbox.log.requests)
        error = await refused(a, target, **other)

        assert len(a.sandbox.log.requests) == asked
        assert read_files(tmp_path) == before
        assert error.option == "replace"
        assert str(error).startswith(f"{target} holds an export with other filters (all inboxes; ")
        assert str(error).endswith("choose another target, or pass replace=True")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [b"{", b'{"format":2}', b"\xff"])
@pytest.mark.parametrize("options", [{}, {"incremental": True}], ids=str)
async def test_a_manifest_that_cannot_be_read_protects_its_target(
    account, tmp_path, name, damage, options
):
    """A damaged or newer manifest is refused before any request, unless ``replace`` is given."""
    target = f"{tmp_path}/{name}"
    async with account(30) as a:
        await export_conversations(a.client, target)
        (tmp_path / f"{name.rstrip('/')}.manifest.json").write_bytes(damage)
        before, asked = read_files(tmp_path), len(a.sandbox.log.requests)
        error = await refused(a, target, **options)

        assert len(a.sandbox.log.requests) == asked
        assert read_files(tmp_path) == before
        assert "is damaged, or a newer version wrote it" in str(error)
        report = await export_conversations(a.client, target, replace=True, **options)
        assert not report.manifest.incremental


@pytest.mark.parametrize("other", OTHERS, ids=str)
async def test_other_filters_replace_if_that_is_wanted(account, target, other):
    """With ``replace``, an export with other filters replaces the target."""
    async with account(120) as a:
        await export_conversations(a.client, target)
        report = await export_conversations(a.client, target, replace=True, **other)

        assert read_manifest(target) == report.manifest
        wanted = read_account(a.sandbox) if "by_inbox" in other else []
        if other.get("stage_status") == "open":
            wanted = [
                one for one in read_account(a.sandbox) if json.loads(one)["stage_status"] == "open"
            ]
        assert read_target(target) == wanted


async def test_the_order_of_inboxes_is_no_other_filter(account, target):
    """An export of the same inboxes in another order is the same export, even when it resumes."""
    async with account(120, attempts=1) as a:
        first, second = a.sandbox.inbox_ids[:2]
        await export_conversations(a.client, target, inbox_ids=[first, second])
        await export_conversations(a.client, target, inbox_ids=[second, first], incremental=True)
        with pytest.raises(ZeroDivisionError):
            await export_conversations(
                a.client, target, inbox_ids=[first, second], on_progress=lambda _: 1 // 0
            )
        report = await export_conversations(a.client, target, inbox_ids=[second, first])

        assert report.manifest.runs == 2
        assert read_target(target) == read_account(a.sandbox, first, second)


async def test_an_incremental_export_with_other_filters_replaces_if_that_is_wanted(account, target):
    """With ``replace``, an incremental export with other filters replaces the whole target."""
    async with account(120) as a:
        await export_conversations(a.client, target, stage_status="open")
        await refused(a, target, incremental=True)
        report = await export_conversations(a.client, target, incremental=True, replace=True)
        assert not report.manifest.incremental
        assert read_target(target) == read_account(a.sandbox)

        a.sandbox.create()
        # The next incremental export adds to the target, and ``replace`` has no effect.
        report = await export_conversations(a.client, target, incremental=True, replace=True)
        assert report.manifest.incremental
        assert read_target(target) == read_account(a.sandbox)


async def test_a_database_is_merged_into_whatever_the_filters(account, store):
    """Two inboxes can be exported one after the other into the same table, and no row is lost."""
    async with account(120) as a:
        for inbox_id in a.sandbox.inbox_ids:
            report = await export_conversations(a.client, store.sink(), inbox_ids=[inbox_id])
            assert report.is_complete
        assert store.rows().keys() == {id_ for id_, _ in a.sandbox.records()}

        with pytest.raises(ConfigurationError, match="it cannot be updated"):
            await export_conversations(a.client, store.sink(), incremental=True)


async def test_a_target_without_a_manifest_is_replaced(account, target):
    """A file without a manifest is replaced if the export has any conversation."""
    target.write_bytes(b'{"id":"of somebody"}\n')
    async with account(50) as a:
        await export_conversations(a.client, target, stage_status="open")
        assert read_target(target) != []


@pytest.mark.parametrize("kept", ["an unfinished export", "nothing"])
async def test_restart_forgets_nothing_before_a_refusal(account, tmp_path, target, kept):
    """If an export with ``restart`` is refused, the old checkpoint is kept."""
    async with account(120, attempts=1) as a:
        await export_conversations(a.client, target)
        if kept != "nothing":
            with pytest.raises(ZeroDivisionError):
                await export_conversations(a.client, target, on_progress=lambda _: 1 // 0)
        before = read_files(tmp_path)
        await refused(a, target, stage_status="open", restart=True)

        assert read_files(tmp_path) == before
        report = await export_conversations(a.client, target)
        assert report.manifest.runs == 1 + (kept != "nothing")


async def test_a_checkpoint_with_other_filters_is_refused_even_with_replace(account, target):
    """``replace`` is about the target.

    The option does not discard an unfinished export that has other filters.
    """
    async with account(120) as a:
        await export_conversations(a.client, target)
        with pytest.raises(ZeroDivisionError):
            await export_conversations(a.client, target, on_progress=lambda _: 1 // 0)
        with pytest.raises(CheckpointError, match="other filters"):
            await export_conversations(a.client, target, stage_status="open", replace=True)
        await export_conversations(
            a.client, target, stage_status="open", replace=True, restart=True
        )

        assert read_manifest(target).filters.stage_status == "open"


async def test_an_export_that_replaces_needs_replace_to_resume(account, target):
    """To resume an export that began with ``replace``, ``replace`` must be given again."""
    async with account(120) as a:
        await export_conversations(a.client, target)
        options = {"stage_status": "assigned", "page_size": 20}
        with pytest.raises(ZeroDivisionError):
            await export_conversations(
                a.client, target, replace=True, on_progress=lambda _: 1 // 0, **options
            )
        before = target.read_bytes()
        await refused(a, target, **options)
        assert target.read_bytes() == before
        report = await export_conversations(a.client, target, replace=True, **options)

        assert report.manifest.runs == 2
        assert report.conversations == a.sandbox.count(stage_status="assigned")


# Empty results


@pytest.mark.parametrize("name", FILES)
async def test_an_empty_export_does_not_replace_conversations(account, tmp_path, name):
    """If the account is suddenly empty, the file is kept unless ``allow_empty`` is given."""
    target = f"{tmp_path}/{name}"
    async with account(120) as a:
        whole = read_account(a.sandbox)
        await export_conversations(a.client, target)
        before = read_files(tmp_path)
        empty(a)
        error = await refused(a, target)
        assert error.option == "allow_empty"
        assert str(error) == (
            f"the export found no conversation, but {target} contains 120 conversations: if "
            "that is right, pass allow_empty=True"
        )
        assert read_target(target) == whole
        assert read_files(tmp_path).items() >= before.items()

        asked = len(a.sandbox.log.requests)
        report = await export_conversations(a.client, target, allow_empty=True)
        assert read_target(target) == []
        assert report.manifest.runs == 2
        assert len(a.sandbox.log.requests) - asked <= 3


async def test_allow_empty_allows_no_other_filters(account, target):
    """``allow_empty`` does not suppress the refusal of a wrong filter."""
    async with account(50) as a:
        await export_conversations(a.client, target, stage_status="open", allow_empty=True)
        error = await refused(a, target, stage_status="opne", allow_empty=True)

    assert error.option == "replace"


async def test_replace_does_not_allow_an_empty_result(account, target):
    """``replace`` allows other filters.

    The option does not allow an empty result, which needs ``allow_empty``.
    """
    async with account(50) as a:
        await export_conversations(a.client, target)
        empty(a)
        error = await refused(a, target, replace=True)

    assert error.option == "allow_empty"


@pytest.mark.parametrize("options", [{}, {"incremental": True}, {"replace": True}], ids=str)
@pytest.mark.parametrize("name", ["x.jsonl", "x.csv"])
async def test_an_empty_export_does_not_replace_an_unknown_file(account, tmp_path, name, options):
    """A file without a manifest has unknown content, so an empty result does not replace it."""
    target = tmp_path / name
    target.write_bytes(b"of somebody")
    async with account(0) as a:
        error = await refused(a, target, **options)
        assert (error.option, target.read_bytes()) == ("allow_empty", b"of somebody")
        await export_conversations(a.client, target, allow_empty=True, **options)

    assert read_target(target) == []


@pytest.mark.parametrize("old", [None, b""], ids=["absent", "without a byte"])
async def test_an_empty_export_may_replace_an_empty_target(account, target, old):
    """If the target is missing or empty, an empty export is published."""
    if old is not None:
        target.write_bytes(old)
    async with account(0) as a:
        for _ in range(2):
            await export_conversations(a.client, target)

    assert target.read_bytes() == b""


async def test_a_target_that_cannot_be_read_is_reported(account, target):
    """If the target cannot be read, it is kept, and the error contains the system's reason."""

    class Unreadable(JsonLinesSink):
        def checksum(self):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    target.write_bytes(b"of somebody")
    async with account(0) as a:
        with pytest.raises(TargetError, match="Permission denied"):
            await export_conversations(a.client, Unreadable(target))

    assert target.read_bytes() == b"of somebody"


async def test_a_refused_empty_export_does_not_block_the_next_one(account, target):
    """After an empty result was refused, the same call publishes once there are conversations."""
    async with account(1) as a:
        await export_conversations(a.client, target)
        empty(a)
        await refused(a, target)
        a.sandbox.create()
        await export_conversations(a.client, target)

        assert read_target(target) == read_account(a.sandbox) != []


# Inboxes that fail


@pytest.mark.parametrize("name", FILES)
async def test_an_inbox_that_fails_keeps_its_old_records(account, tmp_path, name):
    """If an inbox is forbidden, the target keeps its old records and the manifest has their age."""
    target = f"{tmp_path}/{name}"
    async with account(120, inboxes=4) as a:
        closed, good = a.sandbox.inbox_ids[1], a.sandbox.inbox_ids[0]
        first = await export_conversations(a.client, target, by_inbox=True)
        old = read_account(a.sandbox, closed)
        gone = next(id_ for id_, one in a.sandbox.records() if json.loads(one)["inbox_id"] == good)
        a.sandbox.delete(gone)
        a.sandbox.touch(next(id_ for id_, one in a.sandbox.records() if one in old))
        a.sandbox.create()
        a.sandbox.forbid(closed)
        report = await export_conversations(a.client, target, by_inbox=True)

        others = [one for one in a.sandbox.inbox_ids if one != closed]
        assert read_target(target) == sorted([*read_account(a.sandbox, *others), *old])
        assert not report.is_complete
        assert report.manifest.conversations == len(read_target(target))
        parts = {one.inbox_id: one for one in report.manifest.partitions}
        assert parts[closed].as_of == first.manifest.began
        assert parts[closed].carried == len(old)
        assert "403" in parts[closed].error
        assert all(parts[one].as_of is None and not parts[one].carried for one in others)
        assert read_manifest(target) == report.manifest

        a.sandbox.forbid()
        report = await export_conversations(a.client, target, by_inbox=True)
        assert report.is_complete
        assert read_target(target) == read_account(a.sandbox)
        assert all(one.as_of is None for one in report.manifest.partitions)


async def test_records_that_are_carried_over_again_keep_their_age(account, target):
    """The manifest says when the records were fetched, however often they are carried over."""
    async with account(120, inboxes=4) as a:
        closed = a.sandbox.inbox_ids[1]
        first = await export_conversations(a.client, target, by_inbox=True)
        a.sandbox.forbid(closed)
        for incremental in (False, False, True, False):
            report = await export_conversations(
                a.client, target, by_inbox=True, incremental=incremental
            )
            (failed,) = [one for one in report.manifest.partitions if one.error]
            assert (failed.inbox_id, failed.as_of) == (closed, first.manifest.began)
            assert failed.carried == a.sandbox.count(closed)
            assert read_target(target) == read_account(a.sandbox)


async def test_pages_of_a_failing_inbox_replace_old_records(account, target):
    """Pages that were fetched before an inbox failed replace the old versions of their records."""
    async with account(200, inboxes=2, attempts=1) as a:
        first, second = a.sandbox.inbox_ids
        await export_conversations(a.client, target, inbox_ids=[first, second], page_size=20)
        old = dict(a.sandbox.records())
        for id_ in old:
            a.sandbox.touch(id_)
        # The probe and two pages of the first inbox succeed, and then the inbox is forbidden.
        a.sandbox.fail_next(*[Fault.ok()] * 3, *[Fault.status(403)] * 1)
        report = await export_conversations(
            a.client, target, inbox_ids=[first, second], page_size=20, concurrency=1
        )

        now = dict(a.sandbox.records())
        found = {json.loads(line)["id"]: line for line in read_target(target)}
        assert found.keys() == old.keys()
        (failed,) = [one for one in report.manifest.partitions if one.error]
        stale = [id_ for id_, line in found.items() if line != now[id_]]
        assert len(stale) == failed.carried == a.sandbox.count(failed.inbox_id) - failed.records
        assert all(found[id_] == old[id_] for id_ in stale)


@pytest.mark.parametrize("why", ["has no manifest", "was changed since the last export"])
async def test_where_nothing_can_be_carried_over_the_target_stays(account, tmp_path, target, why):
    """If old records cannot be carried over, the target is not replaced.

    ``replace`` publishes the other inboxes.
    """
    async with account(120, inboxes=4) as a:
        closed = a.sandbox.inbox_ids[1]
        await export_conversations(a.client, target, by_inbox=True)
        if "manifest" in why:
            (tmp_path / "conversations.jsonl.manifest.json").unlink()
        else:
            target.write_bytes(target.read_bytes() + b"{}\n")
        before = target.read_bytes()
        a.sandbox.forbid(closed)
        error = await refused(a, target, by_inbox=True)
        assert error.option == "replace"
        assert f"the first is {closed}: " in str(error)
        assert f"because {target} {why}" in str(error)
        assert target.read_bytes() == before

        asked = len(a.sandbox.log.requests)
        report = await export_conversations(a.client, target, by_inbox=True, replace=True)
        # The export requests the changes of each inbox and fetches no page again.
        assert len(a.sandbox.log.requests) - asked <= 1 + 2 * 4
        assert report.manifest.runs == 2
        others = [one for one in a.sandbox.inbox_ids if one != closed]
        assert read_target(target) == read_account(a.sandbox, *others)
        assert not report.is_complete
        assert [one.as_of for one in report.manifest.partitions] == [None] * 4


@pytest.mark.parametrize("old", [None, b""], ids=["absent", "without a byte"])
async def test_a_first_export_is_partial(account, target, old):
    """Without an earlier target, the inboxes that could be fetched are published."""
    if old is not None:
        target.write_bytes(old)
    async with account(120, inboxes=4) as a:
        a.sandbox.forbid(a.sandbox.inbox_ids[1])
        report = await export_conversations(a.client, target, by_inbox=True)

        assert not report.is_complete
        assert read_target(target) == read_account(
            a.sandbox, *a.sandbox.inbox_ids[:1], *a.sandbox.inbox_ids[2:]
        )


async def test_an_inbox_that_is_not_listed_any_more_keeps_its_records(account, target):
    """If an inbox is no longer in the account's list, its conversations are kept."""
    async with account(120, inboxes=4) as a:
        hidden = a.sandbox.inbox_ids[2]
        first = await export_conversations(a.client, target, by_inbox=True)
        hide_inboxes(a.sandbox, hidden)
        for options in ({}, {"incremental": True}, {}):
            report = await export_conversations(a.client, target, by_inbox=True, **options)

            assert read_target(target) == read_account(a.sandbox)
            assert not report.is_complete
            (failed,) = [one for one in report.manifest.partitions if one.error]
            assert failed.error == "the account does not list this inbox any more"
            assert (failed.inbox_id, failed.as_of) == (hidden, first.manifest.began)
            assert failed.carried == a.sandbox.count(hidden)

        report = await export_conversations(a.client, target, by_inbox=True, replace=True)
        assert report.is_complete
        assert read_target(target) == read_account(a.sandbox, *set(a.sandbox.inbox_ids) - {hidden})


async def test_an_empty_inbox_may_disappear(account, target):
    """An inbox that has no conversations and is no longer listed is not reported."""
    async with account(3, inboxes=8) as a:
        hidden = next(one for one in a.sandbox.inbox_ids if not a.sandbox.count(one))
        await export_conversations(a.client, target, by_inbox=True)
        hide_inboxes(a.sandbox, hidden)
        report = await export_conversations(a.client, target, by_inbox=True)

        assert report.is_complete
        assert read_target(target) == read_account(a.sandbox)


async def test_a_table_says_how_old_the_rows_of_a_failed_inbox_are(account, store):
    """Rows of a failed inbox stay in the table, and the manifest has their age."""
    async with account(120, inboxes=4) as a:
        closed = a.sandbox.inbox_ids[1]
        first = await export_conversations(a.client, store.sink(), by_inbox=True)
        a.sandbox.forbid(closed)
        for options in ({}, {"incremental": True}):
            report = await export_conversations(a.client, store.sink(), by_inbox=True, **options)
            (failed,) = [one for one in report.manifest.partitions if one.error]
            assert (failed.inbox_id, failed.as_of) == (closed, first.manifest.began)
            assert len(store.rows()) == 120


async def test_a_table_has_no_old_rows_of_a_new_inbox(account, tmp_path):
    """If a failed inbox is new in the account, the manifest records no age."""
    target = tmp_path / "x.sqlite"
    async with account(120, inboxes=4) as a:
        new = a.sandbox.inbox_ids[1]
        hide_inboxes(a.sandbox, new)
        await export_conversations(a.client, target, by_inbox=True)
        hide_inboxes(a.sandbox)
        a.sandbox.forbid(new)
        report = await export_conversations(a.client, target, by_inbox=True)

    (failed,) = [one for one in report.manifest.partitions if one.error]
    assert (failed.inbox_id, failed.as_of, failed.carried) == (new, None, 0)


# Custom sinks


class Shelf:
    """A custom sink whose content each export replaces."""

    target = "the shelf"
    checkpoint = None

    def __init__(self, *, remembers=True):
        self.records = []
        self._remembers = remembers
        self._manifest = None

    def open(self):
        """No-op."""

    def manifest(self):
        return self._manifest

    def verify(self, manifest):
        assert manifest is self._manifest

    def stored(self):
        return [list(self.records)]

    def publish(self, records, manifest):
        self.records = [record for batch in records for record in batch]
        self._manifest = manifest if self._remembers else None
        return manifest

    def close(self):
        """No-op."""


async def test_a_custom_sink_is_protected_if_it_returns_its_records(account):
    """A sink whose ``stored()`` returns records is protected like a file."""
    shelf = Shelf()
    async with account(200, inboxes=2) as a:
        await export_conversations(a.client, shelf, by_inbox=True)
        whole = sorted(shelf.records)
        await refused(a, shelf)
        a.sandbox.forbid(a.sandbox.inbox_ids[0])
        report = await export_conversations(a.client, shelf, by_inbox=True)
        assert sorted(shelf.records) == whole
        assert not report.is_complete
        a.sandbox.forbid()
        empty(a)
        await refused(a, shelf, by_inbox=True)
        assert sorted(shelf.records) == whole


async def test_a_custom_sink_without_a_manifest_is_not_emptied(account):
    """Without a manifest, filters cannot be compared, but an empty result is still refused."""
    shelf = Shelf(remembers=False)
    async with account(200, inboxes=2) as a:
        await export_conversations(a.client, shelf, by_inbox=True)
        a.sandbox.forbid(a.sandbox.inbox_ids[0])
        error = await refused(a, shelf, by_inbox=True)
        assert "because the shelf has no manifest" in str(error)
        a.sandbox.forbid()
        empty(a)
        await refused(a, shelf)
        await export_conversations(a.client, shelf, stage_status="open", allow_empty=True)

    assert shelf.records == []


@pytest.mark.parametrize("wrong", [{"replace": 1}, {"allow_empty": "no"}], ids=str)
async def test_the_options_are_switches(account, target, wrong):
    """Strings are refused before any request, because any non-empty string would count as true."""
    async with account(5) as a:
        with pytest.raises(ConfigurationError, match="must be True or False"):
            await export_conversations(a.client, target, **wrong)

        assert a.sandbox.log.requests == []


def test_a_refusal_is_a_target_error():
    """Code that handles ``TargetError`` also handles a refusal."""
    assert issubclass(ReplacementRefusedError, TargetError)
    assert ReplacementRefusedError("no").option == "replace"
