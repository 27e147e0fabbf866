"""A budget that machines share through a Redis server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cekat_async import ClientClosedError, ConfigurationError
from cekat_async.budgets.rules import missing, parse_window, require_name, require_seconds

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from cekat_async.budgets.redis_log import RedisLog

__all__ = ["RedisBudget"]


class RedisBudget:
    """A budget that processes on any number of machines share through a Redis server.

    Connects when something is first taken, with one connection, in the event loop of that moment;
    any number of tasks of that loop may take at once. Each process makes a budget of its own.

    All time is the server's: the clocks of the machines play no part. If the server's clock is set
    back, what was taken after the new time counts as taken at it.

    Args:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``, as redis-py takes it. It may hold a
            user name and a password, which are shown nowhere.
        name: What the budget is called. Whoever gives the same name, at the same server and
            database, shares it.
        timeout: Seconds until a take gives up, connecting and waiting for other tasks included.

    Raises:
        ConfigurationError: An argument is wrong, or the extra is not installed.
    """

    def __init__(
        self, url: str = "redis://127.0.0.1:6379/0", *, name: str = "cekat", timeout: float = 2.0
    ) -> None:
        self._name = require_name(name)
        self._log = _build_log(
            url, f"cekat_async:budget:{name}", require_seconds("timeout", timeout)
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"RedisBudget({self._log.where!r}, name={self._name!r})"

    async def take(self, requests: int, per: float) -> float:
        """Take one request out of a budget of ``requests`` in any ``per`` seconds.

        Both may change from call to call: what was taken before is counted by the new numbers, as
        far back as the longer of a minute and the ``per`` it was taken with.

        Returns:
            0.0 if it was taken, else the seconds after which to ask again; then nothing was taken.

        Raises:
            TimeoutError: The server did not answer in time. What was asked for may be taken
                nonetheless, as it may be when a take is cancelled: too few go out, never too many.
            PermissionError: The server refuses the user name, the password or the user.
            ConnectionError: The server cannot be reached or does not do its work; or it was
                restarted since the last take, and may have forgotten what was taken before. That
                is said once: the next take is counted from there.
            ConfigurationError: A number is wrong, or the event loop is not that of the first take.
            ClientClosedError: The budget is closed.
        """
        self._require_usable()
        return await self._log.take(requests, parse_window(requests, per))

    def _require_usable(self) -> None:
        if self._closed:
            raise ClientClosedError("the budget is closed: make another one")
        loop = asyncio.get_running_loop()
        self._loop = self._loop or loop
        if self._loop is not loop:
            raise ConfigurationError(
                "the budget belongs to another event loop: make one budget in each loop"
            )

    async def aclose(self) -> None:
        """Close the connection. Doing it again is no harm."""
        self._closed = True
        await self._log.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


def _build_log(url: str, key: str, timeout: float) -> RedisLog:
    try:
        from cekat_async.budgets.redis_log import RedisLog  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise missing("redis", error) from None
    return RedisLog(url, key, timeout)
