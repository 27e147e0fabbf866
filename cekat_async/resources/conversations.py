"""The resource ``client.conversations``: the conversations of an account or of its inboxes."""

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
    """The conversations of the account (``GET /api/conversations``), as ``client.conversations``.

    If an argument is wrong, the method itself raises a :class:`~cekat_async.ConfigurationError`. If
    a request fails, the call or the walk raises another :class:`~cekat_async.CekatError`. To resume
    a listing at the page that failed, pass the ``cursor`` of this error.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        list_inboxes: Callable[..., Listing[Inbox, InboxPage]],
        decoder: ConversationPageDecoder | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._list_inboxes = list_inboxes
        # All listings share this decoder, so the fields that it learns in one listing speed up the
        # others.
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
        """Return one page of conversations, with one request and its retries.

        Args:
            limit: The most records on the page. Default 100, the maximum of the API
                (docs/api.md#requests).
            inbox_id: The id of the inbox to read, as text or as a :class:`uuid.UUID`. Default: all
                inboxes.
            stage_status: The status of the conversations to read. The client sends an unknown
                status unchanged, and logs a warning. The warning is shown only if logging is set
                up. Default: any status.
            cursor: The ``next_cursor`` of the previous page. Default: the first page.
            on_malformed: A function that receives each malformed record of the page. Without this
                function, a malformed record raises a :class:`~cekat_async.MalformedRecordError`.

        Raises:
            ConfigurationError: An argument is wrong.
            MalformedRecordError: A record is malformed. The error's ``page`` has the other records.
            PaginationError: The cursor on the page cannot be used. The error's ``page`` has all
                records.
            CekatError: The request failed.

        Examples:
            >>> page = await cekat.conversations.page(stage_status="pending", limit=50)
            >>> next_page = await cekat.conversations.page(
            ...     stage_status="pending", limit=50, cursor=page.next_cursor
            ... )
        """
        query = ListQuery(
            path=_PATH,
            page_size=require_count("limit", limit),
            inbox_id=_inbox_filter(inbox_id),
            filters=_status_filter(stage_status),
            cursor=cursor,
        )
        if cursor is None:  # warn only for the first page, if the caller follows the cursors
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
        """Return the listing of the account or of one inbox. It sends no request until you read it.

        Args:
            page_size: The number of records per request. Default 100, the maximum of the API
                (docs/api.md#requests). The quota counts requests, so smaller pages use more of the
                quota. To read only the first records, use :meth:`Listing.take`.
            inbox_id: The id of the inbox to read, as text or as a :class:`uuid.UUID`. Default: all
                inboxes.
            stage_status: The status of the conversations to read. The client sends an unknown
                status unchanged, and logs a warning that suggests the most similar known status.
                The warning is shown only if logging is set up (``logging.basicConfig()``).
                Default: any status.
            cursor: The cursor at which the listing begins: the ``next_cursor`` of a page, or the
                ``cursor`` of an error. Default ``None``: the front of the listing.
            since: The start of a time range. The listing contains only conversations whose last
                activity was at this time or later. Pass a datetime with a time zone, or a
                :class:`~datetime.timedelta` to count back from the beginning of the walk. The walk
                stops at older conversations, so it sends no requests for the rest of the listing.
                The walk misses no conversation of the range, and may include up to one page of
                older conversations.

                The client learns the time of the last activity only from the listing's cursors. If
                the listing turns out to be in another order (for example, by creation), the walk
                logs a warning, reads the whole listing, and keeps each conversation that may be in
                the range.
            until: The end of a time range. The listing contains only conversations whose last
                activity was at this time or earlier. Pass it in the same form as ``since``. The end
                must be later than ``since``. If the server honours constructed cursors (see
                ``segments``), the walk begins near this time. Otherwise the walk begins at the
                front.
            segments: The number of walkers that read the listing at the same time, each in a
                different part of the listing. Default 1. Use more walkers if one walk is too slow,
                because each page waits for the previous page. A segment pays off if it has about 20
                pages or more. The listing yields each conversation once, in no particular order.
                Segments cost up to a tenth more requests, and about 10 bytes of memory for each
                conversation.

                Segments use constructed cursors, which the API does not promise to accept
                (docs/api.md#cursors). The client checks each of these cursors. If there is any
                doubt, it logs a warning and continues with one walker, so no conversation is lost.
                At the end, the client reads the conversations that have moved to the front in the
                meantime.
            prefetch: The number of pages that each walker may request before the caller asks for
                them. With 1, the default, the walker requests the next page while the caller works
                on the present page. If you break out early, at most one page was fetched for
                nothing. With 0, a walker requests its next page only when the caller asks for more,
                even with ``segments``.
            on_malformed: A function that receives each :class:`~cekat_async.MalformedRecord` when
                the caller gets its page. Without this function, a malformed record raises a
                :class:`~cekat_async.MalformedRecordError` after the other records of its page.

        Raises:
            ConfigurationError: An argument is wrong. (A walk raises the errors of its requests, as
                described in :meth:`Listing.pages`.)

        Examples:
            >>> from datetime import timedelta
            >>> recent = cekat.conversations.list(stage_status="pending", since=timedelta(days=7))
            >>> async for conversation in recent:
            ...     print(conversation.contact_name, conversation.created_at)
            >>> first = await cekat.conversations.list().take(10)
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
        """Return one listing of the conversations of many inboxes, which are read concurrently.

        Without ``segments``, the walk yields the conversations of each inbox in order. Pages of
        different inboxes are yielded as they arrive. ``page.inbox_id`` identifies the inbox. At
        most ``2 * concurrency`` pages wait for the caller. Memory, tasks and connections grow with
        ``concurrency``, not with the number of inboxes.

        Args:
            inbox_ids: The ids of the inboxes, as text or as :class:`uuid.UUID`. Default ``None``:
                all inboxes of the account. An inbox whose id is repeated is read only once. The
                iterable may be asynchronous. The walk takes each id only when it needs the id. If
                you pass an iterator, only one walk can read the listing.
            concurrency: The number of inboxes to read at the same time. Default 8. A number above
                the client's own ``concurrency`` has no further effect.
            keep_going: True to read the other inboxes to their end if one inbox fails. An error
                that concerns all inboxes (a wrong key, a used-up daily quota) always ends the walk
                immediately. Default ``False``.
            page_size: The number of records per request. Default 100, the maximum of the API.
            stage_status: The status of the conversations to read. Default: any status.
            since: The start of a time range for the last activity: a datetime with a time zone, or
                a :class:`~datetime.timedelta` to count back from the beginning of the walk. In each
                inbox, up to one page of older conversations may be included. See :meth:`list`.
            until: The end of this time range, in the same form as ``since``.
            segments: The number of walkers that may read the same inbox when no other inboxes
                remain to be started. These walkers are part of the ``concurrency`` walkers. Default
                1. See :meth:`list` for the cost.
            on_malformed: A function that receives each malformed record. Without this function, a
                malformed record raises a :class:`~cekat_async.MalformedRecordError`. If
                ``inbox_ids`` is ``None``, the function also receives each inbox without a readable
                id, because such an inbox cannot be read.

        Raises:
            ConfigurationError: An argument is wrong. (With ``keep_going``, a walk raises an
                :class:`~cekat_async.InboxesFailedError` at its end if some inboxes failed. Without
                it, a walk raises the first error, and the error's ``inbox_id`` identifies the
                inbox.)

        Examples:
            >>> from collections import Counter
            >>> counts = Counter()
            >>> async for page in cekat.conversations.across(concurrency=4).pages():
            ...     counts[page.inbox_id] += len(page)
            >>> counts.total()
            250
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
                "%d walkers share a client that sends only %d requests at once: "
                "pass CekatClient(concurrency=%d)",
                *(walkers, allowed, walkers),
            )


def _inbox_filter(inbox_id: str | UUID | None) -> str | None:
    return None if inbox_id is None else require_inbox_id("inbox_id", inbox_id)


def _require_range(
    since: datetime | timedelta | None, until: datetime | timedelta | None
) -> TimeRange:
    time_range = TimeRange(since, until)
    time_range.resolve()  # raises an error if the range is wrong
    return time_range


def _status_filter(stage_status: StageStatus | str | None) -> tuple[tuple[str, str], ...]:
    if stage_status is None:
        return ()
    return (("stage_status", str(require_text("stage_status", stage_status))),)


def _warn_of_unknown(stage_status: StageStatus | str | None) -> None:
    if stage_status is not None and (warning := describe_unknown_status(stage_status)):
        _log.warning("%s", warning)
