"""The base of all budgets: their methods, the checks of arguments, and how time is counted."""

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
"""Milliseconds for which a log keeps what was taken, at least: what the API counts in.

So that a ``per`` that grows from call to call, up to there, finds all that it has to count.
"""

# A longer pause is cut: after a day, a process may ask the server again.
_LONGEST_PAUSE = 86_400.0


class BaseBudget(ABC):
    """A budget with a name. Any number of tasks may take at once."""

    _closed = False

    def __init__(self, name: object) -> None:
        # Halves of characters, which have no bytes, are not printable either.
        if isinstance(name, str) and not name.isprintable():
            raise ConfigurationError(f"name must be printable text, not {name!r}")
        self._name = require_text("name", name)

    async def take(
        self, requests: int, per: float, learned: LearnedRate | None = None
    ) -> BudgetAnswer:
        """Take one request out of a budget of ``requests`` in any ``per`` seconds.

        Both may change from call to call. The new numbers then count earlier requests as well, as
        far back as a minute, or as the ``per`` of those requests if that is longer.

        Args:
            requests: The most requests that all together may take in any ``per`` seconds.
            per: Seconds.
            learned: The rate that the server has shown to the caller. The budget keeps it for the
                others, unless it has one that is less old. It does not limit this take.

        Returns:
            Whether the request was taken, and if not, when to ask again; also how many requests
            all together have taken, the rate that was learned last, and the rest of a pause.

        Raises:
            TimeoutError: The store did not answer in time. The request may be counted nonetheless,
                as it may be if a take is cancelled. So too few are sent, and never too many.
            OSError: The store cannot be used, or it may have forgotten earlier requests. It is
                raised once for that, and the next take starts a new count.
            ConfigurationError: A number is wrong, or the budget belongs to another event loop.
            ClientClosedError: The budget is closed.
        """
        self._require_open()
        require_count("requests", requests)
        _require_rate(learned)
        return await self._take(requests, math.ceil(require_seconds("per", per) * 1000), learned)

    async def pause(self, seconds: float, learned: LearnedRate | None = None) -> None:
        """Let nobody take anything for this many seconds, at most a day.

        A pause that ends later is kept. ``learned`` is as in :meth:`take`.

        Raises:
            OSError: The store cannot be used, or did not answer in time.
            ConfigurationError: The number is wrong, or the budget belongs to another event loop.
            ClientClosedError: The budget is closed.
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
        """Release the store. Doing it again is no harm."""
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
    """Return a wait in seconds; it is above 0, whatever a library says."""
    return max(milliseconds or 0, 1) / 1000


@contextlib.contextmanager
def require_extra(extra: str) -> Generator[None, None, None]:
    """Raise ConfigurationError if the libraries of an extra, imported inside, are missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in {"pyrate_limiter", "redis"}:
            raise
        raise ConfigurationError(
            f"the budget needs {module}: pip install 'cekat-async[{extra}]'"
        ) from None
