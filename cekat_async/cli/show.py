"""What a person sees: tables on a terminal, malformed records."""

from __future__ import annotations

import sys
from datetime import UTC
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cekat_async.cli.stdout import has
from cekat_async.cli.voice import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from rich.console import OverflowMethod

    from cekat_async import Conversation, Inbox, MalformedRecord

__all__ = [
    "conversation_table",
    "inbox_table",
    "odd_record",
    "print_table",
]


def odd_record(odd: MalformedRecord) -> str:
    """Return which record is malformed, where and why."""
    which = "a record without an id" if odd.id is None else f"record {odd.id}"
    return f"{which} is malformed at {odd.field}: {odd.reason}"


def conversation_table(conversations: Iterable[Conversation]) -> Table:
    """Return a table as wide as the terminal; the message takes what the others leave."""
    table = _table()
    cut = _cut()
    table.add_column("contact", no_wrap=True, overflow=cut, max_width=20)
    table.add_column("channel", no_wrap=True, overflow=cut, max_width=9)
    table.add_column("status", no_wrap=True, overflow=cut, max_width=8)
    table.add_column("last message", no_wrap=True, overflow=cut, ratio=1)
    table.add_column("at (UTC)", no_wrap=True, overflow=cut)
    for conversation in conversations:
        preview = conversation.last_message
        table.add_row(
            _cell(conversation.contact_name or conversation.contact_phone),
            _cell(conversation.platform_type),
            _cell(conversation.stage_status),
            _cell(preview.message if preview else None),
            _cell(_moment(preview.created_at) if preview else None),
        )
    return table


def _moment(moment: datetime | None) -> str | None:
    return f"{moment.astimezone(UTC):%m-%d %H:%M}" if moment else None


def inbox_table(inboxes: Iterable[Inbox]) -> Table:
    """Return a table as wide as the terminal. Ids are whole: one copies them from here."""
    table = _table()
    cut = _cut()
    table.add_column("name", no_wrap=True, overflow=cut, ratio=1)
    table.add_column("channel", no_wrap=True, overflow=cut, max_width=9)
    table.add_column("status", no_wrap=True, overflow=cut, max_width=8)
    table.add_column("id", overflow="fold")
    for inbox in inboxes:
        table.add_row(_cell(inbox.name), _cell(inbox.type), _cell(inbox.status), _cell(inbox.id))
    return table


def _table() -> Table:
    return Table(box=None, pad_edge=False, header_style="bold", expand=True)


def _cut() -> OverflowMethod:
    """Return how to shorten text that is too long for its column: with … where there is one."""
    return "ellipsis" if has(getattr(sys.stdout, "encoding", None), "…") else "crop"


def _cell(value: str | None) -> Text:
    """Return a cell of text that strangers wrote: no markup, no control characters, one line."""
    return Text(one_line(value or ""))


def print_table(table: Table) -> None:
    """Print a table to standard output."""
    Console().print(table)
