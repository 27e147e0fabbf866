"""An event loop whose clock jumps to the next timer, so tests of long waits take milliseconds."""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):
    """Returns immediately instead of waiting, and adds each requested wait to ``waited``."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events:
            return events
        if timeout is None:
            raise RuntimeError("nothing is scheduled and nothing is ready: the test would hang")
        # Add at least a nanosecond, because a wait that rounds to zero would never end.
        self.waited += max(timeout, 1e-9)
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a virtual clock, which cannot wait for sockets or threads."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.waited

    def block(self, seconds: float) -> None:
        """Advance the clock without running anything, like a callback that blocks the loop."""
        self._jumping.waited += seconds


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a virtual clock that starts at 0, and fail if it leaves tasks behind."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_leaving_nothing(main))


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Decorate a coroutine test so that it runs on a virtual clock that starts at 0."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_virtual(test(*args, **kwargs))

    return run


async def _leaving_nothing(main: Coroutine[Any, Any, T]) -> T:
    result = await main
    await let_tasks_end()
    return result


async def let_tasks_end(turns: int = 20, *, but: str = "nothing") -> None:
    """Let the loop run ``turns`` times, and fail if any other task still exists.

    Tasks whose coroutine has ``but`` in its repr, such as the tasks of a running server, are
    ignored.
    """
    left: set[asyncio.Task[Any]] = set()
    for _ in range(turns):
        left = {task for task in asyncio.all_tasks() if but not in repr(task.get_coro())}
        left.discard(asyncio.current_task())
        if not left:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"tasks were left behind: {left}")


async def cancelled_after(turns: int, work: Coroutine[Any, Any, Any]) -> None:
    """Start a task, cancel it after ``turns`` iterations of the loop, and wait until it ends."""
    task = asyncio.create_task(work)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


def skip(seconds: float) -> None:
    """Advance the clock of the running loop. Timers before the new time fire immediately."""
    loop = asyncio.get_running_loop()
    time = loop.time
    loop.time = lambda: time() + seconds  # type: ignore[method-assign]


async def until(condition: Callable[[], bool]) -> None:
    """Poll a condition until it is true. Use this if there is no event to wait for."""
    while not condition():  # noqa: ASYNC110 - see above
        await asyncio.sleep(0.001)


def now() -> float:
    """Return the time on the running loop's clock, to the microsecond."""
    return round(asyncio.get_running_loop().time(), 6)


def most_in_any(times: list[float], seconds: float) -> int:
    """Return the largest number of ``times`` in any half-open window of ``seconds``."""
    most = first = 0
    ordered = sorted(times)
    for last, time in enumerate(ordered):
        # Subtract a millionth, because times are sums of floats and have rounding errors.
        while time - ordered[first] >= seconds - 1e-6:
            first += 1
        most = max(most, last - first + 1)
    return most
