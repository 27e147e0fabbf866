"""Many inboxes walked at once, so many at a time, into one line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from cekat_async._walk import odd_record_error
from cekat_async.config import require_text
from cekat_async.errors import (
    AuthenticationError,
    CekatError,
    ClientClosedError,
    ConfigurationError,
    InboxesFailedError,
    RateLimitError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from cekat_async._stream import Line
    from cekat_async.models import InboxPage, OddRecord

__all__ = ["Across", "each_once", "ids_of_all", "require_inbox_ids"]

P = TypeVar("P")


class Across(Generic[P]):
    """Walks inboxes, ``concurrency`` of them at a time, and puts their pages into a line.

    Args:
        walk: Makes the walk of an inbox.
        concurrency: How many walks there are at once, and so tasks, however many inboxes.
        keep_going: Whether the others go on when an inbox fails.
    """

    def __init__(
        self,
        walk: Callable[[str], AsyncGenerator[P, None]],
        concurrency: int,
        *,
        keep_going: bool,
    ) -> None:
        self._walk = walk
        self._slots = asyncio.Semaphore(concurrency)
        self._keep_going = keep_going
        self._failures: list[CekatError] = []

    async def into(self, line: Line[P], inbox_ids: AsyncGenerator[str, None]) -> None:
        """Walk them all.

        Raises:
            InboxesFailedError: Some failed, and the others have been walked to their end.
            CekatError: What the first to fail failed with, where the others are not to go on.
        """
        try:
            async with asyncio.TaskGroup() as group, aclosing(inbox_ids):
                async for inbox_id in inbox_ids:
                    await self._slots.acquire()
                    group.create_task(self._walk_one(inbox_id, line))
        except BaseExceptionGroup as failed:
            # Those that failed in the moment of being cancelled add nothing to the first.
            raise failed.exceptions[0] from None
        if self._failures:
            raise _all_that_failed(self._failures)

    async def _walk_one(self, inbox_id: str, line: Line[P]) -> None:
        try:
            await line.put_all(self._walk(inbox_id))
        except CekatError as error:
            error.inbox_id = inbox_id
            if not self._keep_going or _concerns_all(error):
                raise
            # Without its traceback, whose frames hold pages: ten thousand may fail.
            self._failures.append(error.with_traceback(None))
        finally:
            self._slots.release()


def _all_that_failed(errors: Sequence[CekatError]) -> InboxesFailedError:
    count = f"{len(errors):,} inboxes" if len(errors) > 1 else "1 inbox"
    return InboxesFailedError(
        f"{count} failed, all others are complete; the first was: {errors[0]}", errors=errors
    )


def _concerns_all(error: CekatError) -> bool:
    """Whether an error says nothing of the inbox, and each further one would fail in the same way.

    So does a wrong key, a closed client, and a quota that is spent for the day.
    """
    if isinstance(error, RateLimitError):
        return error.resumes_at is not None
    return isinstance(error, (AuthenticationError, ClientClosedError, ConfigurationError))


def require_inbox_ids(
    inbox_ids: Iterable[str] | AsyncIterable[str] | None,
) -> Iterable[str] | AsyncIterable[str] | None:
    """Return inbox ids that may be iterated, each checked that can be checked before that.

    Raises:
        ConfigurationError: They are one text, or nothing to iterate, or one of them is no text.
    """
    if inbox_ids is None or isinstance(inbox_ids, AsyncIterable):
        return inbox_ids
    if isinstance(inbox_ids, (str, bytes)):
        raise ConfigurationError(
            f"inbox_ids must be several, not one text: write [{inbox_ids!r}], "
            "or None for all inboxes of the account"
        )
    if not isinstance(inbox_ids, Iterable):
        raise ConfigurationError(
            "inbox_ids must be a list, any other iterable of ids, or None for all inboxes of the "
            f"account, not {inbox_ids!r}"
        )
    if isinstance(inbox_ids, (list, tuple, set, frozenset)):
        return tuple(require_text("each of inbox_ids", inbox_id) for inbox_id in inbox_ids)
    return inbox_ids


async def each_once(
    inbox_ids: Iterable[str] | AsyncIterable[str],
) -> AsyncGenerator[str, None]:
    """Yield each id when it comes for the first time.

    Raises:
        ConfigurationError: What comes is no text.
    """
    seen = set[str]()
    async with aclosing(_in_turn(inbox_ids)) as found:
        async for inbox_id in found:
            if require_text("each of inbox_ids", inbox_id) not in seen:
                seen.add(inbox_id)
                yield inbox_id


async def _in_turn(inbox_ids: Iterable[str] | AsyncIterable[str]) -> AsyncGenerator[str, None]:
    if not isinstance(inbox_ids, AsyncIterable):
        for inbox_id in inbox_ids:
            yield inbox_id
        return
    try:
        async for inbox_id in inbox_ids:
            yield inbox_id
    finally:
        # A generator of the caller's is closed here and now, not whenever it is collected.
        if (close := getattr(inbox_ids, "aclose", None)) is not None:
            await close()


async def ids_of_all(
    pages: AsyncGenerator[InboxPage, None], on_odd_record: Callable[[OddRecord], object] | None
) -> AsyncGenerator[str, None]:
    """Yield the id of each inbox of some pages, odd ones included: no more than it is needed.

    Raises:
        OddRecordError: One has no readable id, and nobody wants to be told of odd records.
    """
    async with aclosing(pages):
        async for page in pages:
            for inbox_id in (*(inbox.id for inbox in page.items), *_ids_of_odd(page)):
                yield inbox_id
            nameless = tuple(odd for odd in page.odd_records if odd.id is None)
            rest = msgspec.structs.replace(page, odd_records=nameless)
            if (error := odd_record_error(rest, on_odd_record)) is not None:
                raise error


def _ids_of_odd(page: InboxPage) -> Iterable[str]:
    return (odd.id for odd in page.odd_records if odd.id is not None)
