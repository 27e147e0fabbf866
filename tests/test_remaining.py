"""What the server would still grant by its newest report, and what others need of that."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cekat_async._ratelimit.sent_log import Permit, SentLog
from cekat_async._ratelimit.server.headers import QuotaStatement
from cekat_async._ratelimit.server.limit_estimate import Terms
from cekat_async._ratelimit.server.remaining import Remaining

PER = 60.0
PACE = Terms(300, PER, "stated")
TRIP = 0.2


class Client:
    """A sent log, and what is left by the replies to its requests."""

    def __init__(self, pace: Terms = PACE) -> None:
        self.sent = SentLog()
        self.left = Remaining(self.sent, pace, pace.per)

    def send(self, at: float, count: int = 1) -> None:
        """Send requests that have no reply yet."""
        for _ in range(count):
            self.sent.add(at)

    def hear(self, at: float, remaining: int | None, reset: float | None = None, **more) -> None:
        """Let the reply to a request arrive that was sent a while before."""
        permit = Permit(at - TRIP, more.get("before", math.inf))
        self.sent.add(permit.sent)
        self.sent.settle(at, sent=True)
        self.sent.record_duration(TRIP)
        reported = QuotaStatement(more.get("limit", 300), remaining, reset)
        self.left.learn(reported, permit, at, refused=more.get("refused", False))


def make_window(remaining: int, reset: float = 40.0, **more) -> Client:
    """Return a client that heard at 100 of a fixed window that ends ``reset`` seconds later."""
    client = Client()
    client.hear(100.0, remaining, reset, **more)
    return client


def make_bucket(*remaining: int, gap: float = 1.0) -> Client:
    """Return a client that hears of a quota without resets, from 100 on."""
    client = Client()
    for place, one in enumerate(remaining):
        client.hear(100.0 + place * gap, one)
    return client


# --- before anything is reported


def test_without_a_report_nothing_is_known():
    """There is no bound, no burst, and nobody else."""
    left = Client().left

    assert left.get(0.0) == math.inf
    assert left.get_reported(0.0) is None
    assert not left.is_valid(0.0)
    assert not left.allows_burst(0.0)
    assert left.is_all_ours(0.0)
    assert not left.is_used_up()
    assert left.get_turn_beside_others(5.0, 0.0) == -math.inf
    assert left.get_pace_beside_others(5.0, 0.0) == math.inf


def test_a_reply_that_reports_nothing_left_or_not_changes_nothing():
    """Only its limit is stated."""
    client = make_window(200)
    before = client.left.get(101.0)
    client.hear(101.0, None)

    assert client.left.get(101.0) == before


def test_without_a_limit_nobody_is_noticed():
    """Nothing can be missing then."""
    client = make_window(5, limit=None)

    assert client.left.get(100.0) == 5
    assert client.left.is_all_ours(100.0)


# --- a fixed window


def test_a_report_counts_until_its_window_ends():
    """Later it says nothing."""
    left = make_window(299).left

    assert (left.get(139.9), left.get_reported(139.9)) == (299, 299)
    assert left.is_valid(139.9)
    assert (left.get(140.0), left.get_reported(140.0)) == (math.inf, None)
    assert not left.allows_burst(140.0)


def test_requests_in_flight_are_deducted():
    """The report may not include them."""
    client = make_window(299)
    client.send(101.0, 9)

    assert client.left.get(101.0) == 290
    assert client.left.get_reported(101.0) == 299


def test_what_this_client_alone_has_used_is_all_its_own():
    """Then the rest may be used at once."""
    left = make_window(299).left

    assert left.is_all_ours(100.0)
    assert left.allows_burst(100.0)
    assert left.get_turn_beside_others(299.0, 100.0) == -math.inf
    assert left.get_rest_of_window(299.0, 100.0) == (299.0, 139.0)


@pytest.mark.parametrize("remaining, are_present", [(299, False), (298, False), (297, True)])
def test_others_are_noticed_if_more_is_missing_than_is_ours(remaining, are_present):
    """By more than one, which may be counted sooner or later."""
    assert make_window(remaining).left.is_all_ours(100.0) is not are_present


def test_something_is_left_to_others():
    """A hundredth of the limit; and nothing is used at once."""
    left = make_window(199).left

    assert left.get(100.0) == 196
    assert left.get_reported(100.0) == 199
    assert not left.allows_burst(100.0)


def test_what_others_take_until_the_end_is_not_ours():
    """A hundred in 20 seconds, of which two seconds may be the rounding of the reset."""
    left = make_window(199).left

    assert left.get_rest_of_window(196.0, 100.0) == (pytest.approx(196 - 5 * 39), 139.0)
    assert left.get_rest_of_window(190.0, 100.0) == (0.0, 139.0)
    assert left.get_rest_of_window(9.0, 139.5) == (9.0, 139.0)


def test_a_turn_comes_when_others_leave_something():
    """Of 101 that are left, they take 100 in the last 20 seconds."""
    assert make_window(199).left.get_turn_beside_others(101.0, 100.0) == 120.0


def test_their_pace_matters_only_in_a_continuous_quota():
    """In a window, what is left until its end does."""
    assert make_window(199).left.get_pace_beside_others(196.0, 100.0) == math.inf


def test_nothing_is_left_until_the_window_ends():
    """That is when more is, and no test."""
    client = make_window(0)
    client.send(101.0)

    assert client.left.is_used_up()
    assert client.left.get_time_of_more(0.0, 101.0) == (140.0, False)


# --- a zero that may be wrong


def test_a_zero_is_tested_if_this_client_used_little():
    """Sixty times a window, while nothing is in flight."""
    client = make_window(0)
    assert client.left.get_time_of_more(0.0, 100.0) == (101.0, True)

    client.send(100.0)
    assert client.left.get_time_of_more(0.0, 100.0) == (140.0, False)


@pytest.mark.parametrize("used, is_test", [(30, True), (31, False)])
def test_a_zero_is_not_doubtful_after_many_requests(used, is_test):
    """A tenth of the limit is little."""
    client = Client()
    for _ in range(used - 1):
        client.hear(99.0, None)
    client.hear(100.0, 0, 40.0)

    assert client.left.get_time_of_more(0.0, 100.0)[1] is is_test


def test_what_was_refused_after_a_zero_confirms_it():
    """It is not tested again for ten windows."""
    client = make_window(0)
    client.hear(101.0, 0, 39.0, before=0.0, refused=True)

    assert client.left.get_time_of_more(0.0, 101.0) == (140.0, False)


def test_another_refusal_confirms_nothing():
    """It was not expected to be one."""
    client = make_window(0)
    client.hear(101.0, 0, 39.0, before=5.0, refused=True)

    assert client.left.get_time_of_more(0.0, 101.0) == (102.0, True)


@pytest.mark.parametrize("before", [0.0, math.inf])
def test_a_server_that_always_reports_zero_is_ignored(before):
    """After six grants it counts no more, for ten windows."""
    client = Client()
    for place in range(6):
        assert client.left.is_valid(100.0 + place) is (place > 0)
        client.hear(100.0 + place, 0, 40.0 - place, before=before)

    assert client.left.get(106.0) == math.inf
    client.hear(704.9, 0, 40.0)
    assert client.left.get(704.9) == math.inf
    assert client.left.get(705.0) == 0


def test_a_limit_of_one_always_leaves_nothing():
    """It is no contradiction, unless it is granted against what was reported."""
    client = Client(Terms(1, PER, "stated"))
    for place in range(9):
        client.hear(100.0 + place, 0, 40.0 - place, limit=1)

    assert client.left.is_valid(108.0)


# --- a continuous quota


def test_a_full_quota_refills_at_our_pace():
    """It does not show how much more would have been given back."""
    left = make_bucket(299).left

    # It was reported half-way between request and reply.
    assert left.get(100.0) == pytest.approx(299 + 5 * TRIP / 2)
    assert left.get(102.0) == pytest.approx(299 + 5 * (2 + TRIP / 2))
    assert left.allows_burst(100.0)
    assert not left.is_all_ours(100.0)
    assert not left.is_used_up()


def test_what_is_measured_is_given_back():
    """With each of eight reports one less is left, and the time is twice as long: half of it."""
    left = make_bucket(*range(299, 291, -1), 292, 292).left
    refill = 2 / 9

    # The slower of a long and a short measurement.
    assert left.get(110.0) == pytest.approx(292 + refill * (1 + TRIP / 2))


def test_what_was_ours_is_given_back_after_a_window():
    """All nine of them, although others hide what is refilled."""
    client = Client()
    for _ in range(9):
        client.hear(100.0, 280)
    client.hear(101.0, 250)
    given_back = 100.0 + PER - TRIP / 2
    margin = 3

    assert client.left.get(given_back - 0.01) == 250 - margin
    assert client.left.get(given_back + 0.01) == 250 - margin + 9


def test_what_was_ours_is_given_back_at_our_pace_at_most():
    """Of sixty that were sent at once, there is time for two in a fifth of a second."""
    client = Client()
    for _ in range(60):
        client.hear(100.0, 280)
    client.hear(159.8, 50)
    margin = 3

    assert client.left.get(159.89) == 50 - margin
    assert client.left.get(159.9) == pytest.approx(50 - margin + 1 + 5 * (0.1 + TRIP / 2))


def test_a_small_bucket_is_not_a_window_that_others_use():
    """Its resets move along; as soon as they show it, those who were noticed are forgotten."""
    client = Client()
    for now in (100.0, 103.0, 106.0):
        client.hear(now, 9, 10.0)
        assert not client.left.allows_burst(now)
    client.hear(109.0, 9, 10.0)

    assert client.left.allows_burst(109.0)


def make_shared_bucket() -> Client:
    """Return a client that has noticed others: of ten a second they take about five."""
    client = make_bucket(299)
    client.hear(110.0, 246)
    assert not client.left.allows_burst(110.0)
    return client


def test_beside_others_the_rest_of_the_pace_is_kept():
    """They took 52 in 10 seconds; what is left beyond that lasts for half a window."""
    client = make_shared_bucket()
    theirs = 52 / (10 + TRIP)

    assert client.left.get_pace_beside_others(246.0, 110.0) == pytest.approx(
        5 - theirs + 246 / 30, rel=1e-3
    )


def test_a_twentieth_of_the_pace_is_always_kept():
    """However much they take."""
    client = make_shared_bucket()

    assert client.left.get_least_pace() == 0.25
    assert client.left.get_pace_beside_others(0.0, 110.0) == 0.25


def test_beside_others_in_a_young_quota_something_is_left_to_them():
    """Until the first of our requests is given back, they need what is left; later they do not."""
    client = make_shared_bucket()
    first_back = 100.0 + PER - TRIP / 2
    theirs = 52 / (10 + TRIP)

    turn = client.left.get_turn_beside_others(246.0, 110.0)
    assert turn == pytest.approx(first_back - 245 / theirs, rel=1e-3)
    assert client.left.get_turn_beside_others(246.0, 100.0 - TRIP + PER) == -math.inf


def test_a_continuous_quota_has_no_rest_of_a_window():
    """There is no end for it to last until."""
    assert make_bucket(299).left.get_rest_of_window(9.0, 100.0) == (math.inf, math.inf)


def test_more_is_left_when_the_measured_refill_has_given_it_back():
    """The level stays with each request of two seconds, so half a request a second is refilled."""
    client = make_bucket(20, *[9] * 70, gap=2.0)
    now = 100.0 + 2.0 * 70

    assert client.left.get_time_of_more(0.5, now) == (pytest.approx(now + 0.5 / 0.5), False)


def test_without_a_refill_more_is_left_when_ours_is_given_back():
    """And at the latest, when all should be, one request tests that; but not several."""
    client = make_bucket(9, 5)
    first_back = 100.0 + PER - TRIP / 2

    assert client.left.get_time_of_more(0.0, 101.0) == (pytest.approx(first_back), False)


def test_one_request_tests_whether_all_is_given_back():
    """When the stated reset is over; not while one is in flight."""
    client = Client()
    for now in (100.0, 103.0, 106.0, 109.0):
        client.hear(now, 20, 10.0)
    client.hear(110.0, 1, 10.0)
    assert client.left.get_time_of_more(0.0, 110.0) == (120.0, False)

    client.send(110.0)
    at, is_test = client.left.get_time_of_more(0.0, 110.0)
    assert (at, is_test) == (pytest.approx(159.9), False)


# --- what is changed from outside


def test_other_terms_count_from_then_on():
    """The pace of the refill, and how long a report counts."""
    client = make_bucket(299)
    client.left.set_terms(Terms(10, 10.0, "stated"), 10.0)

    assert client.left.get_least_pace() == 0.05
    assert client.left.is_valid(109.9)
    assert not client.left.is_valid(110.0)


def test_a_server_that_refused_what_was_left_allows_no_burst():
    """For ten windows, in which its reports still count."""
    client = make_window(299)
    client.left.distrust(100.0)
    assert client.left.get(100.0) == 299
    assert not client.left.allows_burst(100.0)

    client.hear(699.9, 299, 40.0)

    assert not client.left.allows_burst(699.9)
    assert client.left.allows_burst(700.0)


def test_others_who_were_faster_are_left_more():
    """They are there then, and get one more than before."""
    client = make_window(299)
    client.left.leave_more(100.0)

    assert not client.left.is_all_ours(100.0)
    assert client.left.get(100.0) == 299 - 3 - 1


REPORTS = st.lists(
    st.tuples(
        st.floats(0.2, 100),
        st.none() | st.integers(0, 300),
        st.none() | st.floats(0, 100),
        st.booleans(),
        st.sampled_from([0.0, 5.0, math.inf]),
    ),
    max_size=30,
)


@given(reports=REPORTS, in_flight=st.integers(0, 5))
def test_no_sequence_of_reports_breaks_it(reports, in_flight):
    """What is left is never more than is reported and given back; and there is always a time."""
    client, now = Client(), 100.0
    client.send(now, in_flight)
    for wait, remaining, reset, refused, before in reports:
        now += wait
        client.hear(now, remaining, reset, refused=refused, before=before)
        left = client.left.get(now)
        if left < math.inf:
            assert left <= client.left.get_reported(now) + 1 + 5 * (now - 100.0)
            at, _ = client.left.get_time_of_more(min(left, 0.0), now)
            assert not math.isnan(at)
        assert client.left.get_pace_beside_others(max(left, 0.0), now) >= 0.25
        rest, end = client.left.get_rest_of_window(max(left, 0.0), now)
        assert rest >= 0
        assert not math.isnan(end)
