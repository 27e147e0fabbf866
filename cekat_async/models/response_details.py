"""Details of how a page was received: status, headers, attempts and waits."""

# Annotations are not postponed, because msgspec reads them when it creates a struct.

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from cekat_async.models.fields import FrozenDict
from cekat_async.redaction import one_line

__all__ = ["Headers", "ResponseDetails", "get_request_id"]

T = TypeVar("T")

_REQUEST_ID_LIMIT = 200


class Headers(FrozenDict[str]):
    """The headers of a reply. Names are in lower case, and lookups ignore case."""

    __slots__ = ()

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: T | None = None) -> str | T | None:  # type: ignore[override]
        """Return the value of a header, or ``default`` if the reply does not have the header."""
        return super().get(name.lower(), default)


class ResponseDetails(msgspec.Struct, frozen=True, kw_only=True):
    """How a page was received.

    Attributes:
        status: The HTTP status of the reply that contained the page.
        headers: The headers of that reply, as a ``dict`` with names in lower case. Lookups ignore
            case. The values of a repeated header are joined with commas. Cookies are omitted, and
            so is everything beyond 32,768 characters. ``***`` replaces the API key.
        attempts: The number of times that the request was sent, including retries.
        waited: The seconds that the call waited before its attempts, by reason:
            ``"concurrency"``, ``"quota"``, ``"pause"`` and ``"backoff"``, as in
            :class:`~cekat_async.RequestSent`.
        seconds: The seconds from the beginning of the call until the page was decoded, including
            waits.
    """

    status: int
    headers: Headers
    attempts: int = 1
    waited: dict[str, float] = {}
    seconds: float = 0.0

    @property
    def request_id(self) -> str | None:
        """The server's id of the request (``X-Request-Id`` or ``CF-Ray``), or ``None``."""
        return get_request_id(self.headers)

    @property
    def seconds_waited(self) -> float:
        """The seconds that the call waited before its attempts, for any reason."""
        return sum(self.waited.values())

    def __repr__(self) -> str:
        # The repr omits the headers, because a repr may end up in logs.
        return (
            f"<ResponseDetails: status {self.status}, {self.attempts} "
            f"attempt{'s' * (self.attempts != 1)}, {self.seconds:.3f} s>"
        )


def get_request_id(headers: Mapping[str, str]) -> str | None:
    """Return the server's id of a request from the headers of the reply, or ``None``."""
    sent = headers.get("X-Request-Id") or headers.get("CF-Ray") or ""
    return one_line(sent, _REQUEST_ID_LIMIT) or None
