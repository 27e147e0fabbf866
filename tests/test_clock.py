"""The limiter's clock: exact on each event loop, and virtual in tests."""

import asyncio
import time

import pytest
from support.clock import virtual

from cekat_async._ratelimit.clock import time_now


async def measure_a_turn() -> float:
    """Return how far the clock advances in an iteration of the loop that takes 20 ms."""
    before = time_now()
    time.sleep(0.02)  # noqa: ASYNC251 - on purpose
    return time_now() - before


@pytest.mark.parametrize("library", ["asyncio", "uvloop"])
def test_it_continues_during_a_turn_of_the_loop(library):
    """The clock shows the current time, and not the start of the loop's current iteration."""
    module = pytest.importorskip(library, reason=f"{library} is not installed")

    with asyncio.Runner(loop_factory=module.new_event_loop) as runner:
        assert runner.run(measure_a_turn()) >= 0.02


@pytest.mark.parametrize("library", ["asyncio", "uvloop"])
def test_it_is_the_clock_of_timers(library):
    """A callback that is scheduled for a time on this clock does not run before that time."""
    module = pytest.importorskip(library, reason=f"{library} is not installed")

    async def main() -> None:
        loop, came = asyncio.get_running_loop(), asyncio.Event()
        at = time_now() + 0.05
        loop.call_at(at, came.set)
        await came.wait()
        assert -0.002 < time_now() - at < 10

    with asyncio.Runner(loop_factory=module.new_event_loop) as runner:
        runner.run(main())


@virtual
async def test_a_virtual_clock_counts():
    """On any other kind of event loop, the limiter uses that loop's own clock."""
    assert time_now() == asyncio.get_running_loop().time()
    await asyncio.sleep(3600)
    assert 3600 <= time_now() < 3601
