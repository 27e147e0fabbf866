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

    Every method raises a :class:`~cekat_async.ConfigurationError` at once for a wrong argument.
    If a request fails, the call or the walk raises another :class:`~cekat_async.CekatError`. Its
    ``cursor`` resumes a listing at the page that failed.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        list_inboxes: Callable[..., Listing[Inbox, InboxPage]],
        decoder: ConversationPageDecoder | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._list_inboxes = list_inboxes
        # All listings share it: what the decoder learns from one listing speeds up the others.
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
        """Return one page of conversations. It takes one request, and retries if that fails.

        Args:
            limit: The most records on the page. Default 100, the maximum of the API
                (docs/api.md#requests).
            inbox_id: Only conversations of this inbox: its id as text or as a :class:`uuid.UUID`.
                Default: all inboxes.
            stage_status: Only conversations with this status. An unknown status is sent unchanged.
                A warning is logged, which is shown only if logging is set up. Default: any status.
            cursor: Where the page begins: ``next_cursor`` of the page before it. Default: the
                first page.
            on_malformed: A function that is called with each malformed record of the page. Without
                it, a malformed record raises a :class:`~cekat_async.MalformedRecordError`.

        Raises:
            ConfigurationError: An argument is wrong.
            MalformedRecordError: A record is malformed. The error's ``page`` has the others.
            PaginationError: The page has a cursor that cannot be used. The error's ``page`` has
                all records.
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
        if cursor is None:  # warn only once if the caller follows the cursors
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
        """Return the listing of the account or of one inbox. It sends nothing until you read it.

        Args:
            page_size: Records per request. Default 100, the maximum of the API
                (docs/api.md#requests). The quota counts requests, so smaller pages use more of it.
                To read only the first records, use :meth:`Listing.take`.
            inbox_id: Only conversations of this inbox: its id as text or as a :class:`uuid.UUID`.
                Default: all inboxes.
            stage_status: Only conversations with this status. An unknown status is sent unchanged.
                A warning that suggests a known status is logged, which is shown only if logging is
                set up (``logging.basicConfig()``). Default: any status.
            cursor: Where to begin: ``next_cursor`` of a page, or ``cursor`` of an error. Default
                ``None``: the front of the listing.
            since: Only conversations whose last activity was at this moment or later: a datetime
                with a time zone, or a :class:`~datetime.timedelta` before the walk begins. The
                walk stops where the listing is older, so it sends no requests for the rest. It
                misses no conversation of the range, and may include up to a page of older ones.

                The client knows the time of last activity only from the listing's cursors. If the
                listing turns out to be in another order (by creation, for example), the walk reads
                everything, logs a warning, and keeps each conversation that may be in the range.
            until: Only conversations whose last activity was at this moment or earlier: a datetime
                with a time zone, or a :class:`~datetime.timedelta` before the walk begins. It must
                be later than ``since``. If the server honours constructed cursors (see
                ``segments``), the walk begins at this moment. Otherwise it begins at the front.
            segments: How many walkers read the listing at once, each in a different part of it.
                Default 1. Use more if one walk is too slow because each page waits for the page
                before it. A segment pays off from about 20 pages on. Each conversation is yielded
                once, in no particular order. Segments cost up to a tenth more requests, and about
                10 bytes of memory for each conversation.

                Segments use constructed cursors, which the API does not promise to accept
                (docs/api.md#cursors). The client checks each of them. At the first doubt it logs a
                warning and one walker continues in order, so nothing is lost. At the end the client
                reads again what moved to the front in the meantime.
            prefetch: How many pages each walker may request before the caller wants them. With 1,
                the default, the next page is requested while the caller works on this one. If you
                break out early, at most one page was fetched for nothing. With 0, a walker
                requests its next page only when the caller asks for more (also with ``segments``).
            on_malformed: A function that is called with each
                :class:`~cekat_async.MalformedRecord`, when the caller gets its page. Without it, a
                malformed record raises a :class:`~cekat_async.MalformedRecordError` after the other
                records of its page.

        Raises:
            ConfigurationError: An argument is wrong. (A walk raises the errors of its requests: see
                :meth:`Listing.pages`.)

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
        """Return the conversations of many inboxes as one listing, read concurrently.

        The conversations of one inbox are yielded in their order (without ``segments``). Pages of
        different inboxes are yielded as they are received. ``page.inbox_id`` identifies the inbox.
        At most ``2 * concurrency`` pages wait for the caller. Memory, tasks and connections grow
        with ``concurrency``, and not with the number of inboxes.

        Args:
            inbox_ids: The ids of the inboxes, as text or as :class:`uuid.UUID`. Default ``None``:
                all inboxes of the account. A repeated id is read once. The iterable may be
                asynchronous, and is read only as far as needed. If it is an iterator, only one walk
                can read the listing.
            concurrency: How many inboxes are read at once. Default 8. A number above the client's
                own ``concurrency`` does not help.
            keep_going: Whether to read the other inboxes to their end when one fails. An error that
                concerns all inboxes (a wrong key, a used-up daily quota) is raised at once. Default
                ``False``.
            page_size: Records per request. Default 100, the maximum of the API.
            stage_status: Only conversations with this status. Default: any.
            since: Only conversations whose last activity was at this moment or later: a datetime
                with a time zone, or a :class:`~datetime.timedelta` before the walk begins. In each
                inbox, up to a page of older ones may be included. See :meth:`list`.
            until: Only conversations whose last activity was at this moment or earlier, in the
                same forms as ``since``.
            segments: How many of the ``concurrency`` walkers may read one inbox at once when there
                are no more inboxes to begin with. Default 1. See :meth:`list` for the cost.
            on_malformed: A function that is called with each malformed record. Without it, a
                malformed record raises a :class:`~cekat_async.MalformedRecordError`. If
                ``inbox_ids`` is ``None``, the function is also called with each inbox that has no
                readable id and therefore cannot be read.

        Raises:
            ConfigurationError: An argument is wrong. (A walk raises an
                :class:`~cekat_async.InboxesFailedError` at its end if some inboxes failed with
                ``keep_going``. Otherwise it raises the first error, whose ``inbox_id`` names the
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
    time_range.resolve()  # raises if it is wrong
    return time_range


def _status_filter(stage_status: StageStatus | str | None) -> tuple[tuple[str, str], ...]:
    if stage_status is None:
        return ()
    return (("stage_status", str(require_text("stage_status", stage_status))),)


def _warn_of_unknown(stage_status: StageStatus | str | None) -> None:
    if stage_status is not None and (warning := describe_unknown_status(stage_status)):
        _log.warning("%s", warning)
