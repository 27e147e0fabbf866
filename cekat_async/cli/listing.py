"""The commands that list: a table on a terminal, JSON Lines as the API sent them in a pipe."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from cekat_async.cli import show
from cekat_async.cli.connecting import open_client
from cekat_async.cli.options import ON_A_TERMINAL
from cekat_async.cli.running import on_a_terminal, run_async, write_out

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from cekat_async import CekatClient, MalformedRecord, RawPage
    from cekat_async.cli.exits import ExitCode
    from cekat_async.cli.options import Connection
    from cekat_async.cli.voice import Voice

__all__ = ["list_conversations", "list_inboxes"]

_PAGE = 100


def list_conversations(
    voice: Voice, connection: Connection, most: int | None, which: dict[str, Any]
) -> ExitCode:
    """List conversations.

    Args:
        voice: Says what is not shown.
        connection: Where they come from.
        most: How many at the most; ``None`` for as many as is usual where they go.
        which: The filters of ``conversations.list``.
    """
    return run_async(_conversations(voice, connection, most, which), voice)


async def _conversations(
    voice: Voice, connection: Connection, most: int | None, which: dict[str, Any]
) -> None:
    terminal = on_a_terminal()
    async with open_client(connection) as client:
        if terminal:
            await _tabulate(voice, client, most or ON_A_TERMINAL, which)
            return
        listing = client.conversations.list(
            page_size=min(_PAGE, most or _PAGE),
            # A page that is fetched ahead of the last one would use up quota for nothing.
            prefetch=0 if most else 1,
            **which,
        )
        await _print_lines(listing.raw_pages(), most)


async def _tabulate(voice: Voice, client: CekatClient, most: int, which: dict[str, Any]) -> None:
    listing = client.conversations.list(
        # One more than is shown tells whether there are more.
        page_size=min(_PAGE, most + 1),
        on_malformed=_say_odd(voice),
        **which,
    )
    found = await listing.take(most + 1)
    show.print_table(show.conversation_table(found[:most]))
    if len(found) > most:
        voice.say(f"these are the first {most}: -n N shows more, a pipe gets all")


def list_inboxes(voice: Voice, connection: Connection) -> ExitCode:
    """List inboxes.

    Args:
        voice: Says what is not shown.
        connection: Where they come from.
    """
    return run_async(_inboxes(voice, connection), voice)


async def _inboxes(voice: Voice, connection: Connection) -> None:
    terminal = on_a_terminal()
    async with open_client(connection) as client:
        if not terminal:
            pages = client.inboxes.list(on_malformed=_pass).pages()
            # Page numbers shift when an inbox comes or goes: one may be on two pages.
            write_out({line + b"\n": None async for page in pages for line in page.lines})
            return
        found = await client.inboxes.list(on_malformed=_say_odd(voice)).collect()
    show.print_table(show.inbox_table(found))


async def _print_lines(pages: AsyncGenerator[RawPage, None], most: int | None) -> None:
    """Print records as the API sent them."""
    left = most
    async with aclosing(pages):
        async for page in pages:
            lines = page.lines[:left]
            write_out(line + b"\n" for line in lines)
            left = None if left is None else left - len(lines)
            if left == 0:
                return


def _pass(odd: MalformedRecord) -> None:
    """Take no notice of an odd record, because its bytes are printed all the same."""


def _say_odd(voice: Voice) -> Callable[[MalformedRecord], None]:
    def say_odd(odd: MalformedRecord) -> None:
        voice.say(f"not shown: {show.odd_record(odd)}", event="odd_record", level="warning")

    return say_odd
