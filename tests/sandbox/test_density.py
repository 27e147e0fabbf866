"""Conversations are distributed over time, and any moment is found without a search."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from statistics import median

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.effort import EFFORT, calls_in

from cekat_async.sandbox import Dialect, Sandbox
from cekat_async.sandbox.data.account import Account
from cekat_async.sandbox.data.timeline import NEWEST, format_cursor_time

DENSITIES = ("even", "bursty", "recent")
SIZES = (500, 40_000, 1_000_000) if EFFORT > 1 else (500, 40_000)
densities = st.sampled_from(DENSITIES)
sizes = st.integers(0, 300)
seeds = st.integers(0, 2**32)
ties = st.integers(1, 40) | st.just(1)
often = settings(max_examples=50 * EFFORT)


def make_account(density, size, *, seed=1, tie=1):
    return Account(size, 3, seed, Dialect(density=density, tie=tie))


def get_times(density, size, **options):
    account = make_account(density, size, **options)
    return [account.timeline.get_time(number) for number in range(size)]


def find_bursts(times):
    """Split decreasing timestamps wherever a gap is much longer than usual."""
    usual = median(a - b for a, b in pairwise(times))
    bursts = [times[:1]]
    for before, at in pairwise(times):
        if before - at > 8 * usual:
            bursts.append([])
        bursts[-1].append(at)
    return bursts


@often
@given(densities, sizes, seeds, ties)
@example("bursty", 1, 0, 1)
@example("recent", 1, 0, 1)
@example("recent", 9, 0, 1)
def test_timestamps_fall_strictly_by_group(density, size, seed, tie):
    """For any density, times fall from the documented start, and ``tie`` rows share each time."""
    times = get_times(density, size, seed=seed, tie=tie)
    assert times[:1] in ([], [NEWEST])
    assert all((a == b) if n % tie else (a > b) for n, (a, b) in enumerate(pairwise(times), 1))


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("tie", [1, 7, 1000])
@pytest.mark.parametrize("size", [500, 40_000, 1_000_000, 100_000_000])
def test_every_place_in_a_large_account_is_found_at_once(density, tie, size):
    """Rank and timestamp are inverse functions, even at the edges of every period."""
    account = make_account(density, size, tie=tie)
    timeline, of = account.timeline, account.ids.encode
    edges = {first * tie + near for first in timeline._firsts for near in (-2, -1, 0, 1, tie)}
    spread = {size * part // 97 for part in range(98)}
    numbers = [number for number in edges | spread if 0 <= number < size]

    def find(number):
        place = timeline.get_time(number), of(number)
        assert (timeline.count_newer(*place), timeline.count_not_older(*place)) == (
            number,
            number + 1,
        )

    assert max(calls_in(partial(find, number)) for number in numbers) < 200
    assert len(timeline._periods) < 150


@pytest.mark.parametrize(
    "size, least, most", [(500, 4, 8), (40_000, 16, 24), (1_000_000, 36, 50)][: len(SIZES)]
)
def test_bursts_are_few_and_unequal_and_gaps_are_long(size, least, most):
    """The gap after a burst is about fifty times as long as the burst."""
    bursts = find_bursts(get_times("bursty", size))
    assert least <= len(bursts) <= most
    lengths = [len(burst) for burst in bursts]
    assert max(lengths) > 3 * min(lengths) > 0
    for newer, older in pairwise(bursts):
        if len(newer) > 20:
            assert 40 < (newer[-1] - older[0]) / (newer[0] - newer[-1]) < 60


@pytest.mark.parametrize("size", SIZES)
def test_most_are_recent(size):
    """Nine in ten conversations are in the latest hundredth of the time, and the rest before."""
    times = get_times("recent", size)
    whole = times[0] - times[-1]
    recent = sum(times[0] - at <= whole / 100 for at in times)
    assert 0.9 <= recent / size < 0.905
    rest = times[recent:]
    thirds = [sum(whole * third / 3 <= times[0] - at for at in rest) for third in range(3)]
    assert thirds[1] / len(rest) == pytest.approx(2 / 3, abs=0.05)
    assert thirds[2] / len(rest) == pytest.approx(1 / 3, abs=0.05)


@pytest.mark.parametrize("size", SIZES)
def test_the_whole_time_does_not_depend_on_the_density(size):
    """Bursts and gaps together cover about the same time as an even distribution."""
    even, *others = (
        NEWEST - make_account(density, size).timeline.get_time(size - 1) for density in DENSITIES
    )
    for whole in others:
        assert 0.7 < whole / even < 1.1


def test_another_seed_has_other_bursts():
    """The seed determines the sizes of the bursts, like all other data."""
    shapes = [[len(b) for b in find_bursts(get_times("bursty", 2000, seed=s))] for s in (1, 1, 2)]
    assert shapes[0] == shapes[1] != shapes[2]


async def test_a_cursor_in_a_gap_points_to_the_next_burst(calling):
    """A constructed cursor between two bursts continues with the whole older burst."""
    bursts = find_bursts(get_times("bursty", 400))
    dialect = Dialect(density="bursty")
    async with Sandbox(400, dialect=dialect) as sandbox, calling(sandbox) as caller:
        ids, passed = [id_ for id_, _ in sandbox.records()], 0
        for newer, older in pairwise(bursts):
            passed += len(newer)
            middle = format_cursor_time((newer[-1] + older[0]) // 2)
            page = await caller.page(limit=1, cursor_id="any", cursor_ts=middle)
            assert page["data"][0]["id"] == ids[passed]
