"""Tracked walks: stopped anywhere and gone on from the last position, nothing is missed."""

from datetime import UTC, datetime
from itertools import count
from math import inf
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.effort import EFFORT
from support.listing import EndlessListing, ModelListing, replay

from cekat_async._parallel.tracked import TrackedWalk
from cekat_async.errors import PaginationError
from cekat_async.models import Conversation, MessagePreview
from cekat_async.pages import ConversationPage
from cekat_async.positions import Cursor, Edge, Part, Position

DAY = 86_400_000


def even(n: int, seed: int = 0) -> list[int]:
    random = Random(seed)
    return [random.randrange(10 * DAY) for _ in range(n)]


def bursts(n: int, seed: int) -> list[int]:
    random = Random(seed)
    begins = [random.randrange(10 * DAY) for _ in range(5)]
    return [random.choice(begins) + random.randrange(10_000) for _ in range(n)]


class Kept:
    """What somebody keeps who is killed now and then: ids in the order they came, a position."""

    def __init__(self, listing, walkers, position=None):
        self.listing, self.walkers = listing, walkers
        self.position = position or Position()
        self.ids: list[str] = []
        self.warnings: list[str] = []

    def run(self, *, most=inf, random=None, between=lambda: None):
        """Walk on from the position, for so many answers; return how many requests it took."""
        position = msgspec.json.decode(msgspec.json.encode(self.position), type=Position)
        walk = TrackedWalk(position, self.walkers, self.warnings.append)
        before = len(self.listing.requests)
        pages, _ = replay(
            walk, self.listing, walkers=self.walkers, random=random, between=between, most=most
        )
        for page in pages:
            self.ids += [item.id for item in page]
        if pages:
            self.position = pages[-1].position
        return len(self.listing.requests) - before

    @property
    def found(self):
        return set(self.ids)


listings = st.builds(
    lambda n, make, seed, **options: ModelListing(make(n, seed), seed=seed, **options),
    st.sampled_from([0, 1, 5, 40, 150, 500]),
    st.sampled_from([even, bursts]),
    st.integers(0, 2**32),
    limit=st.sampled_from([2, 7, 10, 50]),
    rising=st.booleans(),
    end=st.sampled_from(["null", "empty", "echo"]),
    made_up=st.sampled_from(["honour"] * 3 + ["ignore", "reject", "empty"]),
)
walker_counts = st.sampled_from([1, 2, 8])
interleavings = st.none() | st.integers(0, 2**32).map(Random)


@given(listing=listings, walkers=walker_counts, random=interleavings)
@settings(max_examples=40 * EFFORT)
def test_without_a_stop_all_comes(listing, walkers, random):
    """Every conversation comes, and the last position says that all has come."""
    kept = Kept(listing, walkers)
    kept.run(random=random)

    assert kept.found == set(listing.times)
    assert kept.position.parts == ()


@given(
    listing=listings,
    walkers=walker_counts,
    random=interleavings,
    stops=st.lists(st.integers(0, 60), max_size=6),
    rate=st.sampled_from([0, 0.05, 0.3]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=60 * EFFORT)
def test_stopped_anywhere_on_a_live_account_nothing_is_missed(
    listing, walkers, random, stops, rate, seed
):
    """However often it is killed, all that was there throughout has come in the end."""
    there, chances = set(listing.times), Random(seed)
    # So that one page holds what moves between two requests, and one that did not.
    rate = min(rate, 0.3 * listing.limit / walkers) if len(there) > 1 else 0

    def live() -> None:
        if there and chances.random() < rate:
            listing.move(chances.choice(sorted(there)))

    kept = Kept(listing, walkers)
    for most in stops:
        kept.run(most=most, random=random, between=live)
        for _ in range(chances.randrange(4) if rate else 0):  # while nobody reads
            live()
    kept.run(random=random, between=live)

    assert kept.found >= there


@given(
    listing=listings,
    walkers=walker_counts,
    stop=st.integers(1, 40),
    moves=st.integers(0, 30),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=50 * EFFORT)
def test_again_brings_what_moved_since_the_end(listing, walkers, stop, moves, seed):
    """A walk that has ended, and is asked again, brings everything that has moved since."""
    kept, chances = Kept(listing, walkers), Random(seed)
    kept.run(most=stop)
    kept.run()
    kept.ids.clear()
    moved = {chances.choice(sorted(listing.times)) for _ in range(moves if listing.times else 0)}
    for id_ in sorted(moved):
        listing.move(id_)

    kept.position = kept.position.again()
    kept.run()

    assert kept.found >= moved


@given(
    listing=listings,
    walkers=walker_counts,
    seed=st.integers(0, 2**32),
    during=st.sampled_from([0, 0.1, 0.3]),
    stops=st.lists(st.integers(0, 60), max_size=3),
)
@settings(max_examples=50 * EFFORT)
def test_since_brings_what_moved_since_the_walk_began(listing, walkers, seed, during, stops):
    """An incremental walk, killed or not, brings all that moved since the last one's first page."""
    chances, moved = Random(seed), set[str]()

    def live() -> None:
        if len(listing.times) > 1 and chances.random() < during:
            moved.add(id_ := chances.choice(sorted(listing.times)))
            listing.move(id_)

    first = Kept(listing, walkers)
    first.run(between=live)
    if listing.rising:
        moved.clear()  # it has met them at the end, where they have gone
    for _ in range(10):
        live()
    wanted = set(moved)
    second = Kept(listing, walkers, first.position.since())
    for most in stops:
        second.run(most=most, between=live)
    second.run(between=live)

    assert second.found >= wanted


def test_since_begins_at_the_last_page_of_a_rising_listing():
    """What moves in such a listing goes to its end: the walk begins with the last page of all."""
    tail = Cursor("id", "2026-04-10T00:00:00")
    ended = Position(order=1, by_activity=9, tail=tail, stage="settled", requests=9, passes=2)

    began = ended.since()

    assert (began.tail, began.order, began.stage, began.parts) == (tail, 1, "pass", ())


def test_since_costs_two_requests_where_nothing_moved():
    """Where nothing has moved, one request finds the newest, and one page has it all."""
    kept = Kept(ModelListing(even(10_000), limit=10), 1)
    kept.run()

    again = Kept(kept.listing, 8, kept.position.since(overlap=0))

    assert again.run() == 2


def test_since_costs_as_many_requests_as_have_moved():
    """The requests grow with what has moved and not with the account."""
    kept = Kept(ModelListing(even(10_000), limit=10), 1)
    kept.run()
    for id_ in sorted(kept.listing.times)[:100]:
        kept.listing.move(id_)

    again = Kept(kept.listing, 8, kept.position.since(overlap=0))

    assert again.run() <= 10 + 3
    assert len(again.found) >= 100


def test_an_overlap_reads_so_many_seconds_more():
    """What lies less than the overlap before the watermark is read once more."""
    kept = Kept(ModelListing([second * 1000 for second in range(10_000)], limit=10), 1)
    kept.run()

    again = Kept(kept.listing, 1, kept.position.since(overlap=1000.0))
    again.run()

    assert 1000 <= len(again.found) <= 1000 + 2 * 10


@pytest.mark.parametrize("walkers", [1, 8])
def test_a_stop_costs_what_was_under_way(walkers):
    """Whoever is killed at any point asks again for no more than was under way, and ends."""
    whole = Kept(ModelListing(even(1200), limit=10), walkers)
    needed = whole.run()

    for most in range(5, 120, 13):
        kept = Kept(ModelListing(even(1200), limit=10), walkers)
        before = kept.run(most=most)
        extra = before + kept.run() - needed

        # Sounding anew how long the listing is costs a few more.
        assert extra <= 1 + 6 * (walkers > 1) + walkers, most


class Unordered:
    """A listing that goes by id, and whose cursors' timestamps mean nothing."""

    def __init__(self, size, limit=10, seed=0):
        random = Random(seed)
        self.ids = sorted(f"{random.getrandbits(40):010x}" for _ in range(size))
        self.times = dict.fromkeys(self.ids)
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
        body = b",".join(b'{"id":"%s"}' % id_.encode() for id_ in found)
        items = tuple(Conversation(id=id_) for id_ in found)
        return ConversationPage(items=items, next_cursor=following, body=b'{"data":[%s]}' % body)

    def rename(self, id_, new):
        """Let a row take another place."""
        self.ids.remove(id_)
        self.ids = sorted([*self.ids, new])


@pytest.mark.parametrize("walkers", [1, 8])
@pytest.mark.parametrize("size", [25, 300])
def test_a_listing_that_does_not_go_by_time_is_walked_until_nothing_new_comes(walkers, size):
    """Where nobody knows at which end things arrive, another pass shows that all has come."""
    kept = Kept(Unordered(size), walkers)
    kept.run()

    assert kept.found == set(kept.listing.ids)
    assert kept.position.is_unordered
    assert any("does not go by time" in text for text in kept.warnings)


@given(
    size=st.integers(20, 200),
    stops=st.lists(st.integers(0, 30), max_size=4),
    seed=st.integers(0, 99),
)
def test_an_unordered_walk_that_is_stopped_ends_as_well(size, stops, seed):
    """Killed at any point of any pass, it still brings everything, and comes to an end."""
    kept = Kept(Unordered(size, seed=seed), 1)
    for most in stops:
        kept.run(most=most)
    kept.run()

    assert kept.found == set(kept.listing.ids)


def test_an_unordered_listing_is_exported_whole_each_time():
    """Where nothing tells what has moved, an incremental walk is a whole one."""
    kept = Kept(Unordered(100), 1)
    kept.run()

    assert kept.position.since() == Position()


def test_a_listing_that_changes_faster_than_it_is_read_is_told():
    """When no pass comes to an end with what moves, the walk ends, and says so."""
    listing = ModelListing(even(200), limit=2)
    kept = Kept(listing, 1)

    def live() -> None:
        for _ in range(5):
            listing.move()

    with pytest.raises(PaginationError, match="changes faster than it is read"):
        kept.run(between=live)


def test_a_walk_that_only_runs_after_what_moves_is_given_up():
    """Where each page brings one that has just moved to the end, it says so and ends."""
    listing = ModelListing(even(300), limit=100, rising=True, end="empty")
    kept = Kept(listing, 1)

    with pytest.raises(PaginationError, match="changes faster than it is read"):
        kept.run(between=listing.move)


def test_an_unordered_listing_in_which_new_ones_keep_coming_is_told():
    """When each pass brings something new, the walk ends after twenty, and says so."""
    listing = Unordered(50)
    kept, names = Kept(listing, 1), count()

    with pytest.raises(PaginationError, match="changes faster than it is read"):
        kept.run(between=lambda: listing.rename(listing.ids[0], f"zz{next(names):06}"))


@pytest.mark.parametrize("ahead", [1, 3])
def test_a_few_times_in_the_future_do_not_hide_what_moves(ahead):
    """Conversations that are the newest for ever do not make all others look unmoved."""
    times = even(2000)
    future = [max(times) + 400 * DAY + number for number in range(ahead)]
    listing = ModelListing([*times, *future], limit=50)
    listing._now = max(times) + 1000
    kept = Kept(listing, 1)
    kept.run()
    moved = sorted(listing.times)[:300]
    for id_ in moved:
        if listing.times[id_] <= max(times):
            listing.move(id_)

    again = Kept(listing, 1, kept.position.since(overlap=0))
    again.run()

    assert again.found >= {id_ for id_ in moved if listing.times[id_] < future[0]}


def test_since_a_single_page_or_an_unknown_order_is_everything():
    """Where no watermark tells what has moved, all is brought again."""
    kept = Kept(ModelListing(even(5)), 1)
    kept.run()

    assert kept.position.since() == Position()
    assert Position().since() == Position()
    assert Position(order=-1).since() == Position(order=1).since() == Position()
    assert Position(order=-1, by_activity=1).since() == Position()


def test_conversations_of_a_single_message_tell_nothing_of_the_order():
    """Where creation and activity are one moment, nobody knows which of them it goes by."""
    moment = datetime(2026, 4, 10, 5, 47, 16, tzinfo=UTC)
    alone = Conversation(id="a", created_at=moment, last_message=MessagePreview(created_at=moment))
    page = ConversationPage(
        items=(alone,),
        next_cursor=Cursor("a", "2026-04-10T05:47:16"),
        body=b'{"data":[{"id":"a"}]}',
    )
    walk = TrackedWalk(Position(), 1, print)
    walk.advance(walk.begin(), page)

    assert (walk.position.by_creation, walk.position.by_activity) == (0, 0)
    assert Position().again() == Position()


@given(
    stop=st.integers(1, 60),
    walkers=walker_counts,
    random=interleavings,
    seed=st.integers(0, 2**32),
)
def test_a_walk_that_is_told_to_stop_is_not_at_its_end(stop, walkers, random, seed):
    """What is under way then moves nothing on: the last position leads to all that is missing."""
    listing = ModelListing(even(300, seed), limit=7, seed=seed)
    kept, count_ = Kept(listing, walkers), count(1)
    walk = TrackedWalk(Position(), walkers, kept.warnings.append)

    def between():
        if next(count_) == stop:
            walk.stop()

    pages, _ = replay(walk, listing, walkers=walkers, random=random, between=between)
    for page in pages:
        kept.ids += [item.id for item in page]
    kept.position = pages[-1].position if pages else Position()
    kept.position = kept.position.again()
    kept.run()

    assert kept.found == set(listing.times)


@given(
    size=st.sampled_from([1, 40, 150]),
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
    """Whatever pages come after the end: all conversations come, and then an error."""
    listing = EndlessListing(even(size), kinds=kinds, moments=moments, limit=5, rising=rising)
    walk, pages = TrackedWalk(Position(), walkers, lambda _: None), []

    with pytest.raises(PaginationError):
        replay(walk, listing, walkers=walkers, random=random, pages=pages)

    assert {item.id for page in pages for item in page} == set(listing.times)
    assert len(listing.requests) <= 2 * size / 5 + 150 * len(kinds) + 5 * walkers


def test_a_sparse_listing_that_does_not_go_by_time_is_read():
    """Where the first page of a listing is empty, and its cursor is no time, the rest comes."""
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
    kept = Kept(listing, 1)
    kept.run()

    assert kept.found == {last}


def test_a_position_is_small():
    """Behind a page with eight parts it takes a few kilobytes, however long the listing is."""
    sizes = []

    kept = Kept(ModelListing(even(20_000), limit=100), 8)
    for _ in range(10):
        kept.run(most=20)
        sizes.append(len(msgspec.json.encode(kept.position)))

    assert 1000 < max(sizes) < 12_000


def test_a_position_survives_as_json():
    """All that a position holds comes back from its JSON."""
    edge = Edge(Cursor("a", "b"), 1.5)
    part = Part(Cursor("c", "d"), 3, 4, ("x",), 5.0, edge, is_over=True)
    position = Position(parts=(part,), stage="behind", top=edge, coming=edge, tail=edge.cursor)

    assert msgspec.json.decode(msgspec.json.encode(position), type=Position) == position
