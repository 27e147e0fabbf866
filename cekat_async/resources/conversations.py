"""The conversations of an account: one page, all pages, one after another, or of many inboxes."""

from __future__ import annotations

import logging
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import msgspec

from cekat_async._api.decoding import decode_conversation_page, decode_raw_page
from cekat_async._api.messages import Request, encoded
from cekat_async._paging.cursor_walk import LONGEST_CURSOR, CursorWalk
from cekat_async._paging.many_inboxes import ManyInboxes, each_once, ids_of_all, require_inbox_ids
from cekat_async._paging.page_walk import (
    cursor_error,
    defer_malformed,
    ignore_malformed,
    iter_items,
    page_error,
    report_malformed,
    walk_pages,
)
from cekat_async._paging.prefetch import Prefetcher
from cekat_async._paging.sources import SerialSource
from cekat_async._paging.stream import streamed
from cekat_async._parallel.each_once import EachOnce
from cekat_async._parallel.source import ParallelSource
from cekat_async._parallel.walk import ParallelWalk
from cekat_async.config import require_count, require_inbox_id, require_switch, require_text
from cekat_async.errors import CekatError, ConfigurationError
from cekat_async.models.conversation import describe_unknown_status
from cekat_async.positions import Cursor, Position

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterable,
        Callable,
        Iterable,
        Mapping,
    )
    from uuid import UUID

    from cekat_async._api.messages import Reply
    from cekat_async._paging.prefetch import Fetch
    from cekat_async._paging.sources import PageSource
    from cekat_async._paging.stream import BoundedQueue
    from cekat_async._request.pipeline import Pipeline
    from cekat_async.models import Conversation, MalformedRecord, StageStatus
    from cekat_async.models.raw_json import Steps
    from cekat_async.pages import ConversationPage, InboxPage, RawPage

__all__ = ["Conversations"]

P = TypeVar("P", bound="ConversationPage | RawPage")
# The keys of a mapping are invariant: so a dict may have them of any one of these types.
K = TypeVar("K", bound="str | UUID | None")

_log = logging.getLogger("cekat_async")

_PATH = "/api/conversations"
# A probe is a tenth of a page, so that a few conversations with a time in the future, which would
# be the newest for ever, are not what everything is measured by.
_PAGES_PER_PROBE = 10


class Conversations:
    """``GET /api/conversations`` (API.md). Reached as ``client.conversations``.

    All ways to read it take the same arguments, so far as they make sense there:

    Args:
        limit: Results per page. The default, 100, is the documented maximum; the quota counts
            requests, not results. What the server makes of more is up to the server.
        inbox_id: Only this inbox: its id as text, or as a :class:`uuid.UUID`.
        stage_status: Only this status. One that the package does not know is sent as it is; each
            call with one logs a warning that suggests the nearest known status.
        cursor: Where to begin, as a page or an error gave it; ``None`` is the front.
        on_malformed: Called with each :class:`~cekat_async.MalformedRecord`, a record that does not
            have the documented shape. Without it such a record raises
            :class:`~cekat_async.MalformedRecordError`, in a walk after the page's other records.
        prefetch: Pages of a walk that may be asked for before the caller wants them. With the
            default, 1, the next page is under way while the caller works on this one, and who
            stops early has paid for one page too many; 0 asks for a page when it is wanted.
        segments: How many parts of the listing are walked at once, where one walk is too slow
            because each page waits for the one before; 1 walks in order. More is faster by about
            as much in a listing of at least 20 pages for each, costs up to about a tenth more
            requests, and some 10 bytes of memory for each conversation. Conversations come once,
            in no order; with ``cursor`` those behind it. More than the client's ``concurrency``
            does not help, and ``prefetch=0`` excludes it. A page that partly came before is cut to
            the rest, and its ``next_cursor`` is where a walk in order would find all that is left.

            It rests on cursors that the server did not send, which the API's documentation does
            not promise to honour: each is checked, and at the first doubt the walk goes on in
            order, with a warning in the log and nothing lost. What moves to the front meanwhile is
            read again at the end, until no request has missed anything.

    They raise :class:`~cekat_async.ConfigurationError` at once for a bad argument, and the rest of
    the family under :class:`~cekat_async.CekatError` when the request is made; its ``cursor``
    resumes the walk at the page that failed.
    """

    def __init__(
        self, pipeline: Pipeline, all_inboxes: Callable[..., AsyncGenerator[InboxPage, None]]
    ) -> None:
        self._pipeline = pipeline
        self._all_inboxes = all_inboxes
        self._label = partial(pipeline.labelled, path=_PATH)

    async def page(
        self,
        *,
        limit: int = 100,
        inbox_id: str | UUID | None = None,
        stage_status: StageStatus | str | None = None,
        cursor: Cursor | None = None,
        on_malformed: Callable[[MalformedRecord], object] | None = None,
    ) -> ConversationPage:
        """Return one page, with one request (and its retries)."""
        fetch = self._fetcher(
            decode_conversation_page, _query(limit, stage_status), _checked_inbox(inbox_id)
        )
        if cursor is None:  # once for all pages of a caller that follows the cursors itself
            _warn_of_unknown(stage_status)
        page = await fetch(_checked_cursor(cursor))
        if error := page_error(page, on_malformed):
            error.cursor = cursor
            raise self._label(error)
        return page

    def pages(
        self,
        *,
        limit: int = 100,
        inbox_id: str | UUID | None = None,
        stage_status: StageStatus | str | None = None,
        cursor: Cursor | None = None,
        on_malformed: Callable[[MalformedRecord], object] | None = None,
        prefetch: int = 1,
        segments: int = 1,
    ) -> AsyncGenerator[ConversationPage, None]:
        """Yield page after page until the server has no more.

        An error is raised behind all pages that came before it. The walk may be left at any point;
        what was asked for ahead is given up then.

        Raises:
            PaginationError: The server repeats a cursor or its pages, or sends empty pages whose
                cursors do not advance: the walk would never end.
        """
        require_count("prefetch", prefetch, at_least=0)
        require_count("segments", segments)
        query, inbox = _query(limit, stage_status), _checked_inbox(inbox_id)
        _warn_of_unknown(stage_status)
        start = _checked_cursor(cursor)
        if segments > 1:
            make = partial(
                self._listing, query, _probing_query(limit, stage_status), start, segments
            )
            return self._in_segments(make, inbox, segments, prefetch, on_malformed)
        error_of = partial(page_error, on_malformed=on_malformed)
        return self._walked(
            self._fetcher(decode_conversation_page, query, inbox),
            CursorWalk(start),
            prefetch,
            error_of,
            self._warner(inbox),
        )

    def list(
        self,
        *,
        limit: int = 100,
        inbox_id: str | UUID | None = None,
        stage_status: StageStatus | str | None = None,
        cursor: Cursor | None = None,
        on_malformed: Callable[[MalformedRecord], object] | None = None,
        prefetch: int = 1,
        segments: int = 1,
    ) -> AsyncGenerator[Conversation, None]:
        """Yield conversation after conversation, page by page behind the scenes.

        Raises:
            PaginationError: The server repeats a cursor or its pages, or sends empty pages whose
                cursors do not advance: the walk would never end.
        """
        return iter_items(
            self.pages(
                limit=limit,
                inbox_id=inbox_id,
                stage_status=stage_status,
                cursor=cursor,
                on_malformed=on_malformed,
                prefetch=prefetch,
                segments=segments,
            )
        )

    def raw_pages(
        self,
        *,
        limit: int = 100,
        inbox_id: str | UUID | None = None,
        stage_status: StageStatus | str | None = None,
        cursor: Cursor | None = None,
        prefetch: int = 1,
    ) -> AsyncGenerator[RawPage, None]:
        """Yield page after page with the records as bytes: for who keeps them as they came.

        No record is decoded, which is half of the work of a page, and so none is odd.

        Raises:
            PaginationError: The server repeats a cursor or its pages, or sends empty pages whose
                cursors do not advance: the walk would never end.
        """
        require_count("prefetch", prefetch, at_least=0)
        query, inbox = _query(limit, stage_status), _checked_inbox(inbox_id)
        _warn_of_unknown(stage_status)
        fetch = self._fetcher(decode_raw_page, query, inbox)
        walk = CursorWalk(_checked_cursor(cursor))
        return self._walked(fetch, walk, prefetch, cursor_error, self._warner(inbox))

    def across_pages(
        self,
        inbox_ids: Iterable[str | UUID] | AsyncIterable[str | UUID] | None = None,
        *,
        concurrency: int = 8,
        keep_going: bool = False,
        limit: int = 100,
        stage_status: StageStatus | str | None = None,
        on_malformed: Callable[[MalformedRecord], object] | None = None,
        segments: int = 1,
    ) -> AsyncGenerator[ConversationPage, None]:
        """Yield the pages of many inboxes as they come; ``page.inbox_id`` says whose one is.

        The pages of an inbox come in their order. At most ``2 * concurrency`` pages wait for the
        caller; then the walks wait too. Memory, tasks and connections grow with ``concurrency``
        and not with the number of inboxes.

        Args:
            inbox_ids: Which, each as text or as a :class:`uuid.UUID`; one that comes twice is
                walked once. ``None`` for all inboxes of the account. Of an iterable, an
                asynchronous one too, no more is taken than is walked.
            concurrency: How many inboxes are walked at once. More than the client's own
                ``concurrency`` does not help.
            keep_going: Walk the other inboxes to their end when one fails, and say at the end
                which failed. By default the first failure ends it all. What concerns all inboxes
                (a wrong key, a spent day) always does.
            limit: Results per page.
            stage_status: Only this status.
            segments: How many may walk one inbox at once, of the ``concurrency``, when there are no
                more inboxes to begin with: the last and largest need not be waited for. As for a
                single walk, conversations of one inbox come in no order then.
            on_malformed: As for a single walk. With ``None`` for ``inbox_ids`` also called with an
                inbox that has no readable id, and so cannot be walked.

        Raises:
            InboxesFailedError: With ``keep_going``: some inboxes failed; the others are complete.
            CekatError: An inbox failed; ``inbox_id`` says which, ``cursor`` where to resume it.
        """
        require_count("concurrency", concurrency)
        require_count("segments", segments)
        require_switch("keep_going", keep_going)
        self._warn_of_few_requests(concurrency)
        query, probing = _query(limit, stage_status), _probing_query(limit, stage_status)
        make = partial(self._listing, query, probing, None, segments)
        _warn_of_unknown(stage_status)
        wanted = require_inbox_ids(inbox_ids)
        told = defer_malformed(on_malformed)

        async def walk_all(line: BoundedQueue[ConversationPage]) -> None:
            ids = self._ids_of_all(on_malformed) if wanted is None else wanted
            across = ManyInboxes(line, partial(make, told), concurrency, keep_going=keep_going)
            await across.walk(each_once(ids))

        return report_malformed(streamed(walk_all, concurrency), on_malformed)

    def across(
        self,
        inbox_ids: Iterable[str | UUID] | AsyncIterable[str | UUID] | None = None,
        *,
        concurrency: int = 8,
        keep_going: bool = False,
        limit: int = 100,
        stage_status: StageStatus | str | None = None,
        on_malformed: Callable[[MalformedRecord], object] | None = None,
        segments: int = 1,
    ) -> AsyncGenerator[Conversation, None]:
        """Yield the conversations of many inboxes, which are walked at once.

        The arguments, and what it raises, are those of :meth:`across_pages`. Those of one inbox
        come in their order; those of different inboxes in the order of their arrival.
        """
        return iter_items(
            self.across_pages(
                inbox_ids,
                concurrency=concurrency,
                keep_going=keep_going,
                limit=limit,
                stage_status=stage_status,
                on_malformed=on_malformed,
                segments=segments,
            )
        )

    def tracked_pages(
        self,
        positions: Mapping[K, Position],
        *,
        concurrency: int = 8,
        keep_going: bool = False,
        limit: int = 100,
        stage_status: StageStatus | str | None = None,
        on_malformed: Callable[[MalformedRecord], object] | None = None,
    ) -> AsyncGenerator[ConversationPage, None]:
        """Yield the pages of one or more listings, each with the position that it leads to.

        For whoever must be able to go on in another process: keep each page, then its
        ``page.position`` under its ``page.inbox_id``, and pass the positions to go on. Pages come
        whole and in no order, and what has moved meanwhile comes again, as it is then. In the end
        every conversation that was there throughout has come, and the last that came of each is
        the latest.

        Args:
            positions: Where each listing is to be walked from: under its inbox id (text or a
                :class:`uuid.UUID`; ``page.inbox_id`` is text), or under ``None`` for all
                conversations of the account. ``Position()`` is the front, ``position.again()``
                looks for what has moved since a walk ended, and ``position.since()`` since it
                began.
            concurrency: How many walk at once. When there are no more listings to begin with, they
                take parts of the one with most left: see ``segments`` in :meth:`pages`.
            keep_going: As for :meth:`across_pages`.
            limit: Results per page.
            stage_status: Only this status.
            on_malformed: As for a single walk.

        Raises:
            InboxesFailedError: With ``keep_going``: some listings failed; the others are complete.
            PaginationError: One changes faster than it can be read, so that nobody knows whether
                all has come.
            CekatError: One failed; ``inbox_id`` says which.
        """
        require_count("concurrency", concurrency)
        require_switch("keep_going", keep_going)
        self._warn_of_few_requests(concurrency)
        query, told = _query(limit, stage_status), defer_malformed(on_malformed)
        wanted = _checked_positions(positions)
        probing = _probing_query(limit, stage_status)
        _warn_of_unknown(stage_status)

        def make(inbox_id: str | None) -> PageSource:
            walk = ParallelWalk(wanted[inbox_id], concurrency, self._warner(inbox_id))
            fetch, probe = (
                self._fetcher(decode_conversation_page, query, inbox_id),
                self._fetcher(decode_conversation_page, probing, inbox_id),
            )
            return ParallelSource(fetch, probe, walk, walk.tracked, told, self._label)

        async def walk_all(line: BoundedQueue[ConversationPage]) -> None:
            across = ManyInboxes(line, make, concurrency, keep_going=keep_going)
            await across.walk(_each(wanted))

        return report_malformed(streamed(walk_all, concurrency), on_malformed)

    def _ids_of_all(
        self, on_malformed: Callable[[MalformedRecord], object] | None
    ) -> AsyncGenerator[str, None]:
        return ids_of_all(self._all_inboxes(on_malformed=ignore_malformed), on_malformed)

    async def _walked(
        self,
        fetch: Fetch[P],
        walk: CursorWalk,
        prefetch: int,
        error_of: Callable[[P], CekatError | None],
        warn: Callable[[str], None],
    ) -> AsyncGenerator[P, None]:
        """Walk one listing in order, so many pages ahead of the caller."""
        async with aclosing(Prefetcher(fetch, prefetch, walk.can_follow)) as ahead:
            pages = walk_pages(ahead.page, walk, error_of, self._label, warn)
            async with aclosing(pages):
                async for page in pages:
                    yield page

    def _in_segments(
        self,
        make: Callable[..., PageSource],
        inbox_id: str | None,
        segments: int,
        prefetch: int,
        on_malformed: Callable[[MalformedRecord], object] | None,
    ) -> AsyncGenerator[ConversationPage, None]:
        """Walk one listing in segments, each of which is as many pages ahead as a walk would be."""
        if not prefetch:
            raise ConfigurationError("segments are walked ahead: prefetch must be 1 at least")
        self._warn_of_few_requests(segments)
        told = defer_malformed(on_malformed)

        async def walk_all(line: BoundedQueue[ConversationPage]) -> None:
            across = ManyInboxes(line, partial(make, told), segments, keep_going=False)
            await across.walk(_each([inbox_id]))

        return report_malformed(streamed(walk_all, segments * prefetch), on_malformed)

    def _warn_of_few_requests(self, wanted: int) -> None:
        if wanted > (most := self._pipeline.concurrency):
            _log.warning(
                "%d walkers, but the client lets %d requests go at once: "
                "pass CekatClient(concurrency=%d)",
                *(wanted, most, wanted),
            )

    def _listing(
        self,
        query: str,
        probing: str,
        start: Cursor | None,
        segments: int,
        on_malformed: Callable[[MalformedRecord], object] | None,
        inbox_id: str | None,
    ) -> PageSource:
        fetch = self._fetcher(decode_conversation_page, query, inbox_id)
        warn = self._warner(inbox_id)
        if segments == 1:
            error_of = partial(page_error, on_malformed=on_malformed)
            return SerialSource(walk_pages(fetch, CursorWalk(start), error_of, self._label, warn))
        probe = self._fetcher(decode_conversation_page, probing, inbox_id)
        walk = ParallelWalk(Position(), segments, warn, start)
        finish = EachOnce(walk).reduce
        return ParallelSource(fetch, probe, walk, finish, on_malformed, self._label)

    def _warner(self, inbox_id: str | None) -> Callable[[str], None]:
        which = "all inboxes" if inbox_id is None else f"inbox {inbox_id}"
        return partial(_log.warning, "conversations of %s: %s", which)

    def _fetcher(
        self, decode: Callable[[Reply], Steps[P]], query: str, inbox_id: str | None
    ) -> Fetch[P]:
        inbox = "" if inbox_id is None else "&" + encoded(("inbox_id", inbox_id))
        return partial(self._fetch, decode, query + inbox, inbox_id)

    async def _fetch(
        self,
        decode: Callable[[Reply], Steps[P]],
        query: str,
        inbox_id: str | None,
        cursor: Cursor | None,
        on_sight: Callable[[Reply], bool] | None = None,
    ) -> P:
        position = "" if cursor is None else "&" + encoded(*_pair(cursor))
        request = Request(_PATH, query + position)
        try:
            page = await self._pipeline.fetch(request, decode, on_sight)
        except CekatError as error:
            error.cursor = cursor
            raise
        return msgspec.structs.replace(page, inbox_id=inbox_id) if inbox_id else page


def _query(limit: int, stage_status: StageStatus | str | None) -> str:
    query = [("limit", str(require_count("limit", limit)))]
    if stage_status is not None:
        query.append(("stage_status", str(require_text("stage_status", stage_status))))
    return encoded(*query)


def _probing_query(limit: int, stage_status: StageStatus | str | None) -> str:
    return _query(-(-limit // _PAGES_PER_PROBE), stage_status)


def _warn_of_unknown(stage_status: StageStatus | str | None) -> None:
    if stage_status is not None and (warning := describe_unknown_status(stage_status)):
        _log.warning("%s", warning)


def _checked_inbox(inbox_id: str | UUID | None) -> str | None:
    return None if inbox_id is None else require_inbox_id("inbox_id", inbox_id)


def _checked_positions(positions: Mapping[K, Position]) -> dict[str | None, Position]:
    """Return positions under the inboxes' ids as text."""
    checked: dict[str | None, Position] = {}
    for key, position in positions.items():
        inbox_id = None if key is None else require_inbox_id("each inbox of positions", key)
        if inbox_id in checked:
            raise ConfigurationError(f"positions names inbox {inbox_id} twice: leave one out")
        checked[inbox_id] = position
    return checked


async def _each(inbox_ids: Iterable[str | None]) -> AsyncGenerator[str | None, None]:
    for inbox_id in inbox_ids:
        yield inbox_id


def _checked_cursor(cursor: Cursor | None) -> Cursor | None:
    if cursor is None:
        return None
    if not isinstance(cursor, Cursor):
        raise ConfigurationError(f"cursor must be a Cursor or None, not {cursor!r}")
    for name, text in _pair(cursor):
        if len(require_text(f"cursor.{name}", text)) > LONGEST_CURSOR:
            raise ConfigurationError(
                f"cursor.{name} has {len(text):,} characters, and more than {LONGEST_CURSOR:,} "
                "cannot be sent in a URL: pass a cursor of a page"
            )
    return cursor


def _pair(cursor: Cursor) -> tuple[tuple[str, str], tuple[str, str]]:
    return (("cursor_id", cursor.cursor_id), ("cursor_ts", cursor.cursor_ts))
