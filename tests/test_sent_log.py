"""The sent log: how much of any window of the server our own requests can take up."""

import heapq
import math
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.clock import most_in_any

from cekat_async._ratelimit.sent_log import SentLog

PER = 60.0
# Times are multiples of 1/64 of a second, so that sums of them are exact and edges are hit.
GRID = 64


def seconds(most: float) -> st.SearchStrategy[float]:
    """Return times from 0 to ``most``, on the grid."""
    return st.integers(0, int(most * GRID)).map(lambda ticks: ticks / GRID)


def make_sent_log(*closed: float, under_way: int = 0, quickest: float | None = None) -> SentLog:
    """Return a log of requests that were settled at the times given, and of more under way."""
    log = SentLog()
    for _ in range(len(closed) + under_way):
        log.add()
    for now in closed:
        log.settle(now, sent=True)
    if quickest is not None:
        log.record_duration(quickest)
    return log


class Client:
    """Sends whenever its log lets it; the server counts what arrives, when it arrives.

    The promise rests on one assumption, and this client goes right up to it: for a request that
    takes the place of an older one, its own way there and the older one's way back take, together,
    no less than what is deducted: half of the quickest exchange seen when the place came free, and
    a twentieth of the window at most. (A lost request counts, if at all, before it is given up.)
    So ways there are made as short as that allows, and ways back as short as nothing.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.log = SentLog()
        self.now = 0.0
        self.arrivals: list[float] = []
        self._quickest = math.inf
        self._under_way: list[tuple[float, float, float, str]] = []
        # Of those that took a place, in order: when settled, and how long the way back was.
        self._settled: list[tuple[float, float]] = []
        # What was deducted when each of their places came free.
        self._deducted: list[float] = []

    def sleep(self, duration: float) -> None:
        """Let time pass, and replies come back."""
        end = self.now + duration
        while self._under_way and self._under_way[0][0] <= end:
            self.settle_next()
        self.now = end

    def settle_next(self) -> None:
        """Let time pass until the next request is settled."""
        self.now, sent, back, fate = heapq.heappop(self._under_way)
        self.log.settle(self.now, sent=fate != "never sent")
        if fate != "never sent":
            self._settled.append((self.now, back))
        if fate == "answered":
            self.log.record_duration(self.now - sent)
            self._quickest = min(self._quickest, self.now - sent)

    def send(self, there: float, back: float, fate: str) -> None:
        """Send a request as soon as it may go; ``there`` is made longer where it is too short."""
        while self.spent() >= self.limit:
            at = self.log.next_free(PER)
            assert at > self.now
            if self._under_way and self._under_way[0][0] <= at:
                self.settle_next()
            else:
                self.now = at
        there = max(there, self._shortest_way_there())
        self.log.add()
        if fate != "never sent":
            self.arrivals.append(self.now + there)
        heapq.heappush(self._under_way, (self.now + there + back, self.now, back, fate))

    def spent(self) -> int:
        spent = self.log.count(self.now, PER)
        half = 0.0 if self._quickest == math.inf else min(self._quickest, PER / 10) / 2
        self._deducted += [half] * (self.log.expired - len(self._deducted))
        return spent

    def _shortest_way_there(self) -> float:
        # Only places that a whole window after the reply would still be taken matter.
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
def test_no_window_of_the_server_holds_more_than_the_limit_however_wild_the_delays(limit, steps):
    """Whatever the ways take, up to the assumption that :class:`Client` states, none is too full.

    With any waits, lost and never-sent requests, replies out of order, jitter of minutes.
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
def test_ways_that_never_take_less_than_their_least_need_no_more_assumptions(
    limit, there, back, jitters
):
    """With a least way there and back that the first exchange shows, any jitter upon it will do.

    So one may take nothing, and the other all; nothing here is made longer to suit the promise.
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
def test_constant_delays_cost_half_a_trip_a_window(limit, there, back):
    """When each exchange takes alike, windows are used but for half of it; not less, nor more."""
    client = Client(limit)
    for _ in range(10 * limit):
        client.send(there, back, "answered")
    # The first period knows of no exchange yet.
    rounds = client.arrivals[limit::limit]

    assert {later - sooner for sooner, later in pairwise(rounds)} == {60.5}


@pytest.mark.parametrize("there, held", [(1.0, 1), (0.9, 2)])
def test_a_way_there_that_breaks_the_assumption_can_fill_a_window_too_far(there, held):
    """What the promise is not: after one slow exchange, a quick one could arrive too early.

    The first came late and its reply at once; half of that exchange is deducted; the second one
    takes less than that. The assumption of :class:`Client` is needed, to the last bit.
    """
    log = make_sent_log(2.0, quickest=2.0)
    assert log.count(60.99, PER) == 1
    assert log.count(61.0, PER) == 0

    assert most_in_any([2.0, 61.0 + there], PER) == held


def test_nothing_is_spent_in_the_beginning():
    """An empty log has nothing in any window, and no place that could come free."""
    log = SentLog()

    assert log.count(0.0, PER) == 0
    assert log.next_free(PER) == math.inf
    assert not log.has_settled
    assert (log.total, log.in_flight, log.expired) == (0, 0, 0)


def test_a_request_takes_its_place_from_its_departure():
    """What is under way counts, however long it takes, and only a reply lets its place age."""
    log = make_sent_log(under_way=2)

    assert log.count(0.0, PER) == 2
    assert log.count(1e9, PER) == 2
    assert log.next_free(PER) == math.inf
    assert (log.total, log.in_flight, log.expired) == (2, 2, 0)


def test_a_place_comes_free_one_period_after_the_reply():
    """It is taken until then, and free at that very moment; that is when the next one may go."""
    log = make_sent_log(10.0, 12.0, under_way=1)

    assert log.next_free(PER) == 70.0
    assert log.count(69.99, PER) == 3
    assert log.has_settled
    assert log.count(70.0, PER) == 2
    assert (log.next_free(PER), log.expired) == (72.0, 1)
    assert log.count(72.0, PER) == 1
    assert not log.has_settled
    assert (log.total, log.in_flight, log.expired) == (3, 1, 2)


def test_a_request_that_was_never_sent_took_no_place():
    """It counts while nobody knows, and not a moment longer; it does not age either."""
    log = make_sent_log(under_way=1)
    log.settle(1.0, sent=False)

    assert log.count(1.0, PER) == 0
    assert not log.has_settled
    assert (log.total, log.in_flight) == (1, 0)
    assert log.count(100.0, PER) == 0
    assert log.expired == 0


def test_half_of_the_quickest_exchange_is_deducted():
    """The quickest so far, whichever came last."""
    log = make_sent_log(0.0, quickest=4.0)
    assert log.next_free(PER) == 58.0

    log.record_duration(1.0)
    log.record_duration(3.0)

    assert log.next_free(PER) == 59.5
    assert log.count(59.49, PER) == 1
    assert log.count(59.5, PER) == 0


@given(closed=st.floats(0, 1e6), per=st.floats(0.001, 3600))
@example(9.1, 59.9)
def test_when_the_next_place_comes_free_it_is_free(closed, per):
    """At the very time that is told: who comes then would else be told to come now, and wait."""
    log = make_sent_log(closed)

    assert log.count(log.next_free(per), per) == 0


def test_an_exchange_that_took_no_time_deducts_nothing():
    """On one machine, or by a clock that stands still, the whole period is waited for."""
    assert make_sent_log(0.0, quickest=0.0).next_free(PER) == PER


@pytest.mark.parametrize("per", [1.0, 60.0])
def test_at_most_a_twentieth_of_the_window_is_deducted(per):
    """The quickest of nothing but slow exchanges proves little."""
    assert make_sent_log(0.0, quickest=1e6).next_free(per) == per - per / 20


def test_another_period_is_another_view_of_the_same_requests():
    """A longer window holds what a shorter one lost sight of only if nobody looked before."""
    log = make_sent_log(0.0, 5.0, 9.0)

    assert log.count(10.0, PER) == 3
    assert log.count(10.0, 2.0) == 1
    assert log.count(10.0, PER) == 1
