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

    A repeated or unusable cursor ends a walk immediately. Repeated pages, and empty pages whose
    cursors do not advance, end the walk after 50 in a row. Before the error, the walk yields
    everything that it received. ``cursor`` is the last cursor that the server sent, and a new walk
    can continue from it. If the last cursor cannot be used, ``cursor`` leads to the page that
    contains it.

    Attributes:
        page: The page whose cursor cannot be used, with all its records, or ``None``. A walk yields
            this page before the error. The ``body`` of the page contains only the records.
    """

    def __init__(
        self, message: str = "", *, page: ConversationPage | RawPage | None = None
    ) -> None:
        super().__init__(message)
        self.page = page


class InboxesFailedError(CekatError):
    """Some of the inboxes that were read together failed. The other inboxes are complete.

    Attributes:
        errors: One error for each inbox that failed. Each error has an ``inbox_id``, and the
            ``cursor`` at which to resume.
    """

    def __init__(self, message: str = "", *, errors: Sequence[CekatError] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)
