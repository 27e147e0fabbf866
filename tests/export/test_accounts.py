"""An export recognizes its account, under whatever key, and mixes it with no other."""

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
    """An account that may rotate its key, and another one."""

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
        """Begin an export, and let its key be revoked after some pages."""
        sandbox = sandbox or self.ours
        # What the business is may be known, and before the pages there is always a probe.
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
    """A function that returns what is in the folder."""
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
async def test_a_rotated_key_stops_no_nightly_job(world, tmp_path, business, options, name):
    """The account is the same, whether its inboxes say so or the conversations that are there."""
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
async def test_another_account_does_not_take_the_place(world, files, target, business, options):
    """Another account is refused by its first page at the latest, whatever it is called."""
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
    """Where both sides say that they are of different businesses, nothing else is looked at."""
    await world.export(target)
    change_manifest(target, business_id="another")
    rotate_key(world.ours, NEW)
    asked = len(world.ours.log.requests)
    with pytest.raises(ReplacementRefusedError, match="another business"):
        await world.export(target)

    assert len(world.ours.log.requests) - asked == 1


async def test_the_same_key_is_always_the_same_account(world, target):
    """With the same key nothing is asked for, and nothing that is recorded can contradict."""
    await world.export(target)
    change_manifest(target, business_id="another")
    asked = asked_for(world.ours)
    await world.export(target)

    assert asked_for(world.ours) == asked
    assert read_manifest(target).business_id == "another"


async def test_a_name_is_for_people(world, target):
    """Another name is no other account: it is what the manifest says from then on."""
    for name in ("Acme", "Acme Inc", None):
        await world.export(target, account=name)

        assert read_manifest(target).account == (name or read_manifest(target).key_fingerprint)


@pytest.mark.parametrize("options", [{}, {"incremental": True}], ids=str)
async def test_the_place_of_nothing_may_be_taken(world, target, options):
    """In a target without a conversation there is nothing to lose, nor to be added to."""
    world.close_inboxes()
    options |= {"stage_status": "snoozed"}
    await world.export(target, **options)
    await world.export(target, world.theirs, **options)
    report = await world.export(target, world.theirs, **options)

    assert read_target(target) == []
    assert report.manifest.incremental == options.get("incremental", False)


async def test_the_inboxes_that_are_closed_are_passed_over(world, target):
    """Of several inboxes the first may be closed: another one shows whose they are."""
    world.close_inboxes()
    names = world.ours.inbox_ids[:2]
    await world.export(target, inbox_ids=names)
    rotate_key(world.ours, NEW)
    world.ours.forbid(names[0])
    report = await world.export(target, inbox_ids=names)

    assert not report.is_complete
    assert report.manifest.conversations == sum(map(world.ours.count, names))


async def test_a_first_page_that_is_refused_ends_the_export(world, target):
    """If the listing of all conversations is refused, nothing shows whose the target is."""
    world.close_inboxes()
    await world.export(target)
    rotate_key(world.ours, NEW)
    world.ours.fail_next(Fault.ok(), Fault.status(403))
    with pytest.raises(PermissionDeniedError):
        await world.export(target)


async def test_a_changed_target_shows_nothing(world, target):
    """What somebody has edited may have the ids of anyone in it."""
    world.close_inboxes()
    await world.export(target)
    target.write_bytes(target.read_bytes() + b"\n")
    rotate_key(world.ours, NEW)
    with pytest.raises(ReplacementRefusedError, match="another account"):
        await world.export(target)


@either
async def test_a_table_is_added_to_under_a_new_key(world, store, business):
    """An incremental export into a database goes on if its rows, or the business, are the same."""
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
    # All of it into the same table is what one may want.
    await world.export(store.sink(), world.theirs)
    assert len(store.rows()) == 241


# What is asked for, and how often


async def test_the_business_is_asked_for_once(world, target):
    """Each key asks once; what it has answered is in the manifest."""
    for _ in range(2):
        await world.export(target)
        await world.export(target, incremental=True)
        assert asked_for(world.ours) == 1
    rotate_key(world.ours, NEW)
    for _ in range(2):
        await world.export(target, incremental=True)
        assert asked_for(world.ours) == 2


@pytest.mark.parametrize("status", [403, 404])
async def test_a_refusal_is_an_answer(world, target, status):
    """A key that may not see the inboxes is not asked again night after night."""
    close_inboxes(world.ours, status)
    for _ in range(3):
        await world.export(target)

    assert asked_for(world.ours) == 1
    assert read_manifest(target).business_id == ""


async def test_a_failure_is_no_answer(world, target):
    """What may pass is asked again by the next export."""
    close_inboxes(world.ours, 503)
    await world.export(target)
    assert read_manifest(target).business_id is None
    open_inboxes(world.ours)
    await world.export(target)

    assert read_manifest(target).business_id
    assert asked_for(world.ours) == 2


async def test_what_is_known_of_the_account_stays_known(world, target):
    """A new key that may not see the inboxes takes over what the one before it has found out."""
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
    """Whatever the list of inboxes answers, an export that does not need it goes on."""
    world.ours.fail_next(fault)
    await world.export(target)

    assert read_target(target) == world.records()
    assert not read_manifest(target).business_id


async def test_a_list_of_inboxes_that_never_answers(world, target, monkeypatch):
    """The question is given up after a while."""
    monkeypatch.setattr("cekat_async.export.accounts._SECONDS_FOR_BUSINESS", 0.05)
    world.ours.fail_next(Fault.hang())
    await world.export(target)

    assert read_target(target) == world.records()
    assert read_manifest(target).business_id is None


async def test_a_server_that_is_not_there_is_not_asked_twice(world, target, files, caplog):
    """Where no request can be sent the first one says so."""
    caplog.set_level("DEBUG", "cekat_async")
    gone = Sandbox(1)
    async with gone:
        pass
    with pytest.raises(NotSentError):
        await world.export(target, gone)

    assert len([one for one in caplog.records if "cannot reach" in one.getMessage()]) <= 1
    assert files() == {}


async def test_where_nothing_stays_nothing_is_asked(world, capsysbinary):
    """Standard output has no manifest, and nobody will ever compare."""
    await world.export("-")

    assert asked_for(world.ours) == 0
    assert len(capsysbinary.readouterr().out.splitlines()) == 120


async def test_inboxes_that_are_walked_are_listed_once(world, target):
    """With ``by_inbox`` the list that is asked for anyway says which business it is."""
    await world.export(target, by_inbox=True)

    assert asked_for(world.ours) == 1
    assert read_manifest(target).business_id


# A key that is revoked during an export


@either
@pytest.mark.parametrize("old", [True, False], ids=["a target", "no target"])
async def test_a_new_key_resumes(world, target, business, old):
    """When a key is revoked, the same export goes on under the new one."""
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
    """The checkpoint of another account is refused, and none of its data is ever in it."""
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
    """Ours is the target, theirs what was to replace it: the one says nothing of the other."""
    world.close_inboxes()
    await world.export(target)
    await world.stop(target, world.theirs, replace=True)
    rotate_key(world.ours, "yet-another-key-of-ours")
    with pytest.raises(CheckpointError, match="belongs to another account"):
        await world.export(target, page_size=20)

    await world.export(target, page_size=20, restart=True)
    assert read_target(target) == world.records()


async def test_the_old_target_shows_whose_the_checkpoint_is(world, target):
    """Where the newest have come since, the target shows it, if both are of the same account."""
    world.close_inboxes()
    await world.export(target)
    await world.stop(target, pages=1)
    # What is in the checkpoint is gone from the front of the listing.
    for id_ in names_in(f"{target}.checkpoint"):
        world.ours.delete(id_)
    report = await world.export(target, page_size=20)

    assert report.manifest.runs == 2


@either
async def test_what_is_adopted_is_ours_from_then_on(world, target, business):
    """A checkpoint that was adopted under a new key asks nothing when that goes on again."""
    if business is UNKNOWN:
        world.close_inboxes()
    await world.stop(target)
    with pytest.raises(ZeroDivisionError):
        await world.export(target, page_size=20, concurrency=1, on_progress=lambda _: 1 // 0)
    asked = asked_for(world.ours)
    before = len(world.ours.log.requests)
    report = await world.export(target, page_size=20, concurrency=1)

    assert asked_for(world.ours) == asked
    # The pages that were left, and a look: no page was asked for to recognize anything.
    assert len(world.ours.log.requests) - before <= 120 / 20 - 4 + 1
    assert report.manifest.runs == 3
    assert read_manifest(target).key_fingerprint.startswith(world.ours.base_url)


async def test_several_businesses_show_nothing(world, target):
    """A key that sees the inboxes of several businesses is recognized by conversations alone."""
    change_inboxes(
        world.ours, lambda data: [one | {"business_id": str(n)} for n, one in enumerate(data)]
    )
    await world.export(target)
    assert read_manifest(target).business_id == ""
    rotate_key(world.ours, NEW)
    await world.export(target)

    assert read_target(target) == world.records()


async def test_a_known_business_outlasts_a_list_that_names_none(world, target):
    """With ``by_inbox`` a list of inboxes without a business takes nothing away."""
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
def test_what_shows_that_two_are_the_same(one, other, is_same):
    """The key decides, then the business where both know one; else nobody knows."""
    assert one.is_same(other) is is_same
    assert other.is_same(one) is is_same


def test_a_job_and_a_manifest_tell_the_same_way():
    """What has no fingerprint of its own has that of the account, as version 0.1 wrote it."""
    values = {"account": "a", "target": "t", "filters": {}, "began": "2026-04-10T00:00:00Z"}
    for record in (
        msgspec.convert(values, Job),
        msgspec.convert(values | {"version": "0", "ended": values["began"]}, Manifest),
    ):
        assert Identity.from_record(record) == Identity("a", None)
        newer = msgspec.structs.replace(record, key_fingerprint="k", business_id="b")
        assert Identity.from_record(newer) == Identity("k", "b")
