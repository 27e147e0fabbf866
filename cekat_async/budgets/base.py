"""The base of all budgets: their methods and the checks of their arguments."""

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
"""The least number of milliseconds for which a log keeps requests.

If ``per`` grows from call to call, up to this time, the log still has all requests to count.
"""

# A longer pause is cut to this, so that a process asks the server again after a day.
_LONGEST_PAUSE = 86_400.0


class BaseBudget(ABC):
    """The base of all budgets. Any number of tasks may use a budget at once."""

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

        Both numbers may change from call to call. New numbers also count the requests of the last
        minute, or of the ``per`` of those requests if that is longer.

        Args:
            requests: The most requests that all processes together may take in any ``per`` seconds.
            per: The length of the window in seconds.
            learned: The rate that the caller has learned from the server. The budget keeps it for
                the other processes, unless it has a more recent one. It does not limit this take.
                Default ``None``.

        Returns:
            Whether the request was taken, and if not, when to take again. It also has the number of
            requests that all processes have taken, the rate that was learned last, and the rest of
            a pause.

        Raises:
            TimeoutError: The store did not answer in time. The request may be counted in any case,
                as it may be if a take is cancelled. So the processes may send fewer requests than
                allowed, but never more.
            OSError: The store cannot be used, or may have lost earlier requests. If it has lost
                requests, the error is raised once, and the next take starts a new count.
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
        """Grant nothing to any process for some time. A pause that ends later is kept.

        Args:
            seconds: The length of the pause. More than a day counts as a day.
            learned: The rate that the caller has learned from the server, as in :meth:`take`.
                Default ``None``.

        Raises:
            OSError: The store cannot be used, or did not answer in time.
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
    """Convert a wait to seconds. The result is always above 0."""
    return max(milliseconds or 0, 1) / 1000


@contextlib.contextmanager
def require_extra(extra: str) -> Generator[None, None, None]:
    """Raise ConfigurationError if importing the libraries of an extra inside the block fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in {"pyrate_limiter", "redis"}:
            raise
        raise ConfigurationError(
            f"the budget needs {module}: pip install 'cekat-async[{extra}]'"
        ) from None
