"""Decoding of replies into pages and records, for any bytes."""

import json
import math
import tracemalloc
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.effort import EFFORT
from support.scripted import reply

from cekat_async import decode_conversation
from cekat_async._api import decoding
from cekat_async._api.decoding import ConversationPageDecoder, InboxPageDecoder, decode_raw_page
from cekat_async.errors import (
    APIStatusError,
    AuthenticationError,
    CekatError,
    DecodeError,
    MalformedBodyError,
)
from cekat_async.models import Conversation, Inbox, Label, MessagePreview
from cekat_async.models.steps import run_steps
from cekat_async.positions import Cursor

SAMPLE = (Path(__file__).parent / "fixtures" / "conversations.json").read_bytes()

# Any text, including lone surrogates.
TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
NUMBER = st.integers() | st.floats(allow_nan=False, allow_infinity=False)


def get_json(text: st.SearchStrategy[str]) -> st.SearchStrategy:
    return st.recursive(
        st.none() | st.booleans() | NUMBER | text,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
        max_leaves=10,
    )


JSON = get_json(TEXT)
WHOLE_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
WHOLE_JSON = get_json(WHOLE_TEXT)
KNOWN = sorted({*Conversation.__struct_fields__, *Inbox.__struct_fields__} - {"extra"})

# Objects that resemble records: they have real field names, and values of any kind.
UNEXPECTED_OBJECT = st.dictionaries(
    st.sampled_from([*KNOWN, "extra", "message", "color"]) | TEXT,
    JSON | st.lists(st.dictionaries(st.sampled_from(["id", "name", "extra"]), JSON), max_size=2),
    max_size=6,
)


def conversations(body: bytes):
    return run_steps(ConversationPageDecoder().decode(reply(body=body)))


def raw_page(body: bytes):
    return run_steps(decode_raw_page(reply(body=body)))


def inboxes(body: bytes):
    return run_steps(InboxPageDecoder().decode(reply(body=body), 1))


READERS = pytest.mark.parametrize("read", [conversations, inboxes])


def make_body(*records: object, **more: object) -> bytes:
    """Build the body of a page. Records that are bytes are inserted unchanged."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in records]
    rest = b"".join(
        f",{json.dumps(name)}:{json.dumps(part)}".encode() for name, part in more.items()
    )
    return b'{"success":true,"data":[' + b",".join(parts) + b"]" + rest + b"}"


def same_json(value: object) -> object:
    """Convert JSON data to text, in which 1, 1.0 and True differ, and so do 0.0 and -0.0."""
    return json.dumps(value, sort_keys=True)


# --- unknown fields


@given(fields=st.dictionaries(WHOLE_TEXT | st.just("extra"), WHOLE_JSON, max_size=5))
@settings(max_examples=20 * EFFORT)
def test_unknown_fields_survive(fields: dict) -> None:
    """A record keeps all unknown fields and their values."""
    unknown = {name: value for name, value in fields.items() if name not in KNOWN}

    for read, kind in ((conversations, Conversation), (inboxes, Inbox)):
        page = read(make_body({"id": "x"} | unknown))
        (record,) = page

        assert same_json(unknown) == same_json(record.extra)
        assert kind(id="x", extra=record.extra) == record
        assert page.malformed_records == ()
    as_json = {**decode_conversation(json.dumps({"id": "x"} | unknown)).to_dict()}
    assert same_json(Conversation(id="x").to_dict() | unknown) == same_json(as_json)


@given(
    fields=st.dictionaries(WHOLE_TEXT | st.just("extra"), WHOLE_JSON, max_size=3),
    name=st.none() | WHOLE_TEXT,
)
@settings(max_examples=15 * EFFORT)
def test_unknown_fields_of_labels_and_previews_survive(fields: dict, name: str | None) -> None:
    """Labels and message previews keep unknown fields, like records."""
    unknown = {
        key: value for key, value in fields.items() if key not in {*KNOWN, "color", "message"}
    }
    sent = {
        "id": "x",
        "labels": [{"id": "l", "name": name} | unknown, {"id": "m"}],
        "last_message": {"message": name} | unknown,
        "first_message": unknown,
    }

    record = decode_conversation(json.dumps(sent))

    assert record.labels[0].name == record.last_message.message == name
    assert record.labels[1] == Label(id="m")
    for part in (record.labels[0], record.last_message, record.first_message):
        assert same_json(unknown) == same_json(part.extra)
    assert record == decode_conversation(json.dumps(record.to_dict()))


@given(
    record=st.fixed_dictionaries(
        {"id": WHOLE_TEXT.filter(bool)},
        optional={"additional_data": st.dictionaries(WHOLE_TEXT, WHOLE_JSON)},
    )
)
@settings(max_examples=20 * EFFORT)
def test_to_dict_round_trip(record: dict) -> None:
    """`to_dict()` returns free-form data and ids of any text unchanged."""
    conversation = decode_conversation(json.dumps(record))

    assert record["id"] == conversation.id
    assert same_json(record.get("additional_data", {})) == same_json(conversation.additional_data)
    assert conversation == decode_conversation(json.dumps(conversation.to_dict()))


@pytest.mark.parametrize(
    "fields",
    [
        {"sla": {"hours": 4}},
        {"tags": []},
        {"score": None},
        {"extra": None},
        {"extra": {}},
        {"extra": {"extra": {"extra": 1}}},
        {"": 1},
        {"ID": "other"},
        {"id ": "other"},
    ],
)
def test_unknown_fields_seen(fields: dict) -> None:
    """Unknown fields are kept, even if a field has the name ``extra``."""
    assert fields == decode_conversation(json.dumps({"id": "x"} | fields)).extra


@pytest.mark.parametrize(
    "value", [None, 1, "text", [], [{"id": "a"}], {"id": "p", "name": "Sales"}]
)
@pytest.mark.parametrize("name", ["pipeline", "collaborators", "last_message_by_human"])
def test_live_fields_may_be_anything(name: str, value: object) -> None:
    """Undocumented values that live accounts send are accepted in known fields."""
    (conversation,) = conversations(make_body({"id": "x", name: value}))

    assert value == getattr(conversation, name)
    assert conversation.extra == {}


def test_escaped_names() -> None:
    """A known field is recognized even if its name is written with JSON escapes."""
    page = conversations(
        make_body(rb'{"\u0069d":"x","n\u006ftes":"n"}', rb'{"\u0069d":"y","new":1}')
    )

    assert [(item.id, item.notes) for item in page] == [("x", "n"), ("y", None)]


def test_every_known_and_unknown_field_at_once() -> None:
    """An unknown field does not affect how known fields are read."""
    (sent,) = json.loads(SAMPLE)["data"]
    (plain,) = conversations(make_body(sent))
    (more,) = conversations(make_body(sent | {"sla": 1}))

    assert plain == msgspec.structs.replace(more, extra=plain.extra)


# --- malformed records


@READERS
@given(malformed=st.lists(JSON | UNEXPECTED_OBJECT, max_size=4), place=st.integers(0, 4))
@settings(max_examples=20 * EFFORT)
def test_healthy_records_survive_malformed_ones(read, malformed: list, place: int) -> None:
    """The valid records of a page are returned in order, whatever else the page contains."""
    records = [*malformed[:place], {"id": "healthy-1"}, *malformed[place:], {"id": "healthy-2"}]

    page = read(make_body(*records))

    healthy = [item.id for item in page if item.id.startswith("healthy-")]
    assert healthy == ["healthy-1", "healthy-2"]
    assert len(records) == len(page.items) + len(page.malformed_records)
    for record in page.malformed_records:
        assert json.dumps(records[record.index]).encode() == record.raw
        assert record.field.startswith("$")
        assert record.reason


@pytest.mark.parametrize(
    "record,record_id,field",
    [
        (b"null", None, "$"),
        (b"7", None, "$"),
        (b'"text"', None, "$"),
        (b"[]", None, "$"),
        (b'[{"id":"x"}]', None, "$"),
        (b"{}", None, "$.id"),
        (b'{"id":null}', None, "$.id"),
        (b'{"id":7}', None, "$.id"),
        (b'{"id":""}', None, "$.id"),
        (b'{"id":["x"],"notes":"\\ud83d"}', None, "$.id"),
        (b"NaN", None, "$"),
        (b'{"id":NaN}', None, "$"),
        (b'{"id":"x","score":NaN}', "x", "$"),
        (b'{"id":"x","score":-Infinity,"notes":"\\ud83d"}', "x", "$"),
        (b'{"id":"x","deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "x", "$"),
        (b'{"deep":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b',"id":"x"}', "x", "$"),
        (b'{"id":"x","notes":undefined}', "x", "$"),
        (b'{"id":"x","many":[' + b"0, " * 200_000 + b"0]}", "x", "$"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_malformed_record_is_named(record: bytes, record_id: str | None, field: str) -> None:
    """A malformed record is reported with its index, its bytes and, if readable, its id."""
    body = make_body({"id": "a"}, record, {"id": "b"})
    for page in (conversations(body), inboxes(body)):
        (malformed,) = page.malformed_records

        assert [item.id for item in page] == ["a", "b"]
        assert page.ids == ["a", record_id, "b"]
        assert (1, record_id, field, record) == (
            malformed.index,
            malformed.id,
            malformed.field,
            malformed.raw,
        )
        assert malformed.reason
        assert [bytes(raw) for raw in page.raw][1] == record


def test_all_records_malformed() -> None:
    """If all records of a page are malformed, the page has no items but a valid cursor."""
    cursor = {"cursor_id": "c", "cursor_ts": "t"}
    page = conversations(make_body(1, 2, metadata={"next_cursor": cursor}))

    assert (len(page), [record.index for record in page.malformed_records]) == (0, [0, 1])
    assert page.next_cursor == Cursor("c", "t")


# --- text


@READERS
@pytest.mark.parametrize(
    "sent,read_as",
    [
        (rb"cut \ud83d", "cut \ufffd"),
        (rb"\ude00 cut", "\ufffd cut"),
        (rb"\ud83d\ude00", "\N{GRINNING FACE}"),
        (rb"\\ud83d", r"\ud83d"),
        (b"cut \xf0\x9f", "cut \ufffd"),
        (b"latin \xe9", "latin \ufffd"),
        (b"\xed\xa0\xbd", "\ufffd\ufffd\ufffd"),
        ("日本 \N{GRINNING FACE}".encode(), "日本 \N{GRINNING FACE}"),
    ],
)
def test_broken_text_is_repaired(read, sent: bytes, read_as: str) -> None:
    """A record with text that was cut inside a character is valid, and keeps its bytes."""
    name = b"contact_name" if read is conversations else b"name"
    record = b'{"id":"x","' + name + b'":"' + sent + b'"}'
    page = read(make_body(record, {"id": "y"}))

    assert read_as == page.items[0].to_dict()[name.decode()]
    assert [item.id for item in page] == ["x", "y"]
    assert record == bytes(page.raw[0])


def test_broken_text_in_names_and_unknown_fields() -> None:
    """Broken text is repaired everywhere in a record."""
    record = decode_conversation(
        rb'{"id":"\ud83d","additional_data":{"\ud83d":["\ude00"]},"\ud83dx":1}'
    )

    assert record == Conversation(
        id="\ufffd",
        additional_data={"\ufffd": ["\ufffd"]},
        extra=type(record.extra)({"\ufffdx": 1}),
    )


def test_malformed_record_keeps_its_own_bytes() -> None:
    """A malformed record with broken text has the received bytes, and not the repaired ones."""
    malformed = rb'{"id":7,"notes":"\ud83d"}'
    page = conversations(make_body({"id": "a"}, malformed))

    assert [malformed] == [record.raw for record in page.malformed_records]


def test_decode_from_text() -> None:
    """A conversation can be decoded from bytes, from a string (even broken) or from a raw view."""
    (raw,) = conversations(make_body({"id": "x", "notes": "n"})).raw

    expected = Conversation(id="x", notes="n")
    assert expected == decode_conversation(raw)
    assert expected == decode_conversation(bytes(raw))
    assert expected == decode_conversation(bytes(raw).decode())
    assert decode_conversation('{"id":"\ud83d"}').id == "\ufffd" * 3


@pytest.mark.parametrize(
    "raw,field",
    [
        (b"", "$"),
        (b"{", "$"),
        (b"[]", "$"),
        (b'{"id":1}', "$.id"),
        ('{"id":1}', "$.id"),
        (msgspec.Raw(b'{"id":1}'), "$.id"),
        (b'{"id":"x","a":' + b"[" * 100_000, "$"),
        (b'{"id":NaN}', "$"),
        (b'{"id":"x"} {}', "$"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_no_conversation(raw: bytes | str | msgspec.Raw, field: str) -> None:
    """Anything but a conversation raises a DecodeError with the field and the bytes."""
    with pytest.raises(DecodeError, match=r"^not a valid Conversation: ") as caught:
        decode_conversation(raw)

    assert field == caught.value.field
    assert bytes(raw.encode() if isinstance(raw, str) else raw) == caught.value.raw


# --- the received bytes


SPACE = st.text(" \t\r\n", max_size=3).map(str.encode)


@st.composite
def spaced(draw, value: object) -> bytes:
    """Write data as JSON with additional white space and some escaped characters."""
    if isinstance(value, dict):
        members = [
            draw(spaced(name)) + draw(SPACE) + b":" + draw(spaced(part))
            for name, part in value.items()
        ]
        inner = b"{" + b",".join(draw(SPACE) + member + draw(SPACE) for member in members) + b"}"
    elif isinstance(value, list):
        inner = b"[" + b",".join([draw(spaced(part)) for part in value]) + b"]"
    else:
        inner = json.dumps(value, ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass")
    return draw(SPACE) + inner + draw(SPACE)


@READERS
@given(data=st.data())
@settings(max_examples=15 * EFFORT)
def test_raw_is_byte_for_byte(read, data: st.DataObject) -> None:
    """A page's `raw` has the exact bytes of its records, for any layout of the JSON."""
    records = data.draw(st.lists(JSON | st.fixed_dictionaries({"id": TEXT}), max_size=4))
    printed = [data.draw(spaced(record)) for record in records]
    # The body also has the records in another place, so that a search for them finds the wrong one.
    body = data.draw(SPACE).join(
        [
            b"{",
            b'"copy":[' + b",".join(printed) + b"],",
            b'"data":',
            b"[" + b",".join(printed) + b"]",
            b"}",
        ]
    )

    page = read(body)

    assert [part.strip(b" \t\r\n") for part in printed] == [bytes(raw) for raw in page.raw]
    for malformed in page.malformed_records:
        assert printed[malformed.index].strip(b" \t\r\n") == malformed.raw
    assert body == page.body


def test_raw_of_broken_text_is_not_searched_for() -> None:
    """The bytes of a record with broken text are found by their position, and not by a search."""
    body = rb'{"copy":{"id":"\ud83d"},"data":[{"id":"\ude00"},{"id":"\ud83e"}]}'

    assert [bytes(raw) for raw in conversations(body).raw] == [
        rb'{"id":"\ude00"}',
        rb'{"id":"\ud83e"}',
    ]


def test_raw_outlives_its_page() -> None:
    """The bytes of a record remain valid after its page is deleted, even with broken text."""
    kept = [
        conversations(make_body(record)).raw[0] for record in (rb'{"id":"\ud83d"}', b'{"id":"x"}')
    ]

    assert [bytes(raw) for raw in kept] == [rb'{"id":"\ud83d"}', b'{"id":"x"}']


# --- pages


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"metadata": None},
        {"metadata": {}},
        {"metadata": {"next_cursor": None}},
        {"metadata": {"next_cursor": {}}},
        {"metadata": {"next_cursor": {"cursor_id": None}}},
        {"metadata": {"next_cursor": {"cursor_id": None, "cursor_ts": None}}},
        {"metadata": {"next_cursor": {"cursor_id": "", "cursor_ts": ""}}},
        {"metadata": {"next_cursor": {"cursor_id": None, "cursor_ts": ""}}},
        {"metadata": {"total": 7, "next_cursor": None}, "more": [1]},
    ],
)
@pytest.mark.parametrize("record", [{"id": "x"}, {"id": "x", "new": 1}], ids=["fast", "tolerant"])
def test_last_page(metadata: dict, record: dict) -> None:
    """Each form of a missing next cursor means that there is no next page."""
    page = conversations(make_body(record, **metadata))

    assert page.next_cursor is None
    assert [item.id for item in page] == ["x"]


@given(cursor_id=WHOLE_TEXT.filter(bool), cursor_ts=WHOLE_TEXT.filter(bool))
@settings(max_examples=40 * EFFORT)
def test_cursor_is_kept_as_it_is(cursor_id: str, cursor_ts: str) -> None:
    """A cursor is two strings of any content, which are not changed."""
    pair = {"cursor_id": cursor_id, "cursor_ts": cursor_ts, "more": 1}

    for record in ({"id": "x"}, {"id": "x", "new": 1}):
        page = conversations(make_body(record, metadata={"next_cursor": pair}))

        assert Cursor(cursor_id, cursor_ts) == page.next_cursor


@pytest.mark.parametrize(
    "metadata,problem",
    [
        ({"next_cursor": {"cursor_id": "c"}}, "next_cursor has no cursor_ts"),
        ({"next_cursor": {"cursor_id": "c", "cursor_ts": None}}, "next_cursor has no cursor_ts"),
        ({"next_cursor": {"cursor_id": "c", "cursor_ts": ""}}, "next_cursor has no cursor_ts"),
        ({"next_cursor": {"cursor_ts": "t"}}, "next_cursor has no cursor_id"),
        ({"next_cursor": {"cursor_id": "", "cursor_ts": "t"}}, "next_cursor has no cursor_id"),
        ({"next_cursor": {"cursor_id": 7, "cursor_ts": "t"}}, "is not a text"),
        ({"next_cursor": {"cursor_id": "c", "cursor_ts": [0]}}, "is not a text"),
        ({"next_cursor": []}, "next_cursor is not an object"),
        ({"next_cursor": "c"}, "next_cursor is not an object"),
        ({"next_cursor": 0}, "next_cursor is not an object"),
        ([], "metadata is not a readable object"),
        ("c", "metadata is not a readable object"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("record", [{"id": "x"}, {"id": "x", "new": 1}], ids=["fast", "tolerant"])
def test_a_cursor_that_cannot_be_used(metadata: object, problem: str, record: dict) -> None:
    """The records of a page with a bad cursor are not lost.

    The bad cursor does not count as the end of the listing, and ``cursor_error`` describes it.
    """
    body = make_body(record, metadata=metadata)

    for page in (conversations(body), run_steps(decode_raw_page(reply(body=body)))):
        assert page.ids == ["x"]
        assert page.next_cursor is None
        assert problem in page.cursor_error


@pytest.mark.parametrize(
    "metadata",
    [
        b'{"next_cursor":{"cursor_id":"\xff","cursor_ts":"t"}}',
        rb'{"next_cursor":{"cursor_id":"\ud83d","cursor_ts":"t"}}',
        b'{"next_cursor":{"cursor_id":"c","cursor_ts":"t"},"total":NaN}',
        b'{"next_cursor":null,"padding":"' + b"x" * 3_000_000 + b'"}',
    ],
    ids=lambda value: repr(value)[:60],
)
def test_metadata_that_cannot_be_read(metadata: bytes) -> None:
    """No record is lost if the metadata is invalid JSON, invalid text or far too large."""
    page = conversations(b'{"data":[{"id":"x"}],"metadata":%s}' % metadata)

    assert page.ids == ["x"]
    assert page.next_cursor is None
    assert page.cursor_error == "metadata is not a readable object"


@pytest.mark.parametrize(
    "metadata,totals",
    [
        ({"pagination": {"total_page": 8, "total_items": 15, "current_page": 1}}, (8, 15)),
        ({"pagination": {"total_page": 8}}, (8, None)),
        ({"pagination": {"total_items": None}}, (None, None)),
        ({"pagination": {"total_page": "8", "total_items": "15"}}, (8, 15)),
        ({"pagination": {"total_page": 8.0, "total_items": 1.5}}, (8, None)),
        ({"pagination": {"total_page": -1, "total_items": True}}, (None, None)),
        ({"pagination": {"total_page": "many", "total_items": []}}, (None, None)),
        ({"pagination": {"total_page": "\u0668", "total_items": "9" * 400}}, (None, None)),
        ({"pagination": []}, (None, None)),
        ([], (None, None)),
        ("none", (None, None)),
        ({"pagination": None}, (None, None)),
        ({}, (None, None)),
        (None, (None, None)),
    ],
)
@pytest.mark.parametrize("record", [{"id": "x"}, {"id": "x", "new": 1}], ids=["fast", "tolerant"])
def test_inbox_page(metadata: object, totals: tuple, record: dict) -> None:
    """A page of inboxes has its page number, and the totals if the server sends them."""
    page = run_steps(InboxPageDecoder().decode(reply(body=make_body(record, metadata=metadata)), 3))

    assert (3, *totals) == (page.page, page.total_pages, page.total_items)
    assert [inbox.id for inbox in page] == ["x"]


def test_totals_that_are_no_json() -> None:
    """If the totals are invalid JSON, they are unknown, and no inbox is lost."""
    page = inboxes(b'{"data":[{"id":"x"}],"metadata":{"pagination":{"total_page":NaN}}}')

    assert (page.ids, page.total_pages) == (["x"], None)


@READERS
def test_empty_page(read) -> None:
    """A page without records is valid."""
    page = read(b'{"data":[]}')

    assert (page.items, page.malformed_records, page.raw) == ((), (), [])


# --- bodies that are no pages


@READERS
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"<html>",
        b'{"data":[{"id":"x"}',
        b'{"data":[{"id":"x"}]',
        b'{"data":[{"id":"x"},]}',
        b'{"data":[{"id":"x"}]}{}',
        b'{"data":[{"id":"x"]}',
        b'{"data":[{"id":"x"}}',
        b'{"data":[{"id":"x"}],"metadata"}',
        b'{"data" [{"id":"x"}]}',
        b'{"data":[{"id":"x"} {"id":"y"}]}',
        b'{"data":[,{"id":"x"}]}',
        b'{"data":[{"id":"x"}],"a":"\\',
        b"[" * 100_000,
        b'{"data":[{"id":"x\n',
        b'\xef\xbb\xbf{"data":[]}',
        b"\x1f\x8b\x08",
        SAMPLE[: len(SAMPLE) // 2],
        SAMPLE.rstrip()[:-1],
    ],
    ids=lambda body: repr(body)[:24],
)
def test_malformed_body(read, body: bytes) -> None:
    """Invalid or incomplete JSON raises MalformedBodyError, because a retry may help."""
    with pytest.raises(MalformedBodyError) as caught:
        read(body)

    assert body == caught.value.raw
    assert f"{len(body):,} bytes" in str(caught.value)


@READERS
@pytest.mark.parametrize(
    "body,field",
    [
        (b"null", "$"),
        (b"[]", "$"),
        (b"7", "$"),
        (b"{}", "$.data"),
        (b'{"data":null}', "$.data"),
        (b'{"data":{}}', "$.data"),
        (b'{"data":"[]"}', "$.data"),
        (b'{"items":[]}', "$.data"),
        (b'{"items":[NaN]}', "$.data"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_other_shape(read, body: bytes, field: str) -> None:
    """JSON of another shape raises a DecodeError with the field, because a retry would not help."""
    with pytest.raises(DecodeError, match=r"^the reply has another shape ") as caught:
        read(body)

    assert type(caught.value) is DecodeError
    assert (field, body) == (caught.value.field, caught.value.raw)


@READERS
@pytest.mark.parametrize("success", [True, None, "yes", 0, [], "false"])
def test_success(read, success: object) -> None:
    """Only ``"success": false`` is an error. With any other value, no record is lost."""
    assert read(make_body({"id": "x"}, success=success)).ids == ["x"]


@READERS
@pytest.mark.parametrize(
    "body",
    [
        b'{"success":false,"status_code":401,"error":{"message":"Not authenticated"}}',
        b'{"success":false,"status_code":401,"error":{"message":"Not authenticated"},"data":[]}',
        b'{"success":false,"status_code":401,"error":{"message":"Not authenticated"},"data":null}',
        b'{"data":[{"id":1}],"success":false,"status_code":401,"message":"Not authenticated"}',
        rb'{"x":"\ud83d","success":false,"status_code":401,"error":"Not authenticated"}',
    ],
)
def test_200_with_an_error(read, body: bytes) -> None:
    """A 200 with `"success": false` raises the error in its body, even if it also has data."""
    with pytest.raises(APIStatusError) as caught:
        read(body)

    assert caught.type in {AuthenticationError, APIStatusError}
    assert body == caught.value.body
    if b"ud83d" not in body:
        assert str(caught.value).startswith("Not authenticated (HTTP 401): ")


@READERS
@given(
    body=st.binary()
    | JSON.map(lambda value: json.dumps(value).encode())
    | UNEXPECTED_OBJECT.map(make_body)
)
@settings(max_examples=25 * EFFORT)
def test_any_body(read, body: bytes) -> None:
    """Any bytes are either decoded into a page, or they raise one of our errors."""
    try:
        page = read(body)
    except CekatError as error:
        str(error).encode()
    else:
        assert len(page.raw) == len(page.items) + len(page.malformed_records)


@given(
    raw=st.binary() | st.text() | TEXT | JSON.map(json.dumps) | UNEXPECTED_OBJECT.map(json.dumps)
)
@settings(max_examples=40 * EFFORT)
def test_any_conversation(raw: bytes | str) -> None:
    """Any JSON is either decoded to a conversation that round-trips, or raises a DecodeError."""
    try:
        record = decode_conversation(raw)
    except DecodeError as error:
        str(error).encode()
    else:
        assert record == decode_conversation(json.dumps(record.to_dict()))


@pytest.mark.parametrize("depth", [10, 100, 300])
def test_nesting(depth: int) -> None:
    """Free-form data can be nested hundreds of levels deep."""
    text = "[" * depth + "]" * depth

    record = decode_conversation(f'{{"id":"x","additional_data":{{"a":{text}}},"new":{text}}}')

    assert json.loads(text) == record.extra["new"] == record.additional_data["a"]


def test_numbers() -> None:
    """Large integers and small fractions are decoded without loss."""
    sent = {"big": 2**64, "bigger": -(10**30), "tiny": 5e-324, "minus": -0.0, "most": 1.7e308}

    kept = decode_conversation(json.dumps({"id": "x", "additional_data": sent})).additional_data

    assert same_json(sent) == same_json(kept)
    assert math.copysign(1, kept["minus"]) == -1


# --- speed and memory


def test_ordinary_page_is_one_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page in the documented form is decoded in one step, and not record by record."""
    record = json.loads(SAMPLE)["data"][0]
    body = make_body(*[record | {"id": str(number)} for number in range(100)])
    monkeypatch.delattr(decoding, "cut_reply")

    page = conversations(body)

    assert [str(number) for number in range(100)] == [item.id for item in page]


def test_records_share_what_is_empty() -> None:
    """Records without unknown fields share one empty mapping for them."""
    page = conversations(make_body({"id": "a", "labels": [{}], "last_message": {}}, {"id": "b"}))
    label: Label = page.items[0].labels[0]
    preview: MessagePreview = page.items[0].last_message

    assert len({id(part.extra) for part in (*page, label, preview)}) == 1


def test_raw_copies_nothing() -> None:
    """The records' bytes are views of the body, so they need no copy."""
    page = conversations(make_body(*[{"id": str(n), "notes": "x" * 10_000} for n in range(100)]))
    tracemalloc.start()
    try:
        views = page.raw
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(views) == 100
    assert peak < 100_000


@pytest.mark.parametrize("record", [b"1", b'{"id":"x"}'])
@pytest.mark.parametrize("decode", [conversations, inboxes, raw_page])
def test_a_page_of_too_many_records_is_refused(decode, record: bytes) -> None:
    """A page of more than 50,000 records is refused, because it would block the event loop."""
    with pytest.raises(DecodeError, match=r"a list of more than 50,000 elements") as caught:
        decode(b'{"data":[' + (record + b",") * 50_000 + record + b"]}")

    assert not isinstance(caught.value, MalformedBodyError)
    assert caught.value.field == "$.data"


def test_a_page_of_many_records_is_decoded() -> None:
    """Each method can decode a page of 50,000 records."""
    body = b'{"data":[' + b",".join([b'{"id":"x"}'] * 50_000) + b"]}"

    assert len(conversations(body).items) == len(raw_page(body).raw) == 50_000


@pytest.mark.parametrize("length, pauses", [(0, 0), (5_000, 0), (20_000, 0), (80_000, 1)])
def test_a_page_of_long_texts_is_decoded_at_once(length: int, pauses: int) -> None:
    """A page with long texts is decoded without a pause if it has up to 2 MiB."""
    steps = ConversationPageDecoder().decode(
        reply(200, make_body(*[{"id": "x", "notes": "t" * length}] * 100))
    )

    assert min(1, len([*steps])) == pauses


def test_a_large_page_may_have_more_values() -> None:
    """A page of real records is decoded, whatever its size."""
    values = b",".join(b'"%d, a text of some length"' % number for number in range(250))
    record = b'{"id":"x","notes":1,"additional_data":{"a":[' + values + b"]}}"
    body = b'{"data":[' + b",".join([record] * 1200) + b"]}"

    page = conversations(body)

    assert body.count(b",") > 400_000
    assert (len(page.items), page.malformed_records) == (1200, ())


def test_a_page_of_too_many_values_keeps_its_other_records() -> None:
    """If a page has too many values, a large record may be malformed. Small ones are decoded."""
    wide = b'{"id":"%d","additional_data":{"a":[' + b"[]," * 80_000 + b"[]]}}"
    records = [*(wide % number for number in range(3)), b'{"id":"small"}']

    page = conversations(b'{"data":[' + b",".join(records) + b"]}")

    assert page.ids == ["0", "1", "2", "small"]
    assert [item.id for item in page.items] == ["0", "1", "small"]
    (malformed,) = page.malformed_records
    assert (malformed.index, malformed.id, malformed.field, malformed.raw) == (
        2,
        "2",
        "$",
        records[2],
    )
    assert malformed.reason == "the page has too many values"
