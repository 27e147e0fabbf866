"""Cutoffs: each call ends at its time, with one timer for all."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import now, run_virtual
from support.effort import EFFORT

from cekat_async._request.timeouts import Cutoffs


async def call(cutoffs: Cutoffs, seconds: float) -> float | None:
    """Be busy for so many seconds; return when one was cut off, or None."""
    try:
        with cutoffs.begin() as cutoff:
            await asyncio.sleep(seconds)
    except TimeoutError:
        assert cutoff.is_cut
        return now()
    return None


@given(
    calls=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=12),
    seconds=st.one_of(st.none(), st.integers(1, 15)),
)
@settings(max_examples=60 * EFFORT)
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


def test_it_knows_its_end():
    """A cutoff says when it will cut off, and infinity for never."""

    async def main() -> None:
        await asyncio.sleep(5)
        assert round(Cutoffs(10).begin().end, 6) == 15
        assert Cutoffs(None).begin().end == float("inf")

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


@pytest.mark.parametrize("cancelled_first", [True, False])
def test_a_cancellation_is_no_timeout(cancelled_first):
    """Who is cancelled in the very moment of the cutoff is cancelled, whichever came first."""

    async def main() -> None:
        cutoffs = Cutoffs(10)
        task = asyncio.create_task(call(cutoffs, 3600))
        await asyncio.sleep(1)
        for end in (task.cancel, cutoffs.cut_all)[:: 1 if cancelled_first else -1]:
            end()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    run_virtual(main())


def test_it_leaves_the_task_as_it_was():
    """Who was cut off can go on, and is not taken for cancelled."""

    async def main() -> None:
        assert await call(Cutoffs(1), 5) == 1
        assert asyncio.current_task().cancelling() == 0
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(1))

    run_virtual(main())


async def nested(outer: Cutoffs, inner: Cutoffs) -> None:
    """Be busy under two cutoffs, and again under the outer one when the inner one has cut."""
    with outer.begin() as outermost:
        try:
            with inner.begin() as innermost:
                await asyncio.sleep(60)
        except TimeoutError:
            assert innermost.is_cut
            assert not outermost.is_cut
            await asyncio.sleep(60)


@pytest.mark.parametrize("outer,inner", [(5, 2), (2, 5)])
def test_an_inner_one_leaves_the_outer_alone(outer, inner):
    """Of two, the one whose time is over ends, and the other goes on to its own end."""

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await nested(Cutoffs(outer), Cutoffs(inner))
        assert now() == outer

    run_virtual(main())


def test_what_fails_by_itself_fails_as_it_does():
    """An error of the call's own, a TimeoutError too, comes through as it is."""

    async def main() -> None:
        for mine in (ValueError("mine"), TimeoutError("mine")):
            with pytest.raises(type(mine)) as caught, Cutoffs(10).begin() as cutoff:
                raise mine
            assert caught.value is mine
            assert not cutoff.is_cut

    run_virtual(main())


def test_it_needs_a_task():
    """Outside of a task there is nothing to be cut off, which is said at once."""
    loop = asyncio.new_event_loop()
    failed: list[Exception] = []

    def begin() -> None:
        try:
            with Cutoffs(1).begin():
                pass
        except RuntimeError as error:
            failed.append(error)
        loop.stop()

    loop.call_soon(begin)
    loop.run_forever()
    loop.close()
    assert "task" in str(failed[0])
