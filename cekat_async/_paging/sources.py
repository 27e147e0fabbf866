"""Page sources: what yields the pages of one listing, to one reader or to several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from cekat_async.pages import ConversationPage

__all__ = ["PageSource", "SerialSource"]


class PageSource(Protocol):
    """The pages of one listing, which may be divided among several readers."""

    def begin(self) -> AsyncGenerator[ConversationPage, None]:
        """Return the pages for the first reader: all of them, unless others split some off."""
        ...

    def most_left(self) -> float:
        """Return how many pages the part has that another reader would split; 0 for none."""
        ...

    def split(self) -> AsyncGenerator[ConversationPage, None] | None:
        """Return pages for another reader; ``None`` if that is not worth it."""
        ...

    def stop(self) -> None:
        """End all readers' pages at their next page."""
        ...


class SerialSource:
    """Pages that cannot be divided."""

    def __init__(self, pages: AsyncGenerator[ConversationPage, None]) -> None:
        self._pages = pages

    def begin(self) -> AsyncGenerator[ConversationPage, None]:
        """Return all pages."""
        return self._pages

    def most_left(self) -> float:
        """Return 0: there is nothing to split."""
        return 0

    def split(self) -> None:
        """Return ``None``: there is nothing to split."""

    def stop(self) -> None:
        """No-op: there is no other reader."""
