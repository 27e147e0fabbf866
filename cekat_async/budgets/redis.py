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

    Connects when something is first taken, with one connection, in the event loop of that moment;
    any number of tasks of that loop may take at once. Each process makes a budget of its own.

    A take raises :exc:`PermissionError` if the server refuses the user name, the password or the
    user, and :exc:`ConnectionError` if it cannot be reached, does not do its work, or was restarted
    since the last take.

    All times are those of the server's clock. If that is set back, requests whose time is in the
    future count as sent now, and what was learned is forgotten.

    Args:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``, as redis-py takes it. It may hold a
            user name and a password, which are shown nowhere.
        name: The name of the budget. All who use the same name, at the same server and database,
            share it.
        timeout: Seconds until a take gives up, connecting and waiting for other tasks included.

    Raises:
        ConfigurationError: An argument is wrong, or the extra is not installed.
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
                "the budget belongs to another event loop: make one budget in each loop"
            )

    async def _release(self) -> None:
        await self._log.aclose()
