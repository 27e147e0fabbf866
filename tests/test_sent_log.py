"""The sent log: how many of our own requests any window of the server may hold."""

import heapq
import math
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.clock import most_in_any
from support.effort import calls_in

from cekat_async._ratelimit.sent_log import SentLog

PER = 60.0
# Times are multiples of 1/64 of a second. So sums of them are exact, and tests hit the exact edges.
GRID = 64


def seconds(most: float) -> st.SearchStrategy[float]:
    """Return times from 0 to ``most``, on the grid."""
    return st.integers(0, int(most * GRID)).map(lambda ticks: ticks / GRID)


def make_sent_log(*settled: float, in_flight: int = 0, quickest: float | None = None) -> SentLog:
    """Return a log of requests that were settled at these times, and of others in flight."""
    log = SentLog()
    for _ in range(len(settled) + in_flight):
        log.add(0.0)
    for now in settled:
        log.settle(now, sent=True)
    if quickest is not None:
        log.record_duration(quickest)
    return log


class Client:
    """Sends whenever its log allows it. The server counts each request when it arrives.

    The promise needs one assumption, which this client uses to the full. If a request takes the
    place of an older one, its way there and the older one's way back together take at least the
    deduction. The deduction is half of the quickest exchange seen when the place became free, and
    at most a twentieth of the window. (A lost request is counted, if at all, before it is given
    up.) So each way there is as short as the assumption allows, and each way back takes no time.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.log = SentLog()
        self.now = 0.0
        self.arrivals: list[float] = []
        self._quickest = math.inf
        self._in_flight: list[tuple[float, float, float, str]] = []
        # The settling time and the length of the way back of each request that took a place, in
        # order.
        self._settled: list[tuple[float, float]] = []
        # the deduction at the time when each place became free
        self._deducted: list[float] = []

    def sleep(self, duration: float) -> None:
        """Let time pass, and let replies arrive."""
        end = self.now + duration
        while self._in_flight and self._in_flight[0][0] <= end:
            self.settle_next()
        self.now = end

    def settle_next(self) -> None:
        """Let time pass until the next request is settled."""
        self.now, sent, back, fate = heapq.heappop(self._in_flight)
        self.log.settle(self.now, sent=fate != "never sent")
        if fate != "never sent":
            self._settled.append((self.now, back))
        if fate == "answered":
            self.log.record_duration(self.now - sent)
            self._quickest = min(self._quickest, self.now - sent)

    def send(self, there: float, back: float, fate: str) -> None:
        """Send a request as soon as possible.

        If the way ``there`` is too short for the assumption, it is extended.
        """
        while self.count() >= self.limit:
            at = self.log.next_free(self.now, PER)
            assert at > self.now
            if self._in_flight and self._in_flight[0][0] <= at:
                self.settle_next()
            else:
                self.now = at
        there = max(there, self._shortest_way_there())
        self.log.add(self.now)
        if fate != "never sent":
            self.arrivals.append(self.now + there)
        heapq.heappush(self._in_flight, (self.now + there + back, self.now, back, fate))

    def count(self) -> int:
        count = self.log.count(self.now, PER)
        half = 0.0 if self._quickest == math.inf else min(self._quickest, PER / 10) / 2
        expired = self.log.count_expired(self.now, PER)
        self._deducted += [half] * (expired - len(self._deducted))
        return count

    def _shortest_way_there(self) -> float:
        # Only those places matter that would still be taken a whole window after the reply.
        replaced = zip(self._settled, self._deducted, strict=False)
        needed = [half - back for (settled, back), half in replaced if settled > self.now - PER]
        return max(needed, default=0.0)


FATES = st.sampled_from(["answered", "answered", "answered", "lost", "never sent"])


@given(
    limit=st.integers(1, 4),
    steps=st.lists(
        st.tuples(
            seconds(90) | st.just(0.0),
            seconds(150) | seconds(3) | st.just(0.0),
            seconds(150) | seconds(3) | st.just(0.0),
            FATES,
        ),
        max_size=40,
    ),
)
def test_no_window_of_the_server_holds_more_than_the_limit_whatever_the_delays(limit, steps):
    """No window of the server is too full, under the assumption that :class:`Client` states.

    The promise covers any waits, lost and never-sent requests, replies out of order, and jitter of
    minutes.
    """
    client = Client(limit)
    for wait, there, back, fate in steps:
        client.sleep(wait)
        client.send(there, back, fate)

    assert most_in_any(client.arrivals, PER) <= limit


@given(
    limit=st.integers(1, 4),
    there=seconds(20) | seconds(1) | st.just(0.0),
    back=seconds(20) | seconds(1) | st.just(0.0),
    jitters=st.lists(
        st.tuples(seconds(10) | st.just(0.0), seconds(10) | st.just(0.0)), max_size=40
    ),
)
def test_no_assumption_is_needed_if_no_way_is_shorter_than_in_the_first_exchange(
    limit, there, back, jitters
):
    """If the first exchange has the shortest way there and back, any jitter is safe.

    One of these two ways may take no time. The test need not extend the way there of any request.
    """
    client = Client(limit)
    client.send(there, back, "answered")
    client.settle_next()
    for more_there, more_back in jitters:
        client.send(there + more_there, back + more_back, "answered")
        assert client._shortest_way_there() <= there

    assert most_in_any(client.arrivals, PER) <= limit


@pytest.mark.parametrize("there, back", [(0.0, 1.0), (1.0, 0.0), (0.5, 0.5)])
@pytest.mark.parametrize("limit", [1, 3])
def test_constant_delays_cost_half_an_exchange_per_window(limit, there, back):
    """If each exchange takes the same time, exactly half of that time is lost per window."""
    client = Client(limit)
    for _ in range(10 * limit):
        client.send(there, back, "answered")
    # No exchange is known in the first window.
    rounds = client.arrivals[limit::limit]

    assert {later - sooner for sooner, later in pairwise(rounds)} == {60.5}


@pytest.mark.parametrize("there, held", [(1.0, 1), (0.9, 2)])
def test_a_way_there_that_breaks_the_assumption_can_overfill_a_window(there, held):
    """The assumption is necessary: with a shorter way there, a window can be too full.

    The first request arrived late and its reply took no time. Half of that exchange is deducted,
    and the second request takes less time than that.
    """
    log = make_sent_log(2.0, quickest=2.0)
    assert log.count(60.99, PER) == 1
    assert log.count(61.0, PER) == 0

    assert most_in_any([2.0, 61.0 + there], PER) == held


def test_a_new_log_is_empty():
    """A new log has no request in any window, no place that becomes free, and no reply."""
    log = SentLog()

    assert log.count(0.0, PER) == log.count_granted(0.0, PER) == log.count_expired(0.0, PER) == 0
    assert log.next_free(0.0, PER) == math.inf
    assert not log.has_reply
    assert log.began_at == math.inf
    assert (log.total, log.in_flight) == (0, 0)


def test_it_knows_when_the_first_request_was_sent():
    """``began_at`` is the time of the first request. Later requests do not change it."""
    log = SentLog()
    log.add(5.0)
    log.add(7.0)

    assert log.began_at == 5.0
    assert (log.total, log.in_flight) == (2, 2)


def test_a_reply_is_what_a_duration_is_recorded_for():
    """A request without a reply is settled without a duration."""
    log = make_sent_log(1.0)
    assert not log.has_reply

    log.record_duration(1.0)
    assert log.has_reply
    assert log.quickest == 1.0


def test_a_request_takes_its_place_from_its_departure():
    """A request in flight counts, however long it takes. Its place ages from the reply on."""
    log = make_sent_log(in_flight=2)

    assert log.count(0.0, PER) == 2
    assert log.count(1e9, PER) == 2
    assert log.next_free(1e9, PER) == math.inf
    assert log.count_expired(1e9, PER) == 0


def test_a_place_is_free_one_window_after_the_reply():
    """The place is free exactly at the time at which the next request may be sent."""
    log = make_sent_log(10.0, 12.0, in_flight=1)

    assert log.next_free(12.0, PER) == 70.0
    assert log.count(69.99, PER) == 3
    assert log.count(70.0, PER) == 2
    assert (log.next_free(70.0, PER), log.count_expired(70.0, PER)) == (72.0, 1)
    assert log.count(72.0, PER) == 1
    assert (log.next_free(72.0, PER), log.count_expired(72.0, PER)) == (math.inf, 2)
    assert (log.total, log.in_flight) == (3, 1)


@given(settled=st.floats(0.0, 1e7), per=st.floats(0.001, 1e5))
@example(settled=236.3, per=59.9)  # (settled + per) - per is less than settled
@example(settled=65.0, per=59.9)  # (a moment before settled + per) - per equals settled
def test_no_rounding_moves_the_time_at_which_a_place_is_free(settled: float, per: float):
    """For any numbers, a place is free exactly at the reported time and not before."""
    log = make_sent_log(settled)

    at = log.next_free(settled, per)

    assert log.count(at, per) == 0
    assert log.count(math.nextafter(at, 0.0), per) == 1


def test_a_count_takes_the_same_work_however_long_the_log_is():
    """Each request reads the log a dozen times, so no query may run Python code per entry."""
    short, long = (make_sent_log(*map(float, range(size))) for size in (2, 2_000))

    assert calls_in(lambda: long.count(1_000.0, PER)) == calls_in(lambda: short.count(1.0, PER))


def test_a_request_that_was_never_sent_took_no_place():
    """The request counts until it is known to be unsent, and it never counts as expired."""
    log = make_sent_log(in_flight=1)
    log.settle(1.0, sent=False)

    assert log.count(1.0, PER) == 0
    assert log.next_free(1.0, PER) == math.inf
    assert (log.total, log.in_flight) == (1, 0)
    assert log.count_expired(100.0, PER) == 0


def test_half_of_the_quickest_exchange_is_deducted():
    """The quickest exchange so far decides, not the latest one."""
    log = make_sent_log(0.0, quickest=4.0)
    assert log.next_free(0.0, PER) == 58.0

    log.record_duration(1.0)
    log.record_duration(3.0)

    assert log.next_free(0.0, PER) == 59.5
    assert log.count(59.49, PER) == 1
    assert log.count(59.5, PER) == 0


@given(settled=st.floats(0, 1e6), per=st.floats(0.001, 3600))
@example(9.1, 59.9)
def test_at_the_time_that_it_names_the_next_place_is_free(settled, per):
    """A caller that waits until the returned time must not get the same time again by rounding."""
    log = make_sent_log(settled)

    assert log.count(log.next_free(settled, per), per) == 0


def test_an_exchange_that_took_no_time_deducts_nothing():
    """On one machine or with a coarse clock, a request takes its place for a complete window."""
    assert make_sent_log(0.0, quickest=0.0).next_free(0.0, PER) == PER


@pytest.mark.parametrize("per", [1.0, 60.0, 86_400.0])
def test_at_most_a_twentieth_of_the_window_is_deducted(per):
    """If all exchanges were slow, even the quickest of them proves little."""
    assert make_sent_log(0.0, quickest=1e6).next_free(0.0, per) == per - per / 20


def test_one_log_answers_for_windows_of_any_length():
    """Each window is counted separately and in any order.

    Counting a short window does not affect the count of a longer one.
    """
    log = make_sent_log(0.0, 5.0, 9.0)

    assert [log.count(10.0, per) for per in (PER, 2.0, PER, 8.0)] == [3, 1, 3, 2]
    assert [log.next_free(10.0, per) for per in (PER, 2.0, 8.0)] == [60.0, 11.0, 13.0]
    assert [log.count_expired(10.0, per) for per in (PER, 2.0, 8.0)] == [0, 2, 1]


def test_the_expired_count_of_an_earlier_time():
    """The difference of the counts at two times is the number of places freed in between."""
    log = make_sent_log(0.0, 5.0, 9.0)

    assert [log.count_expired(at, PER) for at in (59.9, 60.0, 65.0, 100.0)] == [0, 1, 2, 3]


def test_only_what_was_granted_is_counted_as_granted():
    """Requests in flight do not count as granted.

    Refused requests do not count either, and they also leave the window.
    """
    log = make_sent_log(0.0, 5.0, 9.0, in_flight=2)
    log.record_refusal(9.0)

    assert log.count_granted(10.0, PER) == 2
    assert log.count_granted(10.0, 2.0) == 0
    assert log.count_granted(64.9, PER) == 1
    assert log.count_granted(70.0, PER) == 0


def test_unneeded_entries_are_deleted_and_still_counted_as_expired():
    """The log of a long job takes bounded memory. Deleting old entries changes no count."""
    log = SentLog()
    for now in range(3_000):
        log.add(float(now))
        log.settle(float(now), sent=True)
        if now % 2:
            log.record_refusal(float(now))
    before = [
        (log.count(3_000.0, per), log.count_granted(3_000.0, per), log.count_expired(at, per))
        for per in (1.0, PER)
        for at in (2_940.0, 3_000.0)
    ]

    log.forget(3_000.0, PER)

    assert len(log._settled) == 2 * PER - 1
    assert len(log._refused) == PER
    assert before == [
        (log.count(3_000.0, per), log.count_granted(3_000.0, per), log.count_expired(at, per))
        for per in (1.0, PER)
        for at in (2_940.0, 3_000.0)
    ]


def test_a_few_old_requests_are_not_worth_deleting():
    """Entries are deleted a hundred at a time, so the deletion takes little time per request."""
    log = make_sent_log(*map(float, range(99)))

    log.forget(1e6, PER)
    assert len(log._settled) == 99

    log.settle(1_000.0, sent=True)
    log.forget(1e6, PER)
    assert log._settled == []
    assert log.count_expired(1e6, PER) == 100
