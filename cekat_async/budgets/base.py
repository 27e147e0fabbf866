"""The base class of all budgets, with their methods and the checks of their arguments."""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from cekat_async import ClientClosedError, ConfigurationError
from cekat_async.config import require_count, require_seconds, require_text

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Self

    from cekat_async import BudgetAnswer, LearnedRate

__all__ = ["KEPT", "BaseBudget", "require_extra", "seconds"]

KEPT = 60_000
"""The minimum time, in milliseconds, for which a log keeps requests.

Even if ``per`` grows from call to call, up to this time, the log still has all requests that count.
"""

# Longer pauses are shortened to this, so that a process asks the server again after a day.
_LONGEST_PAUSE = 86_400.0


class BaseBudget(ABC):
    """The base class of all budgets. Any number of tasks may use a budget at the same time."""

    _closed = False

    def __init__(self, name: object) -> None:
        # This also rejects lone surrogates, which cannot be encoded.
        if isinstance(name, str) and not name.isprintable():
            raise ConfigurationError(f"name must be printable text, not {name!r}")
        self._name = require_text("name", name)

    async def take(
        self, requests: int, per: float, learned: LearnedRate | None = None
    ) -> BudgetAnswer:
        """Take one request from a budget of ``requests`` in any ``per`` seconds.

        Both numbers may change from call to call. If the numbers change, earlier requests still
        count: those of the last minute, or of a longer time if the earlier ``per`` was longer.

        Args:
            requests: The maximum number of requests that all processes together may take in any
                ``per`` seconds.
            per: The length of the window in seconds.
            learned: The rate that the caller has learned from the server. The budget stores the
                rate for the other processes, unless it has a more recent rate. The rate does not
                limit this take. Default ``None``.

        Returns:
            An answer that says whether the request was taken, and if not, when to try again. The
            answer also has the number of requests that all processes have taken, the rate that was
            learned last, and the remaining time of a pause.

        Raises:
            TimeoutError: The store did not reply in time. After a timeout or a cancellation, the
                request may have been counted anyway. So the processes may send fewer requests than
                allowed, but never more.
            OSError: The store cannot be used, or it may have lost earlier requests. In the second
                case, the error is raised once, and the next take starts a new count.
            ConfigurationError: A number is wrong, or the budget belongs to another event loop.
            ClientClosedError: The budget is closed.

        Examples:
            >>> async with FileBudget("cekat.sqlite") as budget:
            ...     answer = await budget.take(300, 60.0)
            >>> answer.wait, answer.used
            (0.0, 1)
        """
        self._require_open()
        require_count("requests", requests)
        _require_rate(learned)
        return await self._take(requests, math.ceil(require_seconds("per", per) * 1000), learned)

    async def pause(self, seconds: float, learned: LearnedRate | None = None) -> None:
        """Grant no requests to any process for some time. If a longer pause is active, keep it.

        Args:
            seconds: The length of the pause. A pause of more than a day is shortened to a day.
            learned: The rate that the caller has learned from the server, as in :meth:`take`.
                Default ``None``.

        Raises:
            OSError: The store cannot be used, or did not reply in time.
            ConfigurationError: A number is wrong, or the budget belongs to another event loop.
            ClientClosedError: The budget is closed.

        Examples:
            >>> async with FileBudget("cekat.sqlite") as budget:
            ...     await budget.pause(10)
            ...     answer = await budget.take(300, 60.0)
            >>> answer.paused_for > 9
            True
        """
        self._require_open()
        bounded = min(require_seconds("seconds", seconds), _LONGEST_PAUSE)
        _require_rate(learned)
        await self._set_pause(math.ceil(bounded * 1000), learned)

    @abstractmethod
    async def _take(self, requests: int, window: int, learned: LearnedRate | None) -> BudgetAnswer:
        """Take one request; ``window`` is in milliseconds."""

    @abstractmethod
    async def _set_pause(self, length: int, learned: LearnedRate | None) -> None:
        """Begin a pause; ``length`` is in milliseconds."""

    def _require_open(self) -> None:
        if self._closed:
            raise ClientClosedError("the budget is closed: make another one")

    async def aclose(self) -> None:
        """Release the store. Closing twice is allowed.

        Examples:
            >>> budget = FileBudget("cekat.sqlite")
            >>> await budget.aclose()
        """
        self._closed = True
        await self._release()

    @abstractmethod
    async def _release(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _require_rate(learned: LearnedRate | None) -> None:
    if learned is not None:
        require_count("learned.requests", learned.requests)
        require_seconds("learned.per", learned.per)
        require_seconds("learned.age", learned.age, zero=True)


def seconds(milliseconds: int | None) -> float:
    """Convert the length of a wait to seconds. The result is always greater than 0."""
    return max(milliseconds or 0, 1) / 1000


@contextlib.contextmanager
def require_extra(extra: str) -> Generator[None, None, None]:
    """Raise ConfigurationError if the block cannot import the libraries of an extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in {"pyrate_limiter", "redis"}:
            raise
        raise ConfigurationError(
            f"the budget needs {module}: pip install 'cekat-async[{extra}]'"
        ) from None
