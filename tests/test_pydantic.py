"""Records, pages, enums and cursors as fields of pydantic models."""

import inspect
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError
from support.effort import EFFORT
from support.hostile import JSON, KNOWN, TEXTS

from cekat_async import (
    Conversation,
    ConversationPage,
    Cursor,
    Inbox,
    InboxPage,
    Label,
    MalformedRecord,
    MessagePreview,
    PlatformType,
    StageStatus,
)


class Ticket(BaseModel):
    """A user's own model."""

    conversation: Conversation
    inbox: Inbox | None = None
    labels: list[Label] = []
    status: StageStatus | None = None
    page: ConversationPage | None = None
    cursor: Cursor | None = None
    anything: Any = None


SENT = {
    "id": "c-1",
    "contact_phone": 628123,
    "stage_status": "snoozed",
    "labels": [{"id": "l-1", "icon": "*"}, 5],
    "created_at": "2026-04-10 16:24:23",
    "new_field": {"deep": [1, None]},
}
RECORD = Conversation.from_dict(SENT)
PAGE = ConversationPage(
    items=(RECORD,),
    malformed_records=(MalformedRecord(1, None, "$", "Expected `object`", b"17"),),
    next_cursor=Cursor("id", "2026-04-10T09:51:19.885"),
)
TYPES = [
    Conversation,
    ConversationPage,
    Cursor,
    Inbox,
    InboxPage,
    Label,
    MalformedRecord,
    MessagePreview,
    PlatformType,
    StageStatus,
]


# --- validation


def test_an_instance_is_valid_as_it_is() -> None:
    """A model accepts a record or a page of the package without a copy."""
    ticket = Ticket(conversation=RECORD, page=PAGE)

    assert ticket.conversation is RECORD
    assert ticket.page is PAGE


def test_a_dict_is_read_as_from_a_page() -> None:
    """Unknown and mistyped fields of a dict are in ``extra``. Unknown statuses are kept."""
    ticket = Ticket.model_validate({"conversation": SENT, "inbox": {"id": "i", "name": 5}})

    assert ticket.conversation == RECORD
    assert ticket.conversation.extra.keys() == {"contact_phone", "labels", "new_field"}
    assert ticket.conversation.stage_status == StageStatus("snoozed")
    assert (ticket.inbox.name, ticket.inbox.extra) == ("5", {"name": 5})


@given(fields=st.dictionaries(st.sampled_from(KNOWN) | TEXTS, JSON, max_size=4))
@settings(max_examples=50 * EFFORT)
def test_any_record_round_trips(fields: dict) -> None:
    """A model with any record is equal after a round trip through JSON or a dict."""
    ticket = Ticket(conversation=Conversation.from_dict(fields | {"id": "x"}))

    assert Ticket.model_validate(ticket.model_dump()) == ticket
    assert Ticket.model_validate(ticket.model_dump(mode="json")) == ticket
    assert Ticket.model_validate_json(ticket.model_dump_json()) == ticket


@pytest.mark.parametrize(
    "value,reason",
    [
        ({}, "not a valid Conversation: it has no readable id at $.id"),
        ({"id": 5}, "not a valid Conversation: it has no readable id at $.id"),
        ("{id}", "not a valid Conversation: expected a dict, got str"),
        (None, "not a valid Conversation: expected a dict, got NoneType"),
        (Inbox(id="i"), None),
    ],
)
def test_other_values_are_invalid(value: object, reason: str | None) -> None:
    """A value of another kind is a validation error of pydantic, even in a union."""
    if reason is None:
        assert TypeAdapter(Label | Inbox).validate_python(value) is value
        return
    with pytest.raises(ValidationError) as caught:
        Ticket.model_validate({"conversation": value})

    (error,) = caught.value.errors()
    assert (error["loc"], error["msg"]) == (("conversation",), reason)
    assert TypeAdapter(Conversation | str | dict | None).validate_python(value) == value


def test_statuses_are_open() -> None:
    """Any text is a status, and a known one is the enum member.

    A number or an empty text is not a status.
    """
    adapter = TypeAdapter(StageStatus)

    assert adapter.validate_python("open") is StageStatus.OPEN
    assert adapter.validate_json('"snoozed"') == StageStatus("snoozed")
    assert type(adapter.validate_python(StageStatus("snoozed"), strict=True)) is StageStatus
    with pytest.raises(ValidationError, match="valid string"):
        adapter.validate_python(5)
    with pytest.raises(ValidationError, match="at least 1 character"):
        adapter.validate_python("")


@pytest.mark.parametrize("cursor", [{}, {"cursor_id": "a"}, {"cursor_id": 1, "cursor_ts": "b"}])
def test_half_a_cursor_is_invalid(cursor: dict) -> None:
    """A cursor needs both of its strings."""
    with pytest.raises(ValidationError):
        Ticket.model_validate({"conversation": RECORD, "cursor": cursor})


def test_a_record_is_valid_for_a_model_of_its_fields() -> None:
    """A record is a mapping, so a model that has some of its fields can be built from it."""

    class Mine(BaseModel):
        id: str
        contact_phone: int

    assert Mine.model_validate(RECORD) == Mine(id="c-1", contact_phone=628123)


# --- serialisation


def test_the_serialised_form_is_that_of_the_api() -> None:
    """In Python and in JSON, a record becomes what `to_dict` returns.

    A page becomes the envelope.
    """
    ticket = Ticket(
        conversation=RECORD, page=PAGE, cursor=PAGE.next_cursor, status=StageStatus("snoozed")
    )
    expected = {
        "conversation": RECORD.to_dict(),
        "inbox": None,
        "labels": [],
        "status": "snoozed",
        "page": PAGE.to_dict(),
        "cursor": {"cursor_id": "id", "cursor_ts": "2026-04-10T09:51:19.885"},
        "anything": None,
    }

    assert ticket.model_dump() == ticket.model_dump(mode="json") == expected
    assert json.loads(ticket.model_dump_json()) == expected
    assert type(ticket.model_dump()["status"]) is StageStatus
    assert type(ticket.model_dump(mode="json")["status"]) is str
    assert Ticket.model_validate_json(ticket.model_dump_json()).page.items == (RECORD,)


def test_fields_can_be_left_out() -> None:
    """An excluded field is in no output, even if a record is in a field of any type."""
    ticket = Ticket(conversation=RECORD, page=PAGE, anything=RECORD)
    phone = {"contact_phone"}
    left_out = {"conversation": phone, "page": {"data": {"__all__": phone}}, "anything": phone}

    assert "628123" in ticket.model_dump_json()
    assert "628123" not in ticket.model_dump_json(exclude=left_out)
    assert "628123" not in str(ticket.model_dump(exclude=left_out))
    chosen = ticket.model_dump(include={"conversation": {"id"}})
    assert chosen == {"conversation": {"id": "c-1"}}
    for mode in ("python", "json"):
        dumped = ticket.model_dump(mode=mode, exclude_none=True)
        assert None not in dumped["conversation"].values()
        assert None not in dumped["anything"].values()


def test_records_in_a_field_of_any_type_are_serialised() -> None:
    """A record is also serialised if its field has no declared type."""
    anything = {"record": RECORD, "pages": [PAGE], "cursor": PAGE.next_cursor}
    ticket = Ticket(conversation=RECORD, anything=anything)

    expected = {
        "record": RECORD.to_dict(),
        "pages": [PAGE.to_dict()],
        "cursor": {"cursor_id": "id", "cursor_ts": "2026-04-10T09:51:19.885"},
    }
    assert ticket.model_dump()["anything"] == expected
    assert json.loads(ticket.model_dump_json())["anything"] == expected


@pytest.mark.parametrize("value", [Inbox(id="i"), RECORD, "text", None])
def test_unions_are_serialised(value: object) -> None:
    """Each value of a union is serialised as its own type."""
    adapter = TypeAdapter(Conversation | Inbox | str | None)
    expected = value.to_dict() if isinstance(value, (Inbox, Conversation)) else value

    assert adapter.dump_python(value) == json.loads(adapter.dump_json(value)) == expected


def test_a_value_that_was_never_validated_is_a_warning_of_pydantic() -> None:
    """For a value of another type, pydantic warns as for its own types, and writes the value."""
    unchecked = Ticket.model_construct(conversation={"id": "x"})

    with pytest.warns(UserWarning, match="expected a Conversation"):
        assert unchecked.model_dump()["conversation"] == {"id": "x"}


# --- the schema


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
def test_schemas_are_the_same_in_both_directions(kind: type) -> None:
    """Input and output have the same schema."""
    adapter = TypeAdapter(kind)

    received = adapter.json_schema(mode="serialization")
    assert adapter.json_schema(mode="validation") == received
    assert received["title"] == kind.__name__
    if kind is not Cursor:  # the first versions of pydantic 2 do not describe dataclasses
        assert received["description"].endswith((".", "``"))
    assert "enum" not in json.dumps(received)
    assert "docs/api.md" not in json.dumps(received)


def test_the_schema_describes_the_fields() -> None:
    """Only the id is required.

    Fields may be null or unknown, and enums have the known values as examples.
    """
    schema = TypeAdapter(Conversation).json_schema()
    fields, parts = schema["properties"], schema["$defs"]

    assert set(fields) == set(Conversation.__struct_fields__) - {"extra"}
    assert (schema["required"], schema["additionalProperties"]) == (["id"], True)
    assert fields["id"]["type"] == "string"
    assert fields["contact_name"]["anyOf"] == [{"type": "string"}, {"type": "null"}]
    assert fields["created_at"]["anyOf"][0] == {"type": "string", "format": "date-time"}
    assert fields["labels"]["anyOf"][0] == {"type": "array", "items": {"$ref": "#/$defs/Label"}}
    assert fields["last_message"]["anyOf"][0] == {"$ref": "#/$defs/MessagePreview"}
    assert fields["stage_status"]["anyOf"][0] == {"$ref": "#/$defs/StageStatus"}
    assert "type" not in fields["pipeline"]
    assert parts["Label"]["additionalProperties"] is True
    assert parts["StageStatus"] == {
        "title": "StageStatus",
        "type": "string",
        "description": (inspect.getdoc(StageStatus) or "").partition("\n")[0],
        "examples": ["assigned", "resolved", "pending", "open"],
    }


def test_the_schema_of_a_page_is_the_envelope() -> None:
    """A page's schema describes its records and its cursor."""
    schema = TypeAdapter(ConversationPage).json_schema()
    pagination = TypeAdapter(InboxPage).json_schema()["properties"]["metadata"]["properties"]

    fields = schema["properties"]
    assert schema["required"] == ["data"]
    assert fields["data"]["items"] == {"$ref": "#/$defs/Conversation"}
    assert fields["malformed_records"]["items"] == {"$ref": "#/$defs/MalformedRecord"}
    cursor = fields["metadata"]["properties"]["next_cursor"]["anyOf"]
    assert cursor == [{"$ref": "#/$defs/Cursor"}, {"type": "null"}]
    assert set(pagination["pagination"]["properties"]) == {
        "current_page",
        "total_page",
        "total_items",
    }
    assert schema["$defs"]["MalformedRecord"]["required"] == ["index", "field", "reason", "raw"]


# --- without pydantic


def test_the_package_does_not_import_pydantic() -> None:
    """Neither importing the package nor using a record imports pydantic."""
    code = (
        "import sys\n"
        "from cekat_async import Conversation\n"
        'record = Conversation.from_json(b\'{"id":"x"}\')\n'
        "record.to_json(), record._repr_html_(), repr(record)\n"
        "print([name for name in sys.modules if name.startswith('pydantic')])"
    )

    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


def test_without_pydantic_records_are_no_serialisable_of_its(monkeypatch) -> None:
    """If pydantic is not installed, a record has none of its serialisers."""
    from cekat_async.models.forms import pydantic_schema  # noqa: PLC0415 - a private part

    pydantic_schema._build_serializer.cache_clear()
    monkeypatch.setitem(sys.modules, "pydantic_core", None)

    assert not hasattr(RECORD, "__pydantic_serializer__")
