"""The listing commands: a table on a terminal, JSON Lines as the API sent them in a pipe."""

from __future__ import annotations

import re
import unicodedata
from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console

from cekat_async import DecodeError, decode_conversation
from cekat_async.cli.client_factory import open_client
from cekat_async.cli.commands.listing_columns import CONVERSATION_DEFAULT, INBOX_DEFAULT
from cekat_async.cli.commands.listing_options import DEFAULT_ROWS
from cekat_async.cli.commands.listing_table import build_line, build_table
from cekat_async.cli.formatting import describe_malformed, pluralize
from cekat_async.cli.streams import is_terminal, write_json_lines, write_stdout

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from contextlib import AbstractContextManager

    from rich.status import Status

    from cekat_async import CekatClient, Conversation, Inbox, MalformedRecord, RawPage
    from cekat_async.cli.commands.listing_columns import ShownColumn
    from cekat_async.cli.connection import Connection
    from cekat_async.cli.reporter import Reporter
    from cekat_async.pages import Page

__all__ = ["View", "list_conversations", "list_inboxes"]

_PAGE = 100


class View(NamedTuple):
    """The way to show a listing.

    Attributes:
        columns: The chosen columns; ``None`` for the default columns.
        as_json: Whether to write JSON Lines on a terminal, too.
        maximum: The maximum number of records to show; ``None`` for the default number.
        agent: The id of an agent, or words of the agent's name. Only this agent's records are
            shown.
        filters: All filters as the user typed them, for the message that nothing matches.
    """

    columns: Sequence[ShownColumn] | None = None
    as_json: bool = False
    maximum: int | None = None
    agent: str | None = None
    filters: str = ""


async def list_conversations(
    reporter: Reporter, connection: Connection, view: View, filters: dict[str, Any]
) -> None:
    """List conversations: by default 20 on a terminal, and all of them in a pipe."""
    is_shown = is_terminal() and not view.as_json
    async with open_client(connection) as client:
        listing = _Conversations(reporter, client, view, filters)
        if is_shown:
            await listing.show_table()
        elif view.columns:
            await listing.print_values(view.columns)
        else:
            await listing.print_json()
    listing.report_end(is_shown=is_shown)


class _Conversations:
    """One walk of the conversations, which counts the records that it reads and finds."""

    def __init__(
        self, reporter: Reporter, client: CekatClient, view: View, filters: dict[str, Any]
    ) -> None:
        self._reporter = reporter
        self._client = client
        self._view = view
        self._filters = filters
        self._is_wanted = _match_agent(view.agent)
        self._read = 0
        self._found = 0

    async def show_table(self) -> None:
        """Show a table. If the walk ends early, the table has all records found so far."""
        wanted = self._view.maximum or DEFAULT_ROWS
        found: list[Conversation] = []
        console = Console()
        try:
            with self._show_progress() as status:
                # Look for one more record than is shown, to know whether there are more. Do not
                # look for it in a search, which might then have to read to the end.
                async for records in self._find(wanted + (self._view.agent is None)):
                    found += records
                    if status is not None:
                        status.update(f"{self._found:,} found in {self._describe_read()}")
        finally:
            columns = self._view.columns or CONVERSATION_DEFAULT
            if found:
                console.print(build_table(found[:wanted], columns, console.width))

    async def print_values(self, columns: Sequence[ShownColumn]) -> None:
        """Print the values of some columns, separated by tabs."""
        async for records in self._find(self._view.maximum):
            write_stdout(build_line(record, columns) for record in records)

    async def print_json(self) -> None:
        """Print the records as the API sent them."""
        choose = _get_lines if self._view.agent is None else self._choose_lines
        maximum = self._view.maximum
        async for lines in self._walk(self._list(maximum).raw_pages(), choose, maximum):
            write_json_lines(lines)

    def report_end(self, *, is_shown: bool) -> None:
        """Report if nothing was found, or if a table does not show all records."""
        wanted = self._view.maximum or DEFAULT_ROWS
        read = f" ({self._read:,} were read)" if self._view.agent else ""
        if not self._found:
            _report_nothing(self._reporter, "conversation", self._view, read)
        elif is_shown and self._found > wanted:
            self._reporter.report(
                f"only the first {wanted:,} are shown. Use -n N for more, or a pipe for all"
            )
        elif is_shown and self._view.agent:
            more = ". Use -n N for more" if self._found == wanted else ""
            self._reporter.report(f"{self._found:,} found in {self._describe_read()}{more}")

    def _find(self, maximum: int | None) -> AsyncGenerator[Sequence[Conversation], None]:
        listing = self._list(maximum, on_malformed=_make_handler(self._reporter))
        return self._walk(listing.pages(), self._choose, maximum)

    def _list(self, maximum: int | None, **options: Any) -> Any:
        is_search = self._view.agent is not None
        # If the command may have to read many records before it finds a match, large pages are
        # cheaper.
        needs_all = is_search or self._filters.get("until") is not None
        return self._client.conversations.list(
            page_size=_PAGE if needs_all else min(_PAGE, maximum or _PAGE),
            # Do not prefetch for a small maximum: the page after the last needed page would waste a
            # request.
            prefetch=1 if is_search or not maximum else 0,
            **self._filters,
            **options,
        )

    async def _walk(
        self,
        pages: AsyncGenerator[Any, None],
        choose: Callable[[Any], Sequence[Any]],
        maximum: int | None,
    ) -> AsyncGenerator[Sequence[Any], None]:
        """Yield the chosen records of each page until ``maximum`` is reached."""
        async with aclosing(pages):
            async for page in pages:
                left = None if maximum is None else maximum - self._found
                chosen = choose(page)[:left]
                self._read += len(page)
                self._found += len(chosen)
                yield chosen
                if self._found == maximum:
                    return

    def _choose(self, page: Page[Conversation]) -> Sequence[Conversation]:
        return [record for record in page if self._is_wanted(record)]

    def _choose_lines(self, page: RawPage) -> Sequence[bytes]:
        pairs = zip(page.raw, page.lines, strict=True)
        return [line for raw, line in pairs if self._is_raw_wanted(bytes(raw))]

    def _is_raw_wanted(self, raw: bytes) -> bool:
        try:
            return self._is_wanted(decode_conversation(raw))
        except DecodeError:  # a malformed record has no agent
            return False

    def _describe_read(self) -> str:
        return pluralize(self._read, "conversation")

    def _show_progress(self) -> AbstractContextManager[Status | None]:
        """Show a moving line during a search, which may read the whole account."""
        is_search = self._view.agent is not None
        return self._reporter.show_status("searching") if is_search else nullcontext()


async def list_inboxes(reporter: Reporter, connection: Connection, view: View) -> None:
    """List all inboxes."""
    is_shown = is_terminal() and not view.as_json
    async with open_client(connection) as client:
        if not is_shown and not view.columns:
            pages = client.inboxes.list(on_malformed=_ignore).pages()
            # The pages shift if inboxes change during the walk, so the same inbox may be on two
            # pages.
            lines = {line: None async for page in pages for line in page.lines}
            write_json_lines(lines)
            count = len(lines)
        else:
            found = await client.inboxes.list(on_malformed=_make_handler(reporter)).collect()
            count = len(found)
            _show_inboxes(found, view, is_shown=is_shown)
    if not count:
        _report_nothing(reporter, "inbox", view)


def _show_inboxes(found: Sequence[Inbox], view: View, *, is_shown: bool) -> None:
    columns = view.columns or INBOX_DEFAULT
    if not is_shown:
        write_stdout(build_line(inbox, columns) for inbox in found)
    elif found:
        console = Console()
        console.print(build_table(found, columns, console.width))


def _report_nothing(reporter: Reporter, record: str, view: View, remark: str = "") -> None:
    text = f"no {record} matches {view.filters}" if view.filters else f"there is no {record}"
    reporter.report(f"{text}{remark}", event="nothing_found")


def _get_lines(page: RawPage) -> Sequence[bytes]:
    return page.lines


def _match_agent(agent: str | None) -> Callable[[Conversation], bool]:
    """Return a function that tests whether the given agent handles a conversation.

    ``agent`` is the whole id, or whole words of the name, in upper or lower case. For example,
    ``ana`` matches Ana Putri, but not Diana.
    """
    if agent is None:
        return lambda _: True
    wanted = _normalize(agent)
    words = re.compile(rf"(?<!\w){re.escape(wanted)}(?!\w)")

    def is_wanted(conversation: Conversation) -> bool:
        is_id = _normalize(conversation.handled_by_id or "") == wanted
        return is_id or words.search(_normalize(conversation.handled_by_name or "")) is not None

    return is_wanted


def _normalize(text: str) -> str:
    """Normalize the case, the spaces and the accents of a text, for comparisons."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _ignore(record: MalformedRecord) -> None:
    """Ignore that a record is malformed, because its bytes are printed anyway."""


def _make_handler(reporter: Reporter) -> Callable[[MalformedRecord], None]:
    def report(record: MalformedRecord) -> None:
        text = f"not shown: {describe_malformed(record)}"
        reporter.report(text, event="malformed", level="warning")

    return report
