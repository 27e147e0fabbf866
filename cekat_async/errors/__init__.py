"""All errors of the package. Each class derives from :class:`CekatError`.

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

Every error can be pickled, and no error contains the API key. (The records in a
:class:`MalformedRecordError` are the account's own data, as received.)
"""

from cekat_async.errors.base import (
    CekatError,
    ClientClosedError,
    ConfigurationError,
    DeadlineExceededError,
    MissingExtraError,
)
from cekat_async.errors.exports import (
    CheckpointError,
    ReplacementRefusedError,
    TargetBusyError,
    TargetError,
)
from cekat_async.errors.responses import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    DecodeError,
    MalformedBodyError,
    MalformedRecordError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
)
from cekat_async.errors.transport import (
    ConnectionDroppedError,
    ConnectTimeoutError,
    NotSentError,
    ProxyError,
    ResponseLostError,
    ResponseTimeoutError,
    ResponseTooLargeError,
    TLSError,
    TransportError,
    UnknownHostError,
)
from cekat_async.errors.walks import InboxesFailedError, PaginationError

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
