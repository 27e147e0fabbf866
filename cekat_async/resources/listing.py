"""A listing is an object that you can read in several ways. Only reading sends requests."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable
from contextlib import aclosing
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, ParamSpec, TypeVar, cast
from weakref import WeakSet, ref

from cekat_async._request.walk_report import WalkReport
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
# The keys of a mapping are invariant, so this type variable lets a dict have keys of any one of
# these types.
K = TypeVar("K", bound="str | UUID | None")


class Source(ABC, Generic[P]):
    """The source that a listing reads from. Each call returns a new walk.

    Attributes:
        record_type: The class of the records.
    """

    record_type: ClassVar[type[IdentifiedRecord]]

    @abstractmethod
    def pages(self) -> AsyncGenerator[P, None]:
        """Return all pages. Some are prefetched."""

    def pages_on_demand(self) -> AsyncGenerator[P, None]:
        """Return the pages in order, without prefetching."""
        return self.pages()

    def raw_pages(self) -> AsyncGenerator[RawPage, None]:
        """Return all pages without decoding them."""
        raise ConfigurationError("only conversations have raw_pages(): use pages() and page.raw")

    def tracked_pages(self, positions: Mapping[K, Position]) -> AsyncGenerator[P, None]:  # noqa: ARG002 - for subclasses
        """Return pages with resume positions."""
        raise ConfigurationError("only conversations have tracked_pages(): use pages()")


class Listing(AsyncIterable[R], Generic[R, P]):
    """The records of a query, which you can read in several ways. ``list()`` returns a listing.

    A listing sends no request until you read it. Each ``async for`` and each method starts a new
    walk. ``break`` ends a walk at any point, even if the listing is still in a variable. To wait
    until the requests of its walks have been cancelled, use ``async with aclosing(listing)``.

    A listing cannot be awaited or pickled. It is not an iterator itself, but ``aiter(listing)``
    returns one.

    Examples:
        >>> listing = cekat.conversations.list()
        >>> async for conversation in listing:  # one record at a time
        ...     print(conversation.id)
        >>> async for page in listing.pages():  # one page at a time
        ...     print(len(page))
        100
        100
        50
        >>> first = await listing.take(5)  # the first records only
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
        """The class of the records: :class:`Conversation` or :class:`Inbox`."""
        return cast("type[R]", self._build_source(self._pipeline).record_type)

    def __aiter__(self) -> AsyncGenerator[R, None]:  # noqa: PYI058 - it can be closed
        return self._walk(_get_records, lambda source: source.pages())

    def pages(self) -> AsyncGenerator[P, None]:
        """Yield all pages, one after another.

        Raises:
            MalformedRecordError: A record is malformed, and the listing has no ``on_malformed``.
                The walk raises this error after the other records of the page.
            PaginationError: The walk would never end, because the server repeats a cursor or its
                pages, or sends empty pages whose cursors do not advance.
            InboxesFailedError: Some inboxes of ``across(keep_going=True)`` failed. The walk raises
                this error after all pages of the other inboxes.
            CekatError: A request failed. The walk raises this error after all earlier pages. Its
                ``cursor`` resumes the listing at the page that failed.

        Examples:
            >>> async for page in cekat.conversations.list(page_size=50).pages():
            ...     print(len(page), page.response.status)
            50 200
            50 200
            50 200
            50 200
            50 200
        """
        return self._walk(_get_page, lambda source: source.pages())

    def raw_pages(self: Listing[Conversation, ConversationPage]) -> AsyncGenerator[RawPage, None]:
        """Yield all pages with the records as received, without decoding them.

        This method takes half the CPU time of :meth:`pages`. No record counts as malformed, because
        none is decoded. The method works for listings of conversations, even across inboxes.

        Raises:
            ConfigurationError: The listing has ``segments``, which need decoded pages, or it is not
                a listing of conversations.
            PaginationError: The server repeats a cursor or its pages.
            CekatError: A request failed. The error's ``cursor`` resumes the listing at that page.

        Examples:
            >>> with open("conversations.jsonl", "wb") as file:
            ...     async for page in cekat.conversations.list().raw_pages():
            ...         written = file.write(page.json_lines())
        """
        return self._walk(_get_page, lambda source: source.raw_pages())

    def tracked_pages(
        self: Listing[Conversation, ConversationPage], positions: Mapping[K, Position]
    ) -> AsyncGenerator[ConversationPage, None]:
        """Yield pages with resume positions, from which another process can continue the walk.

        Store each page first. Then store ``page.position`` under ``page.inbox_id``. To continue,
        pass the stored positions. The walk yields whole pages, in no particular order. If a
        conversation moves during the walk, the walk yields its newer version again. At its end, the
        walk has yielded every conversation that existed during the whole walk. The version of a
        conversation that was yielded last is the latest.

        The number of walkers that read the listing is ``segments``. Across inboxes, there are
        ``concurrency`` walkers, and up to ``segments`` of them read the same inbox.

        Args:
            positions: The position at which to begin in each inbox, by inbox id (text or
                :class:`uuid.UUID`). The key ``None`` is the whole account (``list()`` without
                ``inbox_id``). A listing without a position begins at the front.
                ``position.again()`` continues with the conversations that have moved since the
                position's walk ended. ``position.since()`` continues with those that have moved
                since that walk began. The listing must have the same ``since`` and ``until`` as the
                listing that returned the positions. Pass datetimes, because a timedelta would now
                mean other times.

        Raises:
            ConfigurationError: A key does not belong to this listing, a value is not a
                :class:`~cekat_async.Position`, or the listing has a ``cursor``.
            PaginationError: The listing changes faster than it is read, or has no end.
            CekatError: A request failed. The stored positions resume the walk.

        Examples:
            >>> positions = {}
            >>> async for page in cekat.conversations.list().tracked_pages(positions):
            ...     positions[page.inbox_id] = page.position  # store the page before this
        """
        return self._walk(_get_page, lambda source: source.tracked_pages(positions))

    async def take(self, n: int) -> list[R]:
        """Return the first ``n`` records, or all if there are fewer.

        The method reads in order, one page at a time, and requests no more pages than it needs. It
        ignores ``segments``, ``prefetch`` and ``concurrency``. Across inboxes, it reads one inbox
        after another.

        Args:
            n: The number of records, at least 0.

        Raises:
            ConfigurationError: ``n`` is not a whole number, or is negative.
            CekatError: A request failed, or a record is malformed (see :meth:`pages`).

        Examples:
            >>> first = await cekat.conversations.list(stage_status="pending").take(10)
            >>> len(first)
            10
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
            CekatError: A request failed, or a record is malformed (see :meth:`pages`).

        Examples:
            >>> conversations = await cekat.conversations.list().collect()
            >>> len(conversations)
            250
        """
        async with aclosing(aiter(self)) as records:
            return [record async for record in records]

    async def aclose(self) -> None:
        """End all open walks of this listing, and wait until they have ended.

        If a task is waiting for a page, its walk raises :class:`~cekat_async.ClientClosedError`. If
        a task is working on a page, its loop ends after that page without an error, although the
        walk did not reach the end of the listing. You can read the listing again afterwards.

        Examples:
            >>> from contextlib import aclosing
            >>> async with aclosing(cekat.conversations.list()) as listing:
            ...     async for conversation in listing:
            ...         break  # the requests are cancelled when the block ends
        """
        for walk in list(self._walks):
            await walk.aclose()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Listing cannot be pickled, because it belongs to an open client: pickle the "
            "arguments of list(), and call it again"
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
    """One walk, which another task can end while the walk waits for a page.

    Attributes:
        generator: Returns the walk's generator. Returns ``None`` if the caller has dropped the
            generator, because the event loop then closes it.
    """

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.generator: Callable[[], Any] = lambda: None
        self._scope: asyncio.Timeout | None = None
        self._is_closed = False

    async def wait_for(self, pages: AsyncGenerator[T, None]) -> T | None:
        """Return the next page, or ``None`` after the last page. Raise if the walk is closed."""
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
            if not self._scope.expired():  # unless another task is also closing the walk
                self._scope.reschedule(0)  # wakes the task that waits for a page
        elif generator is not None and not generator.ag_running:
            await generator.aclose()
        await self.ended.wait()


def _get_page(page: T) -> tuple[T]:
    return (page,)


def _get_records(page: Page[Any]) -> tuple[Any, ...]:
    return page.items


def takes_page_size(function: Callable[A, T]) -> Callable[A, T]:
    """Make a function reject ``limit=`` with an error that suggests ``page_size``.

    ``list(limit=10)`` looks like "ten conversations", but would cost ten times as many requests.
    Type checkers still see the original function.
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
