"""All errors of the package, as one family.

::

    CekatError
    ├── ConfigurationError: MissingExtraError
    ├── TransportError
    │   ├── NotSentError: ConnectTimeoutError, UnknownHostError, TLSError, ProxyError
    │   └── ResponseLostError: ConnectionDroppedError, ResponseTimeoutError, ResponseTooLargeError
    ├── APIStatusError: BadRequestError, AuthenticationError, PermissionDeniedError, NotFoundError,
    │       RateLimitError, ServerError
    ├── DecodeError: MalformedBodyError, MalformedRecordError
    ├── TargetError: ReplacementRefusedError, TargetBusyError
    └── ClientClosedError, PaginationError, InboxesFailedError, DeadlineExceededError,
            CheckpointError

Every error can be pickled, and none contains the API key. (The records in a
:class:`MalformedRecordError` are the account's own data, as received.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from cekat_async.redaction import one_line, readable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from cekat_async.models import MalformedRecord
    from cekat_async.pages import ConversationPage, InboxPage, RawPage
    from cekat_async.positions import Cursor

__all__ = [
    "APIStatusError", "AuthenticationError", "BadRequestError", "CekatError", "CheckpointError",
    "ClientClosedError", "ConfigurationError", "ConnectTimeoutError", "ConnectionDroppedError",
    "DeadlineExceededError", "DecodeError", "InboxesFailedError", "MalformedBodyError",
    "MalformedRecordError", "MissingExtraError", "NotFoundError", "NotSentError",
    "PaginationError", "PermissionDeniedError", "ProxyError", "RateLimitError",
    "ReplacementRefusedError", "ResponseLostError", "ResponseTimeoutError",
    "ResponseTooLargeError", "ServerError", "TLSError", "TargetBusyError", "TargetError",
    "TransportError", "UnknownHostError",
]  # fmt: skip


class CekatError(Exception):
    """The base of all errors: ``except CekatError`` catches everything this package raises.

    Attributes:
        message: What happened, for a person.
        path: The path of the request, without its query; ``None`` if no request was involved.
        attempts: How many times the request was sent.
        retry_after: Seconds that the server asked to wait, or ``None`` if it did not say.
        request_id: The server's id of the request, if it sent one.
        cursor: The cursor of the page that failed; ``None`` if it was the first, or no walk.
        inbox_id: The inbox it concerns, if many are walked at once.
        advice: What to do, if the message does not say it; ``{option}`` stands for an argument.
        option: The name of that argument.
    """

    advice: str | None = None
    option: str | None = None

    # Set where they are known. Class defaults keep the constructor, and so pickling, simple.
    path: str | None = None
    attempts: int = 0
    retry_after: float | None = None
    request_id: str | None = None
    cursor: Cursor | None = None
    inbox_id: str | None = None
    _argument: str = ""

    def __init__(self, message: str = "") -> None:
        # So that any program can print or log the error.
        message = readable(message)
        super().__init__(message)
        self.message = message

    def locate(
        self, *, path: str | None = None, cursor: Cursor | None = None, inbox_id: str | None = None
    ) -> Self:
        """Add where the error happened, as far as that is not known yet, and return the error."""
        self.path = self.path or path
        self.cursor = self.cursor or cursor
        self.inbox_id = self.inbox_id or inbox_id
        return self

    def _facts(self) -> list[str]:
        """Return what is known besides the message, in reading order."""
        facts = (
            self.path,
            self.inbox_id and f"inbox {self.inbox_id}",
            f"{self.attempts} attempts" if self.attempts > 1 else None,
            f"retry after {self.retry_after:g} s" if self.retry_after is not None else None,
            self.request_id and f"request id {self.request_id}",
        )
        return [fact for fact in facts if fact]

    def advise(self, advice: str, **argument: object) -> Self:
        """Set the advice, and the one argument that it names; return the error."""
        self.advice = advice
        ((self.option, value),) = argument.items()
        self._argument = f"{self.option}={value}"
        return self

    def describe(self) -> str:
        """Return the message and the facts, without the advice."""
        facts = self._facts()
        return f"{self.message} ({', '.join(facts)})" if facts else self.message

    def __str__(self) -> str:
        """Return the message, the facts, and the advice."""
        text, advice = self.describe(), (self.advice or "").replace("{option}", self._argument)
        return f"{text}: {advice}" if text and advice else text


class ConfigurationError(CekatError, ValueError):
    """An argument or an option is wrong; the message says what to write instead."""


class MissingExtraError(ConfigurationError):
    """A library that is needed is not installed; the message has the command to install it."""


class ClientClosedError(CekatError):
    """The client was used after it was closed."""


class TransportError(CekatError):
    """The client received no whole response."""


class NotSentError(TransportError):
    """The request never reached the server: no such host, refused, TLS, proxy."""


class ConnectTimeoutError(NotSentError):
    """No connection within ``Timeout.connect``; the request was not sent."""


class UnknownHostError(NotSentError):
    """DNS does not know the host. The client retries twice within about two seconds."""


class TLSError(NotSentError):
    """The certificate was rejected, or the server speaks no common version of TLS. Not retried."""


class ProxyError(NotSentError):
    """The proxy refused to connect to the server. Not retried."""


class ResponseLostError(TransportError):
    """The server may have received the request, but no whole response arrived."""


class ConnectionDroppedError(ResponseLostError):
    """The connection was dropped before any response began.

    Attributes:
        was_idle: Whether the connection may be from an earlier request. The client then closes
            the other idle connections, and retries at once over a new one.
    """

    was_idle: bool = False


class ResponseTimeoutError(ResponseLostError):
    """The server sent nothing for ``Timeout.read``, or took longer than ``Timeout.attempt``."""


class ResponseTooLargeError(ResponseLostError):
    """The response is larger than ``max_page_bytes``; it was not read to its end."""


class APIStatusError(CekatError):
    """The server refused the request, or failed.

    Attributes:
        status: The HTTP status, or ``status_code`` in the body of a 200 with ``"success": false``.
        code: The API's own code, such as ``VALIDATION_ERROR``, if it sent one.
        details: The API's list of ``{"field": …, "message": …}``, as sent; often empty.
        body: The body as received, cut at 2,000 bytes.
        resumes_at: When (UTC) the server accepts requests again, if the pause that it asked for is
            longer than ``RateLimit.longest_hold``, ``Timeout.request`` or ``Timeout.deadline``
            allow, as after a used-up daily quota. Such an error is not retried. Else ``None``.
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
        # In at most 100 characters each, for logs. The attribute has all of it.
        facts += [one_line(f"{d.get('field')}: {d.get('message')}", 100) for d in self.details[:3]]
        return facts + super()._facts()


class BadRequestError(APIStatusError):
    """400 or 422: the API does not accept the request; ``details`` names the fields."""


class AuthenticationError(APIStatusError):
    """401: the key is missing, wrong or revoked."""

    advice = "check the API key (api_key=… or CEKAT_API_KEY)"


class PermissionDeniedError(APIStatusError):
    """403: the key is valid, but not allowed to read this."""

    advice = "ask for a key that may see this"


class NotFoundError(APIStatusError):
    """404: it does not exist, or this is not the API's host."""

    advice = "check the id, the path, and the base URL (base_url=… or CEKAT_BASE_URL)"


class RateLimitError(APIStatusError):
    """429, or a pause longer than the call may wait: see ``retry_after`` and ``resumes_at``."""


class ServerError(APIStatusError):
    """5xx: the server failed at every attempt."""


class DecodeError(CekatError):
    """The response does not have the documented shape.

    Attributes:
        field: Where in the response, such as ``$.data[7].labels[0].id``, or ``None``.
        raw: The bytes at fault: a whole record, or up to 64 KiB of a response. They are customers'
            data, so not in the message.
    """

    def __init__(self, message: str = "", *, field: str | None = None, raw: bytes = b"") -> None:
        super().__init__(message)
        self.field = field
        self.raw = raw


class MalformedBodyError(DecodeError):
    """The response is not JSON, or is cut short. The client retried before it raised this."""


class MalformedRecordError(DecodeError):
    """One or more records of a page are malformed.

    ``index``, ``id``, ``field`` and ``raw`` are those of the first malformed record. With
    ``on_malformed=`` a walk passes each malformed record to a function, and continues.

    Attributes:
        page: The page with its other records. A walk has yielded those before it raised. Resume
            at ``page.next_cursor`` to continue after this page, at ``cursor`` to repeat it.
        records: Every malformed record of the page.
    """

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


class PaginationError(CekatError):
    """The pages of a listing do not lead to an end, or the listing changes faster than it is read.

    A repeated or unusable cursor ends a walk at once. Repeated pages, and empty pages whose cursors
    do not advance, end it after 50 in a row. Everything that was received has been yielded by then.
    ``cursor`` is the last one that the server sent, from which a new walk continues. If that one
    cannot be used, it is the cursor of the page that had it.

    Attributes:
        page: The page whose cursor cannot be used, with all its records, or ``None``. A walk has
            yielded it. Its ``body`` has only the records.
    """

    def __init__(
        self, message: str = "", *, page: ConversationPage | RawPage | None = None
    ) -> None:
        super().__init__(message)
        self.page = page


class InboxesFailedError(CekatError):
    """Some of the inboxes that were walked at once failed; the others are complete.

    Attributes:
        errors: One error for each inbox that failed. It has ``inbox_id``, and ``cursor`` to resume.
    """

    def __init__(self, message: str = "", *, errors: Sequence[CekatError] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)


class TargetError(CekatError):
    """An export's target cannot be written: no such folder, no permission, a full disk.

    ``__cause__`` is the system's error. The unfinished target is kept.
    """


class ReplacementRefusedError(TargetError):
    """An export would replace its target with something that may be worse.

    The target is unchanged, and the checkpoint keeps the fetched records. The same call with the
    argument ``option`` (``"replace"`` or ``"allow_empty"``) publishes them without fetching again.
    """

    option = "replace"


class TargetBusyError(TargetError):
    """Another export uses the target, its checkpoint or its database table. Try again later."""


class CheckpointError(CekatError):
    """An export's checkpoint is broken, or belongs to something else. Nothing was changed."""


class DeadlineExceededError(CekatError, TimeoutError):
    """The call exceeded ``Timeout.request`` or ``.deadline``; ``__cause__`` is the last error."""
