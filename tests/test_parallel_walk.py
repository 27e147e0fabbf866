"""Parallel walks miss nothing, for any server, any data and any order of replies."""

from collections import Counter
from datetime import UTC, datetime
from itertools import count
from math import inf
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.effort import EFFORT
from support.listing import DAY, EndlessListing, ModelListing, make_page, replay, spelled, spread

from cekat_async._parallel.deduplication import EachOnce
from cekat_async._parallel.walk import ParallelWalk
from cekat_async.errors import PaginationError
from cekat_async.models import Conversation, MessagePreview
from cekat_async.pages import ConversationPage
from cekat_async.positions import Cursor, Position

listings = st.builds(
    lambda n, shape, seed, **options: ModelListing(
        spread(n, shape, Random(seed)), seed=seed, **options
    ),
    st.sampled_from([0, 1, 5, 40, 150, 500]),
    st.sampled_from(["even", "bursts", "late", "ties", "one moment"]),
    st.integers(0, 2**32),
    limit=st.sampled_from([1, 2, 3, 7, 10, 50]),
    rising=st.booleans(),
    end=st.sampled_from(["null", "empty", "echo"]),
    made_up=st.sampled_from(["honour"] * 4 + ["ignore", "reject", "empty", "by_id"]),
)
walker_counts = st.sampled_from([1, 2, 8, 20])
# in lockstep, or with any duration of each reply
interleavings = st.none() | st.integers(0, 2**32).map(Random)


def even(n: int, seed: int = 0) -> list[int]:
    return spread(n, "even", Random(seed))


def get_ids(pages) -> list[str]:
    return [item.id for page in pages for item in page]


def make_walk(walkers: int, start: Cursor | None = None) -> tuple[ParallelWalk, list[str]]:
    warnings: list[str] = []
    return ParallelWalk(Position(), walkers, warnings.append, start), warnings


def read_once(walk: ParallelWalk, listing, **options) -> list[ConversationPage]:
    """Return the pages of a walk that yields each record once."""
    return replay(walk, listing, finish=EachOnce(walk).reduce, **options)[0]


def read_in_order(listing: ModelListing, cursor: Cursor | None = None) -> list[str]:
    found = []
    while True:
        page = listing.page(cursor)
        found += get_ids([page])
        if page.next_cursor is None or (not page.items and page.next_cursor == cursor):
            return found
        cursor = page.next_cursor


class Reader:
    """Stores ids in order and a position, like a process that is killed repeatedly."""

    def __init__(self, listing, walkers, position=None):
        self.listing, self.walkers = listing, walkers
        self.position = position or Position()
        self.ids: list[str] = []
        self.warnings: list[str] = []

    def run(self, *, most=inf, random=None, between=lambda: None):
        """Resume the walk for this many replies, and return the number of requests."""
        position = Position.from_bytes(self.position.to_bytes())
        walk = ParallelWalk(position, self.walkers, self.warnings.append)
        before, pages = len(self.listing.requests), []
        try:
            options = {"random": random, "between": between, "most": most, "pages": pages}
            replay(walk, self.listing, walkers=self.walkers, **options)
        finally:
            self.ids += get_ids(pages)
            if pages:
                self.position = pages[-1].position
        return len(self.listing.requests) - before

    @property
    def found(self):
        return set(self.ids)


class Mover:
    """Moves records of a listing at random."""

    def __init__(self, listing, seed, rate):
        self._listing, self._chances = listing, Random(seed)
        # Between two requests, fewer records move than fit on a page. If a cursor follows its
        # record to the newest end ("by_id"), no walk of a live account can be complete.
        is_possible = len(listing.times) > 1 < listing.limit and listing.made_up != "by_id"
        self._rate = rate if is_possible else 0
        self.there = sorted(listing.times)
        self.moved = set()

    def __call__(self):
        if self._chances.random() < self._rate:
            id_ = self._chances.choice(self.there)
            self.moved.add(id_)
            self._listing.move(id_)


# --- a quiet listing


@given(listing=listings, walkers=walker_counts, random=interleavings)
@settings(max_examples=80 * EFFORT)
def test_it_yields_what_a_sequential_walk_yields(listing, walkers, random):
    """Each conversation is yielded once for any data and server, with at most one warning."""
    walk, warnings = make_walk(walkers)

    pages = read_once(walk, listing, walkers=walkers, random=random)

    assert sorted(get_ids(pages)) == sorted(listing.times)
    assert all(len(page.raw) == len(page.items) for page in pages)
    assert walk.head_cursor is None
    assert len(warnings) <= (listing.made_up != "honour")


@pytest.mark.parametrize("made_up", ["ignore", "reject", "by_id"])
def test_a_server_that_does_not_honour_constructed_cursors_gets_one(made_up):
    """With any number of walkers, the walk sends one such cursor, and warns once."""
    listing = ModelListing(even(1000, 2), limit=10, made_up=made_up)
    walk, warnings = make_walk(64)

    read_once(walk, listing, walkers=64)

    assert sum(not listing.has_sent(cursor) for cursor in listing.requests if cursor) == 1
    # a sequential walk, that request, a probe, and one more at the end for changes
    assert len(listing.requests) == 100 + 1 + 1 + 1
    assert len(warnings) == 1


@given(listing=listings, walkers=walker_counts, random=interleavings, share=st.floats(0, 1))
@settings(max_examples=60 * EFFORT)
def test_each_page_has_a_cursor_that_misses_nothing(listing, walkers, random, share):
    """The records yielded so far and those after the page's cursor make up the whole listing."""
    walk, _ = make_walk(walkers)
    pages = read_once(walk, listing, walkers=walkers, random=random)
    stop = min(int(share * len(pages)), len(pages) - 1)

    cursor = pages[stop].next_cursor
    rest = [] if cursor is None else read_in_order(listing, cursor)

    assert {*get_ids(pages[: stop + 1]), *rest} == set(listing.times)


@given(listing=listings, walkers=walker_counts, page=st.integers(1, 10))
@settings(max_examples=40 * EFFORT)
def test_from_a_cursor_it_reads_the_rest(listing, walkers, page):
    """From a cursor, the walk reads only the records after it, without a look at the front."""
    cursor = None
    for _ in range(page):
        cursor = listing.page(cursor).next_cursor or cursor
    expected = read_in_order(listing, cursor)
    listing.requests.clear()

    walk, _ = make_walk(walkers, cursor)
    pages = read_once(walk, listing, walkers=walkers)

    assert sorted(get_ids(pages)) == sorted(expected)
    assert None not in listing.requests or cursor is None


@pytest.mark.parametrize("size", [0, 1, 100])
def test_a_listing_of_one_page_is_one_request(size):
    """The only page shows the whole listing at one moment.

    Repeating the walk takes one request, too.
    """
    reader = Reader(listing := ModelListing(even(size), limit=100), 8)

    assert reader.run() == 1
    reader.position = reader.position.again()
    assert reader.run() == 1
    assert reader.ids == 2 * read_in_order(listing)
    assert [len(page) for page in read_once(make_walk(8)[0], listing, walkers=8)] == [size]


# --- the number of requests


def bursty(n: int, random: Random) -> list[int]:
    """Return times in 20 bursts of different sizes, with gaps of fifty times their length."""
    weights = [1 + random.randrange(16) for _ in range(20)]
    times, now = [], 0
    for weight in weights:
        size = n * weight // sum(weights)
        times += [now + random.randrange(2_000 * size) for _ in range(size)]
        now += 100_000 * size
    return times


def make_times(n: int, shape: str, seed: int) -> list[int]:
    return bursty(n, Random(seed)) if shape == "bursty" else spread(n, shape, Random(seed))


@pytest.mark.parametrize(
    "shape,most_time,most_requests",
    [("even", 1.2, 1.05), ("late", 1.3, 1.07), ("bursty", 1.6, 1.1)],
)
@pytest.mark.parametrize("seed", range(3 if EFFORT > 1 else 1))
def test_eight_walkers_are_nearly_eight_times_as_fast(shape, most_time, most_requests, seed):
    """A parallel walk of 400 pages takes about as long as a sequential one of 50.

    It needs few extra requests. Only a request can find the end of a burst.
    """
    times = make_times(40_000, shape, seed)
    listing = ModelListing(times, limit=100, seed=seed)

    pages, seconds = replay(make_walk(8)[0], listing, walkers=8)

    assert set(get_ids(pages)) == set(listing.times)
    assert seconds <= most_time * len(times) / 100 / 8
    assert len(listing.requests) <= most_requests * len(times) / 100


@pytest.mark.parametrize("walkers", [2, 64])
@pytest.mark.parametrize("shape", ["even", "bursty", "ties"])
def test_however_many_walkers_the_requests_without_result_are_bounded(shape, walkers):
    """Misleading data cost a tenth more requests, plus half a request per walker."""
    times = make_times(20_000, shape, 1)
    listing = ModelListing(times, limit=20)

    replay(make_walk(walkers)[0], listing, walkers=walkers)

    assert len(listing.requests) <= 1.15 * len(times) / 20 + 1.5 * walkers


# --- a live listing


@given(
    listing=listings,
    walkers=walker_counts,
    random=interleavings,
    rate=st.sampled_from([0.05, 0.3]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=60 * EFFORT)
def test_on_a_live_account_each_conversation_is_yielded_once(listing, walkers, random, rate, seed):
    """Conversations that move while the walk reads are yielded, and only once."""
    move = Mover(listing, seed, min(rate, 0.3 * listing.limit / walkers))
    walk, _ = make_walk(walkers)

    pages = read_once(walk, listing, walkers=walkers, random=random, between=move)

    assert sorted(get_ids(pages)) == move.there


@given(
    listing=listings,
    walkers=walker_counts,
    random=interleavings,
    stops=st.lists(st.integers(0, 60), max_size=6),
    rate=st.sampled_from([0, 0.05, 0.3]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=80 * EFFORT)
def test_stopped_anywhere_on_a_live_account_nothing_is_missed(
    listing, walkers, random, stops, rate, seed
):
    """After any number of kills, the walk has read everything that existed all the time."""
    move = Mover(listing, seed, min(rate, 0.3 * listing.limit / walkers))
    reader = Reader(listing, walkers)
    for most in stops:
        reader.run(most=most, random=random, between=move)
        for _ in range(seed % 4):  # records move between two runs
            move()
    reader.run(random=random, between=move)

    assert reader.found == set(move.there)
    assert reader.position.state.parts == ()


@pytest.mark.parametrize("rising", [False, True])
@pytest.mark.parametrize("most", [1, 2])
def test_stopped_before_the_second_page_it_begins_again(rising, most):
    """The changes since the first page are unknown.

    So the walk starts over, which takes at most two requests.
    """
    listing = ModelListing(even(50), limit=10, rising=rising)
    needed = Reader(listing, 1).run()
    reader = Reader(listing, 1)
    reader.run(most=most)
    assert reader.position == Position()
    moved = sorted(listing.times)[:30]
    for id_ in moved:
        listing.move(id_)

    assert reader.run() == needed
    assert reader.found == set(listing.times)


@given(
    listing=listings,
    walkers=walker_counts,
    stop=st.integers(1, 40),
    moves=st.integers(0, 30),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=50 * EFFORT)
def test_again_reads_the_changes_since_the_end(listing, walkers, stop, moves, seed):
    """If a finished walk is repeated, it reads everything that has moved since it ended."""
    reader, move = Reader(listing, walkers), Mover(listing, seed, 1)
    reader.run(most=stop)
    reader.run()
    reader.ids.clear()
    for _ in range(moves):
        move()

    reader.position = reader.position.again()
    assert reader.position.again() == reader.position
    reader.run()

    assert reader.found >= move.moved


@given(
    listing=listings,
    walkers=walker_counts,
    seed=st.integers(0, 2**32),
    during=st.sampled_from([0, 0.1, 0.3]),
    stops=st.lists(st.integers(0, 60), max_size=3),
)
@settings(max_examples=50 * EFFORT)
def test_since_reads_the_changes_since_the_walk_began(listing, walkers, seed, during, stops):
    """An incremental walk, killed or not, reads all changes since the last walk's first page."""
    move = Mover(listing, seed, min(during, 0.3 * listing.limit / walkers))
    first = Reader(listing, walkers)
    first.run(between=move)
    if listing.rising:
        move.moved.clear()  # the walk has found these records at the end, at their new position
    for _ in range(10):
        move()
    wanted = set(move.moved)
    second = Reader(listing, walkers, first.position.since())
    for most in stops:
        second.run(most=most, between=move)
    second.run(between=move)

    assert second.found >= wanted


def test_a_record_that_moves_twice_around_the_probe_hides_nothing():
    """The probe shows the newest id of the first page, although another record has moved too."""
    page_of = {
        None: ["a", "b"],
        "b": ["c", "d"],
    }
    asked = []

    def page(cursor, limit=None):
        asked.append((cursor and cursor.cursor_id, limit))
        version = b"2" if len(asked) > 1 else b"1"
        # After the first page, "d" moves to the front, and then "a" does so again.
        if len(asked) == 2:
            page_of.update({None: ["a", "d"], "d": ["b", "c"], "b": ["c"]})
        ids = page_of[cursor and cursor.cursor_id][:limit]
        records = b",".join(b'{"id":"%s","v":%s}' % (i.encode(), version) for i in ids)
        more = Cursor(ids[-1], f"2026-01-0{9 - 'adbc'.index(ids[-1])}T00:00:00")
        return ConversationPage(
            items=tuple(Conversation(id=id_) for id_ in ids),
            next_cursor=more if ids[-1] != "c" else None,
            body=b'{"data":[%s]}' % records,
        )

    listing = ModelListing([], limit=2)
    listing.page = page

    assert set(get_ids(replay(make_walk(1)[0], listing, walkers=1)[0])) == {"a", "b", "c", "d"}
    assert asked[:3] == [(None, None), (None, 1), (None, None)]


@pytest.mark.parametrize("moves, requests", [(0, 22), (1, 23), (50, 23)])
def test_one_look_has_all_that_moved(moves, requests):
    """On a quiet listing, a probe and a look are the only extra requests.

    An early change takes one more page.
    """
    listing = ModelListing(even(2000), limit=100)
    reader = Reader(listing, 1)

    def between():
        if len(listing.requests) == 1:
            for _ in range(moves):
                listing.move()

    assert reader.run(between=between) == requests


@pytest.mark.parametrize("start", [Position.again, Position.since])
def test_changes_in_an_ascending_listing_of_two_pages_are_found(start):
    """The first page and the probe show the order, because the second page has no cursor."""
    reader = Reader(listing := ModelListing(even(15), limit=10, rising=True), 1)
    reader.run()
    assert reader.position.state.order == 1
    moved = min(listing.times, key=listing.times.get)
    listing.move(moved)

    again = Reader(listing, 1, start(reader.position))

    assert again.run() == 1
    assert moved in again.found


def test_since_costs_two_requests_where_nothing_moved():
    """One request finds the newest record, and one page reaches the watermark."""
    reader = Reader(ModelListing(even(10_000), limit=10), 1)
    reader.run()

    again = Reader(reader.listing, 8, reader.position.since(overlap=0))

    assert again.run() == 2


def test_since_costs_as_many_requests_as_have_moved():
    """The number of requests depends on the changes and not on the account's size."""
    reader = Reader(ModelListing(even(10_000), limit=10), 1)
    reader.run()
    for id_ in sorted(reader.listing.times)[:100]:
        reader.listing.move(id_)

    again = Reader(reader.listing, 8, reader.position.since(overlap=0))

    assert again.run() <= 10 + 3
    assert len(again.found) >= 100


def test_an_overlap_reads_this_many_seconds_more():
    """Records that are older than the watermark by less than the overlap are read again."""
    reader = Reader(ModelListing([second * 1000 for second in range(10_000)], limit=10), 1)
    reader.run()

    again = Reader(reader.listing, 1, reader.position.since(overlap=1000.0))
    again.run()

    assert 1000 <= len(again.found) <= 1000 + 2 * 10


@pytest.mark.parametrize("walkers", [1, 8])
def test_a_stop_costs_what_was_in_flight(walkers):
    """A killed walk repeats only the requests in flight, and it ends."""
    needed = Reader(ModelListing(even(1200), limit=10), walkers).run()

    for most in range(5, 120, 13):
        reader = Reader(ModelListing(even(1200), limit=10), walkers)
        before = reader.run(most=most)
        extra = before + reader.run() - needed

        # A new measurement of the listing's length costs a few more requests.
        assert extra <= 1 + 6 * (walkers > 1) + walkers, most


@given(
    stop=st.integers(1, 60),
    walkers=walker_counts,
    random=interleavings,
    seed=st.integers(0, 2**32),
)
def test_a_stopped_walk_is_not_at_its_end(stop, walkers, random, seed):
    """Discarded requests do not change the position. It still leads to all that is missing."""
    listing = ModelListing(even(300, seed), limit=7, seed=seed)
    reader, count_ = Reader(listing, walkers), count(1)
    walk, _ = make_walk(walkers)

    def between():
        if next(count_) == stop:
            walk.stop()

    pages, _ = replay(walk, listing, walkers=walkers, random=random, between=between)
    reader.ids += get_ids(pages)
    assert walk.most_left() == 0
    reader.position = pages[-1].position.again() if pages else Position()
    reader.run()

    assert reader.found == set(listing.times)


@pytest.mark.parametrize("ahead", [1, 3])
def test_a_few_times_in_the_future_do_not_hide_what_moves(ahead):
    """Conversations that are always the newest do not hide the changes of others."""
    times = even(2000)
    future = [max(times) + 400 * DAY + number for number in range(ahead)]
    listing = ModelListing([*times, *future], limit=50)
    listing._now = max(times) + 1000
    reader = Reader(listing, 1)
    reader.run()
    moved = sorted(listing.times)[:300]
    for id_ in moved:
        if listing.times[id_] <= max(times):
            listing.move(id_)

    again = Reader(listing, 1, reader.position.since(overlap=0))
    again.run()

    assert again.found >= {id_ for id_ in moved if listing.times[id_] < future[0]}


# --- listings that are not in time order


class Unordered:
    """A listing sorted by id, with meaningless timestamps in its cursors."""

    def __init__(self, size, limit=10, seed=0):
        random = Random(seed)
        self.ids = sorted(f"{random.getrandbits(40):010x}" for _ in range(size))
        self.limit, self.requests = limit, []
        self.stamps = {
            id_: random.choice(["", f"2026-01-0{random.randint(1, 9)}"]) for id_ in self.ids
        }

    def page(self, cursor, limit=None):
        self.requests.append(cursor)
        rest = [id_ for id_ in self.ids if cursor is None or id_ > cursor.cursor_id]
        found = rest[: limit or self.limit]
        more = len(rest) > len(found)
        following = Cursor(found[-1], self.stamps.get(found[-1], "?") or "none") if more else None
        return make_page(found, following)

    def rename(self, id_, new):
        """Give a record another id, which moves it."""
        self.ids.remove(id_)
        self.ids = sorted([*self.ids, new])


@pytest.mark.parametrize("walkers", [1, 8])
@pytest.mark.parametrize("size", [25, 300])
def test_a_listing_that_is_not_in_time_order_is_read_until_nothing_new_arrives(walkers, size):
    """A second pass shows that nothing is missing.

    If records are deduplicated, the second pass yields none.
    """
    reader = Reader(Unordered(size), walkers)
    requests = reader.run()

    assert reader.found == set(reader.listing.ids)
    assert requests == 2 * -(-size // 10)
    assert reader.position.state.is_unordered
    assert [text for text in reader.warnings if "not in time order" in text] == reader.warnings[:1]
    assert reader.position.since() == Position()
    pages = read_once(make_walk(walkers)[0], Unordered(size), walkers=walkers)
    assert sorted(get_ids(pages)) == reader.listing.ids


@given(
    size=st.integers(20, 200),
    stops=st.lists(st.integers(0, 30), max_size=4),
    seed=st.integers(0, 99),
)
def test_an_unordered_walk_that_is_stopped_ends_as_well(size, stops, seed):
    """A walk that is killed at any point of any pass still reads everything, and it ends."""
    reader = Reader(Unordered(size, seed=seed), 1)
    for most in stops:
        reader.run(most=most)
    reader.run()

    assert reader.found == set(reader.listing.ids)


@pytest.mark.parametrize("bad_answer", range(1, 45))
def test_a_timestamp_that_cannot_be_read_at_any_point(bad_answer):
    """After an unreadable timestamp in a probe, pass or look, the order counts as unknown."""
    listing = ModelListing(even(200), limit=10)
    plain = listing.page

    def page(cursor, limit=None):
        if cursor and cursor.cursor_ts == "soon":
            cursor = Cursor(cursor.cursor_id, spelled(listing.times[cursor.cursor_id]))
        found = plain(cursor, limit)
        if len(listing.requests) == bad_answer and found.next_cursor:
            unreadable = Cursor(found.next_cursor.cursor_id, "soon")
            return msgspec.structs.replace(found, next_cursor=unreadable)
        return found

    listing.page = page
    reader = Reader(listing, 1)
    reader.run()

    assert reader.found == set(listing.times)


def test_a_sparse_listing_that_is_not_in_time_order_is_read():
    """If the first page is empty and its cursor is no time, the walk reads the rest."""
    listing = ModelListing(even(300), limit=10, seed=1)
    last = min(listing.times, key=listing.times.get)
    listing.shows = last.__eq__
    plain = listing.page

    def page(cursor, limit=None):
        place = cursor and Cursor(cursor.cursor_id, cursor.cursor_ts.removeprefix("at "))
        found = plain(place, limit)
        following = found.next_cursor
        return msgspec.structs.replace(
            found,
            next_cursor=following and Cursor(following.cursor_id, f"at {following.cursor_ts}"),
        )

    listing.page = page
    reader = Reader(listing, 1)
    reader.run()

    assert reader.found == {last}


# --- listings that do not end


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
@settings(max_examples=60 * EFFORT)
def test_a_listing_that_never_ends_is_an_error_after_all_that_there_is(
    size, kinds, moments, rising, walkers, random
):
    """For any pages after the end, all conversations are yielded before an error is raised."""
    listing = EndlessListing(even(size), kinds=kinds, moments=moments, limit=5, rising=rising)
    pages = []

    with pytest.raises(PaginationError, match="would never end"):
        read_once(make_walk(walkers)[0], listing, walkers=walkers, random=random, pages=pages)

    assert sorted(get_ids(pages)) == sorted(listing.times)
    assert len(listing.requests) <= 2 * size / 5 + 150 * len(kinds) + 5 * walkers


@pytest.mark.parametrize("walkers", [1, 2])
def test_a_listing_that_changes_faster_than_it_is_read_is_an_error(walkers):
    """If records move faster than a pass reads, the walk raises after all its pages."""
    listing = ModelListing(even(200), limit=2)
    pages, sent = [], set()

    def live() -> None:
        for _ in range(5):
            listing.move()

    def page(cursor, limit=None, plain=listing.page):
        found = plain(cursor, limit)
        sent.update(get_ids([found]))
        return found

    listing.page = page
    with pytest.raises(PaginationError, match="changes faster than it is read"):
        read_once(make_walk(walkers)[0], listing, walkers=walkers, between=live, pages=pages)

    assert set(get_ids(pages)) >= sent - set(get_ids([listing.page(None, 1)]))
    assert max(Counter(get_ids(pages)).values()) == 1


def test_an_unordered_listing_with_ever_new_records_is_an_error():
    """If each pass finds something new, the walk raises after a few passes."""
    listing = Unordered(50)
    reader, names = Reader(listing, 1), count()

    with pytest.raises(PaginationError, match="changes faster than it is read"):
        reader.run(between=lambda: listing.rename(listing.ids[0], f"zz{next(names):06}"))


def test_a_probe_whose_cursor_cannot_be_sent_is_yielded_before_the_error():
    """No received record is lost. If the walk is stopped, it discards its probe."""
    reader = Reader(ModelListing(even(50)), 1)
    reader.run()
    walk = ParallelWalk(reader.position.since(), 1, print)
    probe = walk.next(None)
    page = make_page("a", Cursor("x" * 5000, "2026-01-01T00:00:00"))

    assert walk.advance(probe, page) is page
    assert "5,000 characters" in str(probe.error)
    walk.stop()
    assert walk.advance(probe, page) is None
    assert walk.next(probe) is None


def test_a_listing_that_shrinks_to_a_page_before_the_probe():
    """The walk reads the first page again, because this page is the whole listing now."""
    listing = ModelListing(even(11), limit=10)
    reader = Reader(listing, 1)

    def between():
        while len(listing.times) > 1:
            id_, time = listing.times.popitem()
            listing._rows.remove((time, id_))

    assert reader.run(between=between) == 3
    assert reader.found >= set(listing.times)


# --- positions


def test_since_a_single_page_is_everything():
    """Without a watermark the changes are unknown, so the walk reads everything again."""
    reader = Reader(ModelListing(even(5)), 1)
    reader.run()

    assert reader.position.since() == Position()


def test_conversations_of_a_single_message_show_nothing_of_the_order():
    """If creation and activity have the same time, the listing may be sorted by either."""
    moment = datetime(2026, 4, 10, 5, 47, 16, tzinfo=UTC)
    alone = Conversation(id="a", created_at=moment, last_message=MessagePreview(created_at=moment))
    page = ConversationPage(
        items=(alone,),
        next_cursor=Cursor("a", "2026-04-10T05:47:16"),
        body=b'{"data":[{"id":"a"}]}',
    )
    walk, _ = make_walk(1)
    walk.advance(walk.next(None), page)

    assert (walk.position.state.by_creation, walk.position.state.by_activity) == (0, 0)


def test_a_position_is_small():
    """With eight segments, a position takes a few kilobytes for a listing of any length."""
    sizes = []

    reader = Reader(ModelListing(even(20_000), limit=100), 8)
    for _ in range(10):
        reader.run(most=20)
        sizes.append(len(reader.position.to_bytes()))

    assert 1000 < max(sizes) < 12_000
