"""Ties a client or a limiter to one event loop."""

from __future__ import annotations

import asyncio

from cekat_async.errors import ConfigurationError

__all__ = ["EventLoopGuard"]


class EventLoopGuard:
    """Ties its owner, such as a ``"client"``, to the first event loop that uses it."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._loop: asyncio.AbstractEventLoop | None = None

    def check(self) -> None:
        """Raise :class:`ConfigurationError` if the running event loop is not the first one."""
        loop = asyncio.get_running_loop()
        self._loop = self._loop or loop
        if self._loop is not loop:
            raise ConfigurationError(
                f"the {self._owner} belongs to another event loop: "
                f"make one {self._owner} in each loop"
            )
