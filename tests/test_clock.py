"""The clock: as exact as the system's, and the virtual one where there is one."""

import asyncio
import time

import pytest
from support.clock import virtual

from cekat_async._ratelimit.clock import time_now


async def while_a_turn_lasts() -> float:
    """Return how much time passes, by the clock, in a turn that takes 20 ms."""
    before = time_now()
    time.sleep(0.02)  # noqa: ASYNC251 - on purpose
    return time_now() - before


@pytest.mark.parametrize("library", ["asyncio", "uvloop"])
def test_it_goes_on_while_a_turn_lasts(library):
    """On each loop a moment is that moment, and not the begin of the turn that it lies in."""
    module = pytest.importorskip(library, reason=f"{library} is not installed")

    with asyncio.Runner(loop_factory=module.new_event_loop) as runner:
        assert runner.run(while_a_turn_lasts()) >= 0.02


@pytest.mark.parametrize("library", ["asyncio", "uvloop"])
def test_it_is_the_one_that_timers_go_by(library):
    """What is scheduled for a moment of the clock comes then, and not sooner."""
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
async def test_a_virtual_clock_is_obeyed():
    """A loop of another kind has the last word on what time it is."""
    assert time_now() == asyncio.get_running_loop().time()
    await asyncio.sleep(3600)
    assert 3600 <= time_now() < 3601
