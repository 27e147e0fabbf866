"""Decoding one record: only the id is required, and nothing that the server sent is lost."""

import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.effort import EFFORT, calls_in, run_in_steps
from support.hostile import JSON, TEXTS
from support.scripted import reply

from cekat_async import decode_conversation, record_id
from cekat_async._api.decoding import ConversationPageDecoder, decode_raw_page
from cekat_async.errors import DecodeError
from cekat_async.models import Conversation, Inbox, Label, MalformedRecord, MessagePreview
from cekat_async.models.record_shape import get_shape
from cekat_async.models.steps import run_steps
from cekat_async.pages import InboxPage

# JSON that Python or msgspec does not accept as a value.
HOSTILE = st.sampled_from(
    [
        b"1e999",
        b"-1E400",
        b"9" * 5000,
        rb'"\ud83d"',
        b'"caf\xe9"',
        b'"two\nlines"',
        b"[" * 300 + b"]" * 300,
        b"6281234567890.0",
    ]
)
KNOWN = [name for name in Conversation.__struct_fields__ if name not in {"id", "extra"}]


def read(raw: bytes) -> Conversation:
    record = run_steps(get_shape(Conversation).decode(0, raw, set()))
    assert isinstance(record, Conversation), record
    return record


def make_page(*records: bytes):
    return run_steps(
        ConversationPageDecoder().decode(reply(body=b'{"data":[%s]}' % b",".join(records)))
    )


# --- fields of another type


@pytest.mark.parametrize(
    "field,sent,expected",
    [
        ("contact_phone", b"6281234567890", "6281234567890"),
        ("contact_phone", b"6281234567890.0", "6281234567890"),
        ("contact_phone", b"6.28123456789e12", "6281234567890"),
        ("contact_phone", b"1e999", "1e999"),
        ("contact_phone", b"9" * 5000, "9" * 5000),
        ("notes", b"1.5", "1.5"),
        ("notes", b"true", "true"),
        ("notes", b"[]", None),
        ("notes", b'{"text":"x"}', None),
        ("inbox_id", b"7", "7"),
        ("stage_status", b"false", "false"),
        ("stage_status", b"[]", None),
        ("platform_type", b"3", "3"),
        ("platform_type", b"{}", None),
        ("additional_data", b"[]", {}),
        ("additional_data", b'""', {}),
        ("additional_data", b"7", {}),
        ("additional_data", b'{"n":1e999,"Email":"a@b.c"}', {"n": "1e999", "Email": "a@b.c"}),
        ("created_at", b"1775800036", None),
        ("created_at", b'"soon"', None),
        ("created_at", b'""', None),
        ("created_at", b"[]", None),
        ("resolved_at", b"true", None),
        ("labels", b"{}", ()),
        ("labels", b'"VIP"', ()),
        ("last_message", b'"hi"', None),
        ("last_message", b"[]", None),
        ("first_message", b"0", None),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_mistyped_field_costs_nothing_else(field: str, sent: bytes, expected: object) -> None:
    """A mistyped field becomes text, None or empty.

    The record keeps the original value and all other fields.
    """
    record = read(b'{"id":"x","%s":%s,"inbox_name":"CS","x_new":[1]}' % (field.encode(), sent))

    assert getattr(record, field) == expected
    assert (record.id, record.inbox_name, record.extra["x_new"]) == ("x", "CS", [1])
    assert decode_conversation(json.dumps(record.to_dict())) == record
    if b"999" in sent:
        # Python has no float that large, so its text is the value of the field.
        assert set(record.extra) == {"x_new"}
    else:
        assert set(record.extra) == {field, "x_new"}
        assert json.dumps(record.extra[field]) == json.dumps(json.loads(sent))
        assert record.to_dict()[field] == json.loads(sent)


def test_a_list_loses_only_its_bad_elements() -> None:
    """Labels that can be read are kept, and ``extra`` has the whole original list."""
    sent = [{"id": 1, "name": "VIP"}, "text", None, {"id": "b", "icon": "*"}, [], {"name": {}}]
    record = decode_conversation(json.dumps({"id": "x", "labels": sent}))

    assert [(label.id, label.name) for label in record.labels] == [
        ("1", "VIP"),
        ("b", None),
        (None, None),
    ]
    assert [label.extra for label in record.labels] == [{"id": 1}, {"icon": "*"}, {"name": {}}]
    assert record.extra == {"labels": sent}
    assert make_page(json.dumps({"id": "x", "labels": sent}).encode()).mistyped_fields == {
        "labels": 1,
        "labels.id": 1,
        "labels.name": 1,
    }


def test_a_nested_record_keeps_what_is_its_own() -> None:
    """A mistyped field of a label or a preview is kept in that object's own ``extra``."""
    record = decode_conversation(
        '{"id":"x","labels":[{"id":"l","color":0}],"last_message":{"message":7,"created_at":1}}'
    )

    assert record.labels == (Label(id="l", color="0", extra=type(record.extra)(color=0)),)
    assert record.last_message == MessagePreview(
        message="7", extra=type(record.extra)(message=7, created_at=1)
    )
    assert record.extra == {}


def test_a_field_named_extra_survives() -> None:
    """A field of the API that is called ``extra`` is an ordinary unknown field."""
    for value in ("text", {"a": 1}, None, 7):
        record = decode_conversation(json.dumps({"id": "x", "extra": value, "notes": 5}))

        assert record.extra == {"extra": value, "notes": 5}
        assert record.to_dict()["extra"] == value


@pytest.mark.parametrize(
    "field,sent,expected",
    [
        ("name", b"7", "7"),
        ("phone_number", b"628123", "628123"),
        ("type", b"[]", None),
        ("flow_mode", b'"yes"', None),
        ("auto_reassign", b"1", None),
        ("created_at", b"0", None),
    ],
)
def test_inboxes_follow_the_same_rule(field: str, sent: bytes, expected: object) -> None:
    """A mistyped field of an inbox does not affect any other field."""
    inbox = run_steps(
        get_shape(Inbox).decode(0, b'{"id":"i","%s":%s}' % (field.encode(), sent), set())
    )

    assert isinstance(inbox, Inbox)
    assert getattr(inbox, field) == expected
    assert inbox.extra == {field: json.loads(sent)}
    assert InboxPage(items=(inbox,)).mistyped_fields == {field: 1}


def test_pages_count_mistyped_and_unknown_fields() -> None:
    """A page has the names of its unknown and mistyped fields.

    For each name, it has the number of records with such a field.
    """
    page = make_page(
        b'{"id":"a","notes":7,"x_new":1,"extra":2,"labels":[{"icon":1},{"icon":2}]}',
        b'{"id":"b","notes":8,"last_message":{"created_at":5,"kind":"x"},'
        b'"first_message":{"kind":"x"}}',
        b'{"id":"c"}',
    )

    assert page.mistyped_fields == {"notes": 2, "last_message.created_at": 1}
    nested = ["labels.icon", "first_message.kind", "last_message.kind"]
    assert page.unknown_fields == dict.fromkeys(["x_new", "extra", *nested], 1)
    assert make_page(b'{"id":"c"}').mistyped_fields == make_page(b'{"id":"c"}').unknown_fields == {}


def test_records_as_documented_are_hardly_looked_at() -> None:
    """In a documented record, the check for such fields takes only a few function calls."""
    record = (
        b'{"id":"%d","labels":[{"id":"l"},{"id":"m"}],'
        b'"first_message":{"message":"x"},"last_message":{"message":"y"}}'
    )
    page = make_page(*(record % number for number in range(100)))

    assert calls_in(lambda: page.unknown_fields) <= 5 * len(page)


def test_large_records_are_read_in_steps() -> None:
    """A record of several megabytes is read with pauses between its fields and labels."""
    sent = {
        "id": "x",
        "notes": "n" * 600_000,
        "labels": [{"id": str(number)} for number in range(1200)] + [5],
        "created_at": "soon",
    } | {f"x_{number}": number for number in range(2000)}
    record, pauses = run_in_steps(
        get_shape(Conversation).decode(0, json.dumps(sent).encode(), set())
    )

    assert pauses >= 5
    assert (len(record.labels), record.notes) == (1200, sent["notes"])
    assert record.extra.keys() == sent.keys() - {"id", "notes"}


def test_each_attempt_to_read_a_large_record_is_a_step() -> None:
    """Other tasks can run before a large record is decoded field by field."""
    wide = b'{"id":"x","additional_data":{"a":[' + b"[]," * 50_000 + b'[]]},"new":1,"notes":2}'
    record, pauses = run_in_steps(get_shape(Conversation).decode(0, wide, set()))

    assert pauses >= 4
    assert record.extra == {"new": 1, "notes": 2}


def test_a_large_record_with_an_unknown_field_is_a_record() -> None:
    """A record of several megabytes keeps its unknown field and all others."""
    record = read(b'{"id":"x","new":1,"notes":"' + b"n" * 600_000 + b'"}')

    assert (record.id, record.extra, len(record.notes)) == ("x", {"new": 1}, 600_000)


@given(
    fields=st.dictionaries(st.sampled_from(KNOWN) | TEXTS.filter(lambda t: t != "id"), JSON),
    hostile=st.dictionaries(st.sampled_from([*KNOWN, "x_new"]), HOSTILE, max_size=2),
)
@settings(max_examples=50 * EFFORT)
def test_any_fields_make_a_record(fields: dict, hostile: dict) -> None:
    """An object with an id is a record, whatever its other fields are, and nothing is lost.

    Each field is either as documented or in ``extra`` with its original value. A mistyped field
    does not change the other fields.
    """
    members = {json.dumps(name).encode(): json.dumps(v).encode() for name, v in fields.items()}
    members |= {json.dumps(name).encode(): value for name, value in hostile.items()}
    raw = b'{"id":"x"%s}' % b"".join(b",%s:%s" % item for item in members.items())

    record = read(raw)

    assert record.id == record_id(raw) == "x"
    for name, value in fields.items():
        if name in hostile:
            continue
        alone = decode_conversation(json.dumps({"id": "x", name: value}))
        if name in KNOWN:
            assert getattr(record, name) == getattr(alone, name)
        assert record.extra.get(name) == alone.extra.get(name)
        if name not in KNOWN or name in record.extra:
            assert json.dumps(record.extra[name]) == json.dumps(value)
        else:
            assert isinstance(value, str | dict | list | None.__class__ | bool | int | float)
    json.dumps(record.to_dict())


# --- one id everywhere


@given(
    id_=st.none() | TEXTS | st.integers() | st.just("\ud83d"),
    rest=st.dictionaries(st.sampled_from([*KNOWN, "x_new"]), HOSTILE | st.just(b"NaN"), max_size=3),
    first=st.booleans(),
)
@settings(max_examples=50 * EFFORT)
def test_a_record_has_one_id_everywhere(id_: object, rest: dict, first: bool) -> None:  # noqa: FBT001
    """The id of a record is the same in its bytes, its line, its page and its raw page."""
    own = [] if id_ is None else [b'"id":' + json.dumps(id_).encode()]
    others = [b'"%s":%s' % (name.encode(), value) for name, value in rest.items()]
    raw = b"{" + b",".join(own + others if first else others + own) + b"}"
    body = b'{"data":[%s,{"id":"healthy"}]}' % raw

    page = run_steps(ConversationPageDecoder().decode(reply(body=body)))
    raw_page = run_steps(decode_raw_page(reply(body=body)))

    expected = record_id(raw)
    assert page.ids == raw_page.ids == [expected, "healthy"]
    assert [record_id(line) for line in page.lines] == page.ids
    assert [bytes(one) for one in page.raw] == [raw, b'{"id":"healthy"}']
    assert page.lines == raw_page.lines
    assert (expected is None) is (not isinstance(id_, str) or not id_)


def test_a_lone_surrogate_and_a_mistyped_field_together() -> None:
    """Broken text and a mistyped field in the same record do not hide its id."""
    raw = rb'{"id":"x","contact_name":"Budi \ud83d","additional_data":[]}'
    (record,) = make_page(raw).items

    assert record_id(raw) == record.id == "x"
    assert (record.contact_name, record.extra) == ("Budi \ufffd", {"additional_data": []})


@pytest.mark.parametrize(
    "raw,id_",
    [
        (b'{"id":"x"}', "x"),
        (rb'{"\u0069d":"x","n":NaN}', "x"),
        (b'{"id":"first","n":NaN,"id":"last"}', "last"),
        (b'{"id":"first","id":"last"}', "last"),
        (b' \n{"n":[{"id":"inner"}],"id":"outer" , "m":Infinity}\r\n', "outer"),
        (b'{"text":"\\"id\\":\\"no\\"","n":NaN,"id":"x"}', "x"),
        (b'{"text":"{[","n":NaN,"id":"x"}', "x"),
        (b'{"id":"","n":NaN}', None),
        (b'{"id":5,"n":NaN}', None),
        (b'{"n":NaN}', None),
        (b'{"id":"x"', None),
        (b"", None),
        (b"NaN", None),
        (b'["id"]', None),
    ],
)
def test_ids_are_read_from_broken_records(raw: bytes, id_: str | None) -> None:
    """The last ``id`` of the record itself counts, even if msgspec cannot read the rest."""
    assert record_id(raw) == id_
    assert record_id(msgspec.Raw(raw)) == id_


def test_a_malformed_conversation_is_one_in_a_page_too() -> None:
    """``decode_conversation`` and a page agree on the malformed records and on the reasons."""
    for raw in (b"[]", b'{"id":1}', b'{"id":"x","n":NaN}', b'{"id":""}'):
        malformed = run_steps(get_shape(Conversation).decode(0, raw, set()))

        assert isinstance(malformed, MalformedRecord)
        with pytest.raises(DecodeError, match="not a valid Conversation") as caught:
            decode_conversation(raw)
        assert (caught.value.field, caught.value.raw) == (malformed.field, malformed.raw)
        assert malformed.reason in caught.value.message


def test_zoneless_timestamps_are_not_mistyped() -> None:
    """A timestamp in another format is decoded and is not in ``extra``."""
    record = decode_conversation('{"id":"x","created_at":"2026-04-10 16:24:23"}')

    assert record.created_at == datetime(2026, 4, 10, 16, 24, 23, tzinfo=UTC)
    assert record.extra == {}


@pytest.mark.parametrize(
    "value,kept",
    [
        (b"9" * 5000, "9" * 5000),
        (b'{"a":[%b,1,1.5,1e999]}' % (b"9" * 5000), {"a": ["9" * 5000, 1, 1.5, "1e999"]}),
    ],
    ids=["number", "in"],
)
def test_a_number_of_thousands_of_digits_is_kept_as_text(value: bytes, kept: object) -> None:
    """A number that Python refuses is kept as text. Other values are unchanged."""
    record = read(b'{"id":"x","pipeline":%b,"new":%b}' % (value, value))

    assert record.pipeline == kept
    assert record.extra == {"new": kept}


def test_a_number_in_a_text_field_has_one_spelling() -> None:
    """A number in a text field becomes its shortest text, so writing it changes nothing."""
    record = read(
        b'{"id":"x","notes":-0,"contact_phone":7.50,"inbox_name":1E300,"contact_name":{}}'
    )

    assert (record.notes, record.contact_phone, record.inbox_name) == ("0", "7.5", "1e300")
    assert Conversation.from_json(record.to_json()) == record
