"""Walks return every record once, in order, and end whatever a server does."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import run_virtual
from support.effort import EFFORT

from cekat_async._paging.cursor_walk import CursorWalk, walk_pages
from cekat_async._paging.page_errors import malformed_error
from cekat_async._paging.page_fetcher import ListQuery
from cekat_async._paging.page_number_walk import walk_inboxes
from cekat_async.errors import CekatError, MalformedRecordError, PaginationError
from cekat_async.models import Conversation, Inbox, MalformedRecord
from cekat_async.pages import ConversationPage, InboxPage
from cekat_async.positions import Cursor


def cursor(name: object) -> Cursor:
    return Cursor(f"id-{name}", f"ts-{name}")


def malformed(index: int = 0, record_id: str | None = None, raw: bytes = b"7") -> MalformedRecord:
    return MalformedRecord(
        index=index, id=record_id, field="$.notes", reason="Expected `str`", raw=raw
    )


def conversation_page(
    *ids: str, to: object = None, malformed_records: tuple = ()
) -> ConversationPage:
    return ConversationPage(
        items=tuple(Conversation(id=name) for name in ids),
        malformed_records=malformed_records,
        next_cursor=None if to is None else cursor(to),
    )


def inbox_page(*ids: str, pages=None, items=None, malformed_records: tuple = ()) -> InboxPage:
    return InboxPage(
        items=tuple(Inbox(id=name) for name in ids),
        malformed_records=malformed_records,
        total_pages=pages,
        total_items=items,
    )


class Walked:
    """The requests of a walk, its results, and the error that ended it."""

    def __init__(self) -> None:
        self.asked: list = []
        self.pages: list = []
        self.error: CekatError | None = None

    @property
    def ids(self) -> list[str]:
        return [item.id for page in self.pages for item in page]


class Fetcher:
    """Fetches pages from a server, which is a function from a position to a page."""

    def __init__(
        self, answer: Callable, start: Cursor | None = None, at_most: int = 10_000
    ) -> None:
        self.query = ListQuery(path="/", page_size=1, cursor=start)
        self.asked: list = []
        self._answer = answer
        self._at_most = at_most

    async def fetch(self, position: object):
        self.asked.append(position)
        assert len(self.asked) <= self._at_most, "the walk does not end"
        return self._answer(position)

    def locate(self, error: CekatError, cursor: Cursor | None = None) -> CekatError:
        return error.locate(cursor=cursor)


def walked(fetcher: Fetcher, walk: AsyncGenerator) -> Walked:
    """Run a walk to its end."""
    result = Walked()
    result.asked = fetcher.asked

    async def drive() -> None:
        try:
            async with aclosing(walk) as pages:
                async for page in pages:
                    result.pages.append(page)
        except CekatError as error:
            result.error = error

    run_virtual(drive())
    return result


def along_cursors(answer: Callable, start: Cursor | None = None, on_malformed=None) -> Walked:
    fetcher = Fetcher(answer, start)
    error_of = partial(malformed_error, on_malformed=on_malformed)
    return walked(fetcher, walk_pages(fetcher, error_of))


def along_pages(answer: Callable, on_malformed=None, at_most: int = 10_000) -> Walked:
    fetcher = Fetcher(answer, at_most=at_most)
    return walked(fetcher, walk_inboxes(fetcher.fetch, on_malformed, fetcher.locate))


def chain(*steps: object, items: bool = True) -> Callable[[Cursor | None], ConversationPage]:
    """Build a server whose start leads to the first step, which leads to the next, and so on.

    The last step leads nowhere. A repeated name leads to the same step as its first occurrence.
    """
    leads = dict(reversed(list(zip([None, *map(cursor, steps)], [*steps, None], strict=True))))
    return lambda position: conversation_page(
        *([f"c-{position and position.cursor_id}"] if items else []), to=leads[position]
    )


# --- along cursors


@given(steps=st.lists(st.text(), unique=True, max_size=30), empty=st.booleans())
@settings(max_examples=20 * EFFORT)
def test_walk_of_any_chain(steps: list[str], empty: bool) -> None:  # noqa: FBT001 - a case
    """Each page of a chain of different cursors is requested once and in order, even if empty."""
    result = along_cursors(chain(*steps, items=not empty))

    assert [None, *map(cursor, steps)] == result.asked
    assert result.error is None
    assert len(result.pages) == len(steps) + 1
    assert len(set(result.ids)) == (0 if empty else len(steps) + 1)


@given(steps=st.lists(st.text(), unique=True, min_size=1, max_size=20), data=st.data())
@settings(max_examples=20 * EFFORT)
def test_walk_from_anywhere(steps: list[str], data: st.DataObject) -> None:
    """A walk from a cursor reads the rest."""
    begin = data.draw(st.integers(0, len(steps) - 1))

    result = along_cursors(chain(*steps), cursor(steps[begin]))

    assert [cursor(step) for step in steps[begin:]] == result.asked


@given(
    steps=st.lists(st.integers(), unique=True, min_size=1, max_size=30),
    data=st.data(),
    resumed=st.booleans(),
)
@settings(max_examples=25 * EFFORT)
def test_walk_into_a_cycle(steps: list[int], data: st.DataObject, resumed: bool) -> None:  # noqa: FBT001 - a case
    """A cursor that is repeated at any distance raises an error after all pages before it."""
    again = data.draw(st.sampled_from(steps))
    start = cursor(steps[0]) if resumed else None

    result = along_cursors(chain(*steps, again), start)

    assert isinstance(result.error, PaginationError)
    assert result.error.cursor == cursor(again)
    assert "for the second time" in str(result.error)
    assert [cursor(step) for step in steps] == [one for one in result.asked if one is not None]
    assert len(result.pages) == len(result.asked) == len(set(result.ids))


def test_empty_page_with_its_own_cursor_is_the_end() -> None:
    """An empty page with the cursor of its own request is the end and not a cycle."""
    result = along_cursors(
        lambda position: (
            conversation_page("x", to="A") if position is None else conversation_page(to="A")
        )
    )

    assert (result.ids, result.error) == (["x"], None)
    assert [None, cursor("A")] == result.asked


@pytest.mark.parametrize(
    "page",
    [conversation_page("y", to="A"), conversation_page(to="A", malformed_records=(malformed(),))],
)
def test_page_with_records_and_its_own_cursor_is_a_cycle(page: ConversationPage) -> None:
    """A page that has records and the cursor of its own request raises an error."""
    result = along_cursors(
        lambda position: conversation_page("x", to="A") if position is None else page,
        None,
        lambda record: None,
    )

    assert isinstance(result.error, PaginationError)


def test_empty_page_with_an_older_cursor_is_a_cycle() -> None:
    """An empty page with an earlier cursor raises an error."""
    result = along_cursors(chain("A", "B", "A", items=False))

    assert isinstance(result.error, PaginationError)


@given(
    leads=st.dictionaries(
        st.integers(0, 6), st.tuples(st.none() | st.integers(0, 6), st.booleans()), min_size=7
    ),
    start=st.none() | st.integers(0, 6),
)
@settings(max_examples=30 * EFFORT)
def test_walk_along_any_cursors_ends(leads: dict, start: int | None) -> None:
    """For any cursors, the walk ends and requests no position twice."""

    def answer(position: Cursor | None) -> ConversationPage:
        to, empty = leads[0 if position is None else int(position.cursor_id[3:])]
        return conversation_page(*([] if empty else ["x"]), to=to)

    result = along_cursors(answer, None if start is None else cursor(start))

    assert len(result.asked) == len(set(result.asked)) == len(result.pages) <= 8


def test_cursor_walk_stays_before_the_cycle() -> None:
    """A cycle does not move the walk: its position is still the page that led into the cycle."""
    walk = CursorWalk(cursor("A"))
    walk.advance(cursor("B"), ["x"])

    with pytest.raises(PaginationError):
        walk.advance(cursor("A"), ["y"])

    assert (walk.cursor, walk.done) == (cursor("B"), False)


# --- malformed records


def test_malformed_record_raises_after_its_page() -> None:
    """A malformed record raises an error after the valid records of its page.

    The error has the cursor of that page.
    """
    records = (malformed(1, "o-1", b'{"id":"o-1"}'), malformed(3))
    second = conversation_page("b", to="B", malformed_records=records)

    result = along_cursors(
        lambda position: conversation_page("a", to="A") if position is None else second
    )

    assert isinstance(result.error, MalformedRecordError)
    assert result.ids == ["a", "b"]
    assert result.error.cursor == cursor("A")
    assert (result.error.records, result.error.page) == (records, second)
    assert str(result.error) == (
        "record 1 of the page, id o-1, is malformed at $.notes: Expected `str` "
        "(and 1 more of this page): to continue, pass on_malformed=…, "
        "a function that receives such records"
    )


def test_malformed_inbox_raises_after_its_page() -> None:
    """A malformed inbox raises after its page's valid ones, or is passed to ``on_malformed``."""
    pages = {
        1: inbox_page("a", malformed_records=(malformed(1),)),
        2: inbox_page("b"),
        3: inbox_page(),
    }
    handed = []

    assert isinstance(along_pages(pages.__getitem__).error, MalformedRecordError)
    assert along_pages(pages.__getitem__).ids == ["a"]
    assert along_pages(pages.__getitem__, handed.append).ids == ["a", "b"]
    assert handed == [malformed(1)]


# --- along page numbers


def numbered(ids: list[str], limit: int, **totals: int) -> Callable[[int], InboxPage]:
    """Build a server that splits a list into pages, with empty pages after the end."""
    return lambda number: inbox_page(*ids[(number - 1) * limit : number * limit], **totals)


def changed(before: str, after: str, limit: int, *, has_totals: bool) -> Callable:
    """Build a server whose inboxes change after its first page."""

    def answer(number: int) -> InboxPage:
        now = before if number == 1 else after
        totals = {"pages": len(now) // limit, "items": len(now)} if has_totals else {}
        return numbered([*now], limit, **totals)(number)

    return answer


FIFTEEN = [f"i-{number}" for number in range(15)]


@pytest.mark.parametrize(
    "answer, asked, ids",
    [
        ({1: inbox_page("a"), 2: inbox_page("b", "c"), 3: inbox_page()}.get, 3, "abc"),
        (numbered(["a", "b", "c"], 2, pages=2, items=3), 2, "abc"),
        (lambda number: inbox_page("c") if number > 1 else inbox_page("a", "b"), 3, "abc"),
        (lambda _: inbox_page("a", "b"), 2, "ab"),
        ({1: inbox_page("a", "b", "a"), 2: inbox_page()}.get, 2, "ab"),
        (changed("abcd", "nabcd", 2, has_totals=False), 4, "abcd"),
        (changed("abcd", "nabcd", 1, has_totals=True), 6, "abcd"),
        (lambda number: inbox_page(*["", "a", "", "", "b", ""][number], pages=4), 5, "ab"),
        (numbered(FIFTEEN, 10, pages=8, items=15), 3, FIFTEEN),
    ],
    ids=[
        "an empty page is the end, and a short one is not", "the totals agree",
        "the last page for every later number", "one page for every number",
        "twice within a page", "one was added at the front",
        "one was added, and a whole page moved", "empty pages before the last one",
        "too large a count of pages, as in the API's own sample",
    ],
)  # fmt: skip
def test_where_a_walk_along_page_numbers_ends(answer, asked, ids) -> None:
    """Each inbox is yielded once, and no page is fetched for nothing."""
    result = along_pages(answer)

    assert (result.ids, result.error) == ([*ids], None)
    assert result.asked == list(range(1, asked + 1))


@pytest.mark.parametrize(
    "totals",
    [
        {"pages": 8, "items": 5},
        {"pages": 1, "items": 99},
        {"pages": 1},
        {"items": 1},
        {"pages": 0, "items": 0},
        {"pages": -1, "items": -1},
        {"pages": 1, "items": 1},
        {"pages": 1, "items": 3},
    ],
)
def test_wrong_totals_lose_nothing(totals: dict) -> None:
    """A single wrong total, or a total below the number received, does not end a walk early."""
    ids = ["a", "b", "c", "d", "e"]

    assert ids == along_pages(numbered(ids, 2, **totals)).ids


def test_clamped_page_with_malformed_records_ends() -> None:
    """A repeated last page ends the walk, even if its malformed record differs each time."""
    handed: list[MalformedRecord] = []

    result = along_pages(
        lambda number: inbox_page(
            "a",
            malformed_records=(malformed(1, "o-1", b"%d" % number), malformed(2, None, b"same")),
        ),
        handed.append,
    )

    assert result.asked == [1, 2]
    assert [(record.id, record.raw) for record in handed] == [("o-1", b"1"), (None, b"same")]


@pytest.mark.parametrize("page", [inbox_page(pages=10**9), inbox_page("a", pages=10**9)])
def test_fifty_pages_without_a_new_inbox_are_an_error(page: InboxPage) -> None:
    """Empty or repeated pages that promise more pages end in an error, not silently."""
    result = along_pages(lambda number: inbox_page("a", pages=10**9) if number == 1 else page)

    assert result.ids == ["a"]
    assert len(result.asked) == len(result.pages) == 51
    assert isinstance(result.error, PaginationError)
    assert "counts 1,000,000,000 pages, but 50 pages in a row had no new" in str(result.error)


def test_a_cycle_of_100_inbox_pages_is_an_error_after_150() -> None:
    """Inboxes that are repeated under later page numbers are yielded once."""
    result = along_pages(lambda number: inbox_page(f"i-{(number - 1) % 100}", pages=number + 1))

    assert len(result.asked) == 150
    assert len(result.ids) == 100
    assert isinstance(result.error, PaginationError)


def test_empty_and_repeated_inbox_pages_count_together() -> None:
    """If empty and repeated pages alternate, the walk ends after fifty of them in total."""
    result = along_pages(lambda number: inbox_page(*"a" * (number % 2), pages=number + 1))

    assert len(result.asked) == 51
    assert isinstance(result.error, PaginationError)


@pytest.mark.parametrize("extra", [1, 48])
def test_a_count_of_pages_that_is_too_large_is_no_error(extra: int) -> None:
    """If nothing else shows that the count is wrong, the walk reads that many pages."""
    result = along_pages(numbered(["a", "b", "c"], 1, pages=3 + extra))

    assert (len(result.asked), result.ids, result.error) == (3 + extra, ["a", "b", "c"], None)


def test_an_error_of_an_inbox_listing_is_raised_after_malformed_records() -> None:
    """A malformed inbox on the last page is reported, but the listing's own error is raised."""
    handed: list[MalformedRecord] = []

    result = along_pages(
        lambda number: inbox_page(pages=10**9, malformed_records=(malformed(0, "o"),)),
        handed.append,
    )

    assert isinstance(result.error, PaginationError)
    assert [record.id for record in handed] == ["o"]


PAGE = st.builds(
    lambda ids, malformed_ids, pages, items: inbox_page(
        *ids,
        pages=pages,
        items=items,
        malformed_records=tuple(
            malformed(index, name, b"%d" % index) for index, name in enumerate(malformed_ids)
        ),
    ),
    ids=st.lists(st.sampled_from("abcdef"), max_size=4),
    malformed_ids=st.lists(st.sampled_from([None, "a", "o", "p"]), max_size=2),
    pages=st.none() | st.integers(-1, 5),
    items=st.none() | st.integers(-1, 9),
)


@given(server=st.lists(PAGE, min_size=1, max_size=8), wraps=st.booleans())
@settings(max_examples=40 * EFFORT)
def test_walk_along_any_pages_ends(server: list[InboxPage], wraps: bool) -> None:  # noqa: FBT001 - a case
    """If a server repeats, shifts or clamps pages, the walk ends and yields nothing twice.

    It sends at most ten requests without a result after each record that it finds.
    """
    handed: list[MalformedRecord] = []

    def answer(number: int) -> InboxPage:
        return server[(number - 1) % len(server) if wraps else min(number, len(server)) - 1]

    result = along_pages(answer, handed.append)

    found = result.ids + [record.id or record.raw for record in handed]
    assert len(found) == len(set(found))
    assert len(result.asked) <= 10 * (len(found) + 1)
    assert list(range(1, len(result.asked) + 1)) == result.asked


@given(
    count=st.integers(0, 30),
    limit=st.integers(1, 10),
    honest=st.booleans(),
    pages=st.integers(-1, 40),
)
@settings(max_examples=25 * EFFORT)
def test_walk_of_any_account_is_whole(count: int, limit: int, honest: bool, pages: int) -> None:  # noqa: FBT001 - a case
    """Every inbox of an account is yielded, for any page count of the server."""
    ids = [f"i-{number}" for number in range(count)]
    totals = {"pages": pages, "items": count} if honest else {"pages": pages}

    result = along_pages(numbered(ids, limit, **totals))

    assert ids == result.ids
    assert result.error is None
