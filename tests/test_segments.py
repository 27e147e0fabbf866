"""The walk in segments: the same conversations as in order, whatever the server and the data do."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.effort import EFFORT
from support.listing import EndlessListing, ModelListing, replay

from cekat_async._parallel.walk import SegmentedWalk
from cekat_async.errors import (
    AuthenticationError,
    BadRequestError,
    ClientClosedError,
    DecodeError,
    PaginationError,
    PermissionDeniedError,
    RateLimitError,
    ResponseTimeoutError,
    ServerError,
)
from cekat_async.models import Conversation
from cekat_async.pages import ConversationPage
from cekat_async.positions import Cursor

DAY = 86_400_000


def spread(n: int, shape: str, random: Random) -> list[int]:
    """Return times that lie evenly, in bursts, mostly lately, or on few moments."""
    match shape:
        case "even":
            return [random.randrange(10 * DAY) for _ in range(n)]
        case "bursts":
            begins = [random.randrange(10 * DAY) for _ in range(5)]
            return [random.choice(begins) + random.randrange(10_000) for _ in range(n)]
        case "lately":
            return [int(10 * DAY * (1 - random.random() ** 8)) for _ in range(n)]
        case "ties":
            return [random.randrange(8) * DAY for _ in range(n)]
    return [5] * n


shapes = st.sampled_from(["even", "bursts", "lately", "ties", "one moment"])
listings = st.builds(
    lambda n, shape, seed, **options: ModelListing(
        spread(n, shape, Random(seed)), seed=seed, **options
    ),
    st.sampled_from([0, 1, 5, 40, 150, 500]),
    shapes,
    st.integers(0, 2**32),
    limit=st.sampled_from([1, 2, 3, 7, 10, 50]),
    rising=st.booleans(),
    end=st.sampled_from(["null", "empty", "echo"]),
)
walker_counts = st.sampled_from([2, 3, 8, 20])
# In lockstep, or with answers that take any time.
interleavings = st.none() | st.integers(0, 2**32).map(Random)


def get_ids(pages) -> list[str]:
    return [item.id for page in pages for item in page]


def make_walk(walkers: int, start: Cursor | None = None) -> tuple[SegmentedWalk, list[str]]:
    warnings: list[str] = []
    return SegmentedWalk(start, walkers, warnings.append), warnings


def serially(listing: ModelListing, cursor: Cursor | None = None) -> list[str]:
    found = []
    while True:
        page = listing.page(cursor)
        found += get_ids([page])
        if page.next_cursor is None or (not page.items and page.next_cursor == cursor):
            return found
        cursor = page.next_cursor


@given(listing=listings, walkers=walker_counts, random=interleavings)
@settings(max_examples=50 * EFFORT)
def test_it_yields_what_a_walk_in_order_yields(listing, walkers, random):
    """Each conversation comes exactly once, however the data lie and the answers come in."""
    walk, warnings = make_walk(walkers)

    pages, _ = replay(walk, listing, walkers=walkers, random=random)

    assert sorted(get_ids(pages)) == sorted(listing.times)
    assert not warnings
    assert all(len(page.raw) == len(page.items) for page in pages)


@given(
    listing=listings,
    made_up=st.sampled_from(["ignore", "reject", "empty", "by_id"]),
    walkers=walker_counts,
    random=interleavings,
)
@settings(max_examples=40 * EFFORT)
def test_a_server_that_does_not_honour_its_cursors_costs_one_warning(
    listing, made_up, walkers, random
):
    """Cursors that are ignored, refused, void or read in another way: nothing lost or twice."""
    listing.made_up = made_up
    walk, warnings = make_walk(walkers)

    pages, _ = replay(walk, listing, walkers=walkers, random=random)

    assert sorted(get_ids(pages)) == sorted(listing.times)
    assert len(warnings) <= 1


@pytest.mark.parametrize("made_up", ["ignore", "reject", "by_id"])
def test_one_cursor_finds_out_whether_it_is_honoured(made_up):
    """A server that does not honour made-up cursors gets one, however many walkers wait."""
    listing = ModelListing(spread(1000, "even", Random(2)), limit=10, made_up=made_up)
    walk, warnings = make_walk(64)

    replay(walk, listing, walkers=64)

    assert sum(not listing.has_sent(cursor) for cursor in listing.requests if cursor) == 1
    # In order, that one, and one at the end for what may have moved.
    assert len(listing.requests) == 100 + 1 + 1
    assert len(warnings) == 1


@given(
    listing=listings,
    made_up=st.sampled_from(["honour"] * 4 + ["ignore", "reject", "empty"]),
    walkers=walker_counts,
    random=interleavings,
    rate=st.sampled_from([0.05, 0.2, 0.5]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=50 * EFFORT)
def test_on_a_live_account_all_that_was_there_throughout_comes(
    listing, made_up, walkers, random, rate, seed
):
    """Conversations that move to the newest end while they are read come, and come once."""
    listing.made_up = made_up
    there, chances = list(listing.times), Random(seed)
    # So that what moves during a pass of all walkers is less than a page of it.
    rate = min(rate, 0.3 * listing.limit / walkers)

    def live() -> None:
        if there and chances.random() < rate:
            listing.move()

    walk, warnings = make_walk(walkers)
    pages, _ = replay(walk, listing, walkers=walkers, random=random, between=live)

    assert max(Counter(get_ids(pages)).values(), default=1) == 1
    if not any("faster" in warning for warning in warnings):
        assert set(there) <= set(get_ids(pages))


@given(listing=listings, walkers=walker_counts, random=interleavings, share=st.floats(0, 1))
@settings(max_examples=60 * EFFORT)
def test_each_page_says_where_a_walk_in_order_would_miss_nothing(listing, walkers, random, share):
    """What came up to any page, and what lies behind its ``next_cursor``, is everything."""
    walk, _ = make_walk(walkers)
    pages, _ = replay(walk, listing, walkers=walkers, random=random)
    stop = min(int(share * len(pages)), len(pages) - 1)

    cursor = pages[stop].next_cursor
    rest = [] if cursor is None else serially(listing, cursor)

    assert {*get_ids(pages[: stop + 1]), *rest} == set(listing.times)
    assert walk.head_cursor is None


@given(listing=listings, walkers=walker_counts, page=st.integers(0, 10))
@settings(max_examples=40 * EFFORT)
def test_from_a_cursor_on_it_walks_what_lies_behind(listing, walkers, page):
    """With a cursor, only what lies behind it comes, and all of that."""
    cursor = None
    for _ in range(page):
        cursor = listing.page(cursor).next_cursor or cursor
    expected = serially(listing, cursor)

    walk, warnings = make_walk(walkers, cursor)
    pages, _ = replay(walk, listing, walkers=walkers)

    assert sorted(get_ids(pages)) == sorted(expected)
    assert not warnings


def bursty(n: int, random: Random) -> list[int]:
    """Return times in 20 bursts of different sizes, with voids of fifty times their length."""
    weights = [1 + random.randrange(16) for _ in range(20)]
    times, now = [], 0
    for weight in weights:
        size = n * weight // sum(weights)
        times += [now + random.randrange(2_000 * size) for _ in range(size)]
        now += 100_000 * size
    return times


@pytest.mark.parametrize(
    "shape,most_time,most_requests",
    [("even", 1.2, 1.05), ("lately", 1.2, 1.07), ("bursty", 1.5, 1.1)],
)
@pytest.mark.parametrize("seed", range(3 if EFFORT > 1 else 1))
def test_eight_walkers_are_nearly_eight_times_as_fast(shape, most_time, most_requests, seed):
    """400 pages take little more than 50 times that of one, for few requests more.

    Of bursts with long voids between them, nobody can tell where they end without going there.
    """
    random = Random(seed)
    times = bursty(40_000, random) if shape == "bursty" else spread(40_000, shape, random)
    listing = ModelListing(times, limit=100, seed=seed)
    walk, _ = make_walk(8)

    pages, seconds = replay(walk, listing, walkers=8)

    assert len(get_ids(pages)) == len(times)
    assert seconds <= most_time * len(times) / 100 / 8
    assert len(listing.requests) <= most_requests * len(times) / 100


@pytest.mark.parametrize("walkers", [2, 64])
@pytest.mark.parametrize("shape", ["even", "bursty", "ties"])
def test_however_many_walkers_the_requests_in_vain_are_bounded(shape, walkers):
    """Data that mislead every estimate cost a tenth more requests, and half of one a walker."""
    random = Random(1)
    times = bursty(20_000, random) if shape == "bursty" else spread(20_000, shape, random)
    listing = ModelListing(times, limit=20)

    replay(make_walk(walkers)[0], listing, walkers=walkers)

    assert len(listing.requests) <= 1.15 * len(times) / 20 + 1.5 * walkers


def page(ids: str, cursor: Cursor | None = None) -> ConversationPage:
    body = b'{"data":[%s]}' % b",".join(b'{"id":"%s"}' % id_.encode() for id_ in ids)
    return ConversationPage(
        items=tuple(Conversation(id=id_) for id_ in ids), next_cursor=cursor, body=body
    )


def at(hour: int, id_: str = "x") -> Cursor:
    return Cursor(id_, f"2026-04-10T{hour:02d}:00:00.000")


def two_segments() -> tuple:
    """Return a walk with a front that has got to 22:00, and a segment that begins earlier."""
    walk, warnings = make_walk(2)
    front = walk.begin()
    walk.advance(front, page("a", at(23)))
    walk.advance(front, page("b", at(22)))
    return walk, front, walk.split(), warnings


@pytest.mark.parametrize(
    "error",
    [
        BadRequestError("no such cursor", status=400),
        ServerError("it broke", status=500),
        DecodeError("not JSON", raw=b""),
        ResponseTimeoutError("too slow"),
    ],
)
def test_a_refused_cursor_is_no_failure(error):
    """A server that does not answer a cursor which it did not send is walked in order."""
    walk, front, middle, warnings = two_segments()

    assert walk.excuses(middle, error)
    assert "does not answer" in warnings[0]
    assert walk.split() is None
    assert not walk.excuses(front, error)


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("who are you", status=401),
        PermissionDeniedError("not yours", status=403),
        RateLimitError("not today", status=429),
        ClientClosedError("closed"),
    ],
)
def test_other_errors_are_failures(error):
    """What a server would say to any request is not about the cursor, and ends the walk."""
    walk, _, middle, warnings = two_segments()

    assert not walk.excuses(middle, error)
    assert not warnings


def test_a_segment_that_was_answered_may_fail():
    """A segment whose first cursor was honoured is walked along real ones: their errors count."""
    walk, _, middle, _ = two_segments()
    walk.advance(middle, page("m", at(2)))

    assert not walk.excuses(middle, BadRequestError("no", status=400))


def test_a_timestamp_that_cannot_be_read_keeps_the_walk_in_order():
    """Cursors with another kind of timestamp: one warning, no segments, and all that is there."""
    walk, warnings = make_walk(8)
    front = walk.begin()

    first = walk.advance(front, page("a", Cursor("x", "page two")))
    assert walk.split() is None
    last = walk.advance(front, page("b"))

    assert get_ids([first, last]) == ["a", "b"]
    assert len(warnings) == 1
    assert walk.follow_up() is None


def test_cursors_out_of_order_keep_the_walk_in_order():
    """Cursors that go back and forth in time: one warning, and no pass at the end."""
    walk, warnings = make_walk(8)
    front = walk.begin()
    for hour in (20, 19, 21):
        walk.advance(front, page(f"{hour}", at(hour)))

    assert walk.split() is None
    assert len(warnings) == 1
    walk.advance(front, page("z"))
    assert walk.follow_up() is None


def test_a_page_on_the_wrong_side_is_doubted():
    """A page that ends before the cursor it was asked for with is not what was asked for."""
    walk, front, middle, warnings = two_segments()

    assert walk.advance(middle, page("q", at(23, "q"))) is None
    assert "behind its cursor" in warnings[0]
    assert middle.is_over
    assert not front.is_over


def test_what_came_before_is_doubted():
    """A page from the middle that has nothing new is not from the middle."""
    walk, _, middle, warnings = two_segments()

    assert walk.advance(middle, page("ab", at(1))) is None
    assert "before" in warnings[0]


def test_segments_that_do_not_meet_are_doubted():
    """Whoever passes the place where the next segment began, and meets none of it, doubts it."""
    walk, front, middle, warnings = two_segments()
    walk.advance(middle, page("m", at(2)))

    assert get_ids([walk.advance(front, page("c", at(1)))]) == ["c"]
    assert "do not meet" in warnings[0]
    assert middle.is_over
    # What was handed out of the segment does not come again.
    assert get_ids([walk.advance(front, page("lmn"))]) == ["l", "n"]


def test_the_end_before_the_next_segment_is_doubted():
    """A listing that ends before a place where something was found."""
    walk, front, middle, warnings = two_segments()
    walk.advance(middle, page("m", at(2)))

    walk.advance(front, page("c"))

    assert "do not meet" in warnings[0]
    assert front.is_over
    assert middle.is_over


def test_a_cursor_that_repeats_is_an_error_in_order():
    """In the walk from the front it is raised behind its page; in a segment it is a doubt."""
    walk, front, middle, warnings = two_segments()
    walk.advance(middle, page("m", at(2)))
    walk.advance(middle, page("n", at(2)))

    assert middle.is_over
    assert "would never end" in warnings[0]
    # What the server wrote into a cursor, perhaps the key, is in no log.
    assert at(2).cursor_ts not in warnings[0]

    assert get_ids([walk.advance(front, page("c", at(22)))]) == ["c"]
    assert isinstance(front.error, PaginationError)


def test_a_dropped_segment_brings_nothing():
    """What a dropped segment fetches is forgotten, and so is its error."""
    walk, _, middle, _ = two_segments()
    walk.stop()

    assert walk.advance(middle, page("m", at(2))) is None
    assert walk.excuses(middle, AuthenticationError("no", status=401))
    assert walk.follow_up() is None
    assert walk.most_left() == 0


def test_a_listing_that_changes_too_fast_is_told_of():
    """When no pass gets to its end before more has moved, that is said, and the walk ends."""
    listing = ModelListing([DAY * n for n in range(40)], limit=2)
    walk, warnings = make_walk(2)

    def live() -> None:
        for _ in range(3):
            listing.move()

    replay(walk, listing, walkers=2, between=live)

    assert "faster than it is read" in warnings[-1]


@given(
    size=st.sampled_from([0, 1, 40, 150]),
    kinds=st.lists(st.sampled_from(["empty", "repeat", "cycle"]), min_size=1, max_size=4),
    moments=st.lists(
        st.sampled_from(["?", "1970-01-01T00:00:00", "2200-01-01T00:00:00", "2026-01-01T00:00:00"]),
        min_size=1,
        max_size=4,
    ),
    rising=st.booleans(),
    walkers=walker_counts,
    random=interleavings,
)
@settings(max_examples=40 * EFFORT)
def test_a_listing_that_never_ends_is_an_error_after_all_that_there_is(
    size, kinds, moments, rising, walkers, random
):
    """Whatever pages come after the end: all conversations come once, and then an error."""
    times = spread(size, "even", Random(size))
    listing = EndlessListing(times, kinds=kinds, moments=moments, limit=5, rising=rising)
    walk, _ = make_walk(walkers)
    pages = []

    with pytest.raises(PaginationError, match="would never end"):
        replay(walk, listing, walkers=walkers, random=random, pages=pages)

    assert sorted(get_ids(pages)) == sorted(listing.times)
    assert len(listing.requests) <= 2 * size / 5 + 150 * len(kinds) + 5 * walkers


def test_an_empty_listing_is_one_empty_page():
    """As a walk in order does, it yields the page that says that there is nothing."""
    pages, _ = replay(make_walk(8)[0], listing := ModelListing([]), walkers=8)

    assert [len(page) for page in pages] == [0]
    assert len(listing.requests) == 1


def test_a_gap_smaller_than_the_servers_timestamps_is_not_split():
    """A cursor that does not lie behind the segment, once it is spelled, begins no other."""
    walk, front, _, _ = two_segments()

    assert walk._insert(at(22), front) is None
    assert walk._insert(at(21), front) is not None


def test_no_cursor_points_before_1970():
    """Where a sounding would, the listing is taken to end there, and a nearer one is made."""
    walk, _ = make_walk(2)
    front = walk.begin()
    for year in (2026, 2010):
        walk.advance(front, page(f"{year}", Cursor("x", f"{year}-01-01T00:00:00.000")))

    middle = walk.split()

    assert "1970" < middle.walk.cursor.cursor_ts < "2010"
