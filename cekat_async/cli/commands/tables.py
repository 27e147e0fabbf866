"""Tables of conversations and inboxes on a terminal."""

from __future__ import annotations

import sys
from datetime import UTC
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cekat_async.cli.reporter import LONGEST_LINE
from cekat_async.cli.streams import can_encode
from cekat_async.redaction import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from rich.console import OverflowMethod

    from cekat_async import Conversation, Inbox

__all__ = ["conversation_table", "inbox_table", "print_table"]


def conversation_table(conversations: Iterable[Conversation]) -> Table:
    """Return a table as wide as the terminal; the last message fills the remaining width."""
    table = _new_table()
    overflow = _get_overflow()
    table.add_column("contact", no_wrap=True, overflow=overflow, max_width=20)
    table.add_column("channel", no_wrap=True, overflow=overflow, max_width=9)
    table.add_column("status", no_wrap=True, overflow=overflow, max_width=8)
    table.add_column("last message", no_wrap=True, overflow=overflow, ratio=1)
    table.add_column("at (UTC)", no_wrap=True, overflow=overflow)
    for conversation in conversations:
        preview = conversation.last_message
        table.add_row(
            _cell(conversation.contact_name or conversation.contact_phone),
            _cell(conversation.platform_type),
            _cell(conversation.stage_status),
            _cell(preview.message if preview else None),
            _cell(_format_moment(preview.created_at) if preview else None),
        )
    return table


def _format_moment(moment: datetime | None) -> str | None:
    return f"{moment.astimezone(UTC):%m-%d %H:%M}" if moment else None


def inbox_table(inboxes: Iterable[Inbox]) -> Table:
    """Return a table as wide as the terminal. Ids are never shortened: people copy them."""
    table = _new_table()
    overflow = _get_overflow()
    table.add_column("name", no_wrap=True, overflow=overflow, ratio=1)
    table.add_column("channel", no_wrap=True, overflow=overflow, max_width=9)
    table.add_column("status", no_wrap=True, overflow=overflow, max_width=8)
    table.add_column("id", overflow="fold")
    for inbox in inboxes:
        table.add_row(_cell(inbox.name), _cell(inbox.type), _cell(inbox.status), _cell(inbox.id))
    return table


def _new_table() -> Table:
    return Table(box=None, pad_edge=False, header_style="bold", expand=True)


def _get_overflow() -> OverflowMethod:
    """Return how to shorten text that is too long: with … if standard output can encode it."""
    return "ellipsis" if can_encode(getattr(sys.stdout, "encoding", None), "…") else "crop"


def _cell(value: str | None) -> Text:
    """Return a cell of untrusted text: one line without markup and control characters."""
    return Text(one_line(value or "", LONGEST_LINE))


def print_table(table: Table) -> None:
    """Print a table to standard output."""
    Console().print(table)
