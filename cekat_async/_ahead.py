"""Asking ahead: the next page is asked for before this one is decoded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from cekat_async._decode import cursor_on_sight
from cekat_async._stream import ended

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType
    from typing import Any

    from cekat_async._wire import Reply
    from cekat_async.models import ConversationPage, Cursor

__all__ = ["AskAhead"]


class AskAhead:
    """Fetches pages one after another, each while the one before is being decoded.

    So the wire is at work while we are, which on a quick one is a fifth of the time of a walk, and
    spares the process a wait for each page. What was asked for is a guess until that page is
    decoded: it is taken if the walk then wants it, and given up else.

    Args:
        fetch: Returns the page behind a cursor; shows its reply to a function before decoding it,
            and lets go out what that has begun if it says so.
        may_ask: Whether the page behind a cursor may be asked for yet.
    """

    def __init__(
        self,
        fetch: Callable[
            [Cursor | None, Callable[[Reply], bool]], Coroutine[Any, Any, ConversationPage]
        ],
        may_ask: Callable[[Cursor], bool],
    ) -> None:
        self._fetch = fetch
        self._may_ask = may_ask
        self._cursor: Cursor | None = None
        self._guess: asyncio.Task[ConversationPage] | None = None

    async def page(self, cursor: Cursor | None) -> ConversationPage:
        """Return the page behind a cursor."""
        guess, self._guess = self._guess, None
        if guess is not None:
            if cursor == self._cursor:
                return await guess
            await ended(guess)
        return await self._fetch(cursor, self._see)

    def _see(self, reply: Reply) -> bool:
        """Ask for the page that a reply leads to, if that can be told on sight."""
        if self._guess is not None:
            return False  # it is a second attempt, and the first one's guess is out already
        cursor = cursor_on_sight(reply)
        if cursor is None or not self._may_ask(cursor):
            return False
        self._cursor = cursor
        self._guess = asyncio.ensure_future(self._fetch(cursor, self._see))
        return True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._guess is not None:
            await ended(self._guess)
