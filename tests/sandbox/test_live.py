"""The live mode: the account changes while it is read."""

from __future__ import annotations

import msgspec
import pytest

from cekat_async.sandbox import Dialect, Live, Sandbox


def get_record(sandbox, id_):
    return msgspec.json.decode(sandbox.record(id_))


def get_ids(sandbox):
    return [id_ for id_, _ in sandbox.records()]


def test_a_message_moves_a_conversation_to_the_front():
    """The conversation gets a new last message, later than all others, and is listed first."""
    sandbox = Sandbox(50)
    before = get_ids(sandbox)
    old = get_record(sandbox, before[30])
    sandbox.touch(before[30])
    new = get_record(sandbox, before[30])
    assert get_ids(sandbox) == [before[30], *before[:30], *before[31:]]
    assert new.pop("last_message") != old.pop("last_message")
    assert new == old
    assert sandbox.count() == 50


def test_two_messages_are_two_different_messages():
    """Each message has its own text and a later time than the one before."""
    sandbox = Sandbox(5)
    first = get_ids(sandbox)[3]
    lasts = []
    for _ in range(3):
        sandbox.touch(first)
        lasts.append(get_record(sandbox, first)["last_message"])
    assert len({last["message"] for last in lasts}) == 3
    times = [last["created_at"] for last in lasts]
    assert times == sorted(set(times))


def test_a_new_conversation_appears_at_the_front():
    """A new conversation is pending, is the newest, is in one of the inboxes, and is counted."""
    sandbox = Sandbox(50)
    before = get_ids(sandbox)
    new = sandbox.create()
    assert get_ids(sandbox) == [new, *before]
    assert get_record(sandbox, new)["stage_status"] == "pending"
    assert get_record(sandbox, new)["created_at"] > get_record(sandbox, before[0])["created_at"]
    inbox = get_record(sandbox, new)["inbox_id"]
    assert sandbox.count(inbox) == Sandbox(50).count(inbox) + 1
    assert len({sandbox.create() for _ in range(20)} | {new, *before}) == 71


def test_resolving_changes_the_record_and_not_the_place():
    """``resolve`` sets the status and ``resolved_*``, and filters use the new values."""
    sandbox = Sandbox(50)
    before = get_ids(sandbox)
    pending = next(id_ for id_ in before if get_record(sandbox, id_)["stage_status"] == "pending")
    counts = {status: sandbox.count(None, status) for status in ("pending", "resolved")}
    sandbox.resolve(pending)
    solved = get_record(sandbox, pending)
    assert get_ids(sandbox) == before
    assert solved["stage_status"] == "resolved"
    assert solved["resolved_at"] > "2026-04-10T09:51:19.885"
    assert None not in (solved["resolved_by_id"], solved["handled_by_id"])
    assert sandbox.count(None, "pending") == counts["pending"] - 1
    assert sandbox.count(None, "resolved") == counts["resolved"] + 1


def test_a_deleted_conversation_is_nowhere():
    """A deleted conversation is not listed, found or counted, and can no longer be changed."""
    sandbox = Sandbox(50)
    before = get_ids(sandbox)
    sandbox.delete(before[10])
    assert get_ids(sandbox) == before[:10] + before[11:]
    assert sandbox.count() == 49
    for change in (sandbox.record, sandbox.touch, sandbox.resolve, sandbox.delete):
        with pytest.raises(KeyError):
            change(before[10])


def test_by_creation_a_message_moves_nothing():
    """In creation order, only the time of creation determines the position.

    New conversations are still first.
    """
    sandbox = Sandbox(50, dialect=Dialect(order="created"))
    before = get_ids(sandbox)
    old = sandbox.record(before[30])
    sandbox.touch(before[30])
    assert get_ids(sandbox) == before
    assert sandbox.record(before[30]) != old
    new = sandbox.create()
    assert get_ids(sandbox) == [new, *before]


def test_ascending_a_message_moves_to_the_end():
    """In ascending order, the conversation with the newest message is last."""
    sandbox = Sandbox(50, dialect=Dialect(order="ascending"))
    before = get_ids(sandbox)
    assert before == get_ids(Sandbox(50))[::-1]
    sandbox.touch(before[10])
    new = sandbox.create()
    assert get_ids(sandbox) == [*before[:10], *before[11:], before[10], new]


def test_without_inboxes_nothing_can_appear():
    """A new conversation needs an inbox."""
    with pytest.raises(ValueError, match="inbox"):
        Sandbox(0, 0).create()


def test_in_an_empty_account_conversations_can_appear():
    """New conversations are spread over all inboxes."""
    sandbox = Sandbox(0, 3)
    for _ in range(60):
        sandbox.create()
    assert sandbox.count() == 60
    assert all(sandbox.count(inbox) for inbox in sandbox.inbox_ids)


@pytest.mark.parametrize(
    "live, moved, created, resolved",
    [
        (Live(messages=2.0), 20, 0, 0),
        (Live(created=3.0), 0, 30, 0),
        (Live(resolved=1.0), 0, 0, 10),
        (Live(), 0, 0, 0),
    ],
)
async def test_events_happen_after_each_page(calling, live, moved, created, resolved):
    """Ten pages cause ten times the expected events, and other replies cause none."""
    async with Sandbox(600, live=live) as sandbox, calling(sandbox) as caller:
        before = dict(sandbox.records())
        unresolved = sandbox.count(None, "resolved")
        for _ in range(10):
            await caller.page(limit=1)
            await caller.get("/api/inboxes")
            await caller.get(limit=0)
        after = dict(sandbox.records())
        assert len(after) - len(before) == created
        messages = sum(
            msgspec.json.decode(raw)["last_message"]
            != msgspec.json.decode(after[id_])["last_message"]
            for id_, raw in before.items()
        )
        assert moved - 1 <= messages <= moved
        assert 0 <= sandbox.count(None, "resolved") - unresolved <= resolved
        assert (after == before) is (live == Live())


async def test_in_an_account_without_inboxes_nothing_happens(calling):
    """Events are no error in an account without conversations."""
    live = Live(messages=1.0, created=1.0, resolved=1.0)
    async with Sandbox(0, 0, live=live) as sandbox, calling(sandbox) as caller:
        assert (await caller.page())["data"] == []
        assert (await caller.page())["data"] == []


async def test_a_fraction_is_a_probability(calling):
    """With ``created=0.25``, about a quarter of the pages create one conversation."""
    async with Sandbox(10, live=Live(created=0.25), quota=None) as sandbox:
        async with calling(sandbox) as caller:
            for _ in range(200):
                await caller.page(limit=1)
        assert 30 <= sandbox.count() - 10 <= 70


async def test_events_are_the_same_for_the_same_seed(calling):
    """Two live walks with one seed return the same bytes, and another seed gives other bytes."""
    walks = []
    for seed in (1, 1, 2):
        live = Live(messages=2.0, created=0.5, resolved=0.5, seed=seed)
        async with Sandbox(100, live=live) as sandbox, calling(sandbox) as caller:
            walks.append([page async for page in caller.walk(limit=10)])
    assert walks[0] == walks[1] != walks[2]


async def test_a_conversation_that_moves_during_a_walk_is_missed_or_seen_at_its_new_place(calling):
    """A conversation that moves before the walk reaches it is missed."""
    async with Sandbox(30) as sandbox, calling(sandbox) as caller:
        before = get_ids(sandbox)
        seen = await caller.ids(limit=10, after_page=lambda: sandbox.touch(before[25]))
        assert seen == before[:25] + before[26:]
        assert (await caller.ids(limit=10))[0] == before[25]
