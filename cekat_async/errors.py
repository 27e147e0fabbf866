"""Everything that can go wrong, as one family.

::

    CekatError
    ├── ConfigurationError          an argument or an option is wrong (also a ValueError)
    │   └── MissingExtraError       a library that is not installed is needed for it
    ├── ClientClosedError           the client was used after it was closed
    ├── TransportError              the exchange did not come to a whole answer
    │   ├── NotSentError            the request never reached the server
    │   │   ├── ConnectTimeoutError
    │   │   ├── UnknownHostError    the host's name does not exist
    │   │   ├── TLSError            no trusted TLS connection: a certificate, another protocol
    │   │   └── ProxyError          the proxy refuses to pass requests on
    │   └── ResponseLostError       it may have been received; no whole answer came back
    │       ├── ConnectionDroppedError
    │       ├── ResponseTimeoutError
    │       └── ResponseTooLargeError
    ├── APIStatusError              the server answered, and the answer is no
    │   ├── BadRequestError         400, 422
    │   ├── AuthenticationError     401
    │   ├── PermissionDeniedError   403
    │   ├── NotFoundError           404
    │   ├── RateLimitError          429, or a hold that outlasts the deadline
    │   └── ServerError             5xx
    ├── DecodeError                 the answer does not have the documented shape
    │   ├── MalformedBodyError      it is not JSON, or it is cut short
    │   └── MalformedRecordError          one or more records of a page are odd; the rest is here
    ├── PaginationError             the pages do not lead to an end
    ├── InboxesFailedError          some of many inboxes failed; the others are complete
    ├── DeadlineExceededError       attempts and waits together took too long
    ├── TargetError                 an export's target cannot be written
    │   ├── ReplacementRefusedError the export would replace the target by something worse
    │   └── TargetBusyError         another export is writing it
    └── CheckpointError             an export cannot go on from its checkpoint

Every error pickles, and none ever holds the API key. (The records in an
:class:`MalformedRecordError` are the account's own data, kept as it was sent.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from cekat_async.models import MalformedRecord
    from cekat_async.pages import ConversationPage, InboxPage, RawPage
    from cekat_async.positions import Cursor

__all__ = [
    "APIStatusError",
    "AuthenticationError",
    "BadRequestError",
    "CekatError",
    "CheckpointError",
    "ClientClosedError",
    "ConfigurationError",
    "ConnectTimeoutError",
    "ConnectionDroppedError",
    "DeadlineExceededError",
    "DecodeError",
    "InboxesFailedError",
    "MalformedBodyError",
    "MalformedRecordError",
    "MissingExtraError",
    "NotFoundError",
    "NotSentError",
    "PaginationError",
    "PermissionDeniedError",
    "ProxyError",
    "RateLimitError",
    "ReplacementRefusedError",
    "ResponseLostError",
    "ResponseTimeoutError",
    "ResponseTooLargeError",
    "ServerError",
    "TLSError",
    "TargetBusyError",
    "TargetError",
    "TransportError",
    "UnknownHostError",
]


def readable(text: str) -> str:
    r"""Return text that every encoding of Unicode has: without surrogates.

    The system hands out file names with bytes that are not UTF-8, or that a program in another
    locale cannot read, as surrogates. Those that are UTF-8 become characters, others ``\xe9``.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return _bytes_of(text).decode(errors="backslashreplace")
    return text


_LONGEST_QUOTE = 100


def quoted(text: str) -> str:
    """Return what a server sent, for the text of an error: whole, or only its length.

    It may be an echo of the API key. A part of the key could not be redacted.
    """
    is_fit = len(text) <= _LONGEST_QUOTE and text.isprintable()
    return text if is_fit else f"of {len(text):,} characters"


def _bytes_of(text: str) -> bytes:
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # half of a surrogate pair, which encodes no byte
        return text.encode(errors="surrogatepass")


class CekatError(Exception):
    """The root of the family: ``except CekatError`` catches all that this package raises.

    Attributes:
        message: What happened, for a person.
        path: The path of the request, without its query; ``None`` where no request was involved.
        attempts: How many times the request went out (0: none).
        retry_after: Seconds that the server asked to wait, or ``None`` if it did not say.
        request_id: The server's own name for the exchange, where it gave one.
        cursor: Where to resume a walk: the cursor of the page that failed, or ``None``
            when it was the first page or no walk.
        inbox_id: Which inbox it concerns, where many are walked at once.
        advice: What a caller can do, where that follows from the class. ``str(error)`` ends with
            it.
    """

    advice: ClassVar[str | None] = None

    # Set on the way out by whoever knows: the request path adds the path and the attempts,
    # the walk adds the cursor. Class defaults keep the constructor, and so pickling, simple.
    path: str | None = None
    attempts: int = 0
    retry_after: float | None = None
    request_id: str | None = None
    cursor: Cursor | None = None
    inbox_id: str | None = None

    def __init__(self, message: str = "") -> None:
        # Code that prints or logs an error need not be able to write surrogates.
        message = readable(message)
        super().__init__(message)
        self.message = message

    def locate(
        self,
        *,
        path: str | None = None,
        cursor: Cursor | None = None,
        inbox_id: str | None = None,
    ) -> Self:
        """Add where the error happened, as far as that is not known yet, and return the error."""
        self.path = self.path or path
        self.cursor = self.cursor or cursor
        self.inbox_id = self.inbox_id or inbox_id
        return self

    def _facts(self) -> list[str]:
        """Return what is known beside the message, in reading order."""
        facts = [self.path] if self.path else []
        if self.inbox_id:
            facts.append(f"inbox {self.inbox_id}")
        if self.attempts > 1:
            facts.append(f"{self.attempts} attempts")
        if self.retry_after is not None:
            facts.append(f"retry after {self.retry_after:g} s")
        if self.request_id:
            facts.append(f"request id {self.request_id}")
        return facts

    def __str__(self) -> str:
        """Return the message, followed by the facts and the advice a person needs to act."""
        facts = self._facts()
        text = f"{self.message} ({', '.join(facts)})" if facts else self.message
        return f"{text}: {self.advice}" if text and self.advice else text


class ConfigurationError(CekatError, ValueError):
    """An argument or an option is wrong; the message says what to write instead."""


class MissingExtraError(ConfigurationError):
    """A part of the package needs a library that is not installed; the message has the command."""


class ClientClosedError(CekatError):
    """The client was used after it was closed."""


class TransportError(CekatError):
    """The exchange did not come to a whole answer."""


class NotSentError(TransportError):
    """The request never reached the server: no such host, refused, TLS, proxy."""


class ConnectTimeoutError(NotSentError):
    """No connection within ``Timeout.connect``; the request was not sent."""


class UnknownHostError(NotSentError):
    """The name service does not know the host.

    The client asks again twice within about two seconds, in case the name service is starting.
    """


class TLSError(NotSentError):
    """There is no trusted TLS connection to the server. The client does not retry this.

    The certificate was rejected, or the server speaks no TLS or no common version of it.
    """


class ProxyError(NotSentError):
    """The proxy refused to connect to the server. The client does not retry this."""


class ResponseLostError(TransportError):
    """The request may have been received, but no whole answer came back."""


class ConnectionDroppedError(ResponseLostError):
    """The connection was dropped before any answer began.

    Attributes:
        was_idle: Whether the connection may have been open from an earlier request. Servers close
            idle connections, and a failover breaks all of them. The client then closes the other
            idle connections, and sends the request again at once over a new one.
    """

    was_idle: bool = False


class ResponseTimeoutError(ResponseLostError):
    """The server fell silent for ``Timeout.read``, or took longer than ``Timeout.attempt``."""


class ResponseTooLargeError(ResponseLostError):
    """The answer is larger than anything this API sends; it was not read to its end."""


class APIStatusError(CekatError):
    """The server answered, and the answer is no.

    Attributes:
        status: The HTTP status, or the ``status_code`` of the body of a 200 that says
            ``"success": false``.
        code: The API's own code, as ``VALIDATION_ERROR``, where it gives one.
        details: The API's list of ``{"field": …, "message": …}``, as sent; often empty.
        body: The body as received, cut at 2,000 bytes.
        resumes_at: When (UTC) the server takes requests again, if the pause that it asked for is
            longer than ``RateLimit.longest_hold`` or ends after ``Timeout.deadline``, as the pause
            after a used-up daily quota does. The client does not retry such an error. Else
            ``None``.
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
        if self.code:
            facts.append(self.code)
        # At a length that a log can bear; all of it is in the attribute.
        facts += [_short(f"{d.get('field')}: {d.get('message')}") for d in self.details[:3]]
        return facts + super()._facts()


class BadRequestError(APIStatusError):
    """400 or 422: the API does not accept the request; ``details`` names the fields."""


class AuthenticationError(APIStatusError):
    """401: the key is missing, wrong or revoked."""

    advice = "check api_key=… or CEKAT_API_KEY"


class PermissionDeniedError(APIStatusError):
    """403: the key is known, but not allowed to see this."""

    advice = "ask for a key that may see this"


class NotFoundError(APIStatusError):
    """404: no such thing, or not the API's host."""

    advice = "check base_url=… or CEKAT_BASE_URL"


class RateLimitError(APIStatusError):
    """429, or a pause that lasts longer than the call may wait.

    ``retry_after`` has the seconds to come back after, where they are known, and ``resumes_at``
    the moment, if the client does not wait for it.
    """


class ServerError(APIStatusError):
    """5xx: the server failed, for as many attempts as were allowed."""


class DecodeError(CekatError):
    """The answer arrived, but does not have the documented shape.

    Attributes:
        field: Where in the answer, as ``$.data[7].labels[0].id``; ``None`` if nowhere in it.
        raw: The bytes that do not fit, cut at 64 KiB. They hold customers' data, so they are not
            part of the message.
    """

    def __init__(self, message: str = "", *, field: str | None = None, raw: bytes = b"") -> None:
        super().__init__(message)
        self.field = field
        self.raw = raw


class MalformedBodyError(DecodeError):
    """The answer is not JSON, or it is cut short. It was asked for again before this was raised."""


class MalformedRecordError(DecodeError):
    """One or more records of a page do not have the documented shape; the others do.

    ``index``, ``id``, ``field`` and ``raw`` are those of the first odd record. Pass
    ``on_malformed=`` to be given each odd record and go on instead.

    Attributes:
        page: The page with its other records. A walk has handed those out before it raised;
            ``page.next_cursor`` leads on behind this page, ``cursor`` to it once more.
        records: Every odd record of the page.
    """

    def __init__(
        self,
        message: str = "",
        *,
        records: Sequence[MalformedRecord] = (),
        page: ConversationPage | InboxPage | None = None,
    ) -> None:
        first = records[0] if records else None
        super().__init__(
            message,
            field=first.field if first else None,
            raw=first.raw if first else b"",
        )
        self.records = tuple(records)
        self.page = page

    @property
    def index(self) -> int | None:
        """The position of the first odd record in its page, counted from 0."""
        return self.records[0].index if self.records else None

    @property
    def id(self) -> str | None:
        """The id of the first odd record, if it has a readable one."""
        return self.records[0].id if self.records else None


class PaginationError(CekatError):
    """The pages of a listing do not lead to an end, or the listing changes faster than it is read.

    A server that repeats a cursor, or whose cursor cannot be used, ends a walk at once. Pages that
    bring nothing new end it after 50 in a row: repeated pages, and empty pages whose cursors do not
    advance. Everything that was received has been yielded by then.

    Its ``cursor`` is the last one that the server sent, from which a new walk continues. If that
    one cannot be used, it is the cursor of the page that had it.

    Attributes:
        page: The page whose cursor cannot be used, with all its records; else ``None``. A walk has
            yielded it before it raised. Its ``body`` holds the records alone.
    """

    def __init__(
        self, message: str = "", *, page: ConversationPage | RawPage | None = None
    ) -> None:
        super().__init__(message)
        self.page = page


class InboxesFailedError(CekatError):
    """Some of the inboxes that were walked at once failed; the others were walked to their end.

    Attributes:
        errors: What each of them failed with; ``inbox_id`` says which, ``cursor`` where to resume.
    """

    def __init__(self, message: str = "", *, errors: Sequence[CekatError] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)


class TargetError(CekatError):
    """An export's target cannot be written: no such folder, no permission, a full disk.

    Its ``__cause__`` is the system's own error. What was written so far is still there, under the
    name of an unfinished target.
    """


class ReplacementRefusedError(TargetError):
    """An export would replace its target by something that may be worse.

    The target is unchanged. Records that were already fetched are kept in the checkpoint. The same
    call with ``option`` set to true publishes them without fetching them again.

    Attributes:
        option: The argument that allows it: ``"replace"`` or ``"allow_empty"``.
    """

    def __init__(self, message: str = "", *, option: str = "replace") -> None:
        super().__init__(message)
        self.option = option


class TargetBusyError(TargetError):
    """Another export is writing the target, or has its checkpoint or its database table.

    Nothing was changed. Run this export again when the other one has ended.
    """


class CheckpointError(CekatError):
    """An export cannot go on from its checkpoint: it is of something else, or broken.

    Nothing was changed. The message says what it is of, and what to do.
    """


class DeadlineExceededError(CekatError, TimeoutError):
    """Attempts and waits together took longer than ``Timeout.deadline``.

    Its ``__cause__`` is what the last attempt failed with, if one had failed.
    """


def _short(text: str) -> str:
    """Return text of the server's in one line of at most 100 characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _SHORT else f"{line[: _SHORT - 1]}…"


_SHORT = 100

_CLASS_OF_STATUS: Mapping[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    422: BadRequestError,
    429: RateLimitError,
}


def status_error_class(status: int) -> type[APIStatusError]:
    """Return the class of the family that stands for an HTTP status."""
    fallback = ServerError if status in range(500, 600) else APIStatusError
    return _CLASS_OF_STATUS.get(status, fallback)
