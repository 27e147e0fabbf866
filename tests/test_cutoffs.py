"""Cutoffs: each call ends at its time, with one timer for all."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import now, run_virtual

from cekat_async._cutoffs import Cutoffs


async def call(cutoffs: Cutoffs, seconds: float) -> float | None:
    """Be busy for so many seconds; return when one was cut off, or None."""
    cutoff = asyncio.timeout(None)
    try:
        async with cutoff:
            cutoffs.add(cutoff)
            await asyncio.sleep(seconds)
    except TimeoutError:
        assert cutoff.expired()
        return now()
    finally:
        cutoffs.discard(cutoff)
    return None


@given(
    calls=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=12),
    seconds=st.one_of(st.none(), st.integers(1, 15)),
)
@settings(max_examples=200)
def test_calls_end_at_their_time(calls, seconds):
    """What takes longer than allowed is cut off just then, and nothing else is, ever."""

    async def begin(cutoffs: Cutoffs, start: int, length: int) -> float | None:
        # A tenth, so that no call ends in the very moment it would be cut off in.
        await asyncio.sleep(start)
        return await call(cutoffs, length + 0.1)

    async def main() -> None:
        cutoffs = Cutoffs(seconds)
        ends = await asyncio.gather(*(begin(cutoffs, *each) for each in calls))
        assert ends == [
            None if seconds is None or length < seconds else start + seconds
            for start, length in calls
        ]

    run_virtual(main())


def test_there_is_one_timer():
    """A thousand calls, none of which takes too long, set a single timer."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        set_at, call_at = [], loop.call_at
        loop.call_at = lambda when, *rest, **more: (
            set_at.append(when) or call_at(when, *rest, **more)
        )
        cutoffs = Cutoffs(60)
        for _ in range(1000):
            await call(cutoffs, 0)
        loop.call_at = call_at
        assert len(set_at) == 1

    run_virtual(main())


def test_the_time_it_returns_is_the_end():
    """``add`` returns when a call will be cut off, and infinity for never."""

    async def main() -> None:
        await asyncio.sleep(5)
        for seconds, end in ((10, 15), (None, float("inf"))):
            async with asyncio.timeout(None) as cutoff:
                found = Cutoffs(seconds).add(cutoff)
                await asyncio.sleep(0)
            assert round(found, 6) == end

    run_virtual(main())


def test_all_can_be_cut_off_at_once():
    """Those that are cut off together end at once, and only once; later ones live."""

    async def main() -> None:
        cutoffs = Cutoffs(10)
        calls = asyncio.gather(*(call(cutoffs, 3600) for _ in range(5)))
        await asyncio.sleep(2)
        cutoffs.cut_all()
        cutoffs.cut_all()
        assert await calls == [2] * 5
        assert await call(cutoffs, 1) is None

    run_virtual(main())


def test_a_cancellation_is_no_cutoff():
    """Who is cancelled in the same moment is cancelled, and does not time out."""

    async def main() -> None:
        cutoffs = Cutoffs(10)
        task = asyncio.create_task(call(cutoffs, 3600))
        await asyncio.sleep(9.999999)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(main())
