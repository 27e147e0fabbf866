"""The quota that the server reports: which report is the newest, and which kind of quota it is."""

import math
from email.utils import formatdate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cekat_async._ratelimit.sent_log import Permit
from cekat_async._ratelimit.server.headers import QuotaStatement, parse_rate_limit_headers
from cekat_async._ratelimit.server.server_quota import (
    RESET_SLACK,
    HeaderReliability,
    ServerQuota,
)
from cekat_async.sandbox import Quota
from cekat_async.sandbox.behaviour.quota import build_counter, build_quota_headers

PER = 60.0
EPOCH = 1.8e9


def report(
    reports: ServerQuota, remaining: int | None, reset: float | None, sent: float, now: float
) -> bool:
    """Receive a report for a request sent at ``sent``, and return whether it is the newest."""
    return reports.update(QuotaStatement(remaining=remaining, reset=reset), Permit(sent), now, PER)


def get_report(reports: ServerQuota) -> tuple[float, float, float]:
    """Return the remaining requests, the reset and the time of the newest report."""
    return reports.remaining, reports.resets_at, reports.received_at


def window(*left: int, end: float = 100.0) -> ServerQuota:
    """Return the reports of a window that ends at 100. They arrive once a second from 60 on."""
    reports = ServerQuota()
    for now, remaining in enumerate(left, 60):
        report(reports, remaining, end - now, now - 0.5, now)
    return reports


def stream(*left: int) -> ServerQuota:
    """Return the reports of a server without resets. They arrive once a second from 0 on."""
    reports = ServerQuota()
    for now, remaining in enumerate(left):
        report(reports, remaining, None, now - 0.5, now)
    return reports


# --- without a report


def test_without_a_report_nothing_is_known():
    """Without a report there is no bound, no valid report, no continuous quota and no refill."""
    reports = ServerQuota()

    assert get_report(reports) == (math.inf, -math.inf, -math.inf)
    assert not reports.is_current(-1e9, PER)
    assert not reports.is_current(0.0, PER)
    assert not reports.is_continuous
    assert reports.get_refill_rate() == 0.0
    assert reports.most_remaining == 0
    assert not reports.is_full


def test_a_reply_without_remaining_is_no_report():
    """A reply without the remaining number changes nothing."""
    reports = window(10)

    assert not report(reports, None, 5.0, 61.0, 62.0)
    assert not report(reports, None, None, 61.0, 62.0)
    assert get_report(reports) == (10, 100.0, 60)
    assert not reports.is_continuous
    assert reports.most_remaining == 10


# --- windows


def test_a_report_is_valid_until_the_window_ends():
    """A report expires exactly when its window ends."""
    reports = ServerQuota()

    assert report(reports, 10, 40.0, 59.0, 60.0)
    assert get_report(reports) == (10, 100.0, 60.0)
    assert reports.measured_at == 59.5
    assert reports.is_current(99.99, PER)
    assert not reports.is_current(100.0, PER)


def test_of_reports_in_flight_together_the_smaller_is_newer():
    """A window is not refilled while it lasts, so replies may arrive in any order."""
    reports = ServerQuota()
    report(reports, 10, 40.0, 59.0, 60.0)

    assert not report(reports, 11, 39.9, 59.0, 60.1)
    assert not report(reports, 10, 39.8, 59.0, 60.2)
    assert get_report(reports) == (10, 100.0, 60.0)
    assert report(reports, 9, 39.5, 59.9, 60.5)
    assert get_report(reports) == (9, 100.0, 60.5)


def test_a_request_sent_after_the_newest_report_has_a_newer_one():
    """The report is newer even if more remains, because the limit may have been raised."""
    reports = ServerQuota()
    report(reports, 10, 40.0, 59.0, 60.0)

    assert not report(reports, 500, 39.0, 59.99, 61.0)
    assert report(reports, 500, 39.0, 60.0, 61.0)
    assert reports.remaining == 500


def test_a_late_report_of_the_last_window_is_ignored():
    """The late report has the smaller number, but its window has ended."""
    reports = ServerQuota()
    report(reports, 299, 60.0, 99.9, 100.5)

    assert not report(reports, 0, 0.0, 99.0, 100.6)
    assert get_report(reports) == (299, 160.5, 100.5)


def test_the_first_report_of_the_next_window_is_newer():
    """The report is newer, although both requests were in flight together and more remains."""
    reports = ServerQuota()
    report(reports, 0, 1.0, 99.0, 99.9)
    assert report(reports, 299, 60.0, 99.8, 100.1)

    assert get_report(reports) == (299, 160.1, 100.1)


@pytest.mark.parametrize("drift, is_newer", [(-1.5, True), (-1.51, False), (1.5, True)])
def test_resets_may_differ_by_rounding(drift, is_newer):
    """Resets within a second and a half belong to one window.

    In one window, a smaller number is newer.
    """
    reports = window(10)

    assert report(reports, 9, 40.0 + drift, 59.0, 60.0) is is_newer


@pytest.mark.parametrize("drift, is_newer", [(1.5, False), (1.51, True)])
def test_a_window_that_ends_later_is_a_later_one(drift, is_newer):
    """If the resets differ by more than rounding, even a report with a larger number is newer."""
    reports = window(10)

    assert report(reports, 11, 40.0 + drift, 59.0, 60.0) is is_newer


def test_after_the_newest_report_has_expired_any_report_is_newer():
    """An expired report contradicts no later report."""
    reports = window(10)

    assert not report(reports, 11, 1.0, 59.0, 99.99)
    assert report(reports, 11, 1.0, 59.0, 100.0)


def test_a_reset_of_zero_has_expired():
    """A report with a reset of zero shows nothing about later requests."""
    reports = ServerQuota()
    assert report(reports, 0, 0.0, 0.0, 1.0)

    assert not reports.is_current(1.0, PER)


# --- continuous quotas


def test_a_server_without_resets_is_continuous():
    """Without resets there is no reset to wait for, and a report is valid for a period."""
    reports = stream(10)

    assert reports.is_continuous
    assert get_report(reports) == (10, 60.0, 0)
    assert reports.is_current(59.99, PER)
    assert not reports.is_current(60.0, PER)
    assert reports.is_current(60.0, 61.0)


def test_the_newest_report_of_a_continuous_quota_was_sent_last():
    """The numbers show nothing about the order of reports, because they rise and fall."""
    reports = ServerQuota()
    report(reports, 10, None, 5.0, 6.0)

    assert not report(reports, 9, None, 4.99, 6.1)
    assert report(reports, 9, None, 5.0, 6.2)
    assert report(reports, 12, None, 5.1, 6.3)
    assert not report(reports, 0, None, 5.0, 6.4)
    assert get_report(reports) == (12, 66.3, 6.3)
    assert reports.measured_at == pytest.approx(5.7)


def test_a_report_of_a_continuous_quota_with_resets_is_valid_for_a_period():
    """Everything may be refilled sooner, but the client loses no request because of that."""
    reports = stream(10)
    report(reports, 9, 2.0, 1.0, 2.0)

    assert reports.is_continuous
    assert get_report(reports) == (9, 4.0, 2.0)
    assert reports.is_current(61.99, PER)
    assert not reports.is_current(62.0, PER)


def test_three_resets_that_moved_show_a_continuous_quota():
    """Each reset must move by more than rounding, and by less than from window to window."""
    reports = ServerQuota()
    for sent, reset in [(0.0, 10.0), (1.0, 10.6), (2.0, 11.0)]:
        report(reports, 5, reset, sent, sent)
        assert not reports.is_continuous
    report(reports, 5, 60.0, 3.0, 3.0)

    assert reports.is_continuous


@pytest.mark.parametrize("drift, moves", [(1.5, False), (1.51, True), (58.4, True), (58.5, False)])
def test_which_resets_have_moved(drift, moves):
    """A reset has moved if it is later by more than a second and a half.

    The difference is also at most a window less a second and a half.
    """
    reports = ServerQuota()
    report(reports, 5, 10.0, 0.0, 0.0)
    for _ in range(3):
        report(reports, 5, 10.0 + drift, 0.0, 0.0)

    assert reports.is_continuous is moves


def test_one_window_after_the_other_is_not_continuous():
    """If a window was mistaken for a continuous quota, it is later recognised as a window again."""
    reports = ServerQuota()
    for now in (0.0, 3.0, 6.0, 9.0):
        report(reports, 5, 10.0, now, now)
    assert reports.is_continuous

    report(reports, 5, 20.0, 59.0, 59.0)

    assert not reports.is_continuous


@pytest.mark.parametrize("drift, is_continuous", [(58.5, False), (61.5, False), (61.6, True)])
def test_after_a_longer_pause_a_reset_shows_nothing(drift, is_continuous):
    """The reset is later because there were no requests. The quota keeps its kind."""
    reports = ServerQuota()
    for now in (0.0, 3.0, 6.0, 9.0):
        report(reports, 5, 10.0, now, now)

    report(reports, 5, drift - 41.0, 60.0, 60.0)

    assert reports.is_continuous is is_continuous


def test_pauses_do_not_hide_a_continuous_quota():
    """The next resets are compared with the first one after the pause."""
    reports = ServerQuota()
    for now in (0.0, 1000.0, 1003.0, 1006.0):
        report(reports, 5, 10.0, now, now)
        assert not reports.is_continuous
    report(reports, 5, 10.0, 1009.0, 1009.0)

    assert reports.is_continuous


# --- the refill


def test_the_largest_remaining_is_stored():
    """Reports out of order count too.

    ``is_full`` says whether the newest report is as large as the largest.
    """
    reports = window(10)
    assert reports.is_full

    report(reports, 12, 39.0, 59.0, 61.0)
    assert (reports.remaining, reports.most_remaining) == (10, 12)
    assert not reports.is_full

    report(reports, 12, 38.0, 61.5, 62.0)
    assert reports.is_full


@pytest.mark.parametrize(
    "left, refill",
    [
        # The level does not change although each request takes one, so one per second is refilled.
        ([10] * 8, 1.0),
        (range(10, 2, -1), 0.0),
        (range(10, 26, 2), 3.0),
        # A few reports do not show the refill, and a refill is never negative.
        ([10] * 7, 0.0),
        (range(100, 20, -10), 0.0),
        # The last eight reports show that the refill stopped. The long measurement still includes
        # the past.
        ([*[10] * 20, *range(9, 1, -1)], 0.0),
        ([*range(30, 10, -1), *[11] * 20], 20 / 39),
        # The long measurement covers sixty-four reports.
        ([*range(30, 10, -1), *[11] * 63], 63 / 63),
        ([*range(30, 10, -1), *[11] * 62], 62 / 63),
    ],
)
def test_the_refill_per_second(left, refill):
    """The refill per second is the slower of a long and a short measurement."""
    assert stream(*left).get_refill_rate() == pytest.approx(refill)


def test_replies_without_remaining_count_as_taken():
    """Each reply belongs to a request that was counted, whatever the reply reports."""
    reports = ServerQuota()
    for now in range(0, 16, 2):
        report(reports, 10, None, now, now)
        report(reports, None, None, now, now)

    assert reports.get_refill_rate() == 1.0


def test_reports_at_one_time_show_no_refill():
    """Neither the long nor the short measurement divides by zero."""
    reports = ServerQuota()
    for remaining in range(8):
        report(reports, remaining, None, 1.0, 1.0)
    assert reports.get_refill_rate() == 0.0

    report(reports, 100, None, 2.0, 2.0)
    for _ in range(8):
        report(reports, 100, None, 2.0, 2.0)
    assert reports.get_refill_rate() == 0.0


# --- real servers: the sandbox's counters and headers, parsed as from the network

RESETS = ["epoch", "epoch_ms", "delta", "ratelimit", "ratelimit-combined"]


def make_server_quota(limit: int, said_as: str, **more: object) -> Quota:
    """Return a quota whose server reports resets in one of the forms."""
    headers = {"headers": said_as} if said_as.startswith("ratelimit") else {"reset_as": said_as}
    return Quota(limit, PER, **headers, **more)


def talk(quota: Quota, ways: list[tuple[float, float, float]], begin: float = 0.0) -> ServerQuota:
    """Send requests at intervals, each with a time on the way there and one on the way back."""
    server, reports, heard = build_counter(quota), ServerQuota(), []
    now = 1000.0 + begin
    arrivals = []
    for wait, there, back in ways:
        now += wait
        arrivals.append((now + there, now, back))
    for at, sent, back in sorted(arrivals):
        headers = build_quota_headers(quota, server.take(at), EPOCH + at)
        headers["Date"] = formatdate(EPOCH + at, usegmt=True)
        heard.append((at + back, sent, headers))
    for at, sent, headers in sorted(heard, key=lambda one: one[0]):
        (said,) = parse_rate_limit_headers(headers)
        reports.update(said, Permit(sent), at, PER)
        if quota.window in {"fixed", "first_hit"}:
            assert not reports.is_continuous
    return reports


# Rounding and the way back make a reset late. Only differences between the ways back matter. They
# may add up to a second and a half, of which rounding to whole seconds takes one.
WAYS_BACK = st.floats(0, 0.49)
PACES = st.floats(0, 1) | st.floats(0, 30) | st.floats(0, 200)


@given(
    said_as=st.sampled_from(RESETS),
    kind=st.sampled_from(["fixed", "first_hit"]),
    phase=st.floats(0, 59.999),
    begin=st.floats(0, 60),
    way_back=st.floats(0, 20),
    ways=st.lists(st.tuples(PACES, st.floats(0, 20), WAYS_BACK), max_size=50),
)
@example("epoch", "fixed", 0.999, 0.0, 0.0, [(0.05, 0.0, 0.49 * (n % 2)) for n in range(2000)])
@example("delta", "first_hit", 0.0, 0.3, 0.0, [(7.93, 0.0, 0.49 * (n % 2)) for n in range(200)])
def test_windows_are_never_read_as_continuous(said_as, kind, phase, begin, way_back, ways):
    """Windows are recognised at any phase, with ``Date`` and resets rounded to whole seconds.

    The times on the way back must differ by less than half a second. A reply that is seconds late
    moves the reset like that of a continuous quota.
    """
    more = {"phase": phase} if kind == "fixed" else {}
    quota = make_server_quota(5, said_as, window=kind, **more)

    talk(quota, [(wait, there, way_back + back) for wait, there, back in ways], begin)


@given(
    said_as=st.sampled_from(RESETS),
    begin=st.floats(0, 60),
    gap=st.floats(0.05, 10),
    jitters=st.lists(st.floats(0, 0.49), min_size=4, max_size=4),
)
def test_sliding_windows_are_recognised_within_a_few_reports(said_as, begin, gap, jitters):
    """A sliding window is recognised three reports after its resets have moved by three seconds.

    There must be a request at least every ten seconds. With one or two requests per window, a
    sliding window looks like separate windows, and recognising it would gain nothing.
    """
    quota = make_server_quota(1000, said_as, window="sliding")
    still = int(3 / gap) + 1
    ways = [(gap, 0.1, 0.1)] * still + [(gap, 0.1, 0.1 + jitter) for jitter in jitters]

    assert talk(quota, ways, begin).is_continuous


@pytest.mark.parametrize("said_as", RESETS)
@pytest.mark.parametrize("burst", [10, 300])
@pytest.mark.parametrize("gap", [0.05, 0.2, 0.25, 0.5, 1.0, 5.0])
def test_buckets_are_recognised_within_a_few_reports(said_as, burst, gap):
    """Any bucket, drained, level or full, is recognised three reports after its resets moved."""
    quota = make_server_quota(300, said_as, window="bucket", burst=burst)
    # Each request moves the reset by a fifth of a second, until the bucket is empty or full.
    reports = talk(quota, [(gap, 0.05, 0.05)] * (int(3 / max(gap, 0.2)) + 4))

    assert reports.is_continuous


@pytest.mark.parametrize("said_as", RESETS)
def test_a_reset_is_never_too_early(said_as):
    """If only one value is rounded, a reset is late by at most the slack plus the way back."""
    quota = make_server_quota(5, said_as, window="fixed", phase=17.3)
    for tick in range(400):
        begin = tick * 0.173
        reports = talk(quota, [(0.0, 0.0, 0.25)], begin)
        end = math.floor((1000 + begin - 17.3) / PER) * PER + 17.3 + PER
        late = reports.resets_at - end
        # An epoch is rounded up to whole seconds. The date that it is compared with is rounded
        # down.
        most = {"epoch": 2.0, "epoch_ms": 1.001}.get(said_as, RESET_SLACK)
        assert 0.25 - 1e-6 <= late <= most + 0.25


@pytest.mark.parametrize("late", [2.0, 10.0])
def test_slow_replies_do_not_make_a_window_continuous(late):
    """The server made the report before it sent the reply, so a delay does not move the reset."""
    ways = [(1.0, 0.05, 0.05 if n % 4 else late) for n in range(50)]

    talk(make_server_quota(300, "delta", window="fixed", phase=0.5), ways)


# --- any reports

NUMBERS = st.none() | st.integers(0, 5) | st.integers(0, 999_999_999)
RESET = st.none() | st.just(0.0) | st.floats(0.001, 3) | st.floats(0.001, 2_678_400)
PERS = st.sampled_from([1e-9, 0.5, 1.0, 3.0, 60.0, 3600.0])
WORDS = st.tuples(NUMBERS, RESET, st.just(0.0) | st.floats(0, 100), st.floats(0, 100), PERS)


@given(words=st.lists(WORDS, max_size=30))
def test_no_sequence_of_reports_breaks_it(words):
    """The server quota stays valid after contradictions, absurd numbers and stopped clocks."""
    reports, now, most = ServerQuota(), 0.0, 0
    for remaining, reset, wait, trip, per in words:
        now += wait
        before = get_report(reports)
        is_newest = reports.update(
            QuotaStatement(None, remaining, reset), Permit(now - trip), now, per
        )
        if is_newest:
            assert get_report(reports) == (remaining, now + (per if reset is None else reset), now)
            assert reports.measured_at == pytest.approx(now - trip / 2)
        else:
            assert get_report(reports) == before
        most = max(most, remaining or 0)
        assert reports.most_remaining == most
        assert 0 <= reports.get_refill_rate() < math.inf
        assert reports.measured_at <= now
        assert not reports.is_current(now + 1e9, per)


# --- the reliability of reports


def contradict(reliability: HeaderReliability, times: int, now: float = 0.0) -> None:
    """Grant requests after ``remaining: 0``, and report 0 again."""
    for _ in range(times):
        reliability.record_grant(0, now, PER, after_zero=True)


def test_everything_is_trusted_at_first():
    """At first, zeros and large numbers are trusted, and so is the first test of a zero."""
    reliability = HeaderReliability()

    assert reliability.trusts_remaining_from == -math.inf
    assert reliability.trusts_zero_from == -math.inf
    assert reliability.probes_from == -math.inf
    assert reliability.contradictions == 0


def test_six_grants_despite_a_zero_show_that_it_is_wrong():
    """A reported 0 is ignored for ten windows, and the next time for twenty."""
    reliability = HeaderReliability()
    contradict(reliability, 5)
    assert reliability.contradictions == 5
    assert reliability.trusts_zero_from == -math.inf

    contradict(reliability, 1, now=7.0)
    assert reliability.contradictions == 0
    assert reliability.trusts_zero_from == 607.0

    contradict(reliability, 6, now=1000.0)
    assert reliability.trusts_zero_from == 2200.0


@pytest.mark.parametrize(
    "remaining, after_zero, contradictions, is_distrusted",
    [(0, True, 0, True), (0, False, 5, False), (1, True, 0, False), (1, False, 0, False)],
)
def test_only_a_zero_that_is_repeated_is_a_contradiction(
    remaining, after_zero, contradictions, is_distrusted
):
    """If a grant after a reported 0 reports more, the quota was refilled."""
    reliability = HeaderReliability()
    contradict(reliability, 5)
    reliability.record_grant(remaining, 0.0, PER, after_zero=after_zero)

    assert reliability.contradictions == contradictions
    assert (reliability.trusts_zero_from == 600.0) is is_distrusted


def test_a_zero_that_was_confirmed_is_not_tested_again_soon():
    """A confirmed 0 is not tested for ten windows."""
    reliability = HeaderReliability()
    reliability.confirm_zero(5.0, PER)

    assert reliability.probes_from == 605.0


def test_a_large_number_that_was_refused_is_ignored_for_a_while():
    """After the refusal, such a number is ignored for ten windows."""
    reliability = HeaderReliability()
    reliability.distrust_remaining(5.0, PER)

    assert reliability.trusts_remaining_from == 605.0
