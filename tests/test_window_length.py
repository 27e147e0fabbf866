"""The length of the server's window is never assumed too short, and soon not much too long."""

import math
import random
from bisect import bisect_right
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.effort import EFFORT

from cekat_async._ratelimit.server.window_length import Report, WindowLength
from cekat_async.sandbox import Quota
from cekat_async.sandbox.behaviour.quota import build_counter

KINDS = ["fixed", "first_hit", "sliding", "bucket"]
# Ways to report the seconds until the reset: exactly, rounded down, rounded up, or never.
ROUNDINGS = {"exact": float, "down": math.floor, "up": math.ceil, "none": lambda seconds: None}


class Server(NamedTuple):
    """A server that counts in one of the ways and does not report the length of its window."""

    kind: str = "fixed"
    limit: int = 10
    per: float = 5.0
    phase: float = 0.0
    resets: str = "none"
    # True if ``remaining`` excludes the request itself.
    reports_before: bool = False

    def build(self):
        phase = {"phase": self.phase} if self.kind == "fixed" else {}
        return build_counter(Quota(self.limit, self.per, window=self.kind, **phase))


class Request(NamedTuple):
    """A request of ours: when it is sent, when the server counts it, and when the reply arrives."""

    sent: float
    counted: float
    received: float


def get_replies(server: Server, requests: list[Request], strangers: list[float]):
    """Return each request with the report of its reply, in order of arrival.

    The report is ``None`` if the request was refused.
    """
    counter, replies = server.build(), []
    everyone = [(one.counted, one.received, one) for one in requests]
    everyone += [(at, at, None) for at in strangers]
    for at, _, request in sorted(everyone, key=lambda one: one[:2]):
        state = counter.take(at)
        if request is not None:
            remaining = state.remaining + (server.reports_before and state.granted)
            reset = ROUNDINGS[server.resets](state.reset)
            report = Report(server.limit, remaining, reset, request.sent, request.received)
            replies.append((request, report if state.granted else None))
    return sorted(replies, key=lambda one: one[0].received)


def observe(length, server: Server, requests, strangers=(), quickest=0.0, lost=frozenset()):
    """Receive all replies, and return the assumed length after each.

    A returned length is the smaller of two: the assumed one, and the one that this server's way of
    counting still allows. So other ways of counting, which are not excluded yet, cannot hide a
    mistake. ``lost`` are the indices of replies that the client could not read.
    """
    replies, lengths = get_replies(server, requests, list(strangers)), []
    for place, (request, report) in enumerate(replies):
        if report is None or place in lost:
            continue
        in_flight = sum(later.sent <= request.received for later, _ in replies[place + 1 :])
        length.record(report, quickest=quickest, in_flight=in_flight, used=0)
        possible = {"sliding": length._sliding, "bucket": length._bucket.longest}
        lengths.append(min(length.seconds, possible.get(server.kind, length._fixed.longest)))
    return lengths


def make_requests(waits, ways, least=0.0) -> list[Request]:
    """Return requests at these intervals.

    On its way there and on its way back, each request takes ``least`` plus a given time.
    """
    sent, requests = 100.0, []
    for wait, (there, back) in zip(waits, ways, strict=False):
        sent += wait
        counted = sent + least + there
        requests.append(Request(sent, counted, counted + least + back))
    return requests


def is_no_shorter(length: float, truth: float) -> bool:
    return length >= truth * (1 - 1e-6)


# --- never too short

SERVERS = st.builds(
    Server,
    kind=st.sampled_from(KINDS),
    limit=st.integers(1, 8) | st.integers(1, 60),
    per=st.floats(0.5, 60) | st.just(60.0),
    phase=st.floats(0, 60),
    resets=st.sampled_from(sorted(ROUNDINGS)),
    reports_before=st.booleans(),
)


@st.composite
def traffic(draw, per: float):
    """Our requests, the requests of others, and the shortest way, in any order and density."""
    scale = draw(st.sampled_from([0.01, 0.1, 1.0])) * per
    times = st.just(0.0) | st.floats(0, scale) | st.floats(0, 3 * per)
    jitter = st.just(0.0) | st.floats(0, draw(st.sampled_from([0.0, 0.05, 1.0, 10.0])))
    waits = draw(st.lists(times, max_size=60))
    ways = draw(st.lists(st.tuples(jitter, jitter), min_size=len(waits), max_size=len(waits)))
    strangers = draw(st.lists(st.floats(100, 100 + sum(waits) + 10), max_size=60))
    least = draw(st.sampled_from([0.0, 0.01, 0.5]))
    return make_requests(waits, ways, least), strangers, 2 * least


def make_long_traffic(server: Server, seed: int):
    """Return enough traffic for several windows, with a pattern that changes now and then."""
    chance = random.Random(seed)
    least, jitter = chance.choice([0.0, 0.02, 0.3]), chance.choice([0.0, 0.02, 0.3, 3.0])
    waits, ways, strangers, at = [], [], [], 100.0
    while len(waits) < 300:
        gap = server.per / server.limit * chance.choice([0.0, 0.1, 0.5, 0.95, 1.0, 1.05, 3.0, 20.0])
        others = chance.choice([0.0, 0.0, 0.3, 1.0, 3.0])
        for _ in range(chance.randint(1, 40)):
            waits.append(gap * chance.choice([1.0, 1.0, 1.0, 2 * chance.random()]))
            ways.append((jitter * chance.random() ** 3, jitter * chance.random() ** 3))
            at += waits[-1]
            count = int(others + chance.random()) if others else 0
            strangers += [at + chance.random() * (gap + jitter) for _ in range(count)]
    return make_requests(waits, ways, least), strangers, 2 * least


@settings(max_examples=300 * EFFORT)
@given(
    data=st.data(),
    server=SERVERS,
    more=st.just(1.0) | st.floats(1, 20),
    lost=st.frozensets(st.integers(0, 60), max_size=10),
)
def test_it_is_never_shorter_than_the_truth(data, server, more, lost):
    """The assumed length is never too short.

    That holds for any timing, any other clients, and any order of replies.
    """
    requests, strangers, quickest = data.draw(traffic(server.per))
    length = WindowLength(server.per * more)

    for seconds in observe(length, server, requests, strangers, quickest, lost):
        assert is_no_shorter(seconds, server.per)


@settings(max_examples=100 * EFFORT)
@given(server=SERVERS, seed=st.integers(0, 2**32), more=st.just(1.0) | st.floats(1, 20))
# Two replies were in flight. The server made the first one later, after strangers had taken some.
@example(Server("fixed", 10, 60.0), 0, 1.0)
def test_it_is_never_shorter_than_the_truth_in_the_long_run(server, seed, more):
    """The length is not too short after hundreds of requests either.

    Old requests are dropped by then.
    """
    requests, strangers, quickest = make_long_traffic(server, seed)
    length = WindowLength(server.per * more)

    for seconds in observe(length, server, requests, strangers, quickest):
        assert is_no_shorter(seconds, server.per)


def test_the_refill_of_a_bucket_is_measured_between_the_counts():
    """Exactly the times on the way are deducted, and the remaining number was rounded down."""
    server, counted = Server("bucket", 10, 10.0), [100.0] * 6 + [100.999, 103.0]
    requests = [Request(at - 0.5, at, at + 0.5) for at in counted]

    # Three requests are refilled in 2.001 seconds, and two of them are certain.
    assert observe(WindowLength(20.0), server, requests, quickest=1.0)[-1] == pytest.approx(10.005)


# --- soon not much too long


def use(length: WindowLength, server: Server, count: int, seed: int, *, probes: bool = False):
    """Send as many requests as the assumed window allows, one by one, and return all lengths.

    Unless it ``probes``, the client never reports that it uses most of the limit.
    """
    counter, chance, at, received, lengths = server.build(), random.Random(seed), 100.0, [], []
    for _ in range(count):
        if len(received) >= server.limit:
            at = max(at, received[-server.limit] + length.seconds)
        state, end = counter.take(at + 0.02), at + 0.04
        if state.granted:
            received.append(end)
            used = len(received) - bisect_right(received, end - length.seconds) if probes else 0
            reset = ROUNDINGS[server.resets](state.reset)
            report = Report(server.limit, state.remaining, reset, at, end)
            length.record(report, quickest=0.04, in_flight=0, used=used)
        lengths.append(length.seconds)
        # a request immediately, or after up to twice the even pace
        at = end + chance.choice([0.0, 0.0, 0.5, 1.0, 2.0]) * length.seconds / server.limit
    return lengths


@pytest.mark.parametrize("resets", sorted(ROUNDINGS))
@pytest.mark.parametrize("per", [5.0, 20.0, 45.0])
@pytest.mark.parametrize("limit", [10, 30, 60])
@pytest.mark.parametrize("kind", ["fixed", "sliding", "bucket"])
def test_it_converges(kind, limit, per, resets):
    """After enough requests, the assumed length is at most a tenth too long."""
    server = Server(kind, limit, per, 3.3, resets)

    lengths = use(WindowLength(60.0), server, max(400, 20 * limit), seed=1)

    assert per * (1 - 1e-6) <= lengths[-1] <= 1.1 * per


@pytest.mark.parametrize("per", [5.0, 20.0, 45.0])
@pytest.mark.parametrize("limit", [30, 60])
def test_it_converges_if_windows_begin_with_a_request(limit, per):
    """The measured time includes the time between two windows."""
    lengths = use(WindowLength(60.0), Server("first_hit", limit, per), 20 * limit, seed=1)

    assert per * (1 - 1e-6) <= lengths[-1] <= 1.1 * per


def test_a_length_near_the_guess_is_the_guess():
    """If the window is less than a tenth shorter than the guess, the guess is safer."""
    lengths = use(WindowLength(60.0), Server("fixed", 30, 55.0, 3.3), 300, 1)

    assert set(lengths) == {60.0}


# --- a bucket is tested with more requests, because a full one does not show its refill


@pytest.mark.parametrize("per", [5.0, 20.0, 45.0])
@pytest.mark.parametrize("limit", [10, 30])
def test_a_bucket_is_asked_for_more_until_it_runs_low(limit, per):
    """When the bucket runs low, the measured refill applies. It is within a fifth of the truth."""
    lengths = use(WindowLength(60.0), Server("bucket", limit, per), 900, seed=1, probes=True)

    assert min(lengths) >= per / 3
    later = lengths[450:]
    assert 0.8 * per <= sum(later) / len(later) <= 1.1 * per


def fill(length: WindowLength, count: int, remaining: int, gap: float, begin: float, used: int):
    """Record reports of a bucket of 100 at an even pace, and return the last time."""
    for place in range(count):
        at = begin + place * gap
        length.record(
            Report(100, remaining, None, at - 0.1, at), quickest=0.0, in_flight=0, used=used
        )
    return at


def make_bucket_length() -> WindowLength:
    """Return the assumed length after many requests, each with a report of 99."""
    length = WindowLength(60.0)
    # In 6 seconds, 15 requests are refilled, and 14 of them are certain.
    fill(length, 120, 99, 0.4, 0.0, used=0)
    return length


def test_a_bucket_that_stays_full_is_asked_for_more():
    """If most of the limit is used, about half as much again is sent as a test.

    Otherwise there is no test.
    """
    idle, busy = make_bucket_length(), make_bucket_length()
    before = idle.seconds
    assert before < 54.0

    fill(idle, 60, 99, 0.4, 48.0, used=79)
    fill(busy, 27, 99, 0.4, 48.0, used=80)

    assert idle.seconds == pytest.approx(before)
    assert busy.seconds == pytest.approx(before * (1.4 - 0.99))


def test_a_bucket_that_runs_low_shows_its_refill():
    """The measured refill replaces the tested rate, and later steps are small."""
    length = make_bucket_length()
    before = length.seconds
    at = fill(length, 27, 99, 0.4, 48.0, used=80)
    assert length.seconds < 0.5 * before

    # From 39 on, the client takes 26 at two per second, and one of two is refilled.
    for place in range(60):
        at += 0.2
        remaining = max(1, 39 - place // 2)
        report = Report(100, remaining, None, at - 0.1, at)
        length.record(report, quickest=0.0, in_flight=0, used=80)
    low = length.seconds
    assert low == pytest.approx(before, rel=0.1)

    # when the bucket is full again after a while
    fill(length, 60, 99, 0.4, at + 100, used=80)
    assert length.seconds == pytest.approx(low * 0.95**2)


# --- the end of an assumption


def make_short(guess: float = 60.0, per: float = 5.0) -> WindowLength:
    """Return the assumed length for a server whose windows are shorter than the guess."""
    length = WindowLength(guess)
    use(length, Server("sliding", 30, per), 600, 1)
    assert length.seconds < 1.1 * per
    return length


def tell(length: WindowLength, limit: int = 30, reset: float | None = None, at: float = 1e4):
    length.record(Report(limit, 1, reset, at - 0.1, at), quickest=0.04, in_flight=0, used=0)


def test_a_new_limit_starts_over():
    """All evidence is about the old limit. If the limit does not change, the evidence is kept."""
    length = make_short()
    before = length.seconds
    tell(length, 30)
    assert length.seconds == before

    tell(length, 31)

    assert length.seconds == 60.0
    assert use(length, Server("sliding", 30, 5.0), 600, 2)[-1] < 5.5


def test_it_can_be_reset():
    """After a reset, the length is as if nothing had been reported."""
    length = make_short()
    length.restart()

    assert length.seconds == 60.0


@pytest.mark.parametrize("seconds, expected", [(0.0, None), (66.0, None), (66.1, 66.1)])
def test_a_longer_window_is_assumed_if_it_is_clearly_longer(seconds, expected):
    """A window must be longer by a tenth of the guess. If so, all earlier evidence is dropped."""
    length = make_short()
    before = length.seconds

    length.extend(seconds)

    assert length.seconds == (expected or before)


@pytest.mark.parametrize("reset, expected", [(68.0, 60.0), (69.0, 67.0), (3600.0, 3598.0)])
def test_a_window_is_as_long_as_the_time_until_its_reset(reset, expected):
    """The length is two seconds shorter, because the reset and its start time are rounded."""
    length = WindowLength(60.0)

    tell(length, reset=reset)

    assert length.seconds == expected


def test_a_window_that_was_too_short_is_longer_for_a_while():
    """The assumed window grows by a tenth, then by two tenths, then by four tenths.

    A report that arrives more than two guesses later ends this.
    """
    length = make_short()
    before = length.seconds
    for factor, now in ((1.1, 0.0), (1.1 * 1.2, 100.0), (1.1 * 1.2 * 1.4, 200.0)):
        length.lengthen(now)
        assert length.seconds == pytest.approx(before * factor)

    tell(length, at=320.0)
    assert length.seconds == pytest.approx(before * 1.1 * 1.2 * 1.4)
    tell(length, at=320.1)
    assert length.seconds == before
    length.lengthen(400.0)
    assert length.seconds == pytest.approx(before * 1.8)


def test_it_is_never_lengthened_beyond_the_guess():
    """Lengthening never makes the assumed window longer than the guess."""
    length = make_short()
    for now in range(9):
        length.lengthen(now)

    assert length.seconds == 60.0
    length.restart(30)
    assert length.seconds == 60.0


def test_what_strangers_take_hides_the_evidence():
    """If as many requests are missing as without any refill, nothing is concluded."""
    length = WindowLength(60.0)
    for at in range(0, 600, 2):
        report = Report(30, 1, None, at - 0.1, at)
        length.record(report, quickest=0.0, in_flight=0, used=30)

    # 30 requests in a window of 60 seconds are remembered, which is correct.
    assert length.seconds == 60.0
