"""An unexpected field of a record is slow only on its first page, and fast on later pages."""

import gc
import json
import pickle
import subprocess
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.effort import run_in_steps
from support.hostile import make_body, records
from support.scripted import reply

from cekat_async import Conversation
from cekat_async._api.decoding import ConversationPageDecoder, InboxPageDecoder
from cekat_async.models.decoding import RecordDecoder
from cekat_async.models.fields import Extra
from cekat_async.models.steps import run_steps

SENT = {
    "id": "c",
    "contact_name": 5,
    "created_at": "2026-04-10T09:51:19",
    "labels": [{"id": "l", "icon": "star"}],
    "stage_status": "snoozed",
    "additional_data": None,
    "sla": {"is_late": False},
    "score": 1.5,
}


def encode(*sent: object) -> bytes:
    return json.dumps({"data": sent}).encode()


def decode(decoder: ConversationPageDecoder, *sent: object):
    return run_steps(decoder.decode(reply(body=encode(*sent))))


@pytest.fixture
def slow(monkeypatch):
    """Return the positions of the records that were decoded field by field."""
    found = []
    original = RecordDecoder.decode

    def noting(self, index, raw, unexpected):
        found.append(index)
        return original(self, index, raw, unexpected)

    monkeypatch.setattr(RecordDecoder, "decode", noting)
    return found


# --- their cost


@pytest.mark.parametrize("name", [name for name in SENT if name != "id"])
def test_a_field_is_unexpected_once(slow, name):
    """Only the first page that has an unexpected field is decoded record by record."""
    decoder = ConversationPageDecoder()
    sent = [{"id": "a"}, {"id": "b", name: SENT[name]}]

    first, second = decode(decoder, *sent), decode(decoder, *sent)

    # An unknown status does not count as unexpected, nor does null for a collection.
    assert slow == ([] if name in {"stage_status", "additional_data"} else [1])
    assert first == second


def test_an_unexpected_field_costs_its_own_record_only(slow):
    """The page's other records are each decoded in one step."""
    decode(ConversationPageDecoder(), *({"id": str(number)} for number in range(50)), SENT)

    assert slow == [50]


def test_a_malformed_record_costs_no_other_record_its_speed(slow):
    """If a page has a malformed record, learned fields are still decoded in one step."""
    decoder = ConversationPageDecoder()
    decode(decoder, SENT)
    slow.clear()

    page = decode(decoder, SENT, 7, SENT)

    assert slow == [1]
    assert len(page.items) == 2
    assert len(page.malformed_records) == 1


def test_the_learned_fields_are_bounded(slow):
    """If each record has a new field name, no field is lost.

    Such a server does not make the client use more memory.
    """
    decoder = ConversationPageDecoder()
    decode(decoder, SENT)

    def count_classes() -> int:
        gc.collect()
        return sum(isinstance(one, type(msgspec.Struct)) for one in gc.get_objects())

    before = 0
    for page_number in range(40):
        before = count_classes() if page_number == 20 else before
        invented = [{"id": "x", f"new_{page_number}_{number}": number} for number in range(9)]
        page = decode(decoder, *invented)
        assert [{"id": "x", **record.extra} for record in page] == invented

    assert count_classes() == before
    slow.clear()
    decode(decoder, SENT)
    assert slow == []


@pytest.mark.parametrize("name", ["", " ", 'a"b', "a\\b", "a\nb", "é😀", "unknown_0", "__class__"])
def test_a_field_may_have_any_name(name):
    """Every unknown field is kept, even if msgspec cannot use its name."""
    decoder = ConversationPageDecoder()
    sent = {"id": "c", "sla": 1, name: {"a": [1]}}

    for _ in range(2):
        (record,) = decode(decoder, sent)
        assert {"id": "c", **record.extra} == sent


def test_a_large_page_of_small_records_is_read_in_steps():
    """Learned fields do not block the event loop, even in very many records."""
    decoder = ConversationPageDecoder()
    decode(decoder, {"id": "c", "sla": 1})

    page, pauses = run_in_steps(
        decoder.decode(reply(body=encode(*({"id": "c", "sla": 1} for _ in range(5000)))))
    )

    assert len(page.items) == 5000
    assert pauses >= 9


# --- the result


@given(pages=st.lists(st.lists(records(), max_size=4), min_size=1, max_size=3))
def test_a_page_is_the_same_whatever_was_learned(pages):
    """A decoder that has learned the fields of a page decodes it to an equal page."""
    bodies = [make_body(sent) for sent in pages]
    decoder, inbox_decoder = ConversationPageDecoder(), InboxPageDecoder()
    for body in bodies:
        run_steps(decoder.decode(reply(body=body)))
        run_steps(inbox_decoder.decode(reply(body=body), 1))

    for body in bodies:
        learned = run_steps(decoder.decode(reply(body=body)))
        fresh = run_steps(ConversationPageDecoder().decode(reply(body=body)))
        assert learned == fresh
        assert list(map(repr, map(make_dict, learned))) == list(map(repr, map(make_dict, fresh)))
        assert run_steps(inbox_decoder.decode(reply(body=body), 1)) == run_steps(
            InboxPageDecoder().decode(reply(body=body), 1)
        )


@pytest.mark.parametrize(
    "value",
    [rb'"\ud83d"', b'"caf\xe9"', b'"two\r\nlines\t"', b"1e999", b"-0", b"7.50", b"[NaN]", b"null"],
)
@pytest.mark.parametrize("field", ["contact_name", "labels", "created_at", "additional_data"])
def test_a_field_that_was_mistyped_before_may_be_anything(field, value):
    """A field that was mistyped earlier is decoded as if it had never been seen."""
    decoder = ConversationPageDecoder()
    decode(decoder, {"id": "c", field: 5})
    body = b'{"data":[{"id":"c","%b":%b}]}' % (field.encode(), value)

    learned = run_steps(decoder.decode(reply(body=body)))

    assert learned == run_steps(ConversationPageDecoder().decode(reply(body=body)))


def make_dict(record: Conversation) -> dict[str, object]:
    """Return a record as a dict with its fields in a fixed order."""
    return dict(sorted(record.to_dict().items()))


def get_records() -> tuple[Conversation, Conversation]:
    """Return the same record decoded field by field, and in one step."""
    decoder = ConversationPageDecoder()
    return decode(decoder, SENT)[0], decode(decoder, SENT)[0]


def test_a_record_is_a_conversation_like_any_other():
    """Type, equality, hash, repr, ``replace`` and ``to_dict`` do not depend on the decoding."""
    slow, fast = get_records()

    assert type(fast) is type(slow) is Conversation
    assert type(fast.extra) is Extra
    assert fast == slow
    assert slow == fast
    assert hash(fast) == hash(slow)
    assert repr(fast) == repr(slow)
    assert fast.to_dict() == slow.to_dict()
    assert msgspec.structs.replace(fast, notes="n") == msgspec.structs.replace(slow, notes="n")
    assert sys.getsizeof(fast) == sys.getsizeof(slow)
    assert gc.is_tracked(fast) is gc.is_tracked(slow) is False
    with pytest.raises(AttributeError):
        fast.notes = "n"


def test_extra_is_in_alphabetical_order():
    """The order of ``extra`` does not depend on the fields that were seen before."""
    decoder = ConversationPageDecoder()
    sent = {"id": "c", "inbox_id": 1, "zone": 2, "contact_id": 3}

    orders = [[*decode(decoder, sent)[0].extra] for _ in range(2)]
    mistyped_only = [*decode(decoder, {"id": "c", "inbox_id": 1, "contact_id": 3})[0].extra]

    assert orders == [["contact_id", "inbox_id", "zone"]] * 2
    assert mistyped_only == ["contact_id", "inbox_id"]


def test_records_without_unexpected_fields_share_one_empty_extra():
    """A record without unexpected fields takes the same memory, whatever other records have."""
    decoder = ConversationPageDecoder()
    decode(decoder, SENT)

    plain, _ = decode(decoder, {"id": "a"}, SENT)

    assert plain.extra is Conversation(id="a").extra
    assert plain == Conversation(id="a")


def test_a_record_can_be_unpickled_where_its_fields_were_never_seen():
    """A process can read a pickled record even if it has not learned the record's fields."""
    _, fast = get_records()
    read = "import pickle, sys; print(repr(pickle.load(sys.stdin.buffer)))"

    done = subprocess.run(  # noqa: S603 - just written
        [sys.executable, "-c", read], input=pickle.dumps(fast), capture_output=True, check=True
    )

    assert done.stdout.decode().strip() == repr(fast)
