"""Errors about responses: the API refused the request, or its response cannot be read."""

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
    """The server refused the request, or an error occurred on the server.

    Attributes:
        status: The HTTP status. If the status is 200 and the body says ``"success": false``, this
            is the ``status_code`` in the body.
        code: The API's own error code, such as ``VALIDATION_ERROR``. ``None`` if the API sent no
            code.
        details: The API's list of ``{"field": …, "message": …}``, as received. The list is often
            empty.
        body: The body as received, truncated after 2,000 bytes.
        resumes_at: The time (UTC) at which the server accepts requests again, for example after a
            used-up daily quota. The attribute is set if the pause is longer than
            ``RateLimit.longest_hold``, ``Timeout.request`` or ``Timeout.deadline`` allows. The
            client does not retry such an error. Otherwise ``resumes_at`` is ``None``.
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
        # For logs, each fact has at most 100 characters. The attribute has the whole text.
        facts += [one_line(f"{d.get('field')}: {d.get('message')}", 100) for d in self.details[:3]]
        return facts + super()._facts()


class BadRequestError(APIStatusError):
    """400 or 422: the API does not accept the request. ``details`` names the wrong fields."""


class AuthenticationError(APIStatusError):
    """401: the API key is missing, wrong or revoked."""

    advice = "check the API key (api_key=… or CEKAT_API_KEY)"


class PermissionDeniedError(APIStatusError):
    """403: the key is valid, but has no permission to read this resource."""

    advice = "use a key that may read this"


class NotFoundError(APIStatusError):
    """404: there is nothing at this path, or the host is not the API's host."""

    advice = "check the id, the path, and the base URL (base_url=… or CEKAT_BASE_URL)"


class RateLimitError(APIStatusError):
    """429, or a pause that the server asked for and that is longer than the call may wait.

    ``retry_after`` and ``resumes_at`` say when the server accepts requests again.
    """


class ServerError(APIStatusError):
    """5xx: the server failed, and retries did not help."""


class DecodeError(CekatError):
    """The response does not have the documented form.

    Attributes:
        field: The wrong place in the response, such as ``$.data[7].labels[0].id``, or ``None``.
        raw: The bytes that cannot be read: a whole record, or up to 64 KiB of a response. They are
            customers' data, so the message does not contain them.
    """

    def __init__(self, message: str = "", *, field: str | None = None, raw: bytes = b"") -> None:
        super().__init__(message)
        self.field = field
        self.raw = raw


class MalformedBodyError(DecodeError):
    """The response is not JSON, or is incomplete. The client has already retried the request."""


class MalformedRecordError(DecodeError):
    """One or more records of a page are malformed.

    ``field`` and ``raw`` belong to the first malformed record. With ``on_malformed=``, a walk
    passes each malformed record to a function and continues.

    Attributes:
        index: The position of the first malformed record on the page, from 0.
        id: The id of that record, or ``None`` if it has no readable id.
        page: The page with its other records. A walk yields these records before it raises the
            error. To continue after this page, use ``page.next_cursor``. To repeat the page, use
            ``cursor``.
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
