"""Builds the errors about a page's malformed records and about its cursor."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from cekat_async.errors import (
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    MalformedRecordError,
    PaginationError,
    PermissionDeniedError,
    RateLimitError,
)
from cekat_async.redaction import quoted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from cekat_async.errors import CekatError
    from cekat_async.models import MalformedRecord
    from cekat_async.pages import ConversationPage, InboxPage, RawPage

__all__ = [
    "cursor_error",
    "ignore_malformed",
    "malformed_error",
    "may_be_about_cursor",
    "page_error",
    "report_malformed",
]

# These errors do not depend on the cursor of a request.
_ABOUT_ANY_REQUEST = (
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    PermissionDeniedError,
    RateLimitError,
)


def may_be_about_cursor(error: CekatError) -> bool:
    """Whether a request may have failed because its cursor is constructed.

    A server may refuse such a cursor with any status, or may not reply in time.
    """
    return not isinstance(error, _ABOUT_ANY_REQUEST)


def malformed_error(
    page: ConversationPage | InboxPage, on_malformed: Callable[[MalformedRecord], object] | None
) -> MalformedRecordError | None:
    """Pass a page's malformed records to the caller's function, or return the error to raise."""
    if not page.malformed_records:
        return None
    if on_malformed is not None:
        for record in page.malformed_records:
            on_malformed(record)
        return None
    first, *others = page.malformed_records
    more = f" (and {len(others)} more of this page)" if others else ""
    id_ = None if first.id is None else quoted(first.id)
    return MalformedRecordError(
        f"record {first.index} of the page, id {id_}, is malformed at "
        f"{first.field}: {first.reason}{more}",
        records=page.malformed_records,
        page=page,
    )


def cursor_error(page: ConversationPage | RawPage) -> PaginationError | None:
    """Return the error to raise after a page whose cursor cannot be used."""
    if page.cursor_error is None:
        return None
    # The error contains only the records. The rest of the body is not the account's data, and may
    # echo the key.
    records = b'{"data":[%s]}' % b",".join(bytes(raw) for raw in page.raw)
    return PaginationError(
        f"the server sent a cursor that cannot be used: {page.cursor_error}. The records of this "
        "page are complete, but the next page cannot be requested",
        page=msgspec.structs.replace(page, body=records),
    )


def page_error(
    page: ConversationPage, on_malformed: Callable[[MalformedRecord], object] | None
) -> CekatError | None:
    """Return the error to raise after a page, about its malformed records or its cursor."""
    return malformed_error(page, on_malformed) or cursor_error(page)


def ignore_malformed(_: MalformedRecord) -> None:
    """Ignore a malformed record here, because another function reports it later."""


async def report_malformed(
    pages: AsyncGenerator[ConversationPage, None], on_malformed: Callable[[MalformedRecord], object]
) -> AsyncGenerator[ConversationPage, None]:
    """Yield prefetched pages. Report the malformed records of a page when the page is yielded."""
    async with aclosing(pages):
        async for page in pages:
            malformed_error(page, on_malformed)
            yield page
