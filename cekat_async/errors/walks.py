"""Errors of walks that cannot be completed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cekat_async.errors.base import CekatError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cekat_async.pages import ConversationPage, RawPage

__all__ = ["InboxesFailedError", "PaginationError"]


class PaginationError(CekatError):
    """The pages of a listing have no end, or the listing changes faster than it is read.

    A repeated or unusable cursor ends a walk at once. Repeated pages, and empty pages whose cursors
    do not advance, end it after 50 in a row. By then the walk has yielded everything it received.
    ``cursor`` is the last cursor that the server sent, and a new walk can continue from it. If that
    cursor cannot be used, ``cursor`` is the one of the page that had it.

    Attributes:
        page: The page whose cursor cannot be used, with all its records, or ``None``. A walk has
            yielded it. Its ``body`` has only the records.
    """

    def __init__(
        self, message: str = "", *, page: ConversationPage | RawPage | None = None
    ) -> None:
        super().__init__(message)
        self.page = page


class InboxesFailedError(CekatError):
    """Some of the inboxes that were read at once failed. The others are complete.

    Attributes:
        errors: One error for each inbox that failed. It has an ``inbox_id``, and a ``cursor`` to
            resume at.
    """

    def __init__(self, message: str = "", *, errors: Sequence[CekatError] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)
