"""An export recognizes its account even under a new key, and never mixes two accounts."""

import sqlite3
from contextlib import closing
from functools import partial

import msgspec
import pytest
from support.accounts import asked_for, change_inboxes, close_inboxes, open_inboxes, rotate_key
from support.exports import read_account, read_files, read_manifest, read_target
from support.parts import make_client

from cekat_async import (
    AuthenticationError,
    CheckpointError,
    ConfigurationError,
    NotSentError,
    PermissionDeniedError,
    ReplacementRefusedError,
    RetryPolicy,
)
from cekat_async.export import Manifest, export_conversations
from cekat_async.export.accounts import Identity
from cekat_async.export.checkpoint import Job
from cekat_async.sandbox import Fault, Sandbox

OURS, THEIRS = {"seed": 1}, {"seed": 2}
NEW = "a-new-key-of-the-same-account"
KNOWN, UNKNOWN = "with a business", "without one"
either = pytest.mark.parametrize("business", [KNOWN, UNKNOWN])


class World:
    """Two accounts: our account, whose key can be rotated, and another one."""

    def __init__(self, ours, theirs):
        self.ours = ours
        self.theirs = theirs

    def close_inboxes(self):
        for sandbox in (self.ours, self.theirs):
            close_inboxes(sandbox)

    async def export(self, target, sandbox=None, **options):
        async with make_client(sandbox or self.ours, retry=RetryPolicy(attempts=1)) as client:
            return await export_conversations(client, target, **options)

    async def stop(self, target, sandbox=None, pages=3, **options):
        """Begin an export and revoke its key after the given number of pages."""
        sandbox = sandbox or self.ours
        # The export may ask for the business first, and it always sends a probe before the
        # pages.
        asks = sandbox is not self.ours or not target.exists()
        sandbox.fail_next(*[Fault.ok()] * (asks + 1 + pages), *[Fault.status(401)] * 20)
        with pytest.raises(AuthenticationError):
            await self.export(target, sandbox, **{"page_size": 20, "concurrency": 1} | options)
        sandbox._handler.script.clear()
        rotate_key(sandbox, NEW)

    def records(self):
        return read_account(self.ours)


@pytest.fixture
async def world():
    """Two accounts of 120 conversations."""
    async with (
        Sandbox(120, 4, **OURS, quota=None, cache=1000, api_key="our-first-key") as ours,
        Sandbox(120, 4, **THEIRS, quota=None, cache=1000, api_key="the-key-of-others") as theirs,
    ):
        yield World(ours, theirs)


@pytest.fixture
def files(tmp_path):
    """A function that returns the content of the folder."""
    return partial(read_files, tmp_path)


def change_manifest(target, **values):
    path = target.with_name(f"{target.name}.manifest.json")
    path.write_bytes(msgspec.structs.replace(read_manifest(target), **values).to_json())


def names_in(checkpoint):
    with closing(sqlite3.connect(checkpoint)) as database:
        return {name for (name,) in database.execute("SELECT name FROM names")}


# A key that was rotated


@either
@pytest.mark.parametrize("options", [{}, {"incremental": True}, {"by_inbox": True}], ids=str)
@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet/"])
async def test_nightly_exports_continue_under_a_rotated_key(
    world, tmp_path, business, options, name
):
    """Under a new key, the inboxes or the conversations show that the account is the same."""
    target = f"{tmp_path}/{name}"
    if business is UNKNOWN and options != {"by_inbox": True}:
        world.close_inboxes()
    first = await world.export(target, **options)
    rotate_key(world.ours, NEW)
    world.ours.create()
    report = await world.export(target, **options)

    assert read_target(target) == world.records()
    assert report.manifest.incremental == options.get("incremental", False)
    assert first.manifest.key_fingerprint != report.manifest.key_fingerprint
    assert first.manifest.business_id == report.manifest.business_id


@either
@pytest.mark.parametrize(
    "options",
    [{}, {"incremental": True}, {"account": "Acme"}, {"account": "Acme", "by_inbox": True}],
    ids=str,
)
async def test_another_account_does_not_replace_the_target(world, files, target, business, options):
    """The export refuses another account after at most one page, whatever the account's name is."""
    if business is UNKNOWN and "by_inbox" not in options:
        world.close_inboxes()
    await world.export(target, **options)
    before = files()
    with pytest.raises(
        ReplacementRefusedError, match="holds an export of another account"
    ) as caught:
        await world.export(target, world.theirs, **options)

    assert files() == before
    assert caught.value.option == "replace"
    why = "another business" if business is KNOWN else "none of the newest conversations is in it"
    assert ("another business" if "by_inbox" in options else why) in str(caught.value)
    assert len(world.theirs.log.requests) <= 2

    report = await world.export(target, world.theirs, replace=True, **options)
    assert read_target(target) == read_account(world.theirs)
    assert not report.manifest.incremental


async def test_a_different_business_outweighs_the_conversations(world, target):
    """If the businesses are known and differ, no conversations are compared."""
    await world.export(target)
    change_manifest(target, business_id="another")
    rotate_key(world.ours, NEW)
    asked = len(world.ours.log.requests)
    with pytest.raises(ReplacementRefusedError, match="another business"):
        await world.export(target)

    assert len(world.ours.log.requests) - asked == 1


async def test_the_same_key_is_always_the_same_account(world, target):
    """With an unchanged key, the export does not request the business and ignores a stored one."""
    await world.export(target)
    change_manifest(target, business_id="another")
    asked = asked_for(world.ours)
    await world.export(target)

    assert asked_for(world.ours) == asked
    assert read_manifest(target).business_id == "another"


async def test_a_name_is_for_people(world, target):
    """Changing the account's name does not change the account.

    The next manifest has the new name.
    """
    for name in ("Acme", "Acme Inc", None):
        await world.export(target, account=name)

        assert read_manifest(target).account == (name or read_manifest(target).key_fingerprint)


@pytest.mark.parametrize("options", [{}, {"incremental": True}], ids=str)
async def test_any_account_may_replace_an_empty_target(world, target, options):
    """Any account may replace, or add to, a target that has no conversations."""
    world.close_inboxes()
    options |= {"stage_status": "snoozed"}
    await world.export(target, **options)
    await world.export(target, world.theirs, **options)
    report = await world.export(target, world.theirs, **options)

    assert read_target(target) == []
    assert report.manifest.incremental == options.get("incremental", False)


async def test_forbidden_inboxes_are_skipped(world, target):
    """If the first inbox is forbidden, the next one shows which account the target belongs to."""
    world.close_inboxes()
    names = world.ours.inbox_ids[:2]
    await world.export(target, inbox_ids=names)
    rotate_key(world.ours, NEW)
    world.ours.forbid(names[0])
    report = await world.export(target, inbox_ids=names)

    assert not report.is_complete
    assert report.manifest.conversations == sum(map(world.ours.count, names))


async def test_a_first_page_that_is_refused_ends_the_export(world, target):
    """The export fails if no page can show which account the target belongs to."""
    world.close_inboxes()
    await world.export(target)
    rotate_key(world.ours, NEW)
    world.ours.fail_next(Fault.ok(), Fault.status(403))
    with pytest.raises(PermissionDeniedError):
        await world.export(target)


async def test_an_edited_target_identifies_no_account(world, target):
    """An edited target may contain any ids, so its ids do not identify the account."""
    world.close_inboxes()
    await world.export(target)
    target.write_bytes(target.read_bytes() + b"\n")
    rotate_key(world.ours, NEW)
    with pytest.raises(ReplacementRefusedError, match="another account"):
        await world.export(target)


@either
async def test_a_table_is_added_to_under_a_new_key(world, store, business):
    """An incremental export adds to a table with the same business or conversations."""
    if business is UNKNOWN:
        world.close_inboxes()
    await world.export(store.sink())
    rotate_key(world.ours, NEW)
    world.ours.create()
    report = await world.export(store.sink(), incremental=True)
    assert report.manifest.incremental
    assert len(store.rows()) == 121

    with pytest.raises(ConfigurationError, match=r"another account .* it cannot be updated"):
        await world.export(store.sink(), world.theirs, incremental=True)
    assert len(store.rows()) == 121
    # A user may want all conversations of several accounts in one table.
    await world.export(store.sink(), world.theirs)
    assert len(store.rows()) == 241


# How many requests an export sends


async def test_the_business_is_asked_for_once(world, target):
    """The export requests the business once per key and stores the reply in the manifest."""
    for _ in range(2):
        await world.export(target)
        await world.export(target, incremental=True)
        assert asked_for(world.ours) == 1
    rotate_key(world.ours, NEW)
    for _ in range(2):
        await world.export(target, incremental=True)
        assert asked_for(world.ours) == 2


@pytest.mark.parametrize("status", [403, 404])
async def test_a_refusal_is_remembered(world, target, status):
    """If a key may not list the inboxes, later exports with that key do not request them again."""
    close_inboxes(world.ours, status)
    for _ in range(3):
        await world.export(target)

    assert asked_for(world.ours) == 1
    assert read_manifest(target).business_id == ""


async def test_a_temporary_failure_is_not_remembered(world, target):
    """After a temporary failure, the next export requests the business again."""
    close_inboxes(world.ours, 503)
    await world.export(target)
    assert read_manifest(target).business_id is None
    open_inboxes(world.ours)
    await world.export(target)

    assert read_manifest(target).business_id
    assert asked_for(world.ours) == 2


async def test_a_known_business_is_kept_under_a_new_key(world, target):
    """If a new key may not list the inboxes, the manifest keeps the known business."""
    await world.export(target)
    business_id = read_manifest(target).business_id
    rotate_key(world.ours, NEW)
    close_inboxes(world.ours)
    for _ in range(2):
        await world.export(target)
        assert read_manifest(target).business_id == business_id
    assert asked_for(world.ours) == 2


STRANGE = [
    Fault.status(401),
    Fault.status(500),
    Fault.drop(),
    Fault.raw(body=b"<html>"),
    Fault.raw(body=b"[]"),
    Fault.raw(body=b'{"data":[]}'),
    Fault.raw(body=b'{"data":[7,null,{"id":3}]}'),
    Fault.raw(body=b'{"data":[{"id":"a"},{"id":"b","business_id":null}]}'),
    Fault.raw(body=b'{"data":[{"id":"a","business_id":"x"},{"id":"b","business_id":"y"}]}'),
    Fault.raw(body=b'{"data":[{"id":"a","business_id":[7]}]}'),
]


@pytest.mark.parametrize("fault", STRANGE, ids=lambda fault: f"{fault.kind}-{fault.body}"[:40])
async def test_no_export_fails_because_of_the_inboxes(world, target, fault):
    """An export that does not need the list of inboxes ignores a failure of that request."""
    world.ours.fail_next(fault)
    await world.export(target)

    assert read_target(target) == world.records()
    assert not read_manifest(target).business_id


async def test_a_list_of_inboxes_that_hangs(world, target, monkeypatch):
    """The request for the list of inboxes has its own timeout."""
    monkeypatch.setattr("cekat_async.export.accounts._SECONDS_FOR_BUSINESS", 0.05)
    world.ours.fail_next(Fault.hang())
    await world.export(target)

    assert read_target(target) == world.records()
    assert read_manifest(target).business_id is None


async def test_an_unreachable_server_is_tried_once(world, target, files, caplog):
    """If the server cannot be reached, the export fails at its first request."""
    caplog.set_level("DEBUG", "cekat_async")
    gone = Sandbox(1)
    async with gone:
        pass
    with pytest.raises(NotSentError):
        await world.export(target, gone)

    assert len([one for one in caplog.records if "cannot reach" in one.getMessage()]) <= 1
    assert files() == {}


async def test_stdout_needs_no_business(world, capsysbinary):
    """Standard output has no manifest, so the export does not request the business."""
    await world.export("-")

    assert asked_for(world.ours) == 0
    assert len(capsysbinary.readouterr().out.splitlines()) == 120


async def test_inboxes_that_are_walked_are_listed_once(world, target):
    """With ``by_inbox``, the export reads the business from the inbox list that it needs anyway."""
    await world.export(target, by_inbox=True)

    assert asked_for(world.ours) == 1
    assert read_manifest(target).business_id


# A key is revoked during an export


@either
@pytest.mark.parametrize("old", [True, False], ids=["a target", "no target"])
async def test_a_new_key_resumes(world, target, business, old):
    """If a key is revoked during an export, the same command resumes with a new key."""
    if business is UNKNOWN:
        world.close_inboxes()
    if old:
        await world.export(target)
    await world.stop(target)
    report = await world.export(target, page_size=20)

    assert report.manifest.runs == 2
    assert report.resumed >= 60
    assert read_target(target) == world.records()


@either
async def test_another_account_is_not_mixed_in(world, target, files, business):
    """The export refuses another account's checkpoint and uses none of its data."""
    if business is UNKNOWN:
        world.close_inboxes()
    await world.stop(target, account="Acme")
    before = files()
    kept = names_in(f"{target}.checkpoint")
    with pytest.raises(CheckpointError, match="belongs to another account") as caught:
        await world.export(target, world.theirs, account="Acme")

    assert "restart=True" in str(caught.value)
    assert files() == before
    assert names_in(f"{target}.checkpoint") == kept
    report = await world.export(target, world.theirs, account="Acme", restart=True)
    assert report.manifest.runs == 1
    assert read_target(target) == read_account(world.theirs)


async def test_a_checkpoint_of_others_is_not_ours_because_the_target_is(world, target):
    """The export refuses another account's checkpoint even if the target belongs to our account."""
    world.close_inboxes()
    await world.export(target)
    await world.stop(target, world.theirs, replace=True)
    rotate_key(world.ours, "yet-another-key-of-ours")
    with pytest.raises(CheckpointError, match="belongs to another account"):
        await world.export(target, page_size=20)

    await world.export(target, page_size=20, restart=True)
    assert read_target(target) == world.records()


async def test_the_old_target_identifies_the_checkpoint(world, target):
    """If the newest page lacks the checkpoint's conversations, the old target shows the account."""
    world.close_inboxes()
    await world.export(target)
    await world.stop(target, pages=1)
    # The conversations in the checkpoint are no longer at the front of the listing.
    for id_ in names_in(f"{target}.checkpoint"):
        world.ours.delete(id_)
    report = await world.export(target, page_size=20)

    assert report.manifest.runs == 2


@either
async def test_an_adopted_checkpoint_is_not_checked_again(world, target, business):
    """After a checkpoint was resumed under a new key, resuming it again needs no account check."""
    if business is UNKNOWN:
        world.close_inboxes()
    await world.stop(target)
    with pytest.raises(ZeroDivisionError):
        await world.export(target, page_size=20, concurrency=1, on_progress=lambda _: 1 // 0)
    asked = asked_for(world.ours)
    before = len(world.ours.log.requests)
    report = await world.export(target, page_size=20, concurrency=1)

    assert asked_for(world.ours) == asked
    # The requests are for the remaining pages and for a last look at the front. No request was
    # needed to identify the account.
    assert len(world.ours.log.requests) - before <= 120 / 20 - 4 + 1
    assert report.manifest.runs == 3
    assert read_manifest(target).key_fingerprint.startswith(world.ours.base_url)


async def test_several_businesses_identify_no_account(world, target):
    """If a key sees inboxes of several businesses, only conversations identify the account."""
    change_inboxes(
        world.ours, lambda data: [one | {"business_id": str(n)} for n, one in enumerate(data)]
    )
    await world.export(target)
    assert read_manifest(target).business_id == ""
    rotate_key(world.ours, NEW)
    await world.export(target)

    assert read_target(target) == world.records()


async def test_a_list_without_a_business_does_not_remove_a_known_one(world, target):
    """With ``by_inbox``, the manifest keeps its business even if the inboxes no longer name one."""
    await world.export(target, by_inbox=True)
    business_id = read_manifest(target).business_id
    change_inboxes(world.ours, lambda data: [one | {"business_id": None} for one in data])
    await world.export(target, by_inbox=True)

    assert read_manifest(target).business_id == business_id != ""


@pytest.mark.parametrize(
    "one, other, is_same",
    [
        (Identity("k", "b"), Identity("k", "c"), True),
        (Identity("k", "b"), Identity("l", "b"), True),
        (Identity("k", "b"), Identity("l", "c"), False),
        (Identity("k", "b"), Identity("l", ""), None),
        (Identity("k", "b"), Identity("l", None), None),
        (Identity("k", ""), Identity("l", ""), None),
        (Identity("k", None), Identity("l", None), None),
    ],
)
def test_identities_are_compared(one, other, is_same):
    """Two identities are compared by key first, and then by business if both businesses are known.

    Otherwise the comparison is undecided.
    """
    assert one.is_same(other) is is_same
    assert other.is_same(one) is is_same


def test_identity_of_a_job_and_of_a_manifest():
    """Without a key fingerprint, the account's name is the fingerprint, as version 0.1 wrote it."""
    values = {"account": "a", "target": "t", "filters": {}, "began": "2026-04-10T00:00:00Z"}
    for record in (
        msgspec.convert(values, Job),
        msgspec.convert(values | {"version": "0", "ended": values["began"]}, Manifest),
    ):
        assert Identity.from_record(record) == Identity("a", None)
        newer = msgspec.structs.replace(record, key_fingerprint="k", business_id="b")
        assert Identity.from_record(newer) == Identity("k", "b")
