"""The generated data: its shape, its reproducibility, and its cost."""

from __future__ import annotations

import hashlib
import re
import tracemalloc
from collections import Counter
from itertools import islice
from uuid import UUID

import msgspec
import pytest
from support.effort import calls_in

from cekat_async.sandbox import Dialect, Sandbox

DOCUMENTED = {
    "id", "inbox_id", "contact_id", "contact_name", "contact_phone", "platform_type", "inbox_name",
    "stage_status", "handled_by_id", "handled_by_name", "notes", "labels", "last_message",
    "first_message", "additional_data", "created_at", "resolved_at", "resolved_by_id",
    "resolved_by_name",
}  # fmt: skip
SEEN = {"pipeline", "collaborators", "last_message_by_human"}


def decoded(sandbox):
    return [msgspec.json.decode(raw) for _, raw in sandbox.records()]


@pytest.fixture(scope="module")
def rows():
    return decoded(Sandbox(3000))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_gives_others():
    """Two sandboxes with the same seed are equal byte for byte. Different seeds share no record."""
    assert list(Sandbox(200, 5, 7).records()) == list(Sandbox(200, 5, 7).records())
    assert not set(Sandbox(200, 5, 7).records()) & set(Sandbox(200, 5, 8).records())
    assert list(Sandbox(9, 5, 7).inbox_records()) == list(Sandbox(9, 5, 7).inbox_records())


PLAIN = {"unknown_fields": False, "collections_null": 0.3}


def unsettled(seed, dialect):
    """A small account in which some of the conversations have changed."""
    sandbox = Sandbox(300, 5, seed, dialect=dialect)
    for index, (id_, _) in enumerate(list(sandbox.records())):
        for every, change in ((7, sandbox.touch), (11, sandbox.resolve), (13, sandbox.delete)):
            if index % every == every - 1 and index % 91 != 90:
                change(id_)
    sandbox.touch(sandbox.create())
    return sandbox


def test_a_seed_gives_the_same_bytes_in_every_version():
    """A seed gives the same data in every version and dialect, even after changes."""
    digest = hashlib.sha256()
    for seed, order in ((1, "activity"), (-7, "created"), (2**40, "ascending")):
        for timestamps in ("offset", "z", "micro", "naive", "space"):
            for options in ({}, {"tie": 13}, PLAIN):
                dialect = Dialect(order=order, timestamps=timestamps, **options)
                for id_, raw in unsettled(seed, dialect).records():
                    digest.update(id_.encode() + raw)
    assert digest.hexdigest() == "cbf2109cbae3a860049c25261fcea588aa4d7273ceedab687aee355224dff344"


def test_a_conversation_does_not_depend_on_their_number():
    """The n-th conversation is the same in a small and a large account, except for its inbox."""
    small, large = decoded(Sandbox(500)), decoded(Sandbox(900))
    assert [row["id"] for row in small] == [row["id"] for row in large][:500]
    assert [row["contact_id"] for row in small] == [row["contact_id"] for row in large][:500]


def test_every_record_has_the_documented_fields_in_their_types(rows):
    """Documented fields always exist, in the documented types or null where that is allowed."""
    for row in rows:
        assert row.keys() >= DOCUMENTED
        assert str(UUID(row["id"])) == row["id"]
        assert str(UUID(row["contact_id"])) == row["contact_id"]
        assert isinstance(row["labels"], list | None)
        assert isinstance(row["additional_data"], dict | None)
        assert row["contact_phone"] is None or row["contact_phone"].isdigit()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", row["created_at"])
        assert (row["resolved_at"] is None) == (row["stage_status"] != "resolved")
        assert (row["handled_by_id"] is None) == (row["stage_status"] in {"pending", "open"})


def test_the_times_of_a_record_are_in_order(rows):
    """A conversation is created, then has messages, and then is resolved."""
    for row in rows:
        said = (row["last_message"] or {}).get("created_at", row["created_at"])
        assert row["created_at"] <= said <= (row["resolved_at"] or said)


def test_it_looks_like_real_data(rows):
    """Nulls, emoji, an ``open`` status, several platforms, and unknown and unusual values occur."""
    statuses = Counter(row["stage_status"] for row in rows)
    assert statuses.keys() == {"assigned", "resolved", "pending", "open"}
    assert min(statuses.values()) > 50
    assert {row["platform_type"] for row in rows} >= {"whatsapp", "instagram", "livechat"}
    for field in ("contact_name", "contact_phone", "notes", "labels", "last_message",
                  "first_message", "additional_data"):  # fmt: skip
        empty = sum(row[field] is None for row in rows)
        assert 0 < empty < len(rows) / 2, field
    assert {name for row in rows for name in row.keys() - DOCUMENTED} == {*SEEN, "x_sla"}
    assert any("color" in label for row in rows for label in row["labels"] or ())
    assert any(label.keys() == {"id", "name"} for row in rows for label in row["labels"] or ())
    assert any("created_at" not in (row["last_message"] or {"created_at"}) for row in rows)
    kinds = {type(value) for row in rows for value in (row["additional_data"] or {}).values()}
    assert kinds == {str, int, float, bool, dict}
    sizes = [len(raw) for _, raw in Sandbox(1000).records()]
    assert 900 <= sum(sizes) / len(sizes) <= 1100


def test_text_is_utf_8_and_not_escaped():
    """Emoji are sent as UTF-8."""
    raw = b"".join(raw for _, raw in Sandbox(300).records())
    assert "🙏".encode() in raw
    assert b"\\u" not in raw


def test_without_unknown_fields_there_are_none():
    """``unknown_fields=False`` leaves only the documented fields, even in labels."""
    for row in decoded(Sandbox(500, dialect=Dialect(unknown_fields=False))):
        assert row.keys() == DOCUMENTED
        assert all(label.keys() == {"id", "name"} for label in row["labels"] or ())


@pytest.mark.parametrize("share, least, most", [(0.0, 0, 0), (0.3, 240, 360), (1.0, 1000, 1000)])
def test_the_share_of_null_collections_is_as_asked(share, least, most):
    """``collections_null`` is the share of records in which each collection is null."""
    rows = decoded(Sandbox(1000, dialect=Dialect(collections_null=share)))
    for field in ("labels", "additional_data", "last_message"):
        assert least <= sum(row[field] is None for row in rows) <= most


def test_inbox_sizes_are_skewed_and_none_is_empty():
    """The largest inbox is many times larger than the smallest, which is not empty."""
    sandbox = Sandbox(20_000, 50)
    sizes = [sandbox.count(inbox) for inbox in sandbox.inbox_ids]
    assert sum(sizes) == 20_000
    assert sizes == sorted(sizes, reverse=True) or sizes[0] == max(sizes)
    assert sizes[0] > 20 * sizes[-1] > 0


@pytest.mark.parametrize(
    "conversations, inboxes", [(10_000, 10_000), (12_345, 10_000), (100, 1), (50_001, 300)]
)
def test_every_inbox_has_a_conversation_when_there_are_enough(conversations, inboxes):
    """If there are as many conversations as inboxes, no inbox is empty."""
    sandbox = Sandbox(conversations, inboxes)
    sizes = [sandbox.count(inbox) for inbox in sandbox.inbox_ids]
    assert min(sizes) >= 1
    assert sum(sizes) == conversations


def test_inboxes_have_the_documented_fields_and_unique_names():
    """Each inbox has a different id and name, and its conversations contain both."""
    sandbox = Sandbox(500, 40)
    inboxes = {id_: msgspec.json.decode(raw) for id_, raw in sandbox.inbox_records()}
    assert list(inboxes) == sandbox.inbox_ids
    assert len({inbox["name"] for inbox in inboxes.values()}) == 40
    assert {"active", "inactive"} == {inbox["status"] for inbox in inboxes.values()}
    for row in decoded(sandbox):
        inbox = inboxes[row["inbox_id"]]
        assert (inbox["name"], inbox["type"]) == (row["inbox_name"], row["platform_type"])


@pytest.mark.parametrize(
    "conversations, inboxes, count", [(0, 0, 0), (0, 5, 0), (1, 1, 1), (3, 10, 3)]
)
def test_small_accounts_work(conversations, inboxes, count):
    """An account can have no conversations, no inboxes, or more inboxes than conversations."""
    sandbox = Sandbox(conversations, inboxes)
    assert len(list(sandbox.records())) == sandbox.count() == count
    assert len(sandbox.inbox_ids) == inboxes


def test_a_million_conversations_cost_nothing_to_start_and_little_to_read():
    """Starting takes constant work, and reading takes memory for one page, whatever the size."""
    Sandbox(1)
    few = calls_in(lambda: Sandbox(1000, 8))
    assert calls_in(lambda: Sandbox(1_000_000, 8)) < few + 20_000
    tracemalloc.start()
    try:
        sandbox = Sandbox(1_000_000, 100)
        seen = sum(1 for _ in islice(sandbox.records(), 2000))
        last = sandbox.inbox_ids[-1]
        assert sandbox.count(last) > 0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seen == 2000
    assert peak < 5_000_000


def test_a_cache_changes_no_byte():
    """Cached records equal rendered records, even after changes and with a small cache."""
    for cache in (1, 50, 1000):
        plain, cached = (Sandbox(200, cache=cache) for cache in (0, cache))
        for _ in range(3):
            assert list(cached.records()) == list(plain.records())
            for sandbox in (plain, cached):
                ids = [id_ for id_, _ in sandbox.records()]
                sandbox.touch(ids[50])
                sandbox.resolve(ids[60])
                sandbox.delete(ids[70])
                sandbox.create()


def test_a_cache_is_bounded():
    """The cache never exceeds the given number of records, and it can be switched off."""
    sandbox = Sandbox(500, cache=120)
    for _ in range(2):
        assert sum(1 for _ in sandbox.records()) == 500
    assert sandbox._dataset._render.cache_info().currsize == 120
    assert not hasattr(Sandbox(500)._dataset._render, "cache_info")


def test_a_record_is_found_by_its_id():
    """``record(id)`` returns that conversation's bytes, and raises an error for an unknown id."""
    sandbox = Sandbox(1_000_000)
    for id_, raw in islice(sandbox.records(), 0, 500, 50):
        assert sandbox.record(id_) == raw
    for unknown in (
        "",
        "x",
        "00000000-0000-4000-8000-000000000000",
        "z" * 36,
        next(Sandbox(1).records())[0][:-1],
    ):
        with pytest.raises(KeyError):
            sandbox.record(unknown)
    beyond = [id_ for id_, _ in Sandbox(5).records()][4]
    with pytest.raises(KeyError):
        Sandbox(4).record(beyond)
