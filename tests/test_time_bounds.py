"""``since`` and ``until``: no conversation of the range is missed, and few others are read."""

import logging
from contextlib import aclosing, contextmanager
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.activity import HOUR, MINUTE, ActivityServer, Row, make_rows, moment
from support.clock import run_virtual
from support.effort import EFFORT

from cekat_async import Cursor, Position
from cekat_async._paging.activity_order import PageTimes
from cekat_async._paging.time_bounds import TimeBounds
from cekat_async.models.record_times import RecordTimes

DAY = 24 * HOUR
SIZE = 10


def in_range(time, since, until):
    """Return whether a time in milliseconds is in a range. Both bounds of the range may be None."""
    return (since is None or time >= since) and (until is None or time <= until)


def as_moments(since, until):
    return {
        name: None if time is None else moment(time)
        for name, time in (("since", since), ("until", until))
    }


async def read_ids(server, since, until, *, way="records", size=SIZE, **options):
    """Return the ids that a bounded listing yields when it is read in one of several ways."""
    if way == "segments":
        options["segments"] = 4
    listing = server.open().list(page_size=size, prefetch=0, **as_moments(since, until), **options)
    if way == "raw":
        return [id_ async for page in listing.raw_pages() for id_ in page.ids]
    if way == "tracked":
        pages = listing.tracked_pages({None: Position()})
        return [id_ async for page in pages for id_ in page.ids]
    return [record.id for record in await listing.collect()]


@contextmanager
def warnings_noted():
    """Collect the package's warnings in a list."""
    texts, logger = [], logging.getLogger("cekat_async")
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: texts.append(record.getMessage())
    logger.addHandler(handler)
    try:
        yield texts
    finally:
        logger.removeHandler(handler)


ways = st.sampled_from(["records", "raw", "segments", "tracked"])
times = st.none() | st.integers(-DAY, 11 * DAY)


@st.composite
def ranges(draw):
    """Draw the bounds of a range in milliseconds. One of them may be None."""
    since, until = draw(times), draw(times)
    if since is not None and until is not None:
        since, until = sorted([since, until + (since == until)])
    return since, until


def build_rows(n, seed, lag, ties, quiet=0.1, days=10):
    return make_rows(n, Random(seed), lag=lag, ties=ties, quiet=quiet, days=days)


accounts = st.builds(
    build_rows,
    st.sampled_from([0, 1, 9, 10, 11, 60, 150]),
    st.integers(0, 2**32),
    st.sampled_from([0, HOUR, 20 * HOUR]),
    st.sampled_from([1, 1, 4, 25]),
)


@settings(max_examples=120 * EFFORT)
@given(
    rows=accounts,
    bounds=ranges(),
    order=st.sampled_from(["activity"] * 3 + ["ascending"]),
    zone=st.sampled_from([0, 0, 0, 7, 14]),
    shows_zone=st.booleans(),
    digits=st.sampled_from([3, 3, 0, 6]),
    made_up=st.sampled_from(["honour"] * 4 + ["ignore", "reject", "empty", "by_id", "later"]),
    size=st.sampled_from([1, 3, 10, 40]),
    way=ways,
)
def test_no_record_of_the_range_is_missed(rows, bounds, way, size, **options):
    """No record is missed, whatever the order, ties, zone, digits, page size or cursors are.

    A listing in descending order of activity is never doubted.
    """
    server = ActivityServer(rows, **options)

    with warnings_noted() as warnings:
        found = run_virtual(read_ids(server, *bounds, way=way, size=size))

    wanted = {row.id for row in rows if in_range(row.active, *bounds)}
    assert wanted <= {*found}
    assert way == "tracked" or len(found) == len({*found})
    is_doubted = any("cannot shorten" in text for text in warnings)
    assert not is_doubted or server.order == "ascending"


@settings(max_examples=60 * EFFORT)
@given(
    rows=accounts,
    bounds=ranges(),
    made_up=st.sampled_from(["honour", "ignore", "reject", "by_id"]),
    way=st.sampled_from(["records", "raw"]),
)
def test_at_most_a_page_of_others_at_each_end(rows, bounds, made_up, way):
    """No page after the one that reaches ``since`` is yielded.

    Conversations after ``until`` can only be on the first page of the range.
    """
    server = ActivityServer(rows, made_up=made_up)

    found = run_virtual(read_ids(server, *bounds, way=way))

    active = [server.rows[id_].active for id_ in found]
    since, until = bounds
    assert since is None or sum(time < since for time in active) < 2 * SIZE
    shown = [max(server.rows[id_].created, server.rows[id_].message or -DAY * 99) for id_ in found]
    assert until is None or all(time <= until for time in shown)


@settings(max_examples=60 * EFFORT)
@given(
    n=st.sampled_from([1, 11, 60, 150]),
    seed=st.integers(0, 2**32),
    bounds=ranges(),
    order=st.sampled_from(["created", "random", "shuffled"]),
    made_up=st.sampled_from(["honour", "ignore", "reject"]),
    way=ways,
)
def test_a_listing_that_is_not_in_order_of_activity(n, seed, bounds, order, made_up, way):
    """If a page contradicts the order, each conversation with a timestamp in the range is found."""
    rows = build_rows(n, seed, HOUR, 1, quiet=0)
    for row in rows:
        row.created -= Random(row.id).randrange(5 * DAY)
    server = ActivityServer(rows, order=order, made_up=made_up)

    with warnings_noted() as warnings:
        found = {*run_virtual(read_ids(server, *bounds, way=way))}

    shown = {row.id for row in rows if any(in_range(t, *bounds) for t in row.shown_times())}
    if any("cannot shorten" in text or "not in time order" in text for text in warnings):
        assert shown <= found


def test_a_conversation_without_timestamps_is_kept_when_the_bounds_are_lifted():
    """The conversation is kept because it may be in the range."""
    rows = build_rows(40, 1, HOUR, 1, quiet=0)
    rows[7].created = rows[7].message = None
    server = ActivityServer(rows, unreadable=True)

    found = run_virtual(read_ids(server, 20 * DAY, None))

    assert found == [rows[7].id]


@settings(max_examples=40 * EFFORT)
@given(
    seed=st.integers(0, 2**32),
    since=st.none() | st.integers(0, DAY),
    until=st.none() | st.integers(DAY + 1, 3 * DAY),
    zone=st.sampled_from([-4, -8, -12]),
    way=ways,
)
def test_cursors_in_a_zone_behind_utc(seed, since, until, zone, way):
    """The cursors seem too old, but most records contradict them. No record is missed."""
    rows = build_rows(300, seed, 0, 1, quiet=0, days=2)
    for row in rows[::4]:
        row.message, row.created = None, row.created - 40 * DAY
    server = ActivityServer(rows, zone=zone)

    found = run_virtual(read_ids(server, since, until, way=way))

    assert {row.id for row in rows if in_range(row.active, since, until)} <= {*found}


@pytest.mark.parametrize("way", ["records", "raw", "segments", "tracked"])
def test_cursors_in_a_zone_ahead_of_utc_cost_few_requests(way):
    """The walk begins at a place that is early enough according to the records.

    It reads little before the range.
    """
    rows = build_rows(2000, 1, HOUR, 1)
    server = ActivityServer(rows, zone=7)

    found = run_virtual(read_ids(server, 2 * DAY, 3 * DAY, way=way))

    wanted = {row.id for row in rows if in_range(row.active, 2 * DAY, 3 * DAY)}
    assert wanted <= {*found}
    # Seven hours of 200 conversations a day are six pages.
    assert len(server.requests) <= len(wanted) / SIZE + 12
    assert len({*found} - wanted) <= 8 * SIZE


@pytest.mark.parametrize("way", ["records", "raw", "segments", "tracked"])
@pytest.mark.parametrize("until", [None, 5 * DAY])
def test_cursors_that_are_no_times(way, until, caplog):
    """The listing is read to its end with one warning. Each record's own times decide."""
    rows = build_rows(90, 3, HOUR, 1, quiet=0)
    server = ActivityServer(rows, unreadable=True)

    found = run_virtual(read_ids(server, 4 * DAY, until, way=way))

    shown = {row.id for row in rows if any(in_range(t, 4 * DAY, until) for t in row.shown_times())}
    assert shown == {*found}
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("order", ["activity", "ascending", "created"])
@pytest.mark.parametrize("way", ["records", "raw", "segments", "tracked"])
def test_a_walk_that_cannot_be_shortened_says_so_once(order, way, caplog):
    """One warning says that the whole listing is read. Other walks have no warning."""
    rows = build_rows(200, 3, HOUR, 1, quiet=0)
    server = ActivityServer(rows, order=order)

    run_virtual(read_ids(server, 9 * DAY, None, way=way))

    assert len(caplog.messages) == (order != "activity")
    assert (len(server.requests) < 10) is (order == "activity")


@pytest.mark.parametrize("way", ["records", "raw", "segments", "tracked"])
@pytest.mark.parametrize("zone", [0, 7])
def test_ties_at_both_ends(way, zone):
    """Conversations whose activity equals a bound are all found."""
    rows = [Row(f"{n:04}", DAY * (n // 35), DAY * (n // 35) - MINUTE) for n in range(350)]
    server = ActivityServer(rows, zone=zone, shows_zone=bool(zone))

    found = run_virtual(read_ids(server, 3 * DAY, 5 * DAY, way=way))

    assert {row.id for row in rows if 3 * DAY <= row.active <= 5 * DAY} <= {*found}
    assert len(found) <= 3 * 35 + 2 * SIZE


@settings(max_examples=40 * EFFORT)
@given(
    seed=st.integers(0, 2**32),
    bounds=ranges(),
    way=ways,
    every=st.sampled_from([1, 2, 5]),
    made_up=st.sampled_from(["honour", "ignore"]),
)
def test_conversations_that_move_during_a_walk(seed, bounds, way, every, made_up):
    """Conversations that do not move are found.

    Segments and tracked pages miss no conversation at all.
    """
    random = Random(seed)
    rows = build_rows(120, seed, HOUR, 1)
    before = {row.id: row.active for row in rows}
    moved, now = set(), [11 * DAY]

    def move():
        if random.randrange(every) == 0:
            now[0] += random.randrange(1, 5 * MINUTE)
            row = random.choice(rows)
            row.active = row.message = now[0]
            moved.add(row.id)

    server = ActivityServer(rows, every=move, made_up=made_up)

    found = {*run_virtual(read_ids(server, *bounds, way=way))}

    wanted = {id_ for id_, active in before.items() if in_range(active, *bounds)}
    if bounds[1] is not None or way in {"records", "raw"}:
        wanted -= moved
    assert wanted <= found


def contradict(rows, bounds, random):
    """Give one conversation of a range a message that is later than its place in the listing."""
    inside = [row for row in rows if in_range(row.active, *bounds)]
    if inside:
        row = random.choice(inside)
        row.message = row.active + 12 * DAY
    return rows


@settings(max_examples=60 * EFFORT)
@given(
    seed=st.integers(0, 2**32),
    bounds=ranges(),
    made_up=st.sampled_from(["honour", "honour", "ignore"]),
    zone=st.sampled_from([0, 0, 7]),
    way=ways,
)
def test_a_conversation_that_contradicts_the_order_late(seed, bounds, made_up, zone, way):
    """The walk reads again what it dropped, and keeps everything that may be in the range."""
    rows = contradict(build_rows(150, seed, HOUR, 1), bounds, Random(seed))
    server = ActivityServer(rows, made_up=made_up, zone=zone)

    with warnings_noted() as warnings:
        found = run_virtual(read_ids(server, *bounds, way=way))

    late = {row.id for row in rows if row.message and row.message > row.active}
    assert {row.id for row in rows if in_range(row.active, *bounds)} - late <= {*found}
    if any("cannot shorten" in text for text in warnings):
        shown = {row.id for row in rows if any(in_range(t, *bounds) for t in row.shown_times())}
        assert shown <= {*found}
    assert way == "tracked" or len(found) == len({*found})


@settings(max_examples=80 * EFFORT)
@given(
    seed=st.integers(0, 2**32),
    bounds=ranges(),
    kind=st.sampled_from(["activity", "ahead", "created", "ascending", "contradicted"]),
    stops=st.lists(st.integers(1, 6), max_size=12),
    segments=st.sampled_from([1, 3]),
)
def test_a_tracked_walk_that_is_stopped_again_and_again(seed, bounds, kind, stops, segments):
    """A walk that is resumed repeatedly finds the same as a walk that is never stopped."""
    rows = build_rows(150, seed, HOUR, 1, quiet=0)
    if kind == "contradicted":
        contradict(rows, bounds, Random(seed))
    order = kind if kind in {"created", "ascending"} else "activity"
    server = ActivityServer(rows, order=order, zone=7 * (kind == "ahead"))
    found, positions = set(), {}

    async def run(most):
        listing = server.open().list(page_size=SIZE, segments=segments, **as_moments(*bounds))
        async with aclosing(listing.tracked_pages(positions)) as pages:
            async for page in pages:
                found.update(page.ids)
                positions[None] = Position.from_bytes(page.position.to_bytes()).again()
                most -= 1
                if not most:
                    return

    with warnings_noted() as warnings:
        for stop in [*stops, 10**9]:
            run_virtual(run(stop))

    active = {row.id for row in rows if in_range(row.active, *bounds)}
    shown = {row.id for row in rows if any(in_range(t, *bounds) for t in row.shown_times())}
    if any("cannot shorten" in text for text in warnings):
        assert shown <= found
    late = {row.id for row in rows if row.message > row.active}
    assert active & (shown if kind == "created" else active) - late <= found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("zone", [7, -7])
def test_a_contradiction_hides_the_zone_of_cursors(seed, zone):
    """The page is kept if its cursors may be in the range in any zone."""
    rows = build_rows(300, seed, HOUR, 1, quiet=0.5)
    contradict(rows, (8 * DAY, 9 * DAY), Random(seed))
    server = ActivityServer(rows, zone=zone)

    found = run_virtual(read_ids(server, 2 * DAY, 4 * DAY))

    assert {row.id for row in rows if 2 * DAY <= row.active <= 4 * DAY} <= {*found}


@pytest.mark.parametrize("seed", range(5))
def test_segments_whose_cursors_lead_a_little_further_ahead(seed):
    """The first page of a segment may be from another place, which does not show another order."""
    server = ActivityServer(build_rows(1000, seed, HOUR, 1), made_up="later")

    with warnings_noted() as warnings:
        found = run_virtual(read_ids(server, 2 * DAY, None, way="segments"))

    assert {row.id for row in server.full_walk() if row.active >= 2 * DAY} <= {*found}
    assert not warnings
    assert len(server.requests) < 110


@pytest.mark.parametrize("place", range(0, 200, 7))
@pytest.mark.parametrize("bounds", [(3 * DAY, None), (3 * DAY, 9 * DAY)])
def test_a_contradiction_while_segments_are_read(place, bounds):
    """The walk reads everything that the segments have dropped so far."""
    rows = sorted(build_rows(300, 2, HOUR, 1, quiet=0), key=lambda row: -row.active)
    rows[place].message = rows[place].active + 12 * DAY
    rows[-1].resolved = 4 * DAY
    server = ActivityServer(rows)

    with warnings_noted() as warnings:
        found = run_virtual(read_ids(server, *bounds, way="segments"))

    shown = {row.id for row in rows if any(in_range(t, *bounds) for t in row.shown_times())}
    if warnings:
        assert shown <= {*found}


@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_a_contradiction_after_a_tracked_walk_was_resumed(stop, caplog):
    """The walk reads what it dropped before it was stopped, and warns once."""
    rows = sorted(build_rows(300, 2, HOUR, 1, quiet=0), key=lambda row: -row.active)
    inside = [row for row in rows if 3 * DAY <= row.active <= 6 * DAY]
    inside[-12].message = 20 * DAY
    rows[0].created = 4 * DAY
    server, found, positions = ActivityServer(rows), set(), {}

    async def run(most):
        listing = server.open().list(page_size=SIZE, **as_moments(3 * DAY, 6 * DAY))
        async with aclosing(listing.tracked_pages(positions)) as pages:
            async for page in pages:
                found.update(page.ids)
                positions[None] = page.position.again()
                most -= 1
                if not most:
                    return

    for most in (stop, 9, 9, 10**9):
        run_virtual(run(most))

    shown = [t for row in rows for t in row.shown_times() if 3 * DAY <= t <= 6 * DAY]
    assert {row.id for row in rows if {*shown} & {*row.shown_times()}} <= found
    assert len(caplog.messages) == 1


def test_a_finished_walk_of_the_past_is_not_read_again():
    """If a finished walk is resumed, it sends nothing: moved conversations have left the range."""
    server = ActivityServer(build_rows(300, 1, HOUR, 1))
    positions = {}

    async def run():
        listing = server.open().list(page_size=SIZE, **as_moments(2 * DAY, 3 * DAY))
        async for page in listing.tracked_pages(positions):
            positions[None] = page.position.again()

    run_virtual(run())
    before = len(server.requests)
    run_virtual(run())

    assert len(server.requests) == before < 15


@pytest.mark.parametrize("order", ["created", "random", "shuffled"])
@pytest.mark.parametrize("bounds", [(8 * DAY, None), (None, 2 * DAY), (4 * DAY, 5 * DAY)])
@pytest.mark.parametrize("way", ["records", "raw", "segments", "tracked"])
def test_all_that_may_be_in_the_range_of_a_large_listing_in_another_order(order, bounds, way):
    """Each conversation with a timestamp in the range is found."""
    rows = build_rows(300, 5, HOUR, 1, quiet=0)
    for row in rows:
        row.resolved = Random(row.id).choice([None, row.active])
    server = ActivityServer(rows, order=order)

    found = run_virtual(read_ids(server, *bounds, way=way))

    shown = {row.id for row in rows if any(in_range(t, *bounds) for t in row.shown_times())}
    assert shown <= {*found}


@pytest.mark.parametrize("n", [9, 10, 15])
@pytest.mark.parametrize("order", ["activity", "ascending"])
@pytest.mark.parametrize("bounds", [(6 * DAY, None), (None, 6 * DAY), (12 * DAY, 13 * DAY)])
@pytest.mark.parametrize("way", ["records", "raw", "segments", "tracked"])
def test_a_listing_too_short_to_show_its_order(n, order, bounds, way):
    """If there are only one or two pages of vague timestamps, no conversation is dropped."""
    rows = [Row(f"{day:02}", day * DAY, -99 * DAY) for day in range(n)]
    rows[n // 2].message = rows[n // 2].active
    server = ActivityServer(rows, order=order)

    found = run_virtual(read_ids(server, *bounds, way=way))

    assert {row.id for row in rows if in_range(row.active, *bounds)} <= {*found}


# --- the bounds alone


def page_times(*records, before, after):
    """Return the times of a page, all in hours after the epoch."""

    def cursor(hours):
        if hours is None:
            return None
        return Cursor("id", moment(hours * HOUR).replace(tzinfo=None).isoformat())

    times = [
        RecordTimes(*(None if time is None else moment(time * HOUR) for time in record))
        for record in records
    ]
    return PageTimes(times, cursor(before), cursor(after))


def make_bounds(*pages, since=None, until=None):
    """Return the bounds after some pages, in hours, and their warnings."""
    bounds = TimeBounds(
        None if since is None else moment(since * HOUR),
        None if until is None else moment(until * HOUR),
    )
    return bounds, [warning for page in pages if (warning := bounds.note(page))]


FRONT = page_times((80, None, 95), (70, None, 90.1), before=None, after=91)


def test_a_walk_ends_when_its_order_has_been_checked():
    """The check needs the cursors of two pages, and records that were compared with one of them."""
    second = page_times((60, None, 85), before=91, after=88)
    bounds, warnings = make_bounds(FRONT, since=92)
    assert not bounds.ends_after(FRONT)

    assert bounds.note(second) is None
    assert bounds.ends_after(second)
    assert not make_bounds(FRONT, second, since=88)[0].ends_after(second)
    assert not warnings


@pytest.mark.parametrize(
    "front, second, why",
    [
        (FRONT, page_times(before=91, after=88), "no record was compared"),
        (FRONT, page_times((None, None, None), before=91, after=88), "no record has a timestamp"),
        (FRONT, page_times((60, None, 85), before=91, after=91), "the cursors have one timestamp"),
        (FRONT, page_times((60, None, 85), before=91, after=None), "there is nothing more"),
        (
            page_times((91, None, 95), before=None, after=91),
            page_times((88, None, 89), before=91, after=88),
            "the cursors are times of creation",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_walk_does_not_end_before(front, second, why):
    """The walk continues while the order is uncertain."""
    bounds, warnings = make_bounds(front, second, since=92)

    assert not bounds.ends_after(second), why
    assert not warnings


@pytest.mark.parametrize(
    "second, reason",
    [
        (page_times((60, None, 91.1), before=91, after=88), "later than the cursor before"),
        (page_times((60, None, 85), before=91, after=92), "the oldest conversations are first"),
    ],
)
def test_a_page_that_contradicts_the_order(second, reason):
    """Such a page lifts the bounds, and one warning has the reason."""
    bounds, warnings = make_bounds(FRONT, second, second, since=92)

    assert bounds.is_lifted
    assert not bounds.ends_after(second)
    assert len(warnings) == 1
    assert reason in warnings[0]


def test_cursors_that_turn_round():
    """A listing whose cursors go back and then forward in time has no order."""
    pages = [
        FRONT,
        page_times((60, None, 85), before=91, after=88),
        page_times((60, None, 85), before=88, after=89),
    ]

    bounds, warnings = make_bounds(*pages, since=50)

    assert bounds.is_lifted
    assert "not in order of time" in warnings[0]
    assert bounds.select(page_times((1, None, 2), (60, None, 85), before=70, after=60)) == [
        False,
        True,
    ]


def test_a_second_does_not_contradict_the_order():
    """The clocks of two of the server's machines may differ by a second."""
    second = page_times((60, None, 91 + 1 / 3600), before=91, after=88)

    assert not make_bounds(FRONT, second, since=92)[0].is_lifted


def test_the_first_page_does_not_show_its_order():
    """The first cursor may be the latest or the earliest time.

    So only records that are surely later are dropped.
    """
    front = page_times((10, None, 20), (11, None, 60), (11, None, 12), before=None, after=91)
    bounds, _ = make_bounds(front, until=50)

    assert bounds.select(front) == [True, False, True]
    assert bounds.has_skipped

    second = page_times((10, None, 20), (11, None, 60), (11, None, 12), before=91, after=40)
    bounds.note(second)
    assert bounds.select(second) == [False, False, True]


def test_a_timestamp_that_is_cut_off():
    """A cursor of whole seconds may be up to a second earlier than the real time."""
    second = page_times((60, None, 85), before=91, after=88)

    bounds, _ = make_bounds(FRONT, second, since=91 + 0.5 / 3600)

    assert bounds.select(second) == [True]
    assert bounds.ends_after(second)


async def read_created(rows, since, zone=0, **options):
    """Return the ids found in a listing that is sorted by creation."""
    server = ActivityServer(rows, order="created", zone=zone)
    listing = server.open().list(page_size=10, since=moment(since), **options)
    return {conversation.id async for conversation in listing}


@pytest.mark.parametrize("options", [{}, {"segments": 3}])
def test_a_page_before_the_contradiction_keeps_what_was_in_the_range(options):
    """The third page shows that a listing is sorted by creation. Its second page had a match."""
    rows = [
        Row(f"{n:03}", active=0, created=240 * HOUR - n * HOUR, message=(240 - n) * HOUR + MINUTE)
        for n in range(60)
    ]
    rows[15].resolved = 240 * HOUR - 5 * MINUTE
    rows[25].message = 240 * HOUR - 5 * MINUTE  # later than the cursor that led to its page

    assert {"015", "025"} <= run_virtual(read_created(rows, 238 * HOUR, **options))


@pytest.mark.parametrize("zone", [0, 7])
def test_a_listing_by_creation_in_local_time(zone):
    """The cursors are the creation times in any zone, and the walk reads to the end."""
    rows = [
        Row(f"{n:03}", active=0, created=(240 - n) * HOUR, message=(240 - n) * HOUR + 20 * MINUTE)
        for n in range(100)
    ]
    rows[55].message = 238 * HOUR

    assert "055" in run_virtual(read_created(rows, 230 * HOUR, zone))


def test_a_record_without_timestamps_cannot_contradict_the_order():
    """The record is kept on pages that are read only to check the order."""
    second = page_times((None, None, None), (60, None, 85), before=91, after=88)

    bounds, _ = make_bounds(FRONT, second, since=92)

    assert bounds.select(second) == [True, False]


@pytest.mark.parametrize("gap", [15 * MINUTE, HOUR, 2 * HOUR, DAY])
def test_conversations_that_were_created_a_round_time_before(gap):
    """A round difference alone does not show that a listing is by creation in another zone."""
    rows = [Row(f"{n:03}", n * HOUR, n * HOUR - gap, n * HOUR) for n in range(500)]
    server = ActivityServer(rows)

    found = run_virtual(read_ids(server, 470 * HOUR, None))

    assert {row.id for row in rows[470:]} <= {*found}
    assert len(server.requests) <= 4
