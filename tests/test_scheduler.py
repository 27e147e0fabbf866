"""The pace: when the next request may go out, and what it learns from what becomes of each."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cekat_async import RateLimit
from cekat_async._ratelimit.headers import QuotaStatement
from cekat_async._ratelimit.scheduler import Scheduler, is_long
from cekat_async._ratelimit.sent_log import Permit
from cekat_async._ratelimit.turn import Slot, Terms
from cekat_async._ratelimit.unlimited import Unlimited

DAY = 86_400.0


def make_scheduler(requests: int | None = None, **more: object) -> Scheduler:
    return Scheduler(RateLimit(requests, **more))


def left(
    limit: int | None, remaining: int | None, reset: float | None = 60.0, per: float | None = None
) -> list[QuotaStatement]:
    """Return what a reply says of one quota."""
    return [QuotaStatement(limit, remaining, reset, per)]


def go(pace: Scheduler, now: float) -> Permit:
    """Let a request go out, whose turn has come."""
    turn = pace.next(now)
    assert turn.at <= now
    return pace.take(turn, now)


def call(
    pace: Scheduler,
    now: float,
    said: list[QuotaStatement] | None = None,
    *,
    trip: float = 0.0,
    refused: bool = False,
) -> Permit:
    """Send a request and settle it by its reply."""
    permit = go(pace, now)
    pace.answered(permit, said or [], now + trip, refused=refused)
    return permit


def free(pace: Scheduler, now: float) -> int:
    """Take all that goes as soon as it is wanted; return how many those are."""
    taken = 0
    while (turn := pace.next(now)).at <= now and not turn.paced:
        pace.take(turn, now)
        taken += 1
    return taken


def beside_others(limit: int = 300, remaining: int = 0, reset: float = 31.0) -> Scheduler:
    """Return a pace whose first request, at 0, was told that others took most of the window."""
    pace = make_scheduler()
    call(pace, 0.0, left(limit, remaining, reset))
    return pace


def due(pace: Scheduler, now: float) -> float:
    """Return when the next request may go, if nothing happens until then."""
    for _ in range(100):
        if (at := pace.next(now).at) <= now:
            return now
        now = at
    raise AssertionError("it stopped for good")


def until_found_out(pace: Scheduler, now: float) -> float:
    """Say "nothing left" with each grant, until that is ignored; return when it was."""
    for _ in range(20):
        now = due(pace, now)
        call(pace, now, left(300, 0))
        if pace.remaining(now) is None:
            return now
    raise AssertionError("it is believed for ever")


def refuse(pace: Scheduler, now: float, said: list[QuotaStatement] | None = None) -> None:
    """Send a request, and refuse it."""
    call(pace, now, said, refused=True)


# --- what it begins with


def test_it_begins_with_what_is_documented_or_configured():
    """300 requests in 60 seconds, or what is set; nothing is used, nothing said."""
    pace = make_scheduler()

    assert pace.terms == Terms(300, 60.0, "documented")
    assert make_scheduler(7, per=2.0).terms == Terms(7, 2.0, "configured")
    assert (pace.whole_limit, pace.under_way, pace.refused, pace.used(0.0)) == (300, 0, 0, 0)
    assert pace.remaining(0.0) is None
    assert pace.earned(1e9) == 0.0


@pytest.mark.parametrize("limit, few", [(300, 10), (60, 2), (30, 1), (29, 0), (1, 0)])
def test_only_a_few_go_at_once_before_the_server_spoke(limit, few):
    """One in thirty; then they take their places in an even pace, that the limit bounds."""
    pace = make_scheduler(limit)

    assert free(pace, 5.0) == few
    for _ in range(limit - few):
        turn = pace.next(5.0)
        assert turn == Slot(-math.inf, paced=True)
        pace.take(turn, 5.0)
    assert pace.next(5.0) == Slot(math.inf)
    assert pace.used(5.0) == pace.under_way == limit


def test_without_headers_nothing_more_goes_at_once():
    """Once a reply came that says nothing, the pace is even; after a period of rest, a few more."""
    pace = make_scheduler()
    call(pace, 0.0)

    assert free(pace, 1.0) == 0
    assert free(pace, 59.9) == 0
    assert free(pace, 60.0) == 10


def test_without_headers_what_is_left_lasts_until_the_first_place_comes_free():
    """Who used most of it at once goes on slower, and not in bursts."""
    pace = make_scheduler(10)
    for permit in [go(pace, 0.0) for _ in range(8)]:
        pace.answered(permit, [], 0.0, refused=False)

    for at in (20.0, 40.0):
        assert pace.next(0.0).at == pytest.approx(at)
        call(pace, at)
    assert pace.next(40.0) == Slot(60.0)


def test_half_of_the_quickest_exchange_is_gained_each_period():
    """The ledger learns from each reply how long an exchange took."""
    pace = make_scheduler(1)
    call(pace, 0.0, trip=1.0)

    assert pace.next(1.0).at == 60.5


# --- what is free at once


@pytest.mark.parametrize("limit, reserve", [(300, 15), (100, 5), (19, 0)])
def test_what_the_server_says_is_left_goes_at_once_down_to_a_twentieth(limit, reserve):
    """As soon as it is wanted; what is under way by now is not left any more."""
    pace = make_scheduler()
    call(pace, 0.0, left(limit, limit - 1))

    assert free(pace, 0.0) == limit - 1 - reserve
    assert pace.next(0.0) == (Slot(60 / (reserve + 1), room=reserve) if reserve else Slot(60.0))


def test_a_turn_and_its_permit_tell_the_room_there_was():
    """By the server's newest word, less what is under way; infinite while it has said nothing."""
    pace = make_scheduler()
    assert call(pace, 0.0, left(300, 100, 10.0)).room == math.inf

    pace = make_scheduler()
    call(pace, 0.0, left(300, 299))
    permits = [go(pace, 0.0) for _ in range(3)]

    assert [permit.room for permit in permits] == [299, 298, 297]
    assert [permit.sent for permit in permits] == [0.0] * 3


def test_a_permit_tells_what_stands_in_no_window_any_more():
    """Of what went out before: neither itself, nor what is in the window with it."""
    pace = make_scheduler()
    assert call(pace, 0.0).before == 0
    assert call(pace, 1.0).before == 0
    assert call(pace, 60.5).before == 1
    assert call(pace, 500.0).before == 3


def test_credit_is_regained_by_rest_and_by_nothing_else():
    """One may use at once what was not wanted before, and no more than a limit's worth."""
    pace = make_scheduler()
    boast = left(40, 40)
    call(pace, 0.0, boast)
    pace._credit = 0.0  # used up, in whichever way

    # Waiting for a turn is no rest.
    assert free(pace, 200.0) == 0
    call(pace, 200.0, boast)
    assert free(pace, 200.0) == 0

    pace.rest(200.0)
    call(pace, 230.0, boast)
    assert free(pace, 230.0) == 20
    for _ in range(20):
        pace.lost(230.0, sent=False)

    pace.rest(230.0)
    call(pace, 100_000.0, boast)
    assert pace._credit == 40.0


def test_what_goes_in_an_even_pace_costs_no_credit():
    """Each that goes at once costs one; the limit's worth is there in the beginning."""
    pace = make_scheduler(60)
    for _ in range(3):
        go(pace, 0.0)

    assert pace._credit == 58.0


def test_after_a_refusal_nothing_goes_at_once():
    """They come back one by one, whatever is said to be left."""
    pace = make_scheduler()
    call(pace, 0.0, left(300, 299))
    assert not pace.next(0.0).paced

    refuse(pace, 0.0)

    call(pace, 0.0, left(300, 298))
    assert pace.next(0.0).paced
    assert pace.refused == 1


# --- what the server says is left


def test_what_is_left_is_spread_until_the_reset():
    """Evenly, and over by a second before: resets are rounded up. Three are left to others."""
    pace = beside_others(remaining=9)

    for n in range(6):
        turn = pace.next(5.0 * n)
        assert turn.room == 6 - n
        assert turn.at == pytest.approx(30 / 7 * (n + 1))
        call(pace, turn.at, left(300, 8 - n, 31.0 - turn.at))
    # The reserve of the others is theirs until the window ends.
    assert pace.next(26.0) == Slot(pytest.approx(31.0))
    assert pace.next(31.0) == Slot(-math.inf)


def test_what_lasts_anyway_is_not_spread():
    """An even pace is slow enough, if at it, or one per cent ahead of it, all is there to use."""
    pace = beside_others(remaining=100, reset=21.0)
    assert pace.next(0.0) == Slot(0.0, paced=False, room=97)

    # 97 are as many as an even pace, three ahead of it, lets out in 20 seconds.
    pace._credit = 0.0
    assert pace.next(0.0) == Slot(-math.inf, room=97)
    pace = beside_others(remaining=99, reset=21.0)
    pace._credit = 0.0
    assert pace.next(0.0).at == pytest.approx(20 / 97)


def test_a_spent_window_is_waited_out_when_others_are_there():
    """Until its reset; that it is spent is told, for calls that cannot wait as long."""
    pace = beside_others(remaining=0)
    call(pace, 1.0, left(300, 0, 30.0))  # the test of it is no refusal here
    go(pace, 2.0)  # and the next one is under way

    assert pace.next(2.0) == Slot(31.0, spent=True)
    assert pace.remaining(30.9) == 0
    assert pace.remaining(31.0) is None
    assert pace.next(31.0).at <= 31.0


def test_a_window_that_others_left_a_little_of_is_not_spent():
    """The margin may turn out to be free: it waits, and does not say that there is nothing."""
    pace = beside_others(remaining=1)

    assert pace.next(0.0) == Slot(31.0)


def test_a_window_that_we_alone_have_used_is_over_when_the_ledger_says_so():
    """The reset may be said two seconds late; nothing is lost by that."""
    pace = make_scheduler()
    for n in range(10):
        call(pace, 0.0, left(10, 9 - n, 62.0))

    assert pace.next(0.0) == Slot(60.0)
    assert pace.remaining(60.0) == 0
    assert pace.next(60.0).at <= 60.0


def test_others_are_noticed_by_what_is_missing():
    """One more than can be ours may be chance; two more are others, for two periods."""
    pace = make_scheduler()
    call(pace, 0.0, left(300, 298, 200.0))
    assert pace.next(0.0).room == 298

    call(pace, 0.0, left(300, 297, 200.0))
    assert pace.next(0.0).room == 297

    call(pace, 0.0, left(300, 294, 200.0))
    assert pace.next(0.0).room == 294 - 3
    assert pace.next(120.0).room == 294 - 3
    assert pace.next(120.1).room == 294


@pytest.mark.parametrize("limit, margin", [(1000, 10), (300, 3), (100, 1), (60, 1), (10, 1)])
def test_a_hundredth_is_left_to_others(limit, margin):
    """One at least."""
    pace = beside_others(limit, remaining=limit // 2)

    assert pace.next(0.0).room == limit // 2 - margin


def test_of_what_never_was_much_half_is_left_to_others():
    """A small bucket could else never be used."""
    pace = beside_others(300, remaining=4)

    assert pace.next(0.0).room == 2


def test_more_is_left_to_others_when_they_were_faster():
    """One more, then three, up to a sixtieth; and what is said to be left soon grows again."""
    pace = make_scheduler()
    margins = []
    for now in (0.0, 200.0, 400.0, 600.0):
        refuse(pace, now, left(300, 0))
        call(pace, now + 60.0, left(300, 200))
        margins.append(200 - pace.next(now + 60.0).room)

    assert margins == [4, 6, 8, 8]
    assert pace.terms == Terms(300, 60.0, "stated")


# --- streams


def test_the_room_of_a_full_stream_grows_at_the_rate_of_the_limit():
    """Of a full one nothing else can be seen; from when it was said, half-way of the exchange."""
    pace = make_scheduler()
    call(pace, 0.0, left(300, 4, None), trip=1.0)

    assert pace.next(1.0).room == 4 + 2.5
    assert pace.next(2.0).room == 4 + 7.5


def test_the_room_of_a_stream_grows_as_it_did_of_late():
    """As measured: what others take is not counted on."""
    pace = make_scheduler()
    call(pace, 0.0, left(300, 50, None))
    for now in range(1, 10):
        call(pace, now, left(300, 20, None))

    # One a second came back over the short look; over the long one it went down.
    assert pace.next(11.0).room == 20 - 3
    for now in range(11, 90):
        call(pace, now, left(300, 20, None))
    assert pace.next(91.0).room == pytest.approx(20 - 3 + 2)


def test_the_room_of_a_stream_never_grows_faster_than_the_limit():
    """Whatever comes back in a burst."""
    pace = make_scheduler(60)
    for n in range(8):
        call(pace, n, left(60, 2 + 4 * n, None))
    call(pace, 8.0, left(60, 20, None))

    assert pace.next(9.0).room == 20 - 1 + 1
    assert pace.next(10.0).room == 20 - 1 + 2


def test_the_room_of_a_stream_grows_by_our_own_places_that_came_free():
    """Those are certain to be back, however little else is."""
    pace = make_scheduler()
    call(pace, 0.0, left(300, 100, None))
    call(pace, 1.0, left(300, 50, None))
    call(pace, 30.0, left(300, 20, None))

    assert pace.next(59.9).room == 20 - 3
    assert pace.next(60.0).room == 20 - 3 + 1
    assert pace.next(61.0).room == 20 - 3 + 2


def test_an_empty_stream_is_tried_when_one_should_be_back():
    """By the refill of late: ten replies went by, and two places in three seconds came back."""
    pace = make_scheduler()
    for now, permit in enumerate([go(pace, 0.0) for _ in range(10)], 1):
        pace.answered(permit, left(300, 4 if now == 1 else 1, None), now, refused=False)
    # Said at 5, half-way of the exchange: since then three came, and a third of one.
    permits = [go(pace, 10.0) for _ in range(4)]

    assert [permit.room for permit in permits] == pytest.approx([13 / 3, 10 / 3, 7 / 3, 4 / 3])
    assert pace.next(10.0) == Slot(pytest.approx(11.0))


def test_a_drained_stream_is_asked_once_when_all_should_be_back():
    """Not by many at once: the next one waits for the reply, or for a place of our own."""
    pace = make_scheduler()
    for n in range(5):
        call(pace, 3.0 * n, left(40, 30 - n, 20.0))
    refuse(pace, 20.0, left(40, 0, 8.0))

    assert pace.next(20.0) == Slot(28.0)
    assert pace.next(28.0) == Slot(28.0)
    go(pace, 28.0)
    assert pace.next(28.0) == Slot(60.0)


def test_a_small_bucket_is_no_sign_of_others():
    """It never held the limit: what is missing from it is measured against what it ever had."""
    pace = make_scheduler()
    now = 0.0
    for _ in range(12):
        call(pace, now, left(300, 9, 2.0))
        now += 1.0

    assert pace._reports.is_stream
    assert pace.next(now).room == 9 + 5 * 1.0
    # Three less than ever are gone, of which two are ours at most.
    call(pace, now + 60.0, left(300, 9, 2.0))
    call(pace, now + 60.0, left(300, 5, 2.0))
    assert pace.next(now + 60.0).room == 5 - 3


# --- headers that lie


def test_nothing_left_that_is_always_said_is_found_out():
    """Six grants that all left nothing: it is put to the test once a second, and then ignored."""
    pace = make_scheduler()

    assert until_found_out(pace, 0.0) == 5.0
    assert pace.next(6.0) == Slot(-math.inf)
    # For ten periods; whatever it says then.
    call(pace, 604.9, left(300, 0))
    assert pace.next(604.9) == Slot(-math.inf)
    assert pace.remaining(605.0) == 0


def test_who_is_found_out_again_is_ignored_for_twice_as_long():
    """Ten periods, twenty, and so on."""
    pace = make_scheduler()
    assert until_found_out(pace, 0.0) == 5.0
    assert until_found_out(pace, 605.0) == 610.0

    call(pace, 1809.9, left(300, 1))
    assert pace.remaining(1809.9) is None
    assert pace.remaining(1810.0) == 1


def test_one_word_of_more_begins_the_count_anew():
    """Six in a row it takes."""
    pace = make_scheduler()
    for remaining in (0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0):
        now = max(200.0 * pace._ledger.opened, 0.0)
        call(pace, now, left(300, remaining))

    assert pace.remaining(now) == 0


def test_a_test_of_an_honest_word_costs_one_refusal_in_ten_periods():
    """Who is refused for it believes it, for ten periods: then it is put to the test again."""
    pace = make_scheduler()
    call(pace, 0.0, left(300, 0))
    tested: list[float] = []
    now = 0.0
    while now < 1900.0:
        turn = pace.next(now)
        now = max(now, turn.at)
        if turn.room < 1:
            tested.append(now)
        refuse(pace, now, left(300, 0, 60.0 - now % 60.0))

    assert tested == [1.0, 661.0, 1321.0]
    assert pace.terms == Terms(300, 60.0, "stated")


@pytest.mark.parametrize("why", ["under way", "much is ours"])
def test_a_word_that_we_may_have_caused_is_not_put_to_the_test(why):
    """While any request is under way, or more than a tenth of the limit is ours."""
    pace = make_scheduler()
    for n in range(31):
        call(pace, 0.0, left(300, 200 - n))
    if why == "under way":
        pace = make_scheduler()
        permits = [go(pace, 0.0), go(pace, 0.0)]
        pace.answered(permits[0], left(300, 0), 0.0, refused=False)
    else:
        call(pace, 0.0, left(300, 0))

    assert pace.next(0.0).at == 60.0


def test_who_refuses_what_it_says_is_left_loses_its_say():
    """Nothing goes at once for ten periods, and a limit that was only stated is no more."""
    pace = make_scheduler()
    call(pace, 0.0, left(1200, 1199))
    assert pace.terms == Terms(1200, 60.0, "stated")

    refuse(pace, 0.0, left(1200, 1100))
    assert pace.terms == Terms(300, 60.0, "documented")

    pace.rest(0.0)
    for now in (60.0, 599.0):
        call(pace, now, left(1200, 1100))
        assert pace._credit > 100
        assert pace.next(now).paced
    assert not pace.next(600.0).paced
    assert pace.terms == Terms(300, 60.0, "documented")
    call(pace, 1200.0, left(1200, 1100))
    assert pace.terms == Terms(1200, 60.0, "stated")


# --- refusals


def test_a_single_refusal_does_not_lower_the_limit():
    """Others may be to blame, once."""
    pace = make_scheduler()
    refuse(pace, 0.0)
    assert pace.terms == Terms(300, 60.0, "documented")

    refuse(pace, 120.0)
    assert pace.terms == Terms(300, 60.0, "documented")


def test_repeated_refusals_lower_the_limit():
    """To what was granted in a period, the better of the last two; then it climbs again."""
    pace = make_scheduler()
    for permit in [go(pace, 0.0) for _ in range(200)]:
        pace.answered(permit, [], 0.0, refused=False)
    refuse(pace, 20.0)
    assert pace.terms.limit == 300

    for permit in [go(pace, 90.0) for _ in range(20)]:
        pace.answered(permit, [], 90.0, refused=False)
    refuse(pace, 119.9)
    assert pace.terms == Terms(200, 60.0, "refusals")
    assert pace.whole_limit == 200

    assert pace.next(239.8).at <= 239.8
    assert pace.terms.limit == 200
    pace.next(119.9 + 120.0)
    assert pace.terms == Terms(206, 60.0, "refusals")


def test_what_was_under_way_with_a_refused_one_tells_nothing_new():
    """A whole batch that is refused is one refusal, though each is counted."""
    pace = make_scheduler()
    permits = [go(pace, 0.0) for _ in range(9)]
    for permit in permits:
        pace.answered(permit, [], 1.0, refused=True)

    assert pace.refused == 9
    assert pace.terms.limit == 300

    pace.answered(go(pace, 1.5), [], 2.0, refused=True)
    assert pace.terms == Terms(9, 60.0, "refusals")


@pytest.mark.parametrize("remaining", [0, None])
def test_honest_refusals_beside_strangers_never_lower_the_limit(remaining):
    """Who says that nothing is left, and refuses, had others that were faster."""
    pace = beside_others(remaining=20)
    now = 0.0
    for _ in range(30):
        now = max(now + 1.0, pace.next(now + 1.0).at)
        refuse(pace, now, left(300, remaining, 60.0))
        call(pace, now + 60.0, left(300, 5, 60.0))
        now += 60.0

    assert pace.terms == Terms(300, 60.0, "stated")


def test_a_limit_of_one_is_no_lie():
    """Each grant leaves nothing then, in truth, and the word of it counts."""
    pace = make_scheduler()
    now = 0.0
    for _ in range(6):
        now = max(now, pace.next(now).at)
        call(pace, now, left(1, 0))

    assert pace.remaining(now) == 0


# --- several quotas, days, shares


def test_of_several_quotas_the_slowest_sets_the_pace_and_the_scarcest_the_room():
    """A second and a minute, in any order."""
    second, minute = QuotaStatement(10, 9, 1.0, 1.0), QuotaStatement(300, 5, 30.0, 60.0)
    for said in ([second, minute], [minute, second]):
        pace = make_scheduler()
        call(pace, 0.0, said)

        assert pace.terms == Terms(300, 60.0, "stated")
        assert pace.remaining(0.0) == 5

    pace = make_scheduler()
    call(
        pace,
        0.0,
        [
            QuotaStatement(1, 1, 1.0, 1.0),
            QuotaStatement(300, 299, 30.0, 60.0),
            QuotaStatement(None),
        ],
    )
    assert pace.terms == Terms(1, 1.0, "stated")
    assert pace.remaining(0.0) == 1


def test_a_quota_without_a_window_is_compared_by_the_own_one():
    """A limit that does not say for how long is one for as long as is believed."""
    pace = make_scheduler()
    call(pace, 0.0, [QuotaStatement(10, 9, 1.0, 1.0), QuotaStatement(300, 5, 30.0)])
    assert pace.terms == Terms(300, 60.0, "stated")

    pace = make_scheduler()
    call(pace, 0.0, [QuotaStatement(10, 9, 1.0, 1.0), QuotaStatement(remaining=3)])
    assert pace.terms == Terms(10, 1.0, "stated")
    assert pace.remaining(0.0) == 3


def test_what_is_said_of_a_day_sets_no_pace():
    """Neither by its window nor by its reset; a minute beside it does."""
    day, minute = QuotaStatement(1000, 0, 40_000.0, DAY), QuotaStatement(60, 59, 30.0, 60.0)
    pace = make_scheduler()
    call(pace, 0.0, [day])
    assert pace.terms == Terms(300, 60.0, "documented")
    assert pace.remaining(0.0) is None

    call(pace, 0.0, [day, minute])
    assert pace.terms == Terms(60, 60.0, "stated")
    assert pace.remaining(0.0) == 59


@pytest.mark.parametrize(
    "said, long",
    [
        (QuotaStatement(), False),
        (QuotaStatement(1, 1, 3600.0, 3600.0), False),
        (QuotaStatement(1, 1, 3600.1), True),
        (QuotaStatement(1, 1, None, 3600.1), True),
        (QuotaStatement(1, 1, 1.0, DAY), True),
        (QuotaStatement(1, 1, DAY, 60.0), True),
    ],
)
def test_more_than_an_hour_is_long(said, long):
    """By what it says of its window, or of its reset."""
    assert is_long(said) is long


def test_the_own_limit_of_a_day_is_kept():
    """From the replies on, for 24 hours; that it is spent is told."""
    pace = make_scheduler(per_day=3)
    call(pace, 0.0, trip=1.0)
    call(pace, 10.0)
    lost = go(pace, 20.0)
    assert lost
    assert pace.next(20.0) == Slot(1.0 + DAY, spent=True)

    pace.lost(21.0, sent=False)
    call(pace, 30.0)
    assert pace.next(1000.0) == Slot(1.0 + DAY, spent=True)
    assert pace.next(DAY + 1.0).at <= DAY + 1.0


def test_a_day_that_is_all_under_way_waits_for_a_reply():
    """Whichever comes back as never sent makes room."""
    pace = make_scheduler(per_day=1)
    go(pace, 0.0)

    assert pace.next(0.0) == Slot(math.inf, spent=True)
    pace.lost(1.0, sent=False)
    assert pace.next(1.0).at <= 1.0


def test_a_lost_request_counts_unless_it_was_never_sent():
    """For a whole period from when it was given up."""
    pace = make_scheduler(2)
    go(pace, 0.0)
    go(pace, 0.0)
    pace.lost(5.0, sent=True)
    pace.lost(5.0, sent=False)
    assert pace.under_way == 0
    assert pace.used(64.9) == 1
    assert pace.used(65.0) == 0


def test_what_could_have_been_sent_is_earned_from_the_first_one_on():
    """At the terms of each time."""
    pace = make_scheduler()
    call(pace, 100.0)
    assert pace.earned(100.0) == 0.0
    assert pace.earned(110.0) == 50.0
    assert pace.earned(105.0) == 50.0

    call(pace, 120.0, left(60, 59))
    assert pace.earned(120.0) == 100.0
    assert pace.earned(130.0) == 110.0


def test_a_share_of_the_limit_is_kept_to():
    """The whole is told besides, and one request is always left."""
    pace = make_scheduler()
    pace.keep_to_share(0.5, 0.0)
    assert pace.terms == Terms(150, 60.0, "documented")
    assert pace.whole_limit == 300

    call(pace, 0.0, left(61, 60))
    assert pace.terms == Terms(30, 60.0, "stated")
    pace.keep_to_share(0.0, 1.0)
    assert pace.terms == Terms(1, 60.0, "stated")
    assert pace.next(1.0) == Slot(60.0)
    pace.keep_to_share(1.0, 2.0)
    assert pace.terms == Terms(61, 60.0, "stated")


# --- no pace at all


def test_without_a_pace_each_goes_as_soon_as_it_is_wanted():
    """Only what is under way and what was refused is counted."""
    pace = Unlimited()
    permits = [pace.take(pace.next(float(now)), float(now)) for now in range(3)]
    assert [permit.sent for permit in permits] == [0.0, 1.0, 2.0]
    assert pace.next(7.0) == Slot(7.0, paced=False)
    assert pace.under_way == 3

    pace.answered(permits[0], left(1, 0), 3.0, refused=True)
    pace.answered(permits[1], left(1, 0), 3.0, refused=False)
    pace.lost(3.0, sent=True)
    pace.rest(3.0)

    assert (pace.under_way, pace.refused) == (0, 1)
    assert pace.terms == Terms(0, 0.0, "unpaced")
    assert pace.next(7.0) == Slot(7.0, paced=False)
    assert pace.used(7.0) == 0
    assert pace.remaining(7.0) is None
    assert pace.earned(7.0) == math.inf


# --- whatever happens


# A clock is always a little late: when it hits a turn to the last bit, rounding decides.
LATE = 1e-7


class Sent:
    """A request, and when it was sent and settled."""

    def __init__(self, permit: Permit) -> None:
        self.permit, self.sent, self.settled = permit, permit.sent, math.inf


class Driver:
    """Takes every turn that comes, and checks after each that no window holds too much.

    What the pace keeps to may change at any time: a window may hold as many as the largest limit
    that was in force while its requests were on their way. Where the length of windows changes,
    only those are looked at that lie behind the change.

    Args:
        pace: what is driven.
        slack: the part of a window that may be missing, for exchanges quicker than is deducted.
    """

    def __init__(self, pace: Scheduler, slack: float) -> None:
        self.pace, self.slack = pace, slack
        self.now = 0.0
        self.under_way: list[Sent] = []
        self.done: list[Sent] = []
        self.resets = 0.0
        self.first_look = 0.0
        self.limits: list[tuple[float, int]] = [(0.0, pace.terms.limit)]
        self.per = pace.terms.per

    def look(self) -> None:
        """Write down what the pace keeps to from now on."""
        terms = self.pace.terms
        assert terms.limit >= 1
        if terms.per != self.per:
            self.per, self.first_look = terms.per, self.now
            self.limits = []
        if not self.limits or self.limits[-1][1] != terms.limit:
            self.limits.append((self.now, terms.limit))

    def next(self) -> Slot:
        turn = self.pace.next(self.now)
        self.look()
        assert not math.isnan(turn.at)
        assert not math.isnan(turn.room)
        return turn

    def take(self, most: int) -> None:
        """Take what is due."""
        for _ in range(most):
            if (turn := self.next()).at > self.now:
                return
            self.under_way.append(Sent(self.pace.take(turn, self.now)))
            self.check([one.sent for one in (*self.done, *self.under_way)])

    def pass_time(self, duration: float) -> None:
        self.now += duration + LATE

    def leap(self, most: int) -> None:
        """Let time pass until the next turn, if nothing else happens, and take it."""
        turn = self.next()
        if self.now < turn.at < math.inf:
            self.pass_time(turn.at - self.now)
        self.take(most)

    def settle(
        self, place: int, said: list[QuotaStatement], fate: str, *, least: float = 0.0
    ) -> None:
        """Let a request end."""
        if not self.under_way:
            return
        one = self.under_way.pop(place % len(self.under_way))
        self.now = max(self.now, one.sent + least)
        one.settled = self.now
        if fate in {"lost", "never sent"}:
            self.pace.lost(self.now, sent=fate == "lost")
        else:
            resets = [part.reset or 0.0 for part in said if not is_long(part)]
            self.resets = max(self.resets, *resets, 0.0)
            self.pace.answered(one.permit, said, self.now, refused=fate == "refused")
        self.look()
        if fate != "never sent":
            self.done.append(one)
            self.check([one.settled for one in self.done])

    def check(self, times: list[float]) -> None:
        """Check the window that ends now, of times of departure or of settlement."""
        every = [*self.done, *self.under_way]
        begin = self.now - self.per * (1 - self.slack) + 1e-6
        held = [
            one
            for time, one in zip(times, every, strict=False)
            if time > begin and one.sent >= self.first_look
        ]
        if held:
            since = min(one.sent for one in held)
            assert len(held) <= self.largest_limit(since)

    def largest_limit(self, since: float) -> int:
        ends = [time for time, _ in self.limits[1:]] + [math.inf]
        return max(limit for (_, limit), end in zip(self.limits, ends, strict=True) if end >= since)

    def never_stops(self) -> None:
        """Settle all, refuse nothing, and see that the next turn comes in time, again and again."""
        while self.under_way:
            self.settle(0, [], "answered", least=3.0)
        for _ in range(3):
            longest = max(self.pace.terms.per, self.resets, self.belief_per())
            last = self.now + longest + 2.0
            for _ in range(50):
                if (turn := self.next()).at <= self.now:
                    break
                assert turn.at <= last
                self.pass_time(turn.at - self.now)
            self.take(1)
            assert self.under_way
            self.settle(0, [], "answered", least=3.0)

    def belief_per(self) -> float:
        return self.pace._belief._own_per


FATES = st.sampled_from(["answered", "answered", "answered", "refused", "lost", "never sent"])
COUNTS = st.none() | st.integers(0, 12) | st.integers(0, 999_999_999)
LIMITS = st.none() | st.integers(1, 12) | st.integers(1, 999_999_999)
RESETS = st.none() | st.just(0.0) | st.floats(0, 3) | st.floats(0, 120) | st.floats(0, 2_678_400)
WINDOWS = st.sampled_from([None, None, None, 1e-21, 0.001, 0.5, 1.0, 60.0, 600.0, 3600.0, DAY])
WAITS = st.sampled_from([0.0, 0.0, 0.1, 1.0, 30.0, 60.0, 1000.0]) | st.floats(0, 100)


def steps(per: st.SearchStrategy[float | None]) -> st.SearchStrategy[list[tuple]]:
    """Return what may happen, one thing after the other."""
    said = st.lists(st.builds(QuotaStatement, LIMITS, COUNTS, RESETS, per), max_size=2)
    return st.lists(
        st.one_of(
            st.tuples(st.just("take"), WAITS, st.integers(1, 20)),
            st.tuples(st.just("leap"), WAITS, st.integers(1, 20)),
            st.tuples(st.just("settle"), WAITS, st.integers(0, 20), said, FATES),
            st.tuples(st.just("settle"), WAITS, st.integers(0, 20), said, FATES),
            st.tuples(st.just("rest"), WAITS),
            st.tuples(st.just("share"), WAITS, st.sampled_from([0.0, 0.1, 0.5, 1.0])),
        ),
        max_size=40,
    )


def drive(driver: Driver, happens: list[tuple], least: float) -> None:
    for what, wait, *more in happens:
        driver.pass_time(wait)
        match what:
            case "take":
                driver.take(*more)
            case "leap":
                driver.leap(*more)
            case "settle":
                driver.settle(*more, least=least)
            case "rest":
                driver.pace.rest(driver.now)
            case _:
                driver.pace.keep_to_share(*more, driver.now)
                driver.look()


@given(requests=st.none() | st.integers(1, 5) | st.integers(30, 70), happens=steps(st.none()))
def test_no_window_ever_holds_more_than_the_largest_limit_that_was_in_force(requests, happens):
    """Whatever is said, refused, lost and waited for; by departure and by settlement.

    Exactly so while no exchange takes less than what is deducted, which is a twentieth of a window
    at the most; see the tests of the ledger. And never does the next turn fail to come.
    """
    driver = Driver(make_scheduler(requests), slack=0.0)

    drive(driver, happens, least=3.0)

    assert requests is None or driver.pace.terms.limit <= requests
    driver.never_stops()


@given(
    requests=st.none() | st.integers(1, 5) | st.integers(30, 70),
    per=st.sampled_from([0.001, 1.0, 60.0, 3600.0, 1e6]),
    happens=steps(WINDOWS),
)
def test_no_window_ever_holds_too_much_however_absurd_what_is_said(requests, per, happens):
    """The same for exchanges as quick as nothing, and for statements of all kinds of windows.

    Windows are a twentieth shorter for that: so much is deducted at the most.
    """
    driver = Driver(make_scheduler(requests, per=per), slack=0.05)

    drive(driver, happens, least=0.0)

    driver.never_stops()
