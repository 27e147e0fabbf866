"""Walks that several walkers can share, and the one that cannot be shared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["SerialWalk", "SplittableWalk"]

P = TypeVar("P")
P_co = TypeVar("P_co", covariant=True)


class SplittableWalk(Protocol[P_co]):
    """A walk of one listing. Each walker yields the pages of one part of it."""

    def begin(self) -> AsyncGenerator[P_co, None]:
        """Return the pages of the first part: all pages, unless it is split."""
        ...

    def most_left(self) -> float:
        """Return how many pages another walker could take a part of; 0 if it is not worth it."""
        ...

    def split(self) -> AsyncGenerator[P_co, None] | None:
        """Return the pages of a part for another walker, if it is worth it."""
        ...

    def stop(self) -> None:
        """End all parts at their next page."""
        ...


class SerialWalk(Generic[P]):
    """A walk that only one walker can do.

    Args:
        pages: All pages.
    """

    def __init__(self, pages: AsyncGenerator[P, None]) -> None:
        self._pages = pages

    def begin(self) -> AsyncGenerator[P, None]:
        """Return all pages."""
        return self._pages

    def most_left(self) -> float:
        """Return 0: it cannot be split."""
        return 0

    def split(self) -> None:
        """Return no part."""

    def stop(self) -> None:
        """No-op: there is no other part."""
