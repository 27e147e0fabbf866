"""The API's records as values: they are lossless, immutable and copyable."""

import copy
import json
import pickle
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.effort import EFFORT
from support.scripted import reply

from cekat_async import decode_conversation
from cekat_async._api.decoding import ConversationPageDecoder, InboxPageDecoder
from cekat_async.models import (
    Conversation,
    Inbox,
    Label,
    MalformedRecord,
    MessagePreview,
    PlatformType,
    StageStatus,
)
from cekat_async.models.fields import Extra
from cekat_async.models.steps import run_steps
from cekat_async.pages import ConversationPage, InboxPage, RawPage
from cekat_async.positions import Cursor

SAMPLE = (Path(__file__).parent / "fixtures" / "conversations.json").read_bytes()

LABEL = Label(id="l-1", name="Important", color="#f00", extra=Extra(order=None))
PREVIEW = MessagePreview(message="Hello", created_at=datetime(2026, 4, 10, 9, 24, tzinfo=UTC))
CONVERSATION = Conversation(
    id="c-1",
    platform_type=PlatformType("carrier-pigeon"),
    stage_status=StageStatus.OPEN,
    labels=(LABEL,),
    last_message=PREVIEW,
    first_message=MessagePreview(message="Hi", extra=Extra(kind={"a": [1]})),
    additional_data={"Email Akun Cekat": "a@b.c", "more": [1, {"x": None}]},
    created_at=datetime(2026, 4, 10, 5, 47, 16, 771_000, tzinfo=UTC),
    pipeline={"id": "p-1", "name": "Sales"},
    extra=Extra(sla={"hours": 4}, extra="a field of that name"),
)
INBOX = Inbox(id="i-1", type=PlatformType.TELEGRAM, flow_mode=True, extra=Extra(new=[1]))
MALFORMED = MalformedRecord(index=3, id=None, field="$", reason="Expected `object`", raw=b"3")
CURSOR = Cursor("id", "2026-04-10T09:51:19.885")
PAGE = ConversationPage(
    items=(CONVERSATION,), malformed_records=(MALFORMED,), body=b'{"data":[3]}', next_cursor=CURSOR
)
INBOX_PAGE = InboxPage(items=(INBOX,), page=2, total_pages=2, total_items=11)

VALUES = [
    CONVERSATION,
    INBOX,
    LABEL,
    PREVIEW,
    CURSOR,
    MALFORMED,
    PAGE,
    INBOX_PAGE,
    Label(),
    Extra(a=[1]),
]
STRUCTS = [value for value in VALUES if isinstance(value, msgspec.Struct)]
ENUMS = [StageStatus, PlatformType]
KNOWN_STATUSES = ["assigned", "resolved", "pending", "open"]
KNOWN_PLATFORMS = ["whatsapp", "livechat", "messenger", "instagram", "telegram"]


def pickled(value: object, protocol: int = pickle.DEFAULT_PROTOCOL) -> object:
    return pickle.loads(pickle.dumps(value, protocol))  # noqa: S301 - what was just pickled


def get_name(value: object) -> str:
    return type(value).__name__


# --- the API's own sample


def test_sample_decodes() -> None:
    """The sample response of the API's documentation is decoded as documented."""
    page = run_steps(ConversationPageDecoder().decode(reply(body=SAMPLE)))
    (conversation,) = page

    assert page.next_cursor == Cursor(
        "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "2026-04-10T09:51:19.885"
    )
    assert page.malformed_records == ()
    assert conversation == Conversation(
        id="xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
        inbox_id="xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
        contact_id="xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
        contact_name="Customer Name",
        contact_phone="6281234567890",
        platform_type=PlatformType.WHATSAPP,
        inbox_name="CekatAI Support",
        stage_status=StageStatus.ASSIGNED,
        handled_by_id="xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
        handled_by_name="Agent Name",
        notes="",
        labels=(Label(id="xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", name="Important"),),
        last_message=MessagePreview(
            message="Hello, how can I help?",
            created_at=datetime(2026, 4, 10, 9, 24, 23, 237_000, tzinfo=UTC),
        ),
        first_message=MessagePreview(message="Hi, I have a question"),
        additional_data={
            "Email Akun Cekat": "[email protected]",
            "business_name": "Company Name",
        },
        created_at=datetime(2026, 4, 10, 5, 47, 16, 771_000, tzinfo=UTC),
    )


def test_sample_round_trips() -> None:
    """`to_dict()` of the sample's conversation equals the sample's JSON object."""
    (sent,) = json.loads(SAMPLE)["data"]
    (conversation,) = run_steps(ConversationPageDecoder().decode(reply(body=SAMPLE)))

    assert sent == conversation.to_dict()
    assert list(sent) == [name for name in conversation.to_dict() if name in sent]
    assert conversation == decode_conversation(json.dumps(conversation.to_dict()))


def test_sample_raw() -> None:
    """A page keeps the bytes of the sample's record, including line breaks."""
    page = run_steps(ConversationPageDecoder().decode(reply(body=SAMPLE)))
    begin = SAMPLE.index(b'{\n"id"')
    end = SAMPLE.index(b'\n],\n"metadata"')

    assert [SAMPLE[begin:end]] == [bytes(raw) for raw in page.raw]


# --- only the id is required


EMPTY = {"labels": (), "additional_data": {}}
EMPTY_JSON = {"labels": [], "additional_data": {}}
OPTIONAL = [
    (kind, name)
    for kind in (Conversation, Inbox)
    for name in kind.__struct_fields__
    if name not in {"id", "extra"}
]


def decode(kind: type, record: dict) -> Conversation | Inbox:
    body = json.dumps({"data": [record]}).encode()
    page = run_steps(
        ConversationPageDecoder().decode(reply(body=body))
        if kind is Conversation
        else InboxPageDecoder().decode(reply(body=body), 1)
    )
    return page.items[0]


def full(kind: type) -> dict:
    if kind is Conversation:
        (sent,) = json.loads(SAMPLE)["data"]
        pipeline = {"id": "p-1", "name": "Sales"}
        return sent | {"pipeline": pipeline, "collaborators": [], "last_message_by_human": "Hi"}
    return {
        "id": "i-1",
        "name": "Support",
        "type": "whatsapp",
        "status": "active",
        "flow_id": "f-1",
        "flow_mode": False,
        "flow_name": "Welcome",
        "ai_agent_id": "a-1",
        "ai_agent_name": "Siti",
        "auto_reassign": True,
        "phone_number": "6281234567890",
        "business_id": "b-1",
        "created_at": "2025-08-07T20:49:30.831195+00:00",
    }


@pytest.mark.parametrize("kind", [Conversation, Inbox])
def test_full_record_has_all_fields(kind: type) -> None:
    """The full record that these tests use has every field that the package knows."""
    assert set(full(kind)) == set(kind.__struct_fields__) - {"extra"}


@pytest.mark.parametrize("kind,name", OPTIONAL)
def test_field_is_null_or_missing(kind: type, name: str) -> None:
    """A null or missing field, other than the id, becomes None or an empty collection."""
    record = decode(kind, full(kind) | {name: None})
    without = {key: value for key, value in full(kind).items() if key != name}

    assert record == decode(kind, without)
    assert EMPTY.get(name) == getattr(record, name)
    null = {name: EMPTY_JSON.get(name)}
    assert full(kind) | null == record.to_dict() | null


@pytest.mark.parametrize("kind", [Conversation, Inbox])
def test_id_alone(kind: type) -> None:
    """A record needs only an id. All other fields may be null."""
    nulls = dict.fromkeys(full(kind)) | {"id": "x"}

    assert kind(id="x") == decode(kind, {"id": "x"})
    assert kind(id="x") == decode(kind, nulls)


@pytest.mark.parametrize("name", ["id", "name", "color"])
def test_label_without(name: str) -> None:
    """A label may lack any field."""
    label = {"id": "l-1", "name": "Important", "color": "#f00"}
    del label[name]

    missing = decode(Conversation, {"id": "x", "labels": [label]})
    null = decode(Conversation, {"id": "x", "labels": [label | {name: None}]})

    assert (Label(**label),) == missing.labels
    assert missing == null


@pytest.mark.parametrize("preview", [{}, {"message": None}, {"created_at": None}])
def test_preview_without(preview: dict) -> None:
    """A message preview may lack its text and its time."""
    record = decode(Conversation, {"id": "x", "last_message": preview})

    assert record.last_message == MessagePreview()


def test_collections_of_two_records_are_their_own() -> None:
    """A change to the free-form data of a record does not affect any other record."""
    one, other = Conversation(id="1"), Conversation(id="2")
    one.additional_data["a"] = 1

    assert other.additional_data == {}


# --- open enums


@pytest.mark.parametrize(
    "kind,value",
    [(StageStatus, value) for value in KNOWN_STATUSES]
    + [(PlatformType, value) for value in KNOWN_PLATFORMS],
)
def test_known_values(kind: type, value: str) -> None:
    """Each documented value is a named member of the enum, and equals its string."""
    assert kind(value) is kind[value.upper()]
    assert kind(value) == value
    assert kind(value).is_known


def test_no_other_values_are_known() -> None:
    """The enums have exactly the documented and the observed values."""
    assert list(StageStatus) == KNOWN_STATUSES
    assert list(PlatformType) == KNOWN_PLATFORMS


@pytest.mark.parametrize("kind", ENUMS)
@given(text=st.text())
@settings(max_examples=20 * EFFORT)
def test_unknown_values_are_kept(kind: type, text: str) -> None:
    """Any string is accepted as a value. The value equals the string, even if pickled or copied."""
    value = kind(text)

    assert text == value
    assert text == value.value
    assert text == str(value)
    assert text == f"{value}"
    assert hash(text) == hash(value)
    assert kind is type(value)
    assert (text in [*kind]) is value.is_known
    pickles = [pickled(value, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for again in (*pickles, copy.copy(value), copy.deepcopy(value)):
        assert (kind, value, value.is_known) == (type(again), again, again.is_known)


def test_unknown_values_work_as_keys() -> None:
    """An unknown value matches its string in dicts, in sets and in ``match`` statements."""
    unknown = StageStatus("snoozed")
    match unknown:
        case StageStatus.OPEN | StageStatus.ASSIGNED:
            matched = "known"
        case "snoozed":
            matched = "by text"
        case _:
            matched = "not at all"

    assert {"snoozed": 1}[unknown] == 1
    assert {unknown: 1}["snoozed"] == 1
    assert {"snoozed", unknown} == {StageStatus("snoozed")}
    assert matched == "by text"
    assert unknown != StageStatus.OPEN


def test_unknown_values_have_a_name_and_a_repr() -> None:
    """The name and the repr of an unknown value have the same form as those of a known value."""
    assert StageStatus("snoozed").name == "snoozed"
    assert repr(StageStatus("snoozed")) == "<StageStatus.snoozed: 'snoozed'>"


def test_unknown_values_leave_nothing_behind() -> None:
    """Unknown values do not change the enum, however many there are."""
    before = dict(StageStatus.__members__)

    assert not any(StageStatus(f"new-{number}").is_known for number in range(100))
    assert before == dict(StageStatus.__members__)
    assert list(StageStatus._value2member_map_) == KNOWN_STATUSES


@pytest.mark.parametrize("value", [1, None, b"open", ["open"], {}])
def test_only_text_is_a_value(value: object) -> None:
    """Only a string can be a status."""
    with pytest.raises(ValueError, match="is not a valid StageStatus"):
        StageStatus(value)


@given(status=st.text(), platform=st.text())
@settings(max_examples=20 * EFFORT)
def test_unknown_values_are_read_from_json(status: str, platform: str) -> None:
    """A record with an unknown status and an unknown channel is not malformed."""
    record = decode_conversation(
        json.dumps({"id": "x", "stage_status": status, "platform_type": platform})
    )

    assert (StageStatus, status) == (type(record.stage_status), record.stage_status)
    assert (PlatformType, platform) == (type(record.platform_type), record.platform_type)
    assert (status, platform) == (
        record.to_dict()["stage_status"],
        record.to_dict()["platform_type"],
    )


# --- frozen values


@pytest.mark.parametrize("value", STRUCTS, ids=get_name)
def test_assignment_raises(value: msgspec.Struct) -> None:
    """No field of a record can be set, deleted or added."""
    for name in value.__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(value, name, None)
        with pytest.raises(AttributeError):
            delattr(value, name)
    with pytest.raises(AttributeError):
        value.brand_new = 1


@pytest.mark.parametrize("value", VALUES, ids=get_name)
def test_values_are_pickled_and_copied(value: object) -> None:
    """A pickled or copied record equals the original, and has the same hash."""
    ways = [copy.copy(value), copy.deepcopy(value)]
    ways += [pickled(value, n) for n in range(2, pickle.HIGHEST_PROTOCOL + 1)]

    assert [value] * len(ways) == ways
    assert {type(value)} == {type(again) for again in ways}
    assert {hash(value)} == {hash(again) for again in ways}


@pytest.mark.parametrize("value", STRUCTS, ids=get_name)
def test_values_compare_by_all_fields(value: msgspec.Struct) -> None:
    """Records that differ in one field are not equal."""
    for name in value.__struct_fields__:
        changed = copy.copy(value)
        msgspec.structs.force_setattr(changed, name, object())

        assert value != changed


def test_records_hash_by_id() -> None:
    """Two versions of the same conversation or inbox have the same hash."""
    assert hash(Conversation(id="c-1")) == hash(CONVERSATION)
    assert hash(Inbox(id="i-1")) == hash(INBOX)


def test_pages_are_sequences_of_their_items() -> None:
    """A page is a sequence of its items."""
    items = tuple(Conversation(id=str(number)) for number in range(3))
    page = ConversationPage(items=items)

    assert len(page) == 3
    assert list(items) == list(page) == list(page)
    assert len(ConversationPage()) == 0
    assert ConversationPage().raw == []
    assert len(INBOX_PAGE) == 1


def test_cursors_differ_by_either_half() -> None:
    """Two cursors are equal only if both strings are the same."""
    assert Cursor("a", "b") == Cursor("a", "b")
    assert len({Cursor("a", "b"), Cursor("b", "a"), Cursor("a", "a"), Cursor("ab", "")}) == 4


# --- unknown fields


@pytest.mark.parametrize(
    "change",
    [
        lambda extra: extra.__setitem__("a", 1),
        lambda extra: extra.__delitem__("a"),
        lambda extra: extra.__ior__({"a": 1}),
        lambda extra: extra.clear(),
        lambda extra: extra.pop("a"),
        lambda extra: extra.popitem(),
        lambda extra: extra.setdefault("b", 1),
        lambda extra: extra.update(b=1),
    ],
)
def test_extra_does_not_change(change) -> None:
    """The unknown fields of a record can be read and copied, but not changed."""
    extra = Extra(a=0)

    with pytest.raises(TypeError, match="copy it with dict"):
        change(extra)

    assert extra == {"a": 0}
    assert dict(extra) | {"b": 1} == extra | {"b": 1}


def test_extra_has_no_attributes() -> None:
    """The shared empty mapping of unknown fields accepts no attributes."""
    with pytest.raises(AttributeError):
        Conversation(id="x").extra.note = 1


def test_record_without_unknown_fields() -> None:
    """A record without unknown fields has an empty `extra`, and its repr does not show `extra`."""
    assert Conversation(id="x").extra == {}
    assert repr(Conversation(id="x")) == "Conversation(id='x')"


def test_unknown_fields_round_trip() -> None:
    """`to_dict()` returns unknown fields under their own names, even nested and null ones."""
    as_json = CONVERSATION.to_dict()

    assert as_json["sla"] == {"hours": 4}
    assert as_json["extra"] == "a field of that name"
    assert as_json["labels"] == [{"id": "l-1", "name": "Important", "color": "#f00", "order": None}]
    assert as_json["first_message"] == {"message": "Hi", "kind": {"a": [1]}}
    assert decode_conversation(json.dumps(as_json)) == CONVERSATION


# --- timestamps


MOMENTS = [
    ("2026-04-10T05:47:16.771+00:00", datetime(2026, 4, 10, 5, 47, 16, 771_000, tzinfo=UTC)),
    ("2026-04-10T05:47:16.771Z", datetime(2026, 4, 10, 5, 47, 16, 771_000, tzinfo=UTC)),
    ("2026-04-10t05:47:16.771z", datetime(2026, 4, 10, 5, 47, 16, 771_000, tzinfo=UTC)),
    ("2026-04-10T12:47:16+07:00", datetime(2026, 4, 10, 5, 47, 16, tzinfo=UTC)),
    ("2026-04-10T12:47:16+0700", datetime(2026, 4, 10, 5, 47, 16, tzinfo=UTC)),
    ("2026-04-10T12:47:16+07", datetime(2026, 4, 10, 5, 47, 16, tzinfo=UTC)),
    ("2026-04-09T23:47:16-06:00", datetime(2026, 4, 10, 5, 47, 16, tzinfo=UTC)),
    ("2025-08-07T20:49:30.831195+00:00", datetime(2025, 8, 7, 20, 49, 30, 831_195, tzinfo=UTC)),
    ("2025-08-07T20:49:30.831195999Z", datetime(2025, 8, 7, 20, 49, 30, 831_196, tzinfo=UTC)),
    ("2025-08-07T20:49:30.831195999", datetime(2025, 8, 7, 20, 49, 30, 831_196, tzinfo=UTC)),
    ("2026-04-07T13:28:03.131679", datetime(2026, 4, 7, 13, 28, 3, 131_679, tzinfo=UTC)),
    ("2026-04-10T09:51:19.885", datetime(2026, 4, 10, 9, 51, 19, 885_000, tzinfo=UTC)),
    ("2026-04-10 16:24:23", datetime(2026, 4, 10, 16, 24, 23, tzinfo=UTC)),
    ("2026-04-10 16:24:23.5", datetime(2026, 4, 10, 16, 24, 23, 500_000, tzinfo=UTC)),
    ("2026-04-10 16:24:23+00:00", datetime(2026, 4, 10, 16, 24, 23, tzinfo=UTC)),
    ("2026-04-10 16:24:23+07", datetime(2026, 4, 10, 9, 24, 23, tzinfo=UTC)),
    ("2026-04-10T16:24", datetime(2026, 4, 10, 16, 24, tzinfo=UTC)),
    ("2026-04-10", datetime(2026, 4, 10, tzinfo=UTC)),
    ("20260410T162423Z", datetime(2026, 4, 10, 16, 24, 23, tzinfo=UTC)),
    ("0001-01-01T00:00:00", datetime(1, 1, 1, tzinfo=UTC)),
    ("9999-12-31T23:59:59.999999", datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
    ("2024-02-29T00:00:00", datetime(2024, 2, 29, tzinfo=UTC)),
    ("", None),
    ("  ", None),
]


@pytest.mark.parametrize("text,moment", MOMENTS)
@pytest.mark.parametrize("more", [{}, {"sla": None}], ids=["known", "unknown fields"])
def test_timestamps(text: str, moment: datetime | None, more: dict) -> None:
    """Every format of a timestamp is parsed, in records with and without unknown fields.

    A timestamp without a zone is in UTC. An empty string becomes None, like null.
    """
    conversation = decode_conversation(
        json.dumps(
            {
                "id": "x",
                "created_at": text,
                "resolved_at": text,
                "last_message": {"created_at": text},
                **more,
            }
        )
    )
    inbox = decode(Inbox, {"id": "x", "created_at": text} | more)

    assert [moment] * 4 == [
        conversation.created_at,
        conversation.resolved_at,
        conversation.last_message.created_at,
        inbox.created_at,
    ]
    assert moment is None or conversation.created_at.tzinfo is not None


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2026-02-30T00:00:00Z",
        "2026-04-10T25:00:00",
        "2026-13-01",
        "10/04/2026",
        "1775800036",
        "2026-04-10T05:47:16+99:00",
        "NaN",
    ],
)
@pytest.mark.parametrize("name", ["created_at", "resolved_at"])
def test_no_timestamp(text: str, name: str) -> None:
    """If a field's text is not a timestamp, ``extra`` keeps the text, and the field is None."""
    record = decode_conversation(json.dumps({"id": "x", name: text}))

    assert getattr(record, name) is None
    assert record.extra == {name: text}


@pytest.mark.parametrize(
    "moment,text",
    [
        (datetime(2026, 4, 10, 5, 47, 16, tzinfo=UTC), "2026-04-10T05:47:16.000+00:00"),
        (datetime(2026, 4, 10, 5, 47, 16, 771_000, tzinfo=UTC), "2026-04-10T05:47:16.771+00:00"),
        (datetime(2026, 4, 7, 13, 28, 3, 131_679, tzinfo=UTC), "2026-04-07T13:28:03.131679+00:00"),
        (
            datetime(2026, 4, 10, 12, tzinfo=timezone(timedelta(hours=7))),
            "2026-04-10T12:00:00.000+07:00",
        ),
        (None, None),
    ],
)
def test_timestamps_are_printed_as_the_api_does(moment: datetime | None, text: str | None) -> None:
    """`to_dict()` writes milliseconds, and microseconds only if they are not 0."""
    assert text == Conversation(id="x", created_at=moment).to_dict()["created_at"]


@given(
    moment=st.datetimes(
        # Use offsets of whole minutes, because RFC 3339 has no others.
        timezones=st.integers(-23 * 60, 23 * 60).map(lambda m: timezone(timedelta(minutes=m))),
        min_value=datetime(2, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
        max_value=datetime(9998, 12, 31),  # noqa: DTZ001 - as above
    )
)
@settings(max_examples=40 * EFFORT)
def test_timestamps_round_trip(moment: datetime) -> None:
    """`to_dict()` preserves any moment in any time zone."""
    conversation = Conversation(id="x", created_at=moment, resolved_at=moment)

    again = decode_conversation(json.dumps(conversation.to_dict()))

    assert conversation == again
    assert moment.utcoffset() == again.created_at.utcoffset()


@pytest.mark.parametrize(
    "page,shown",
    [
        (PAGE, "<ConversationPage of 2 records>"),
        (INBOX_PAGE, "<InboxPage of 1 record>"),
        (RawPage(body=b"secret"), "<RawPage of 0 records>"),
    ],
)
def test_the_repr_of_a_page_has_no_records(page: object, shown: str) -> None:
    """The repr of a page has its size, but no customers' data, because a repr may be logged."""
    assert repr(page) == shown
