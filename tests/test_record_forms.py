"""Forms of a record outside Python: JSON, a mapping, a notebook, a log."""

import copy
import html
import json
import math
import pickle
import re
import sys
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.effort import EFFORT
from support.hostile import make_body, records
from support.scripted import reply

from cekat_async import (
    Conversation,
    ConversationPage,
    Cursor,
    DecodeError,
    Inbox,
    InboxPage,
    Label,
    MalformedRecord,
    MessagePreview,
    PlatformType,
    RawPage,
    StageStatus,
    decode_conversation,
)
from cekat_async._api.decoding import ConversationPageDecoder, InboxPageDecoder, decode_raw_page
from cekat_async.models.fields import Extra
from cekat_async.models.steps import run_steps

# Markup, a formula, a change of the text direction, unprintable characters, and half an emoji.
HOSTILE = (
    "<script>alert('x')</script>&amp;\"$x$ \u202eevil\u202c\u2066\x00\x1b[31m\u200b\ufeff\r\n| a"
)
SECRET = "Budi Santoso 628123456789"
RECORD = Conversation.from_dict(
    {
        "id": "c-1",
        "contact_name": SECRET,
        "contact_phone": 628123456789,
        "notes": SECRET,
        "handled_by_name": SECRET,
        "inbox_name": SECRET,
        "stage_status": "snoozed",
        "platform_type": "whatsapp",
        "created_at": "2026-04-10 16:24:23",
        "labels": [{"id": "l-1", "name": SECRET}, 5],
        "last_message": {"message": SECRET, "created_at": "2026-04-10T16:24:23Z"},
        "additional_data": {"name": SECRET},
        "new_field": SECRET,
    }
)
MALFORMED = MalformedRecord(2, "m-1", "$", "Expected `object`", SECRET.encode())
PAGE = ConversationPage(
    items=(RECORD, Conversation(id="c-2")),
    malformed_records=(MALFORMED,),
    body=SECRET.encode(),
    next_cursor=Cursor("id", "2026-04-10T09:51:19.885"),
    inbox_id="i-1",
)
INBOX = Inbox(id="i-1", name=SECRET, phone_number=SECRET, type=PlatformType.TELEGRAM)
INBOX_PAGE = InboxPage(items=(INBOX,), page=2, total_pages=3, total_items=21)


def decode_page(body: bytes) -> ConversationPage:
    return run_steps(ConversationPageDecoder().decode(reply(body=body)))


# --- JSON and back


@given(sent=st.lists(records(), max_size=5))
@settings(max_examples=100 * EFFORT)
def test_records_of_any_page_round_trip(sent) -> None:
    """After a round trip through JSON, any record is equal and has its fields in the same order.

    The JSON has the original value of a mistyped field.
    """
    body = make_body(sent)
    for page in (decode_page(body), run_steps(InboxPageDecoder().decode(reply(body=body), 1))):
        for record in page:
            written = record.to_dict()
            for again in (
                type(record).from_dict(written),
                type(record).from_json(written and record.to_json()),
            ):
                assert again == record
                assert again.extra == record.extra
                assert json.dumps(again.to_dict()) == json.dumps(written)
            assert dict(record) == written


@given(sent=st.lists(records(), max_size=5))
@settings(max_examples=50 * EFFORT)
def test_pages_round_trip(sent) -> None:
    """After a round trip through JSON, a page has the same records, ids and malformed records."""
    page = msgspec.structs.replace(
        decode_page(make_body(sent)), next_cursor=Cursor("a", "b"), inbox_id="i"
    )

    for again in (ConversationPage.from_json(page.to_json()), copy.copy(page)):
        assert again.items == page.items
        assert again.ids == page.ids
        assert again.malformed_records == page.malformed_records or not all(
            _is_utf_8(one.raw) for one in page.malformed_records
        )
        assert (again.next_cursor, again.inbox_id) == (Cursor("a", "b"), "i")
        assert len(again.raw) == len(again.lines) == len(page.raw)
    assert ConversationPage.from_dict(page.to_dict()).items == page.items


def _is_utf_8(raw: bytes) -> bool:
    return raw.decode(errors="replace").encode() == raw


def test_a_page_is_written_as_the_api_writes_one() -> None:
    """The JSON of a page is the API's envelope. It lacks the body and the resume position."""
    assert PAGE.to_dict() == {
        "success": True,
        "data": [RECORD.to_dict(), Conversation(id="c-2").to_dict()],
        "malformed_records": [
            {
                "index": 2,
                "id": "m-1",
                "field": "$",
                "reason": "Expected `object`",
                "raw": SECRET,
            }
        ],
        "metadata": {
            "next_cursor": {"cursor_id": "id", "cursor_ts": "2026-04-10T09:51:19.885"},
            "inbox_id": "i-1",
            "cursor_error": None,
        },
    }
    assert INBOX_PAGE.to_dict() == {
        "success": True,
        "data": [INBOX.to_dict()],
        "malformed_records": [],
        "metadata": {"pagination": {"current_page": 2, "total_page": 3, "total_items": 21}},
    }
    assert json.loads(PAGE.to_json()) == PAGE.to_dict()


def test_inbox_pages_round_trip() -> None:
    """A page of inboxes keeps its number and its totals."""
    again = InboxPage.from_json(INBOX_PAGE.to_json())

    assert (again.items, again.page, again.total_pages, again.total_items) == ((INBOX,), 2, 3, 21)


def test_malformed_records_return_to_their_place() -> None:
    """Malformed records are read back with their index, in any order, even after the end."""
    written = {
        "data": [{"id": "a"}, {"id": "b"}],
        "malformed_records": [{"index": 9, "raw": "17"}, {"index": 1, "raw": '{"id":"x","n":NaN}'}],
    }

    page = ConversationPage.from_dict(written)

    assert page.ids == ["a", "x", "b", None]
    assert [(one.index, one.id) for one in page.malformed_records] == [(1, "x"), (3, None)]
    assert [bytes(raw) for raw in page.raw][1::2] == [b'{"id":"x","n":NaN}', b"17"]


@pytest.mark.parametrize("value", [MALFORMED, MalformedRecord(0, None, "$.id", "r", b"")])
def test_malformed_records_round_trip(value: MalformedRecord) -> None:
    """If the bytes of a malformed record are text, it is equal after a round trip through JSON."""
    assert MalformedRecord.from_json(value.to_json()) == value
    assert MalformedRecord.from_dict(value.to_dict()) == value


def test_bytes_that_are_no_text_are_replaced() -> None:
    """The bytes of a malformed record can be anything, and its JSON is still valid."""
    assert MalformedRecord(0, None, "$", "r", b"caf\xe9").to_dict()["raw"] == "caf\ufffd"


def test_parts_of_a_record_round_trip() -> None:
    """A label and a message preview have the same methods, and they need no id."""
    label = Label.from_dict({"name": 5, "icon": "*"})
    preview = MessagePreview.from_json('{"message":"Hi","created_at":"soon"}')

    assert (label.name, label.extra) == ("5", {"name": 5, "icon": "*"})
    assert (preview.created_at, preview.extra) == (None, {"created_at": "soon"})
    for part in (label, preview, Label(), MessagePreview()):
        assert type(part).from_json(part.to_json()) == part
        assert type(part).from_dict(part.to_dict()) == part


def test_plain_msgspec_writes_another_form() -> None:
    """In the JSON of `msgspec.json.encode`, ``extra`` is an object. So `to_json` is needed."""
    record = Conversation.from_dict({"id": "c", "notes": 5, "new": 1})

    assert json.loads(msgspec.json.encode(record))["extra"] == {"new": 1, "notes": 5}
    assert {"new": 1, "notes": 5}.items() <= json.loads(record.to_json()).items()


def test_decode_conversation_is_from_json() -> None:
    """The function and the method build the same record."""
    assert decode_conversation(RECORD.to_json()) == RECORD


def test_python_values_are_read() -> None:
    """A dict may contain datetimes, UUIDs, enum members, and records in place of objects."""
    moment = datetime(2026, 4, 10, 16, 24, 23, tzinfo=UTC)
    number = UUID(int=5)

    record = Conversation.from_dict(
        OrderedDict(
            id=number,
            created_at=moment,
            stage_status=StageStatus.OPEN,
            labels=(Label(id="l", extra=Extra(icon="*")),),
            last_message=MessagePreview(message="Hi", extra=Extra(kind="x")),
            pipeline=math.nan,
        )
    )

    assert record == Conversation(
        id=str(number),
        created_at=moment,
        stage_status=StageStatus.OPEN,
        labels=(Label(id="l", extra=Extra(icon="*")),),
        last_message=MessagePreview(message="Hi", extra=Extra(kind="x")),
    )
    assert Conversation.from_dict(RECORD) == RECORD


def test_half_an_emoji_in_a_dict_is_replaced() -> None:
    """Text that Python cannot encode is repaired as on a page."""
    assert Conversation.from_dict({"id": "c", "notes": "Hi \ud83d"}).notes == "Hi \ufffd"


CYCLE: list = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    "kind,data,reason",
    [
        (Conversation, {}, r"not a valid Conversation: it has no readable id at \$\.id"),
        (Conversation, {"id": ""}, "no readable id"),
        (Conversation, {"id": 5}, "no readable id"),
        (Conversation, [], "not a valid Conversation: expected a dict, got list"),
        (Conversation, '{"id":"x"}', "expected a dict, got str"),
        (Conversation, None, "expected a dict, got NoneType"),
        (Conversation, INBOX, "expected a dict, got Inbox"),
        (Label, INBOX, "expected a dict, got Inbox"),
        (Conversation, {"id": "x", "new": object()}, "Encoding objects of type object"),
        (Conversation, {"id": "x", "new": CYCLE}, "nested too deeply"),
        (Inbox, {"name": "x"}, "not a valid Inbox: it has no readable id"),
        (Label, None, "not a valid Label: expected a dict"),
        (ConversationPage, {}, "not a valid ConversationPage: .*`data`"),
        (ConversationPage, {"data": 5}, "not a valid ConversationPage: Expected `array`"),
        (ConversationPage, {"data": [], "metadata": {"next_cursor": {"cursor_id": "a"}}}, "ursor"),
        (ConversationPage, {"data": [], "malformed_records": [{"index": -1, "raw": ""}]}, ">= 0"),
        (InboxPage, {"data": [], "metadata": {"pagination": {"current_page": "x"}}}, "int"),
        (MalformedRecord, {"index": 0}, "not a valid MalformedRecord: .*`field`"),
    ],
)
def test_other_data_is_refused(kind, data, reason: str) -> None:
    """Other data raises a `DecodeError`, which has the reason and the place."""
    with pytest.raises(DecodeError, match=reason) as caught:
        kind.from_dict(data)

    assert caught.value.field


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", "\ud83d", b"[" * 100_000, b"null", b'"x"'])
@pytest.mark.parametrize("kind", [Conversation, Inbox, Label, ConversationPage, MalformedRecord])
def test_other_json_is_refused(kind, raw) -> None:
    """Invalid JSON, or JSON of another kind, raises `DecodeError`."""
    with pytest.raises(DecodeError, match=f"^not a valid {kind.__name__}: "):
        kind.from_json(raw)


def test_very_deep_values_are_kept_as_text() -> None:
    """A value that is nested too deeply for Python becomes text, if it can be skipped."""
    # The depth that can be skipped depends on the stack of the caller, so the test searches for it.
    limit = sys.getrecursionlimit()
    depths = (limit - used for used in range(5, 200))
    kept = None
    for depth in depths:
        raw = b'{"id":"x","new":%b%b%b}' % (b"[" * depth, b"9" * 5000, b"]" * depth)
        try:
            kept = Conversation.from_json(raw)
        except DecodeError:
            continue
        break

    assert kept is not None
    assert kept.extra["new"] == raw[16:-1].decode() or isinstance(kept.extra["new"], list)


# --- a record as a mapping


def test_a_record_is_a_mapping_of_its_json() -> None:
    """Code that accepts a mapping accepts a record. Its items are those of `to_dict`."""
    written = RECORD.to_dict()

    assert isinstance(RECORD, Mapping)
    assert dict(RECORD) == {**RECORD} == written
    assert list(RECORD) == list(RECORD.keys()) == list(written)
    assert list(RECORD.values()) == list(written.values())
    assert RECORD.items() == written.items()
    assert len(RECORD) == len(written)
    assert (RECORD["contact_phone"], RECORD["new_field"]) == (628123456789, SECRET)
    assert RECORD["created_at"] == "2026-04-10T16:24:23.000+00:00"
    assert (RECORD.get("id"), RECORD.get("x"), RECORD.get("x", 1)) == ("c-1", None, 1)
    assert "new_field" in RECORD
    assert "pipeline" not in RECORD
    assert dict(MALFORMED) == MALFORMED.to_dict()


@pytest.mark.parametrize("name", ["pipeline", "extra", "to_dict", "_rare", "", "x"])
def test_other_names_are_no_items(name: str) -> None:
    """A name that is not in the JSON raises `KeyError`, even if it is the name of an attribute."""
    with pytest.raises(KeyError):
        RECORD[name]


def test_a_field_named_extra_is_an_item() -> None:
    """A field of the API that is called ``extra`` is an ordinary item."""
    record = Conversation.from_dict({"id": "x", "extra": 5})

    assert record["extra"] == 5
    assert dict(record) == record.to_dict()


@pytest.mark.parametrize("record", [Label(), MessagePreview(), Conversation(id="x"), MALFORMED])
def test_every_record_is_true(record) -> None:
    """`if conversation.last_message:` is true for any message, even an empty one."""
    assert record


def test_pandas_makes_columns_of_records() -> None:
    """A DataFrame of records has a column for each field of the records."""
    frame = pd.DataFrame([RECORD, Conversation(id="c-2")])

    assert sorted(frame.columns) == sorted(RECORD.to_dict())  # pandas 2.2 sorts them
    assert list(frame["id"]) == ["c-1", "c-2"]


# --- logs


@pytest.mark.parametrize(
    "value,shown",
    [
        (RECORD, "Conversation(id='c-1', platform_type='whatsapp', stage_status='snoozed')"),
        (Conversation(id="x"), "Conversation(id='x')"),
        (INBOX, "Inbox(id='i-1', type='telegram')"),
        (RECORD.labels[0], "Label(id='l-1')"),
        (RECORD.last_message, "MessagePreview(created_at='2026-04-10T16:24:23.000+00:00')"),
        (
            MALFORMED,
            "MalformedRecord(index=2, id='m-1', field='$', reason='Expected `object`')",
        ),
        (
            Conversation(id="x" * 1000, stage_status=StageStatus("a\n\x1b[31m")),
            f"Conversation(id='{'x' * 59}…', stage_status='a [31m')",
        ),
    ],
)
def test_the_repr_of_a_record_is_short(value: object, shown: str) -> None:
    """The repr of a record is logged, so it has the id and nothing personal."""
    assert repr(value) == str(value) == shown
    assert SECRET not in shown


@pytest.mark.parametrize("value", [RECORD, MALFORMED, PAGE, INBOX_PAGE, RawPage(body=b"secret")])
def test_rich_shows_no_more_than_the_repr(value) -> None:
    """`rich` prints values in tracebacks, but not customers' data."""
    rich = pytest.importorskip("rich.pretty")

    shown = rich.pretty_repr(value, max_width=10_000)

    assert SECRET not in shown
    assert "secret" not in shown
    assert shown.startswith(type(value).__name__)


# --- notebooks


def read_cells(page: str) -> list[str]:
    """Return the texts of the cells of a table."""
    return [html.unescape(cell) for cell in re.findall(r"<t[dh](?: [^>]*)?>(.*?)</t[dh]>", page)]


def test_a_record_is_a_table_of_its_fields() -> None:
    """A notebook shows each field that has a value, and the original of a mistyped field."""
    cells = read_cells(RECORD._repr_html_())

    shown = dict(zip(cells[::2], cells[1::2], strict=True))
    assert shown["contact_name"] == SECRET
    assert shown["contact_phone"] == "628123456789"
    assert shown["labels"] == json.dumps(RECORD["labels"], separators=(",", ":"))
    assert shown["new_field"] == SECRET
    assert "resolved_at" not in shown


def test_a_page_is_a_table_of_its_records() -> None:
    """A notebook shows a row for each record of a page, and the number of malformed records."""
    shown = PAGE._repr_html_()

    cells = read_cells(shown)
    assert cells[:3] == ["id", "inbox_name", "contact_name"]
    assert cells[7:14] == [
        "c-1",
        *[SECRET] * 2,
        "snoozed",
        *[SECRET] * 2,
        "2026-04-10 16:24:23+00:00",
    ]
    assert cells[14:] == ["c-2", *[""] * 6]
    assert "of 3 records&gt;, 1 malformed" in shown
    assert "more" not in shown
    assert read_cells(INBOX_PAGE._repr_html_())[7:10] == ["i-1", SECRET, "telegram"]
    assert "0 records" in ConversationPage()._repr_html_()


def test_a_raw_page_shows_ids_and_sizes() -> None:
    """A raw page is shown without being decoded."""
    page = run_steps(decode_raw_page(reply(body=b'{"data":[{"id":"a"},17]}')))

    assert read_cells(page._repr_html_()) == ["id", "bytes", "a", "10", "", "2"]


@pytest.mark.parametrize("field", ["id", "contact_name", "stage_status", "new <b>field</b>"])
def test_markup_from_strangers_is_text(field: str) -> None:
    """Names and messages are shown as text on one line.

    They have no markup and no control characters.
    """
    record = Conversation.from_dict(
        {"id": "x", "last_message": {"message": HOSTILE, HOSTILE: HOSTILE}} | {field: HOSTILE}
    )
    malformed = MalformedRecord(0, HOSTILE, "$", HOSTILE, HOSTILE.encode())
    pages = [ConversationPage(items=(record,)), InboxPage(items=(Inbox(id=HOSTILE),))]

    for shown in (one._repr_html_() for one in (record, malformed, *pages)):
        tags = set(re.findall(r"<[^>]*>", shown))
        assert {tag.strip("</>").split()[0] for tag in tags} <= {
            *("table", "caption", "thead", "tbody", "tr", "th", "td", "p")
        }
        assert not re.search(r"&(?!amp;|lt;|gt;|quot;|#x27;)", shown)
        assert shown.isprintable()
        assert "\u202e" not in html.unescape(shown)
        assert 'class="dataframe tex2jax_ignore mathjax_ignore"' in shown
        assert "<td>" not in shown  # each cell has its own text direction


def test_a_notebook_stays_small() -> None:
    """A table has a limited number of rows, and a cell a limited number of characters."""
    long = Conversation.from_dict(
        {"id": "x" * 5000, "notes": "n" * 10**6} | {f"new_{n}": n for n in range(1000)}
    )
    page = ConversationPage(items=(long,) * 1000)

    assert "… and 980 more" in page._repr_html_()
    assert len(page._repr_html_()) < 20_000
    assert "… and 942 more" in long._repr_html_()
    assert len(long._repr_html_()) < 10_000
    raw_page = RawPage(raw=[msgspec.Raw(b'{"id":"a"}')] * 1000)
    assert raw_page._repr_html_().count("<tr>") == 21


# --- copies


@pytest.mark.parametrize(
    "value,change",
    [
        (RECORD, {"notes": "new"}),
        (INBOX, {"status": "active"}),
        (Label(id="l"), {"color": "#fff"}),
        (MALFORMED, {"index": 5}),
        (PAGE, {"next_cursor": None}),
        (INBOX_PAGE, {"page": 3}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_records_and_pages_are_copied_and_changed(value, change: dict) -> None:
    """`copy`, `pickle` and `msgspec.structs.replace` return values of the same type."""
    for again in (
        copy.copy(value),
        copy.deepcopy(value),
        pickle.loads(pickle.dumps(value)),  # noqa: S301 - what was just pickled
        msgspec.structs.replace(value),
    ):
        assert type(again) is type(value)
        assert again == value
        assert again.to_dict() == value.to_dict()
    ((name, new),) = change.items()
    changed = msgspec.structs.replace(value, **change)
    assert getattr(changed, name) == new
    assert changed != value
