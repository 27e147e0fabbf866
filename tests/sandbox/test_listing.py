"""The listing against a model that sorts all rows: cursors, filters, ties and changes."""

from __future__ import annotations

from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st
from support.effort import EFFORT

from cekat_async.sandbox import Dialect, Live
from cekat_async.sandbox.behaviour.live import LiveEvents
from cekat_async.sandbox.data.account import STATUSES, Account
from cekat_async.sandbox.data.listing import Listing
from cekat_async.sandbox.data.timeline import NEWEST, format_cursor_time, parse_cursor_time

ORDERS = ("activity", "created", "ascending")
sizes = st.integers(0, 120)
seeds = st.integers(0, 2**32)
orders = st.sampled_from(ORDERS)
ties = st.integers(1, 40)
densities = st.sampled_from(["even", "bursty", "recent"])
statuses = st.sampled_from([None, *STATUSES])
often = settings(max_examples=25 * EFFORT)
steps = st.lists(
    st.tuples(st.sampled_from(["touch", "create", "resolve", "delete"]), st.integers(0, 10_000)),
    max_size=25,
)


def get_listing(size, inboxes, seed, order, tie, density="even"):
    account = Account(size, inboxes, seed, Dialect(order=order, tie=tie, density=density))
    return account, Listing(account, seed, order)


def make_model(account, order):
    """Return all rows, sorted directly by the definition of the order."""
    rows = [(account.timeline.get_time(n), account.ids.encode(n), n) for n in range(account.size)]
    return sorted(rows, reverse=order != "ascending")


def apply(listing, history):
    """Make changes, and return the numbers that must exist afterwards."""
    alive = {number for _, _, number in listing.rows()}
    for event, index in history:
        number = listing.nth(index)
        if event == "create":
            alive.add(listing.create())
        elif number is not None:
            getattr(listing, event)(number)
            alive -= {number} if event == "delete" else set()
    return alive


@often
@given(sizes, st.integers(1, 6), seeds, orders, ties, densities, st.data())
def test_a_walk_yields_exactly_the_matching_rows_once(
    size, inboxes, seed, order, tie, density, data
):
    """For any limit and filters, all pages together are the matching rows in order."""
    account, listing = get_listing(size, inboxes, seed, order, tie, density)
    inbox = data.draw(st.sampled_from([None, *range(inboxes)]))
    status, limit = data.draw(statuses), data.draw(st.integers(1, 30))
    walked, after = [], None
    while page := list(islice(listing.rows(after, inbox=inbox, status=status), limit)):
        walked += page
        after = page[-1][:2]
    assert walked == [
        row
        for row in make_model(account, order)
        if (inbox is None or account.distribution.get_inbox(row[2]) == inbox)
        and (status is None or account.status(row[2]) == status)
    ]
    assert listing.count(inbox, status) == len(walked)


@settings(max_examples=50 * EFFORT)
@given(sizes, seeds, orders, ties, densities, st.data())
def test_rows_after_any_sort_key(size, seed, order, tie, density, data):
    """Any timestamp with any id is a sort key, and the listing continues with the rows after it."""
    account, listing = get_listing(size, 4, seed, order, tie, density)
    model = make_model(account, order)
    known = [row[0] for row in model] or [NEWEST]
    nearby = st.sampled_from(known).flatmap(lambda at: st.integers(at - 2, at + 2))
    # The drawn time may be in a gap between two bursts, or before or after all rows.
    anywhere = st.integers(min(known) - 10**10, NEWEST + 10**6)
    ids = st.text(max_size=3) | st.sampled_from([row[1] for row in model] or [""])
    for ts in (data.draw(nearby), data.draw(anywhere)):
        key, inbox = (ts, data.draw(ids)), data.draw(st.integers(0, 3))
        after_key = [row for row in model if _is_after(row[:2], key, order)]
        assert list(listing.rows(key)) == after_key
        of_inbox = [row for row in after_key if account.distribution.get_inbox(row[2]) == inbox]
        assert list(listing.rows(key, inbox=inbox)) == of_inbox


def _is_after(row, place, order):
    return row > place if order == "ascending" else row < place


@often
@given(sizes, st.integers(1, 5), seeds, orders, ties, steps, st.data())
def test_changes_keep_the_listing_sorted_and_whole(size, inboxes, seed, order, tie, history, data):
    """After any changes, the rows are sorted, unique and complete, and filters agree with them."""
    account, listing = get_listing(size, inboxes, seed, order, tie)
    alive = apply(listing, history)
    rows = list(listing.rows())
    assert rows == sorted(set(rows), reverse=order != "ascending")
    assert {number for _, _, number in rows} == alive
    assert listing.count() == len(rows) == len(alive)
    assert {listing.find(account.ids.encode(number)) for number in range(size + 25)} - {
        None
    } == alive
    for inbox in range(inboxes):
        of_inbox = [row for row in rows if account.distribution.get_inbox(row[2]) == inbox]
        assert list(listing.rows(inbox=inbox)) == of_inbox
        assert listing.count(inbox) == len(of_inbox)
    for status in STATUSES:
        having = [row for row in rows if account.status(row[2], listing.change(row[2])) == status]
        assert list(listing.rows(status=status)) == having
        assert listing.count(None, status) == len(having)
    # Rows that a change inserts are at one end of the listing.
    ends = {*range(len(rows))[:3], *range(len(rows))[-3:]}
    for at in ends | {data.draw(st.integers(0, len(rows) - 1)) for _ in rows[:1]}:
        assert list(listing.rows(rows[at][:2])) == rows[at + 1 :]


@often
@given(st.integers(1, 120), seeds, ties, st.integers(1, 20), st.integers(0, 10_000))
def test_an_untouched_conversation_is_seen_exactly_once(size, seed, tie, limit, salt):
    """While other conversations change, a walk returns each unchanged one exactly once."""
    _, listing = get_listing(size, 3, seed, "activity", tie)
    events = LiveEvents(Live(messages=1.5, created=0.5, resolved=0.5, seed=salt), listing)
    seen, after = [], None
    while page := list(islice(listing.rows(after), limit)):
        seen += [number for _, _, number in page]
        after = page[-1][:2]
        events.after_page()
    assert len(seen) == len(set(seen))
    touched = {n for n in range(size) if listing.change(n).active is not None}
    assert set(range(size)) - touched <= set(seen)


def test_a_row_deep_in_a_huge_listing_is_found_at_once():
    """Seeking in a hundred million conversations reads only a few of them."""
    account, listing = get_listing(100_000_000, 3, 1, "activity", 1)
    place = (account.timeline.get_time(77_777_777), account.ids.encode(77_777_777))
    assert next(listing.rows(place))[2] == 77_777_778
    assert account.distribution.get_inbox(next(listing.rows(place, inbox=2))[2]) == 2


@often
@given(st.integers(NEWEST - 10**13, NEWEST + 10**10))
def test_cursor_times_have_milliseconds_and_are_parsed(ts):
    """A cursor's timestamp has the documented format, and is parsed to the same moment."""
    text = format_cursor_time(ts)
    assert len(text) == len("2026-04-10T09:51:19.885")
    assert parse_cursor_time(text) == ts * 1000


def test_the_newest_cursor_is_the_one_of_the_documentation():
    """The sample cursor of the API's documentation is that of the newest conversation."""
    assert format_cursor_time(NEWEST) == "2026-04-10T09:51:19.885"
