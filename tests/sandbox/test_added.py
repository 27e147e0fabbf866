"""Conversations that a test adds, updates and assigns, among the generated ones."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.effort import EFFORT

from cekat_async.sandbox import Dialect, Live, Sandbox

WHOLE = {
    "id": "mine",
    "inbox_id": "shop",
    "inbox_name": "Toko",
    "platform_type": "carrier-pigeon",
    "stage_status": "snoozed",
    "labels": "not a list",
    "created_at": "2026-04-01T00:00:00+00:00",
    "last_message": {"message": "Halo", "created_at": "2026-04-02T00:00:00+00:00"},
}


def get_record(sandbox, id_):
    return json.loads(sandbox.record(id_))


def get_ids(sandbox):
    return [id_ for id_, _ in sandbox.records()]


def get_page(sandbox, path="/api/conversations", **query):
    reply = sandbox._api.answer("GET", path, urlencode(query))
    assert reply.status == 200
    return json.loads(reply.body)


def walk(sandbox, after_page=lambda: None, **query):
    """Return the records of all pages."""
    found, cursor = [], {}
    while True:
        page = get_page(sandbox, **query, **cursor)
        found += page["data"]
        after_page()
        cursor = page["metadata"]["next_cursor"]
        if not cursor["cursor_id"]:
            return found


def test_an_account_can_have_only_added_conversations():
    """Without generated conversations, the listing has the added ones, the newest first."""
    sandbox = Sandbox(conversations=0)
    sari = sandbox.add(contact_name="Sari", stage_status="assigned")
    budi = sandbox.add(contact_name="Budi")
    assert [(row["id"], row["contact_name"]) for row in walk(sandbox)] == [
        (budi, "Budi"),
        (sari, "Sari"),
    ]
    assert [row["id"] for row in walk(sandbox, stage_status="assigned")] == [sari]
    assert (sandbox.count(), sandbox.count(None, "pending")) == (2, 1)


def test_other_fields_are_generated_and_agree():
    """Fields that were not given are generated, and agree with the given status."""
    sandbox = Sandbox(20)
    usual = {name for name in get_record(sandbox, get_ids(sandbox)[0]) if name != "x_sla"}
    for status, handled, resolved in [
        ("assigned", True, False),
        ("resolved", True, True),
        ("pending", False, False),
        ("snoozed", False, False),
    ]:
        record = get_record(sandbox, sandbox.add(stage_status=status))
        assert usual - {"pipeline", "collaborators", "last_message_by_human"} <= set(record)
        assert record["stage_status"] == status
        assert (record["handled_by_id"] is not None, record["resolved_at"] is not None) == (
            handled,
            resolved,
        )
        assert next(row["id"] for row in walk(sandbox, stage_status=status)) == record["id"]


def test_a_complete_conversation_is_sent_unchanged():
    """A mapping in the API's form is sent unchanged, whatever fields it lacks or contains."""
    sandbox = Sandbox(5)
    assert sandbox.add(WHOLE) == "mine"
    assert get_record(sandbox, "mine") == WHOLE
    assert [row["id"] for row in walk(sandbox, stage_status="snoozed")] == ["mine"]
    id_ = sandbox.add({"contact_name": None})
    assert get_record(sandbox, id_) == {"id": id_, "contact_name": None}
    assert get_ids(sandbox)[0] == id_
    assert sum(sandbox.count(inbox) for inbox in sandbox.inbox_ids) == sandbox.count() - 1


def test_fields_replace_those_of_a_whole_conversation():
    """A recorded conversation can be a template for others."""
    sandbox = Sandbox(0)
    sandbox.add(WHOLE, id="other", contact_name="Sari")
    assert get_record(sandbox, "other") == WHOLE | {"id": "other", "contact_name": "Sari"}


def test_a_record_of_a_client_can_be_added():
    """An object with ``to_dict()`` is added as the mapping that it returns."""

    class Record:
        def to_dict(self):
            return WHOLE

    sandbox = Sandbox(0)
    sandbox.add(Record())
    assert get_record(sandbox, "mine") == WHOLE


@pytest.mark.parametrize(
    "conversation, fields, message",
    [
        (["mine"], {}, "mapping"),
        ("mine", {}, "mapping"),
        ({"notes": object()}, {}, "JSON"),
        (None, {"notes": "\ud800"}, "JSON"),
        ({"id": 5}, {}, "id"),
        (None, {"id": ""}, "id"),
        (None, {"id": "there"}, "update"),
    ],
)
def test_anything_else_is_refused(conversation, fields, message):
    """If the arguments are invalid, the error says what is wrong, and nothing is added."""
    sandbox = Sandbox(0)
    sandbox.add(id="there")
    with pytest.raises(ValueError, match=message):
        sandbox.add(conversation, **fields)
    assert get_ids(sandbox) == ["there"]


def test_without_inboxes_a_conversation_brings_its_own():
    """In an account without inboxes, the first conversation needs ``inbox_id``.

    After that, generated conversations have an inbox.
    """
    sandbox = Sandbox(0, 0)
    with pytest.raises(ValueError, match="inbox_id"):
        sandbox.add(contact_name="Sari")
    sari = sandbox.add(inbox_id="shop", inbox_name="Toko", platform_type="instagram")
    made_up = sandbox.create()
    assert sandbox.inbox_ids == ["shop"]
    assert {row["id"] for row in walk(sandbox, inbox_id="shop")} == {sari, made_up}
    assert get_record(sandbox, made_up)["inbox_name"] == "Toko"


def test_a_conversation_without_an_inbox_can_be_changed():
    """A conversation without an inbox is in no inbox's listing, even after it gets a message."""
    sandbox = Sandbox(0, 0)
    sandbox.add({"id": "mine", "inbox_id": 7})
    sandbox.touch("mine")
    record = get_record(sandbox, "mine")
    assert (record["id"], record["inbox_id"]) == ("mine", 7)
    assert record["last_message"]["message"]


def test_a_new_inbox_is_in_the_listing_of_inboxes():
    """A new inbox has the name and platform of its first conversation, and later ones join it."""
    sandbox = Sandbox(30, 2)
    sandbox.add(WHOLE)
    second = sandbox.add(inbox_id="shop")
    sandbox.add(inbox_id="plain")
    inboxes = get_page(sandbox, "/api/inboxes")
    assert inboxes["metadata"]["pagination"]["total_items"] == 4
    shop, plain = inboxes["data"][2:]
    assert [shop[name] for name in ("id", "name", "type", "status")] == [
        "shop",
        "Toko",
        "carrier-pigeon",
        "active",
    ]
    assert plain["name"]
    record = get_record(sandbox, second)
    assert (record["inbox_name"], record["platform_type"]) == ("Toko", "carrier-pigeon")
    assert [row["id"] for row in walk(sandbox, inbox_id="shop")] == [second, "mine"]
    assert sandbox.count("shop") == 2


def test_the_position_is_the_time_of_last_activity():
    """The position is the later of message time and creation time, or now if none is given."""
    sandbox = Sandbox(100)
    made_up = get_ids(sandbox)
    at = {id_: get_record(sandbox, id_)["created_at"] for id_ in made_up}
    page = get_page(sandbox, limit=50)
    border = page["metadata"]["next_cursor"]["cursor_ts"]
    old = sandbox.add(id="0", created_at=min(at.values()), last_message={"created_at": border})
    new = sandbox.add(last_message={"message": "no time"})
    ids = get_ids(sandbox)
    assert ids[0] == new
    # The old conversation has the time of the 50th generated one, whose id is greater.
    assert ids.index(old) == 51
    after = page["metadata"]["next_cursor"]
    assert get_page(sandbox, limit=1, **after)["data"][0]["id"] == old
    ancient = sandbox.add(created_at="2001-01-01 10:00:00", last_message=None)
    assert get_ids(sandbox)[-1] == ancient
    late = sandbox.add(created_at="2030-01-01", last_message={"created_at": "2029-01-01"})
    assert get_ids(sandbox)[0] == late
    # The sandbox's clock has advanced to 2030, so that later events have later times.
    sandbox.touch(ids[60])
    assert get_ids(sandbox)[:2] == [ids[60], late]


def test_by_creation_the_position_is_the_time_of_creation():
    """In a listing in creation order, a new message does not move its conversation."""
    sandbox = Sandbox(10, dialect=Dialect(order="created"))
    first = sandbox.add(
        created_at="2030-01-01", last_message={"created_at": "2030-06-01T00:00:00Z"}
    )
    second = sandbox.add(created_at="2030-02-01", last_message=None)
    assert get_ids(sandbox)[:2] == [second, first]
    sandbox.update(first, last_message={"message": "Halo"})
    assert get_ids(sandbox)[:2] == [second, first]
    sandbox.update(first, created_at="2030-03-01")
    assert get_ids(sandbox)[:2] == [first, second]


@pytest.mark.parametrize("is_added", [True, False])
def test_an_update_replaces_fields_and_keeps_the_position(is_added):
    """An update leaves other fields unchanged, and filters use the new values."""
    sandbox = Sandbox(20)
    if is_added:
        sandbox.add(created_at="2026-04-10T09:20:00", last_message=None)
    id_ = get_ids(sandbox)[10]
    before, ids = get_record(sandbox, id_), get_ids(sandbox)
    new = {"notes": "VIP", "stage_status": "snoozed", "made_up_field": [1], "created_at": None}
    sandbox.update(id_, **new)
    assert get_record(sandbox, id_) == before | new
    assert get_ids(sandbox) == ids
    assert [row["id"] for row in walk(sandbox, stage_status="snoozed")] == [id_]
    # A new time of creation changes neither the status nor the last activity.
    sandbox.update(ids[11], created_at="2001-01-01T00:00:00Z")
    assert get_ids(sandbox) == ids


def test_an_update_can_move_to_another_inbox():
    """If its inbox is changed, a conversation moves to that inbox's listing and keeps its time."""
    sandbox = Sandbox(60, 3)
    ids, (first, second, _) = get_ids(sandbox), sandbox.inbox_ids
    moved = next(row["id"] for row in walk(sandbox, inbox_id=first)[2:])
    counts = sandbox.count(first), sandbox.count(second)
    sandbox.update(moved, inbox_id=second)
    assert get_ids(sandbox) == ids
    assert (sandbox.count(first), sandbox.count(second)) == (counts[0] - 1, counts[1] + 1)
    assert moved in [row["id"] for row in walk(sandbox, inbox_id=second)]
    assert moved not in [row["id"] for row in walk(sandbox, inbox_id=first)]


def test_a_message_moves_a_conversation():
    """A new last message moves its conversation to the message's time, or else to the front."""
    sandbox = Sandbox(20)
    ids = get_ids(sandbox)
    sandbox.update(ids[5], last_message={"message": "Halo"})
    assert get_ids(sandbox)[0] == ids[5]
    assert get_record(sandbox, ids[5])["last_message"] == {"message": "Halo"}
    sandbox.update(ids[6], last_message={"created_at": "2001-01-01T00:00:00Z"})
    assert get_ids(sandbox)[-1] == ids[6]


def test_events_change_given_fields():
    """A message replaces only the last message, and a resolution only the resolution's fields."""
    sandbox = Sandbox(3)
    id_ = sandbox.add(contact_name="Sari", notes="VIP", last_message={"message": "Halo"})
    other = sandbox.add()
    given = get_record(sandbox, id_)
    sandbox.touch(id_)
    touched = get_record(sandbox, id_)
    assert get_ids(sandbox)[:2] == [id_, other]
    assert touched["last_message"]["created_at"] > given["created_at"]
    assert touched == given | {"last_message": touched["last_message"]}
    sandbox.assign(id_, "Dewi")
    sandbox.resolve(id_)
    resolved = get_record(sandbox, id_)
    assert resolved["stage_status"] == "resolved"
    assert resolved["resolved_by_name"] == resolved["handled_by_name"] == "Dewi"
    assert resolved["last_message"] == touched["last_message"]
    assert sandbox.count(None, "resolved") == 1 + Sandbox(3).count(None, "resolved")
    sandbox.resolve(other)
    assert get_record(sandbox, other)["resolved_by_name"] is not None
    sandbox.delete(id_)
    assert id_ not in get_ids(sandbox)


def test_an_agent_has_one_id():
    """Assigning sets the status and agent, and does not move the conversation.

    An agent's name has the same id everywhere.
    """
    sandbox = Sandbox(200)
    ids = get_ids(sandbox)
    records = [json.loads(raw) for _, raw in sandbox.records()]
    known = {row["handled_by_name"]: row["handled_by_id"] for row in records}
    solved = next(row["id"] for row in records if row["stage_status"] == "resolved")
    sandbox.assign(solved, "Ratna Kusuma")
    record = get_record(sandbox, solved)
    assert record["handled_by_id"] == known["Ratna Kusuma"]
    assert (record["stage_status"], record["resolved_at"]) == ("assigned", None)
    assert get_ids(sandbox) == ids
    for id_ in ids[:2]:
        sandbox.assign(id_, "Nobody Else")
    first, second = (get_record(sandbox, id_)["handled_by_id"] for id_ in ids[:2])
    assert first == second
    assert first not in known.values()
    sandbox.assign(ids[0], None)
    record = get_record(sandbox, ids[0])
    assert (record["stage_status"], record["handled_by_id"]) == ("pending", None)


def test_an_unknown_conversation_is_an_error():
    """If an id is unknown, the error names it. An id cannot be changed."""
    sandbox = Sandbox(3)
    for change in (sandbox.update, lambda id_: sandbox.assign(id_, "Dewi")):
        with pytest.raises(KeyError, match="no conversation 'nobody'"):
            change("nobody")
    with pytest.raises(ValueError, match="id"):
        sandbox.update(get_ids(sandbox)[0], id="other")


def test_an_id_in_use_is_not_generated_again():
    """A conversation copied from another sandbox keeps its id, and later ones get other ids."""
    other = Sandbox(5)
    copied = [other.create() for _ in range(3)][2]
    sandbox = Sandbox(5)
    sandbox.add(json.loads(other.record(copied)))
    made_up = {sandbox.create() for _ in range(5)}
    assert copied not in made_up
    # The live mode draws conversation numbers, and a skipped number has no conversation.
    assert [sandbox._listing.nth(number) for number in (6, 7, 8)] == [6, None, 8]
    assert len(set(get_ids(sandbox))) == sandbox.count() == 11
    sandbox.delete(copied)
    assert sandbox.add(id=copied) == copied
    assert sandbox.count() == 11


def test_an_account_can_be_copied():
    """Ids from another sandbox with the same seed are kept, in any order."""
    other = Sandbox(30)
    records = [json.loads(raw) for _, raw in other.records()]
    sandbox = Sandbox(0)
    for record in records[::-1]:
        assert sandbox.add(record) == record["id"]
    assert [get_record(sandbox, record["id"]) for record in records] == records
    made_up = [sandbox.create() for _ in range(3)]
    assert len({*made_up, *get_ids(sandbox)}) == sandbox.count() == 33


def test_added_conversations_take_part_in_the_live_mode():
    """The live mode sends messages to added conversations and resolves them like any others."""
    sandbox = Sandbox(0, live=Live(messages=2.0, resolved=1.0))
    ids = [sandbox.add(contact_name=f"Sari {number}") for number in range(4)]
    before = [get_record(sandbox, id_) for id_ in ids]
    for _ in range(20):
        get_page(sandbox)
    after = [get_record(sandbox, id_) for id_ in ids]
    assert [row["contact_name"] for row in after] == [row["contact_name"] for row in before]
    assert all(
        new["last_message"] != old["last_message"] for new, old in zip(after, before, strict=True)
    )
    assert "resolved" in {row["stage_status"] for row in after}


times = st.integers(0, 40).map(lambda minute: f"2026-04-10T09:{minute:02d}:00")
fields = st.fixed_dictionaries(
    {},
    optional={
        "created_at": times,
        "last_message": st.none() | st.fixed_dictionaries({"created_at": times}),
        "inbox_id": st.sampled_from(["new", "newer", None]),
        "stage_status": st.sampled_from(["assigned", "pending", "resolved", "snoozed", None]),
        "notes": st.text(max_size=3),
    },
)
steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "whole", "update", "assign", "touch", "resolve", "delete", "next"]),
        st.integers(0, 1000),
        fields,
    ),
    max_size=30,
)


def change(sandbox, step, index, new):
    """Make one change, and return the id of its conversation."""
    if step == "add":
        return sandbox.add(**new)
    if step == "whole":
        return sandbox.add(new)
    ids = get_ids(sandbox)
    if not ids:
        return None
    id_ = ids[index % len(ids)]
    match step:
        case "update":
            sandbox.update(id_, **new)
            assert get_record(sandbox, id_).items() >= new.items()
        case "assign":
            sandbox.assign(id_, "Dewi" if index % 3 else None)
        case _:
            getattr(sandbox, step)(id_)
    return id_


@settings(max_examples=40 * EFFORT)
@given(
    st.integers(0, 12),
    st.sampled_from(["activity", "created", "ascending"]),
    st.integers(1, 5),
    st.integers(1, 4),
    steps,
)
def test_walks_among_changes_yield_each_conversation_once(size, order, tie, limit, history):
    """A walk during changes yields each unchanged conversation once. The next walk yields all."""
    sandbox = Sandbox(size, 2, dialect=Dialect(order=order, tie=tie))
    untouched, changed = set(get_ids(sandbox)), set()
    seen, cursor = [], {}
    for step, index, new in history:
        if step != "next":
            changed.add(change(sandbox, step, index, new))
        elif cursor.get("cursor_id", "first"):
            page = get_page(sandbox, limit=limit, **cursor)
            seen += [row["id"] for row in page["data"]]
            cursor = page["metadata"]["next_cursor"]
    while cursor.get("cursor_id", "first"):
        page = get_page(sandbox, limit=limit, **cursor)
        seen += [row["id"] for row in page["data"]]
        cursor = page["metadata"]["next_cursor"]
    stable = [id_ for id_ in seen if id_ in untouched - changed]
    assert sorted(stable) == sorted(untouched - changed)

    rows = walk(sandbox, limit=limit)
    assert [row["id"] for row in rows] == get_ids(sandbox)
    assert len({row["id"] for row in rows}) == len(rows) == sandbox.count()
    assert rows == [get_record(sandbox, row["id"]) for row in rows]
    for inbox in sandbox.inbox_ids:
        of_inbox = [row for row in rows if row.get("inbox_id") == inbox]
        assert walk(sandbox, limit=limit, inbox_id=inbox) == of_inbox
        assert sandbox.count(inbox) == len(of_inbox)
    for status in ("assigned", "pending", "resolved", "snoozed"):
        having = [row for row in rows if row.get("stage_status") == status]
        assert walk(sandbox, limit=limit, stage_status=status) == having
