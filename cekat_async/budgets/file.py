"""A budget that the processes of one machine share through a file."""

# The path may have any type, and isinstance does not show whether a PathLike returns str or bytes.
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from cekat_async import ConfigurationError
from cekat_async.budgets.base import BaseBudget, require_extra
from cekat_async.config import require_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from cekat_async import BudgetAnswer, LearnedRate

__all__ = ["FileBudget"]

_Result = TypeVar("_Result")


class FileBudget(BaseBudget):
    """A budget that the processes of one machine share through a SQLite file.

    The first take creates the file. Each take opens the file again, in the budget's own thread. Any
    number of tasks may call :meth:`take` at the same time. Each process must create its own
    ``FileBudget``. If the file was deleted since the last take, a take raises :exc:`OSError`.

    All times are from the machine's monotonic clock, so changing the date has no effect. After the
    machine has restarted, requests whose time is in the future count as sent now, and the learned
    rate is forgotten.

    Args:
        path: The file, in an existing folder on a disk of this machine. Do not use a disk that
            several machines share, because locks and clocks are not reliable there.
        name: The name of the budget. All processes with the same name and file share it. Default
            ``"cekat"``.
        timeout: The seconds after which a take gives up. This time includes the wait for other
            tasks and processes. Default 2.

    Raises:
        ConfigurationError: An argument is wrong, or the ``file`` extra is not installed.

    Examples:
        >>> budget = FileBudget("cekat.sqlite")
        >>> async with budget, CekatClient(rate_limit=Limiter(budget=budget)) as client:
        ...     page = await client.conversations.page()
    """

    def __init__(
        self, path: str | os.PathLike[str], *, name: str = "cekat", timeout: float = 2.0
    ) -> None:
        super().__init__(name)
        self._path = _require_path(path)
        self._timeout = require_seconds("timeout", timeout)
        with require_extra("file"):
            from cekat_async.budgets.file_log import FileLog  # noqa: PLC0415 - an extra
        self._log = FileLog(self._path, self._name, self._timeout)
        # Use only one thread, so that the tasks of a process do not compete for the lock of the
        # file.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cekat-budget")

    def __repr__(self) -> str:
        return f"FileBudget({self._path!r}, name={self._name!r})"

    async def _take(self, requests: int, window: int, learned: LearnedRate | None) -> BudgetAnswer:
        return await self._run(partial(self._log.take, requests, window, learned))

    async def _set_pause(self, length: int, learned: LearnedRate | None) -> None:
        await self._run(partial(self._log.pause, length, learned))

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except TimeoutError:
            raise TimeoutError(f"{self._path} was locked for {self._timeout:g} s") from None

    async def _release(self) -> None:
        self._thread.shutdown(wait=False)


def _require_path(path: object) -> str:
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else path
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise ConfigurationError(f"path must be the path of a file, not {path!r}")
    # Make the path absolute, in case the program changes its folder. This also turns SQLite's
    # special name ":memory:" into a file.
    return os.path.abspath(text)  # noqa: PTH100 - pathlib's resolve() would ask the disk
