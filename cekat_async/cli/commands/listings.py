"""The listing commands: a table on a terminal, JSON Lines as the API sent them in a pipe."""

from __future__ import annotations

import sys
from contextlib import aclosing
from datetime import UTC
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cekat_async.cli.client_factory import open_client
from cekat_async.cli.formatting import describe_malformed
from cekat_async.cli.options import DEFAULT_ROWS
from cekat_async.cli.reporter import LONGEST_LINE
from cekat_async.cli.streams import can_encode, is_terminal, write_stdout
from cekat_async.redaction import one_line

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable
    from datetime import datetime

    from rich.console import OverflowMethod

    from cekat_async import CekatClient, Conversation, Inbox, MalformedRecord, RawPage
    from cekat_async.cli.connection import Connection
    from cekat_async.cli.reporter import Reporter

__all__ = ["conversation_table", "inbox_table", "list_conversations", "list_inboxes"]

_PAGE = 100


async def list_conversations(
    reporter: Reporter, connection: Connection, maximum: int | None, filters: dict[str, Any]
) -> None:
    """List at most so many conversations; by default 20 on a terminal, and all in a pipe."""
    is_shown = is_terminal()
    async with open_client(connection) as client:
        if is_shown:
            await _show_conversations(reporter, client, maximum or DEFAULT_ROWS, filters)
            return
        listing = client.conversations.list(
            page_size=min(_PAGE, maximum or _PAGE),
            # A page that is fetched ahead of the last one would waste a request.
            prefetch=0 if maximum else 1,
            **filters,
        )
        await _print_lines(listing.raw_pages(), maximum)


async def _show_conversations(
    reporter: Reporter, client: CekatClient, maximum: int, filters: dict[str, Any]
) -> None:
    listing = client.conversations.list(
        # One more than is shown, to know whether there are more.
        page_size=min(_PAGE, maximum + 1),
        on_malformed=_make_handler(reporter),
        **filters,
    )
    found = await listing.take(maximum + 1)
    Console().print(conversation_table(found[:maximum]))
    if len(found) > maximum:
        reporter.report(f"these are the first {maximum}: -n N shows more, a pipe gets all")


async def list_inboxes(reporter: Reporter, connection: Connection) -> None:
    """List all inboxes."""
    is_shown = is_terminal()
    async with open_client(connection) as client:
        if not is_shown:
            pages = client.inboxes.list(on_malformed=_ignore).pages()
            # Page numbers shift if inboxes change, so the same inbox may be on two pages.
            write_stdout({line + b"\n": None async for page in pages for line in page.lines})
            return
        found = await client.inboxes.list(on_malformed=_make_handler(reporter)).collect()
    Console().print(inbox_table(found))


async def _print_lines(pages: AsyncGenerator[RawPage, None], maximum: int | None) -> None:
    left = maximum
    async with aclosing(pages):
        async for page in pages:
            lines = page.lines[:left]
            write_stdout(line + b"\n" for line in lines)
            left = None if left is None else left - len(lines)
            if left == 0:
                return


def _ignore(record: MalformedRecord) -> None:
    """Ignore a malformed record, because its bytes are printed anyway."""


def _make_handler(reporter: Reporter) -> Callable[[MalformedRecord], None]:
    def report(record: MalformedRecord) -> None:
        text = f"not shown: {describe_malformed(record)}"
        reporter.report(text, event="odd_record", level="warning")

    return report


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
