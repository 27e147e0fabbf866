"""Errors of responses: the API refused the request, or sent something that cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cekat_async.errors.base import CekatError
from cekat_async.redaction import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from cekat_async.models import MalformedRecord
    from cekat_async.pages import ConversationPage, InboxPage

__all__ = [
    "APIStatusError",
    "AuthenticationError",
    "BadRequestError",
    "DecodeError",
    "MalformedBodyError",
    "MalformedRecordError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "ServerError",
]


class APIStatusError(CekatError):
    """The server refused the request, or failed.

    Attributes:
        status: The HTTP status, or ``status_code`` in the body of a 200 with ``"success": false``.
        code: The API's own code, such as ``VALIDATION_ERROR``. ``None`` if it sent none.
        details: The API's list of ``{"field": …, "message": …}``, as received. Often empty.
        body: The body as received, cut after 2,000 bytes.
        resumes_at: When (UTC) the server accepts requests again, such as after a used-up daily
            quota. It is set if the pause is longer than ``RateLimit.longest_hold``,
            ``Timeout.request`` or ``Timeout.deadline`` allows. Such an error is not retried.
            Otherwise ``None``.
    """

    resumes_at: datetime | None = None

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 0,
        code: str | None = None,
        details: Sequence[Mapping[str, Any]] = (),
        body: bytes = b"",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.details = tuple(details)
        self.body = body

    def _facts(self) -> list[str]:
        facts = [f"HTTP {self.status}"] if self.status else []
        facts += [self.code] if self.code else []
        # At most 100 characters of each, for logs. The attribute has all of it.
        facts += [one_line(f"{d.get('field')}: {d.get('message')}", 100) for d in self.details[:3]]
        return facts + super()._facts()


class BadRequestError(APIStatusError):
    """400 or 422: the API does not accept the request. ``details`` names the fields."""


class AuthenticationError(APIStatusError):
    """401: the API key is missing, wrong or revoked."""

    advice = "check the API key (api_key=… or CEKAT_API_KEY)"


class PermissionDeniedError(APIStatusError):
    """403: the key is valid, but it may not read this."""

    advice = "use a key that may read this"


class NotFoundError(APIStatusError):
    """404: there is nothing at this path, or the host is not that of the API."""

    advice = "check the id, the path, and the base URL (base_url=… or CEKAT_BASE_URL)"


class RateLimitError(APIStatusError):
    """429, or a pause of the server that is longer than the call may wait.

    ``retry_after`` and ``resumes_at`` say when the server accepts requests again.
    """


class ServerError(APIStatusError):
    """5xx: the server failed, and retries did not help."""


class DecodeError(CekatError):
    """The response does not have the documented form.

    Attributes:
        field: The place in the response, such as ``$.data[7].labels[0].id``, or ``None``.
        raw: The bytes that cannot be read: a whole record, or up to 64 KiB of a response. They are
            customers' data, so the message does not contain them.
    """

    def __init__(self, message: str = "", *, field: str | None = None, raw: bytes = b"") -> None:
        super().__init__(message)
        self.field = field
        self.raw = raw


class MalformedBodyError(DecodeError):
    """The response is not JSON, or is incomplete. The client retried before it raised this."""


class MalformedRecordError(DecodeError):
    """One or more records of a page are malformed.

    ``field`` and ``raw`` are those of the first malformed record. With ``on_malformed=``, a walk
    passes each malformed record to a function and continues.

    Attributes:
        index: The position of the first malformed record in the page, from 0.
        id: Its id, or ``None`` if it has no readable one.
        page: The page with its other records. A walk yields those before it raises. Continue after
            this page with ``page.next_cursor``, or repeat it with ``cursor``.
        records: All malformed records of the page.
    """

    advice = "to continue, pass on_malformed=…, a function that receives such records"

    def __init__(
        self,
        message: str = "",
        *,
        records: Sequence[MalformedRecord] = (),
        page: ConversationPage | InboxPage | None = None,
    ) -> None:
        first = records[0] if records else None
        field, raw = (first.field, first.raw) if first else (None, b"")
        super().__init__(message, field=field, raw=raw)
        self.index = first.index if first else None
        self.id = first.id if first else None
        self.records = tuple(records)
        self.page = page
