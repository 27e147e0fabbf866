"""Walks along cursors: they end with any server, and read every listing that is not endless."""

import itertools
import tracemalloc
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.effort import EFFORT
from support.listing import ModelListing

from cekat_async._paging import cursor_walk
from cekat_async._paging.cursor_walk import MOST_IDLE_PAGES, CursorWalk
from cekat_async.errors import PaginationError
from cekat_async.pages import record_names
from cekat_async.positions import Cursor

NEWEST = datetime(2026, 4, 10, tzinfo=UTC)
NOW = datetime(2026, 11, 28, tzinfo=UTC)
HOUR = timedelta(hours=1)
MILLISECOND = timedelta(milliseconds=1)


@pytest.fixture(autouse=True)
def _at_a_fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make "a day in the future" the same day in every run."""
    monkeypatch.setattr(cursor_walk, "_now", lambda: cursor_walk.to_microseconds(NOW))


def at(moment: datetime | str, name: object = "id") -> Cursor:
    if isinstance(moment, datetime):
        moment = moment.replace(tzinfo=None).isoformat(timespec="milliseconds")
    return Cursor(f"{name}", moment)


def pages_until_error(pages) -> tuple[int, PaginationError | None]:
    """Walk (names, cursor) pages, and return how many were read, and the error if there was one."""
    walk, count = CursorWalk(), 0
    for names, cursor in pages:
        count += 1
        try:
            walk.advance(cursor, names)
        except PaginationError as error:
            return count, error
        if walk.done:
            break
    return count, None


def fresh(moments):
    """Yield cursors with these times and different ids."""
    return (at(moment, f"cursor-{number}") for number, moment in enumerate(moments))


def down(step: timedelta = HOUR, begin: datetime = NEWEST):
    """Yield an endless series of times that go back by ``step``."""
    return (begin - number * step for number in itertools.count())


FRONT = [(["a"], at(NEWEST, "front-1")), (["b"], at(NEWEST - HOUR, "front-2"))]
BEHIND = NEWEST - HOUR


# --- empty pages


@pytest.mark.parametrize(
    "moments",
    [
        itertools.repeat(BEHIND),
        itertools.repeat("no time"),
        itertools.repeat(""),
        itertools.repeat("1970-01-01T00:00:00"),
        itertools.repeat("2014-12-31T23:59:59.999"),
        down(begin=datetime(2014, 12, 31, tzinfo=UTC)),
        itertools.repeat("2200-01-01T00:00:00"),
        down(begin=datetime(2200, 1, 1, tzinfo=UTC)),
        (BEHIND + number * HOUR for number in itertools.count()),
        (f"page {number}" for number in itertools.count()),
        itertools.cycle([BEHIND, "?", "1970-01-01T00:00:00", "2200-01-01T00:00:00", NEWEST]),
    ],
    ids=[
        "equal", "unreadable", "none", "1970", "2014", "falling from 2014", "2200",
        "falling from 2200", "backwards", "numbered", "all of these",
    ],
)  # fmt: skip
def test_fifty_empty_pages_that_do_not_advance_are_an_error(moments) -> None:
    """50 empty pages end a walk if their cursors are constant, go back or are implausible."""
    empty = (([], cursor) for cursor in fresh(moments))

    count, error = pages_until_error(itertools.chain(FRONT, empty))

    assert count == len(FRONT) + 50
    assert "50 empty pages whose cursors do not advance" in str(error)
    assert error.cursor.cursor_id == "cursor-49"


def test_an_account_of_nothing_but_empty_pages() -> None:
    """Empty pages at the start also end a walk. Only the first cursor counts as an advance."""
    empty = [([], cursor) for cursor in fresh(itertools.repeat(NEWEST, 60))]

    assert pages_until_error(empty)[0] == 51


def test_forty_nine_empty_pages_are_no_error() -> None:
    """A page with a new record resets the count of empty pages."""
    runs = (
        page
        for run in range(100)
        for page in [*[([], f"{run}-{number}") for number in range(49)], ([f"{run}"], f"{run}")]
    )
    pages = [(names, at(BEHIND, name)) for names, name in runs]

    assert pages_until_error([*FRONT, *pages, (["z"], None)]) == (2 + 5000 + 1, None)


@pytest.mark.parametrize(
    "last, is_error",
    [
        ("2015-01-01T00:00:00.000", False),
        ("2014-12-31T23:59:59.999", True),
        ("2015-01-01T00:00:00+07:00", True),
    ],
)
def test_no_cursor_advances_before_2015(last: str, is_error) -> None:
    """In a listing that goes back in time, cursors before 2015 do not count as advances."""
    stuck = [([], cursor) for cursor in fresh(itertools.repeat(BEHIND, 49))]

    _, error = pages_until_error([*FRONT, *stuck, ([], at(last)), ([], None)])

    assert bool(error) == is_error


@pytest.mark.parametrize(
    "beyond, is_error", [(timedelta(days=1), False), (timedelta(days=1) + MILLISECOND, True)]
)
def test_no_cursor_advances_more_than_a_day_ahead(beyond, is_error) -> None:
    """Cursors may be up to a day in the future, because their time zone may be unknown."""
    front = [(["a"], at(BEHIND, "front-1")), (["b"], at(NEWEST, "front-2"))]
    stuck = [([], cursor) for cursor in fresh(itertools.repeat(NEWEST, 49))]

    _, error = pages_until_error([*front, *stuck, ([], at(NOW + beyond)), ([], None)])

    assert bool(error) == is_error


def test_a_cursor_that_jumps_back_again_and_again_does_not_advance() -> None:
    """A cursor counts as an advance only if it is beyond all cursors of the run."""
    there = [BEHIND - number * HOUR for number in range(1, 11)]
    moments = itertools.chain.from_iterable(itertools.repeat(there))

    count, _ = pages_until_error([*FRONT, *(([], c) for c in fresh(itertools.islice(moments, 99)))])

    assert count == len(FRONT) + 10 + 50


def test_a_few_records_of_wrong_times_do_not_confuse_a_sparse_listing() -> None:
    """A few records with wrong times do not end a walk whose empty pages advance."""
    unreadable_times = ["2200-01-01T00:00:00", NEWEST, "?", "1970-01-01T00:00:00"]
    moments = down(begin=NEWEST - 24 * HOUR)
    pages = [
        page
        for number, odd in enumerate(unreadable_times)
        for page in [
            ([f"{number}"], at(odd, f"odd-{number}")),
            *(([], at(next(moments), f"{number}-{n}")) for n in range(200)),
        ]
    ]

    assert pages_until_error([*pages, (["z"], None)]) == (len(pages) + 1, None)


# --- the warning of a listing that is nearly empty


def get_warnings(pages) -> list[tuple[int, str]]:
    """Return each warning with the number of pages that were read before it."""
    walk, found = CursorWalk(), []
    for count, (names, cursor) in enumerate(pages, 1):
        walk.advance(cursor, names)
        if warning := walk.take_warning():
            found.append((count, warning))
    return found


@pytest.mark.parametrize("step, count", [(MILLISECOND, 1), (HOUR / 2, 1), (HOUR * 2, 0)])
def test_one_warning_if_the_rest_would_take_too_many_requests(step, count) -> None:
    """Eleven years take 200,000 requests in half-hour steps, and 50,000 in two-hour steps."""
    moments = itertools.islice(down(step, BEHIND - step), 500)

    found = get_warnings([*FRONT, *(([], cursor) for cursor in fresh(moments))])

    assert len(found) == count
    for pages, text in found:
        assert pages == len(FRONT) + MOST_IDLE_PAGES
        assert text.startswith("50 pages in a row are empty")
        assert "more than 100,000 requests" in text


def test_a_rising_listing_is_warned_of_up_to_now() -> None:
    """In an ascending listing, the remaining requests are estimated for the time until today."""
    rising = [(["a"], at(BEHIND, "front-1")), (["b"], at(NEWEST, "front-2"))]

    def found(step: timedelta) -> int:
        moments = (NEWEST + number * step for number in range(1, 200))
        return len(get_warnings([*rising, *(([], cursor) for cursor in fresh(moments))]))

    # The remaining 232 days have 334,080 minutes.
    assert found(timedelta(minutes=1)) == 1
    assert found(timedelta(minutes=10)) == 0


# --- repeated pages


@pytest.mark.parametrize("length", [1, 2, 49, 50, 51, 100, 300])
def test_a_cycle_of_pages_is_an_error_fifty_pages_after_its_end(length: int) -> None:
    """A cycle of N pages raises an error after N + 50 pages, whatever the cursors are."""
    cycle = itertools.cycle([[f"{number}a", f"{number}b"] for number in range(length)])
    pages = zip(cycle, fresh(down()), strict=False)

    count, error = pages_until_error(pages)

    assert count == length + 50
    assert "50 pages in a row that it had sent before" in str(error)
    assert error.cursor.cursor_id == f"cursor-{count - 1}"


def test_repeats_count_in_a_row() -> None:
    """Only consecutive repeated pages count: 49 repeated pages and a new one may alternate."""
    numbers = itertools.count()
    names = [["a"], *[[f"{next(numbers)}"] if n % 50 == 49 else ["a"] for n in range(2000)]]

    assert pages_until_error(zip(names, fresh(down()), strict=False)) == (2001, None)


def test_a_page_is_its_ids_in_order() -> None:
    """A page with the same records in another order, or with fewer records, is a new page."""
    ids = [f"{number}" for number in range(100)]
    orders = ([*ids[number:], *ids[:number]] for number in range(99))
    shorter = (ids[:number] for number in range(1, 100))

    pages = zip(itertools.chain(orders, shorter), fresh(down()), strict=False)

    assert pages_until_error(pages) == (198, None)


def test_records_without_an_id_are_known_by_their_bytes() -> None:
    """Pages of malformed records without ids are compared by the records' bytes."""
    same = itertools.repeat([b'{"name":"x"}'])
    different = ([b'{"name":"%d"}' % number] for number in range(200))

    assert pages_until_error(zip(same, fresh(down()), strict=False))[0] == 51
    assert pages_until_error(zip(different, fresh(down()), strict=False)) == (200, None)


def test_the_last_page_may_have_been_there_before() -> None:
    """The last page never raises an error, even if it is a repeated page."""
    pages = [(["a"], cursor) for cursor in itertools.islice(fresh(down()), 50)]

    assert pages_until_error([*pages, (["a"], None)]) == (51, None)


@pytest.mark.parametrize("pattern", ["e", "r", "er", "eer", "err", "e" * 30 + "r" * 30])
def test_empty_and_repeated_pages_do_not_excuse_each_other(pattern: str) -> None:
    """A walk without new records ends, even if empty and repeated pages alternate."""
    names = ([] if kind == "e" else ["a"] for kind in itertools.cycle(pattern))
    pages = zip(names, fresh(itertools.repeat(BEHIND)), strict=False)

    count, error = pages_until_error(itertools.chain(FRONT, pages))

    assert error is not None
    assert count <= len(FRONT) + 1 + 50 + 50


# --- cursors that cannot be sent


@pytest.mark.parametrize("field", ["cursor_id", "cursor_ts"])
def test_a_cursor_that_is_too_long_is_an_error_that_does_not_quote_it(field: str) -> None:
    """A cursor of more than 4,096 characters raises an error that does not quote the cursor."""
    walk = CursorWalk(at(NEWEST))
    fields = {"cursor_id": "i", "cursor_ts": "2026-04-10T09:51:19.885"}
    allowed, too_long = (Cursor(**fields | {field: "x" * size}) for size in (4096, 4097))

    with pytest.raises(PaginationError, match="a cursor of 4,097 characters") as caught:
        walk.advance(too_long, ["a"])
    walk.advance(allowed, ["a"])

    assert len(str(caught.value)) < 200
    assert caught.value.cursor == at(NEWEST)


def test_errors_quote_a_cursor_whole_or_not_at_all() -> None:
    """Errors never quote part of a cursor, because part of an API key would not be redacted."""
    for length, is_quoted in ((50, True), (300, False)):
        name = "i" * length
        walk = CursorWalk(at(NEWEST, name))
        with pytest.raises(PaginationError) as caught:
            walk.advance(at(NEWEST, name), ["a"])

        assert (name in str(caught.value)) == is_quoted
        assert ("iii" in str(caught.value)) == is_quoted
        assert len(str(caught.value)) < 250


def test_errors_are_one_line() -> None:
    """Errors do not quote a cursor with line breaks or control characters."""
    walk = CursorWalk(at(NEWEST, "a\n\x1b[31mb"))
    with pytest.raises(PaginationError) as caught:
        walk.advance(at(NEWEST, "a\n\x1b[31mb"), ["a"])

    assert str(caught.value).isprintable()


# --- honest listings

DAY = 86_400_000


def get_times(size: int, shape: str, random: Random) -> list[int]:
    """Return ``size`` times in milliseconds: evenly spread, in bursts, or the first 30 equal."""
    times = [random.randrange(90 * DAY) for _ in range(size)]
    if shape == "bursts":
        times = [times[number % 5] + random.randrange(10_000_000) for number in range(size)]
    if shape == "tie":
        # If each page has a single record, pages with equal times do not advance, and 50 such pages
        # would be an error.
        times[:30] = times[:1] * len(times[:30])
    return times


def walk_model(listing: ModelListing, between=lambda: None) -> list[str]:
    """Walk a listing to its end, and return the ids of its records."""
    walk, found = CursorWalk(), []
    while not walk.done:
        page = listing.page(walk.cursor)
        between()
        found += [item.id for item in page]
        walk.advance(page.next_cursor, record_names(page))
    return found


shapes = st.sampled_from(["even", "bursts", "tie"])


@given(
    size=st.sampled_from([0, 1, 30, 300, 3000]),
    shape=shapes,
    share=st.sampled_from([0.0, 0.0002, 0.01, 0.5, 1.0]),
    seed=st.integers(0, 2**32),
    limit=st.sampled_from([1, 2, 10, 100]),
    rising=st.booleans(),
    end=st.sampled_from(["null", "empty", "echo"]),
)
@settings(max_examples=20 * EFFORT)
def test_an_honest_listing_is_walked_to_its_end(size, shape, share, seed, limit, rising, end):
    """A walk reads all records of a dense or sparse listing, even with thousands of empty pages."""
    random = Random(seed)
    listing = ModelListing(
        get_times(size, shape, random), seed=seed, limit=limit, rising=rising, end=end
    )
    shown = {id_ for id_ in listing.times if random.random() < share}
    listing.shows = shown.__contains__

    found = walk_model(listing)

    assert sorted(found) == sorted(shown)


@given(
    size=st.sampled_from([30, 300, 1000]),
    shape=shapes,
    share=st.sampled_from([0.01, 0.5, 1.0]),
    seed=st.integers(0, 2**32),
    # If each page has a single conversation, a conversation that moved is a repeated page.
    limit=st.sampled_from([2, 10, 100]),
    rising=st.booleans(),
    rate=st.floats(0, 0.5),
)
@settings(max_examples=25 * EFFORT)
def test_an_honest_listing_that_changes_is_walked_to_its_end(
    size, shape, share, seed, limit, rising, rate
):
    """Conversations that become the newest during a walk do not cause an error."""
    random = Random(seed)
    listing = ModelListing(get_times(size, shape, random), seed=seed, limit=limit, rising=rising)
    shown = {id_ for id_ in listing.times if random.random() < share}
    listing.shows = shown.__contains__
    names, moved = list(listing.times), set()

    def live() -> None:
        if random.random() < rate:
            moved.add(id_ := random.choice(names))
            listing.move(id_)

    found = walk_model(listing, live)

    assert set(found) <= shown
    assert set(found) >= (shown if rising else shown - moved)


# --- servers that are not


def endless_pages(pattern: list[str], pages: int):
    """Yield pages forever. Each entry of ``pattern`` is the kind of a page.

    "new" is the next of ``pages`` different pages with a record. "again" is an earlier page. All
    other kinds are empty pages, whose cursors move by 400 days ("advance") or do not advance.
    """
    known = 0
    for number, kind in enumerate(itertools.cycle(pattern)):
        moments = {
            "advance": BEHIND - timedelta(days=400) * min(number, 100),
            "back": BEHIND + timedelta(days=1) * min(number, 1000),
            "unreadable": f"{number}",
            "past": "1970-01-01T00:00:00",
            "future": "2200-01-01T00:00:00",
        }
        names = []
        if kind == "new":
            names, known = [f"{known % pages}"], known + 1
        elif kind == "again" and known:
            names = [f"{number % min(known, pages)}"]
        yield names, at(moments.get(kind, BEHIND), f"cursor-{number}")


patterns = st.lists(
    st.sampled_from(["advance", "still", "back", "unreadable", "past", "future", "new", "again"]),
    min_size=1,
    max_size=12,
)


@given(pattern=patterns, pages=st.integers(1, 10))
@settings(max_examples=40 * EFFORT)
def test_a_server_that_sends_nothing_new_is_left_after_a_bounded_number_of_pages(pattern, pages):
    """The walk ends with an error for any mix of empty and repeated pages, and for any cursors."""
    count, error = pages_until_error(itertools.islice(endless_pages(pattern, pages), 20_000))

    # 2015 is at most 5 steps of 400 days away, and tomorrow is at most 234 steps of a day away.
    most_in_a_run = (50 + 240) * len(pattern)
    assert isinstance(error, PaginationError)
    assert count <= (pages + 1) * (most_in_a_run + 50 * len(pattern))


def test_a_long_walk_remembers_little():
    """A walk remembers its cursors and pages in less than 18 bytes per page."""
    walk, pages = CursorWalk(), 20_000
    tracemalloc.start()
    try:
        for number in range(pages):
            walk.advance(Cursor(str(number), "t"), [str(number)])
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert not walk.done
    assert held < 18 * pages
