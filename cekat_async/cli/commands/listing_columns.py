"""The columns that the listing commands can show: their names, their headings and their values."""

from __future__ import annotations

from difflib import get_close_matches
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import click

from cekat_async import Inbox
from cekat_async.frames.columns import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cekat_async import Conversation
    from cekat_async.frames.columns import Column

__all__ = [
    "CONVERSATION_DEFAULT",
    "INBOX_DEFAULT",
    "RecordKind",
    "ShownColumn",
    "get_column_names",
    "parse_columns",
]

RecordKind: TypeAlias = Literal["conversation", "inbox"]
Fit: TypeAlias = Literal["whole", "cut", "fill"]

_SHORT_ID = 8


class ShownColumn(NamedTuple):
    """A column that can be shown.

    Attributes:
        heading: The heading of the column in a table.
        value: A function that returns the column's value for a record: text, an aware datetime or
            ``None``.
        fit: The way to fit the column into a terminal. ``"whole"`` shows all of it. ``"cut"`` cuts
            it to a suitable width. ``"fill"`` gives it a share of the remaining width.
    """

    heading: str
    value: Callable[[Any], Any]
    fit: Fit = "cut"


# The short names of columns, which are shown as headings, and which users can type.
_SHORT_NAMES = {
    "inbox_name": "inbox",
    "platform_type": "channel",
    "type": "channel",
    "stage_status": "status",
    "contact_name": "contact",
    "contact_phone": "phone",
    "handled_by_name": "agent",
    "last_message_at": "at",
}
_HEADINGS = {**_SHORT_NAMES, "last_message": "last message"}
_LONG_TEXTS = {"notes", "first_message", "last_message"}


def _get_short_id(conversation: Conversation) -> str:
    return conversation.id[:_SHORT_ID]


def _list_labels(conversation: Conversation) -> str:
    """Return the names of the labels as one text for people."""
    return ", ".join(label.name or label.id or "" for label in conversation.labels)


def _get_fit(name: str, kind: str) -> Fit:
    if name == "id" or name.endswith("_id") or kind == "time":
        return "whole"
    return "fill" if name in _LONG_TEXTS or kind == "json" else "cut"


def _get_value(column: Column, conversation: Conversation) -> Any:
    return column.convert(getattr(conversation, column.field))


def _get_text(name: str, record: Any) -> Any:
    """Return the value of a field. Format a boolean as in JSON."""
    value = attrgetter(name)(record)
    return str(value).lower() if isinstance(value, bool) else value


_CONVERSATION_COLUMNS = {
    "short_id": ShownColumn("id", _get_short_id, "whole"),
    **{
        one.name: ShownColumn(
            _HEADINGS.get(one.name, one.name),
            partial(_get_value, one),
            _get_fit(one.name, one.kind),
        )
        for one in COLUMNS
        if one.kind != "raw"  # only ``--json`` shows the raw record
    },
    "labels": ShownColumn("labels", _list_labels, "fill"),
}
_INBOX_COLUMNS = {
    name: ShownColumn(
        _HEADINGS.get(name, name),
        partial(_get_text, name),
        _get_fit(name, "time" if name == "created_at" else "text"),
    )
    for name in Inbox.__struct_fields__
    if name != "extra"
}
# The columns for each kind of record. Conversations have the same columns as in exported tables.
_COLUMNS: Mapping[RecordKind, Mapping[str, ShownColumn]] = {
    "conversation": _CONVERSATION_COLUMNS,
    "inbox": _INBOX_COLUMNS,
}

CONVERSATION_DEFAULT: Sequence[ShownColumn] = [
    _CONVERSATION_COLUMNS[name]
    for name in (
        "short_id",
        "inbox_name",
        "handled_by_name",
        "stage_status",
        "last_message",
        "last_message_at",
    )
]
INBOX_DEFAULT: Sequence[ShownColumn] = [
    _INBOX_COLUMNS["name"]._replace(fit="fill"),
    *[_INBOX_COLUMNS[name] for name in ("type", "status", "id")],
]


def get_column_names(kind: RecordKind) -> list[str]:
    """Return the names of all columns, short names first."""
    columns = _COLUMNS[kind]
    return [*[_SHORT_NAMES[name] for name in columns if name in _SHORT_NAMES], *columns]


def parse_columns(value: str, kind: RecordKind) -> list[ShownColumn]:
    """Return the columns for a text of names that are separated by commas.

    Raises:
        click.BadParameter: There is no column with one of these names. The message lists all names.
    """
    columns = _COLUMNS[kind]
    short = {_SHORT_NAMES[name]: name for name in columns if name in _SHORT_NAMES}
    chosen = list[ShownColumn]()
    for typed in value.split(","):
        name = typed.strip().lower().replace("-", "_")
        column = columns.get(short.get(name, name))
        if column is None:
            raise click.BadParameter(_describe_unknown(name, get_column_names(kind)))
        chosen.append(column)
    return chosen


def _describe_unknown(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, 1)
    what = f"there is no column {name!r}" if name else "a name is empty"
    hint = f", did you mean {close[0]}?" if close else "."
    return f"{what}{hint} The columns are {', '.join(known)}."
