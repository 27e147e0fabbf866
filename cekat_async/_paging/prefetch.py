"""Asking ahead: the next pages of a walk are asked for while the caller works on this one."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from cekat_async._api.decoding import cursor_on_sight
from cekat_async._paging.stream import ended

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from cekat_async._api.replies import Reply
    from cekat_async.pages import ConversationPage, RawPage
    from cekat_async.positions import Cursor

__all__ = ["Fetch", "Prefetcher"]

P = TypeVar("P", bound="ConversationPage | RawPage")
P_co = TypeVar("P_co", covariant=True)


class Fetch(Protocol[P_co]):
    """Returns the page behind a cursor.

    It shows the reply to ``on_sight`` before that is decoded, and if that says so, lets go out
    first what has been begun.
    """

    def __call__(
        self, cursor: Cursor | None, on_sight: Callable[[Reply], bool] | None = None
    ) -> Coroutine[Any, Any, P_co]:
        """Fetch it."""
        ...


class Prefetcher(Generic[P]):
    """Fetches pages one after another, and asks for those behind them before they are wanted.

    Where a page leads is seen on its reply, before that is decoded: so the wire is at work while
    we are, which on a quick one is a fifth of the time of a walk. A page that was asked for ahead
    is a guess. It is taken if it is the one that the walk wants, and given up else.

    Args:
        fetch: Returns the page behind a cursor.
        prefetch: How many pages may be asked for before they are wanted.
        is_new: Whether a cursor leads on, and not back.
    """

    def __init__(
        self,
        fetch: Fetch[P],
        prefetch: int,
        is_new: Callable[[Cursor], bool],
    ) -> None:
        self._fetch = fetch
        self._prefetch = prefetch
        self._is_new = is_new
        self._asked: deque[tuple[Cursor | None, asyncio.Task[P]]] = deque()
        # Of the pages asked for the newest, and where that leads as soon as it is known.
        self._newest: Cursor | None = None
        self._behind: Cursor | None = None

    async def page(self, cursor: Cursor | None) -> P:
        """Return the page behind a cursor."""
        if self._asked and self._asked[0][0] != cursor:
            await self.aclose()
        if not self._asked:
            self._ask(cursor)
        _, page = self._asked.popleft()
        if self._go_on() and page.done():
            # A caller that never awaits anything would keep it from going out.
            await asyncio.sleep(0)
        return await page

    async def aclose(self) -> None:
        """Give up what was asked for and is not wanted; it can be used on."""
        while self._asked:
            _, page = self._asked.popleft()
            await ended(page)

    def _ask(self, cursor: Cursor | None) -> None:
        self._newest, self._behind = cursor, None
        self._asked.append((cursor, asyncio.ensure_future(self._fetched(cursor))))

    async def _fetched(self, cursor: Cursor | None) -> P:
        def see(reply: Reply) -> bool:
            return self._leads(cursor, cursor_on_sight(reply))

        page = await self._fetch(cursor, see)
        if self._leads(cursor, page.next_cursor):
            await asyncio.sleep(0)  # as in page()
        return page

    def _leads(self, cursor: Cursor | None, behind: Cursor | None) -> bool:
        """Learn where a page leads, and return whether that has been asked for now."""
        # If it is not the newest, one behind it is asked for already: it is seen a second time, or
        # is a second attempt.
        if self._newest != cursor:
            return False
        self._behind = behind
        return self._go_on()

    def _go_on(self) -> bool:
        """Ask for the page behind the newest one, if there is room for it."""
        behind = self._behind
        if behind is None or len(self._asked) >= self._prefetch or not self._is_new(behind):
            return False
        self._ask(behind)
        return True
