"""A listing as an object: nothing is sent before it is read, and it can be read in several ways."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable
from contextlib import aclosing
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, ParamSpec, TypeVar, cast
from weakref import WeakSet, ref

from cekat_async._request.hooks import WalkReport
from cekat_async.config import require_count
from cekat_async.errors import ClientClosedError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
    from uuid import UUID

    from cekat_async._request.pipeline import Pipeline
    from cekat_async.models import Conversation
    from cekat_async.models.base import IdentifiedRecord
    from cekat_async.pages import ConversationPage, Page, RawPage
    from cekat_async.positions import Position

__all__ = ["Listing", "Source", "takes_page_size"]

R = TypeVar("R")
P = TypeVar("P", bound="Page[Any]")
T = TypeVar("T")
U = TypeVar("U")
A = ParamSpec("A")
# The keys of a mapping are invariant: a dict may have keys of any one of these types.
K = TypeVar("K", bound="str | UUID | None")


class Source(ABC, Generic[P]):
    """What a listing reads. Each call returns a new walk.

    Attributes:
        record_type: The type of the records.
    """

    record_type: ClassVar[type[IdentifiedRecord]]

    @abstractmethod
    def pages(self) -> AsyncGenerator[P, None]:
        """Return all pages, some fetched ahead."""

    def pages_on_demand(self) -> AsyncGenerator[P, None]:
        """Return the pages in order, none fetched before it is wanted."""
        return self.pages()

    def raw_pages(self) -> AsyncGenerator[RawPage, None]:
        """Return all pages undecoded."""
        raise ConfigurationError("only conversations have raw_pages(): use pages() and page.raw")

    def tracked_pages(self, positions: Mapping[K, Position]) -> AsyncGenerator[P, None]:  # noqa: ARG002 - for subclasses
        """Return pages with resume positions."""
        raise ConfigurationError("only conversations have tracked_pages(): use pages()")


class Listing(AsyncIterable[R], Generic[R, P]):
    """What ``list()`` and ``across()`` return: records that can be read in several ways.

    ::

        async for conversation in listing: ...
        async for page in listing.pages(): ...
        first = await listing.take(500)

    Nothing is sent before it is read. Each ``async for`` and each method starts a new walk, which
    may be left at any point: ``break`` ends it, even if the listing is still in a variable. Use
    ``async with aclosing(listing)`` to wait until its requests have been cancelled.

    It can be neither awaited nor pickled, and is no iterator: use ``aiter(listing)`` for one.
    """

    def __init__(
        self, pipeline: Pipeline, path: str, build_source: Callable[[Pipeline], Source[P]]
    ) -> None:
        self._pipeline = pipeline
        self._path = path
        self._build_source = build_source
        self._walks = WeakSet[_Walk]()

    @property
    def record_type(self) -> type[R]:
        """The type of its records: :class:`Conversation` or :class:`Inbox`."""
        return cast("type[R]", self._build_source(self._pipeline).record_type)

    def __aiter__(self) -> AsyncGenerator[R, None]:  # noqa: PYI058 - it can be closed
        return self._walk(_get_records, lambda source: source.pages())

    def pages(self) -> AsyncGenerator[P, None]:
        """Yield page after page until the server has no more.

        Raises:
            CekatError: A request failed. It is raised after all pages before it, and its
                ``cursor`` resumes the listing at the page that failed.
            PaginationError: The server repeats a cursor or its pages, or sends empty pages whose
                cursors do not advance: the walk would never end.
        """
        return self._walk(_get_page, lambda source: source.pages())

    def raw_pages(self: Listing[Conversation, ConversationPage]) -> AsyncGenerator[RawPage, None]:
        """Yield page after page with the records as received, without decoding them.

        That is half of the work of a page. No record is malformed, because none is decoded. It
        works for conversations, also across inboxes.

        Raises:
            ConfigurationError: The listing has ``segments``, which need decoded pages, or is not
                of conversations.
            CekatError: As for :meth:`pages`.
        """
        return self._walk(_get_page, lambda source: source.raw_pages())

    def tracked_pages(
        self: Listing[Conversation, ConversationPage], positions: Mapping[K, Position]
    ) -> AsyncGenerator[ConversationPage, None]:
        """Yield pages with resume positions, to continue in another process.

        Keep each page, then its ``page.position`` under its ``page.inbox_id``, and pass these
        positions to continue. Pages arrive whole and in no order. A conversation that moves during
        the walk is yielded again in its newer version. When the walk ends, every conversation that
        existed throughout has been yielded, and the last version of each is the latest.

        The listing is read by as many walkers as it has ``segments``. Across inboxes there are
        ``concurrency`` walkers, of which up to ``segments`` read one inbox at once.

        Args:
            positions: Where to begin, by inbox id (text or a :class:`uuid.UUID`), or under
                ``None`` for all conversations of the account (``list()`` without ``inbox_id``). A
                listing without a position begins at the front. ``position.again()`` looks for
                what has moved since its walk ended, ``position.since()`` since it began. The
                listing must have the same moments for ``since`` and ``until`` as the one that a
                position is from: pass datetimes, because a timedelta is counted back again.

        Raises:
            ConfigurationError: A key is not of this listing, a value is no
                :class:`~cekat_async.Position`, or the listing has a ``cursor``.
            PaginationError: The listing changes faster than it is read.
            CekatError: As for :meth:`pages`.
        """
        return self._walk(_get_page, lambda source: source.tracked_pages(positions))

    async def take(self, n: int) -> list[R]:
        """Return the first ``n`` records, or all if there are fewer.

        It reads in order, one page at a time, and requests no page of records more than it needs,
        whatever ``segments``, ``prefetch`` and ``concurrency`` are. Across inboxes it reads one
        after another.

        Raises:
            ConfigurationError: ``n`` is not a whole number of at least 0.
            CekatError: As for :meth:`pages`.
        """
        found: list[R] = []
        if not require_count("n", n, at_least=0):
            return found
        walk = self._walk(_get_records, lambda source: source.pages_on_demand())
        async with aclosing(walk) as records:
            async for record in records:
                found.append(record)
                if len(found) == n:
                    break
        return found

    async def collect(self) -> list[R]:
        """Return all records. A large account may not fit into memory.

        Raises:
            CekatError: As for :meth:`pages`.
        """
        async with aclosing(aiter(self)) as records:
            return [record async for record in records]

    async def aclose(self) -> None:
        """End all walks of this listing that are open, and wait until they have ended.

        A task that is waiting for a page gets a :class:`~cekat_async.ClientClosedError`. A task
        that is working on a page finds no more of them, as after ``aclose()`` of a generator: its
        loop ends without an error, although the listing was not read to its end. The listing can
        be read again afterwards.
        """
        for walk in list(self._walks):
            await walk.aclose()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Listing cannot be pickled, because it belongs to an open client: pickle what it is "
            "made with, and call list() again"
        )

    def __repr__(self) -> str:
        return f"<Listing of {self._build_source(self._pipeline)!r}>"

    def _walk(
        self,
        unpack: Callable[[T], Iterable[U]],
        read: Callable[[Source[P]], AsyncGenerator[T, None]],
    ) -> AsyncGenerator[U, None]:
        report = WalkReport(self._pipeline.hooks, self._path)
        pages = read(self._build_source(self._pipeline.for_walk(report.walk)))
        walk = _Walk()
        generator = self._run(walk, pages, unpack, report)
        walk.generator = ref(generator)
        return generator

    async def _run(
        self,
        walk: _Walk,
        pages: AsyncGenerator[T, None],
        unpack: Callable[[T], Iterable[U]],
        report: WalkReport,
    ) -> AsyncGenerator[U, None]:
        self._walks.add(walk)
        with report:
            try:
                async with aclosing(pages):
                    while (page := await walk.wait_for(pages)) is not None:
                        report.add(page)
                        for item in unpack(page):
                            yield item
            finally:
                walk.ended.set()


class _Walk:
    """One walk, which another task can end while it waits for a page.

    Attributes:
        generator: Returns the walk's generator, or ``None`` if that has been dropped, so that the
            event loop is closing it.
    """

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.generator: Callable[[], Any] = lambda: None
        self._scope: asyncio.Timeout | None = None
        self._is_closed = False

    async def wait_for(self, pages: AsyncGenerator[T, None]) -> T | None:
        """Return the next page, or ``None`` after the last one; raise if the walk is closed."""
        try:
            async with asyncio.timeout(None) as self._scope:
                page = await anext(pages, None)
        except TimeoutError:
            if not self._is_closed:
                raise
            page = None
        finally:
            self._scope = None
        if self._is_closed:
            raise ClientClosedError("the listing was closed while it was being read")
        return page

    async def aclose(self) -> None:
        """End the walk, and wait until it has ended."""
        self._is_closed = True
        generator = self.generator()
        if self._scope is not None:
            if not self._scope.expired():  # unless another task closes it, too
                self._scope.reschedule(0)  # wakes the task that waits for a page
        elif generator is not None and not generator.ag_running:
            await generator.aclose()
        await self.ended.wait()


def _get_page(page: T) -> tuple[T]:
    return (page,)


def _get_records(page: Page[Any]) -> tuple[Any, ...]:
    return page.items


def takes_page_size(function: Callable[A, T]) -> Callable[A, T]:
    """Make a function refuse ``limit=`` with an error that names ``page_size`` instead.

    ``list(limit=10)`` reads as "ten conversations", but would cost ten times the requests. Type
    checkers see the function as it is.
    """

    @wraps(function)
    def checked(*args: A.args, **kwargs: A.kwargs) -> T:
        if "limit" in kwargs:
            raise ConfigurationError(
                f"{function.__name__}() takes page_size=…, the number of records per request, "
                "in place of limit"
            )
        return function(*args, **kwargs)

    return checked
