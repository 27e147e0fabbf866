"""A budget that the processes of one machine share through a file."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from cekat_async import ClientClosedError, ConfigurationError
from cekat_async.budgets.rules import missing, parse_window, require_name, require_seconds

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from cekat_async.budgets.file_log import FileLog

__all__ = ["FileBudget"]


class FileBudget:
    """A budget that the processes of one machine share through a SQLite file.

    The file is made when something is first taken, and opened for each take anew, in a thread of
    the budget's own. Any number of tasks may take at once. Each process makes a budget of its own.

    All time is the machine's monotonic clock: setting the date plays no part. What was taken before
    the machine was restarted counts as taken when somebody first looks, if it lies ahead.

    Args:
        path: The file, in a folder that is there, on a disk of this machine: not on one that
            machines share, where locks and clocks are not what they seem.
        name: What the budget is called. Whoever gives the same name and file shares it.
        timeout: Seconds until a take gives up, waiting for other tasks and processes included.

    Raises:
        ConfigurationError: An argument is wrong, or the extra is not installed.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, name: str = "cekat", timeout: float = 2.0
    ) -> None:
        self._name = require_name(name)
        self._path = _require_path(path)
        self._timeout = require_seconds("timeout", timeout)
        self._log = _build_log(self._path, self._name, self._timeout)
        # One thread: the tasks of a process need not fight each other for the file.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cekat-budget")
        self._closed = False

    def __repr__(self) -> str:
        return f"FileBudget({self._path!r}, name={self._name!r})"

    async def take(self, requests: int, per: float) -> float:
        """Take one request out of a budget of ``requests`` in any ``per`` seconds.

        Both may change from call to call: what was taken before is counted by the new numbers, as
        far back as the longer of a minute and the ``per`` it was taken with.

        Returns:
            0.0 if it was taken, else the seconds after which to ask again; then nothing was taken.

        Raises:
            TimeoutError: Others kept the file locked, or the disk did not answer in time. What was
                asked for may be taken nonetheless, as it may be when a take is cancelled: too few
                go out, never too many.
            OSError: The file cannot be opened, read or written; or it was deleted since the last
                take, and what was taken before is forgotten. That is said once: the next take is
                counted from there.
            ConfigurationError: A number is wrong.
            ClientClosedError: The budget is closed.
        """
        if self._closed:
            raise ClientClosedError("the budget is closed: make another one")
        window = parse_window(requests, per)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                return await loop.run_in_executor(self._thread, self._log.take, requests, window)
        except TimeoutError:
            raise TimeoutError(f"{self._path} was not free within {self._timeout:g} s") from None

    async def aclose(self) -> None:
        """Let the thread go. Doing it again is no harm."""
        self._closed = True
        self._thread.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


def _require_path(path: object) -> str:
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else path
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise ConfigurationError(f"path must be the path of a file, not {path!r}")
    # As it is now, should the program go to another folder; and SQLite's ":memory:" is a file too.
    return os.path.abspath(text)  # noqa: PTH100 - pathlib's resolve() would ask the disk


def _build_log(path: str, name: str, timeout: float) -> FileLog:
    try:
        from cekat_async.budgets.file_log import FileLog  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise missing("file", error) from None
    return FileLog(path, name, timeout)
