"""The listing commands: a table on a terminal, JSON Lines as the API sent them in a pipe."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from cekat_async.cli.client_factory import open_client
from cekat_async.cli.commands.tables import conversation_table, inbox_table, print_table
from cekat_async.cli.event_loop import run_async
from cekat_async.cli.formatting import describe_malformed
from cekat_async.cli.options import DEFAULT_ROWS
from cekat_async.cli.streams import is_terminal, write_stdout

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from cekat_async import CekatClient, MalformedRecord, RawPage
    from cekat_async.cli.connection import Connection
    from cekat_async.cli.exit_codes import ExitCode
    from cekat_async.cli.reporter import Reporter

__all__ = ["list_conversations", "list_inboxes"]

_PAGE = 100


def list_conversations(
    reporter: Reporter, connection: Connection, maximum: int | None, filters: dict[str, Any]
) -> ExitCode:
    """List conversations.

    Args:
        reporter: Reports what is not shown.
        connection: Where they come from.
        maximum: How many at most; ``None`` for 20 on a terminal, and all in a pipe.
        filters: The filters of ``conversations.list``.
    """
    return run_async(_list_conversations(reporter, connection, maximum, filters), reporter)


async def _list_conversations(
    reporter: Reporter, connection: Connection, maximum: int | None, filters: dict[str, Any]
) -> None:
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
    print_table(conversation_table(found[:maximum]))
    if len(found) > maximum:
        reporter.report(f"these are the first {maximum}: -n N shows more, a pipe gets all")


def list_inboxes(reporter: Reporter, connection: Connection) -> ExitCode:
    """List inboxes.

    Args:
        reporter: Reports what is not shown.
        connection: Where they come from.
    """
    return run_async(_list_inboxes(reporter, connection), reporter)


async def _list_inboxes(reporter: Reporter, connection: Connection) -> None:
    is_shown = is_terminal()
    async with open_client(connection) as client:
        if not is_shown:
            pages = client.inboxes.list(on_malformed=_ignore).pages()
            # Page numbers shift if inboxes change, so the same inbox may be on two pages.
            write_stdout({line + b"\n": None async for page in pages for line in page.lines})
            return
        found = await client.inboxes.list(on_malformed=_make_handler(reporter)).collect()
    print_table(inbox_table(found))


async def _print_lines(pages: AsyncGenerator[RawPage, None], maximum: int | None) -> None:
    """Print records as the API sent them."""
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
