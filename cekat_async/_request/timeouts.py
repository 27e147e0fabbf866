"""Where ``Timeout.deadline`` is enforced, and where closing the client ends its calls.

``Timeout.attempt`` is enforced in ``transport.py``, around one exchange. aiohttp enforces
``Timeout.connect`` and ``Timeout.read``.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, TypeVar

from cekat_async.errors import ClientClosedError, DeadlineExceededError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Deadlines"]

T = TypeVar("T")


class Deadlines:
    """The calls of one client that are under way, each with its own deadline.

    Args:
        seconds: How long a call may take, its time in the queue included; ``None`` for no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._under_way = set[asyncio.Timeout]()
        self._is_closed = False

    async def enforce(
        self, call: Callable[[float], Awaitable[T]], *, was_sent: Callable[[], bool]
    ) -> T:
        """Return what ``call`` returns, unless its deadline or the client's close comes first.

        Args:
            call: The call. It receives its deadline, as a time of the event loop's clock.
            was_sent: Whether the call has sent a request. If not, the error says so.

        Raises:
            DeadlineExceededError: The call was cancelled at its deadline.
            ClientClosedError: The call was cancelled because the client was closed.
        """
        timeout = asyncio.timeout(self._seconds)
        try:
            async with timeout:
                self._under_way.add(timeout)
                deadline = timeout.when()
                return await call(math.inf if deadline is None else deadline)
        except TimeoutError:
            if not timeout.expired():
                raise
        finally:
            self._under_way.discard(timeout)
        if self._is_closed:
            raise ClientClosedError("the client was closed while a request was under way")
        where = "" if was_sent() else ": the request was still queued"
        limit = f"the {self._seconds:g} s of Timeout.deadline"
        raise DeadlineExceededError(f"no answer within {limit}{where}")

    def close(self) -> None:
        """Cancel all calls that are under way, whatever they wait for."""
        self._is_closed = True
        now = asyncio.get_running_loop().time()
        for timeout in self._under_way:
            if not timeout.expired():
                timeout.reschedule(now)
