"""The conversations of an account: one page, all pages, or one after another."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from cekat_async._decode import decode_conversation_page
from cekat_async._walk import items_of, odd_record_error, walk_conversations
from cekat_async._wire import Request
from cekat_async.config import require_count, require_text
from cekat_async.errors import CekatError, ConfigurationError
from cekat_async.models import Cursor

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from cekat_async._pipeline import Pipeline
    from cekat_async.models import Conversation, ConversationPage, OddRecord, StageStatus

__all__ = ["Conversations"]

_PATH = "/api/conversations"


class Conversations:
    """``GET /api/conversations`` (API.md). Reached as ``client.conversations``.

    All three ways to read it take the same arguments:

    Args:
        limit: Results per page. The default, 100, is the documented maximum; the quota counts
            requests, not results. What the server makes of more is up to the server.
        inbox_id: Only this inbox.
        stage_status: Only this status; one that the package does not know is sent as it is.
        cursor: Where to begin, as a page or an error gave it; ``None`` is the front.
        on_odd_record: Called with each :class:`~cekat_async.OddRecord`, a record that does not
            have the documented shape. Without it such a record raises
            :class:`~cekat_async.OddRecordError`, in a walk after the page's other records.

    They raise :class:`~cekat_async.ConfigurationError` at once for a bad argument, and the rest of
    the family under :class:`~cekat_async.CekatError` when the request is made; its ``cursor``
    resumes the walk at the page that failed.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._label = partial(pipeline.labelled, path=_PATH)

    async def page(
        self,
        *,
        limit: int = 100,
        inbox_id: str | None = None,
        stage_status: StageStatus | str | None = None,
        cursor: Cursor | None = None,
        on_odd_record: Callable[[OddRecord], object] | None = None,
    ) -> ConversationPage:
        """Return one page, with one request (and its retries)."""
        query = _query(limit, inbox_id, stage_status)
        page = await self._fetch(query, _checked_cursor(cursor))
        if error := odd_record_error(page, on_odd_record):
            error.cursor = cursor
            raise self._label(error)
        return page

    def pages(
        self,
        *,
        limit: int = 100,
        inbox_id: str | None = None,
        stage_status: StageStatus | str | None = None,
        cursor: Cursor | None = None,
        on_odd_record: Callable[[OddRecord], object] | None = None,
    ) -> AsyncGenerator[ConversationPage, None]:
        """Yield page after page until the server has no more.

        Between two pages nothing is held: no connection, no task. It may be left at any point.

        Raises:
            PaginationError: A cursor came for the second time, at whatever distance.
        """
        fetch = partial(self._fetch, _query(limit, inbox_id, stage_status))
        return walk_conversations(fetch, _checked_cursor(cursor), on_odd_record, self._label)

    def list(
        self,
        *,
        limit: int = 100,
        inbox_id: str | None = None,
        stage_status: StageStatus | str | None = None,
        cursor: Cursor | None = None,
        on_odd_record: Callable[[OddRecord], object] | None = None,
    ) -> AsyncGenerator[Conversation, None]:
        """Yield conversation after conversation, page by page behind the scenes.

        Raises:
            PaginationError: A cursor came for the second time, at whatever distance.
        """
        return items_of(
            self.pages(
                limit=limit,
                inbox_id=inbox_id,
                stage_status=stage_status,
                cursor=cursor,
                on_odd_record=on_odd_record,
            )
        )

    async def _fetch(
        self, query: tuple[tuple[str, str], ...], cursor: Cursor | None
    ) -> ConversationPage:
        position = _position(cursor) if cursor else ()
        try:
            return await self._pipeline.fetch(
                Request(_PATH, query + position), decode_conversation_page
            )
        except CekatError as error:
            error.cursor = cursor
            raise


def _query(
    limit: int, inbox_id: str | None, stage_status: StageStatus | str | None
) -> tuple[tuple[str, str], ...]:
    query = [("limit", str(require_count("limit", limit)))]
    if inbox_id is not None:
        query.append(("inbox_id", require_text("inbox_id", inbox_id)))
    if stage_status is not None:
        query.append(("stage_status", str(require_text("stage_status", stage_status))))
    return tuple(query)


def _checked_cursor(cursor: Cursor | None) -> Cursor | None:
    if cursor is None:
        return None
    if not isinstance(cursor, Cursor):
        raise ConfigurationError(f"cursor must be a Cursor or None, not {cursor!r}")
    require_text("cursor.cursor_id", cursor.cursor_id)
    require_text("cursor.cursor_ts", cursor.cursor_ts)
    return cursor


def _position(cursor: Cursor) -> tuple[tuple[str, str], ...]:
    return (("cursor_id", cursor.cursor_id), ("cursor_ts", cursor.cursor_ts))
