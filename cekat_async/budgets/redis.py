"""A budget that machines share through a Redis server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cekat_async import ConfigurationError
from cekat_async.budgets.base import BaseBudget, require_extra
from cekat_async.config import require_seconds

if TYPE_CHECKING:
    from cekat_async import BudgetAnswer, LearnedRate

__all__ = ["RedisBudget"]


class RedisBudget(BaseBudget):
    """A budget that processes on any number of machines share through a Redis server.

    The first take opens one connection. From then on, the budget belongs to the event loop of that
    take. Any number of tasks in that loop may call :meth:`take` at the same time. Each process must
    create its own ``RedisBudget``. A take raises :exc:`PermissionError` if the server rejects the
    user name, the password or the access to a key. It raises :exc:`ConnectionError` if the server
    cannot be reached, returns an error, or was restarted since the last take.

    All times are from the server's clock. If that clock is set back, requests whose time is in the
    future count as sent now, and the learned rate is forgotten.

    Args:
        url: The URL of the server, in a form that redis-py accepts: ``redis://``, ``rediss://``
            (TLS) or ``unix://``. The URL may contain a user name and a password, which are never
            shown. Default: ``redis://127.0.0.1:6379/0``.
        name: The name of the budget. All processes with the same name, server and database share
            it. Default ``"cekat"``.
        timeout: The seconds after which a take gives up. This time includes connecting and the wait
            for other tasks. Default 2.

    Raises:
        ConfigurationError: An argument is wrong, or the ``redis`` extra is not installed.

    Examples:
        >>> budget = RedisBudget("redis://localhost:6379/0", name="nightly")
        >>> client = CekatClient(rate_limit=Limiter(budget=budget))
        >>> await client.aclose()
        >>> await budget.aclose()
    """

    def __init__(
        self, url: str = "redis://127.0.0.1:6379/0", *, name: str = "cekat", timeout: float = 2.0
    ) -> None:
        super().__init__(name)
        require_seconds("timeout", timeout)
        with require_extra("redis"):
            from cekat_async.budgets.redis_log import RedisLog  # noqa: PLC0415 - an extra
        self._log = RedisLog(url, name, timeout)
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"RedisBudget({self._log.where!r}, name={self._name!r})"

    async def _take(self, requests: int, window: int, learned: LearnedRate | None) -> BudgetAnswer:
        self._require_same_loop()
        return await self._log.take(requests, window, learned)

    async def _set_pause(self, length: int, learned: LearnedRate | None) -> None:
        self._require_same_loop()
        await self._log.pause(length, learned)

    def _require_same_loop(self) -> None:
        loop = asyncio.get_running_loop()
        self._loop = self._loop or loop
        if self._loop is not loop:
            raise ConfigurationError(
                "the budget belongs to another event loop: create one budget in each loop"
            )

    async def _release(self) -> None:
        await self._log.aclose()
