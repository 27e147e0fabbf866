"""Reports the beginning and the end of walks to hooks, and gives walks and calls their numbers."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from cekat_async._request.hooks import WalkBegun, WalkEnded
from cekat_async.pages import count_records

if TYPE_CHECKING:
    from types import TracebackType

    from cekat_async._request.hooks import Hooks

__all__ = ["WalkReport", "next_number"]

_numbers = count(1)


class WalkReport:
    """A context manager that reports one walk. The walk runs inside the context.

    Args:
        hooks: The hooks that receive the events.
        path: The path of the endpoint.

    Attributes:
        walk: The number of the walk. ``None`` without hooks, because nothing is reported then.
    """

    def __init__(self, hooks: Hooks, path: str) -> None:
        self.walk = next_number() if hooks else None
        self._hooks = hooks
        self._path = path
        self._pages = self._records = 0

    def __enter__(self) -> None:
        if self.walk is not None:
            self._hooks.emit(WalkBegun(walk=self.walk, path=self._path))

    def add(self, page: object) -> None:
        """Count a page that is yielded to the caller."""
        if self.walk is not None:
            self._pages += 1
            self._records += count_records(page).records

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.walk is None:
            return
        # A caller that breaks out early is not an error.
        name = None if kind is None or kind is GeneratorExit else kind.__name__
        ended = WalkEnded(walk=self.walk, pages=self._pages, records=self._records, error=name)
        self._hooks.emit(ended)


def next_number() -> int:
    """Return a new number for a walk or a call. The number is unique in the process."""
    return next(_numbers)
