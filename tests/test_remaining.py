"""The remaining requests according to the server's newest report, and what others need of them."""

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
    """A sent log, and the remaining requests that the replies report."""

    def __init__(self, pace: Terms = PACE) -> None:
        self.sent = SentLog()
        self.left = Remaining(self.sent, pace, pace.per)

    def send(self, at: float, count: int = 1) -> None:
        """Send requests that have no reply yet."""
        for _ in range(count):
            self.sent.add(at)

    def hear(self, at: float, remaining: int | None, reset: float | None = None, **more) -> None:
        """Receive the reply to a request that was sent a moment earlier."""
        permit = Permit(at - TRIP, more.get("before", math.inf))
        self.sent.add(permit.sent)
        self.sent.settle(at, sent=True)
        self.sent.record_duration(TRIP)
        reported = QuotaStatement(more.get("limit", 300), remaining, reset)
        self.left.learn(reported, permit, at, refused=more.get("refused", False))


def make_window(remaining: int, reset: float = 40.0, **more) -> Client:
    """Return a client with a report of a fixed window.

    The report arrives at 100, and the window ends ``reset`` seconds later.
    """
    client = Client()
    client.hear(100.0, remaining, reset, **more)
    return client


def make_bucket(*remaining: int, gap: float = 1.0) -> Client:
    """Return a client with reports of a quota without resets. The first report arrives at 100."""
    client = Client()
    for place, one in enumerate(remaining):
        client.hear(100.0 + place * gap, one)
    return client


# --- before anything is reported


def test_without_a_report_nothing_is_known():
    """Without a report, there is no bound, no burst, and no sign of other clients."""
    left = Client().left

    assert left.get(0.0) == math.inf
    assert left.get_reported(0.0) is None
    assert not left.is_valid(0.0)
    assert not left.allows_burst(0.0)
    assert left.is_all_ours(0.0)
    assert not left.is_used_up()
    assert left.get_turn_beside_others(5.0, 0.0) == -math.inf
    assert left.get_pace_beside_others(5.0, 0.0) == math.inf


def test_a_reply_without_remaining_changes_nothing():
    """A reply without the remaining number only reports the limit."""
    client = make_window(200)
    before = client.left.get(101.0)
    client.hear(101.0, None)

    assert client.left.get(101.0) == before


def test_without_a_limit_nobody_is_noticed():
    """Without a limit, the client cannot know how many requests are missing."""
    client = make_window(5, limit=None)

    assert client.left.get(100.0) == 5
    assert client.left.is_all_ours(100.0)


# --- a fixed window


def test_a_report_counts_until_its_window_ends():
    """A report is ignored after the end of its window."""
    left = make_window(299).left

    assert (left.get(139.9), left.get_reported(139.9)) == (299, 299)
    assert left.is_valid(139.9)
    assert (left.get(140.0), left.get_reported(140.0)) == (math.inf, None)
    assert not left.allows_burst(140.0)


def test_requests_in_flight_are_deducted():
    """Requests in flight are subtracted, because the report may not include them."""
    client = make_window(299)
    client.send(101.0, 9)

    assert client.left.get(101.0) == 290
    assert client.left.get_reported(101.0) == 299


def test_a_client_alone_may_use_the_rest():
    """If only this client has used the window, it may send the rest immediately."""
    left = make_window(299).left

    assert left.is_all_ours(100.0)
    assert left.allows_burst(100.0)
    assert left.get_turn_beside_others(299.0, 100.0) == -math.inf
    assert left.get_rest_of_window(299.0, 100.0) == (299.0, 139.0)


@pytest.mark.parametrize("remaining, are_present", [(299, False), (298, False), (297, True)])
def test_others_are_noticed_if_more_is_missing_than_is_ours(remaining, are_present):
    """One missing request may be a request that is counted late.

    Two missing requests show that there are other clients.
    """
    assert make_window(remaining).left.is_all_ours(100.0) is not are_present


def test_something_is_left_to_others():
    """A hundredth of the limit is reserved for others, and nothing is sent in a burst."""
    left = make_window(199).left

    assert left.get(100.0) == 196
    assert left.get_reported(100.0) == 199
    assert not left.allows_burst(100.0)


def test_the_requests_of_others_are_deducted():
    """Others took a hundred requests in 20 seconds. Rounding may move the reset by two seconds."""
    left = make_window(199).left

    assert left.get_rest_of_window(196.0, 100.0) == (pytest.approx(196 - 5 * 39), 139.0)
    assert left.get_rest_of_window(190.0, 100.0) == (0.0, 139.0)
    assert left.get_rest_of_window(9.0, 139.5) == (9.0, 139.0)


def test_a_request_waits_until_others_leave_something():
    """Others take 100 of 101 remaining requests in the last 20 seconds."""
    assert make_window(199).left.get_turn_beside_others(101.0, 100.0) == 120.0


def test_their_pace_matters_only_in_a_continuous_quota():
    """In a fixed window, the pace of others does not matter.

    The client looks only at the number that remains until the window ends.
    """
    assert make_window(199).left.get_pace_beside_others(196.0, 100.0) == math.inf


def test_nothing_is_left_until_the_window_ends():
    """New requests become available when the window ends, and no test is needed."""
    client = make_window(0)
    client.send(101.0)

    assert client.left.is_used_up()
    assert client.left.get_time_of_more(0.0, 101.0) == (140.0, False)


# --- a zero that may be wrong


def test_a_zero_is_tested_if_this_client_used_little():
    """A reported 0 is tested sixty times per window, while nothing is in flight."""
    client = make_window(0)
    assert client.left.get_time_of_more(0.0, 100.0) == (101.0, True)

    client.send(100.0)
    assert client.left.get_time_of_more(0.0, 100.0) == (140.0, False)


@pytest.mark.parametrize("used, is_test", [(30, True), (31, False)])
def test_a_zero_is_not_doubtful_after_many_requests(used, is_test):
    """A reported 0 is doubtful only if this client used at most a tenth of the limit."""
    client = Client()
    for _ in range(used - 1):
        client.hear(99.0, None)
    client.hear(100.0, 0, 40.0)

    assert client.left.get_time_of_more(0.0, 100.0)[1] is is_test


def test_a_refused_test_confirms_a_zero():
    """A confirmed 0 is not tested again for ten windows."""
    client = make_window(0)
    client.hear(101.0, 0, 39.0, before=0.0, refused=True)

    assert client.left.get_time_of_more(0.0, 101.0) == (140.0, False)


def test_another_refusal_confirms_nothing():
    """The refusal of a request that was not a test does not confirm a reported 0."""
    client = make_window(0)
    client.hear(101.0, 0, 39.0, before=5.0, refused=True)

    assert client.left.get_time_of_more(0.0, 101.0) == (102.0, True)


@pytest.mark.parametrize("before", [0.0, math.inf])
def test_a_server_that_always_reports_zero_is_ignored(before):
    """After six requests are granted despite a reported 0, it is ignored for ten windows."""
    client = Client()
    for place in range(6):
        assert client.left.is_valid(100.0 + place) is (place > 0)
        client.hear(100.0 + place, 0, 40.0 - place, before=before)

    assert client.left.get(106.0) == math.inf
    client.hear(704.9, 0, 40.0)
    assert client.left.get(704.9) == math.inf
    assert client.left.get(705.0) == 0


def test_a_limit_of_one_always_leaves_nothing():
    """With a limit of one, a reported 0 is no contradiction.

    A request that is granted after a reported 0 is one.
    """
    client = Client(Terms(1, PER, "stated"))
    for place in range(9):
        client.hear(100.0 + place, 0, 40.0 - place, limit=1)

    assert client.left.is_valid(108.0)


# --- a continuous quota


def test_a_full_quota_refills_at_our_pace():
    """The refill of a full quota cannot be measured, so the client assumes its own pace."""
    left = make_bucket(299).left

    # The server made the report halfway between request and reply.
    assert left.get(100.0) == pytest.approx(299 + 5 * TRIP / 2)
    assert left.get(102.0) == pytest.approx(299 + 5 * (2 + TRIP / 2))
    assert left.allows_burst(100.0)
    assert not left.is_all_ours(100.0)
    assert not left.is_used_up()


def test_the_measured_refill_is_added():
    """Nine requests lower the remaining number by seven. So two are refilled in nine seconds."""
    left = make_bucket(*range(299, 291, -1), 292, 292).left
    refill = 2 / 9

    # the slower of a long and a short measurement counts
    assert left.get(110.0) == pytest.approx(292 + refill * (1 + TRIP / 2))


def test_our_requests_are_refilled_after_a_window():
    """All nine requests are refilled, although the requests of others hide the refill."""
    client = Client()
    for _ in range(9):
        client.hear(100.0, 280)
    client.hear(101.0, 250)
    given_back = 100.0 + PER - TRIP / 2
    margin = 3

    assert client.left.get(given_back - 0.01) == 250 - margin
    assert client.left.get(given_back + 0.01) == 250 - margin + 9


def test_our_requests_are_refilled_at_our_pace_at_most():
    """In a fifth of a second, at most two of sixty requests are refilled."""
    client = Client()
    for _ in range(60):
        client.hear(100.0, 280)
    client.hear(159.8, 50)
    margin = 3

    assert client.left.get(159.89) == 50 - margin
    assert client.left.get(159.9) == pytest.approx(50 - margin + 1 + 5 * (0.1 + TRIP / 2))


def test_a_small_bucket_is_not_a_window_that_others_use():
    """The resets of a bucket move. As soon as they do, the client no longer assumes others."""
    client = Client()
    for now in (100.0, 103.0, 106.0):
        client.hear(now, 9, 10.0)
        assert not client.left.allows_burst(now)
    client.hear(109.0, 9, 10.0)

    assert client.left.allows_burst(109.0)


def make_shared_bucket() -> Client:
    """Return a client that has noticed others, which use about five of ten requests per second."""
    client = make_bucket(299)
    client.hear(110.0, 246)
    assert not client.left.allows_burst(110.0)
    return client


def test_next_to_others_the_rest_of_the_pace_is_kept():
    """The pace is reduced by the rate of others. The remaining requests last half a window."""
    client = make_shared_bucket()
    theirs = 52 / (10 + TRIP)

    assert client.left.get_pace_beside_others(246.0, 110.0) == pytest.approx(
        5 - theirs + 246 / 30, rel=1e-3
    )


def test_a_twentieth_of_the_pace_is_always_kept():
    """A twentieth of the pace remains for this client at any rate of others."""
    client = make_shared_bucket()

    assert client.left.get_least_pace() == 0.25
    assert client.left.get_pace_beside_others(0.0, 110.0) == 0.25


def test_next_to_others_in_a_young_quota_something_is_left_to_them():
    """Others need the remaining requests until our first one is refilled, and not after that."""
    client = make_shared_bucket()
    first_back = 100.0 + PER - TRIP / 2
    theirs = 52 / (10 + TRIP)

    turn = client.left.get_turn_beside_others(246.0, 110.0)
    assert turn == pytest.approx(first_back - 245 / theirs, rel=1e-3)
    assert client.left.get_turn_beside_others(246.0, 100.0 - TRIP + PER) == -math.inf


def test_a_continuous_quota_has_no_rest_of_a_window():
    """A continuous quota has no end until which the remaining requests must last."""
    assert make_bucket(299).left.get_rest_of_window(9.0, 100.0) == (math.inf, math.inf)


def test_more_remains_after_the_measured_refill():
    """With one request every two seconds, the level is steady.

    So half a request per second is refilled.
    """
    client = make_bucket(20, *[9] * 70, gap=2.0)
    now = 100.0 + 2.0 * 70

    assert client.left.get_time_of_more(0.5, now) == (pytest.approx(now + 0.5 / 0.5), False)


def test_without_a_refill_more_remains_when_ours_is_refilled():
    """If no refill is measured, more remains as soon as our own first request is refilled."""
    client = make_bucket(9, 5)
    first_back = 100.0 + PER - TRIP / 2

    assert client.left.get_time_of_more(0.0, 101.0) == (pytest.approx(first_back), False)


def test_one_request_tests_whether_all_is_refilled():
    """The test is sent after the reported reset, and not while another request is in flight."""
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
    """New terms change the pace of the refill, and how long a report is valid."""
    client = make_bucket(299)
    client.left.set_terms(Terms(10, 10.0, "stated"), 10.0)

    assert client.left.get_least_pace() == 0.05
    assert client.left.is_valid(109.9)
    assert not client.left.is_valid(110.0)


def test_a_server_that_refused_what_was_left_allows_no_burst():
    """After such a refusal, no burst is sent for ten windows, but reports still apply."""
    client = make_window(299)
    client.left.distrust(100.0)
    assert client.left.get(100.0) == 299
    assert not client.left.allows_burst(100.0)

    client.hear(699.9, 299, 40.0)

    assert not client.left.allows_burst(699.9)
    assert client.left.allows_burst(700.0)


def test_others_who_were_faster_are_left_more():
    """After such a refusal, others count as present, and one more request is reserved for them."""
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
    """The bound never exceeds the reported and refilled requests, and a next time always exists."""
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
