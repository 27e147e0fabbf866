"""The data that version 0.1.0 wrote can still be read: see ``golden/README.md``."""

import gzip
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from support.exports import read_account, read_manifest, read_target

from cekat_async import CheckpointError, ReplacementRefusedError
from cekat_async.export import Manifest, export_conversations
from cekat_async.export.checkpoint import Checkpoint
from cekat_async.sandbox import Dialect

GOLDEN = Path(__file__).with_name("golden")
MANIFESTS = sorted(GOLDEN.glob("*.manifest.json"))
# The keys in files, which stay the same if a name in Python changes.
KEYS_OF_COUNTS = [
    *("runs", "conversations", "fetched", "repeats", "odd_records", "unknown_fields"),
    *("pages", "requests", "retries", "refused", "seconds", "waited"),
]
# the malformed record that the sandbox sent once
MALFORMED = b"7"


@pytest.fixture
def restore(tmp_path):
    """A function that copies golden files to a folder, as version 0.1.0 left them."""

    def restore(*names):
        for name in names:
            if (compressed := GOLDEN / f"{name}.gz").exists():
                (tmp_path / name).write_bytes(gzip.decompress(compressed.read_bytes()))
            else:
                shutil.copy(GOLDEN / name, tmp_path)
        return tmp_path / names[0]

    return restore


@pytest.fixture
def same_account(account):
    """A function that runs a sandbox with the conversations of the golden data."""

    def same_account(order="activity", seed=1):
        return account(60, inboxes=3, seed=seed, dialect=Dialect(max_limit=3, order=order))

    return same_account


def move(sandbox):
    """Change the account in the same way as when the golden data were made."""
    for id_ in [id_ for id_, _ in sandbox.records()][40:50:3]:
        sandbox.touch(id_)
    sandbox.create()


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name.partition(".")[0])
def test_a_manifest_is_read_and_keeps_its_keys(path):
    """Every key of a manifest is read, and is written again with the same name and value."""
    written = msgspec.json.decode(path.read_bytes())
    manifest = Manifest.from_json(path.read_bytes())
    again = msgspec.json.decode(manifest.to_json())

    assert {key: again[key] for key in written if key != "partitions"} == {
        key: value for key, value in written.items() if key != "partitions"
    }
    for before, after in zip(written["partitions"], again["partitions"], strict=True):
        assert {key: after[key] for key in before if key != "position"} == {
            key: value for key, value in before.items() if key != "position"
        }
    assert [one.position is None for one in manifest.partitions] == [
        one["position"] is None for one in written["partitions"]
    ]
    assert set(KEYS_OF_COUNTS) <= again.keys()


@pytest.mark.parametrize("is_named", [True, False])
@pytest.mark.parametrize("name", ["whole", "ascending", "incremental"])
async def test_an_incremental_export_adds_to_an_earlier_one(same_account, restore, name, is_named):
    """Only changes are fetched. Without a name, the account is recognized by its key."""
    target = restore(f"{name}.jsonl.gz", f"{name}.jsonl.gz.manifest.json")
    manifest = target.with_name(f"{target.name}.manifest.json")
    async with same_account("ascending" if name == "ascending" else "activity") as here:
        if not is_named:
            key = here.client.account.encode()
            manifest.write_bytes(manifest.read_bytes().replace(b'"golden"', b'"%s"' % key))
        move(here.sandbox)
        if name == "incremental":
            here.sandbox.touch([id_ for id_, _ in here.sandbox.records()][-1])
        report = await export_conversations(here.client, target, incremental=True)

        assert read_target(target) == read_account(here.sandbox)
    assert report.manifest.incremental
    assert report.requests < 60 // 3


async def test_an_incremental_export_fetches_an_inbox_that_failed(same_account, restore):
    """The export fetches the failed inbox completely, and only changes of the other inboxes."""
    target = restore("by-inbox.jsonl.gz", "by-inbox.jsonl.gz.manifest.json")
    last = read_manifest(target)
    failed = [one.inbox_id for one in last.partitions if one.error is not None]
    async with same_account() as here:
        move(here.sandbox)
        report = await export_conversations(here.client, target, incremental=True, by_inbox=True)

        assert read_target(target) == read_account(here.sandbox)
        assert failed == [here.sandbox.inbox_ids[1]]
    fetched = {one.inbox_id: one.records for one in report.manifest.partitions}
    assert fetched.pop(failed[0]) >= 60 - last.conversations
    assert sum(fetched.values()) < last.conversations


async def test_a_target_is_protected(same_account, restore):
    """An export with other filters is refused, and a failing inbox keeps its old records."""
    target = restore("by-inbox.jsonl.gz", "by-inbox.jsonl.gz.manifest.json")
    before, began = read_target(target), read_manifest(target).began
    async with same_account() as here:
        with pytest.raises(ReplacementRefusedError, match="other filters"):
            await export_conversations(here.client, target)
        closed = here.sandbox.inbox_ids[0]
        here.sandbox.forbid(closed)
        report = await export_conversations(here.client, target, by_inbox=True)

        assert read_target(target) == read_account(here.sandbox) != before
    (failed,) = [one for one in report.manifest.partitions if one.error]
    assert (failed.inbox_id, failed.as_of) == (closed, began)


@pytest.mark.parametrize("is_named", [True, False])
async def test_another_account_is_refused(same_account, restore, is_named):
    """Neither a target nor a checkpoint is mixed with conversations of another account."""
    name = "golden" if is_named else None
    target = restore("whole.jsonl.gz", "whole.jsonl.gz.manifest.json")
    checkpoint = restore("killed.jsonl.checkpoint")
    async with same_account(seed=2) as here:
        with pytest.raises(ReplacementRefusedError, match="another account"):
            await export_conversations(here.client, target, account=name)
        with pytest.raises(CheckpointError, match="another account"):
            await export_conversations(here.client, checkpoint.with_suffix(""), account=name)


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
async def test_a_database_gets_the_next_incremental_export(same_account, restore, kind):
    """The table keeps its columns, changed rows are replaced, and no row is added twice."""
    pytest.importorskip("duckdb" if kind == "duckdb" else "sqlite3")
    target = restore(f"database.{kind}")
    async with same_account() as here:
        move(here.sandbox)
        report = await export_conversations(here.client, target, incremental=True)

        assert sorted(read_raw(target)) == sorted([*read_account(here.sandbox), MALFORMED])
    assert report.manifest.incremental
    assert report.requests < 60 // 3


def read_raw(path):
    """Return the ``raw`` column of a database file."""
    if path.suffix == ".duckdb":
        import duckdb  # noqa: PLC0415 - an extra

        connect = duckdb.connect
    else:
        connect = sqlite3.connect
    with closing(connect(str(path))) as database:
        rows = database.execute("SELECT raw FROM conversations").fetchall()
    return [raw.encode() for (raw,) in rows]


@pytest.mark.parametrize("is_named", [True, False])
@pytest.mark.parametrize("name", ["killed", "killed-by-inbox"])
async def test_a_checkpoint_is_resumed(same_account, restore, tmp_path, name, is_named):
    """A killed full export can be resumed, with the same result as an uninterrupted run."""
    path = restore(f"{name}.jsonl.checkpoint")
    target = tmp_path / f"{name}.jsonl"
    async with same_account() as here:
        if not is_named:
            rename_account(path, here.client.account)
        kept = count_kept(path)
        report = await export_conversations(here.client, target, by_inbox="inbox" in name)

        malformed = [MALFORMED] * (name == "killed")
        assert read_target(target) == sorted([*read_account(here.sandbox), *malformed])
    assert (report.manifest.runs, report.manifest.version) == (2, "0.1.0")
    assert report.resumed == kept > 30
    assert report.manifest.fetched - kept < 60 - kept + 15
    assert report.manifest.malformed_records == len(malformed)
    assert not path.exists()


def rename_account(path, account):
    with closing(sqlite3.connect(path)) as database, database:
        (job,) = database.execute("SELECT job FROM job").fetchone()
        database.execute("UPDATE job SET job = ?", (job.replace(b"golden", account.encode()),))


def count_kept(path):
    with closing(sqlite3.connect(path)) as database:
        (totals,) = database.execute("SELECT totals FROM job").fetchone()
    return msgspec.json.decode(totals)["records"]


async def test_an_incremental_checkpoint_is_resumed(same_account, restore):
    """A killed incremental export can be resumed, and its changes are added to the target."""
    target = restore("whole.jsonl.gz", "whole.jsonl.gz.manifest.json", "whole.jsonl.gz.checkpoint")
    async with same_account() as here:
        move(here.sandbox)
        report = await export_conversations(here.client, target, incremental=True)

        assert read_target(target) == read_account(here.sandbox)
    assert (report.manifest.runs, report.manifest.incremental) == (2, True)
    assert report.requests < 60 // 3


def test_a_checkpoint_keeps_the_keys_of_its_counts(restore):
    """The counts of a checkpoint are read, and are written again with the same keys and values."""
    path = restore("killed.jsonl.checkpoint")
    with closing(sqlite3.connect(path)) as database:
        (before,) = database.execute("SELECT totals FROM job").fetchone()
    checkpoint = Checkpoint(path)
    checkpoint.open()
    counts = checkpoint.counts()
    checkpoint.put_counts(counts)
    checkpoint.close()
    with closing(sqlite3.connect(path)) as database:
        (after,) = database.execute("SELECT totals FROM job").fetchone()

    assert msgspec.json.decode(before).items() <= msgspec.json.decode(after).items()
    assert counts.malformed_records == 1
