"""The conversations of an account, or of some of its inboxes."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from cekat_async._api.decoding import ConversationPageDecoder
from cekat_async._paging.page_errors import ignore_malformed, page_error
from cekat_async._paging.page_fetcher import ListQuery, PageFetcher
from cekat_async.config import require_count, require_inbox_id, require_switch, require_text
from cekat_async.models.conversation import describe_unknown_status
from cekat_async.resources.conversation_source import ConversationSource, Walkers
from cekat_async.resources.inbox_selection import ManyInboxIds, OneListing, iter_inbox_ids
from cekat_async.resources.listing import Listing, takes_page_size
from cekat_async.resources.time_range import TimeRange

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
    from datetime import datetime, timedelta
    from uuid import UUID

    from cekat_async._request.pipeline import Pipeline
    from cekat_async.models import Conversation, Inbox, MalformedRecord, StageStatus
    from cekat_async.pages import ConversationPage, InboxPage
    from cekat_async.positions import Cursor

__all__ = ["Conversations"]

_log = logging.getLogger("cekat_async")

_PATH = "/api/conversations"


class Conversations:
    """``GET /api/conversations``. Reached as ``client.conversations``.

    Every method raises a :class:`~cekat_async.ConfigurationError` at once for a wrong argument.
    Other errors derive from :class:`~cekat_async.CekatError` and are raised when a request fails;
    their ``cursor`` resumes a listing at the page that failed.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        list_inboxes: Callable[..., Listing[Inbox, InboxPage]],
        decoder: ConversationPageDecoder | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._list_inboxes = list_inboxes
        # One for all listings: what it learns in one of them holds in the others.
        self._decode = (decoder or ConversationPageDecoder()).decode

    async def page(
        self,
        *,
        limit: int = 100,
        inbox_id: str | UUID | None = None,
        stage_status: StageStatus | str | None = None,
        cursor: Cursor | None = None,
        on_malformed: Callable[[MalformedRecord], object] | None = None,
    ) -> ConversationPage:
        """Return one page, with one request (and its retries).

        Args:
            limit: Records on the page: the API's own parameter, ``page_size`` of :meth:`list`.
            inbox_id: As for :meth:`list`.
            stage_status: As for :meth:`list`.
            cursor: Where the page begins: ``page.next_cursor`` of the page before it.
            on_malformed: As for :meth:`list`.
        """
        query = ListQuery(
            path=_PATH,
            page_size=require_count("limit", limit),
            inbox_id=_inbox_filter(inbox_id),
            filters=_status_filter(stage_status),
            cursor=cursor,
        )
        if cursor is None:  # one warning for a caller that follows the cursors itself
            _warn_of_unknown(stage_status)
        fetcher = PageFetcher(self._pipeline, query, self._decode)
        page = await fetcher.fetch(cursor)
        if error := page_error(page, on_malformed):
            raise fetcher.locate(error, cursor)
        return page

    @takes_page_size
    def list(
        self,
        *,
        page_size: int = 100,
        inbox_id: str | UUID | None = None,
        stage_status: StageStatus | str | None = None,
        cursor: Cursor | None = None,
        since: datetime | timedelta | None = None,
        until: datetime | timedelta | None = None,
        segments: int = 1,
        prefetch: int = 1,
        on_malformed: Callable[[MalformedRecord], object] | None = None,
    ) -> Listing[Conversation, ConversationPage]:
        """Return the listing of the account, or of one inbox. Nothing is sent before it is read.

        Args:
            page_size: Records per request. The default, 100, is the documented maximum. The quota
                counts requests, so that fewer cost more of it. For the first records only, use
                :meth:`Listing.take`.
            inbox_id: Only this inbox: its id as text, or as a :class:`uuid.UUID`.
            stage_status: Only this status. One that the package does not know is sent as it is,
                with a warning in the log that suggests the nearest known status.
            cursor: Where to begin, as a page or an error gave it; ``None`` is the front.
            since: Only conversations that were last active at this moment or later: a datetime
                with a time zone, or a :class:`~datetime.timedelta` before the walk begins. The
                walk ends where the listing is older, so that it sends no more requests than that.

                No conversation of the range is missed, and up to a page of older ones may be
                included. Only the listing's cursors tell when conversations were last active. If
                they turn out to tell something else (the listing is sorted by creation, say), the
                walk reads everything, with a warning in the log, and keeps each conversation that
                may be in the range.
            until: Only conversations that were last active at this moment or earlier; as
                ``since``, and later than that. The walk begins there, if the server honours a
                constructed cursor (see ``segments``); otherwise at the front.
            segments: How many walkers read the listing at once, each another part. Use it if one
                walk is too slow because each page waits for the one before. Each segment needs
                some 20 pages to be worth it. Conversations arrive once, in no order. It costs up
                to a tenth more requests, and some 10 bytes of memory for each conversation.

                It uses cursors that the server did not send, which the API does not promise to
                accept. Each is checked, and at the first doubt one walker continues in order, with
                a warning in the log and nothing lost. What moves to the front in the meantime is
                read again at the end.
            prefetch: How many pages each walker may request before the caller wants them. With 1,
                the next page is requested while the caller works on this one; a caller that breaks
                out early has fetched at most one page that it did not use. With 0 (also with
                ``segments``) a walker requests its next page only when the caller asks for more.
            on_malformed: Called with each :class:`~cekat_async.MalformedRecord`, when the caller
                gets its page. Without it a malformed record raises a
                :class:`~cekat_async.MalformedRecordError`, after the other records of its page.
        """
        query = ListQuery(
            path=_PATH,
            page_size=page_size,
            inbox_id=_inbox_filter(inbox_id),
            filters=_status_filter(stage_status),
            cursor=cursor,
        )
        ahead = require_count("segments", segments) * require_count(
            "prefetch", prefetch, at_least=0
        )
        time_range = _require_range(since, until)
        self._warn_of_few_requests(segments)
        _warn_of_unknown(stage_status)
        selection, walkers = OneListing(query.inbox_id), Walkers(segments, segments, ahead)
        return self._listing(query, selection, walkers, on_malformed, time_range)

    @takes_page_size
    def across(
        self,
        inbox_ids: Iterable[str | UUID] | AsyncIterable[str | UUID] | None = None,
        *,
        concurrency: int = 8,
        keep_going: bool = False,
        page_size: int = 100,
        stage_status: StageStatus | str | None = None,
        since: datetime | timedelta | None = None,
        until: datetime | timedelta | None = None,
        segments: int = 1,
        on_malformed: Callable[[MalformedRecord], object] | None = None,
    ) -> Listing[Conversation, ConversationPage]:
        """Return the conversations of many inboxes as one listing.

        The conversations of one inbox arrive in their order (without ``segments``), those of
        different inboxes as they are received; ``page.inbox_id`` identifies the inbox. At most
        ``2 * concurrency`` pages wait for the caller. Memory, tasks and connections grow with
        ``concurrency``, not with the number of inboxes.

        Its walks raise an :class:`~cekat_async.InboxesFailedError` if some inboxes failed with
        ``keep_going``. Otherwise they raise the first error, whose ``inbox_id`` names the inbox.

        Args:
            inbox_ids: The inboxes, each as text or as a :class:`uuid.UUID`. An id that occurs
                twice is read once. ``None`` for all inboxes of the account. An iterable may be
                asynchronous, and is read only as far as needed; an iterator can be read by one
                walk only.
            concurrency: How many inboxes are read at once. More than the client's own
                ``concurrency`` does not help.
            keep_going: Read the other inboxes to their end when one fails. An error that concerns
                all inboxes (a wrong key, a daily quota that is used up) is raised at once.
            page_size: As for :meth:`list`.
            stage_status: As for :meth:`list`.
            since: As for :meth:`list`, in each inbox.
            until: As for :meth:`list`, in each inbox.
            segments: How many of the ``concurrency`` walkers may read one inbox at once, when
                there are no more inboxes to begin with; see :meth:`list`.
            on_malformed: As for :meth:`list`. With ``None`` for ``inbox_ids`` it is also called
                with an inbox that has no readable id, and so cannot be read.
        """
        query = ListQuery(path=_PATH, page_size=page_size, filters=_status_filter(stage_status))
        walkers = Walkers(
            require_count("concurrency", concurrency),
            require_count("segments", segments),
            ahead=concurrency,
            keep_going=require_switch("keep_going", keep_going),
        )
        selection = ManyInboxIds(inbox_ids, partial(self._iter_inbox_ids, on_malformed))
        time_range = _require_range(since, until)
        self._warn_of_few_requests(concurrency)
        _warn_of_unknown(stage_status)
        return self._listing(query, selection, walkers, on_malformed, time_range)

    def _listing(
        self,
        query: ListQuery,
        selection: OneListing | ManyInboxIds,
        walkers: Walkers,
        on_malformed: Callable[[MalformedRecord], object] | None,
        time_range: TimeRange,
    ) -> Listing[Conversation, ConversationPage]:
        def build_source(pipeline: Pipeline) -> ConversationSource:
            return ConversationSource(
                pipeline, query, self._decode, selection, walkers, on_malformed, time_range
            )

        return Listing(self._pipeline, _PATH, build_source)

    def _iter_inbox_ids(
        self, on_malformed: Callable[[MalformedRecord], object] | None
    ) -> AsyncGenerator[str, None]:
        inboxes = self._list_inboxes(on_malformed=ignore_malformed)
        return iter_inbox_ids(inboxes.pages(), on_malformed)

    def _warn_of_few_requests(self, walkers: int) -> None:
        if walkers > (allowed := self._pipeline.concurrency):
            _log.warning(
                "%d walkers, but the client sends only %d requests at once: "
                "pass CekatClient(concurrency=%d)",
                *(walkers, allowed, walkers),
            )


def _inbox_filter(inbox_id: str | UUID | None) -> str | None:
    return None if inbox_id is None else require_inbox_id("inbox_id", inbox_id)


def _require_range(
    since: datetime | timedelta | None, until: datetime | timedelta | None
) -> TimeRange:
    time_range = TimeRange(since, until)
    time_range.resolve()  # raises for a wrong one
    return time_range


def _status_filter(stage_status: StageStatus | str | None) -> tuple[tuple[str, str], ...]:
    if stage_status is None:
        return ()
    return (("stage_status", str(require_text("stage_status", stage_status))),)


def _warn_of_unknown(stage_status: StageStatus | str | None) -> None:
    if stage_status is not None and (warning := describe_unknown_status(stage_status)):
        _log.warning("%s", warning)
